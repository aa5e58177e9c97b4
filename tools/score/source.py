"""What every kind of file gives: channels of numbers, lists of times, and words over time."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headway.errors import RecordingError
from headway.kernels.telemetry import Scale
from headway.tools.score.mapping import Channel
from headway.tools.score.samples import Samples
from headway.tools.score.stamps import Times

ODD = 0.1  # up to this share of a file's lines, cells or messages may be left out


class NoSuchKeyError(RecordingError):
    """The file has no such key, which is no error where the mapping says that it is optional."""

    def __init__(self, message: str, key: str, what: str) -> None:
        """`what`: the kind of key, such as "topic"."""
        super().__init__(message)
        self.key, self.what = key, what


@dataclass(frozen=True)
class Raw:
    """A channel as the file has it."""

    samples: Samples  # in the file's units
    columns: tuple[tuple[str, str | None], ...]  # of each value the name, and the unit it carries
    rate_hz: float | None  # of the samples where none is missing; None for a single sample
    labels: tuple[str, ...] | None = None  # names of the values, such as joints, if any


class Source(Protocol):
    """An opened file. A `topic` is that of a log of messages, None for the mapping's own; tables
    have no topics."""

    path: Path

    @property
    def episode(self) -> str:
        """Which one of the episodes in the file, "" where the file is one episode."""

    @property
    def notes(self) -> list[str]:
        """What is worth saying about the file itself."""

    @property
    def odd(self) -> int:
        """How many things in the file were left out because they could not be read."""

    def keys(self) -> list[str]:
        """What a mapping may name."""

    def scale(self) -> Scale | None:
        """The limits of the arm, where the file itself says them."""

    def channels(self, wanted: Mapping[str, Channel]) -> dict[str, Raw]:
        """The channels, by telemetry field, without optional ones that the file does not have.
        Raises NoSuchKeyError, RecordingError, ConfigError."""

    def times(self, key: str, topic: str | None) -> Times:
        """A list of times (n,) [ns, the file's clock]. Raises NoSuchKeyError, RecordingError."""

    def words(self, key: str, topic: str | None) -> Iterator[tuple[int | None, str]]:
        """All words of a key, each with its time [ns] or, where it has none, None. Raises
        NoSuchKeyError, RecordingError."""


def no_key(path: Path, key: str, have: Iterable[str], what: str = "key") -> NoSuchKeyError:
    """The error for a `key` that is not among those that the file has; `what`: the kind of key."""
    have = list(have)
    near = difflib.get_close_matches(key, have, n=1, cutoff=0.5)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    shown = ", ".join(have[:40]) + (", ..." if len(have) > 40 else "")
    message = f"{path}: wanted the {what} `{key}`, found {shown or 'none'}{hint}"
    return NoSuchKeyError(message, key, what)


@contextmanager
def if_there(what: str, optional: bool, notes: list[str]) -> Iterator[None]:
    """Go on without a key that the file does not have, where it is optional; `notes` then say that
    `what` is missing. Raises NoSuchKeyError where it is not optional."""
    try:
        yield
    except NoSuchKeyError as e:
        if not optional:
            raise
        notes.append(f"{what}: no {e.what} `{e.key}` in this file")
