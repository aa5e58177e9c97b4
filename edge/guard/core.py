"""The guard's arithmetic in Python: all joints' checks of one command, the workspace, collisions,
and the stop when a command is not accepted; and the check of a chunk. It is the readable reference
of `edge/guard/cpp/guard.hpp`, which decides and sends the same to the last bit, and what is used
where nothing was compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headway.drivers.kinematics import Chain
from headway.drivers.kinematics_python import tcp as tcp_of
from headway.edge.guard.collision import Collisions, Scene
from headway.edge.guard.joint import ROUND, Joint, Reason
from headway.types import Vec

Fk = Chain | Callable[[Vec], Vec]
# Why a command is not sent as it came: the reason; the joint, or for the workspace the axis, plus 3
# when it is the stop's end that lies outside, or -1 when forward kinematics failed, or for a
# collision the pair, plus their number when it is the stop's end; and q1, dq1, ddq1, ddq of that
# joint, or the coordinate, or the distance and what is allowed.
Found = tuple[int, int, tuple[float, float, float, float]]

NOTHING: Found = (0, 0, (0.0, 0.0, 0.0, 0.0))
NO_FRAMES = np.zeros((0, 12))
FAILED: Found = (Reason.WORKSPACE, -1, (0.0, 0.0, 0.0, 0.0))


class Core(Protocol):
    """Reads a command from one buffer and writes what is sent to another, both (n,) [rad]; per
    tick `propose` or `pass_over`, then `send`."""

    error: Exception | None  # why forward kinematics failed

    def start(self) -> None:
        """At rest where the output buffer says."""

    def finite(self) -> bool:
        """Whether the command is."""

    def pass_over(self, known: bool, /) -> None:
        """Do not look at the command; `known`: it is a position nevertheless."""

    def propose(self) -> bool:
        """True: the command is the candidate, and nothing is said against it. Else see `soft` (it
        was clamped) and `hard` (it is refused)."""

    def soft(self) -> Found: ...
    def hard(self) -> Found: ...
    def send(self, braking: bool, /) -> None:
        """Write the candidate, or the next tick of the stop, to the output buffer: it is sent."""

    def check_chunk(self, q: NDArray[np.float64], dt: float, /) -> tuple[int, Found]:
        """The first row of waypoints (h, n) [rad], `dt` [s] apart, with something to say, and what;
        (h, NOTHING) if none has. Touches nothing that the other calls use."""


class PythonCore:
    """`joints` with their limits; `box` (3, 2) [m] for the TCP; `lever_m` [m] as in the config;
    `clamp`: follow a command as far as the joints' limits allow; `scene`: what may collide, for a
    chain."""

    def __init__(
        self,
        joints: list[Joint],
        period_s: float,
        box: NDArray[np.float64],
        lever_m: float,
        clamp: bool,
        command: Vec,
        out: Vec,
        fk: Fk,
        scene: Scene | None = None,
    ) -> None:
        self._joints, self._T = joints, period_s
        self._box: list[tuple[float, float]] = [(lo, hi) for lo, hi in box.tolist()]
        self._lever, self._clamp = lever_m, clamp
        self._command, self._out = command, out
        self._fk = fk
        self._collisions = None if scene is None else Collisions(scene)
        self._chunk_collisions = None if scene is None else Collisions(scene)
        self._fk_in = np.zeros(len(joints))
        self._wanted: list[float] | None = None  # the last command that was a position
        self._tcp: list[float] | None = None  # at the last output, where known
        self._soft = self._hard = NOTHING
        self.error: Exception | None = None

    def soft(self) -> Found:
        return self._soft

    def hard(self) -> Found:
        return self._hard

    def start(self) -> None:
        for joint, q in zip(self._joints, self._out.tolist(), strict=True):
            joint.start(q)
        self._wanted = self._tcp = None

    def finite(self) -> bool:
        return bool(np.isfinite(self._command).all())

    def pass_over(self, known: bool) -> None:
        self._wanted = self._command.tolist() if known else None

    def propose(self) -> bool:
        command: list[float] = self._command.tolist()
        self._soft = self._hard = NOTHING
        found = self._probe(command)
        if found is not NOTHING and self._clamp:
            self._soft = found
            self._follow(command)
        else:
            self._hard = found
        self._wanted = command
        if self._hard is NOTHING:
            self._hard = self._place()
        return self._soft is NOTHING and self._hard is NOTHING

    def send(self, braking: bool) -> None:
        if braking:
            self._tcp = None
            for joint in self._joints:
                joint.brake()
        out = self._out
        for k, joint in enumerate(self._joints):
            out[k] = joint.q1
            joint.commit()

    def _probe(self, command: list[float]) -> Found:
        """All joints, since each must have a candidate; the first check that fails is reported."""
        worst, at = Reason.OK, 0
        for k, joint in enumerate(self._joints):
            reason = joint.probe(command[k])
            if reason is not Reason.OK and (worst is Reason.OK or reason < worst):
                worst, at = reason, k
        if worst is Reason.OK:
            return NOTHING
        j = self._joints[at]
        return worst, at, (j.q1, j.dq1, j.ddq1, j.ddq)

    def _follow(self, command: list[float]) -> None:
        before = self._wanted or command
        for joint, c, b in zip(self._joints, command, before, strict=True):
            joint.follow(c, (c - b) / self._T)

    def _place(self) -> Found:
        """Where the candidate is, and where it stops: no face of the box is left, or left further;
        nothing comes too near, or nearer."""
        collisions = self._collisions
        near: list[float] = []
        try:
            if self._tcp is None:
                tcp, frames = self._look([joint.q for joint in self._joints])
                if collisions is not None:
                    collisions.start(frames)
                self._tcp = tcp
            tcp, frames = self._look([joint.q1 for joint in self._joints])
            if (found := self._outside(tcp, self._tcp, 0)) is not NOTHING:
                return found
            if collisions is not None:
                if (found := _too_near(collisions, frames, 0)) is not NOTHING:
                    return found
                near = collisions.found
            reach = 0.0
            for joint in self._joints:
                reach += joint.stop_bound()
            reach *= self._lever
            far = collisions is None or not reach > 0.0
            for x, (lo, hi) in zip(tcp, self._box, strict=True):
                far = far and not (x - lo < reach or hi - x < reach)
            if not far:
                end, frames = self._look([joint.stop_at() for joint in self._joints])
                if (found := self._outside(end, self._tcp, 3)) is not NOTHING:
                    return found
                if collisions is not None:
                    found = _too_near(collisions, frames, len(collisions.found))
                    if found is not NOTHING:
                        return found
        except Exception as e:  # a guard without kinematics cannot say yes
            self.error = e
            return FAILED
        self._tcp = tcp
        if collisions is not None:
            collisions.accept(near)
        return NOTHING

    def _look(self, q: list[float]) -> tuple[list[float], Vec]:
        """TCP position and, of a chain, the frames (n + 1, 12)."""
        at = self._fk_in
        at[:] = q
        if not isinstance(self._fk, Chain):
            return position(self._fk, at), NO_FRAMES
        frames = self._fk.transforms(at)
        return tcp_of(self._fk.tool, frames[-1].tolist()), frames

    def _outside(self, p: list[float], before: list[float], end: int) -> Found:
        for axis, (x, b, (lo, hi)) in enumerate(zip(p, before, self._box, strict=True)):
            if not min(lo, b) <= x <= max(hi, b):
                return Reason.WORKSPACE, axis + end, (x, 0.0, 0.0, 0.0)
        return NOTHING

    def check_chunk(self, q: NDArray[np.float64], dt: float) -> tuple[int, Found]:
        hz = 1.0 / dt
        before: list[float] = []
        speeds = [0.0] * len(self._joints)
        start: list[float] = []
        for row, now in enumerate(q.tolist()):
            for k, x in enumerate(now):
                if not math.isfinite(x):
                    return row, (Reason.NOT_FINITE, k, (x, 0.0, 0.0, 0.0))
            for k, (joint, x) in enumerate(zip(self._joints, now, strict=True)):
                v = (x - before[k]) * hz if row else 0.0
                a = (v - speeds[k]) * hz if row > 1 else 0.0
                values = (x, v, a, 0.0)
                if not joint.lo <= x <= joint.hi:
                    return row, (Reason.POSITION, k, values)
                if not abs(v) <= joint.v_max * ROUND:
                    return row, (Reason.VELOCITY, k, values)
                if not abs(a) <= joint.a_max * ROUND:
                    return row, (Reason.ACCELERATION, k, values)
                speeds[k] = v
            before = now
            try:
                tcp, frames = self._look(now)
            except Exception as e:
                self.error = e
                return row, FAILED
            collisions = self._chunk_collisions
            if row == 0:
                start = tcp
                if collisions is not None:
                    collisions.start(frames)
                continue
            if (found := self._outside(tcp, start, 0)) is not NOTHING:
                return row, found
            if collisions is not None:
                found = _too_near(collisions, frames, 0)
                if found is not NOTHING:
                    return row, found
        return len(q), NOTHING


def _too_near(collisions: Collisions, frames: Vec, end: int) -> Found:
    near = collisions.look(frames)
    if near is None:
        return NOTHING
    pair, distance, allowed = near
    return Reason.COLLISION, pair + end, (distance, allowed, 0.0, 0.0)


def position(fk: Callable[[Vec], Vec], q: Vec) -> list[float]:
    """Three coordinates, whatever `fk` returns them in. Raises what it raises, or for others."""
    x, y, z = np.asarray(fk(q), np.float64).tolist()
    return [x, y, z]
