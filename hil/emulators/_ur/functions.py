"""The functions that a program may call. Source: Universal Robots' script manual; those that are
not here are named as unknown when a program is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from headway.hil.emulators._ur.robot import INFO, ProgramError, Robot
from headway.types import Vec

Waits = Generator[None, None, None]
_MATHS: dict[str, Callable[..., Any]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "atan2": math.atan2,
    "sqrt": math.sqrt,
    "pow": math.pow,
    "log": math.log,
    "floor": math.floor,
    "ceil": math.ceil,
    "d2r": math.radians,
    "r2d": math.degrees,
}
_OUTPUTS = {"standard": 8, "configurable": 8, "tool": 2}  # digital ones


class Context:
    """The functions, as the programs of `robot` see them."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot

    def instant(self) -> dict[str, Callable[..., Any]]:
        """Those that take no time."""
        kinds = (("integer", "int", int), ("float", "double", float))
        found: dict[str, Callable[..., Any]] = dict(_MATHS)
        for way in ("input", "output"):
            for word, field, kind in kinds:
                found[f"read_{way}_{word}_register"] = self._reader(f"{way}_{field}_register_")
                if way == "output":
                    name = f"write_output_{word}_register"
                    found[name] = self._writer(name, f"output_{field}_register_", kind)
            found[f"read_{way}_boolean_register"] = self._bit_reader(way)
        for where, count in _OUTPUTS.items():
            found[f"set_{where}_digital_out"] = self._switch(where, count)
            found[f"get_{where}_digital_out"] = self._switched(where, count)
        own = {name: getattr(self, f"_{name}") for name in _OWN}
        return {**found, **own, "write_output_boolean_register": self._write_bit}

    def slow(self) -> dict[str, Callable[..., Waits]]:
        """Those that take time."""
        return {name: getattr(self, f"_{name}") for name in _SLOW}

    # ---- registers

    def _reader(self, prefix: str) -> Callable[[int], Any]:
        return lambda index: self._robot.memory.values[self._named(prefix, index)]

    def _writer(self, name: str, prefix: str, kind: type) -> Callable[[int, float], None]:
        def write(index: int, value: float) -> None:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ProgramError(f"{name} wants a number")
            if kind is int and not -(1 << 31) <= value < 1 << 31:
                raise ProgramError(f"{name} wants 32 bits, found {value}")
            self._robot.memory.values[self._named(prefix, index)] = kind(value)

        return write

    def _named(self, prefix: str, index: int) -> str:
        name = f"{prefix}{int(index) if index == int(index) else index}"
        if name not in self._robot.memory.values:
            raise ProgramError(f"there is no register {name}")
        return name

    def _bit_reader(self, way: str) -> Callable[[int], bool]:
        return lambda index: self._robot.memory.bit(way, self._bit(index))

    def _write_bit(self, index: int, value: bool) -> None:
        self._robot.memory.set_bit("output", self._bit(index), bool(value))

    def _bit(self, index: int) -> int:
        if not 0 <= index < 128:
            raise ProgramError(f"there is no boolean register {index}")
        return int(index)

    def _switch(self, where: str, count: int) -> Callable[[int, bool], None]:
        def switch(n: int, b: bool) -> None:
            if not 0 <= n < count:
                raise ProgramError(f"there is no {where} digital output {n}")
            name = f"{where}_digital_output"
            old = self._robot.memory.values[name]
            assert isinstance(old, int)
            self._robot.memory.values[name] = old | 1 << n if b else old & ~(1 << n)

        return switch

    def _switched(self, where: str, count: int) -> Callable[[int], bool]:
        def switched(n: int) -> bool:
            if not 0 <= n < count:
                raise ProgramError(f"there is no {where} digital output {n}")
            found = self._robot.memory.values[f"{where}_digital_output"]
            assert isinstance(found, int)
            return bool(found >> n & 1)

        return switched

    # ---- state

    def _get_actual_joint_positions(self) -> list[float]:
        return _list(self._robot.state.q)

    def _get_target_joint_positions(self) -> list[float]:
        return _list(self._robot.motion.q)

    def _get_actual_joint_speeds(self) -> list[float]:
        return _list(self._robot.state.dq)

    def _get_target_joint_speeds(self) -> list[float]:
        return _list(self._robot.motion.dq)

    def _get_actual_tcp_pose(self) -> list[float]:
        return list(self._robot.kinematics.pose(self._robot.state.q, self._robot.state.dq)[0])

    def _get_tcp_force(self) -> list[float]:
        force = self._robot.memory.values["actual_TCP_force"]
        assert isinstance(force, tuple)
        return list(force)

    def _str_cat(self, op1: Any, op2: Any) -> str:
        return self._to_str(op1) + self._to_str(op2)

    def _get_steptime(self) -> float:
        return self._robot.dt

    def _is_steady(self) -> bool:
        return self._robot.motion.resting

    def _rtde_set_watchdog(
        self, variable_name: str, min_frequency: float, action: str = "pause"
    ) -> None:
        self._robot.watch(variable_name, float(min_frequency), action)

    def _textmsg(self, s1: Any, s2: Any = "") -> None:
        self._robot.say(self._to_str(s1) + self._to_str(s2), INFO)

    def _to_str(self, val: Any) -> str:
        return val if isinstance(val, str) else str(val)

    def _popup(self, s: Any, title: str = "", **_: Any) -> None:
        self._robot.popup = self._to_str(s)

    def _set_tcp(self, pose: list[float]) -> None:
        self._robot.kinematics.set_tcp(tuple(_joints(pose, "set_tcp").tolist()))

    def _set_payload(self, m: float, cog: Any = None, inertia: Any = None) -> None:
        if "payload" in self._robot.memory.values:
            self._robot.memory.values["payload"] = float(m)

    def _zero_ftsensor(self) -> None:
        self._robot.zero_force()

    def _protective_stop(self) -> None:
        self._robot.protective_stop("asked for by the program")

    def _get_list_length(self, v: Any) -> int:
        return len(v)

    def _length(self, v: Any) -> int:
        return len(v)

    def _norm(self, a: Any) -> float:
        return math.hypot(*a) if isinstance(a, list) else abs(a)

    # ---- motion

    def _servoj(
        self,
        q: list[float],
        a: float = 0,
        v: float = 0,
        t: float = 0.002,
        lookahead_time: float = 0.1,
        gain: float = 300,
    ) -> Waits:
        self._robot.motion.servoj(_joints(q, "servoj"), float(lookahead_time), float(gain))
        yield from self._wait(t)

    def _speedj(self, qd: list[float], a: float = 1.4, t: float = 0.0) -> Waits:
        self._robot.motion.speedj(_joints(qd, "speedj"), float(a))
        yield from self._wait(t)

    def _movej(
        self, q: list[float], a: float = 1.4, v: float = 1.05, t: float = 0, r: float = 0
    ) -> Waits:
        self._robot.motion.movej(_joints(q, "movej"), float(a), float(v))
        yield from self._rest()

    def _stopj(self, a: float = 2.0) -> Waits:
        self._robot.motion.stop(float(a))
        yield from self._rest()

    def _stopl(self, a: float = 20.0, aRot: float = 0.0) -> Waits:
        self._robot.motion.stop(float(a))
        yield from self._rest()

    def _sync(self) -> Waits:
        yield

    def _sleep(self, t: float) -> Waits:
        end = self._robot.now + t * 1e9
        while self._robot.now < end:
            yield

    def _wait(self, t: float) -> Waits:
        """A cycle, and as many more as `t` [s] are."""
        for _ in range(max(1, round(t / self._robot.dt))):
            yield

    def _rest(self) -> Waits:
        yield
        while not self._robot.motion.resting:
            yield


_OWN = (
    *("get_actual_joint_positions", "get_target_joint_positions", "get_actual_joint_speeds"),
    *("get_target_joint_speeds", "get_actual_tcp_pose", "get_steptime", "is_steady", "to_str"),
    *("get_tcp_force", "str_cat"),
    *("rtde_set_watchdog", "textmsg", "popup", "set_tcp", "set_payload", "zero_ftsensor"),
    *("protective_stop", "get_list_length", "length", "norm"),
)
_SLOW = ("servoj", "speedj", "movej", "stopj", "stopl", "sync", "sleep")
_MOVES = frozenset(("servoj", "speedj", "movej", "stopj", "stopl"))
SLOW = frozenset(_SLOW)
_WORDS = ("integer", "float", "boolean")
INSTANT = frozenset(
    (
        *_MATHS,
        *_OWN,
        *(f"read_{way}_{word}_register" for way in ("input", "output") for word in _WORDS),
        *(f"write_output_{word}_register" for word in _WORDS),
        *(f"{way}_{where}_digital_out" for way in ("set", "get") for where in _OUTPUTS),
    )
)


def _list(values: Vec) -> list[float]:
    found: list[float] = values.tolist()
    return found


def _joints(values: Any, name: str) -> Vec:
    if not isinstance(values, list) or len(values) != 6:
        raise ProgramError(f"{name} wants a list of 6 numbers")
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        raise ProgramError(f"{name} wants a list of 6 numbers")
    return np.array(values, np.float64)
