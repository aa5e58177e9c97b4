"""Times as files have them -> times that can be differentiated.

What goes wrong with stamps: messages lie out of order by a few nanoseconds, some are there twice,
a clock of coarse resolution gives several samples one time, the moment of writing jitters around
the moment of measuring, samples are missing. `clean` mends what can be mended without inventing
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

UNITS_NS = {"s": NS, "ms": 1_000_000, "us": 1_000, "ns": 1}  # whole, unlike `headway.units`
LATEST = np.iinfo(np.int64).max // 2  # [ns]; about the year 2116
REORDER_NS = NS  # messages that lie further back than this are another clock
STRAY = 8  # so many samples in a row that lie before an older one are a clock that was set back
FAR = 0.01  # share of samples whose times may be impossible
COARSE = 0.1  # share of samples without a time of their own that makes a clock coarse
CHUNK = 1 << 20  # stamps looked at in one go
STRETCH = 64  # samples over which a rate is counted
LONG = 512  # samples over which a clock runs evenly
JUDGED = 20_000  # samples that jitter is judged by
GAP = 2.5  # periods; a longer step is a gap
NUMBERS = "fiub"  # kinds of NumPy's types that are numbers
_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?)"  # the date and time of day
    r"\s*(?:[Zz]|([+-])(\d\d):?(\d\d))?",  # the zone
    re.ASCII,
)

Times = NDArray[np.int64]


@dataclass(frozen=True)
class Clean:
    """`t` (n,) [ns], rising; sample i is row `pick[i]` of the file (i where None). `rate_hz`: how
    many samples come a second while they come, None for a single one. `notes`: what was done, in
    words. `odd`: how many samples were left out because their time cannot be right."""

    t: Times
    pick: NDArray[np.int64] | None
    rate_hz: float | None
    notes: tuple[str, ...]
    odd: int = 0


def clean(
    t: Times,
    same: NDArray[np.bool_],
    where: str,
    *,
    arrival: bool = False,
    values: Callable[[int, int], Vec] | None = None,
) -> Clean:
    """`t` (n,) [ns] as the file has them; `same` (n,): row i equals row i - 1 in everything.
    `arrival`: the stamps say when a sample was written, not when it was true. `values(lo, hi)`:
    rows of the file that move smoothly, by which jittering stamps are judged. Raises
    RecordingError for a clock that was set back."""
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
    """Times `t` (n,) [ns] that were chosen from those of a file: sample i is row `pick[i]` of the
    file (row i where `pick` is None), `same[i]` says whether it equals sample i - 1."""

    t: Times
    same: NDArray[np.bool_]
    pick: NDArray[np.int64] | None

    def take(self, at: NDArray[np.int64] | None) -> _Rows:
        """The samples `at`, in this order; all of them for None."""
        if at is None:
            return self
        # Of samples that were no neighbours nobody knows whether they are equal.
        same = self.same[at] & (np.diff(at, prepend=at[:1] - 2) == 1)
        return _Rows(self.t[at], same, at if self.pick is None else self.pick[at])


def _possible(t: Times, notes: list[str]) -> NDArray[np.int64] | None:
    """The samples without the few whose times lie far from all others: a clock that was not set
    yet, a bit that turned. None for all."""
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
    """(index of the first, the steps between samples), a part at a time: ten hours at 500 Hz are
    18 million."""
    for lo in range(0, len(t) - 1, CHUNK):
        yield lo, np.diff(t[lo : lo + CHUNK + 1])


def _in_order(t: Times, where: str, notes: list[str]) -> NDArray[np.int64] | None:
    """The samples in the order of their times, None where they are. Raises RecordingError for times
    that go back too far, or too often in a row."""
    if not any((steps < 0).any() for _, steps in _steps(t)):
        return None
    behind = np.maximum.accumulate(t) - t
    late = behind > 0
    edges = np.flatnonzero(np.diff(late.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2]  # of runs of samples that lie before an older one
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
    """The samples without those that are there twice, None for all."""
    if not any((steps == 0).any() for _, steps in _steps(t)):
        return None
    no_step = np.diff(t, prepend=t[0] - 1) == 0
    double = no_step & same
    # Of a coarse clock's samples, those of an arm at rest are equal without being there twice.
    if not double.any() or double.sum() < 0.9 * no_step.sum():
        return None
    notes.append(
        f"{int(double.sum())} of {len(t)} samples are there twice, time and values: taken once"
    )
    return np.flatnonzero(~double)


def _spread(t: Times, notes: list[str]) -> Times:
    """Samples of one stamp, evenly over the time until the next one."""
    if not any((steps == 0).any() for _, steps in _steps(t)):
        return t
    starts = np.flatnonzero(np.diff(t, prepend=t[0] - 1))
    length = np.diff(starts, append=len(t))
    step = np.diff(t[starts])
    usual = int(np.median(step)) if len(step) else 0
    room = np.append(np.minimum(step, usual), usual)  # a gap is no room
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
    """The times, evened out where they are not those of the samples, and the period [ns]."""
    usual = float(np.median(_some_steps(t)))
    period = _over_time(t)
    bursts = period > 3 * usual
    steps = _some_steps(t)
    if bursts and steps.max() <= 3 * np.percentile(steps, 99.9):  # and no gaps beside
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
    else:  # nothing to judge by: a step of two periods is a sample that is missing
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
    at = np.arange(len(t) - 1) if len(t) <= CHUNK else np.linspace(0, len(t) - 2, CHUNK).astype(int)
    steps: NDArray[np.float64] = (t[at + 1] - t[at]).astype(np.float64)
    return steps


def _over_time(t: Times) -> float:
    """The period that samples over duration tell [ns]: the median over stretches of samples, so
    that gaps do not count."""
    n = min(STRETCH, len(t) - 1)
    at = np.arange(0, len(t) - n, max(1, (len(t) - n) // CHUNK))
    return float(np.median(t[at + n] - t[at])) / n


def _smooth(t: Times, period: float) -> Times:
    """The times as regular ones between gaps, following a clock that runs slowly off."""
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
    """How much the speeds between samples change from one to the next, where they change most: a
    stamp that is off shows in few places, and there clearly."""
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
    """The straight line through the times, by least squares."""
    mean, slope = _fit(t - t[0])
    i = np.arange(len(t)) - (len(t) - 1) / 2
    line: Times = t[0] + np.rint(mean + slope * i).astype(np.int64)
    return line


def _fit(t: Times) -> tuple[float, float]:
    """(mean, period) of the straight line through the times, by least squares [ns]."""
    i = np.arange(len(t)) - (len(t) - 1) / 2
    x = t.astype(np.float64)
    return float(x.mean()), float(i @ x) / max(float(i @ i), 1.0)


def rate_of(t: Times) -> float | None:
    """Samples a second of times that are in order [Hz], None for a single one."""
    if len(t) < 2 or t[-1] == t[0]:
        return None
    return whole_rate(NS / float(np.median(_some_steps(t))))


def whole_rate(hz: float) -> float:
    whole = float(round(hz))
    return whole if whole and abs(hz / whole - 1) < 0.01 else hz


def times_ns(x: NDArray[Any], unit: str, path: Path, key: str) -> Times:
    """A column of times (n,), numbers in `unit` or dates -> (n,) [ns]. `path` and `key` name the
    column in errors. Raises RecordingError, ConfigError."""
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
    # Seconds since 1970 times 1e9 would lose microseconds in float64, so whole seconds and the
    # rest are converted apart.
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
    """An ISO 8601 date such as 2026-11-28T21:20:38.5Z -> [ns] since 1970, None where `word` is
    none. A date without a zone is taken as UTC."""
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
