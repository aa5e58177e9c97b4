"""Promises of stopping, and of moving again only when somebody says so."""

from __future__ import annotations

import numpy as np

from headway.drivers import Arm
from headway.errors import DeviceError
from headway.hil.suite.motion import HZ, Motion, moved
from headway.hil.suite.results import Bounds, Found
from headway.hil.suite.samples import collect
from headway.hil.suite.subject import Subject
from headway.types import Vec

_RUN_S = 0.3
_AHEAD = 0.4  # of what a joint can move in a tick
_LEAST = 0.005  # [rad]: a shorter way is hidden by noise
_HOLD_S = 0.3


def stops(subject: Subject, bounds: Bounds) -> Found:
    """In motion, stops of category 2 and 1 of IEC 60204-1 bring the arm to rest short of its goal;
    after 1 it takes no command before it is activated again, after 2 it does."""
    found = Found()
    with moved(subject, bounds) as motion:
        for category in (2, 1):
            for _ in range(bounds.tries):  # the host may have been busy just when it should stop
                once = Found()
                _stop(motion, category, bounds, once)
                motion.arm.stop(2)
                motion.arm.activate()
                motion.rest(bounds.rest_s)
                if not once.broken:
                    break
            found.numbers |= once.numbers
            found.broken += once.broken
    return found


def power_off(subject: Subject, bounds: Bounds) -> Found:
    """As `stops`, of category 0, which takes the power away: to be activated again, an arm may want
    somebody to switch it on. So this is the last check of a device."""
    found = Found()
    with moved(subject, bounds) as motion:
        _stop(motion, 0, bounds, found)
        try:
            motion.arm.activate()
        except DeviceError as e:
            found.said.append(f"it does not come back by itself: {e}")
    return found


def _stop(motion: Motion, category: int, bounds: Bounds, found: Found) -> None:
    begin = motion.state().q.copy()
    goal = begin.copy()
    rate = bounds.step / _RUN_S

    def ramp(t: float) -> Vec:
        goal[motion.joint] = begin[motion.joint] + motion.sign * rate * t
        return goal.copy()

    motion.stream(ramp, _RUN_S)
    # One step ahead of the arm, which a stop has to prevent; no larger than a tick's.
    here = motion.state().q.copy()
    ahead = goal.copy()
    ahead[motion.joint] += motion.sign * _AHEAD * motion.arm.limits.dq_max[motion.joint] / HZ
    sent = motion.command(ahead)
    motion.arm.stop(category)
    took = motion.rest(bounds.rest_s)
    where = f"after stop({category})"
    if took is None:
        found.want(False, f"{where} it does not come to rest within {bounds.rest_s:g} s")
        return
    found.numbers[f"rest_{category}_s"] = took
    after = [s.value for s in motion.look(_HOLD_S)]
    rested, crept = after[0].q, max(float(np.abs(s.q - after[0].q).max()) for s in after)
    found.want(crept < bounds.still, f"{where} it creeps by {crept:.3f} rad")
    way = float(np.abs(sent.q - here).max())
    left = float(np.abs(sent.q - rested).max())
    found.numbers[f"way_{category}_rad"] = float(np.abs(rested - here).max())
    if way > _LEAST:
        found.want(left > 0.25 * way, f"{where} it goes on to its goal")
    if category == 0:  # without power there is no reference
        found.want(not _takes(motion), f"{where} it takes a command before it is activated again")
        return
    reference = float(np.abs(after[-1].q_ref - after[-1].q).max())
    found.want(
        reference < max(bounds.still, 0.5 * way),
        f"{where} its reference is {reference:.3f} rad from where it rests",
    )
    taken = _takes(motion)
    if category == 2:
        found.want(taken, f"{where} it takes no command")
    else:
        found.want(not taken, f"{where} it takes a command before it is activated again")


def _takes(motion: Motion) -> bool:
    """Whether it takes a command to stay where it is."""
    try:
        motion.command(motion.state().q.copy())
    except DeviceError:
        return False
    return True


def reactivation(subject: Subject, bounds: Bounds) -> Found:
    """Opening an arm, and opening it again, moves nothing, and no command is taken before it is
    activated; being activated, it stays where it is."""
    found = Found()
    if subject.may_move:
        with moved(subject, bounds) as motion:
            q = motion.state().q.copy()
            motion.stream(lambda t: q, 0.1)
    with subject.opened() as arm:
        _stays(subject, arm, bounds, found, "when it is opened")
        _refuses(arm, found)
        if subject.may_move:
            arm.activate()
            _stays(subject, arm, bounds, found, "when it is activated")
            arm.stop(1)
    return found


def _stays(subject: Subject, arm: Arm, bounds: Bounds, found: Found, when: str) -> None:
    states = [t.sample.value.q for t in collect(arm, subject.clock, _HOLD_S, 1.0)]
    if not states:
        found.want(False, f"no samples {when}")
        return
    by = max(float(np.abs(q - states[0]).max()) for q in states)
    found.numbers[f"moved_{when.split()[-1]}_rad"] = by
    found.want(by < bounds.still, f"{when} it moves by {by:.3f} rad")


def _refuses(arm: Arm, found: Found) -> None:
    q = arm.read(1.0).value.q.copy()
    try:
        arm.command(q, deadline_ns=arm.read(1.0).stamp.t_ns + 10_000_000)
    except DeviceError:
        return
    found.want(False, "it takes a command before it was activated")
