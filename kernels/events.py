"""What cannot be windowed: contacts, grasps, retries and phases as small state machines.

Plain Python scalars, one call per tick, O(1). Ages count ticks. A machine whose input group is not
valid on a tick stands still; ages go on. `cpp/events.hpp` has the same machines.
"""

from __future__ import annotations

import math

from headway.kernels import spec

C = spec.CONSTANTS
NEVER = 1 << 60
OPEN, CLOSING, HOLDING, EMPTY = range(4)


class Contact:
    """Contact with hysteresis, and what happened since its onset."""

    def __init__(self, dt: float) -> None:
        self.dt = dt
        self.load_gain = 1.0 - math.exp(-dt / C["load_tau_s"])
        self.on = False
        self.age = NEVER
        self.peak = self.impulse = self.work_neg = self.work_pos = 0.0
        self.load = -1.0  # low-passed |F|; < 0: none yet

    def step(self, valid: bool, force: float, power: float) -> bool:
        """One tick with |F| [N] and power [W]; True at an onset."""
        self.age += 1
        if not valid:
            return False
        self.load = force if self.load < 0 else self.load + self.load_gain * (force - self.load)
        onset = not self.on and force >= C["contact_on"]
        if onset:
            self.on, self.age = True, 0
            self.peak = self.impulse = self.work_neg = self.work_pos = 0.0
        elif self.on and force <= C["contact_off"]:
            self.on = False
        if self.on:
            self.peak = max(self.peak, force)
            self.impulse += force * self.dt
            if power < 0:
                self.work_neg -= power * self.dt
            else:
                self.work_pos += power * self.dt
        return onset


class Grasp:
    """Closes, holds, drops and lifts, all lengths in strokes but the TCP height [m].

    A close is `width_ref` turning back by `close_travel` from its largest value since the last
    open. When the jaws have come to rest, which is that they stayed within `settle_travel` of one
    width for `settle_s`, they hold something if they stopped short of `width_ref`. A rate would not
    tell: over a few ms an encoder's noise is faster than jaws that creep.
    """

    def __init__(self, dt: float) -> None:
        self.settle = C["settle_s"] / dt
        self.settle_min = C["settle_min_s"] / dt
        self.state = OPEN
        self.turn = math.nan  # extreme of width_ref since the last close or open; NaN: none yet
        self.rest, self.quiet = 0.0, 0  # the width that they are at, for how many ticks
        self.age = NEVER
        self.closes = self.recloses = 0
        self.dropped = self.lifted = False
        self.width = self.z = self.load = 0.0  # at the grasp, and the load at the lift

    def step(self, valid: bool, width: float, ref: float) -> bool:
        """One tick; True while something is held."""
        self.age += 1
        if not valid:
            return self.state == HOLDING
        if math.isnan(self.turn):
            self.turn = ref
        if self.state == OPEN:
            self.turn = max(self.turn, ref)
            if ref <= self.turn - C["close_travel"]:
                self.recloses += self.closes > 0 and not self.lifted
                self.closes += 1
                self.state, self.age, self.turn = CLOSING, 0, ref
                self.rest, self.quiet = width, 0
                self.dropped = self.lifted = False
            return False
        self.turn = min(self.turn, ref)
        if ref >= self.turn + C["close_travel"]:
            self.state, self.turn, self.dropped = OPEN, ref, False
            return False
        gap = width - ref
        if self.state == CLOSING:
            self.quiet += 1
            if abs(width - self.rest) > C["settle_travel"]:
                self.rest, self.quiet = width, 0
            if self.age >= self.settle_min and self.quiet >= self.settle:
                self.state, self.width = (HOLDING if gap > C["hold_gap"] else EMPTY), width
                self.z = math.nan
        elif self.state == HOLDING and gap < C["drop_gap"] and width < self.width - C["drop_gap"]:
            self.state, self.dropped = CLOSING, True  # and settles again, on nothing
            self.rest, self.quiet = width, 0
        return self.state == HOLDING

    def lift(self, valid: bool, z: float, load: float) -> None:
        """Watch the TCP height `z` [m] while holding; keeps the load [N] at the lift."""
        if self.state != HOLDING or not valid or self.lifted:
            return
        if math.isnan(self.z):
            self.z = z
        elif z - self.z > C["lift_m"]:
            self.lifted, self.load = True, load


class Task:
    """Phases, retries, the operator's flag and the vacuum's bit."""

    def __init__(self, dt: float) -> None:
        self.forget = math.exp(-dt / C["retry_tau_s"])
        self.phase = -1.0
        self.phase_age = 0
        self.retries = self.retries_before = 0.0
        self.retries_known = False
        self.retry_age = self.operator_age = NEVER
        self.ewma = 0.0
        self.vacuum = False

    def step_phase(self, valid: bool, phase: float) -> None:
        self.phase_age += 1
        if valid and phase != self.phase:
            self.phase, self.phase_age, self.retries_before = phase, 0, self.retries

    def step_retries(self, valid: bool, retries: float) -> None:
        self.retry_age += 1
        self.ewma *= self.forget
        if not valid:
            return
        more = retries - self.retries if self.retries_known else 0.0
        if more > 0:
            self.retry_age, self.ewma = 0, self.ewma + more
        if not self.retries_known:
            self.retries_before = retries
        self.retries, self.retries_known = retries, True

    def step_flags(self, op_valid: bool, operator: float, vac_valid: bool, vacuum: float) -> None:
        self.operator_age += 1
        if op_valid and operator > 0.5:
            self.operator_age = 0
        if vac_valid:
            self.vacuum = vacuum > (C["vacuum_off"] if self.vacuum else C["vacuum_on"])
