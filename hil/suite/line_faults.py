"""Faults on the line, brought about by the proxy while the device is read: no wrong value, nothing
that hangs, the truth about what is missing, and motion only after an explicit `activate`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, get_args

import numpy as np

from headway.clock import NS
from headway.errors import DeviceError, Stale
from headway.hil.proxy.faults import APPLIES, BREAKS, Fault, Kind
from headway.hil.suite.results import Bounds, Found, NotApplicableError
from headway.hil.suite.samples import Taken, collect, numbers
from headway.hil.suite.subject import Subject
from headway.types import ArmState, GripperState, Vec

FAULTS: tuple[str, ...] = get_args(Kind)
FACTS = ("wrong_values", "beyond_limits", "hangs")
_OPEN_S = 3.0
_AGAIN_S = 0.05  # between two attempts to open
_PATIENCE_S = 1.0  # beyond its deadline, then a call hangs
_SPANS = 3.0  # times the spread of the values without faults: beyond that, a value is wrong
_LEAST = 0.02  # of a spread, for values that stand still
_LATE_NS = 60_000_000  # of what was on its way when a silence began [ns]
_LOST_S = 0.1  # within which an unplugged device is to be noticed
MEASURES: dict[str, dict[str, float]] = {
    "flip": {"share": 0.5, "count": 1},
    "truncate": {"share": 0.5},
    "garbage": {"share": 0.5, "count": 20},
    "drop": {"share": 0.5},
    "duplicate": {"share": 0.5},
    "reorder": {"share": 0.5, "ms": 25.0},
    "split": {"count": 4, "ms": 2.0},
    "coalesce": {"ms": 60.0},
    "delay": {"ms": 200.0},
    "slow": {"bytes_s": 400.0},
}


@dataclass
class Watch:
    """What happened while a device was read through a fault."""

    taken: list[Taken] = field(default_factory=list)
    stale_ns: int | None = None  # the first Stale
    failed_ns: int | None = None  # the first DeviceError
    opened_ns: int | None = None  # when it was opened again
    hangs: int = 0


def check_of(kind: str) -> Callable[[Subject, Bounds], Found]:
    """The check of the fault `kind`."""

    def check(subject: Subject, bounds: Bounds) -> Found:
        return under(subject, kind, bounds)

    return check


def under(subject: Subject, kind: str, bounds: Bounds) -> Found:
    """Read the device through a proxy with the fault `kind`, then without it."""
    if subject.wire is not None and kind not in APPLIES[subject.wire.kind]:
        raise NotApplicableError(f"it does not happen on a line of {subject.wire.kind}")
    found = Found()
    with subject.proxied() as (proxy, table):
        device = subject.device(table)
        with subject.locked(device), contextlib.closing(device):
            device.open(_OPEN_S)
            device.read(1.0)
            active = subject.folder == "arms" and subject.may_move
            if active:
                device.activate()
            clean = collect(device, subject.clock, max(1.0, bounds.fault_s), 1.0)
            if len(clean) < 3:
                found.want(False, f"{len(clean)} samples without any fault")
                return found
            setup: dict[str, Any] = dict(MEASURES.get(kind, {}))
            long = 0.0 if kind == "reset" else bounds.fault_s
            setup["count"] = int(setup.get("count", 3))
            begin = proxy.inject(Fault(kind, for_s=long, **setup))  # type: ignore[arg-type]
            watch = watched(subject, device, begin, long, bounds)
            judge(subject, kind, clean, watch, begin, bounds, found)
            if active:
                _no_motion_by_itself(device, kind, clean, watch, bounds, found)
    hits = proxy.hits.get(kind, 0)
    found.numbers["hits"] = float(hits)
    if not hits and not found.broken:  # what is broken is told, whatever broke it
        raise NotApplicableError("no byte was there that the fault could hit")
    return found


def watched(subject: Subject, device: Any, begin: int, long: float, bounds: Bounds) -> Watch:
    """Read on as a loop does, until samples come again after the fault, which lasts `long` [s] from
    `begin` [ns]; at most for `recover_s` more."""
    watch, clock = Watch(), subject.clock
    period = 1.0 / (subject.rate_hz or 50.0)
    timeout = max(bounds.periods * period, 0.02)
    over = begin + round(long * NS)
    until = over + round(bounds.recover_s * NS)
    is_open, fresh = True, 0
    while clock.now() < until and fresh < 5:
        called = clock.now()
        allowed = timeout
        try:
            if is_open:
                sample = device.read(timeout)
                now = clock.now()
                watch.taken.append(Taken(sample, now))
                fresh += sample.stamp.t_ns > over + _LATE_NS
            else:
                allowed = _OPEN_S
                device.open(_OPEN_S)
                is_open, watch.opened_ns = True, clock.now()
        except Stale:
            watch.stale_ns = watch.stale_ns or clock.now()
        except DeviceError:
            watch.failed_ns = watch.failed_ns or clock.now()
            device.close()
            is_open = False
            clock.sleep_until(clock.now() + round(_AGAIN_S * NS))
        watch.hangs += clock.now() - called > (allowed + _PATIENCE_S) * NS
    return watch


def judge(
    subject: Subject,
    kind: str,
    clean: list[Taken],
    watch: Watch,
    begin: int,
    bounds: Bounds,
    found: Found,
) -> None:
    wrong, beyond = _wrong(subject, clean, watch.taken)
    long = 0.0 if kind == "reset" else bounds.fault_s
    over = begin + round(long * NS)
    back = next((t.t_ns for t in watch.taken if t.sample.stamp.t_ns > over + _LATE_NS), None)
    found.numbers |= {
        "wrong_values": float(wrong),
        "beyond_limits": float(beyond),
        "hangs": float(watch.hangs),
        "samples": float(len(watch.taken)),
    }
    for name, at in (("stale", watch.stale_ns), ("failed", watch.failed_ns)):
        if at is not None:
            found.numbers[f"{name}_after_ms"] = (at - begin) / 1e6
    found.want(wrong == 0, f"{wrong} wrong values")
    found.want(beyond == 0, f"{beyond} values beyond the limits")
    found.want(watch.hangs == 0, f"{watch.hangs} calls hang")
    found.want(back is not None, f"no samples within {bounds.recover_s:g} s after the fault")
    if back is not None:
        found.numbers["back_after_ms"] = max(0.0, (back - over) / 1e6)
    times = [t.sample.stamp.t_ns for t in watch.taken]
    grow = all(b >= a for a, b in pairwise(times))
    found.want(grow, "stamps go back")
    if kind == "silence":
        _silence(subject, watch, begin, over, bounds, found)
    if kind in BREAKS and subject.wire is not None and subject.wire.kind != "udp":
        said = watch.failed_ns
        soon = said is not None and said - begin < (_LOST_S + bounds.slack_s) * NS
        found.want(soon, "it does not say in time that the connection is lost")


def _silence(
    subject: Subject, watch: Watch, begin: int, over: int, bounds: Bounds, found: Found
) -> None:
    period = 1.0 / (subject.rate_hz or 50.0)
    said = min((t for t in (watch.stale_ns, watch.failed_ns) if t is not None), default=None)
    most = bounds.periods * period + bounds.slack_s + _LATE_NS / NS
    soon = said is not None and said - begin < most * NS
    found.want(soon, f"silence is not reported within {1e3 * most:.0f} ms")
    # What was on its way, for a host that may be late.
    quiet = begin + _LATE_NS + round((period + min(bounds.slack_s, 0.3 * bounds.fault_s)) * NS)
    new = sum(quiet < t.sample.stamp.t_ns < over and t.t_ns < over for t in watch.taken)
    found.numbers["made_up"] = float(new)
    found.want(new == 0, f"{new} samples are stamped anew while the device is silent")


def _wrong(subject: Subject, clean: list[Taken], taken: list[Taken]) -> tuple[int, int]:
    """How many samples have a value far from all that was seen without faults, and how many lie
    beyond the device's limits. Invalid ones do not count: they say so."""
    seen = np.array([numbers(t.sample.value) for t in clean])
    if seen.shape[1] == 0 or seen.shape[1] > 64:  # none, or an image
        return 0, 0
    low, high = seen.min(0), seen.max(0)
    margin = _SPANS * np.maximum(high - low, _group(clean[0].sample.value, high - low)) + _LEAST
    device = subject.device()
    wrong = beyond = 0
    for t in taken:
        if not t.sample.valid:
            continue
        value = numbers(t.sample.value)
        wrong += not bool(np.all((value >= low - margin) & (value <= high + margin)))
        beyond += not _inside(device, t.sample.value)
    return wrong, beyond


def _group(value: Any, spread: Vec) -> Vec:
    """The greatest spread among numbers of one unit: a slow wave may stand still in one of them."""
    if isinstance(value, GripperState):
        return spread
    half = len(spread) // 2
    return np.repeat([spread[:half].max(), spread[half:].max()], half)


def _inside(device: Any, value: Any) -> bool:
    if isinstance(value, ArmState):
        limit = device.limits
        return bool(np.all((value.q >= limit.q_min - 0.02) & (value.q <= limit.q_max + 0.02)))
    if isinstance(value, GripperState):
        return bool(-0.005 <= value.width <= device.stroke + 0.005)
    return True


def _no_motion_by_itself(
    device: Any, kind: str, clean: list[Taken], watch: Watch, bounds: Bounds, found: Found
) -> None:
    """An arm that was lost takes no command before it is activated again, and has not moved."""
    if not watch.taken:
        return
    by = float(np.abs(watch.taken[-1].sample.value.q - clean[-1].sample.value.q).max())
    found.numbers["moved_rad"] = by
    found.want(by < 2 * bounds.still, f"it moves by {by:.3f} rad")
    if watch.failed_ns is None:
        return
    q = watch.taken[-1].sample.value.q.copy()
    try:
        device.command(q, deadline_ns=watch.taken[-1].t_ns + 10_000_000)
    except DeviceError:
        pass
    else:
        found.want(False, "after the fault it takes a command before it is activated again")
    device.activate()
    device.command(q, deadline_ns=watch.taken[-1].t_ns + 10_000_000)
    device.stop(1)
