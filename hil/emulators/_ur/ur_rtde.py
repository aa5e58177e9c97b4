"""The program of the client `ur-rtde` (SDU Robotics), emulated instead of interpreted.

It is recognised by its `def rtde_control()`. It has some 1500 lines of URScript, most of which
move nothing; what a host sees of it is a protocol of registers, which is what is here:
input_int_register 0 is a command, the input_double_registers its arguments, output_int_register 0
is 1 for ready and 2 for done. A command of the list `_REPEATED` goes on while its number stays;
any other is done once, and another one only after the number 0 in between. Commands that are not
here are reported as not emulated.
"""

from __future__ import annotations

import re

import numpy as np

from headway.hil.emulators._ur.robot import WARNING, ProgramError, Robot
from headway.types import Vec

_READY, _DONE = 1, 2
_MOVEJ, _ZERO_FT, _SPEEDJ, _SERVOJ, _SPEED_STOP, _SERVO_STOP = 1, 8, 9, 11, 15, 16
_SET_PAYLOAD, _STEPTIME, _SET_TCP, _PROTECTIVE, _STOPL, _STOPJ = 17, 24, 29, 31, 33, 34
_WATCHDOG, _IS_STEADY, _STOP_SCRIPT = 35, 47, 255
_REPEATED = (_SPEEDJ, _SERVOJ, _STEPTIME, 6, 10, 25, 26, 27, 38, 58, 66, 67, 68, 69, 70, 71)


def is_it(source: str) -> bool:
    """Whether `source` is that program."""
    return re.match(r"\s*def rtde_control\(\)", source) is not None


class UrRtde:
    """That program, as `source` asks for it: it may use the upper half of the registers."""

    name, secondary = "rtde_control", False

    def __init__(self, source: str) -> None:
        self._int = _offset(source, "int")
        self._float = _offset(source, "float")
        self._executing = False
        self._pending = 0  # a command whose motion goes on
        self._begun = False

    def step(self, robot: Robot) -> bool:
        if not self._begun:
            self._begun = True
            self._signal(robot, _READY)
            return True
        cmd = self._command(robot)
        if cmd == _STOP_SCRIPT:
            return False
        if cmd in _REPEATED:
            self._do(robot, cmd)
            self._signal(robot, _READY)
        elif cmd == 0:
            if self._pending == 0 or robot.motion.resting:
                self._pending, self._executing = 0, False
                self._signal(robot, _READY)
        elif not self._executing:
            self._do(robot, cmd)
            self._executing, self._pending = True, cmd
        elif robot.motion.resting or robot.motion.mode in ("servo", "speed"):
            self._signal(robot, _DONE)
        return True

    def _do(self, robot: Robot, cmd: int) -> None:
        motion = robot.motion
        if cmd == _SERVOJ:
            motion.servoj(self._q(robot), self._argument(robot, 9), self._argument(robot, 10))
        elif cmd == _SPEEDJ:
            motion.speedj(self._q(robot), self._argument(robot, 6))
        elif cmd == _MOVEJ:
            motion.movej(self._q(robot), self._argument(robot, 7), self._argument(robot, 6))
        elif cmd in (_SPEED_STOP, _SERVO_STOP, _STOPJ, _STOPL):
            motion.stop(self._argument(robot, 0) or 10.0)
        elif cmd == _WATCHDOG:
            name = f"input_int_register_{self._int}"
            robot.watch(name, self._argument(robot, 0), "stop")
        elif cmd == _SET_TCP:
            try:
                robot.kinematics.set_tcp(tuple(self._q(robot).tolist()))
            except ValueError as e:
                raise ProgramError(str(e)) from e
        elif cmd == _SET_PAYLOAD:
            robot.memory.values["payload"] = self._argument(robot, 0)
        elif cmd == _ZERO_FT:
            robot.zero_force()
        elif cmd == _STEPTIME:
            robot.memory.values[f"output_double_register_{self._float}"] = robot.dt
        elif cmd == _IS_STEADY:
            robot.memory.values[f"output_int_register_{self._int + 1}"] = int(motion.resting)
        elif cmd == _PROTECTIVE:
            robot.protective_stop("asked for by the program")
        elif cmd not in _REPEATED:
            robot.say(f"ur-rtde's command {cmd} is not emulated", WARNING)
        else:
            raise ProgramError(f"ur-rtde's command {cmd} is not emulated")

    def _command(self, robot: Robot) -> int:
        found = robot.memory.values[f"input_int_register_{self._int}"]
        assert isinstance(found, int)
        return found

    def _argument(self, robot: Robot, index: int) -> float:
        found = robot.memory.values[f"input_double_register_{self._float + index}"]
        assert isinstance(found, float)
        return found

    def _q(self, robot: Robot) -> Vec:
        return np.array([self._argument(robot, i) for i in range(6)])

    def _signal(self, robot: Robot, value: int) -> None:
        robot.memory.values[f"output_int_register_{self._int}"] = value


def _offset(source: str, kind: str) -> int:
    """Of the registers of a `kind`; the number may follow a comment, on the next line."""
    found = re.search(rf"reg_offset_{kind}\s*=\s*(?:#.*\n)?\s*(\d+)", source)
    return int(found[1]) if found else 0
