"""Promises of everything that is read: who it is, how often it measures, when."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from headway.clock import NS
from headway.errors import DeviceError, HeadwayError
from headway.hil.suite.results import Bounds, Found, NotApplicableError
from headway.hil.suite.samples import Taken, collect, repeats
from headway.hil.suite.subject import OPEN_S, Subject

_READ_S = 1.0
_CLOSE_S = 3.0
_WRONG = "no-such-serial-number"
_ROW = 5  # equal samples of a noisy device in a row


def identity(subject: Subject, bounds: Bounds) -> Found:
    """What it is known to be before it is opened, and what it says then, agree; one that is not
    what the configuration expects is refused."""
    found = Found()
    before = subject.device().info
    found.want(before.kind == subject.kind, f"its info says the kind {before.kind!r}")
    found.want(bool(before.model), "it has no model's name before it is opened")
    if subject.wire is not None:
        found.want(bool(before.uri), "it has no address before it is opened")
    with subject.opened() as device:
        info = device.info
    found.want(info.kind == before.kind, f"the kind turns into {info.kind!r} when it is opened")
    wanted = getattr(subject.cfg, "serial", "")
    found.want(not wanted or info.serial == wanted, f"its serial number is {info.serial!r}")
    found.said.append(" ".join(filter(None, (info.model, info.serial, info.firmware))))
    if isinstance(wanted, str) and hasattr(subject.cfg, "serial"):
        try:
            with subject.opened({**subject.table, "serial": _WRONG}):
                found.want(False, "another serial number than the expected one is accepted")
        except HeadwayError:
            found.said.append("another serial number is refused")
    return found


def lifecycle(subject: Subject, bounds: Bounds) -> Found:
    """Opening twice is opening once, closing twice harms nothing and takes a bounded time, what is
    closed says so."""
    found, clock = Found(), subject.clock
    device = subject.device()
    with subject.locked(device):
        try:
            device.read(0.0)
            found.want(False, "it gives a sample before it was opened")
        except DeviceError:
            pass
        try:
            for _ in range(2):
                device.open(OPEN_S)
            device.read(_READ_S)
            found.want(device.health().state == "ok", f"health says {device.health().state}")
        finally:
            began = clock.now()
            for _ in range(2):
                device.close()
        took = (clock.now() - began) / NS
        found.numbers["close_s"] = took
        found.want(took < _CLOSE_S, f"closing it takes {took:.1f} s")
        found.want(device.health().state != "ok", "health says ok after it was closed")
        try:
            device.read(0.0)
            found.want(False, "it gives a sample after it was closed")
        except DeviceError:
            pass
        try:
            device.open(OPEN_S)
            device.read(_READ_S)
        finally:
            device.close()
    return found


def _gaps_ms(taken: list[Taken]) -> list[float]:
    times = [t.sample.stamp.t_ns for t in taken]
    return [(b - a) / 1e6 for a, b in pairwise(times)]


def rate(subject: Subject, bounds: Bounds) -> Found:
    """It measures as often as it says, without long gaps. Of several looks the best one counts."""
    best: Found | None = None
    for _ in range(bounds.tries):
        found = _rate(subject, bounds)
        if best is None or len(found.broken) <= len(best.broken):
            best = found
        if not found.broken:
            break
    assert best is not None
    return best


def _rate(subject: Subject, bounds: Bounds) -> Found:
    found, wanted = Found(), subject.rate_hz
    with subject.opened() as device:
        device.read(_READ_S)
        taken = collect(device, subject.clock, bounds.window_s, _READ_S)
    if len(taken) < 3:
        found.want(False, f"{len(taken)} samples in {bounds.window_s:g} s")
        return found
    gaps = _gaps_ms(taken)
    mean = float(np.mean(gaps))
    rate_hz = 1e3 / mean if mean > 0 else math.inf
    found.numbers |= {
        "rate_hz": rate_hz,
        "gap_p50_ms": float(np.percentile(gaps, 50)),
        "gap_p99_ms": float(np.percentile(gaps, 99)),
        "gap_max_ms": max(gaps),
    }
    found.series["ms between samples"] = gaps[:2000]
    if wanted is None:
        found.said.append("nobody says which rate it should have")
        return found
    found.numbers["wanted_hz"] = wanted
    off = abs(rate_hz / wanted - 1.0)
    found.want(off <= bounds.rate_share, f"{rate_hz:.1f} Hz instead of {wanted:g} Hz")
    longest = bounds.periods * 1e3 / wanted
    p99 = found.numbers["gap_p99_ms"]
    found.want(p99 <= longest, f"gaps of {p99:.1f} ms (p99), more than {bounds.periods:g} periods")
    return found


def stamps(subject: Subject, bounds: Bounds) -> Found:
    """Stamps and numbers grow, none lies in the future, samples are young when they come, and none
    is given twice under another time."""
    found, wanted = Found(), subject.rate_hz
    period_s = 1.0 / wanted if wanted else 0.1
    with subject.opened() as device:
        device.read(_READ_S)
        collect(device, subject.clock, 0.2, _READ_S)  # what has piled up
        patient = collect(device, subject.clock, bounds.window_s, _READ_S)
        # Asked more often than it measures, it must not make samples up.
        hasty = collect(device, subject.clock, bounds.window_s, period_s / 4)
    for taken in (patient, hasty):
        _grow(taken, found)
    if not patient:
        found.want(False, "no samples")
        return found
    ages = [(t.t_ns - t.sample.stamp.t_ns) / 1e6 for t in patient]
    errors = max(t.sample.stamp.error_ns for t in patient) / 1e6
    found.numbers |= {
        "age_p50_ms": float(np.percentile(ages, 50)),
        "age_p99_ms": float(np.percentile(ages, 99)),
        "error_ms": errors,
    }
    found.series["ms old when read"] = ages[:2000]
    found.want(min(ages) >= -errors, f"a stamp lies {-min(ages):.2f} ms in the future")
    most = 1e3 * (bounds.periods * period_s + bounds.slack_s)
    found.want(errors <= most, f"it says itself that a stamp may be off by {errors:.0f} ms")
    oldest = most + errors
    median = found.numbers["age_p50_ms"]
    found.want(median <= oldest, f"half of the samples are {median:.0f} ms old or more")
    _made_up(hasty, wanted, found)
    row = max(repeats(patient), repeats(hasty))
    found.want(row < _ROW, f"{row} samples in a row are equal in every bit: stuck, or stamped anew")
    return found


def _grow(taken: list[Taken], found: Found) -> None:
    for a, b in pairwise(taken):
        first, then = a.sample.stamp, b.sample.stamp
        if then.t_ns < first.t_ns:
            found.want(False, f"a stamp goes back by {(first.t_ns - then.t_ns) / 1e6:.2f} ms")
            return
        if then.seq <= first.seq:
            found.want(False, f"the number {then.seq} comes after {first.seq}")
            return
        again = then.device_ns is not None and then.device_ns == first.device_ns
        if again and then.t_ns != first.t_ns:
            found.want(False, "a sample is given twice, under another time")
            return


def _made_up(hasty: list[Taken], wanted: float | None, found: Found) -> None:
    if wanted is None or len(hasty) < 3:
        return
    span = (hasty[-1].t_ns - hasty[0].t_ns) / NS
    most = 1.5 * wanted * span + 3
    found.numbers["hasty_hz"] = (len(hasty) - 1) / span if span > 0 else math.inf
    found.want(
        len(hasty) <= most,
        f"asked more often, it gives {found.numbers['hasty_hz']:.0f} samples a second, but "
        f"measures {wanted:g}: old ones are stamped anew",
    )


def image(subject: Subject, bounds: Bounds) -> Found:
    """An image has the shape that was configured, depth where that is promised, and stays as it
    is."""
    found = Found()
    with subject.opened() as device:
        first = device.read(_READ_S).value
        kept = first.rgb.copy()
        deep = None if first.depth is None else first.depth.copy()
        collect(device, subject.clock, 0.3, _READ_S)
        has_depth = device.has_depth
    height, width = first.rgb.shape[:2]
    colours = first.rgb.shape == (height, width, 3) and first.rgb.dtype == np.uint8
    found.want(colours, f"its image is {first.rgb.dtype} {first.rgb.shape}, not uint8 (h, w, 3)")
    cfg = subject.cfg
    for name, is_now in (("width", width), ("height", height)):
        wanted = getattr(cfg, name, is_now)
        found.want(wanted == is_now, f"its {name} is {is_now}, not {wanted}")
    found.want((first.depth is not None) == has_depth, "depth is not where it is promised")
    found.want(np.array_equal(first.rgb, kept), "an image is written into later")
    if first.depth is not None and deep is not None:
        fits = deep.shape == (height, width) and deep.dtype == np.uint16
        found.want(fits, f"its depth is {deep.dtype} {deep.shape}, not uint16 {height, width}")
        found.want(np.array_equal(first.depth, deep), "a depth image is written into later")
    found.want(first.intrinsics.shape == (3, 3), "its intrinsics are no 3 x 3 matrix")
    found.numbers |= {"width_px": float(width), "height_px": float(height)}
    if not has_depth and getattr(cfg, "depth", False) and not found.broken:
        raise NotApplicableError("depth is asked for, but the camera has none")
    return found
