"""The guard's arithmetic in Python: all joints' checks of one command, the workspace, and the stop
when a command is not accepted. It is the readable reference of `edge/cpp/guard.hpp`, which decides
and sends the same to the last bit, and what is used where nothing was compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headway.drivers.kinematics import Chain
from headway.edge.joint import Joint, Reason
from headway.types import Vec

Fk = Chain | Callable[[Vec], Vec]
# Why a command is not sent as it came: the reason; the joint, or for the workspace the axis, plus 3
# when it is the stop's end that lies outside, or -1 when forward kinematics failed; and q1, dq1,
# ddq1, ddq of that joint, or the coordinate first.
Found = tuple[int, int, tuple[float, float, float, float]]

NOTHING: Found = (0, 0, (0.0, 0.0, 0.0, 0.0))


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


class PythonCore:
    """`joints` with their limits; `box` (3, 2) [m] for the TCP; `lever_m` [m] as in the config;
    `clamp`: follow a command as far as the joints' limits allow."""

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
    ) -> None:
        self._joints, self._T = joints, period_s
        self._box: list[tuple[float, float]] = [(lo, hi) for lo, hi in box.tolist()]
        self._lever, self._clamp = lever_m, clamp
        self._command, self._out = command, out
        self._fk = fk.position if isinstance(fk, Chain) else fk
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
            self._hard = self._workspace()
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

    def _workspace(self) -> Found:
        """TCP of the candidate, and where it stops: no face of the box is left, or left further."""
        try:
            if self._tcp is None:
                self._tcp = self._position([joint.q for joint in self._joints])
            tcp = self._position([joint.q1 for joint in self._joints])
            if (found := self._outside(tcp, self._tcp, 0)) is not NOTHING:
                return found
            reach = 0.0
            for joint in self._joints:
                reach += joint.stop_bound()
            reach *= self._lever
            for x, (lo, hi) in zip(tcp, self._box, strict=True):
                if x - lo < reach or hi - x < reach:
                    end = self._position([joint.stop_at() for joint in self._joints])
                    if (found := self._outside(end, self._tcp, 3)) is not NOTHING:
                        return found
                    break
        except Exception as e:  # a guard without kinematics cannot say yes
            self.error = e
            return Reason.WORKSPACE, -1, NOTHING[2]
        self._tcp = tcp
        return NOTHING

    def _position(self, q: list[float]) -> list[float]:
        self._fk_in[:] = q
        return position(self._fk, self._fk_in)

    def _outside(self, p: list[float], before: list[float], end: int) -> Found:
        for axis, (x, b, (lo, hi)) in enumerate(zip(p, before, self._box, strict=True)):
            if not min(lo, b) <= x <= max(hi, b):
                return Reason.WORKSPACE, axis + end, (x, 0.0, 0.0, 0.0)
        return NOTHING


def position(fk: Callable[[Vec], Vec], q: Vec) -> list[float]:
    """Three coordinates, whatever `fk` returns them in. Raises what it raises, or for others."""
    x, y, z = np.asarray(fk(q), np.float64).tolist()
    return [x, y, z]
