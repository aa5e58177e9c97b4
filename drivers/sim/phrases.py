"""What people say to the robot in a scene: each command, and the ways in which it is put.

A scene says one of them for each line of an order. Policies learn from the sentences of the split
"train"; those of "held_out" are for tests, and nothing is ever trained on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from headway.errors import ConfigError

Split = Literal["plain", "train", "held_out"]


@dataclass(frozen=True)
class Command:
    """One thing that a robot can be asked to do in a scene: `plain` is how Headway itself says it,
    `train` and `held_out` are other sentences that mean the same. No sentence is in two places."""

    plain: str
    train: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

    def texts(self, split: Split) -> tuple[str, ...]:
        """The sentences of `split`; "train" has the plain one as well."""
        if split == "plain":
            return (self.plain,)
        return (self.plain, *self.train) if split == "train" else self.held_out

    def say(self, split: Split, rng: np.random.Generator) -> str:
        """One of the sentences of `split`, drawn with `rng`. Raises ConfigError where there is
        none."""
        texts = self.texts(split)
        if not texts:
            raise ConfigError(f"the command {self.plain!r} has no {split} sentences")
        return str(texts[int(rng.integers(len(texts)))])


def filled(templates: Iterable[str], **words: Iterable[str]) -> tuple[str, ...]:
    """Every template with every choice of its words: `filled(("take the {item}",), item=("red cup",
    "red mug"))` gives two sentences. A template is used once per combination of the words that it
    has; the order is that of the arguments, without repetitions."""
    made: list[str] = []
    for template in templates:
        texts = [template]
        for name, choices in words.items():
            place = "{" + name + "}"
            if place in template:
                texts = [t.replace(place, choice) for t in texts for choice in choices]
        made += texts
    return tuple(dict.fromkeys(made))


def meant(text: str, commands: Iterable[Command]) -> Command | None:
    """The command of which `text` is one of the sentences, apart from case, spaces and a full stop;
    None for any other text."""
    wanted = _plain(text)
    for command in commands:
        if any(_plain(t) == wanted for t in (command.plain, *command.train, *command.held_out)):
            return command
    return None


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".!")
