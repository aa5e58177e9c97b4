"""A task without zones: the robot does what its policy does, until the episode's time is up, an
operator ends it, the policy says that it is done, or a goal pose of the TCP is reached.

It needs no force/torque sensor, no gripper and no camera:

    [task]
    kind = "open_ended"
    limit_s = 20.0
    goal = { x = [0.35, 0.65], y = [-0.2, 0.2], z = 0.3, roll = 3.1416, pitch = 0.0, yaw = 0.0 }
    within_m = 0.01

Without a goal there is nothing to judge: `outcome` is None, and the world, where there is one, says
how the episode went.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from msgspec import Meta

from headway import config
from headway.config import Positive, SecondsOrNone
from headway.drivers.rotations import mat_to_quat, rotvec_to_mat
from headway.edge.control.events import EventKind
from headway.edge.control.tasks import Place, Sensed, TaskAbout
from headway.types import Pose, Vec

Angle = Annotated[float, Meta(ge=-2.0 * math.pi, le=2.0 * math.pi)]  # [rad]
# Ranges [lowest, highest]. Not tuple[Place, Place]: beside Place, msgspec 0.22 would mix up the
# bounds in its memory, and the process would crash.
Places = Annotated[tuple[Place, ...], Meta(min_length=2, max_length=2)]
Angles = Annotated[tuple[Angle, ...], Meta(min_length=2, max_length=2)]
WITHIN_M, WITHIN_RAD = 0.01, 0.05
_STREAM = 0x60A1  # keeps the goal's random numbers apart from others that use the same seed
_AXES = ("x", "y", "z", "roll", "pitch", "yaw")


class Goal(config.Struct, frozen=True):
    """A pose of the TCP in the base frame. Each value is a number, or a range [lowest, highest]
    from which every episode draws one. Roll, pitch and yaw turn about the base's x, y and z, in
    this order (as in URDF); without the three, the orientation does not matter."""

    x: Place | Places  # [m]
    y: Place | Places
    z: Place | Places
    roll: Angle | Angles | None = None  # [rad]
    pitch: Angle | Angles | None = None
    yaw: Angle | Angles | None = None

    def __post_init__(self) -> None:
        given = [k for k in _AXES[3:] if getattr(self, k) is not None]
        if 0 < len(given) < 3:
            raise ValueError(
                f"goal wants roll, pitch and yaw, or none of them, found {' and '.join(given)}"
            )
        for key in _AXES:
            value = getattr(self, key)
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"goal.{key} wants [lowest, highest], found {list(value)}")

    @property
    def oriented(self) -> bool:
        """Whether the orientation matters."""
        return self.roll is not None


class Config(config.Struct, frozen=True):
    """The keys of `[task]` for this kind, beyond those that all kinds have."""

    goal: Goal | None = None
    within_m: Positive = WITHIN_M  # largest distance of the TCP from the goal [m]
    within_rad: Positive = WITHIN_RAD  # largest angle between the TCP and the goal [rad]
    hold_s: SecondsOrNone = 0.0  # the goal is reached when the TCP has stayed there for this long
    end_at_goal: bool = True  # whether the episode ends when the goal is reached

    def __post_init__(self) -> None:
        given = (self.within_m, self.within_rad, self.hold_s, self.end_at_goal)
        if self.goal is None and given != (WITHIN_M, WITHIN_RAD, 0.0, True):
            raise ValueError(
                "within_m, within_rad, hold_s and end_at_goal want a goal, found none: add `goal`, "
                "or leave them out"
            )
        if self.goal is not None and not self.goal.oriented and self.within_rad != WITHIN_RAD:
            raise ValueError(
                "within_rad wants a goal with roll, pitch and yaw, found none of them: add them, "
                "or leave within_rad out"
            )


def draw(goal: Goal, seed: int) -> dict[str, float]:
    """The numbers of the goal in the episode of `seed`: x, y, z [m], and roll, pitch, yaw [rad] if
    the orientation matters. One number is drawn for each of the six, ranges or not, so that a value
    that becomes fixed does not change the others."""
    shares = np.random.default_rng((_STREAM, seed)).random(len(_AXES)).tolist()
    numbers = {}
    for key, share in zip(_AXES, shares, strict=True):
        value = getattr(goal, key)
        if value is not None:
            low, high = value if isinstance(value, tuple) else (value, value)
            numbers[key] = low + share * (high - low)
    return numbers


def rpy_to_quat(roll: float, pitch: float, yaw: float) -> Vec:
    """Unit quaternion wxyz (4,) of turns by `roll`, `pitch` and `yaw` [rad] about the fixed axes x,
    y and z, in this order."""
    x, y, z = map(rotvec_to_mat, np.diag((roll, pitch, yaw)))
    return mat_to_quat(z @ y @ x)


class OpenEnded:
    """The task in one episode. `numbers`: how far the TCP was from the goal when it was measured
    last, `distance_m` [m] and, if the orientation matters, `angle_rad` [rad]; NaN before that."""

    phases = ("act", "at_goal")

    def __init__(self, cfg: Config, about: TaskAbout) -> None:
        self._cfg, self._about = cfg, about
        self.phase, self.retries = 0, 0
        self.recovering = self.done = False
        self.outcome: bool | None = None
        self.goal: Pose | None = None
        self.numbers: dict[str, float] = {}
        self._pos: list[float] = []
        self._quat: list[float] = []
        self._since: float | None = None  # when the TCP came to the goal [s]
        if cfg.goal is not None:
            self._begin(cfg.goal, about)

    def _begin(self, goal: Goal, about: TaskAbout) -> None:
        drawn = draw(goal, about.seed)
        self._pos = [drawn[k] for k in _AXES[:3]]
        quat: Vec = np.full(4, math.nan)  # no orientation
        self.numbers["distance_m"] = math.nan
        if goal.oriented:
            quat = rpy_to_quat(*(drawn[k] for k in _AXES[3:]))
            self._quat = quat.tolist()
            self.numbers["angle_rad"] = math.nan
        self.goal, self.outcome = Pose(np.array(self._pos), quat), False
        text = ", ".join(f"{k} {v:.4g}" for k, v in drawn.items())
        about.happened(EventKind.GOAL, f"goal: {text}", drawn)

    def step(self, sensed: Sensed) -> None:
        """See `headway.edge.control.tasks.Task`."""
        if self.done:
            return
        if self.goal is not None:
            self._look(sensed)
        if sensed.ended and not self.done:
            self._end("the policy says that it is done")

    def _look(self, sensed: Sensed) -> None:
        c = self._cfg
        near = sensed.state is not None and self._near(sensed.state.tcp)
        self.phase = int(near)
        if not near:
            self._since = None
            return
        if self._since is None:
            self._since = sensed.elapsed
        if self.outcome or sensed.elapsed - self._since < c.hold_s - 1e-9:
            return
        self.outcome = True
        self._about.happened(EventKind.GOAL_REACHED, "goal reached", dict(self.numbers))
        if c.end_at_goal:
            self._end("done")

    def _near(self, tcp: Pose) -> bool:
        """Whether `tcp` is at the goal; no for a pose that is not finite."""
        distance = math.dist(tcp.pos.tolist(), self._pos)
        near = distance <= self._cfg.within_m
        if math.isfinite(distance):
            self.numbers["distance_m"] = distance
        if self._quat:
            angle = _angle(tcp.quat.tolist(), self._quat)
            near = near and angle <= self._cfg.within_rad
            if math.isfinite(angle):
                self.numbers["angle_rad"] = angle
        return near

    def _end(self, text: str) -> None:
        self.done = True
        self._about.happened(EventKind.TASK_DONE, text, dict(self.numbers))


def _angle(a: list[float], b: list[float]) -> float:
    """The angle [rad] between the orientations `a` and `b` (quaternions wxyz, `b` a unit one), NaN
    for an `a` that is no orientation."""
    w, x, y, z = a
    norm = math.sqrt(w * w + x * x + y * y + z * z)
    if not 0.5 < norm < 2.0:
        return math.nan
    cosine = abs(w * b[0] + x * b[1] + y * b[2] + z * b[3]) / norm  # of half the angle
    return 2.0 * math.acos(min(1.0, cosine))


def make(cfg: Config, about: TaskAbout) -> OpenEnded:
    """The task for one episode."""
    return OpenEnded(cfg, about)
