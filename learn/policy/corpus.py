"""The sentences that a policy learns from, and how they vary.

A scene has its commands with paraphrases, and sentences that are none (`NOT_COMMANDS_TRAIN`). More
of both are made here at random: for a command, words may be left out, be misspelt or be unknown, as
long as none of them tells it from another command of the same scene; for what is no command,
negations, fragments, commands in which just the telling words are unknown, and words in disorder.
And what is said in a scene is put into frames that are the same for all (`headway.learn.policy.
frames`): "could you ..." around a command, "did you ..." around what is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from headway import plugins
from headway.drivers.sim.phrases import Command
from headway.errors import ConfigError
from headway.learn.policy import words as english
from headway.learn.policy.frames import FRAMES, Family, Frames
from headway.learn.policy.speech import PUTTING, Speech

_UNKNOWN = "xqz"  # a word that no tokenizer knows
_BEFORE = (
    "please", "robot", "now", "ok", "next", "kindly", "hey robot", "could you", "would you please",
    "can you", "i want you to", "i need you to", "go ahead and", "you should", "let us", "then",
    "it is time to", "your task is to", "i would like you to", "just", "be so kind as to",
    "see to it that you", "the next thing to do is", "i would appreciate it if you could", "try to",
    "your job now is to", "we need you to", "would it be possible to", "after that", "quickly",
    "carefully", "first", "the customer wants you to", "remember to", "start to", "continue and",
    "do this", "here is what i want", "as soon as you can", "it would be good to", "how about you",
)  # fmt: skip
_AFTER = (
    "please", "now", "for me", "next", "thanks", "thank you", "right away", "if you can", "first",
    "carefully", "as the next step", "at once", "when you are ready", "today", "again",
)  # fmt: skip
_PLACING = frozenset(("in", "into", "to", "from", "at", "on", "onto", "over", "out", "of", "with"))
_NEGATIONS = (
    "do not", "don't", "never", "please do not", "you must not", "no longer", "stop, do not",
    "under no circumstances", "refuse to", "avoid to", "you should not", "i don't want you to",
    "it is forbidden to", "without", "not", "please don't", "don't you dare to", "cancel",
    "instead of", "refrain from", "forget about", "unless told otherwise do not", "nobody should",
    "stop before you", "abort", "skip", "ignore", "leave it, do not", "it is wrong to",
)  # fmt: skip
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


@dataclass(frozen=True)
class Spoken:
    """What is said in a scene: its `commands`, and sentences that are none of them, those to learn
    from and those that are kept for tests."""

    name: str
    commands: tuple[Command, ...]
    refused: tuple[str, ...]
    refused_held_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """What is said in all scenes that a policy works in, and the `frames` that are put around
    it."""

    scenes: tuple[Spoken, ...]
    frames: Frames = FRAMES

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """The commands of all scenes; their places number the classes of the text encoder."""
        return tuple(command for scene in self.scenes for command in scene.commands)

    @cached_property
    def refused(self) -> tuple[str, ...]:
        """The sentences of all scenes that are no command, to learn from."""
        return tuple(text for scene in self.scenes for text in scene.refused)

    def sentences(self) -> list[str]:
        """Everything that is learned from as it stands, and the words around it."""
        said = [text for command in self.commands for text in command.texts("train")]
        frames = [re.sub(r"\{\w+\}", " ", frame) for frame in self.frames.texts()]
        return [*said, *self.refused, *_BEFORE, *_AFTER, *_NEGATIONS, *frames]

    def index(self, text: str) -> int | None:
        """The number of the command that `text` was written down for, None for any other text."""
        return self._numbers.get(" ".join(plain_words(text)))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        texts = [
            (" ".join(plain_words(text)), i)
            for i, command in enumerate(self.commands)
            for text in (*command.texts("train"), *command.held_out)
        ]
        return dict(reversed(texts))

    @cached_property
    def telling(self) -> frozenset[str]:
        """Words that tell a command from another one of its scene: two sentences that differ in
        such a word alone mean different things."""
        found: set[str] = set()
        for scene in self.scenes:
            gaps: dict[tuple[str, ...], dict[str, int]] = {}
            for i, command in enumerate(scene.commands):
                for text in command.texts("train"):
                    said = plain_words(text)
                    for k, word in enumerate(said):
                        gaps.setdefault((*said[:k], "", *said[k + 1 :]), {})[word] = i
            for words in gaps.values():
                if len(set(words.values())) > 1:
                    found |= words.keys()
        return frozenset(found)


def corpus_of(scenes: Sequence[str]) -> Corpus:
    """The corpus of the scenes with these names. Raises ConfigError for an unknown scene, one
    without sentences, and two scenes in which a sentence means different things."""
    spoken = []
    for name in scenes:
        module = plugins.load("drivers.sim.scenes", name)
        try:
            refused, held_out = module.NOT_COMMANDS_TRAIN, module.NOT_COMMANDS_HELD_OUT
            spoken.append(Spoken(name, tuple(module.COMMANDS), tuple(refused), tuple(held_out)))
        except AttributeError as e:
            raise ConfigError(
                f"the scene {name} has no sentences to learn from ({e}): name scenes with "
                "COMMANDS, NOT_COMMANDS_TRAIN and NOT_COMMANDS_HELD_OUT"
            ) from None
    corpus = Corpus(tuple(spoken))
    for i, command in enumerate(corpus.commands):
        for text in (*command.texts("train"), *command.held_out):
            first = corpus.index(text)
            if first != i:
                other = corpus.commands[first or 0].plain
                raise ConfigError(
                    f"{text!r} is said for {other!r} and for {command.plain!r}: wanted sentences "
                    "that mean one thing in all scenes"
                )
    return corpus


def plain_words(text: str) -> list[str]:
    """The words of `text` in lower case, without punctuation; "don't" is two, "do not"."""
    apart = re.sub(r"n['\u2019]t\b", " not", text.lower())
    return "".join(c if c.isalnum() else " " for c in apart).split()


class Sayer:
    """Draws sentences to learn from, with `rng`."""

    def __init__(self, corpus: Corpus, rng: np.random.Generator) -> None:
        self.corpus, self.rng = corpus, rng
        self._texts = [command.texts("train") for command in corpus.commands]
        self._all_words = sorted({w for text in corpus.sentences() for w in plain_words(text)})
        self._english = list(english.table())
        self._telling = sorted(corpus.telling)
        every = [plain_words(text) for texts in self._texts for text in texts]
        known = {word for said in every for word in said}
        # What is named after a colour or the like: the things that there are.
        after = [b for said in every for a, b in pairwise(said) if a in corpus.telling]
        self._things = frozenset(w for w in after if after.count(w) > len(every) / 100)
        self._alike = self._neighbours()
        self._speech = self._about_scenes()
        sizes = np.sqrt([len(family.frames) for family in corpus.frames.refused])
        self._shares = sizes / sizes.sum() if len(sizes) else sizes
        self._deeds = [deed for deed in _DEEDS if not known & set(deed.split())]

    def _about_scenes(self) -> list[tuple[Speech, int]]:
        """For each command: what is said in its scene, and the command's number there."""
        found: list[tuple[Speech, int]] = []
        for scene in self.corpus.scenes:
            own = [[plain_words(text) for text in c.texts("train")] for c in scene.commands]
            speech = Speech(own, self.corpus.telling, self._things)
            found += [(speech, i) for i in range(len(own))]
        return found

    def _neighbours(self) -> dict[str, list[str]]:
        """For words of the commands that tell none from another: other words like them, which are
        in no sentence that is refused."""
        said = {w for texts in self._texts for text in texts for w in plain_words(text)}
        avoided = {w for text in (*self.corpus.refused, *_NEGATIONS) for w in plain_words(text)}
        matrix = english.vectors_of(self._english).astype(np.float32)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        found: dict[str, list[str]] = {}
        for word in sorted(said - self.corpus.telling):
            vector = english.vectors_of([word])[0].astype(np.float32)
            close = matrix @ (vector / np.linalg.norm(vector))
            least = 0.65 if word in self._things else 0.5
            near = [self._english[i] for i in np.argsort(-close)[:12] if close[i] > least]
            found[word] = [w for w in near if w not in avoided and w not in said] or [word]
            if word in PUTTING:
                found[word] += [w for w in PUTTING if w not in avoided]
        return found

    def command(self, index: int) -> str:
        """A sentence for the command number `index`."""
        rng, telling = self.rng, self.corpus.telling
        if rng.random() < 0.45 and self.corpus.frames.asked.frames:
            text = self.framed(self.corpus.frames.asked, index)
            if text is not None:
                return text
        said = plain_words(self._pick(self._texts[index]))
        free = [i for i, word in enumerate(said) if word not in telling]
        for i in free if rng.random() < 0.7 else ():
            if rng.random() < 0.25:
                said[i] = self._varied(said[i])
        turns = [i for i in range(2, len(said) - 1) if said[i] in _PLACING]
        if turns and rng.random() < 0.2:  # "in the tote put the red item"
            at = int(rng.choice(turns))
            said, free = [*said[at:], *said[:at]], []
        if rng.random() < 0.3 and len(free) > 1:
            said[int(rng.choice(free))] = ""
        if rng.random() < 0.35:
            said.insert(0, self._pick(_BEFORE))
        if rng.random() < 0.2:
            said.append(self._pick(_AFTER))
        return " ".join(word for word in said if word)

    def framed(self, family: Family, index: int | None = None) -> str | None:
        """A sentence of one of the frames of `family`, about the command number `index` or any one.
        None where a few draws found no frame that fits the command, or made a sentence that is
        written down for one."""
        for _ in range(8):
            about = int(self.rng.integers(len(self._speech))) if index is None else index
            speech, own = self._speech[about]
            text = speech.fill(self._pick(family.frames), own, self.rng)
            if text is not None and self.corpus.index(text) is None:
                return text
        return None

    def _varied(self, word: str) -> str:
        kind = self.rng.random()
        if kind < 0.7 or word in self._things:
            return self._pick(self._alike[word])
        return _misspelt(word, self.rng) if kind < 0.8 else _UNKNOWN

    def refused(self) -> str:
        """A sentence that is no command."""
        rng = self.rng
        families = self.corpus.frames.refused
        if families and rng.random() < 0.5:
            family = families[int(rng.choice(len(families), p=self._shares))]
            text = self.framed(family)
            if text is not None:
                return " ".join([self._pick(_BEFORE), text] if rng.random() < 0.1 else [text])
        kind = rng.random()
        if kind < 0.40 and self.corpus.refused:
            said = plain_words(self._pick(self.corpus.refused))
            if rng.random() < 0.3:
                said.insert(0, self._pick(_BEFORE))
            return " ".join(said)
        command = self._pick(self._pick(self._texts))
        said = plain_words(command)
        if kind < 0.60:  # a negation
            said = [self._pick(_NEGATIONS), *said]
            return " ".join([self._pick(_BEFORE), *said] if rng.random() < 0.2 else said)
        if kind < 0.66 and "the" in said:  # an exception
            at = said.index("the")
            return " ".join([*said[:at], self._pick(_EXCEPT), *said[at:]])
        if kind < 0.72 and said[0] not in ("the", "a", *self.corpus.telling):  # another deed
            return " ".join([self._pick(self._deeds), *said[1:]])
        things = [i for i, word in enumerate(said) if word in self._things]
        if kind < 0.79 and things:  # a thing that is not there
            other = _UNKNOWN if rng.random() < 0.2 else self._pick(self._english)
            said[int(rng.choice(things))] = other
            text = " ".join(said)
            return text if self.corpus.index(text) is None else _UNKNOWN
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

    def _otherwise(self, said: list[str], telling: list[int]) -> str:
        """The words `said` of a command, in which at least one of those at `telling` is another
        one, unknown or missing, so that it is no command."""
        changed = self.rng.permutation(telling)[: int(self.rng.integers(1, len(telling) + 1))]
        for _ in range(8):
            new = list(said)
            for i in changed:
                kind = self.rng.random()
                new[i] = self._pick(self._telling if kind < 0.45 else self._english)
                new[i] = new[i] if kind < 0.8 else _UNKNOWN if kind < 0.92 else ""
            text = " ".join(word for word in new if word)
            if self.corpus.index(text) is None:
                return text
        return _UNKNOWN

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
