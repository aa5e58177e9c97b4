"""Draws sentences that a policy learns from.

A scene has its commands with paraphrases, and sentences that are none (`NOT_COMMANDS_TRAIN`). More
of both are made here at random: for a command, words may be left out, be misspelt, unknown, or
exchanged for others that may stand for them (`headway.learn.policy.verbs`), as long as none of them
tells it from another command of the same scene; for what is no command, negations, fragments,
opposites, commands in which just the telling words are unknown, things that are not there, and
words in disorder. And what is said in a scene is put into frames that are the same for all
(`headway.learn.policy.frames`): "could you ..." around a command, "did you ..." around what is
none. What is held out for tests is never drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from headway.learn.policy import words as english
from headway.learn.policy.corpus import AFTER, BEFORE, NEGATIONS, Corpus, plain_words
from headway.learn.policy.frames import OTHERWISE, Family
from headway.learn.policy.speech import TO, Speech
from headway.learn.policy.verbs import alternatives, may_stand_for, opposites, with_alternatives

_UNKNOWN = "xqz"  # a word that no tokenizer knows
_PLACING = frozenset(("in", "into", "to", "from", "at", "on", "onto", "over", "out", "of", "with"))
_ANYTHING = ("item", "object", "thing", "piece")  # words for a thing of whatever kind
# Other deeds than any command of a scene, as far as its sentences do not have them.
_DEEDS = (
    "leave", "keep", "hide", "forget", "clean", "count", "describe", "paint", "break", "cut", "eat",
    "buy", "sell", "measure", "weigh", "watch", "guard", "photograph", "wash", "burn", "shake",
    "throw away", "tell me about", "look at", "wait for", "ask for", "lose", "bend", "fold", "draw",
    "protect", "avoid", "reject", "return", "exchange", "repair", "hit", "kick", "fill", "empty",
)  # fmt: skip
_EXCEPT = (
    "everything except", "all except", "nothing of", "any item other than", "neither", "no",
    "everything apart from", "not", "all but", "none of", "something instead of", "less of",
)  # fmt: skip


class Sayer:
    """Draws sentences to learn from, with `rng`."""

    def __init__(self, corpus: Corpus, rng: np.random.Generator) -> None:
        self.corpus, self.rng = corpus, rng
        self._texts = [command.texts("train") for command in corpus.commands]
        self._all_words = sorted({w for text in corpus.sentences() for w in plain_words(text)})
        self._english = list(english.table())
        self._telling = sorted(corpus.telling)
        every = [plain_words(text) for texts in self._texts for text in texts]
        self._known = {word for said in every for word in said}
        # What is named after a colour or the like: the things that there are.
        after = [b for said in every for a, b in pairwise(said) if a in corpus.telling]
        self._things = frozenset(w for w in after if after.count(w) > len(every) / 100)
        self._pairs = {pair for said in every for pair in pairwise(said)}
        self._alike = self._neighbours()
        self._speech = self._about_scenes()
        sizes = np.sqrt([len(family.frames) for family in corpus.frames.refused])
        self._shares = sizes / sizes.sum() if len(sizes) else sizes
        # The deeds of the commands, in all verbs that may stand for theirs.
        self._verbs = frozenset(d.verb for speech, _ in self._speech for d in speech.deeds)
        self._asked = with_alternatives(self._verbs, placing=True)
        self._deeds = [d for d in _DEEDS if not (self._known | self._asked) & set(d.split())]

    def _about_scenes(self) -> list[tuple[Speech, int]]:
        """For each command: what is said in its scene, and the command's number there."""
        found: list[tuple[Speech, int]] = []
        for scene in self.corpus.scenes:
            own = [[plain_words(text) for text in c.texts("train")] for c in scene.commands]
            speech = Speech(own, self.corpus.telling, self._things)
            found += [(speech, i) for i in range(len(own))]
        return found

    def _neighbours(self) -> dict[str, list[str]]:
        """For words of the commands that tell none from another: other words that may stand for
        them, which are in no sentence that is refused."""
        avoided = {w for text in (*self.corpus.refused, *NEGATIONS) for w in plain_words(text)}
        matrix = english.vectors_of(self._english).astype(np.float32)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        found: dict[str, list[str]] = {}
        for word in sorted(self._known - self.corpus.telling):
            if word in _ANYTHING:
                found[word] = list(_ANYTHING)
                continue
            vector = english.vectors_of([word])[0].astype(np.float32)
            close = matrix @ (vector / np.linalg.norm(vector))
            # Far neighbours too, which make no good English: taught by near ones alone, an encoder
            # takes far fewer sentences that it has not met.
            near = [self._english[i] for i in np.argsort(-close)[:12] if close[i] > 0.5]
            if word in self._things:  # a shoebox has shoes in it, and is none
                near = [w for w in near if w in (word + "s", word + "es")]
            near = [w for w in near if w not in self._known and may_stand_for(w, word)]
            found[word] = [w for w in near if w not in avoided] or [word]
        return found

    def command(self, index: int) -> str:
        """A sentence for the command number `index`, which is none of those that are held out."""
        while True:
            text = self._command(index)
            if self.corpus.to_learn_from(text) and self.corpus.index(text) in (None, index):
                return text

    def _command(self, index: int) -> str:
        rng, telling = self.rng, self.corpus.telling
        if rng.random() < 0.45 and self.corpus.frames.asked.frames:
            text = self.framed(self.corpus.frames.asked, index)
            if text is not None:
                return text
        said = plain_words(self._pick(self._texts[index]))
        free = [i for i, word in enumerate(said) if word not in telling]
        for i in free if rng.random() < 0.7 else ():
            if rng.random() < 0.25:
                said[i] = self._varied(said, i)
        turns = [i for i in range(2, len(said) - 1) if said[i] in _PLACING]
        if turns and rng.random() < 0.2:  # "in the tote put the red item"
            at = int(rng.choice(turns))
            said, free = [*said[at:], *said[:at]], []
        if rng.random() < 0.3 and len(free) > 1:
            said[int(rng.choice(free))] = ""
        if rng.random() < 0.35:
            said.insert(0, self._pick(BEFORE))
        if rng.random() < 0.2:
            said.append(self._pick(AFTER))
        return " ".join(word for word in said if word)

    def framed(self, family: Family, index: int | None = None) -> str | None:
        """A sentence of one of the frames of `family`, about the command number `index` or any one.
        None where a few draws found no frame that fits the command, or made a sentence that is
        written down for one."""
        for _ in range(8):
            about = int(self.rng.integers(len(self._speech))) if index is None else index
            speech, own = self._speech[about]
            frame = self._pick(family.frames)
            if family.name == OTHERWISE and speech.asks_for(frame):
                continue
            text = speech.fill(frame, own, self.rng)
            if text is not None and self.corpus.index(text) is None:
                return text
        return None

    def _varied(self, said: list[str], i: int) -> str:
        """Another word for the one at `i` of the words `said` of a command."""
        word, kind = said[i], self.rng.random()
        if kind < 0.7 and word in self._verbs:
            rest = said[i + 1 :]
            goes = [w for w in rest if w in TO]
            # "put it in", but not "put the lid of it": what is brought somewhere is the thing.
            placing = bool(goes) and "of" not in rest[: rest.index(goes[0])]
            others = alternatives(word, placing=placing)
            others = tuple(w for w in others if w not in self.corpus.telling)
            return self._pick((*others, *self._alike[word]))
        if kind < 0.7 or word in self._things:
            return self._pick(self._alike[word])
        return _misspelt(word, self.rng) if kind < 0.8 else _UNKNOWN

    def refused(self) -> str:
        """A sentence that is no command, and none of those that are held out."""
        while True:
            text = self._refused()
            if self.corpus.to_learn_from(text):
                return text

    def _refused(self) -> str:
        rng = self.rng
        families = self.corpus.frames.refused
        if families and rng.random() < 0.5:
            family = families[int(rng.choice(len(families), p=self._shares))]
            text = self.framed(family)
            if text is not None:
                return " ".join([self._pick(BEFORE), text] if rng.random() < 0.1 else [text])
        kind = rng.random()
        if kind < 0.40 and self.corpus.refused:
            said = plain_words(self._pick(self.corpus.refused))
            if rng.random() < 0.3:
                said.insert(0, self._pick(BEFORE))
            return " ".join(said)
        command = self._pick(self._pick(self._texts))
        said = plain_words(command)
        if kind < 0.60:  # a negation
            said = [self._pick(NEGATIONS), *said]
            return " ".join([self._pick(BEFORE), *said] if rng.random() < 0.2 else said)
        if kind < 0.66 and "the" in said:  # an exception
            at = said.index("the")
            return " ".join([*said[:at], self._pick(_EXCEPT), *said[at:]])
        if kind < 0.72 and said[0] in self._verbs:  # another deed
            undone = [v for v in opposites(said[0]) if v not in self._known | self._asked]
            if undone and rng.random() < 0.5:
                return " ".join([self._pick(undone), *said[1:]])
            return " ".join([self._pick(self._deeds), *said[1:]])
        things = [i for i, word in enumerate(said) if word in self._things]
        if kind < 0.82 and things:
            return self._not_there(said, things)
        telling = [i for i, word in enumerate(said) if word in self.corpus.telling]
        if kind < 0.90 and telling:
            return self._otherwise(said, telling)
        if kind < 0.94:  # a fragment without what tells
            kept = [w for w in said if w not in self.corpus.telling]
            return " ".join(kept[: int(rng.integers(1, 4))]) or _UNKNOWN
        n = int(rng.integers(1, 9))  # words in disorder
        return " ".join(
            self._pick(self._english if rng.random() < 0.4 else self._all_words) for _ in range(n)
        )

    def _not_there(self, said: list[str], things: list[int]) -> str:
        """The words `said` of a command, of which the thing or the place at one of `things` is none
        that there is: another word, often with another one for its colour, or one of the things of
        other scenes."""
        rng = self.rng
        i = int(rng.choice(things))
        kind = rng.random()
        if kind < 0.35:
            return self._elsewhere(said, i)
        said[i] = _UNKNOWN if kind < 0.45 else self._pick(self._english)
        if kind > 0.7 and i and said[i - 1] in self.corpus.telling:
            said[i - 1] = self._pick(self._english)
        text = " ".join(said)
        return text if self.corpus.index(text) is None else _UNKNOWN

    def _elsewhere(self, said: list[str], i: int) -> str:
        """The words `said` of a command, in which the thing at `i` has become one that no scene
        has: a colour that there is, and a kind that there is, but not together."""
        colour = said[i - 1] if i and said[i - 1] in self.corpus.telling else ""
        kinds = [
            kind
            for kind in sorted(self._things - {*_ANYTHING, "part"})
            if (colour, kind) not in self._pairs
        ]
        if not colour or not kinds:
            return _UNKNOWN
        said[i] = self._pick(kinds)
        return " ".join(said)

    def _otherwise(self, said: list[str], telling: list[int]) -> str:
        """The words `said` of a command, in which at least one of those at `telling` is another
        one, unknown or missing, so that it is no command."""
        changed = self.rng.permutation(telling)[: int(self.rng.integers(1, len(telling) + 1))]
        for _ in range(8):
            new = list(said)
            for i in changed:
                kind = self.rng.random()
                new[i] = self._pick(self._telling if kind < 0.4 else self._english)
                if kind > 0.7:
                    new[i] = _misspelt(said[i], self.rng) if kind < 0.8 else _UNKNOWN
                if kind > 0.92:
                    new[i] = ""
            text = " ".join(word for word in new if word)
            if new != said and self.corpus.index(text) is None and not self._elsewhere_asked(new):
                return text
        return _UNKNOWN

    def _elsewhere_asked(self, said: list[str]) -> bool:
        """Whether the words `said` may be a command of some scene: they have just the telling words
        that it wants, and a thing that it is about."""
        told = self.corpus.told_by
        here = {k for k, spelt in enumerate(told.words) if set(spelt) & set(said)}
        pairs = set(pairwise(word for word in said if word))
        return any(
            here == wanted and pairs & {(t.colour, t.kind) for t in speech.things[own]}
            for wanted, (speech, own) in zip(told.wanted, self._speech, strict=True)
        )

    def _pick(self, choices: Sequence[object]) -> str:
        return choices[int(self.rng.integers(len(choices)))]  # type: ignore[return-value]


def _misspelt(word: str, rng: np.random.Generator) -> str:
    """`word` with two letters exchanged, or one left out."""
    if len(word) < 4:
        return word
    i = int(rng.integers(len(word) - 1))
    if rng.random() < 0.5:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + word[i + 1 :]
