"""Returned goods for simulated scenes: rigid brackets, floppy straps, and bags with a neck.

A bracket is two or three boxes in one body. A strap is a chain of three boxes whose soft hinges let
it sag where it is not held. A bag is a slippery box with a soft skin, and at one end a neck of
better grip on a soft joint, from which it hangs when it is pinched there. All of them lie flat when
they are made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Form = Literal["bracket", "strap", "bag", "scrap"]
Grip = tuple[str, float]  # a geom, and how far from its middle along its x axis [m]
_SETTLED_SOLREF = ".01 1"
_SKIN_SOLREF = ".025 1"  # of a bag, which gives way
LIFT = 0.002  # above the floor at the start [m]
FINGER = 0.012  # half the width of a finger, with a little room [m]


@dataclass(frozen=True)
class Stuff:
    """What an item is made of. `mass` [kg] in total; `friction` of what holds well, and `slippery`
    of a bag's skin; `stiffness` of soft joints [Nm/rad]."""

    mass: float
    friction: float
    slippery: float
    stiffness: float


@dataclass(frozen=True)
class Loose:
    """An item as MJCF and as facts. `body` is the MuJoCo body that stands for its place; `grips`
    are the places at which open jaws fit around it, best first; `bodies` are all that it has."""

    xml: str
    form: Form
    body: str
    grips: tuple[Grip, ...]
    bodies: tuple[str, ...]
    mass: float  # [kg]
    radius: float  # of a circle around the item as it lies flat [m]

    @property
    def geoms(self) -> tuple[str, ...]:
        """All geoms, which are boxes."""
        return tuple(sorted({name for name, _ in self.grips}))


def bracket(
    name: str, at: Sequence[float], yaw: float, rgba: str, stuff: Stuff, rng: np.random.Generator,
    *, novel: bool = False,
) -> Loose:  # fmt: skip
    """An L or T of two boxes; where it is `novel`, a U or a Z of three. `at` (x, y, floor) [m] in
    the base frame, `yaw` [rad]."""
    w, h = rng.uniform(0.009, 0.013), rng.uniform(0.011, 0.016)
    a = rng.uniform(0.034, 0.042)
    b = rng.uniform(0.016, 0.022)
    if novel:
        w, a, b = 0.9 * w, rng.uniform(0.038, 0.044), rng.uniform(0.016, 0.019)
        sides = (1, 1) if rng.random() < 0.5 else (1, -1)
        arms = [(-(a - w), sides[0]), (a - w, sides[1])]
    else:
        arms = [(0.0 if rng.random() < 0.5 else a - w, 1)]
    reach = w + FINGER  # a finger beside an arm is so far from the arm's middle
    free = [
        x for x in (-a + 0.008, -reach, 0.0, reach) if all(abs(x - e) >= reach for e, _ in arms)
    ]
    boxes: list[tuple[float, float, float, float]] = [
        (0.0, 0.0, a, w),
        *((x, side * (w + b), w, b) for x, side in arms),
    ]
    volume = sum(hx * hy for _, _, hx, hy in boxes)
    cx = sum(x * hx * hy for x, _, hx, hy in boxes) / volume
    cy = sum(y * hx * hy for _, y, hx, hy in boxes) / volume
    geoms = ""
    for i, (x, y, hx, hy) in enumerate(boxes):
        geoms += _box(
            f"{name}g{i}", (x - cx, y - cy, 0.0), (hx, hy, h), stuff.mass * hx * hy / volume,
            stuff.friction, rgba,
        )  # fmt: skip
    grips = [(f"{name}g{i}", 0.0) for i in range(1, len(boxes))] + [(f"{name}g0", x) for x in free]
    xml = _free(name, at, h, yaw, geoms)
    radius = max(math.hypot(abs(x - cx) + hx, abs(y - cy) + hy) for x, y, hx, hy in boxes)
    return Loose(xml, "bracket", name, tuple(grips), (name,), stuff.mass, radius)


def strap(
    name: str, at: Sequence[float], yaw: float, rgba: str, stuff: Stuff, rng: np.random.Generator,
    *, novel: bool = False,
) -> Loose:  # fmt: skip
    """A chain of three boxes with soft hinges; a `novel` one is longer and narrower. Its place is
    that of the box in the middle. Arguments as of `bracket`."""
    hx = rng.uniform(0.023, 0.025) if novel else rng.uniform(0.018, 0.022)
    hy = rng.uniform(0.008, 0.010) if novel else rng.uniform(0.012, 0.017)
    h = rng.uniform(0.008, 0.011)
    mass = stuff.mass / 3.0
    inertia = mass * (2 * hx) ** 2 / 3.0  # of an end about its hinge
    damping = 0.6 * math.sqrt(stuff.stiffness * inertia)
    ends = ""
    for i, side in ((1, 1), (2, -1)):
        geom = _box(
            f"{name}g{i}", (side * hx, 0, 0), (hx - 0.001, hy, h), mass, stuff.friction, rgba
        )
        ends += (
            f'<body name="{name}s{i}" pos="{side * hx:.4f} 0 0">'
            f'<joint name="{name}j{i}" type="hinge" axis="0 1 0" stiffness="{stuff.stiffness:.4f}"'
            f' damping="{damping:.5f}" armature="2e-5" range="-1.5 1.5"/>{geom}</body>'
        )
    middle = _box(f"{name}g0", (0, 0, 0), (hx - 0.001, hy, h), mass, stuff.friction, rgba)
    xml = _free(name, at, h, yaw, middle + ends)
    bodies = (name, f"{name}s1", f"{name}s2")
    grips = tuple((f"{name}g{i}", 0.0) for i in range(3))
    return Loose(xml, "strap", name, grips, bodies, stuff.mass, 3 * hx)


def bag(
    name: str, at: Sequence[float], yaw: float, rgba: str, stuff: Stuff, rng: np.random.Generator,
    *, novel: bool = False,
) -> Loose:  # fmt: skip
    """A bag with a neck at its end; a `novel` one is long and flat. Arguments as of `bracket`."""
    hx = rng.uniform(0.036, 0.042) if novel else rng.uniform(0.026, 0.034)
    hy = rng.uniform(0.018, 0.022) if novel else rng.uniform(0.023, 0.028)
    h = rng.uniform(0.010, 0.013) if novel else rng.uniform(0.013, 0.018)
    long, thick = rng.uniform(0.015, 0.018), rng.uniform(0.006, 0.008)
    neck_mass = 0.006
    inertia = (stuff.mass / 3.0) * (2 * hx) ** 2
    damping = 0.5 * math.sqrt(stuff.stiffness * inertia)
    skin = _box(
        f"{name}g0", (0, 0, 0), (hx, hy, h), stuff.mass - neck_mass, stuff.slippery, rgba,
        solref=_SKIN_SOLREF,
    )  # fmt: skip
    neck = _box(f"{name}g1", (long, 0, 0), (long, thick, 0.8 * h), neck_mass, stuff.friction, rgba)
    xml = _free(
        name, at, h, yaw,
        f'{skin}<body name="{name}s1" pos="{hx:.4f} 0 0">'
        f'<joint name="{name}j1" type="hinge" axis="0 1 0" stiffness="{stuff.stiffness:.4f}"'
        f' damping="{damping:.5f}" armature="2e-5" range="-1.4 1.4"/>{neck}</body>',
    )  # fmt: skip
    return Loose(
        xml, "bag", name, ((f"{name}g1", 0.004), (f"{name}g0", 0.0)), (name, f"{name}s1"),
        stuff.mass,
        math.hypot(hx + 2 * long, hy),
    )  # fmt: skip


def scrap(name: str, at: Sequence[float], yaw: float, rgba: str, rng: np.random.Generator) -> Loose:
    """A small rigid block that no one asks for. Arguments as of `bracket`."""
    half = rng.uniform((0.010, 0.008, 0.007), (0.018, 0.014, 0.012)).tolist()
    mass = rng.uniform(0.02, 0.08)
    geom = _box(f"{name}g0", (0, 0, 0), half, mass, 0.5, rgba)
    xml = _free(name, at, half[2], yaw, geom)
    return Loose(xml, "scrap", name, ((f"{name}g0", 0.0),), (name,), mass, math.hypot(*half[:2]))


MAKE = {"bracket": bracket, "strap": strap, "bag": bag}


def _free(name: str, at: Sequence[float], h: float, yaw: float, inside: str) -> str:
    x, y, floor = at
    return (
        f'<body name="{name}" pos="{x:.4f} {y:.4f} {floor + h + LIFT:.4f}"'
        f' euler="0 0 {yaw:.4f}"><freejoint/>{inside}</body>'
    )


def _box(
    name: str, at: Sequence[float], half: Sequence[float], mass: float, friction: float, rgba: str,
    *, solref: str = _SETTLED_SOLREF,
) -> str:  # fmt: skip
    (x, y, z), (hx, hy, hz) = at, half
    # priority: in any contact the item's friction counts, not the other body's.
    return (
        f'<geom name="{name}" type="box" pos="{x:.4f} {y:.4f} {z:.4f}"'
        f' size="{hx:.4f} {hy:.4f} {hz:.4f}" mass="{mass:.5f}"'
        f' friction="{friction:.3f} .01 .0005" priority="1" condim="3" solref="{solref}"'
        f' rgba="{rgba}"/>'
    )
