"""What every kind of file gives: numbers by channel, moments, words."""

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


class NoSuchKeyError(RecordingError):
    """The file has no such key; an optional channel may do without."""

    def __init__(self, message: str, key: str, what: str) -> None:
        super().__init__(message)
        self.key, self.what = key, what


@dataclass(frozen=True)
class Raw:
    """A channel as the file has it: `columns` are their names and the units that these carry;
    `rate_hz` None for a single sample; `labels` the names of the values, such as joints, where the
    file has them."""

    samples: Samples
    columns: tuple[tuple[str, str | None], ...]
    rate_hz: float | None
    labels: tuple[str, ...] | None = None


class Source(Protocol):
    """`notes`: what is worth saying about the file itself. `odd`: how many things in it were left
    out because they could not be read."""

    path: Path

    @property
    def notes(self) -> list[str]: ...

    @property
    def odd(self) -> int: ...

    def keys(self) -> list[str]: ...

    def scale(self) -> Scale | None:
        """The arm's, where the file itself says."""

    def channels(self, wanted: Mapping[str, Channel]) -> dict[str, Raw]:
        """The channels, by telemetry field, without optional ones that the file does not have.
        Raises NoSuchKeyError, RecordingError, ConfigError."""

    def times(self, key: str, topic: str | None) -> Times:
        """A list of moments [ns]. Raises NoSuchKeyError, RecordingError."""

    def words(self, key: str, topic: str | None) -> Iterator[tuple[int | None, str]]:
        """(time [ns] or None, word). Raises NoSuchKeyError, RecordingError."""


def no_key(path: Path, key: str, have: Iterable[str], what: str = "key") -> NoSuchKeyError:
    have = list(have)
    near = difflib.get_close_matches(key, have, n=1, cutoff=0.5)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    shown = ", ".join(have[:40]) + (", ..." if len(have) > 40 else "")
    message = f"{path}: wanted the {what} `{key}`, found {shown or 'none'}{hint}"
    return NoSuchKeyError(message, key, what)


@contextmanager
def if_there(what: str, optional: bool, notes: list[str]) -> Iterator[None]:
    """Go on without a key that the file does not have, and say so, where it is optional."""
    try:
        yield
    except NoSuchKeyError as e:
        if not optional:
            raise
        notes.append(f"{what}: no {e.what} `{e.key}` in this file")
