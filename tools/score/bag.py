"""Logs of messages as a source: MCAP files (ROS 2, protobuf, JSON) and ROS bags.

One pass over a topic gives all channels that are mapped to it. Joints are taken by name where
messages name them. A topic that could mean two things, since it has two schemas, two publishers or
two frames, is refused until the mapping says which one is meant. Messages that cannot be read are
left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from headway.clock import NS
from headway.errors import ConfigError, RecordingError
from headway.kernels.telemetry import Scale
from headway.mcaplog import Message, Recording
from headway.tools.score import messages
from headway.tools.score.columns import ChannelRows
from headway.tools.score.log import Log
from headway.tools.score.mapping import Channel, Time
from headway.tools.score.samples import Samples, Store
from headway.tools.score.source import ODD, NoSuchKeyError, Raw, if_there, no_key
from headway.tools.score.stamps import LATEST, UNITS_NS, Times, clean, date_ns

FRAME = "header.frame_id"  # where ROS messages name the frame of their values


class Bag:
    """A log of messages. Times are those of the log, unless the mapping names a stamp in
    messages."""

    episode = ""

    def __init__(self, log: Log, time: Time, default_topic: str | None) -> None:
        """`time`: what the mapping says about the stamps; `default_topic`: of channels that name
        none. Raises RecordingError for a log without messages, ConfigError."""
        path = log.path
        self.path, self._unit = path, UNITS_NS[time.unit or "s"]
        if isinstance(time.key, list):
            raise ConfigError(
                f"{path}: `time.key` wants one path in a log of messages, such as "
                f"header.stamp, found {len(time.key)}"
            )
        if time.unit is not None and time.key is None:
            raise ConfigError(
                f"{path}: `time.unit` is for `time.key`; the log's own times are nanoseconds: "
                "leave it out, or name a stamp"
            )
        self._stamp, self._has_unit = time.key, time.unit is not None
        self.log = log
        self._default = default_topic
        self._notes: list[str] = []
        self._odd = 0
        if not self.log.topics:
            raise RecordingError(f"{path}: wanted messages, found an empty recording")

    @property
    def notes(self) -> list[str]:
        return [*self.log.notes, *self._notes]

    @property
    def odd(self) -> int:
        return self._odd + len(self.log.damage) + self.log.truncated

    def keys(self) -> list[str]:
        topic = self._default
        if topic not in self.log.topics or topic is None:
            return list(self.log.topics)
        return messages.fields(next((m for _, m, _ in self._messages(topic)), None))

    def _topic(self, topic: str | None) -> str:
        """The topic that a mapping means. Raises NoSuchKeyError, ConfigError without one."""
        topic = topic or self._default
        if topic is None:
            raise ConfigError(
                f"{self.path}: a channel wants a key `topic`, one of {', '.join(self.log.topics)}"
            )
        if topic not in self.log.topics:
            raise no_key(self.path, topic, self.log.topics, "topic")
        return topic

    def channels(self, wanted: Mapping[str, Channel]) -> dict[str, Raw]:
        out: dict[str, Raw] = {}
        by_topic: dict[str, dict[str, Channel]] = {}
        for name, channel in wanted.items():
            if channel.time is not None:
                raise ConfigError(
                    f"{self.path}: [channels.{name}] `time` is for arrays (.npz, HDF5), found a "
                    "log of messages: name a stamp in them by `time.key`"
                )
            with if_there(name, channel.optional, self._notes):
                by_topic.setdefault(self._topic(channel.topic), {})[name] = channel
        for topic, group in by_topic.items():
            for name, raw in (self._our_rows(topic, group) or self._of_topic(topic, group)).items():
                with if_there(name, group[name].optional, self._notes):
                    if isinstance(raw, NoSuchKeyError):
                        raise raw
                    out[name] = raw
        return out

    def scale(self) -> Scale | None:
        """The limits of the arm, where Headway made the recording."""
        text = self.log.metadata.get("scale")
        return None if text is None else Scale.from_json(text, str(self.path))

    def _our_rows(
        self, topic: str, group: Mapping[str, Channel]
    ) -> dict[str, Raw | NoSuchKeyError] | None:
        """The channels of a topic that Headway recorded: its rows need no decoding one by one. None
        for other topics, and for what only messages can be asked."""
        log = self.log
        plain = all(len(c.keys) == 1 and not (c.where or c.names) for c in group.values())
        if not plain or self._stamp is not None:
            return None
        if not isinstance(log, Recording) or not log.has_rows(topic):
            return None
        t, rows = log.timed_rows(topic)
        if not len(rows):
            return None
        made = clean(t, np.zeros(len(t), np.bool_), f"{self.path}: {topic}")
        self._notes += [f"{topic}: {n}" for n in made.notes]
        out: dict[str, Raw | NoSuchKeyError] = {}
        for name, channel in group.items():
            key = channel.keys[0]
            if key not in (rows.dtype.names or ()):
                out[name] = no_key(self.path, key, rows.dtype.names or (), f"field of {topic}")
                continue
            x = rows[key].astype(np.float64).reshape(len(rows), -1)
            store = Store(x.shape[1])
            store.append(x)
            samples = Samples(made.t, store, made.pick)
            out[name] = Raw(samples, ((key, None),) * x.shape[1], made.rate_hz)
        return out

    def _of_topic(
        self, topic: str, group: Mapping[str, Channel]
    ) -> dict[str, Raw | NoSuchKeyError]:
        """The channels of a topic, from its messages one by one."""
        rows = {n: ChannelRows(self.path, topic, n, c) for n, c in group.items()}
        publishers = {n: self._publishers(topic, c) for n, c in group.items()}
        frames: set[str] = set()
        out: dict[str, Raw | NoSuchKeyError] = {}
        for t_ns, message, number in self._messages(topic):
            for name, channel in group.items():
                if name in out or number not in publishers[name]:
                    continue
                if any(self._value(topic, message, k) != v for k, v in channel.where.items()):
                    continue
                if FRAME not in channel.where:
                    frames |= _frame(message)
                try:
                    rows[name].add(t_ns, [messages.at(message, k) for k in channel.keys])
                except messages.NoFieldError as e:
                    out[name] = no_key(
                        self.path, ", ".join(channel.keys), e.have, f"field of {topic}"
                    )
        if len(frames) > 1:
            raise RecordingError(
                f"{self.path}: {topic}: wanted values of one frame, found those of "
                f"{', '.join(sorted(map(repr, frames)))}: choose by "
                f'`where = {{ "{FRAME}" = "{min(frames)}" }}` in the channel'
            )
        for name, found in rows.items():
            if name in out:
                continue
            try:
                out[name] = found.finish(arrival=self._stamp is None)
            except NoSuchKeyError as e:
                out[name] = e
            self._odd += found.odd
            self._notes += [n for n in found.notes if n not in self._notes]
        return out

    def _publishers(self, topic: str, channel: Channel) -> set[int]:
        """The numbers of the publishers that a channel of the mapping means. Raises
        RecordingError for a topic of several schemas or publishers where the mapping does not
        choose."""
        there = self.log.channels(topic)
        schemas = sorted({c.schema for c in there})
        if channel.schema is not None and channel.schema not in schemas:
            raise no_key(self.path, channel.schema, schemas, f"schema on {topic}")
        if len(schemas) > 1 and channel.schema is None:
            raise RecordingError(
                f"{self.path}: {topic}: wanted messages of one schema, found "
                f"{', '.join(schemas)}: choose by `schema` in the channel"
            )
        numbers = {c.number for c in there if channel.schema in (None, c.schema)}
        if channel.publisher is not None:
            if channel.publisher not in numbers:
                raise no_key(
                    self.path, str(channel.publisher), map(str, numbers), f"publisher on {topic}"
                )
            return {channel.publisher}
        if len(numbers) > 1 and self._interleaved(topic, numbers):
            raise RecordingError(
                f"{self.path}: {topic}: wanted one publisher, found {len(numbers)} (channels "
                f"{', '.join(map(str, sorted(numbers)))}): choose by `publisher` in the channel"
            )
        return numbers

    def _interleaved(self, topic: str, numbers: set[int]) -> bool:
        """Whether the publishers `numbers` of a topic were written at the same time. They are
        written one after the other where one program was started again."""
        spans: dict[int, tuple[int, int]] = {}
        for m in self.log.messages(topic):
            if m.channel not in numbers:
                continue
            first, last = spans.get(m.channel, (m.t_ns, m.t_ns))
            spans[m.channel] = min(first, m.t_ns), max(last, m.t_ns)
        in_order = sorted(spans.values())
        return any(b[0] < a[1] for a, b in pairwise(in_order))

    def _messages(self, topic: str) -> Iterator[tuple[int, Any, int]]:
        """All messages that can be read: (time [ns], message, its publisher). Raises
        RecordingError where these are too few."""
        there = self.log.channels(topic)
        decoders = {c.number: self.log.decoder(c.number) for c in there}
        total, odd, example = 0, 0, ""
        for m in self.log.messages(topic):
            total += 1
            try:
                message = decoders[m.channel](m.data)
                t_ns = self._time(topic, m, message)
            except (NoSuchKeyError, ConfigError):
                raise
            except Exception as e:  # whatever a decoder makes of damaged bytes
                odd, example = odd + 1, example or str(e) or type(e).__name__
                continue
            yield t_ns, message, m.channel
        if odd > ODD * total:
            raise RecordingError(
                f"{self.path}: {topic}: {odd} of {total} messages cannot be used, the first: "
                f"{example}: check `time.key`, or record it again"
            )
        note = f"{topic}: {odd} of {total} messages left out, the first: {example}"
        if odd and note not in self._notes:  # a topic may be read several times
            self._notes.append(note)
            self._odd += odd

    def _time(self, topic: str, m: Message, message: Any) -> int:
        """When a message was made [ns]. Raises ValueError for a time that cannot be right."""
        t_ns, what = m.t_ns, "log time"
        if self._stamp is not None:
            t_ns, what = self._stamped(topic, message, self._stamp), f"`{self._stamp}`"
            if t_ns == 0 and m.t_ns > 10**18:
                raise ValueError(f"{what} was never set")
        if not 0 <= t_ns <= LATEST:
            raise ValueError(f"{what} {t_ns} ns is no time")
        return t_ns

    def _stamped(self, topic: str, message: Any, key: str) -> int:
        """The time [ns] at the path `key` of a message: a stamp of seconds and nanoseconds, a
        number in the mapping's unit, or a date."""
        value = self._value(topic, message, key)
        for sec, nano in messages.STAMPS:
            if messages.has(value, sec) and messages.has(value, nano):
                if self._has_unit:
                    raise ConfigError(
                        f"{self.path}: {topic}: `time.unit` is for numbers; `{key}` has seconds "
                        "and nanoseconds: leave it out"
                    )
                return int(messages.get(value, sec)) * NS + int(messages.get(value, nano))
        if isinstance(value, int) and not isinstance(value, bool):
            return value * self._unit
        if isinstance(value, float):
            return round(value * self._unit)
        if isinstance(value, str) and (ns := date_ns(value)) is not None:
            return ns
        raise NoSuchKeyError(
            f"{self.path}: {topic}: wanted a time stamp or a number at `{key}`, found "
            f"{type(value).__name__}",
            key,
            "stamp",
        )

    def times(self, key: str, topic: str | None) -> Times:
        topic = self._topic(topic)
        out: list[int] = []
        for _, message, _ in self._messages(topic):
            value = self._value(topic, message, key)
            try:
                out += [round(float(v) * self._unit) for v in messages.numbers(value)]
            except (TypeError, ValueError, OverflowError):
                raise RecordingError(
                    f"{self.path}: {topic}: wanted times as numbers at `{key}`, found "
                    f"{value!r:.60}: check the key"
                ) from None
        return np.array(out, np.int64)

    def words(self, key: str, topic: str | None) -> Iterator[tuple[int | None, str]]:
        topic = self._topic(topic)
        for t_ns, message, _ in self._messages(topic):
            yield t_ns, str(self._value(topic, message, key))

    def _value(self, topic: str, message: Any, key: str) -> Any:
        """What a message has at the path `key`. Raises NoSuchKeyError."""
        try:
            return messages.at(message, key).value
        except messages.NoFieldError as e:
            raise no_key(self.path, key, e.have, f"field of {topic}") from None


def _frame(message: Any) -> set[str]:
    """The frame that a message names, as a set that is empty where it names none."""
    try:
        value = messages.at(message, FRAME).value
    except messages.NoFieldError:
        return set()
    return {value} if isinstance(value, str) and value else set()
