"""The study of several ways to learn from execution: what is run is planned and registered before,
every unit of it can be killed and resumed, and the page says what came out.

In the order of reading: `plan` (what is fixed), `registration` (that it stays so), `units` (what a
unit is and who runs it), `results` (a file per unit), `run` (units on many processes or machines),
`measures` and `bootstrap` (numbers with intervals), `summary`, `plots` and `page`.
"""
