"""The deeds and things that the commands of a corpus are about, and frames filled with them
(`headway.learn.policy.frames`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from headway.learn.policy.frames import CONDITIONS
from headway.learn.policy.verbs import alternatives, gerund, participle, past, with_alternatives

T = TypeVar("T")
_PLACE = re.compile(r"\{(\w+)\}")
_VERBS = frozenset(("verb", "verbing", "verbed"))
_APART = _VERBS | {"after"}
# Words with which a sentence begins that begins with no verb.
_NO_VERBS = frozenset(
    ("the", "a", "in", "into", "to", "from", "at", "on", "onto", "over", "out", "of", "with", "by",
     "for", "next", "now", "please", "and", "then", "what", "it", "i", "you", "we")
)  # fmt: skip
_POLITE = frozenset(("please", "now", "next", "thanks"))
TO = frozenset(("in", "into", "to"))
_PARTICLES = frozenset(("up", "down", "out", "open", "over"))


@dataclass(frozen=True)
class Thing:
    """What a command is about: "red item" is a `kind` that a telling word, its `colour`, tells."""

    colour: str
    kind: str


@dataclass(frozen=True)
class Deed:
    """A sentence that bids: "lift the lid of the red box" has the `verb` lift, a `part` of the
    `thing`, and nothing `after` it; "put the red item in the tote" no part."""

    verb: str
    particle: str
    part: str
    thing: Thing
    after: str

    @property
    def places(self) -> bool:
        """Whether the deed brings the thing somewhere."""
        return self.after.split(" ", 1)[0] in TO and not self.part

    def said(self, verb: str, it: str) -> str:
        """The deed with its verb in the form of `verb`, done to `it`."""
        return " ".join(w for w in (verb, self.particle, self.part, it, self.after) if w)


def thing_of(words: Sequence[str], telling: Set[str], kinds: Set[str]) -> tuple[Thing, int] | None:
    """The first thing of the sentence `words`, and the place of its colour there."""
    for i in range(len(words) - 1):
        if words[i] in telling and words[i + 1] in kinds:
            return Thing(words[i], words[i + 1]), i
    return None


def deed_of(words: Sequence[str], telling: Set[str], kinds: Set[str]) -> Deed | None:
    """The sentence `words` as a deed; None where it does not begin with a verb and what is bid to
    be done with a thing."""
    found = thing_of(words, telling, kinds)
    if found is None or words[0] in _NO_VERBS | telling:
        return None
    thing, i = found
    particle = words[1] if words[1] in _PARTICLES else ""
    start = 2 if particle else 1
    if i < start + 1 or words[start] != "the" or words[i - 1] != "the":
        return None
    part, after = " ".join(words[start : i - 1]), words[i + 2 :]
    while after and after[-1] in _POLITE:
        after = after[:-1]
    # "have the box opened" and "get the box open" say with two words what is done.
    if words[0] in ("have", "get") and after and after[0] not in TO:
        return None
    return Deed(words[0], particle, part, thing, " ".join(after))


class Speech:
    """Fills frames from the sentences of the commands of one scene, `texts[i]` of which are those
    of its command number i, as words."""

    def __init__(
        self, texts: Sequence[Sequence[Sequence[str]]], telling: Set[str], kinds: Set[str]
    ) -> None:
        self._texts = [[" ".join(words) for words in own] for own in texts]
        found = [[thing_of(w, telling, kinds) for w in own] for own in texts]
        self.things = [_each(f and f[0] for f in own) for own in found]
        self._deeds = [_each(deed_of(w, telling, kinds) for w in own) for own in texts]
        self._telling = telling
        # All verbs of the scene, and those that may stand for them.
        self._asked = with_alternatives((deed.verb for deed in self.deeds), placing=False)

    @property
    def deeds(self) -> list[Deed]:
        """What the commands of the scene bid, as their sentences put it."""
        return [deed for own in self._deeds for deed in own]

    def asks_for(self, frame: str) -> bool:
        """Whether `frame` is just a verb and its thing, and a command of the scene may be put so:
        then it is none for what is not to be done ("shut {it}" where a door is to be closed)."""
        verb, _, rest = frame.partition(" ")
        return rest == "{it}" and verb in self._asked

    def fill(self, frame: str, index: int, rng: np.random.Generator) -> str | None:
        """`frame` about the command number `index`, filled with draws of `rng`; None where the
        command has nothing for one of its places."""
        places = set(_PLACE.findall(frame))
        words: dict[str, str] = {"cmd": _pick(self._texts[index], rng)}
        if places & {"other", "other_it"}:
            if len(self._texts) < 2:
                return None
            other = (index + int(rng.integers(1, len(self._texts)))) % len(self._texts)
            words["other"] = _pick(self._texts[other], rng)
            if self.things[other]:
                words["other_it"] = _named(_pick(self.things[other], rng), rng)
        if self.things[index]:
            thing = _pick(self.things[index], rng)
            words |= {"it": _named(thing, rng), "colour": thing.colour, "kind": thing.kind}
        deeds = self._deeds[index]
        if places & _APART:  # the deed's words are used one by one: it must have no more of them
            deeds = [d for d in deeds if not (d.part or d.particle)]
        if "after" in places:
            # Of a deed that ends with its thing ("open the red box") nothing follows a verb either.
            whole = [d for d in deeds if not d.after] if places & _VERBS else []
            deeds = [d for d in deeds if d.after and "and" not in d.after.split()] + whole
        if deeds:
            words |= self._forms(_pick(deeds, rng), rng)
        words["if"] = _pick(CONDITIONS, rng)
        if places - words.keys():
            return None
        return " ".join(_PLACE.sub(lambda m: words[m[1]], frame).split())

    def _forms(self, deed: Deed, rng: np.random.Generator) -> dict[str, str]:
        it, verb = _named(deed.thing, rng), deed.verb
        others = [v for v in alternatives(verb, placing=deed.places) if v not in self._telling]
        if others and not (deed.part or deed.particle) and rng.random() < 0.5:
            verb = _pick((verb, *others), rng)
        return {
            "it": it, "colour": deed.thing.colour, "kind": deed.thing.kind, "after": deed.after,
            "do": deed.said(verb, it), "doing": deed.said(gerund(verb), it),
            "did": deed.said(past(verb), it), "done": deed.said(participle(verb), it),
            "verb": verb, "verbed": participle(verb), "verbing": gerund(verb),
        }  # fmt: skip


def _named(thing: Thing, rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.75:
        return f"the {thing.colour} {thing.kind}"
    return f"the {thing.colour} one" if kind < 0.9 else f"that {thing.colour} {thing.kind}"


def _pick(choices: Sequence[T], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]


def _each(found: Iterable[T | None]) -> list[T]:
    return list(dict.fromkeys(f for f in found if f is not None))
