"""The guard's arithmetic in Python: the checks of one command against the limits of all joints, the
workspace and collisions; the stop when a command is not accepted; and the check of a whole chunk.

It is the readable reference of `edge/guard/cpp/guard.hpp`, which decides and sends the same to the
last bit. It is also what runs where nothing was compiled.

The candidate is what the core would send next: the command, or in clamp mode as much of it as the
joint limits allow, or the next tick of the stop.
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
from headway.edge.guard.joint import Joint
from headway.edge.guard.reasons import FINE, Finding, Motion, Reason
from headway.types import Vec

Fk = Chain | Callable[[Vec], Vec]
NO_FRAMES = np.zeros((0, 12))


class Core(Protocol):
    """Reads a command from one buffer and writes what is sent to another, both (n,) [rad]. In each
    tick, call either `propose` or `pass_over`, then `send`."""

    @property
    def clamped(self) -> Finding:
        """Why the candidate is not the command that was proposed last but only as near to it as the
        joints' limits allow; FINE: it is the command."""

    @property
    def refused(self) -> Finding:
        """Why that candidate must not be sent; FINE: it may be."""

    def start(self) -> None:
        """Begin at rest at the positions in the output buffer."""

    def finite(self) -> bool:
        """Whether all numbers of the command are finite."""

    def pass_over(self, known: bool, /) -> None:
        """This tick's command is refused for another reason and not looked at. `known`: there is
        one, of finite numbers, so that clamping can tell how fast the commands move."""

    def propose(self) -> bool:
        """True: the command is the candidate, and nothing is said against it. Else see `clamped`
        and `refused`."""

    def send(self, braking: bool, /) -> None:
        """Write the candidate, or the next tick of the stop, to the output buffer: it is sent."""

    def check_chunk(self, q: NDArray[np.float64], dt: float, /) -> tuple[int, Finding]:
        """The first row of the waypoints `q` (h, n) [rad], `dt` [s] apart, with something against
        it, and what; (h, FINE) if none has. Touches nothing that the other calls use."""


class PythonCore:
    """See `Core`. `joints` are the n joints with their limits; `period_s` [s] is the tick; `box`
    (3, 2) [m] holds the TCP's position in the base frame, a lower and an upper bound per axis;
    `lever_m` [m] is that of `GuardConfig`; `clamp` says to follow a command as far as the joint
    limits allow; `command` and `out` (n,) [rad] are the two buffers; `fk` is the chain, or maps q
    (n,) [rad] to the TCP's position (3,) [m] in the base frame; `scene` is what may collide; it has
    no pairs where `fk` is no chain."""

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
        scene: Scene,
    ) -> None:
        self._joints, self._T = joints, period_s
        self._box: list[tuple[float, float]] = [(lo, hi) for lo, hi in box.tolist()]
        self._lever, self._clamp = lever_m, clamp
        self._command, self._out = command, out
        self._fk = fk
        self._collisions, self._chunk_collisions = Collisions(scene), Collisions(scene)
        # Chunks may be checked while a command is.
        self._fk_in, self._chunk_fk_in = np.zeros(len(joints)), np.zeros(len(joints))
        self._wanted: list[float] | None = None  # the last command that was a position
        self._tcp: list[float] | None = None  # at the last output, where known
        self.clamped = self.refused = FINE

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
        found = self._probe(command)
        self.clamped, self.refused = (found, FINE) if self._clamp else (FINE, found)
        if self.clamped is not FINE:
            self._follow(command)
        self._wanted = command
        if self.refused is FINE:
            self.refused = self._place()
        return self.clamped is FINE and self.refused is FINE

    def send(self, braking: bool) -> None:
        if braking:
            self._tcp = None
            for joint in self._joints:
                joint.brake()
        out = self._out
        for k, joint in enumerate(self._joints):
            out[k] = joint.q1
            joint.commit()

    def _probe(self, command: list[float]) -> Finding:
        """Try `command` (n,) [rad] on all joints, since each must have a candidate. Of the checks
        that fail, the first in the order of `Reason` is reported."""
        worst, at = Reason.OK, 0
        for k, joint in enumerate(self._joints):
            reason = joint.probe(command[k])
            if reason is not Reason.OK and (worst is Reason.OK or reason < worst):
                worst, at = reason, k
        if worst is Reason.OK:
            return FINE
        return self._joints[at].finding(worst, at, self._joints[at].motion())

    def _follow(self, command: list[float]) -> None:
        before = self._wanted or command
        for joint, c, b in zip(self._joints, command, before, strict=True):
            joint.follow(c, (c - b) / self._T)

    def _place(self) -> Finding:
        """Whether the arm is clear at the candidate, and where a stop from it would end: the TCP
        leaves no face of the box, or leaves it no further than it has; no pair of bodies comes too
        near, or nearer than it is."""
        collisions = self._collisions
        try:
            if self._tcp is None:
                self._tcp, frames = self._look([joint.q for joint in self._joints])
                collisions.start(frames)
            tcp, frames = self._look([joint.q1 for joint in self._joints])
            found = self._blocked(tcp, self._tcp, collisions, frames, False)
            if found is not FINE:
                return found
            near = collisions.found
            # In the stop, the TCP moves no further than the joints' distances times the lever. If
            # the faces are farther away, and nothing can collide, the end needs no look.
            reach = 0.0
            for joint in self._joints:
                reach += joint.stop_bound()
            reach *= self._lever
            far = not near or not reach > 0.0
            for x, (lo, hi) in zip(tcp, self._box, strict=True):
                far = far and not (x - lo < reach or hi - x < reach)
            if not far:
                end, frames = self._look([joint.stop_at() for joint in self._joints])
                found = self._blocked(end, self._tcp, collisions, frames, True)
                if found is not FINE:
                    return found
        except Exception as e:  # a guard without kinematics cannot say yes
            return Finding(Reason.WORKSPACE, cause=e)
        self._tcp = tcp
        collisions.accept(near)
        return FINE

    def _look(self, q: list[float], at: Vec | None = None) -> tuple[list[float], Vec]:
        """The TCP's position (3,) [m] at `q` (n,) [rad] and, for a chain, its frames (n + 1, 12) as
        of `Chain.transforms`; no frames for a function. `at` (n,): the buffer that is refilled, by
        default that of commands."""
        at = self._fk_in if at is None else at
        at[:] = q
        if not isinstance(self._fk, Chain):
            return position(self._fk, at), NO_FRAMES
        frames = self._fk.transforms(at)
        return tcp_of(self._fk.tool[9:], frames[-1].tolist()), frames

    def _blocked(
        self, p: list[float], before: list[float], near: Collisions, frames: Vec, stopping: bool
    ) -> Finding:
        """What speaks against the arm being with its TCP at `p` (3,) [m] and its links at `frames`
        (n + 1, 12): the TCP is outside the workspace, and further than it was at `before` (3,) [m],
        or a pair of bodies is too near according to `near`. `stopping`: a stop would end there."""
        for axis, (x, b, (lo, hi)) in enumerate(zip(p, before, self._box, strict=True)):
            least, most = min(lo, b), max(hi, b)
            if not least <= x <= most:
                return Finding(Reason.WORKSPACE, axis, stopping, x, least, most)
        return near.look(frames, stopping)

    def check_chunk(self, q: NDArray[np.float64], dt: float) -> tuple[int, Finding]:
        hz = 1.0 / dt
        before: list[float] = []
        speeds = [0.0] * len(self._joints)
        start: list[float] = []
        for row, now in enumerate(q.tolist()):
            for k, x in enumerate(now):
                if not math.isfinite(x):
                    return row, Finding(Reason.NOT_FINITE, k, found=x)
            for k, (joint, x) in enumerate(zip(self._joints, now, strict=True)):
                v = (x - before[k]) * hz if row else 0.0
                a = (v - speeds[k]) * hz if row > 1 else 0.0
                if (reason := joint.beyond(x, v, a)) is not Reason.OK:
                    return row, joint.finding(reason, k, Motion(x, v, a, math.nan))
                speeds[k] = v
            before = now
            try:
                tcp, frames = self._look(now, self._chunk_fk_in)
            except Exception as e:
                return row, Finding(Reason.WORKSPACE, cause=e)
            collisions = self._chunk_collisions
            if row == 0:
                start = tcp
                collisions.start(frames)
                continue
            found = self._blocked(tcp, start, collisions, frames, False)
            if found is not FINE:
                return row, found
        return len(q), FINE


def position(fk: Callable[[Vec], Vec], q: Vec) -> list[float]:
    """The three coordinates [m] that `fk` gives for `q` (n,) [rad], whatever kind of sequence it
    returns. Raises what `fk` raises, and ValueError or TypeError if these are not three numbers."""
    x, y, z = np.asarray(fk(q), np.float64).tolist()
    return [x, y, z]
