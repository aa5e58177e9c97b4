"""Times as files have them -> times that can be differentiated.

What goes wrong with stamps: messages lie out of order by a few nanoseconds, some are there twice,
a clock of coarse resolution gives several samples one time, the moment of writing jitters around
the moment of measuring, samples are missing. `clean` mends what can be mended without inventing
samples, and says what it did; what cannot be mended is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import ConfigError, RecordingError

UNITS_NS = {"s": NS, "ms": 1_000_000, "us": 1_000, "ns": 1}  # whole, unlike `headway.units`
LATEST = np.iinfo(np.int64).max // 2  # [ns]; about the year 2116
REORDER_NS = NS  # messages that lie further back than this are another clock
COARSE = 0.1  # share of samples without a time of their own that makes a clock coarse
CHUNK = 1 << 20  # stamps looked at in one go
GAP = 2.5  # periods; a longer step is a gap
_ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$", re.IGNORECASE)
_DATE = re.compile(r"^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?", re.ASCII)

Times = NDArray[np.int64]


@dataclass(frozen=True)
class Clean:
    """`t` (n,) [ns], rising; sample i is row `pick[i]` of the file (i where None). `rate_hz`: how
    many samples come a second while they come, None for a single one. `missing`: how many samples
    the rate tells that are not there. `notes`: what was done."""

    t: Times
    pick: NDArray[np.int64] | None
    rate_hz: float | None
    missing: int
    notes: tuple[str, ...]


def clean(t: Times, same: NDArray[np.bool_], where: str, *, arrival: bool = False) -> Clean:
    """`t` (n,) [ns] as the file has them; `same` (n,): row i equals row i - 1 in everything.
    `arrival`: the stamps say when a sample was written, not when it was true. Raises
    RecordingError for times that go back by more than `REORDER_NS`."""
    notes: list[str] = []
    pick: NDArray[np.int64] | None = None
    t, pick = _in_order(t, where, notes)
    if pick is not None:
        follows = np.diff(pick, prepend=pick[:1] - 2) == 1
        same = same[pick] & follows
    t, pick = _once(t, pick, same, notes)
    if len(t) < 2 or t[-1] == t[0]:
        return Clean(t[:1], _first(pick), None, 0, tuple(notes))
    t = _spread(t, notes)
    period = _period(t)
    missing, longest, at, gaps = 0, 0, 0, 0
    for lo, steps in _steps(t):
        missing += int(np.rint(steps[steps > 1.5 * period] / period - 1).sum())
        gaps += int(np.count_nonzero(steps > GAP * period))
        i = int(np.argmax(steps))
        if steps[i] > longest:
            longest, at = int(steps[i]), lo + i
    if arrival and not gaps:
        t = _regular(t, notes)
    if missing:
        notes.append(
            f"{missing} of {len(t) + missing} samples are missing at {NS / period:.4g} Hz, the "
            f"longest gap {longest / NS:.3f} s at {(t[at] - t[0]) / NS:.3f} s"
        )
    return Clean(t, pick, _whole(NS / period), missing, tuple(notes))


def _steps(t: Times) -> Iterator[tuple[int, Times]]:
    """(index of the first, the steps between samples), a part at a time: ten hours at 500 Hz are
    18 million."""
    for lo in range(0, len(t) - 1, CHUNK):
        yield lo, np.diff(t[lo : lo + CHUNK + 1])


def _first(pick: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    return None if pick is None else pick[:1]


def _in_order(t: Times, where: str, notes: list[str]) -> tuple[Times, NDArray[np.int64] | None]:
    if not any((steps < 0).any() for _, steps in _steps(t)):
        return t, None
    back = np.flatnonzero(np.diff(t) < 0)
    worst = int((np.maximum.accumulate(t) - t).max())
    if worst > REORDER_NS:
        deep = np.flatnonzero(np.maximum.accumulate(t) - t > REORDER_NS)
        i = int(deep[0])
        raise RecordingError(
            f"{where}: wanted times that do not go back, found {t[i - 1] / NS:.6f} s and then "
            f"{t[i] / NS:.6f} s at sample {i} ({len(back)} such steps): sort the file, or cut it "
            "where its clock was set"
        )
    order = np.argsort(t, kind="stable")
    notes.append(
        f"{len(back)} of {len(t)} samples lay before an older one, by at most "
        f"{worst / 1e6:.6g} ms: put in the order of their times"
    )
    return t[order], order


def _once(
    t: Times, pick: NDArray[np.int64] | None, same: NDArray[np.bool_], notes: list[str]
) -> tuple[Times, NDArray[np.int64] | None]:
    """Without the samples that are there twice."""
    if not any((steps == 0).any() for _, steps in _steps(t)):
        return t, pick
    no_step = np.concatenate(([False], np.diff(t) == 0))
    double = no_step & same
    # Of a coarse clock's samples, those of an arm at rest are equal without being there twice.
    if not double.any() or double.sum() < 0.9 * no_step.sum():
        return t, pick
    keep = np.flatnonzero(~double)
    notes.append(
        f"{int(double.sum())} of {len(t)} samples are there twice, time and values: taken once"
    )
    return t[keep], keep if pick is None else pick[keep]


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


def _regular(t: Times, notes: list[str]) -> Times:
    """Stamps that jitter around regular times, which is when they were written, as those."""
    line = _line(t)
    period = (t[-1] - t[0]) / (len(t) - 1)
    off = np.abs(line - t).max()
    if not 0.01 * period < off <= 0.5 * period:
        return t
    notes.append(
        f"times of writing jitter by up to {off / 1e6:.3g} ms around {NS / period:.4g} Hz: taken "
        "as regular"
    )
    return line


def _line(t: Times) -> Times:
    """The straight line through the times, by least squares."""
    n = len(t)
    i = np.arange(n) - (n - 1) / 2
    x = (t - t[0]).astype(np.float64)
    slope = float(i @ x) / max(float(i @ i), 1.0)
    line: Times = t[0] + np.rint(x.mean() + slope * i).astype(np.int64)
    return line


def _period(t: Times) -> float:
    """Of samples while they come [ns]: what is left without the gaps, over how many there are."""
    at = np.arange(len(t) - 1) if len(t) <= CHUNK else np.linspace(0, len(t) - 2, CHUNK).astype(int)
    steps = t[at + 1] - t[at]
    usual = float(np.median(steps))
    kept = steps[steps <= GAP * usual]
    # A few lost samples make single steps twice as long: the usual step is the period then.
    if np.count_nonzero(np.abs(kept - usual) <= 0.1 * usual) > len(kept) / 2:
        return usual
    return float(kept.mean())


def _whole(hz: float) -> float:
    whole = float(round(hz))
    return whole if whole and abs(hz / whole - 1) < 0.01 else hz


def numbers_ns(x: NDArray[Any], unit: str, path: Path, key: str) -> Times:
    """(n,) numbers in `unit` -> [ns]. Raises RecordingError, ConfigError."""
    factor = UNITS_NS[unit]
    if x.dtype.kind in "iu":
        if len(x) and int(np.abs(x.astype(np.float64)).max()) > LATEST // factor:
            raise ConfigError(
                f"{path}: `{key}` up to {x.max()} does not fit 64-bit nanoseconds: check "
                "`time.unit`"
            )
        return x.astype(np.int64) * factor
    x = x.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(x))
    if len(bad):
        raise RecordingError(
            f"{path}: wanted finite times in `{key}`, found {x[bad[0]]} at sample {bad[0]} "
            f"({len(bad)} of {len(x)}): cut those rows out"
        )
    if (np.abs(x) * factor > LATEST).any():
        raise ConfigError(
            f"{path}: `{key}` up to {np.abs(x).max():g} does not fit 64-bit nanoseconds: check "
            "`time.unit`"
        )
    whole = np.floor(x)  # seconds since 1970 times 1e9 lose microseconds in float64
    rest = np.rint((x - whole) * factor).astype(np.int64)
    total: Times = whole.astype(np.int64) * factor + rest
    return total


def dates_ns(words: NDArray[Any], path: Path, key: str) -> Times:
    """ISO 8601 dates such as 2026-11-28T21:20:38.5Z, or datetime64 -> [ns] since 1970; without a
    zone they are taken as UTC. Raises RecordingError."""
    if words.dtype.kind == "M":
        return words.astype("datetime64[ns]").astype(np.int64)
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
    """[ns] since 1970, None where `word` is no ISO 8601 date."""
    text = word.strip()
    zone = _ZONE.search(text)
    offset_s = 0
    if zone is not None and _DATE.match(text[: zone.start()]):
        text, given = text[: zone.start()].strip(), zone[0].upper().replace(":", "")
        if given != "Z":
            sign = -1 if given[0] == "-" else 1
            offset_s = sign * (int(given[1:3]) * 3600 + int(given[3:5]) * 60)
    if _DATE.fullmatch(text) is None:
        return None
    main, _, rest = text.replace(",", ".").partition(".")
    try:
        # Python's own clock has microseconds: the nanoseconds are added as they are written
        at = datetime.fromisoformat(main.replace("T", " ")).replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return (round(at.timestamp()) - offset_s) * NS + (int(rest.ljust(9, "0")) if rest else 0)


def is_dates(column: NDArray[Any]) -> bool:
    """Whether a column holds dates."""
    if column.dtype.kind == "M":
        return True
    return column.dtype.kind in "US" and len(column) > 0 and date_ns(str(column[0])) is not None
