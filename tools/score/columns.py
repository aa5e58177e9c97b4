"""The samples of one channel, collected from messages: by name where the values have names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headway.errors import ConfigError, RecordingError
from headway.tools.score import messages, units
from headway.tools.score.grid import CUBIC
from headway.tools.score.mapping import Channel
from headway.tools.score.messages import Found
from headway.tools.score.samples import BLOCK, Series
from headway.tools.score.source import ODD, NoSuchKeyError, Raw


class ChannelRows:
    """`add` message by message, then `finish`, which fills `notes` with what was made of the
    messages, and `odd` with how many samples had to be left out."""

    def __init__(self, path: Path, topic: str, name: str, channel: Channel) -> None:
        """`name`: of the telemetry field that `channel` maps to messages of `topic`."""
        self._topic, self._name, self._channel = topic, name, channel
        self._where = f"{path}: {topic}"
        self.notes: list[str] = []
        self.odd = 0
        self._series = Series()
        self._times: list[int] = []  # of the rows that are not in the series yet [ns]
        self._rows: list[list[float]] = []
        self._width = 0  # values of a row, 0 until there is one
        self._labels: tuple[str, ...] = ()  # the names of a row's values, where messages have them
        # For each list of names that messages have: where in such a message the values of `_labels`
        # are, as far as it has them.
        self._places: dict[tuple[str, ...], list[int]] = {}
        self._parts: dict[str, float] = {}  # by name, from messages that hold a part of a row each
        # How many messages have no value, have no names where others have, are about other names,
        # and hold a part of a row.
        self._empty = self._nameless = self._others = self._in_parts = 0

    def add(self, t_ns: int, found: Sequence[Found]) -> None:
        """Take in a message with the time `t_ns`, in which each key of the channel was `found`.
        Raises RecordingError, ConfigError."""
        if len(found) == 1:
            row = self._by_name(found[0])
        elif self._channel.names is None:
            row = [x for f in found for x in messages.numbers(f.value)]
        else:
            raise ConfigError(
                f"{self._where}: {self._name}: `names` wants one key whose elements have names, "
                f"found {len(found)} keys: leave `names` out"
            )
        if row is None:
            return
        if not row:
            self._empty += 1
            return
        self._width = self._width or len(row)
        if len(row) != self._width:
            raise RecordingError(
                f"{self._where}: wanted the same number of values in every "
                f"`{self._channel.key}`, found {sorted({self._width, len(row)})} (at "
                f"{t_ns} ns): name one that is a number or a fixed list, or choose by `where`"
            )
        self._rows.append(row)
        self._times.append(t_ns)
        if len(self._rows) == BLOCK:
            self._flush()

    def _by_name(self, found: Found) -> list[float] | None:
        """The numbers, in the order of the names in the mapping or else in the first message.
        Empty for a message without a value, None for one that does not complete a row."""
        values = messages.numbers(found.value)
        if found.labels is None:
            if values and self._labels:
                self._nameless += 1
                return None
            if values and self._channel.names is not None:
                raise ConfigError(
                    f"{self._where}: {self._name}: `names` wants messages that name their values, "
                    f"those of `{self._channel.key}` have no `{'`, `'.join(messages.LABELS)}` "
                    "beside them: choose with `columns`"
                )
            return values
        if self._width and not self._labels:
            raise RecordingError(
                f"{self._where}: {self._name}: wanted names beside the values in every message or "
                f"in none, found the first in message {len(self._series) + len(self._rows) + 1}: "
                "the ones before cannot be told apart; choose messages by `where`"
            )
        if found.labels not in self._places:
            self._places[found.labels] = self._find(found.labels)
        places = self._places[found.labels]
        if len(places) == len(self._labels):
            return [values[i] for i in places]
        if not places:
            self._others += 1
            return None
        self._in_parts += 1
        self._parts |= {found.labels[i]: values[i] for i in places}
        if len(self._parts) < len(self._labels):
            return None
        row = [self._parts[n] for n in self._labels]
        self._parts = {}
        return row

    def _find(self, labels: tuple[str, ...]) -> list[int]:
        """Where the values of `_labels` are in messages with the names `labels`. The mapping may
        choose some of the names of a message, and names that come in several messages; without it
        all messages have the same names."""
        if len(set(labels)) < len(labels):
            raise RecordingError(
                f"{self._where}: wanted names that differ, found {', '.join(labels)}: the message "
                "does not say which value is whose"
            )
        self._labels = self._labels or tuple(self._channel.names or labels)
        if self._channel.names is None and set(labels) != set(self._labels):
            raise RecordingError(
                f"{self._where}: {self._name}: wanted values of {', '.join(self._labels)} in each "
                f"message, found one of {', '.join(labels)}: name all that the channel means, by "
                "`names = [...]`"
            )
        return [labels.index(n) for n in self._labels if n in labels]

    def _flush(self) -> None:
        """Move the rows to the series."""
        if not self._rows:
            return
        try:
            x = np.array(self._rows, np.float64)
        except (TypeError, ValueError):
            raise RecordingError(
                f"{self._where}: wanted numbers at `{self._channel.key}`, found "
                f"{self._rows[0]!r:.80}"
            ) from None
        self._series.append(np.array(self._times, np.int64), x)
        self._rows, self._times = [], []

    def finish(self, *, arrival: bool) -> Raw:
        """The channel. `arrival`: the times say when messages were written, not when their values
        were measured. Raises NoSuchKeyError where there are no values, RecordingError where too
        many messages had to be left out."""
        self._flush()
        self._check()
        if self._nameless:
            self._note(f"{self._name}: {self._nameless} messages without names left out")
        if self._in_parts:
            self._note(
                f"{self._name}: put together from {self._in_parts} messages that hold a part each, "
                "at the time of the last part"
            )
        if self._empty:
            total = len(self._series) + self._empty
            self._note(f"{self._empty} of {total} messages have no value of {self._name}")
        if self._others:
            self._note(
                f"{self._name}: {self._others} messages of other names than "
                f"{', '.join(self._labels)} passed over"
            )
        orders = sum(len(places) == len(self._labels) for places in self._places.values())
        if orders > 1:
            self._note(
                f"{self._name}: the order of the names changes ({orders} orders): values are taken "
                "by name"
            )
        smooth = range(self._width) if self._name in CUBIC else ()
        samples, made = self._series.cleaned(self._where, smooth=smooth, arrival=arrival)
        for text in made.notes:
            self._note(text)
        self.odd = made.odd
        keys = self._channel.keys
        if self._labels:
            columns = [(label, units.of_name(keys[0])) for label in self._labels]
        else:
            columns = [(k, units.of_name(k)) for k in keys for _ in range(self._width // len(keys))]
        return Raw(samples, tuple(columns), made.rate_hz, self._labels or None)

    def _note(self, text: str) -> None:
        self.notes.append(f"{self._topic}: {text}")

    def _check(self) -> None:
        """Raises the errors of `finish`."""
        found, keys = len(self._series), ", ".join(self._channel.keys)
        if not found and self._in_parts:
            told = {n for labels in self._places for n in labels}
            raise RecordingError(
                f"{self._where}: {self._name}: wanted values of {', '.join(self._labels)}, found "
                f"none of {', '.join(n for n in self._labels if n not in told)}: correct `names`"
            )
        if not found and self._others:
            others = dict.fromkeys(n for labels in self._places for n in labels)
            raise NoSuchKeyError(
                f"{self._where}: {self._name}: wanted values of {', '.join(self._labels)}, found "
                f"those of {', '.join(others)}: correct `names`",
                ", ".join(self._labels),
                f"name in `{keys}` of {self._topic}",
            )
        if not found:
            raise NoSuchKeyError(
                f"{self._where}: wanted values in `{keys}`, found none in {self._empty} messages: "
                "leave the channel out, or mark it `optional = true`",
                keys,
                f"value on {self._topic} at",
            )
        if self._empty > ODD * (found + self._empty) and not self._channel.optional:
            raise RecordingError(
                f"{self._where}: wanted values in `{keys}`, found none in {self._empty} of "
                f"{found + self._empty} messages: mark the channel `optional = true`, or leave it "
                "out"
            )
        total = found + self._empty + self._nameless
        if self._nameless > ODD * total:
            raise RecordingError(
                f"{self._where}: {self._name}: wanted the names of the values in each message, "
                f"found none in {self._nameless} of {total}: nobody can tell whose they are; "
                "choose messages by `where`"
            )
