"""What is said in the scenes that a policy works in: commands with their paraphrases, sentences
that are none, and what tells one command from another. `headway.learn.policy.sayer` draws sentences
to learn from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from headway import plugins
from headway.drivers.sim.phrases import Command
from headway.errors import ConfigError
from headway.learn.policy.frames import FRAMES, Frames

BEFORE = (
    "please", "robot", "now", "ok", "next", "kindly", "hey robot", "could you", "would you please",
    "can you", "i want you to", "i need you to", "go ahead and", "you should", "let us", "then",
    "it is time to", "your task is to", "i would like you to", "just", "be so kind as to",
    "see to it that you", "the next thing to do is", "i would appreciate it if you could", "try to",
    "your job now is to", "we need you to", "would it be possible to", "after that", "quickly",
    "carefully", "first", "the customer wants you to", "remember to", "start to", "continue and",
    "do this", "here is what i want", "as soon as you can", "it would be good to", "how about you",
)  # fmt: skip
AFTER = (
    "please", "now", "for me", "next", "thanks", "thank you", "right away", "if you can", "first",
    "carefully", "as the next step", "at once", "when you are ready", "today", "again",
)  # fmt: skip
NEGATIONS = (
    "do not", "don't", "never", "please do not", "you must not", "no longer", "stop, do not",
    "under no circumstances", "refuse to", "avoid to", "you should not", "i don't want you to",
    "it is forbidden to", "without", "not", "please don't", "don't you dare to", "cancel",
    "instead of", "refrain from", "forget about", "unless told otherwise do not", "nobody should",
    "stop before you", "abort", "skip", "ignore", "leave it, do not", "it is wrong to",
)  # fmt: skip
AROUND = (*BEFORE, *AFTER, *NEGATIONS)


@dataclass(frozen=True)
class Telling:
    """The `words` that tell commands apart, each in its spellings, and for each command the
    numbers of those that its sentences all have (`wanted`), and of those that none of them has
    though another command wants them (`unwanted`)."""

    words: tuple[tuple[str, ...], ...]
    wanted: tuple[frozenset[int], ...]
    unwanted: tuple[frozenset[int], ...]


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
        return [*said, *self.refused, *AROUND, *frames]

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

    def to_learn_from(self, text: str) -> bool:
        """Whether `text` is none of the sentences that are kept for tests."""
        return " ".join(plain_words(text)) not in self._held_out

    @cached_property
    def _held_out(self) -> frozenset[str]:
        kept = [t for c in self.commands for t in c.held_out]
        kept += [t for scene in self.scenes for t in scene.refused_held_out]
        learned = {
            " ".join(plain_words(t))
            for t in (*self.refused, *(t for c in self.commands for t in c.texts("train")))
        }
        return frozenset({" ".join(plain_words(t)) for t in kept} - learned)

    @cached_property
    def telling(self) -> frozenset[str]:
        """Words that tell a command from another one of its scene: two sentences that differ in
        such a word alone mean different things."""
        return frozenset(word for gap in self._gaps if len(set(gap.values())) > 1 for word in gap)

    @cached_property
    def _gaps(self) -> list[dict[str, int]]:
        """For each place of each sentence the words that stand there, the rest being the same, and
        the number of the command that is meant in its scene."""
        found: list[dict[str, int]] = []
        for scene in self.scenes:
            gaps: dict[tuple[str, ...], dict[str, int]] = {}
            for i, command in enumerate(scene.commands):
                for text in command.texts("train"):
                    said = plain_words(text)
                    for k, word in enumerate(said):
                        gaps.setdefault((*said[:k], "", *said[k + 1 :]), {})[word] = i
            found += gaps.values()
        return found

    @cached_property
    def told_by(self) -> Telling:
        """The telling words, and what each command says of them. Two that mean the same command in
        one and the same sentence, and never another one, are spellings of one word."""
        apart: set[tuple[str, str]] = set()
        alike: set[tuple[str, str]] = set()
        for gap in self._gaps:
            here = sorted(self.telling & gap.keys())
            for a, b in combinations(here, 2):
                (alike if gap[a] == gap[b] else apart).add((a, b))
        words: list[list[str]] = []
        for word in sorted(self.telling):
            same = [w for w in words if any((a, word) in alike - apart for a in w)]
            if same:
                same[0].append(word)
            else:
                words.append([word])
        number = {word: k for k, spelt in enumerate(words) for word in spelt}
        said = [
            [{number[w] for w in plain_words(t) if w in number} for t in c.texts("train")]
            for c in self.commands
        ]
        wanted = [frozenset(set.intersection(*each)) for each in said]
        # What may be said around any command speaks against none of them ("... right now").
        around = {w for t in (*AROUND, *self.frames.asked.frames) for w in plain_words(t)}
        free = {number[w] for w in around & number.keys()}
        every = frozenset().union(*wanted) - free
        return Telling(
            tuple(map(tuple, words)), tuple(wanted),
            tuple(every.difference(*each) for each in said),
        )  # fmt: skip


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
