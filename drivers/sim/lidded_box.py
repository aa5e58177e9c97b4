"""A box with a hinged lid, a latch and two press pads, in MuJoCo's MJCF.

The lid turns about the far upper edge of the box. A latch holds it, until the pad on the right side
of the box is pressed down far enough: then the pad's spring gives way, which a force sensor at the
wrist feels as a click, and for some seconds the lid can be lifted. It first resists with friction,
like cardboard that sticks, and moves easily once it has broken away. The other pad goes down as
well, but it jams the latch for a while. A vertical fin at the lid's front edge is there to be
pinched.

The pads are ledges that are pressed from above, not faces that are pushed from the side: the tool
of a policy points down, a camera at the wrist sees a ledge's colour from above, and the tool's
spring-loaded mount gives way in that direction only, so that pressing too far stays harmless.

A box has its own frame: x from the robot to the hinge, y to its left, z up, the origin in the
middle of its floor. It stands on a mat of foam, where a push moves it against friction, and which
gives way under a hard push from above: a tool that comes down beside its goal has time to stop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

LEDGE_TRAVEL, CLICK_TRAVEL = 0.012, 0.008  # of a pad: to its stop, and to its click [m]
LEDGE_OUT = 0.022  # how far the middle of a pad is outside the box's wall [m]
LEDGE_BACK = 0.035  # how far it is behind the box's front [m]
LEDGE_HALF = (0.027, 0.018, 0.004)  # its half size [m]
LEDGE_DOWN = 0.018  # how far its upper face is below the box's rim [m]
LID_THICK = 0.006  # [m]
FIN_HALF = (0.017, 0.004, 0.019)  # half size of the fin [m]
PINCH_UP = 0.019  # where the jaws should pinch the fin, above the lid's upper face [m]
MAT = 0.03  # how thick the mat is that the boxes stand on [m]
BROKEN_AWAY = 0.06  # lid angle above which the lid no longer sticks [rad]
STICKS = 0.005  # lid angle below which it sticks again [rad]
SHUT = 0.02  # lid angle below which the latch can catch the lid [rad]
OPEN = math.pi / 2  # a lid that is further open than this stays open [rad]
LID_STOP = 2.05  # lid angle at which the hinge ends [rad]
_NO_CREEP = 'solimpfriction=".995 .995 .001" solreffriction=".004 1"'  # under less than friction
FREE_FRICTION = 0.0003  # of a lid that has broken away [Nm]
AFTER_CLICK = 0.4  # share of a pad's force that is left after its click
LEDGE_RGBA = (0.30, 0.30, 0.33)
FIN_RGBA = (0.70, 0.53, 0.34)
MARK_RGBA = (1.0, 0.25, 0.75)  # of the pad that releases the latch


@dataclass(frozen=True)
class LiddedBox:
    """How a box is made: its `place` x, y [m] and `turn` about the vertical [rad] in the base
    frame, its `depth` (along x), `width` and `height` [m], and its colour `rgb`. `side` is 1 where
    the pad that releases the latch is on the left (+y), -1 where it is on the right. That pad
    clicks at the force `press` [N]. The lid has the mass `lid_mass` [kg]; it sticks with the torque
    `breakaway` [Nm] and is damped with `damping` [Nms/rad]. The fin has the friction coefficient
    `friction`."""

    place: tuple[float, float]
    turn: float
    depth: float
    width: float
    height: float
    rgb: tuple[float, float, float]
    side: int
    press: float
    lid_mass: float
    breakaway: float
    damping: float
    friction: float

    @property
    def front(self) -> float:
        """x of the front in the box's frame [m]."""
        return -self.depth / 2

    def ledge(self, side: int) -> tuple[float, float, float]:
        """The middle of the upper face of the pad on `side` (1 left, -1 right), box frame [m]."""
        y = side * (self.width / 2 + LEDGE_OUT)
        return (self.front + LEDGE_BACK, y, self.height - LEDGE_DOWN)

    def pinch(self, angle: float, up: float = PINCH_UP) -> tuple[float, float, float]:
        """Where the jaws should pinch the fin when the lid is open by `angle` [rad], box frame [m];
        `up` [m] above the lid's upper face."""
        x, z = FIN_HALF[0] - self.depth, LID_THICK + up
        c, s = math.cos(angle), math.sin(angle)
        return (self.depth / 2 + c * x + s * z, 0.0, self.height + c * z - s * x)

    def xml(self, i: int) -> str:
        """MJCF of the box with the number `i`: for the world's body."""
        (x, y), rgba = self.place, _rgba(self.rgb)
        dark = _rgba(tuple(0.25 * v for v in self.rgb))
        w, h, d = self.width / 2, self.height / 2, self.depth / 2
        ledges = "".join(self._ledge_xml(i, side) for side in (1, -1))
        return f"""
<body name="box{i}" pos="{x:.4f} {y:.4f} {MAT + 0.0005}" euler="0 0 {self.turn:.4f}">
 <joint name="box{i}x" type="slide" axis="1 0 0" range="-.08 .08" frictionloss="22" {_NO_CREEP}/>
 <joint name="box{i}y" type="slide" axis="0 1 0" range="-.08 .08" frictionloss="22" {_NO_CREEP}/>
 <joint name="box{i}z" type="slide" axis="0 0 1" range="{-MAT} 0" stiffness="1000" springref=".036"
  damping="80"/>
 <geom name="box{i}" type="box" size="{d:.4f} {w:.4f} {h:.4f}" pos="0 0 {h:.4f}" mass=".8"
  friction=".5 .01 .001" rgba="{rgba}"/>
 <geom class="visual" type="box" size="{d - 0.006:.4f} {w - 0.006:.4f} .0004"
  pos="0 0 {self.height + 0.0002:.4f}" rgba="{dark}"/>
 <body name="lid{i}" pos="{d:.4f} 0 {self.height:.4f}">
  <joint name="lid{i}" axis="0 1 0" range="0 {LID_STOP}" damping="{self.damping:.4f}"
   frictionloss="{self.breakaway:.4f}" armature=".0005" {_NO_CREEP}/>
  <geom name="lid{i}" type="box" size="{d + 0.002:.4f} {w + 0.003:.4f} {LID_THICK / 2 - 0.0003}"
   pos="{-d:.4f} 0 {LID_THICK / 2 + 0.0003}" mass="{self.lid_mass:.4f}" friction=".5 .01 .001"
   rgba="{rgba}"/>
  <geom name="fin{i}" type="box" size="{FIN_HALF[0]} {FIN_HALF[1]} {FIN_HALF[2]}"
   pos="{FIN_HALF[0] - self.depth:.4f} 0 {LID_THICK + FIN_HALF[2]:.4f}" mass=".01" priority="1"
   friction="{self.friction:.3f} .005 .0005" condim="4" solref=".01 1"
   rgba="{_rgba(FIN_RGBA)}"/>
 </body>{ledges}
</body>"""

    def _ledge_xml(self, i: int, side: int) -> str:
        x, y, z = self.ledge(side)
        rgba = _rgba(MARK_RGBA if side == self.side else LEDGE_RGBA)
        name = pad(i, side)
        return f"""
 <body name="{name}" pos="{x:.4f} {y:.4f} {z - LEDGE_HALF[2]:.4f}">
  <joint name="{name}" type="slide" axis="0 0 -1" range="0 {LEDGE_TRAVEL}" damping="12"
   armature=".05" stiffness="{self.press / CLICK_TRAVEL:.1f}"/>
  <geom name="{name}" type="box" size="{LEDGE_HALF[0]} {LEDGE_HALF[1]} {LEDGE_HALF[2]}" mass=".02"
   friction=".6 .01 .001" rgba="{rgba}"/>
 </body>"""

    def latch_xml(self, i: int) -> str:
        """MJCF of the latch of the box with the number `i`: for the section `equality`."""
        return f'<joint name="latch{i}" joint1="lid{i}" polycoef="0 0 0 0 0" solref=".006 1"/>'


def mat_xml(x: float, half: tuple[float, float]) -> str:
    """MJCF of the mat, for the world's body: its middle is at `x`, 0 in the base frame, and `half`
    its half size along x and y [m]."""
    return (
        f'<geom class="visual" type="box" size="{half[0]} {half[1]} {MAT / 2}"'
        f' pos="{x} 0 {MAT / 2}" rgba=".62 .64 .66 1"/>'
    )


def pad(i: int, side: int) -> str:
    """The name of the pad on `side` (1 left, -1 right) of the box with the number `i`, which is
    that of its body, its joint and its geom."""
    return f"pad{i}{'left' if side > 0 else 'right'}"


@dataclass
class Latch:
    """The latch of the box `box` with the number `i` in an episode. The lid can be lifted until
    `open_s` [s] after the click; pressing the wrong pad jams the latch for `jam_s` [s]. `clicks`
    counts how often the latch was released, `jams` how often it was jammed. `angle` is the lid's
    [rad]."""

    i: int
    box: LiddedBox
    open_s: float
    jam_s: float
    angle: float = 0.0
    clicks: int = 0
    jams: int = 0
    _released_until: float = -1.0
    _jammed_until: float = -1.0
    _clicked: bool = False  # the pad of the latch is down since it clicked
    _down: bool = False  # the other pad is down
    _sticks: bool = True  # the lid does
    _at: _Addresses | None = field(default=None, repr=False)

    def released_s(self, t_s: float) -> float:
        """For how long the lid can still be lifted at `t_s` [s] of the episode: 0 where the latch
        holds it, inf where the lid is out of the latch's reach."""
        if self.angle > BROKEN_AWAY:
            return math.inf
        return max(0.0, self._released_until - t_s)

    def jammed_s(self, t_s: float) -> float:
        """For how long the latch is still jammed at `t_s` [s] of the episode; 0: it is not."""
        return max(0.0, self._jammed_until - t_s)

    def step(self, model: Any, data: Any, t_s: float) -> None:
        """Let the latch, the pads and the lid's friction follow the state of `data` at `t_s` [s] of
        the episode."""
        if self._at is None:
            self._at = _Addresses.of(self.i, self.box.side, model)
        at, qpos = self._at, data.qpos
        self.angle = float(qpos[at.lid])
        self._right(model, float(qpos[at.right]), t_s)
        wrong = float(qpos[at.wrong])
        if wrong > CLICK_TRAVEL and not self._down:
            self._down = True
            self.jams += 1
            self._jammed_until, self._released_until = t_s + self.jam_s, -1.0
        elif wrong < 0.25 * CLICK_TRAVEL:
            self._down = False
        if self.angle > BROKEN_AWAY:
            self._sticks = False
        elif self.angle < STICKS:
            self._sticks = True
        friction = self.box.breakaway if self._sticks else FREE_FRICTION
        model.dof_frictionloss[at.lid_dof] = friction
        data.eq_active[at.latch] = self.angle < SHUT and t_s >= self._released_until

    def _right(self, model: Any, travel: float, t_s: float) -> None:
        assert self._at is not None
        if self._clicked:
            if travel < 0.25 * CLICK_TRAVEL:
                self._clicked = False
                model.jnt_stiffness[self._at.right_joint] /= AFTER_CLICK
        elif travel > CLICK_TRAVEL and t_s >= self._jammed_until:
            self._clicked = True
            self.clicks += 1
            self._released_until = t_s + self.open_s
            model.jnt_stiffness[self._at.right_joint] *= AFTER_CLICK


@dataclass(frozen=True)
class _Addresses:
    """Where a compiled model has the parts of a box: places in qpos, but for what is named after
    other arrays."""

    lid: int
    lid_dof: int
    right: int
    right_joint: int
    wrong: int
    latch: int

    @staticmethod
    def of(i: int, side: int, model: Any) -> _Addresses:
        lid, right = model.joint(f"lid{i}"), model.joint(pad(i, side))
        wrong = model.joint(pad(i, -side))
        return _Addresses(
            int(lid.qposadr[0]), int(lid.dofadr[0]), int(right.qposadr[0]), int(right.id),
            int(wrong.qposadr[0]), int(model.equality(f"latch{i}").id),
        )  # fmt: skip


def _rgba(rgb: tuple[float, ...]) -> str:
    return " ".join(f"{v:.3f}" for v in rgb) + " 1"
