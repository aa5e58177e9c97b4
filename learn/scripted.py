"""What scripted experts have in common, those of other packages too: chunks towards a goal that
follows from the present, and the disturbances from which their demonstrations recover.

An expert drives the simulated cell in the place of a person who demonstrates. It has almost no
memory, so that a policy which sees only the present can imitate it, and so that it can go on from
wherever something else has left the robot.

`disturb` adds short random pushes while the jaws are open, and in a quarter of the episodes a first
look that is wrong by centimetres, so that demonstrations also show how to recover (after DART,
Laskey et al. 2017). The pushes and the approach after a wrong look are marked with
`meta["demonstration"] = 0`, so that a policy imitates only the recovery.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from headway.actions import ActionSpace
from headway.clock import NS
from headway.drivers import World
from headway.drivers.kinematics import mat_to_rotvec, quat_to_mat, tool_down
from headway.drivers.sim.cell import Cell
from headway.edge.policy.policy import Needs
from headway.errors import ConfigError
from headway.learn.state_names import POLICY_STATE
from headway.types import Chunk, Observation, Vec

HORIZON, DT_NS = 6, 100_000_000
# Motion of the TCP relative to its pose at the chunk's start, in the axes of that pose, and grip.
ACTIONS = ActionSpace(
    names=("x", "y", "z", "rx", "ry", "rz", "grip"), space="tcp", mode="chunk", rotation="rotvec",
    axes="tcp", grip="binary", chunk=HORIZON, dt_s=DT_NS / NS,
)  # fmt: skip
_STEP = DT_NS / NS  # time between waypoints [s]
_WIDEST_YAW = 2.2  # to which a wrist turns [rad]
_PAN = 0.75  # how fast the TCP may go around the base [rad/s]
_NEAR = 0.38  # distance from the base's axis, below which a wrist turns more slowly [m]
_TURN = 0.07  # largest change of yaw in that time [rad]


class Aim(NamedTuple):
    """Where the TCP is to go: position (3,) [m] and yaw [rad] in the base frame, with which jaws,
    and how fast [m/s]. A goal that depends on where the TCP is, such as one along an arc, is a
    function of that position."""

    goal: Vec | Callable[[Vec], Vec]
    yaw: float
    close: bool
    speed: float

    def toward(self, p: Vec) -> Vec:
        """The goal (3,) [m] for a TCP at `p` (3,) [m]."""
        return self.goal(p) if callable(self.goal) else self.goal


class Scripted(ABC):
    """An expert as a policy, for the simulated cell only, because it is told where things are."""

    name = "scripted expert"
    state_names = POLICY_STATE
    actions = ACTIONS
    needs = Needs()  # it may be asked at any rate, for any text
    detail = "the loop's process"
    facts = {"policy_engine": "script"}  # noqa: RUF012 - never changed
    speeds = (0.22, 0.32)  # of which an episode has one [m/s]
    sight = (0.0025, 0.0025, 0.0025)  # one sigma of the perceived place [m]
    yaw_sight = 0.06  # and of the perceived yaw [rad]
    pushes = (2, 4)  # a push takes so many decisions, less than the second
    bounds = ((0.25, -0.40, 0.06), (0.62, 0.40, 0.36))  # that a push does not leave [m]

    def __init__(self, cell: Cell, *, disturb: float = 0.0, cameras: tuple[str, ...] = ()) -> None:
        """`cell` gives the poses of things, and the seed of all random numbers of an episode.
        `disturb` (0..1) is the probability per decision that a push begins. `cameras` are those
        whose images the observations shall have."""
        self.cell, self.cameras, self.disturb = cell, cameras, disturb
        self.reset()

    def check_instruction(self, text: str) -> None:  # noqa: B027 - experts accept any text
        """Accepts any text: the cell's station says what is to be done."""

    def reset(self) -> None:
        """Begin an episode, whose random numbers follow from the seed of the cell's scene."""
        self.rng = np.random.default_rng([self.cell.seed, 7])
        self.speed = self.rng.uniform(*self.speeds)  # [m/s]
        self._push: tuple[int, Vec] = (0, np.zeros(3))
        self.rising = False  # it goes up after a failed attempt
        self.look()
        if self.disturb > 0 and self.rng.random() < 0.25:
            self.bad_look = True
            self.noise[:2] = self.wrong_look()

    def take_over(self, recovering: bool) -> None:
        """Drive from now on, after somebody else. `recovering`: their last attempt has failed, and
        the robot still recovers from it. That is taken as a failure of its own: else it would do
        what its demonstrations contradict, which show how to recover."""
        self.rising = recovering

    def look(self) -> None:
        """Draw new errors of perception, as an ordinary detector has them: a wrong look is over."""
        self.bad_look = False
        self.noise: Vec = self.rng.normal(0.0, self.sight)
        self.yaw_noise = float(self.rng.normal(0.0, self.yaw_sight))

    def grasped(self) -> None:
        """Something is held: a wrong look was near enough, and what follows is done as it should
        be."""
        if self.bad_look:
            self.look()

    def wrong_look(self) -> Vec:
        """By how much (x, y) [m] a first look is wrong that is wrong by centimetres."""
        return direction(self.rng) * self.rng.uniform(0.015, 0.035)

    @property
    def astray(self) -> bool:
        """Whether it does on purpose what a policy should not imitate."""
        return bool(self.bad_look)

    @abstractmethod
    def decide(self, p: Vec, yaw: float, state: dict[str, float], t_s: float) -> Aim:
        """What to do next at the time `t_s` [s] of the run's clock, with the TCP commanded to be at
        `p` (3,) [m] with the yaw `yaw` [rad]; `state` is the observed one by name."""

    @abstractmethod
    def may_push(self, p: Vec, close: bool, state: dict[str, float]) -> bool:
        """Whether a push does no harm with the TCP at `p` (3,) [m] and jaws that shall `close`;
        `state` is the observed one by name."""

    def fastest(self, p: Vec, goal: Vec, aim: Aim) -> float:
        """The largest speed [m/s] on the way from `p` to `goal` (3,) [m]."""
        return min(aim.speed, _PAN * math.hypot(p[0], p[1]))

    def turned(self, p: Vec, yaw: float, wanted: float) -> float:
        """The yaw [rad] at the waypoint `p` (3,) [m] on the way from `yaw` to `wanted` [rad]."""
        # Near the base, the wrist also has to undo a fast turn of the first joint.
        most = _TURN * min(1.0, math.hypot(p[0], p[1]) / _NEAR) ** 4
        return yaw + max(-most, min(most, 0.35 * (nearest(wanted, yaw) - yaw)))

    def infer(self, obs: Observation) -> Chunk:
        base = obs.base
        R0, p0 = quat_to_mat(base.quat), base.pos
        yaw = math.atan2(R0[1, 0], R0[0, 0])
        state = dict(zip(self.state_names, (float(v) for v in obs.state), strict=True))
        aim = self.decide(p0.copy(), yaw, state, obs.t_ns / NS)
        demo, push = float(not self.astray), self._next_push(p0, aim.close, state)
        p, actions = p0.copy(), []
        for _ in range(HORIZON):
            if push is None:
                goal = aim.toward(p)
                delta = goal - p
                distance = float(np.linalg.norm(delta))
                pace = min(self.fastest(p, goal, aim), 0.03 + 2.5 * distance) * _STEP
                p = p + delta * min(1.0, pace / max(distance, 1e-9))
                yaw = self.turned(p, yaw, aim.yaw)
            else:
                p, demo = np.clip(p + push * _STEP, *self.bounds), 0.0
            R = R0.T @ tool_down(yaw)
            actions.append([*(R0.T @ (p - p0)), *mat_to_rotvec(R), float(aim.close)])
        meta = {"demonstration": demo}
        return Chunk(obs.t_ns, DT_NS, np.array(actions, np.float32), base, meta=meta)

    def _next_push(self, p: Vec, close: bool, state: dict[str, float]) -> Vec | None:
        """The velocity (3,) [m/s] of the push that goes on or begins, None for none."""
        left, push = self._push
        if left == 0:
            begins = self.disturb > 0 and self.may_push(p, close, state)
            if not (begins and self.rng.random() < self.disturb):
                return None
            left = int(self.rng.integers(*self.pushes))
            push = self.rng.normal(0, 1, 3) * [0.10, 0.10, 0.05]
        self._push = (left - 1, push)
        return push


def nearest(wanted: float, yaw: float) -> float:
    """The yaw [rad] nearest to `yaw` [rad] at which the jaws are as at `wanted`. It is never far
    from zero, so that a wrist does not wind up."""
    first = half_turn(wanted)
    same = (first + k * math.pi for k in (-1, 0, 1))
    return min((a for a in same if abs(a) < _WIDEST_YAW), key=lambda a: abs(a - yaw))


def half_turn(angle: float) -> float:
    """`angle` [rad] modulo half a turn, in -pi/2..pi/2: jaws are alike on both sides."""
    return (angle + math.pi / 2) % math.pi - math.pi / 2


def direction(rng: np.random.Generator) -> Vec:
    """A unit vector (x, y), drawn evenly."""
    angle = rng.uniform(0.0, 2.0 * math.pi)
    return np.array([math.cos(angle), math.sin(angle)])


def cell_with(world: World, scene: str) -> Cell:
    """The simulated cell that `world` is, for the expert of `scene`. Raises ConfigError for another
    world, and for a cell with another scene."""
    if not isinstance(world, Cell) or world.cfg.scene != scene:
        found = f"the scene {world.cfg.scene}" if isinstance(world, Cell) else type(world).__name__
        raise ConfigError(
            f"the expert {scene} wants the simulated cell with the scene {scene}, found {found}: "
            "choose another expert, or another [cell]"
        )
    return world
