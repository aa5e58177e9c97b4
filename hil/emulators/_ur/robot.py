"""The controller: power, safety, the program that runs, watchdogs, and what RTDE says of it all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from headway.clock import NS
from headway.hil.emulators._ur.fields import Value
from headway.hil.emulators._ur.kinematics import Kinematics
from headway.hil.emulators._ur.memory import Memory
from headway.hil.emulators._ur.motion import PROGRAM_STOP, SAFETY_STOP, Motion, RefusedError
from headway.hil.journal import Journal
from headway.hil.plant import Plant, PlantState
from headway.types import Vec

POWER_OFF, POWER_ON, IDLE, RUNNING = 3, 4, 5, 7  # robot_mode
NORMAL, PROTECTIVE, SAFEGUARD, ROBOT_ESTOP = 1, 3, 5, 7  # safety_mode
STOPPED, PLAYING, PAUSED = 1, 2, 4  # runtime_state
_SAFETY_BITS = {NORMAL: 1, PROTECTIVE: 1 << 2 | 1 << 10, SAFEGUARD: 1 << 4 | 1 << 10}
_ESTOP_BITS = 1 << 6 | 1 << 7 | 1 << 10
_JOINT_MODES = {RUNNING: 253, IDLE: 255, POWER_ON: 248, POWER_OFF: 239}
_MOST_CYCLES = 25  # that motion makes up for, when this computer was too busy for a while
_LEAVES_NS = NS // 10  # in which a plant in another process leaves its protective stop
WARNING, ERROR, INFO = 2, 1, 3  # levels of a message
_STATIC: dict[str, Value] = {  # what nothing here changes: no claim about a real robot
    "target_speed_fraction": 1.0,
    "speed_slider_fraction": 1.0,
    "actual_main_voltage": 48.0,
    "actual_robot_voltage": 48.0,
    "actual_joint_voltage": (48.0,) * 6,
    "joint_temperatures": (30.0,) * 6,
    "tool_temperature": 30.0,
    "actual_tool_accelerometer": (0.0, 0.0, 9.82),
}


class Program(Protocol):
    """A program in the controller. `name` is that of its `def`; a `secondary` one, of a `sec`,
    takes no time and runs beside the other."""

    name: str
    secondary: bool

    def step(self, robot: Robot) -> bool:
        """One control cycle; False once it has ended. Raises ProgramError and RefusedError."""


class ProgramError(Exception):
    """A runtime exception of a program at a `line` of it, from 1, 0 if that is not known."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.text, self.line = text, line


@dataclass(slots=True)
class Watchdog:
    """An input has to be written every `period_ns` [ns], else `action` is taken."""

    since_ns: int
    period_ns: int
    action: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What does not change: `period_ns` [ns] of the control cycle, `unlock_s` [s] that a protective
    stop lasts at least, `power_s` [s] that each step of powering takes."""

    period_ns: int
    unlock_s: float
    power_s: float


class Robot:
    """The controller of an arm that `plant` moves. `say(text, level)` is told what the controller
    writes into its log."""

    def __init__(
        self,
        settings: Settings,
        memory: Memory,
        kinematics: Kinematics,
        jump: float,
        plant: Plant,
        journal: Journal,
        say: Callable[[str, int], None],
    ) -> None:
        self.settings, self.memory, self.kinematics = settings, memory, kinematics
        self.plant, self.journal, self.say = plant, journal, say
        self.dt = settings.period_ns / NS
        self.now = 0  # [ns] of the present cycle
        self.mode, self.safety, self.runtime = RUNNING, NORMAL, STOPPED
        self.remote = True
        self.popup = ""
        self.stuck = False
        self.limiter = 1.0  # `speed_scaling`, which the speed slider is not part of
        self.state: PlantState = plant.state()
        self.motion = Motion(self.state.q, kinematics.dq_max, jump)
        self.program: Program | None = None
        self.watchdogs: dict[str, Watchdog] = {}
        self._boot_ns = self.state.t_ns
        self._started_ns = 0
        self._safety_since = 0
        self._leaving_until = 0  # [ns] the plant is told to leave its protective stop
        self._powering: tuple[int, int] | None = None  # the mode to come, and when [ns]
        self._bias: Vec = np.zeros(6)
        self._commanded = False
        self._static()

    # ---- programs

    @property
    def ready(self) -> bool:
        """Whether a program may move the arm."""
        return self.mode == RUNNING and self.safety == NORMAL

    def play(self, program: Program) -> bool:
        """Start `program`, in place of the one that runs. Returns whether it has started."""
        if not self.ready:
            self.say(f"{program.name} not started: the robot is not running normally", ERROR)
            return False
        if program.secondary:
            self._step_program(program)
            return True
        self.stop_program("another program")
        self.program, self.runtime = program, PLAYING
        self._started_ns, self._commanded = self.now, False
        self.journal.write("activated", program.name)
        self.say(f"PROGRAM_XXX_STARTED {program.name}", INFO)
        return True

    def stop_program(self, why: str, deceleration: float = PROGRAM_STOP, **numbers: float) -> None:
        """End the program, if one runs, and bring the arm to rest."""
        if self.program is None:
            return
        name = self.program.name
        self.program, self.runtime = None, STOPPED
        self.watchdogs.clear()  # "all watchdogs are removed on program stop"
        self.motion.stop(deceleration)
        self.journal.write("stopped", why, **numbers)
        self.say(f"PROGRAM_XXX_STOPPED {name}: {why}", INFO)

    def pause(self, why: str) -> None:
        """Pause the program that plays."""
        if self.runtime == PLAYING:
            self.runtime = PAUSED
            self.motion.stop(PROGRAM_STOP)
            self.journal.write("stopped", why)

    def resume(self) -> bool:
        """Let a paused program go on. Returns whether there was one."""
        if self.runtime != PAUSED or not self.ready:
            return False
        self.runtime = PLAYING
        return True

    def watch(self, name: str, hz: float, action: str) -> None:
        """`rtde_set_watchdog`: the input `name` is written with at least `hz` [Hz] from now on.
        Raises ProgramError."""
        if name not in self.memory.inputs:
            raise ProgramError(f"rtde_set_watchdog: there is no input {name}")
        if action not in ("ignore", "pause", "stop"):
            raise ProgramError(f"rtde_set_watchdog: {action} is none of ignore, pause, stop")
        self.watchdogs.pop(name, None)
        if hz > 0.0:
            self.watchdogs[name] = Watchdog(self.now, int(NS / hz), action)

    def _check_watchdogs(self) -> None:
        for name, dog in list(self.watchdogs.items()):
            last = max(dog.since_ns, self.memory.written_ns.get(name, 0))
            if self.now - last <= dog.period_ns or self.runtime != PLAYING:
                continue
            self.say(f"RTDE watchdog: no {name} for {(self.now - last) / NS:.3f} s", ERROR)
            del self.watchdogs[name]
            numbers = {"last_ns": last, "noticed_ns": self.now, "allowed_ns": dog.period_ns}
            if dog.action == "stop":
                self.stop_program("watchdog", **numbers)
            elif dog.action == "pause":
                self.pause("watchdog")

    # ---- safety and power

    def protective_stop(self, why: str) -> None:
        """Stop, until the stop is unlocked. The program has ended (assumed: what a program may do
        after a protective stop depends on settings)."""
        if self.safety != NORMAL:
            return
        self.safety, self._safety_since = PROTECTIVE, self.now
        self.say(f"C153 protective stop: {why}", ERROR)
        self.stop_program("protective stop", SAFETY_STOP)
        self.motion.stop(SAFETY_STOP)

    def emergency_stop(self, pressed: bool) -> None:
        """The button of the pendant is `pressed`, or released: then power is off."""
        if pressed:
            self.safety, self._safety_since = ROBOT_ESTOP, self.now
            self.say("C73 robot emergency stop", ERROR)
            self.stop_program("emergency stop", SAFETY_STOP)
            self.motion.stop(SAFETY_STOP)
        elif self.safety == ROBOT_ESTOP:
            self.safety = NORMAL
            if self.mode != POWER_OFF:  # released before the arm was at rest
                self._power_off("emergency stop")

    def safeguard_stop(self, stopped: bool) -> None:
        """The safeguard input has opened, or closed again: then the program goes on."""
        if stopped and self.safety == NORMAL:
            self.safety, self._safety_since = SAFEGUARD, self.now
            self.pause("safeguard stop")
        elif not stopped and self.safety == SAFEGUARD:
            self.safety = NORMAL
            self.resume()

    def unlock(self) -> bool:
        """Unlock a protective stop. Returns whether it is early enough to inspect, too early to
        unlock: False then."""
        if self.safety == PROTECTIVE:
            if self.now - self._safety_since < self.settings.unlock_s * NS:
                return False
            self.plant.reset_protective_stop()
            self._leaving_until = self.now + _LEAVES_NS
            self.motion.settle(self.state.q)
            self.safety = NORMAL
        return True

    def power(self, on: bool) -> None:
        """Power on, up to idle, or off."""
        if not on:
            self._power_off("power off")
        elif self.mode == POWER_OFF and self.safety != ROBOT_ESTOP:
            self.mode = POWER_ON
            self._powering = IDLE, self.now + int(self.settings.power_s * NS)

    def release_brakes(self) -> None:
        """Power on if need be, then release the brakes."""
        if self.safety != ROBOT_ESTOP and self.mode != RUNNING:
            self.mode = max(self.mode, POWER_ON)
            self._powering = RUNNING, self.now + int(self.settings.power_s * NS)

    def _power_off(self, why: str) -> None:
        self.stop_program(why)
        self.mode, self._powering = POWER_OFF, None
        self.plant.hold()
        self.motion.settle(self.state.q)

    def reboot(self) -> None:
        """Begin anew; the robot is powered and its brakes are released (assumed, for shortness)."""
        self.stop_program("reboot")
        self.plant.hold()
        self.motion.settle(self.state.q)
        self.safety, self.mode = NORMAL, RUNNING
        self.memory.clear()
        self._static()

    def begin_anew(self) -> None:
        """The reboot is over: the timestamp begins at 0."""
        self._boot_ns = self.now

    def zero_force(self) -> None:
        """`zero_ftsensor`: the present force and torque are the new zero."""
        self._bias = self.state.wrench.copy()

    # ---- the cycle

    def cycle(self, now: int) -> None:
        """One control cycle at `now` [ns]."""
        passed = min(now - self.now, _MOST_CYCLES * self.settings.period_ns) if self.now else 0
        self.now = now
        generation, self.state = self.state.generation, self.plant.state()
        if self.state.generation != generation:
            self.stop_program("the arm was moved by hand")
            self.motion.settle(self.state.q)
        if not self.state.protective_stop:
            self._leaving_until = 0
        elif now >= self._leaving_until:
            self.protective_stop("the arm has run into something")
        if self._powering is not None and now >= self._powering[1]:
            self.mode, self._powering = self._powering[0], None
        self._check_watchdogs()
        if self.program is not None and self.runtime == PLAYING:
            self._step_program(self.program)
        if not self.motion.resting:
            self._move(passed / NS)
        elif self.safety == ROBOT_ESTOP and self.mode != POWER_OFF:
            self._power_off("emergency stop")
        self._tell()

    def _step_program(self, program: Program) -> None:
        try:
            running = program.step(self)
        except RefusedError as e:
            self.protective_stop(str(e))
        except ProgramError as e:
            self.say(f"runtime exception in {program.name}, line {e.line}: {e.text}", ERROR)
            if self.program is program:
                self.stop_program("runtime exception")
        else:
            if not running and self.program is program:
                self.stop_program("program end")

    def _move(self, passed: float) -> None:
        if not self._commanded and self.motion.mode != "stop":
            self._commanded = True
            self.journal.write("command", self.motion.mode)
        scale = 1.0 if self.motion.mode == "stop" else self._scaling()
        self.motion.step(passed * scale)
        self.plant.follow(self.motion.q)

    def _scaling(self) -> float:
        slider = self.memory.values["target_speed_fraction"]
        assert isinstance(slider, float)
        return slider * self.limiter

    # ---- what RTDE says

    def _static(self) -> None:
        self.memory.values.update(_STATIC)

    def _tell(self) -> None:
        v, s, m = self.memory.values, self.state, self.motion
        pose, speed, R = self.kinematics.pose(s.q, s.dq)
        target_pose, target_speed, _ = self.kinematics.pose(m.q, m.dq)
        wrench = s.wrench - self._bias
        force = (*(R @ wrench[:3]).tolist(), *(R @ wrench[3:]).tolist())
        playing = self.runtime == PLAYING
        if not self.stuck:
            v["actual_q"], v["actual_qd"] = tuple(s.q.tolist()), tuple(s.dq.tolist())
            v["actual_TCP_pose"], v["actual_TCP_speed"] = pose, speed
            v["actual_TCP_force"] = force
        tau = tuple(s.tau.tolist())
        v["timestamp"] = (self.now - self._boot_ns) / NS
        v["target_q"], v["target_qd"] = tuple(m.q.tolist()), tuple(m.dq.tolist())
        v["target_qdd"] = tuple(m.ddq.tolist())
        v["target_TCP_pose"], v["target_TCP_speed"] = target_pose, target_speed
        v["ft_raw_wrench"] = tuple(s.wrench.tolist())
        v["tcp_force_scalar"] = math.dist(force[:3], (0.0, 0.0, 0.0))
        v["actual_current"] = v["joint_control_output"] = v["actual_moment"] = tau
        v["speed_scaling"] = self.limiter if self.safety == NORMAL else 0.0
        v["actual_execution_time"] = (self.now - self._started_ns) / NS if playing else 0.0
        v["robot_mode"], v["safety_mode"], v["safety_status"] = self.mode, self.safety, self.safety
        v["joint_mode"] = (_JOINT_MODES[self.mode],) * 6
        v["runtime_state"] = self.runtime
        v["robot_status_bits"] = int(self.mode in (IDLE, RUNNING)) | int(playing) << 1
        v["safety_status_bits"] = _SAFETY_BITS.get(self.safety, _ESTOP_BITS)
        self._tell_outputs()

    def _tell_outputs(self) -> None:
        v = self.memory.values
        standard, configurable, tool = (
            v[f"{where}_digital_output"] for where in ("standard", "configurable", "tool")
        )
        assert isinstance(standard, int)
        assert isinstance(configurable, int)
        assert isinstance(tool, int)
        v["actual_digital_output_bits"] = standard | configurable << 8 | (tool & 3) << 16
        v["standard_analog_output0"] = v["standard_analog_output_0"]
        v["standard_analog_output1"] = v["standard_analog_output_1"]
