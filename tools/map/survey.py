"""What is in a file of telemetry: everything that a mapping can name, with rates and ranges."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headway.errors import ConfigError, RecordingError
from headway.tools.score import messages
from headway.tools.score.arrays import Arrays
from headway.tools.score.bag import FRAME, Bag
from headway.tools.score.files import episodes_of, open_source
from headway.tools.score.mapping import Channel, Mapping, Time
from headway.tools.score.source import NoSuchKeyError, Source
from headway.tools.score.stamps import LATEST, Times, rate_of
from headway.tools.score.table import STAMPS as NAMES
from headway.tools.score.table import Table
from headway.types import Vec

MOST_ROWS = 200_000  # of a table that ranges are taken from
MOST_MESSAGES = 10_000  # of a topic
HEAVY = 20_000  # [bytes] a message of a camera or a point cloud, of which one is looked into
UNSTAMPED_HZ = 50.0  # for files without stamps, until somebody corrects it
DEEPEST = 8  # messages inside each other that are looked into
ITEMS = 16  # items of a list of messages that are looked into
RATES = ("fps", "hz", "rate", "rate_hz", "frequency", "control_freq")  # names of a rate [Hz]
LIST = "list"  # the kind of numbers that are no samples, as the times of events
STAMPS = ("header.stamp", "timestamp", "stamp")  # where messages say when they were made

UNITS: tuple[Literal["ms", "us", "ns"], ...] = ("ms", "us", "ns")
SLOWEST_HZ = 2.0  # slower samples are not of a robot, or their stamps are in another unit
SLOW_HZ, FAST_HZ = 5.0, 5_000.0  # rates that another unit has to make of them

Progress = Callable[[str], object]  # is called with what is being looked at


@dataclass
class Entry:
    """Something that a mapping can name: values over time, or words."""

    key: str
    topic: str | None = None  # None in tables
    kind: str = ""  # the type of the message, else that of the values
    width: int = 0  # values a sample, 0 for words
    labels: tuple[str, ...] | None = None  # names of the values
    unit: str | None = None  # that the name carries
    rate_hz: float | None = None
    low: float = math.inf
    high: float = -math.inf
    each: list[float] = field(default_factory=list)  # the largest magnitude of each value
    word: str = ""  # an example of the words
    frame: str = ""  # the frame that the messages name
    time: str | None = None  # the array of its own stamps
    problem: str = ""  # why it cannot be mapped

    def see(self, x: NDArray[Any]) -> None:
        """Widen the range by samples `x` (m, k)."""
        finite = np.isfinite(x)
        largest = np.where(finite, np.abs(x), 0.0).max(axis=0, initial=0.0).tolist()
        if len(largest) == len(self.each):
            largest = [max(pair) for pair in zip(self.each, largest, strict=True)]
        self.each = largest
        known = x[finite]
        if len(known):
            self.low = min(self.low, float(known.min()))
            self.high = max(self.high, float(known.max()))

    @property
    def largest(self) -> float:
        """The largest magnitude that was seen, 0 where none was."""
        return max(abs(self.low), abs(self.high)) if self.low <= self.high else 0.0


@dataclass(frozen=True)
class Survey:
    """What is in a file."""

    path: Path
    episode: str  # the one that was looked at, "" where the file is one
    episodes: int
    entries: list[Entry]
    time: Time  # that the file can be opened with
    stamp: str  # the column of the stamps, or the path to those in messages; "" where there is none
    stampless: tuple[str, ...] = ()  # topics whose messages have no stamp
    notes: list[str] = field(default_factory=list)

    @property
    def is_bag(self) -> bool:
        return any(e.topic is not None for e in self.entries)


def survey(path: Path, progress: Progress = lambda _: None) -> Survey:
    """Look at the first episode of a file or data set. Raises RecordingError, ConfigError and
    Missing for what cannot be opened."""
    names = episodes_of(path)
    source, time, entries = _opened(path, names[0], progress)
    if isinstance(source, Bag):
        entries, stampless = _of_bag(source, progress)
        stamp = next((s for s in STAMPS if any(s not in x for x in stampless.values())), "")
        lacking = tuple(t for t, missing in stampless.items() if stamp in missing) if stamp else ()
        own = [
            "Headway recorded this: `headway score` needs no mapping for it, and "
            "examples/score/headway.toml is one to train PRO by"
        ]
        notes = own * ("scale" in source.log.metadata)
        notes += [f"of each topic at most {MOST_MESSAGES} messages were looked at"]
        return Survey(path, names[0], len(names), entries, time, stamp, lacking, notes)
    stamps = source.stamps.keys if isinstance(source, Table) else ()
    stamp = stamps[0] if stamps else ""
    kept = [e for e in entries if e.key not in stamps]
    notes = [f"at most {MOST_ROWS} rows were looked at"]
    return Survey(path, names[0], len(names), kept, time, stamp, (), notes)


def _opened(path: Path, episode: str, progress: Progress) -> tuple[Source, Time, list[Entry]]:
    """The file, what makes its stamps plausible, and what is in it where it is a table. Stamps are
    seconds, or of the unit that makes their rate one of a robot."""
    wrong: ConfigError | None = None
    for time in (Time(), *(Time(unit=unit) for unit in UNITS)):
        try:
            source, _ = open_source(path, _plain(time), episode)
        except NoSuchKeyError:  # no column has the name of a stamp
            time = Time(rate_hz=UNSTAMPED_HZ)
            source, _ = open_source(path, _plain(time), episode)
            entries = list(_of_table(source, progress))
            return source, _own_rate(entries) or time, entries
        except ConfigError as e:  # too large for this unit
            wrong = wrong or e
            continue
        if isinstance(source, Bag):
            return source, time, []
        entries = list(_of_table(source, progress))
        rates = [e.rate_hz for e in entries if e.rate_hz is not None]
        usual = rates[0] if rates else SLOWEST_HZ
        if usual >= SLOWEST_HZ if time == Time() else SLOW_HZ <= usual <= FAST_HZ:
            return source, time, entries
    if wrong is not None:
        raise wrong
    source, _ = open_source(path, _plain(Time()), episode)
    return source, Time(), list(_of_table(source, progress))


def _own_rate(entries: Sequence[Entry]) -> Time | None:
    """The rate that a file without stamps says in a word, such as an attribute `fps`."""
    for entry in entries:
        if entry.key.lstrip("@").rpartition("/")[2].lower() not in RATES:
            continue
        try:
            hz = float(entry.word or entry.high)
        except ValueError:
            continue
        if SLOW_HZ <= hz <= FAST_HZ:
            for other in entries:
                other.rate_hz = hz if other.rate_hz is not None else None
            return Time(rate_hz=hz)
    return None


def _plain(time: Time) -> Mapping:
    return Mapping(channels={"q": Channel(key="q")}, time=time)


def _of_table(source: Source, progress: Progress) -> Iterator[Entry]:
    for key in list(source.keys()):
        progress(key)
        entry = Entry(key)
        if isinstance(source, Arrays) and len(shape := source.array(key).shape) > 2:
            entry.kind, entry.problem = "images or the like", f"of shape {shape}"
            yield entry
            continue
        try:
            if isinstance(source, Table) and key in source.names:
                _numbers(source, key, entry)
        except RecordingError as e:
            entry.problem = str(e)
        if not entry.width or entry.low > entry.high:
            _words(source, entry)
        yield entry


def _numbers(source: Table, key: str, entry: Entry) -> None:
    """Fill in what the column `key` holds. Raises RecordingError where these are no numbers."""
    if isinstance(source, Arrays):
        entry.time = _own_stamps(source, key)
    columns, blocks = source.read([key], entry.time)
    entry.unit, entry.labels, entry.kind = source.unit(key), source.labels(key), "numbers"
    times: list[Times] = []
    rows = 0
    for t, x in blocks:
        entry.see(x)
        times.append(t)
        rows += len(t)
        if rows >= MOST_ROWS:
            break
    entry.width = len(columns)
    if rows > 1:
        entry.rate_hz = rate_of(np.sort(np.concatenate(times)))


def _own_stamps(source: Arrays, key: str) -> str | None:
    """The array of stamps for an array of another length than the table's stamps: one of that
    length with the name of stamps beside it, or one of its name in a group of stamps."""
    if not source.stamps.keys:
        return None
    n, usual = source.array(key).shape[:1], source.array(source.stamps.keys[0]).shape[:1]
    if n == usual:
        return None
    group, _, name = key.rpartition("/")
    for other in source.names:
        place, _, last = other.rpartition("/")
        beside = place == group and last in NAMES
        named = last == name and any(w in place.lower() for w in ("time", "stamp"))
        prefixed = last in (f"{name}_t", f"{name}_time", f"t_{name}", f"{name}_timestamp")
        if other != key and (beside or named or prefixed) and source.array(other).shape == n:
            return other
    return None


def _words(source: Source, entry: Entry) -> None:
    """Fill in an example, where the key holds words."""
    try:
        words = [w for _, w in islice(source.words(entry.key, None), 100)]
    except RecordingError:
        return
    entry.word = next((w for w in words if w.strip() and w != "nan"), "")
    if entry.word:
        number = isinstance(source, Arrays) and source.array(entry.key).dtype.kind in "fiu"
        entry.kind = LIST if number and entry.problem else "words"
        entry.width, entry.problem = 0, ""


def _of_bag(bag: Bag, progress: Progress) -> tuple[list[Entry], dict[str, tuple[str, ...]]]:
    """What the messages of all topics hold, and by topic which of `STAMPS` they do not have."""
    entries: list[Entry] = []
    missing: dict[str, tuple[str, ...]] = {}
    for topic in bag.log.topics:
        progress(topic)
        kind = ", ".join(sorted({c.schema for c in bag.log.channels(topic)}))
        found: dict[str, Entry] = {}
        times: list[int] = []
        has: set[str] = set()
        try:
            for t_ns, message, size in _few_messages(bag, topic):
                if t_ns <= LATEST:  # of a clock that was not set there may be 2^64 - 5
                    times.append(t_ns)
                if not has:
                    has = {s for s in STAMPS if _is_set(_at(message, s))}
                for key, value, labels in _leaves(message):
                    entry = found.setdefault(key, Entry(key, topic, kind, labels=labels))
                    _take(entry, value)
                    entry.frame = entry.frame or str(_at(message, FRAME) or "")
                if size > HEAVY:
                    break
        except RecordingError as e:
            found.setdefault("", Entry("", topic, kind)).problem = str(e)
        rate = rate_of(np.sort(np.array(times, np.int64))) if len(times) > 1 else None
        for entry in found.values():
            entry.rate_hz = rate
        entries += found.values()
        missing[topic] = tuple(s for s in STAMPS if s not in has)
    return entries, missing


def _few_messages(bag: Bag, topic: str) -> Iterator[tuple[int, Any, int]]:
    """Some messages of a topic: (time [ns], message, size [bytes]). Those that cannot be decoded
    are passed over. Raises RecordingError where none of them can."""
    decoders = {c.number: bag.log.decoder(c.number) for c in bag.log.channels(topic)}
    good, why = 0, ""
    for m in islice(bag.log.messages(topic), MOST_MESSAGES):
        try:
            message = decoders[m.channel](m.data)
        except Exception as e:  # whatever a decoder makes of damaged bytes
            why = why or str(e) or type(e).__name__
            continue
        good += 1
        yield m.t_ns, message, len(m.data)
    if why and not good:
        raise RecordingError(f"no message can be decoded: {why}")


def _take(entry: Entry, value: Any) -> None:
    if isinstance(value, str):
        entry.word = entry.word or value
        return
    x = np.asarray(messages.numbers(value), np.float64)
    entry.width = max(entry.width, len(x))
    entry.see(x[None])


def _leaves(
    value: Any, way: str = "", around: Any = None, deep: int = DEEPEST
) -> Iterator[tuple[str, Any, tuple[str, ...] | None]]:
    """The numbers and words in a message, each with its path and the names of its elements."""
    root = value if around is None else around
    if isinstance(value, (str, bool, int, float, np.generic)):
        if way:
            yield way, value, None
        return
    if isinstance(value, (bytes, bytearray)) or value is None or not deep:
        return
    items = messages.as_list(value)
    if items is not None:
        if not items or all(isinstance(i, (bool, int, float, np.generic)) for i in items):
            if items and len(items) <= HEAVY // 8:
                yield way, value, messages.at(root, way).labels
        elif not isinstance(items[0], str):
            for i, item in enumerate(items[:ITEMS]):
                named = (
                    str(messages.get(item, n)) for n in messages.ITEM_NAMES if messages.has(item, n)
                )
                yield from _leaves(item, f"{way}.{next(named, str(i))}", root, deep - 1)
        return
    if way and _is_vector(value):
        yield way, value, None
        return
    for name in messages.fields(value):
        path = f"{way}.{name}" if way else name
        if path == "header" or (not way and name in STAMPS):
            continue
        yield from _leaves(messages.get(value, name), path, root, deep - 1)


def _is_vector(value: Any) -> bool:
    """Whether a message stands for several numbers, as a pose does."""
    try:
        x: Vec = np.asarray(messages.numbers(value), np.float64)
    except (TypeError, ValueError):
        return False
    return x.ndim == 1 and len(x) > 1


def _is_set(stamp: Any) -> bool:
    """Whether a stamp in a message is a time that was set."""
    if isinstance(stamp, (int, float, str)):
        return bool(stamp)
    return any(
        bool(messages.get(stamp, sec) or messages.get(stamp, nano))
        for sec, nano in messages.STAMPS
        if messages.has(stamp, sec) and messages.has(stamp, nano)
    )


def _at(message: Any, path: str) -> Any:
    try:
        return messages.at(message, path).value
    except messages.NoFieldError:
        return None
