"""Promises of what is commanded: refused where it is unfit, obeyed soon where it is fit."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from headway.clock import NS
from headway.drivers.latest import Latest
from headway.errors import DeviceError
from headway.hil.suite.motion import Motion, moved, speed
from headway.hil.suite.results import Bounds, Found, NotApplicableError
from headway.hil.suite.subject import OPEN_S, SIMULATED, Subject
from headway.types import GripperState, Vec

_OUT = 0.1  # [rad] beyond a limit
_JUMP = 0.5  # [rad], commanded at once
_TRIALS = 5
_FORCE = 10.0  # [N]
_LOOK_S, _REFUSED_S = 0.4, 0.1
_TOLD_S = 1.0  # within which jaws say what they were told
_FASTER = 1.3  # times the speed limit, by differences of noisy positions


def limits(subject: Subject, bounds: Bounds) -> Found:
    """A command with NaN, infinity, the wrong number of joints or a joint out of its range raises
    DeviceError or is brought into the range, and nothing moves."""
    found = Found()
    found.numbers["unfit_taken"] = 0.0
    with moved(subject, bounds) as motion:
        start = motion.state().q.copy()
        for name, q in _unfit(motion, subject):
            _refused(motion, name, q, bounds, found)
        moved_by = max(
            float(np.abs(s.value.q - start).max()) for s in motion.look(_LOOK_S)
        )  # fmt: skip
    found.numbers["moved_rad"] = moved_by
    found.want(moved_by < bounds.still, f"it moves by {moved_by:.3f} rad")
    return found


def _unfit(motion: Motion, subject: Subject) -> list[tuple[str, Vec]]:
    here, limit = motion.state().q, motion.arm.limits
    one: Vec = here.copy()
    one[motion.joint] = math.nan
    unfit = [
        ("NaN", np.full(len(here), math.nan)),
        ("NaN in one joint", one),
        ("infinity", np.full(len(here), math.inf)),
        ("a joint too few", here[:-1].copy()),
    ]
    if not subject.hardware:  # a driver that takes these would let a real arm move
        for name, end, out in (("above", limit.q_max, _OUT), ("below", limit.q_min, -_OUT)):
            if np.isfinite(end[motion.joint]):
                q: Vec = here.copy()
                q[motion.joint] = end[motion.joint] + out
                unfit.append((f"a joint {name} its range", q))
    return unfit


def _refused(motion: Motion, name: str, q: Vec, bounds: Bounds, found: Found) -> None:
    here = motion.state().q.copy()
    try:
        sent = motion.command(q)
    except DeviceError:  # nothing may have been sent before that
        by = max(float(np.abs(s.value.q - here).max()) for s in motion.look(_REFUSED_S))
        found.want(by < bounds.still, f"{name} is refused, and moves it by {by:.3f} rad")
        return
    except Exception as e:
        found.want(False, f"{name} raises {type(e).__name__}, not DeviceError")
        return
    finally:
        with contextlib.suppress(DeviceError):
            motion.arm.stop(2)
            motion.arm.activate()
    limit = motion.arm.limits
    inside = sent.q.shape == limit.q_min.shape and bool(
        np.all((sent.q >= limit.q_min) & (sent.q <= limit.q_max))
    )
    found.numbers["unfit_taken"] += not inside
    found.want(inside, f"{name} is accepted")


def jump(subject: Subject, bounds: Bounds) -> Found:
    """A command that jumps is refused, or comes back clamped, or is followed no faster than the
    joint's limit of speed."""
    if subject.kind in SIMULATED:
        raise NotApplicableError("there is no controller that would refuse one; the guard does")
    if subject.hardware:
        raise NotApplicableError("tried with an emulator only: an arm could jump")
    found = Found()
    with moved(subject, bounds) as motion:
        start = motion.state().q.copy()
        goal = motion.target(_JUMP)
        fastest = motion.arm.limits.dq_max
        try:
            sent = motion.command(goal)
        except DeviceError:
            samples = motion.look(_LOOK_S)
            still = max(float(np.abs(s.value.q - start).max()) for s in samples)
            found.want(still < bounds.still, f"refused, it moves all the same, by {still:.3f} rad")
            found.said.append("refused")
            return found
        samples = motion.look(_LOOK_S)
        asked = float(np.abs(sent.q - start).max())
        found.numbers["sent_rad"] = asked
        if asked < _JUMP / 2:
            by = max(float(np.abs(s.value.q - start).max()) for s in samples)
            found.want(
                by < asked + bounds.still,
                f"it says that it was clamped to {asked:.3f} rad, and moves by {by:.3f} rad",
            )
            found.said.append(f"clamped to {asked:.3f} rad, as the returned command says")
            return found
        reached = speed(samples)
        found.numbers["speed_rad_s"] = float(reached.max())
        over = bool(np.any(reached > _FASTER * fastest))
        found.want(not over, f"it jumps: {reached.max():.1f} rad/s, limit {fastest.max():.1f}")
        found.said.append("followed within the limit of speed")
    return found


def latency(subject: Subject, bounds: Bounds) -> Found:
    """From a command to the first sample in which the arm has moved by a third of it."""
    found, times = Found(), []
    with moved(subject, bounds) as motion:
        for i in range(_TRIALS):
            here = motion.state().q.copy()
            motion.stream(lambda t, q=here: q, 0.2)  # type: ignore[misc]
            goal = here.copy()
            goal[motion.joint] += motion.sign * bounds.step / 5 * (1 if i % 2 == 0 else -1)
            begin = subject.clock.now()
            seen: list[int] = []

            def has_moved(here: Vec = here, goal: Vec = goal, seen: list[int] = seen) -> bool:
                sample = motion.sample()
                way = (sample.value.q - here)[motion.joint] / (goal - here)[motion.joint]
                if way > 1 / 3:
                    seen.append(sample.stamp.t_ns)
                return bool(seen)

            motion.stream(lambda t, q=goal: q, 1.0, has_moved)  # type: ignore[misc]
            if not seen:
                found.want(False, f"it has not moved within 1 s after command {i + 1}")
                return found
            times.append(max(0.0, (seen[0] - begin) / 1e6))
            motion.rest(bounds.rest_s, goal)
    middle = float(np.median(times))
    found.numbers |= {"latency_p50_ms": middle, "latency_max_ms": max(times)}
    found.series["ms from command to motion"] = times
    late = middle > 1e3 * bounds.latency_s
    found.want(not late, f"{middle:.0f} ms, more than {1e3 * bounds.latency_s:.0f} ms")
    return found


def _arrives(newest: Latest[GripperState], wanted: float, stroke: float, until_ns: int) -> bool:
    """Whether jaws come to the width [m] that they were told, before `until_ns` [ns]; those that
    know only open and closed, to the nearer one."""
    while newest.clock.now() < until_ns:
        state = newest.latest(NS).value
        near = abs(state.width_ref - wanted) <= 0.5 * stroke
        if near and abs(state.width - state.width_ref) <= 0.1 * stroke:
            return True
        newest.clock.sleep_until(newest.clock.now() + NS // 100)
    return False


def _told(newest: Latest[GripperState], wanted: float, stroke: float, until_ns: int) -> float:
    """The width [m] that jaws say they were told, as soon as it is on the side of `wanted`, or what
    it is at `until_ns` [ns]."""
    while True:
        told = newest.latest(NS).value.width_ref
        there = told < 0.1 * stroke if wanted < 0.0 else told > 0.95 * stroke
        if there or newest.clock.now() >= until_ns:
            return told
        newest.clock.sleep_until(newest.clock.now() + NS // 100)


def gripper(subject: Subject, bounds: Bounds) -> Found:
    """Jaws refuse NaN and infinity, keep widths inside their stroke, and go where they are told."""
    subject.want_motion("jaws")
    found = Found()
    found.numbers["unfit_taken"] = 0.0
    with subject.latest() as newest, contextlib.ExitStack() as stack:
        device: Any = newest.source
        if subject.owner is not None:  # the arm that switches the jaws' torque on
            subject.owner.open(OPEN_S)
            stack.callback(subject.owner.close)
            subject.owner.activate()
        activate = getattr(device, "activate", None)
        if activate is not None:
            activate()
        stroke = device.stroke
        for name, width, force in (
            ("NaN as width", math.nan, _FORCE),
            ("NaN as force", 0.01, math.nan),
            ("infinity as width", math.inf, _FORCE),
        ):
            with contextlib.suppress(DeviceError):
                device.command(width, force=force)
                found.numbers["unfit_taken"] += 1
                found.want(False, f"{name} is accepted")
        for wanted in (0.2 * stroke, 0.9 * stroke):  # more than half the stroke apart
            begin = subject.clock.now()
            device.command(wanted, force=_FORCE)
            if not _arrives(newest, wanted, stroke, begin + round(3 * NS)):
                found.want(False, f"told to open {wanted:.3f} m, it does not within 3 s")
            found.numbers["reached_s"] = (subject.clock.now() - begin) / NS
        for beyond in (-0.5 * stroke, 1.5 * stroke):
            try:
                device.command(beyond, force=_FORCE)
            except DeviceError:
                continue
            told = _told(newest, beyond, stroke, subject.clock.now() + round(_TOLD_S * NS))
            inside = -1e-3 <= told <= stroke + 1e-3
            found.want(inside, f"its commanded width is {told:.3f} m, the stroke {stroke}")
        device.stop()
    return found
