"""The rows of one channel, collected from messages: by name where they carry names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.errors import ConfigError, RecordingError
from headway.tools.score import messages
from headway.tools.score.mapping import Channel
from headway.tools.score.messages import Found
from headway.tools.score.samples import Store
from headway.tools.score.stamps import Times

BLOCK = 4096
ODD = 0.1  # share of messages that may lack their values


class ChannelRows:
    """`add` message by message, then `finish`. `labels`: names of the columns, where messages have
    them."""

    def __init__(self, where: str, name: str, channel: Channel) -> None:
        self._where, self._name, self._channel = where, name, channel
        self.labels: tuple[str, ...] | None = None
        self._order: dict[tuple[str, ...], list[int] | None] = {}
        self._orders_seen: list[tuple[str, ...]] = []
        self._others = self._nameless = self._in_parts = 0
        self._told: set[str] = set()
        self._parts: dict[str, float] = {}  # of names that messages told since the last row
        self.empty = 0  # messages without a value
        self._width = 0
        self._store: Store | None = None
        self._rows: list[list[float]] = []
        self._times: list[int] = []
        self._t: list[Times] = []
        self._same: list[NDArray[np.bool_]] = []
        self._last: NDArray[np.float64] | None = None

    @property
    def untold(self) -> list[str]:
        """Names that no message has told, where messages hold a part each."""
        return [n for n in self.labels or () if n not in self._told] if self._in_parts else []

    def __len__(self) -> int:
        return sum(map(len, self._t)) + len(self._times)

    def add(self, t_ns: int, found: Sequence[Found]) -> None:
        """The values of a message, one `Found` a key. Raises RecordingError, ConfigError."""
        row: list[float] | None
        if len(found) == 1:
            row = self._by_name(found[0])
            if row is None:
                return
        else:
            self._refuse_names()
            row = [x for f in found for x in messages.numbers(f.value)]
        if not row:
            self.empty += 1
            return
        if not self._width:
            self._width = len(row)
            self._store = Store(len(row))
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

    def _refuse_names(self) -> None:
        if self._channel.names is not None:
            raise ConfigError(
                f"{self._where}: {self._name}: `names` wants one key whose elements have names, "
                f"found {len(self._channel.keys)} keys: leave `names` out"
            )

    def _by_name(self, found: Found) -> list[float] | None:
        """The numbers, in the order of the first message or of the mapping; None for a message
        about other names."""
        values = messages.numbers(found.value)
        if found.labels is None and self.labels is not None and values:
            self._nameless += 1
            return None
        if found.labels is None:
            if self._channel.names is not None and values:
                raise ConfigError(
                    f"{self._where}: {self._name}: `names` wants messages that name their values, "
                    f"those of `{self._channel.key}` have no `{'`, `'.join(messages.LABELS)}` "
                    "beside them: choose with `columns`"
                )
            return values
        if self._width and self.labels is None:
            raise RecordingError(
                f"{self._where}: {self._name}: wanted names beside the values in every message or "
                f"in none, found the first in message {len(self) + 1}: the ones before cannot be "
                "told apart; choose messages by `where`"
            )
        if found.labels not in self._order:
            self._order[found.labels] = self._order_of(found.labels)
        order = self._order[found.labels]
        if order is None:
            self._others += 1
            return None
        if len(order) == len(self.labels or ()):
            return [values[i] for i in order]
        return self._completed(found.labels, values)

    def _completed(self, labels: tuple[str, ...], values: list[float]) -> list[float] | None:
        """The values of all names once messages about some of them have told each; None before."""
        told = dict(zip(labels, values, strict=True))
        self._parts |= {n: told[n] for n in self.labels or () if n in told}
        self._told |= set(labels)
        self._in_parts += 1
        if len(self._parts) < len(self.labels or ()):
            return None
        row = [self._parts[n] for n in self.labels or ()]
        self._parts = {}
        return row

    def _order_of(self, labels: tuple[str, ...]) -> list[int] | None:
        if len(set(labels)) < len(labels):
            raise RecordingError(
                f"{self._where}: wanted names that differ, found {', '.join(labels)}: the message "
                "does not say which value is whose"
            )
        wanted = self._channel.names
        if self.labels is None:
            self.labels = tuple(wanted) if wanted is not None else labels
        if all(n in labels for n in self.labels) and (
            wanted is not None or len(labels) == len(self.labels)
        ):
            self._orders_seen.append(labels)
            return [labels.index(n) for n in self.labels]
        some = [n for n in self.labels if n in labels]
        if wanted is not None and not some:
            return None
        if wanted is not None and len(some) < len(self.labels):
            return [labels.index(n) for n in some]  # the others come in other messages
        fix = "name all that the channel means, by `names = [...]`"
        raise RecordingError(
            f"{self._where}: {self._name}: wanted values of {', '.join(self.labels)} in each "
            f"message, found one of {', '.join(labels)}: {fix}"
        )

    def _flush(self) -> None:
        if not self._rows or self._store is None:
            return
        try:
            x = np.array(self._rows, np.float64)
        except (TypeError, ValueError):
            raise RecordingError(
                f"{self._where}: wanted numbers at `{self._channel.key}`, found "
                f"{self._rows[0]!r:.80}"
            ) from None
        t = np.array(self._times, np.int64)
        before = np.vstack(
            [np.full((1, self._width), np.inf) if self._last is None else self._last, x[:-1]]
        )
        self._same.append(((x == before) | (np.isnan(x) & np.isnan(before))).all(axis=1))
        self._t.append(t)
        self._store.append(x)
        self._last = x[-1:]
        self._rows, self._times = [], []

    def finish(self, notes: list[str]) -> tuple[Store, Times, NDArray[np.bool_]]:
        """The values, their times, and which equal the ones before; says what was left out."""
        self._flush()
        assert self._store is not None
        total = len(self) + self.empty
        if self.empty > ODD * total and not self._channel.optional:
            raise RecordingError(
                f"{self._where}: wanted values in `{self._channel.key}`, found none in "
                f"{self.empty} of {total} messages: mark the channel `optional = true`, or leave "
                "it out"
            )
        if self._nameless > ODD * (total + self._nameless):
            raise RecordingError(
                f"{self._where}: {self._name}: wanted the names of the values in each message, "
                f"found none in {self._nameless} of {total + self._nameless}: nobody can tell "
                "whose they are; choose messages by `where`"
            )
        said = []
        if self._nameless:
            said.append(f"{self._name}: {self._nameless} messages without names left out")
        if self._in_parts:
            said.append(
                f"{self._name}: put together from {self._in_parts} messages that hold a part each, "
                "at the time of the last part"
            )
        if self.empty:
            said.append(f"{self.empty} of {total} messages have no value of {self._name}")
        if self._others:
            said.append(
                f"{self._name}: {self._others} messages of other names than "
                f"{', '.join(self.labels or ())} passed over"
            )
        if len(self._orders_seen) > 1:
            said.append(
                f"{self._name}: the order of the names changes ({len(self._orders_seen)} orders): "
                "values are taken by name"
            )
        notes += [f"{self._where.rpartition(': ')[2]}: {text}" for text in said]
        return self._store, np.concatenate(self._t), np.concatenate(self._same)
