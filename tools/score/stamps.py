"""Stamps: from the times that a file has to times that motion can be differentiated by.

Much goes wrong with stamps. Messages lie out of order by a few nanoseconds, or are there twice. A
clock of coarse resolution gives several samples the same time. The moment of writing jitters around
the moment of measuring. Samples are missing. `clean` mends what can be mended without inventing
samples, and says what it did; what cannot be mended is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import ConfigError, RecordingError
from headway.types import Vec

UNITS_NS = {"s": NS, "ms": 1_000_000, "us": 1_000, "ns": 1}  # integers, unlike `headway.units`
LATEST = np.iinfo(np.int64).max // 2  # the latest time that is believed [ns], about the year 2116
REORDER_NS = NS  # a time further back than this means that the clock was set back
STRAY = 8  # so does a longer run of samples that lie before an older one
FAR = 0.01  # at most this share of the samples may have times that cannot be right
COARSE = 0.1  # from this share of samples with the time of the one before, a clock is coarse
CHUNK = 1 << 20  # how many stamps are worked on at a time, so that temporary arrays stay small
STRETCH = 64  # samples over which a rate is counted
LONG = 512  # samples over which a clock is taken to run evenly
JUDGED = 20_000  # samples that jitter is judged by
GAP = 2.5  # a step longer than this many periods is a gap
NUMBERS = "fiub"  # kinds of NumPy's types that are numbers
_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?)"  # the date and time of day
    r"\s*(?:[Zz]|([+-])(\d\d):?(\d\d))?",  # the zone
    re.ASCII,
)

Times = NDArray[np.int64]


@dataclass(frozen=True)
class Clean:
    """The times that `clean` made."""

    t: Times  # (n,) [ns], rising
    pick: NDArray[np.int64] | None  # (n,) sample i is row `pick[i]` of the file; None: row i
    rate_hz: float | None  # of the samples where none is missing; None for a single sample
    notes: tuple[str, ...]  # what was done, in words
    odd: int = 0  # samples that were left out because their times cannot be right


def clean(
    t: Times,
    same: NDArray[np.bool_],
    where: str,
    *,
    arrival: bool = False,
    values: Callable[[int, int], Vec] | None = None,
) -> Clean:
    """Mend the times `t` (n,) [ns] of the rows of a file.

    `same` (n,): whether all values of row i equal those of row i - 1. `where`: the file, for
    errors. `arrival`: the stamps say when a sample was written, not when it was measured.
    `values(lo, hi)`: rows lo..hi-1 of the values that move smoothly, (hi - lo, k): stamps that
    jitter are judged by how smooth they make the motion. Raises RecordingError for a clock that was
    set back."""
    notes: list[str] = []
    rows = _Rows(t, same, None)
    rows = rows.take(_possible(rows.t, notes))
    odd = len(t) - len(rows.t)
    rows = rows.take(_in_order(rows.t, where, notes))
    rows = rows.take(_once(rows.t, rows.same, notes))
    t, pick = rows.t, rows.pick
    if len(t) < 2 or t[-1] == t[0]:
        return Clean(t[:1], None if pick is None else pick[:1], None, tuple(notes), odd)
    t = _spread(t, notes)
    t, period = _even(t, pick, notes, arrival, values)
    missing, longest, at = 0, 0, 0
    for lo, steps in _steps(t):
        missing += int(np.rint(steps[steps > 1.5 * period] / period - 1).sum())
        i = int(np.argmax(steps))
        if steps[i] > longest:
            longest, at = int(steps[i]), lo + i
    if missing:
        notes.append(
            f"{missing} of {len(t) + missing} samples are missing at {NS / period:.4g} Hz, the "
            f"longest gap {longest / NS:.3f} s at {(t[at] - t[0]) / NS:.3f} s"
        )
    return Clean(t, pick, whole_rate(NS / period), tuple(notes), odd)


class _Rows(NamedTuple):
    """Rows that were chosen from those of a file."""

    t: Times  # (n,) [ns]
    same: NDArray[np.bool_]  # (n,) whether a row's values are those of the one before
    pick: NDArray[np.int64] | None  # (n,) where they are in the file; None: all, in their order

    def take(self, at: NDArray[np.int64] | None) -> _Rows:
        """The rows `at` (m,), in this order; for None all of them."""
        if at is None:
            return self
        # `same` compares neighbours in the file: of others it is not known.
        same = self.same[at] & (np.diff(at, prepend=at[:1] - 2) == 1)
        return _Rows(self.t[at], same, at if self.pick is None else self.pick[at])


def _possible(t: Times, notes: list[str]) -> NDArray[np.int64] | None:
    """Which samples to keep, where a few have times far from all others, since the clock was not
    set yet or a bit was flipped. None where all can be kept."""
    some = t if len(t) <= CHUNK else t[:: len(t) // CHUNK]
    low, high = np.percentile(some, (5, 95))
    reach = max(10 * (high - low), 60.0 * NS)
    far = (t < low - reach) | (t > high + reach)
    odd = int(np.count_nonzero(far))
    if not odd or odd > max(FAR * len(t), 1):
        return None
    first = int(np.argmax(far))
    notes.append(
        f"{odd} of {len(t)} samples have a time far from all others, the first {t[first] / NS:.9g} "
        f"s at sample {first}, where the others lie around {low / NS:.9g} s: left out"
    )
    return np.flatnonzero(~far)


def _steps(t: Times) -> Iterator[tuple[int, Times]]:
    """The steps from each sample to the next [ns], in parts: (index of the part's first sample,
    steps (m,)). Ten hours at 500 Hz are 18 million samples."""
    for lo in range(0, len(t) - 1, CHUNK):
        yield lo, np.diff(t[lo : lo + CHUNK + 1])


def _in_order(t: Times, where: str, notes: list[str]) -> NDArray[np.int64] | None:
    """The samples in the order of their times, None where they are in order already. Raises
    RecordingError for times that go back too far, or for too many samples in a row."""
    if not any((steps < 0).any() for _, steps in _steps(t)):
        return None
    behind = np.maximum.accumulate(t) - t
    late = behind > 0
    edges = np.flatnonzero(np.diff(late.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2]  # of each run of samples that are late
    far, long = np.flatnonzero(behind > REORDER_NS), starts[ends - starts > STRAY]
    if len(far) or len(long):
        i = int((far if len(far) else long)[0])
        raise RecordingError(
            f"{where}: wanted times that do not go back, found {t[i - 1] / NS:.6f} s and then "
            f"{t[i] / NS:.6f} s at sample {i} ({np.count_nonzero(np.diff(t) < 0)} such steps): "
            "sort the file, or cut it where its clock was set"
        )
    notes.append(
        f"{np.count_nonzero(late)} of {len(t)} samples lay before an older one, by at most "
        f"{behind.max() / 1e6:.6g} ms: put in the order of their times"
    )
    return np.argsort(t, kind="stable")


def _once(t: Times, same: NDArray[np.bool_], notes: list[str]) -> NDArray[np.int64] | None:
    """Which samples to keep, where some are there twice. None where all can be kept."""
    if not any((steps == 0).any() for _, steps in _steps(t)):
        return None
    no_step = np.diff(t, prepend=t[0] - 1) == 0
    double = no_step & same
    # A coarse clock gives samples the same time too, and those of an arm at rest are equal without
    # being there twice.
    if not double.any() or double.sum() < 0.9 * no_step.sum():
        return None
    notes.append(
        f"{int(double.sum())} of {len(t)} samples are there twice, time and values: taken once"
    )
    return np.flatnonzero(~double)


def _spread(t: Times, notes: list[str]) -> Times:
    """Spread samples that have the same time evenly over the time until the next one."""
    if not any((steps == 0).any() for _, steps in _steps(t)):
        return t
    starts = np.flatnonzero(np.diff(t, prepend=t[0] - 1))
    length = np.diff(starts, append=len(t))
    step = np.diff(t[starts])
    usual = int(np.median(step)) if len(step) else 0
    room = np.append(np.minimum(step, usual), usual)  # samples are not spread over a gap
    index = np.arange(len(t)) - np.repeat(starts, length)
    spread: Times = t + (np.repeat(room, length) * index) // np.repeat(length, length)
    share = 1 - len(starts) / len(t)
    if share < COARSE:
        notes.append(
            f"{len(t) - len(starts)} of {len(t)} samples have the time of the one before: spread "
            "over the time until the next"
        )
        return spread
    hz = (len(t) - 1) / ((spread[-1] - spread[0]) / NS)
    line = _line(spread)
    regular = np.abs(line - t).max() <= 1.5 * usual and line[0] < line[1]
    how = "regular at that rate" if regular else "spread over the time until the next"
    notes.append(
        f"stamps have a resolution of {usual / 1e6:.4g} ms, too coarse for the {hz:.4g} samples a "
        f"second that the file holds: times are taken as {how}"
    )
    return line if regular else spread


def _even(
    t: Times,
    pick: NDArray[np.int64] | None,
    notes: list[str],
    arrival: bool,
    values: Callable[[int, int], Vec] | None,
) -> tuple[Times, float]:
    """The times `t` (n,) [ns], made regular where their jitter cannot be that of the samples, and
    the period of the samples [ns]. `pick`, `arrival` and `values` are as in `clean`."""
    steps = _some_steps(t)
    usual = float(np.median(steps))
    period = _counted_period(t)
    bursts = period > 3 * usual
    if bursts and steps.max() <= 3 * np.percentile(steps, 99.9):  # bursts, and no gaps beside them
        period = float(t[-1] - t[0]) / (len(t) - 1)
    regular = np.count_nonzero(np.abs(steps - usual) <= 0.1 * usual) > len(steps) / 2
    if regular and not bursts:
        period = usual
    if not bursts and all(np.abs(x - period).max() <= 0.02 * period for _, x in _steps(t)):
        return t, period
    even = _smooth(t, period)
    off = max(
        float(np.abs(even[i : i + CHUNK] - t[i : i + CHUNK]).max()) for i in range(0, len(t), CHUNK)
    )
    tolerance = float(np.percentile(steps, 99.5)) if bursts else period
    if not 0.01 * period < off <= tolerance:
        return t, period
    if values is not None:
        believed = _roughness(even, pick, values) < 0.7 * _roughness(t, pick, values)
    else:  # Without motion to judge by, a step of two periods is taken for a missing sample.
        believed = arrival and off <= 0.5 * period and steps.max() < 1.5 * period
    if not (believed or bursts):
        return t, period
    what = "come in bursts" if bursts else "jitter"
    notes.append(
        f"stamps {what}, up to {off / 1e6:.3g} ms off {NS / period:.4g} Hz: times are taken as "
        "regular"
    )
    return even, period


def _some_steps(t: Times) -> NDArray[np.float64]:
    """The steps between samples [ns], of a long recording some of them, evenly chosen."""
    at = np.arange(len(t) - 1) if len(t) <= CHUNK else np.linspace(0, len(t) - 2, CHUNK).astype(int)
    steps: NDArray[np.float64] = (t[at + 1] - t[at]).astype(np.float64)
    return steps


def _counted_period(t: Times) -> float:
    """The period [ns] as duration over number of samples: the median of many short stretches, so
    that gaps do not count."""
    n = min(STRETCH, len(t) - 1)
    at = np.arange(0, len(t) - n, max(1, (len(t) - n) // CHUNK))
    return float(np.median(t[at + n] - t[at])) / n


def _smooth(t: Times, period: float) -> Times:
    """The times (n,) [ns] as regular ones from gap to gap. They follow a clock that drifts: between
    knots every `LONG` samples, each from a straight line through its surroundings."""
    out = t.copy()
    gap = max(GAP, STRETCH) * period
    ends = [lo + int(i) + 1 for lo, steps in _steps(t) for i in np.flatnonzero(steps > gap)]
    for lo, hi in zip([0, *ends], [*ends, len(t)], strict=True):
        n = hi - lo
        if n < 3:
            continue
        pieces = max(1, n // LONG)
        edges = np.linspace(0, n - 1, pieces + 1)
        knots = np.empty(pieces + 1)
        for k, edge in enumerate(edges):
            a, b = max(0, int(edge) - LONG), min(n, int(edge) + LONG + 1)
            mean, slope = _fit(t[lo + a : lo + b] - t[lo])
            knots[k] = mean + slope * (edge - (a + b - 1) / 2)
        for c in range(0, n, CHUNK):
            d = min(c + CHUNK, n)
            out[lo + c : lo + d] = t[lo] + np.rint(np.interp(np.arange(c, d), edges, knots)).astype(
                np.int64
            )
    return np.maximum.accumulate(out)


def _roughness(
    t: Times, pick: NDArray[np.int64] | None, values: Callable[[int, int], Vec]
) -> float:
    """How much the speed changes from one step to the next, as a mean over the half percent of the
    steps where it changes most: a stamp that is off shows in few places, and there clearly."""
    n = min(len(t), JUDGED)
    at = np.arange(n) if pick is None else pick[:n]
    lo, hi = int(at.min()), int(at.max()) + 1
    x = values(lo, hi)[at - lo]
    steps = np.maximum(np.diff(t[:n]), 1)[:, None]
    speed = np.diff(x, axis=0) / steps
    change = np.abs(np.diff(speed, axis=0))
    known = np.sort(change[np.isfinite(change)])
    if not len(known):
        return 0.0
    return float(known[-max(1, len(known) // 200) :].mean())


def _line(t: Times) -> Times:
    """The times (n,) [ns] on the straight line through `t`, by least squares."""
    mean, slope = _fit(t - t[0])
    i = np.arange(len(t)) - (len(t) - 1) / 2
    line: Times = t[0] + np.rint(mean + slope * i).astype(np.int64)
    return line


def _fit(t: Times) -> tuple[float, float]:
    """The straight line through the times (n,) [ns] by least squares: their mean, which is the time
    in the middle, and the period [ns]."""
    i = np.arange(len(t)) - (len(t) - 1) / 2
    x = t.astype(np.float64)
    return float(x.mean()), float(i @ x) / max(float(i @ i), 1.0)


def rate_of(t: Times) -> float | None:
    """The rate [Hz] of samples at rising times (n,) [ns], None for a single one."""
    if len(t) < 2 or t[-1] == t[0]:
        return None
    return whole_rate(NS / float(np.median(_some_steps(t))))


def whole_rate(hz: float) -> float:
    """The rate [Hz] that is meant by a measured one: of the rates of a whole number of Hz, and of
    those with a period of whole milliseconds (62.5, 166.7), the nearest one within 1 %, else the
    rate itself."""
    period_ms = max(round(1e3 / hz), 1)
    meant = min((float(round(hz)), 1e3 / period_ms), key=lambda x: abs(x - hz))
    return meant if meant and abs(hz / meant - 1) < 0.01 else hz


def times_ns(x: NDArray[Any], unit: str, path: Path, key: str) -> Times:
    """The times (n,) [ns] that a column `x` (n,) holds as numbers in `unit`, as dates of ISO 8601
    or as datetime64. `path` and `key` name the column in errors. Raises RecordingError for times
    that are none, ConfigError for a unit that cannot be."""
    if x.dtype.kind == "M":
        return x.astype("datetime64[ns]").astype(np.int64)
    if x.dtype.kind == "U":
        return _dates_ns(x, path, key)
    if x.dtype.kind not in NUMBERS:
        raise RecordingError(
            f"{path}: wanted times in `{key}`, found {x.dtype} such as {x[:1]}: write numbers or "
            "ISO 8601"
        )
    factor = UNITS_NS[unit]
    numbers = x.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise RecordingError(
            f"{path}: wanted finite times in `{key}`, found {x[bad[0]]} at sample {bad[0]} "
            f"({len(bad)} of {len(x)}): cut those rows out"
        )
    if (np.abs(numbers) * factor > LATEST).any():
        raise ConfigError(
            f"{path}: `{key}` up to {np.abs(numbers).max():g} does not fit 64-bit nanoseconds: "
            "check `time.unit`"
        )
    if x.dtype.kind != "f":
        return x.astype(np.int64) * factor
    # Seconds since 1970 times 1e9 would lose microseconds in float64, so whole seconds and the rest
    # are converted separately.
    whole = np.floor(numbers)
    rest = np.rint((numbers - whole) * factor).astype(np.int64)
    total: Times = whole.astype(np.int64) * factor + rest
    return total


def _dates_ns(words: NDArray[np.str_], path: Path, key: str) -> Times:
    out = np.zeros(len(words), np.int64)
    for i, word in enumerate(words.tolist()):
        ns = date_ns(word)
        if ns is None:
            raise RecordingError(
                f"{path}: wanted dates in `{key}` such as 2026-11-28T21:20:38.5Z, found {word!r} "
                f"at sample {i}: write numbers or ISO 8601"
            )
        out[i] = ns
    return out


def date_ns(word: str) -> int | None:
    """The time [ns] since 1970 of an ISO 8601 date such as 2026-11-28T21:20:38.5Z, which is taken
    as UTC where it has no zone; None where `word` is no such date."""
    found = _DATE.fullmatch(word.strip())
    if found is None:
        return None
    date, sign, hours, minutes = found.groups()
    date, _, fraction = date.replace(",", ".").partition(".")
    try:
        seconds = int(np.datetime64(date, "s").astype(np.int64))
    except ValueError:  # such as a 13th month
        return None
    if sign is not None:
        seconds -= int(f"{sign}1") * (int(hours) * 3600 + int(minutes) * 60)
    return seconds * NS + int(fraction.ljust(9, "0"))
