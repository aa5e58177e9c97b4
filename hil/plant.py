"""What an emulator moves and senses: the physics behind the wire.

An emulator asks its plant for the present state when the device that it stands for would measure,
and passes on what the wire commands. `ServoPlant` needs nothing else: joints that follow as servos
do, jaws that close on an object or on nothing, a wrench that never stands still. `SharedPlant`
(`headway.hil.shared`) is the simulated cell in another process.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from msgspec import Meta

from headway.clock import NS
from headway.config import Struct
from headway.drivers.arms.null import Servo
from headway.drivers.model import load
from headway.types import Vec


@dataclass(frozen=True, slots=True)
class PlantState:
    """The plant at `t_ns` [ns] of CLOCK_MONOTONIC. Arrays are (n,) for n joints and are not written
    into later. `wrench` (6,) is the force [N] and torque [Nm] on the tool in the sensor's frame,
    with the tool's weight. `width` [m] is the opening of the jaws, `force` [N] what they press
    with, `vacuum` the level 0..1 at the suction cup. `protective_stop`: the plant itself has
    stopped the arm, because it ran into something. `generation` grows when somebody has put the arm
    elsewhere by hand, as between two episodes: a controller stops its program then, and whoever
    commands it has to begin anew."""

    t_ns: int
    q: Vec  # [rad]
    dq: Vec  # [rad/s]
    q_ref: Vec  # [rad]
    tau: Vec  # motor torque beyond that of free motion [Nm]
    wrench: Vec
    width: float
    force: float
    vacuum: float
    protective_stop: bool
    generation: int = 0


class Plant(Protocol):
    """Physics. All methods return at once and may be called from several threads. `joints` is how
    many the arm has, `stroke` [m] the largest opening of the jaws."""

    joints: int
    stroke: float

    def state(self) -> PlantState:
        """The state now."""

    def follow(self, q: Vec) -> None:
        """Let the joint servos' reference be `q` (n,) [rad] from now on."""

    def hold(self) -> None:
        """Let the reference be where the joints are: a stop of category 2."""

    def reset_protective_stop(self) -> None:
        """Leave the protective stop, at rest; the arm stays where it is."""

    def grip(self, width: float, *, force: float, speed: float) -> None:
        """Move the jaws to the opening `width` [m] at `speed` [m/s], pressing with at most `force`
        [N]."""

    def suck(self, on: bool) -> None:
        """Switch the vacuum."""

    def close(self) -> None:
        """Free what it holds."""


class ServoConfig(Struct, frozen=True):
    """A plant without a simulator. `model`: a robot that comes with Headway; `q` (n,) [rad]: where
    its joints begin [the model's home]; `rad_s`: natural frequency of the joint servos; `object_m`
    [m]: the width of what is between the jaws and under the suction cup, 0 for nothing;
    `wrench_n` [N]: amplitude of the force; `seed` of its noise."""

    model: str = "ur5e"
    q: tuple[float, ...] | None = None
    rad_s: Annotated[float, Meta(gt=0.0, le=1000.0)] = 60.0
    stroke: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.085
    object_m: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    wrench_n: Annotated[float, Meta(ge=0.0, le=1000.0)] = 5.0
    seed: int = 0


class ServoPlant:
    """The plant that `cfg` describes. It has no thread: it moves on when it is asked."""

    def __init__(self, cfg: ServoConfig) -> None:
        model = load(cfg.model)
        self.cfg, self.joints, self.stroke = cfg, model.n, cfg.stroke
        q = model.home.copy() if cfg.q is None else np.array(cfg.q)
        self._servo = Servo(q, cfg.rad_s, model.limits.dq_max)
        self._still = np.zeros(model.n)
        self._rng = np.random.default_rng(cfg.seed)
        self._lock = threading.Lock()
        self._width = self._width_ref = cfg.stroke
        self._force_max, self._speed = 0.0, 0.1
        self._sucks, self._vacuum = False, 0.0
        self._then = time.monotonic_ns()
        self._stopped = False

    def state(self) -> PlantState:
        with self._lock:
            now = time.monotonic_ns()
            q, dq, ref = self._servo.advance(now)
            force = self._jaws((now - self._then) / NS)
            self._then = now
            t = now / NS
            waves = [math.sin(2 * math.pi * f * t) for f in (0.5, 0.7, 0.9, 1.1, 1.3, 1.7)]
            wrench = self.cfg.wrench_n * np.array(waves) + self._rng.normal(0.0, 0.05, 6)
            wrench[3:] *= 0.05  # a lever of 5 cm
            return PlantState(
                now, q, dq, ref, self._still, wrench, self._width, force, self._vacuum,
                self._stopped,
            )  # fmt: skip

    def _jaws(self, passed: float) -> float:
        """Move jaws and vacuum on by `passed` [s]; returns the force of the jaws [N]."""
        way = self._width_ref - self._width
        reach = self._speed * passed
        width = self._width + min(max(way, -reach), reach)
        held = self.cfg.object_m
        blocked = width <= held and self._width_ref < held
        self._width = held if blocked else width
        level = (0.9 if held > 0.0 else 0.15) if self._sucks else 0.0
        self._vacuum += (level - self._vacuum) * (1.0 - math.exp(-passed / 0.08))
        return self._force_max if blocked else 0.0

    def follow(self, q: Vec) -> None:
        with self._lock:
            if not self._stopped:
                self._servo.advance(time.monotonic_ns())
                self._servo.follow(np.array(q, np.float64))

    def hold(self) -> None:
        with self._lock:
            self._servo.follow(self._servo.advance(time.monotonic_ns())[0])

    def bump(self) -> None:
        """Bring about a protective stop, as if the arm had run into something."""
        self.hold()
        self._stopped = True

    def reset_protective_stop(self) -> None:
        self._stopped = False

    def grip(self, width: float, *, force: float, speed: float) -> None:
        with self._lock:
            self._width_ref = min(max(width, 0.0), self.stroke)
            self._force_max, self._speed = force, speed

    def suck(self, on: bool) -> None:
        self._sucks = on

    def close(self) -> None:
        pass
