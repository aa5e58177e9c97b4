"""Brings the faults about, at their times."""

from __future__ import annotations

import random

from headway.clock import NS
from headway.hil.emulators._ur.faults import Fault
from headway.hil.emulators._ur.robot import Robot
from headway.hil.journal import Journal

_LONG = 1 << 62  # [ns]: for ever


class Conductor:
    """The `faults` of the `robot`, written down in the `journal`. `seed` chooses the packages that
    `skip` leaves out."""

    def __init__(
        self, faults: tuple[Fault, ...], seed: int, robot: Robot, journal: Journal
    ) -> None:
        self._waiting = sorted(faults, key=lambda f: f.at_s)
        self._robot, self._journal = robot, journal
        self._random = random.Random(seed)
        self._first_ns = 0  # when the first client came [ns], 0: not yet
        self._until: dict[str, int] = {}  # [ns] of the faults that last
        self._share = 0.0
        self._drops = False

    def connected(self, now: int) -> None:
        """A client has connected to RTDE at `now` [ns]."""
        self._first_ns = self._first_ns or now

    def step(self, now: int) -> None:
        """Begin and end what begins and ends at `now` [ns]."""
        while (
            self._waiting
            and self._first_ns
            and (now >= self._first_ns + self._waiting[0].at_s * NS)
        ):
            self.begin(self._waiting.pop(0))
        for kind, until in list(self._until.items()):
            if now >= until:
                del self._until[kind]
                self._over(kind)

    def begin(self, fault: Fault) -> None:
        """Bring `fault` about now."""
        robot, kind = self._robot, fault.kind
        self._journal.write("fault", kind, for_s=fault.for_s, value=fault.value)
        if kind == "protective_stop":
            robot.protective_stop("brought about")
        elif kind == "emergency_stop":
            robot.emergency_stop(True)
        elif kind == "safeguard_stop":
            robot.safeguard_stop(True)
        elif kind == "speed_scaling":
            robot.limiter = fault.value
        elif kind == "speed_slider":
            robot.memory.values["target_speed_fraction"] = fault.value
        elif kind == "reboot":
            robot.reboot()
            self._drops = True
        elif kind == "disconnect":
            self._drops = True
        elif kind == "skip":
            self._share = fault.value
        elif kind == "stuck":
            robot.stuck = True
        elif kind == "program_stop":
            robot.stop_program("the pendant")
        elif kind == "local_control":
            robot.remote = False
        elif kind == "power_off":
            robot.power(False)
        for_ever = fault.for_s == 0.0 and kind != "reboot"
        self._until[kind] = _LONG if for_ever else robot.now + int(fault.for_s * NS)

    def _over(self, kind: str) -> None:
        robot = self._robot
        if kind == "emergency_stop":
            robot.emergency_stop(False)
        elif kind == "safeguard_stop":
            robot.safeguard_stop(False)
        elif kind == "speed_scaling":
            robot.limiter = 1.0
        elif kind == "speed_slider":
            robot.memory.values["target_speed_fraction"] = 1.0
        elif kind == "stuck":
            robot.stuck = False
        elif kind == "local_control":
            robot.remote = True
        elif kind == "reboot":
            robot.begin_anew()

    def quiet(self, now: int) -> bool:
        """Whether RTDE sends nothing in this cycle."""
        if now < self._until.get("silence", 0):
            return True
        return now < self._until.get("skip", 0) and self._random.random() < self._share

    def away(self, now: int) -> bool:
        """Whether the controller boots, so that nobody can connect."""
        return "reboot" in self._until and now < self._until["reboot"]

    def drops(self) -> bool:
        """Whether connections end now; says so once."""
        drops, self._drops = self._drops, False
        return drops
