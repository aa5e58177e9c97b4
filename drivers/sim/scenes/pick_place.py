"""A scene: pick the named item from a bin of mixed items and place it in the tote.

An episode can fail for physical reasons, drawn anew each time: heavy or slippery items slip out of
the grip, neighbours are in the way, and sensors are noisy (see `drivers.sim.cell`). An episode
succeeds when the tote holds the named item and no other, which a real station would learn from a
scale and item identification.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config
from headway.drivers.sim.order import Line, Rates, SimOrder
from headway.drivers.sim.phrases import Command
from headway.drivers.sim.scenes import Scene, Zone

COLOURS = {
    "red": (0.80, 0.10, 0.10),
    "green": (0.10, 0.62, 0.15),
    "blue": (0.10, 0.20, 0.80),
    "yellow": (0.90, 0.80, 0.10),
}
INSTRUCTIONS = tuple(f"put the {c} item in the tote" for c in COLOURS)
BIN = Zone((0.45, -0.17, 0.0), (0.13, 0.11, 0.03))
TOTE = Zone((0.45, 0.20, 0.0), (0.11, 0.11, 0.04))
TASK, PLACES = "pick_place", {"source": BIN, "target": TOTE}
HOME = (0.42, -0.13, 0.30)
_HELD = 0.06  # an item so near to the TCP may still be in the jaws [m]
_SCALE = 0.02  # the scale's tolerance [kg]

Items = Annotated[int, Meta(ge=1, le=len(COLOURS))]
Mass = Annotated[float, Meta(gt=0.0, le=100.0)]
Friction = Annotated[float, Meta(gt=0.0, le=10.0)]


class Config(config.Struct, frozen=True):
    """Keys of `scene_config` of a `[cell]` with this scene: the ranges from which the number of
    items, and the mass and friction coefficient of each item are drawn."""

    items_min: Items = 2
    items_max: Items = 4
    mass_min: Mass = 0.05  # [kg]
    mass_max: Mass = 0.9
    friction_min: Friction = 0.10
    friction_max: Friction = 0.9
    # smallest distance between item centres [m]
    clutter: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.07
    rates: Rates = Rates()  # of the station's sensors

    def __post_init__(self) -> None:
        for name in ("items", "mass", "friction"):
            least, most = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if least > most:
                raise ValueError(f"{name}_min wants at most {name}_max = {most}, found {least}")


def build(cfg: Config, rng: np.random.Generator) -> Scene:
    """The scene of one episode. `rng` draws which items lie in the bin, where, and how they are
    made; the first one is to be picked. `truth` has facts about each of the "items", and the name
    of the MuJoCo body that is the "target"."""
    n = int(rng.integers(cfg.items_min, cfg.items_max + 1))
    colours = [str(c) for c in rng.permutation(list(COLOURS))[:n]]
    xml = _tray("bin", BIN, ".50 .52 .55 1") + _tray("tote", TOTE, ".36 .38 .42 1")
    truth: dict[str, Any] = {"items": []}
    places = _places(cfg, rng, n)
    for i, (colour, (x, y)) in enumerate(zip(colours, places, strict=True)):
        body, facts = _item(cfg, rng, i, colour, x, y)
        xml += body
        truth["items"].append(facts)
    truth["target"] = "item0"

    def outcome(model: Any, data: Any) -> bool:
        inside = [_in_tote(data.body(f"item{i}").xpos) for i in range(n)]
        return bool(inside[0] and not any(inside[1:]))

    text = f"put the {colours[0]} item in the tote"
    # Its generator is a child: the scene's own draws are the same with any order.
    order = SimOrder([Line(Command(text), text)], cfg.rates, rng.spawn(1)[0])
    watch = _Tote(order, [0], [facts["mass"] for facts in truth["items"]])
    return Scene(xml, text, outcome, truth, watch.step, order)


class _Tote:
    """Tells `order` what lies in the tote. `wanted` are the items of its lines, `masses` [kg] those
    of all items."""

    def __init__(self, order: SimOrder, wanted: list[int], masses: list[float]) -> None:
        self._order, self._wanted, self._masses = order, wanted, masses
        self._line = 0
        self._before: list[int] = []  # what lay there when the line became due
        self._bodies: list[Any] = []
        self._tcp: Any = None

    def step(self, model: Any, data: Any, t_s: float) -> None:
        """To be called once per control tick, see `Scene.step`."""
        if self._tcp is None:
            self._bodies = [data.body(f"item{i}").xpos for i in range(len(self._masses))]
            self._tcp = data.site("tcp").xpos
        tcp = self._tcp.tolist()
        there = [
            i
            for i, body in enumerate(self._bodies)
            if _in_tote(p := body.tolist()) and math.dist(p, tcp) > _HELD
        ]
        order = self._order
        wants = sum(self._masses[i] for i in (*self._before, self._due))
        weighs = sum(self._masses[i] for i in there)
        order.sense(
            t_s,
            placed=any(i not in self._before for i in there),
            weight_ok=abs(weighs - wants) < _SCALE,
            scanned=False,
        )
        if order.line != self._line:
            self._line, self._before = order.line, there

    @property
    def _due(self) -> int:
        return self._wanted[min(self._line, len(self._wanted) - 1)]


def _in_tote(p: Any) -> bool:
    return TOTE.holds(p[0], p[1]) and p[2] < 0.10


def _places(cfg: Config, rng: np.random.Generator, n: int) -> list[tuple[float, float]]:
    """`n` item centres (x, y) [m] in the bin, at least `clutter` apart; after every 200 draws that
    distance shrinks by 5 %, so that all items find a place."""
    (cx, cy, _), (hx, hy, _) = BIN.centre, BIN.half
    places: list[tuple[float, float]] = []
    distance = cfg.clutter
    for attempt in range(10_000):
        x, y = cx + rng.uniform(-1, 1) * (hx - 0.045), cy + rng.uniform(-1, 1) * (hy - 0.045)
        if all(math.hypot(x - a, y - b) > distance for a, b in places):
            places.append((x, y))
            if len(places) == n:
                return places
        if attempt % 200 == 199:
            distance *= 0.95
    raise AssertionError("unreachable: the distance shrinks until the items fit")


def _item(
    cfg: Config, rng: np.random.Generator, i: int, colour: str, x: float, y: float
) -> tuple[str, dict[str, Any]]:
    kind = str(rng.choice(["box", "cylinder", "capsule"]))
    mass = rng.uniform(cfg.mass_min, cfg.mass_max)
    friction = rng.uniform(cfg.friction_min, cfg.friction_max)
    half_w, half_l, half_h = (
        rng.uniform(0.012, 0.026),
        rng.uniform(0.022, 0.04),
        rng.uniform(0.016, 0.03),
    )
    yaw = rng.uniform(-math.pi, math.pi)
    r, g, b = np.clip(
        np.array(COLOURS[colour]) * rng.uniform(0.85, 1.1) + rng.normal(0, 0.02, 3), 0, 1
    )
    size = {
        "box": f'type="box" size="{half_l:.4f} {half_w:.4f} {half_h:.4f}"',
        "cylinder": f'type="cylinder" size="{half_w:.4f} {half_h:.4f}"',
        "capsule": f'type="capsule" size="{half_w:.4f} {half_l * 0.6:.4f}" quat="1 0 1 0"',
    }[kind]
    # priority: in any contact the item's friction counts, not the other body's.
    xml = (
        f'<body name="item{i}" pos="{x:.4f} {y:.4f} {0.006 + max(half_h, half_w):.4f}"'
        f' euler="0 0 {yaw:.4f}"><freejoint/>'
        f'<geom {size} mass="{mass:.4f}" friction="{friction:.3f} .01 .0005" priority="1"'
        f' condim="4" solref=".01 1" rgba="{r:.3f} {g:.3f} {b:.3f} 1"/></body>'
    )
    height = half_w if kind == "capsule" else half_h
    facts = {
        "kind": kind, "colour": colour, "mass": mass, "friction": friction,
        "half_width": half_w, "half_height": height, "yaw": yaw,
    }  # fmt: skip
    return xml, facts


def _tray(name: str, zone: Zone, rgba: str, thick: float = 0.004) -> str:
    (x, y, _), (hx, hy, hz) = zone.centre, zone.half
    walls = [
        (hx, 0, thick, hy + thick),
        (-hx, 0, thick, hy + thick),
        (0, hy, hx, thick),
        (0, -hy, hx, thick),
    ]
    floor = (
        f'<geom class="fixture" type="box" size="{hx} {hy} .002" pos="{x} {y} .002" rgba="{rgba}"/>'
    )
    return floor + "".join(
        f'<geom class="fixture" name="{name}{i}" type="box" size="{sx} {sy} {hz}"'
        f' pos="{x + dx} {y + dy} {hz}" rgba="{rgba}"/>'
        for i, (dx, dy, sx, sy) in enumerate(walls)
    )
