"""A card judges a PRO head on recordings that it did not see, and says in words what it is for.

`card.make_card` makes it, `page.page` draws it; docs/pro-card.md explains every number.
"""
