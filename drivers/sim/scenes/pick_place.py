"""A scene: pick the named items from a bin of mixed items and place them in the tote.

An episode is an order of some lines, one item each; by default one line. It can fail for physical
reasons, drawn anew each time: heavy or slippery items slip out of the grip, neighbours are in the
way, and sensors are noisy (see `drivers.sim.cell`). It succeeds when at the end the tote holds the
items of all lines and no other, which the audit at the packing station finds out. Meanwhile the
station judges by its sensors, see `drivers.sim.order`: its scale knows what the tote should weigh
once the due line is done.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config
from headway.drivers.sim.order import Line, Rates, SimOrder
from headway.drivers.sim.phrases import Command, Split, meant
from headway.drivers.sim.scenes import Scene, Zone
from headway.drivers.sim.scenes import _pick_place_words as words

COLOURS = {
    "red": (0.80, 0.10, 0.10),
    "green": (0.10, 0.62, 0.15),
    "blue": (0.10, 0.20, 0.80),
    "yellow": (0.90, 0.80, 0.10),
}
SHADES = {  # of novel items: other colours of the same name
    "red": (0.62, 0.16, 0.22),
    "green": (0.42, 0.75, 0.30),
    "blue": (0.22, 0.48, 0.85),
    "yellow": (0.93, 0.70, 0.30),
}
# Of clutter, which no command names.
GREYS = ((0.85, 0.85, 0.85), (0.12, 0.12, 0.12), (0.45, 0.40, 0.36), (0.65, 0.62, 0.70))
COMMANDS = words.COMMANDS
NOT_COMMANDS_TRAIN = words.NOT_COMMANDS_TRAIN
NOT_COMMANDS_HELD_OUT = words.NOT_COMMANDS_HELD_OUT
INSTRUCTIONS = tuple(command.plain for command in COMMANDS)
BIN = Zone((0.45, -0.17, 0.0), (0.13, 0.11, 0.03))
TOTE = Zone((0.45, 0.20, 0.0), (0.11, 0.11, 0.04))
RIM = Zone((0.46, 0.01, 0.0), (0.19, 0.34, 0.012))  # of the table, where it has one
TASK, PLACES = "pick_place", {"source": BIN, "target": TOTE}
HOME = (0.42, -0.13, 0.30)
LOW_WALL = 0.01  # [m]
_HELD = 0.06  # an item so near to the TCP may still be in the jaws [m]
_SCALE = 0.02  # the scale's tolerance [kg]


Items = Annotated[int, Meta(ge=1, le=len(COLOURS))]
Mass = Annotated[float, Meta(gt=0.0, le=100.0)]
Friction = Annotated[float, Meta(gt=0.0, le=10.0)]


class Config(config.Struct, frozen=True):
    """Keys of `scene_config` of a `[cell]` with this scene: the ranges from which the number of
    items and of the order's lines, and the mass and friction coefficient of each item are drawn."""

    items_min: Items = 2
    items_max: Items = 4
    lines_min: Items = 1  # an order has no more lines than there are items
    lines_max: Items = 1
    clutter_items: Annotated[int, Meta(ge=0, le=4)] = 0  # grey items that nobody asks for
    mass_min: Mass = 0.05  # [kg]
    mass_max: Mass = 0.9
    friction_min: Friction = 0.10
    friction_max: Friction = 0.9
    # coefficient of the friction that stops what rolls [m]; 0: nothing does
    rolling: Annotated[float, Meta(ge=0.0, le=0.1)] = 0.0
    # smallest distance between item centres [m]
    clutter: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.07
    # smallest distance of an item's centre from the bin's walls [m]
    wall: Annotated[float, Meta(ge=0.03, le=0.1)] = 0.045
    # Height of the bin's walls [m]. Fingers reach over those of at most LOW_WALL, which hold what
    # lies still; in a corner of higher ones some items leave the fingers no room.
    bin_height: Annotated[float, Meta(ge=0.004, le=0.1)] = 2 * BIN.half[2]
    rim: bool = False  # around the table, so that nothing rolls out of reach
    novel: bool = False  # shapes, sizes and shades that are kept for tests
    phrasing: Split = "plain"  # the sentences that the station says
    # Free text: the order is one line with it. The audit judges it where it is one of the sentences
    # of a command, and cannot otherwise.
    instruction: Annotated[str, Meta(min_length=1)] | None = None
    noise: Annotated[float, Meta(ge=0.0, le=10.0)] = 1.0  # factor on errors of force and joints
    rates: Rates = Rates()  # of the station's sensors

    def __post_init__(self) -> None:
        for name in ("items", "lines", "mass", "friction"):
            least, most = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if least > most:
                raise ValueError(f"{name}_min wants at most {name}_max = {most}, found {least}")


def build(cfg: Config, rng: np.random.Generator) -> Scene:
    """The scene of one episode. `rng` draws which items lie in the bin, where, and how they are
    made; the first ones are those of the order. `truth` has facts about each of the "items", the
    index of the item that is "wanted" by each line (None where nobody can tell), the name of the
    MuJoCo body that is the "target" of the first one, and the "bin_height" [m]."""
    n = int(rng.integers(cfg.items_min, cfg.items_max + 1))
    lines = 1
    if cfg.lines_max > 1 and cfg.instruction is None:
        lines = int(rng.integers(cfg.lines_min, cfg.lines_max + 1))
    n = max(n, lines)
    colours = [str(c) for c in rng.permutation(list(COLOURS))]
    wanted: list[int | None] = [*range(lines)]
    asked = None if cfg.instruction is None else meant(cfg.instruction, COMMANDS)
    if asked is not None:  # what it means is there
        first = words.COLOURS[COMMANDS.index(asked)]
        colours = [first, *(c for c in colours if c != first)]
    elif cfg.instruction is not None:
        wanted = [None]
    paints: list[tuple[str, Any]] = [
        (c, (SHADES if cfg.novel else COLOURS)[c]) for c in colours[:n]
    ]
    paints += [("grey", GREYS[i]) for i in range(cfg.clutter_items)]
    shape = Zone(BIN.centre, (*BIN.half[:2], cfg.bin_height / 2))
    xml = _tray("bin", shape, ".50 .52 .55 1") + _tray("tote", TOTE, ".36 .38 .42 1")
    if cfg.rim:
        xml += _walls("rim", RIM, ".78 .77 .74 1")
    items: list[dict[str, Any]] = []
    places = _places(cfg, rng, len(paints))
    for i, (paint, (x, y)) in enumerate(zip(paints, places, strict=True)):
        body, facts = _item(cfg, rng, i, *paint, x, y)
        xml += body
        items.append(facts)
    # Its generator is a child: the scene's own draws are the same with any order.
    own = rng.spawn(1)[0]
    if cfg.instruction is not None:
        made = [Line(asked or Command(cfg.instruction), cfg.instruction)]
    else:
        commands = [COMMANDS[words.COLOURS.index(c)] for c in colours[:lines]]
        made = [Line(command, command.say(cfg.phrasing, own)) for command in commands]
    order = SimOrder(made, cfg.rates, own)
    tote = _Tote(order, wanted, [facts["mass"] for facts in items])
    truth = {"items": items, "wanted": wanted, "target": "item0", "bin_height": cfg.bin_height}
    return Scene(xml, made[0].text, tote.audit, truth, tote.step, order)


class _Tote:
    """Tells `order` what lies in the tote. `wanted` are the items of its lines, None for what
    nobody can tell, `masses` [kg] those of all items."""

    def __init__(self, order: SimOrder, wanted: list[int | None], masses: list[float]) -> None:
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
        self._order.sense(
            t_s,
            placed=any(i not in self._before for i in there),
            weight_ok=self._weight_ok(there),
            scanned=False,
        )
        if order.line != self._line:
            self._line, self._before = order.line, there

    def _weight_ok(self, there: list[int]) -> bool | None:
        """Whether the tote weighs what the lines up to the due one weigh together."""
        due = self._wanted[: self._line + 1]
        wants = sum(self._masses[i] for i in due if i is not None)
        weighs = sum(self._masses[i] for i in there)
        return None if None in due else abs(weighs - wants) < _SCALE

    def audit(self, model: Any, data: Any) -> bool | None:
        """Whether the tote holds just what was ordered; None where nobody can tell."""
        if None in self._wanted:
            return None
        n = len(self._masses)
        return {i for i in range(n) if _in_tote(data.body(f"item{i}").xpos)} == {*self._wanted}


def _in_tote(p: Any) -> bool:
    return TOTE.holds(p[0], p[1]) and p[2] < 0.10


def _places(cfg: Config, rng: np.random.Generator, n: int) -> list[tuple[float, float]]:
    """`n` item centres (x, y) [m] in the bin, at least `clutter` apart; after every 200 draws that
    distance shrinks by 5 %, so that all items find a place."""
    (cx, cy, _), (hx, hy, _) = BIN.centre, BIN.half
    places: list[tuple[float, float]] = []
    distance = cfg.clutter
    for attempt in range(10_000):
        x, y = cx + rng.uniform(-1, 1) * (hx - cfg.wall), cy + rng.uniform(-1, 1) * (hy - cfg.wall)
        if all(math.hypot(x - a, y - b) > distance for a, b in places):
            places.append((x, y))
            if len(places) == n:
                return places
        if attempt % 200 == 199:
            distance *= 0.95
    raise AssertionError("unreachable: the distance shrinks until the items fit")


def _item(
    cfg: Config, rng: np.random.Generator, i: int, colour: str, rgb: Any, x: float, y: float
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
    r, g, b = np.clip(np.array(rgb) * rng.uniform(0.85, 1.1) + rng.normal(0, 0.02, 3), 0, 1)
    if cfg.novel:
        kind, half_w, half_l = _novel(kind, half_w, half_l)
    half = {  # along the axes of the body [m]
        "box": (half_l, half_w, half_h),
        "cylinder": (half_w, half_w, half_h),
        "capsule": (half_l * 0.6 + half_w, half_w, half_w),
        "ellipsoid": (half_l, half_w, half_h),
        "cross": (half_l, half_w, half_h),
        "barrel": (half_l, half_w, half_w),
    }[kind]
    shapes = {
        "box": [f'type="box" size="{half_l:.4f} {half_w:.4f} {half_h:.4f}"'],
        "cylinder": [f'type="cylinder" size="{half_w:.4f} {half_h:.4f}"'],
        "capsule": [f'type="capsule" size="{half_w:.4f} {half_l * 0.6:.4f}" quat="1 0 1 0"'],
        "ellipsoid": [f'type="ellipsoid" size="{half_l:.4f} {half_w:.4f} {half_h:.4f}"'],
        "cross": [
            f'type="box" size="{half_l:.4f} {half_w * 0.6:.4f} {half_h:.4f}"',
            f'type="box" size="{half_w * 0.6:.4f} {half_w:.4f} {half_h * 0.8:.4f}"',
        ],
        "barrel": [f'type="cylinder" size="{half_w:.4f} {half_l:.4f}" quat="1 0 1 0"'],
    }[kind]
    # priority: in any contact the item's friction counts, not the other body's.
    xml = (
        f'<body name="item{i}" pos="{x:.4f} {y:.4f} {0.006 + max(half_h, half_w):.4f}"'
        f' euler="0 0 {yaw:.4f}"><freejoint/>'
    )
    condim, rolling = (6, cfg.rolling) if cfg.rolling > 0 else (4, 0.0005)  # 4 leaves rolling out
    for shape in shapes:
        xml += (
            f'<geom {shape} mass="{mass / len(shapes):.4f}" friction="{friction:.3f} .01 {rolling}"'
            f' priority="1" condim="{condim}" solref=".01 1" rgba="{r:.3f} {g:.3f} {b:.3f} 1"/>'
        )
    facts = {
        "kind": kind, "colour": colour, "mass": mass, "friction": friction, "half": half,
        "half_width": half_w, "half_height": half[2], "yaw": yaw,
    }  # fmt: skip
    return xml + "</body>", facts


def _novel(kind: str, half_w: float, half_l: float) -> tuple[str, float, float]:
    """A shape that no ordinary item has, and half its width and length [m]: longer and slimmer, or
    shorter and wider, than ordinary items are."""
    kind = {"box": "cross", "cylinder": "ellipsoid", "capsule": "barrel"}[kind]
    if kind == "ellipsoid":
        return kind, half_w + 0.004, half_l * 0.8
    return kind, half_w, half_l * 1.15


def _tray(name: str, zone: Zone, rgba: str) -> str:
    (x, y, _), (hx, hy, _) = zone.centre, zone.half
    floor = (
        f'<geom class="fixture" type="box" size="{hx} {hy} .002" pos="{x} {y} .002" rgba="{rgba}"/>'
    )
    return floor + _walls(name, zone, rgba)


def _walls(name: str, zone: Zone, rgba: str, thick: float = 0.004) -> str:
    (x, y, _), (hx, hy, hz) = zone.centre, zone.half
    walls = [
        (hx, 0, thick, hy + thick),
        (-hx, 0, thick, hy + thick),
        (0, hy, hx, thick),
        (0, -hy, hx, thick),
    ]
    return "".join(
        f'<geom class="fixture" name="{name}{i}" type="box" size="{sx} {sy} {hz}"'
        f' pos="{x + dx} {y + dy} {hz}" rgba="{rgba}"/>'
        for i, (dx, dy, sx, sy) in enumerate(walls)
    )
