"""A scene: returned goods are scanned one after the other, and sorted into two totes.

An order has two or three lines. Each is about one item in the bin, which its colour tells apart:
the robot is asked to scan it, and once the scanner has read its barcode, to put it into the tote of
its class, which only the barcode tells. Items are odd-shaped, floppy or bagged; they slip, sag and
turn in the grip. At the scanner an item is read after it has been held still there for a while,
unless the jaws or a crease cover its barcode: then it has to be taken away and presented again.

The episode succeeds when at the end every item of the order is in its tote, and nothing else is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config
from headway.drivers.sim import returned_items
from headway.drivers.sim.order import Line, Rates, SimOrder, Step
from headway.drivers.sim.phrases import Command, Split, meant
from headway.drivers.sim.returned_items import Form, Loose, Stuff
from headway.drivers.sim.scenes import Scene, Zone
from headway.drivers.sim.scenes import _returns_words as words
from headway.drivers.sim.scenes.pick_place import _tray as tray

BIN = Zone((0.50, 0.0, 0.0), (0.15, 0.14, 0.004))  # a flat tray: its rim stops no finger
SCANNER = Zone((0.28, 0.0, 0.0), (0.05, 0.05, 0.02))  # as it stands on the table
SCAN = Zone((0.28, 0.0, 0.22), (0.06, 0.06, 0.05))  # where it reads what the TCP holds
TOTES = {
    "blue": Zone((0.45, 0.30, 0.0), (0.10, 0.10, 0.03)),
    "yellow": Zone((0.45, -0.30, 0.0), (0.10, 0.10, 0.03)),
}
TASK, PLACES = "returns", {"source": BIN, "scan": SCAN, **TOTES}
HOME = (0.44, 0.0, 0.32)
_TOTE_RGBA = {"blue": ".10 .25 .75 1", "yellow": ".90 .75 .10 1"}
_FLOOR = 0.004  # of a tray [m]
_GRIP_N = 15.0  # that each jaw presses with, as long as a run's [loop] does not say otherwise
_POOR = (0.8, 1.05)  # see `Config.poor`
_LEAST_FRICTION = 0.02
_SCALE = 0.02  # the tolerance of the scales under the totes [kg]
_STILL_S = 0.25  # for which what has been put down does not move, before it has arrived
_SAG = 0.14  # how far below the TCP the middle of an item may hang [m]
_LIES_Z = 0.07  # below this the middle of what does not move lies on something [m]


@dataclass(frozen=True)
class Article:
    """A kind of item, which is named by its colour."""

    rgb: tuple[float, float, float]
    form: Form


ARTICLES = {
    "grey": Article((0.52, 0.52, 0.54), "bag"),
    "green": Article((0.10, 0.55, 0.16), "bag"),
    "red": Article((0.78, 0.09, 0.10), "bracket"),
    "purple": Article((0.45, 0.13, 0.58), "bracket"),
    "orange": Article((0.95, 0.42, 0.05), "strap"),
    "white": Article((0.93, 0.93, 0.90), "strap"),
}
COMMANDS = words.COMMANDS
NOT_COMMANDS_TRAIN = words.NOT_COMMANDS_TRAIN
NOT_COMMANDS_HELD_OUT = words.NOT_COMMANDS_HELD_OUT
INSTRUCTIONS = tuple(command.plain for command in COMMANDS)
_SCRAP_RGB = ((0.36, 0.22, 0.12), (0.08, 0.55, 0.58), (0.45, 0.46, 0.14), (0.12, 0.12, 0.13))

Count = Annotated[int, Meta(ge=0, le=4)]
Items = Annotated[int, Meta(ge=1, le=4)]
Lines = Annotated[int, Meta(ge=1, le=4)]
Mass = Annotated[float, Meta(gt=0.01, le=100.0)]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Factor = Annotated[float, Meta(ge=0.0, le=10.0)]


class Config(config.Struct, frozen=True):
    """Keys of `scene_config` of a `[cell]` with this scene."""

    lines_min: Lines = 2
    lines_max: Lines = 3
    items_min: Items = 3  # in the bin; never fewer than the order has lines
    items_max: Items = 4
    clutter_items: Count = 0  # small blocks in the bin that no one asks for
    mass_min: Mass = 0.08  # of an item [kg]
    mass_max: Mass = 0.50
    # How well an item is held: the friction of two jaws that press on it with 15 N each, divided by
    # its weight; of a bag, at its neck. Each time that an item comes to rest it shows another side
    # or crease, so it is drawn anew: between these two, or, with the probability `poor`, between
    # 0.8 and 1.05, where it slips whatever the robot does.
    hold_min: Annotated[float, Meta(ge=1.05, le=50.0)] = 1.3
    hold_max: Annotated[float, Meta(ge=1.05, le=50.0)] = 4.0
    poor: Probability = 0.10
    skin: Annotated[float, Meta(gt=0.0, le=1.0)] = (
        0.4  # friction of a bag's skin to that of its neck
    )
    stiffness_min: Factor = 0.02  # of soft joints [Nm/rad]
    stiffness_max: Factor = 0.08
    # The scanner: a barcode is covered so often when an item is presented, by the form of the item;
    # an uncovered one is read after the item has been held still for `dwell_s`.
    covered_bracket: Probability = 0.08
    covered_strap: Probability = 0.14
    covered_bag: Probability = 0.20
    dwell_s: config.SecondsOrNone = 0.3
    # of the barcodes, that another one is read, so that the station names the wrong tote
    misread: Probability = 0.002
    rates: Rates = Rates(place_false=0.2, barcode_false=0.05, again_s=0.8)
    noise: Factor = 1.0  # factor on errors of force and joints
    novel: bool = False  # shapes, sizes and shades that no training scene has
    phrasing: Split = "plain"
    # Free text: the order is one line with it. The audit judges it where it is one of the sentences
    # of a command, and cannot otherwise.
    instruction: Annotated[str, Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        for name in ("lines", "items", "mass", "hold", "stiffness"):
            least, most = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if least > most:
                raise ValueError(f"{name}_min wants at most {name}_max = {most}, found {least}")


@dataclass(frozen=True)
class Made:
    """An item of the scene: what it is, and the colour that names it ("" for clutter)."""

    loose: Loose
    colour: str


def build(cfg: Config, rng: np.random.Generator) -> Scene:
    """The scene of one episode. `rng` draws the items, the order, and what the station's sensors
    miss. `truth` has the "items" (`Made`) and, per line of the order, the name of the item's body
    and the tote where it belongs ("lines")."""
    asked = None if cfg.instruction is None else meaning(cfg.instruction)
    n_lines = (
        1 if cfg.instruction is not None else int(rng.integers(cfg.lines_min, cfg.lines_max + 1))
    )
    n = max(n_lines, int(rng.integers(cfg.items_min, cfg.items_max + 1)))
    colours = [str(c) for c in rng.permutation(list(ARTICLES))]
    if asked is not None:
        colours.remove(asked[0])
        colours.insert(0, asked[0])
    items = _items(cfg, rng, colours[:n])
    totes = [str(rng.choice(list(TOTES))) for _ in range(n_lines)]
    if asked is not None and asked[1]:
        totes[0] = asked[1]
    if cfg.instruction is not None and asked is None:
        lines = [Line(Command(cfg.instruction), cfg.instruction)]
    elif cfg.instruction is not None:
        lines = [_line(cfg, rng, colours[0], totes[0], cfg.instruction)]
    else:
        lines = [_line(cfg, rng, c, t, "") for c, t in zip(colours[:n_lines], totes, strict=True)]
    order = SimOrder(lines, cfg.rates, rng.spawn(1)[0])
    wanted = [(items[i].loose.body, tote) for i, tote in enumerate(totes)]
    packing = _Packing(items, wanted if asked is not None or cfg.instruction is None else [])
    desk = _Desk(cfg, packing, order, rng.spawn(1)[0])
    xml = tray("bin", BIN, ".20 .17 .15 1") + _scanner()
    xml += "".join(tray(name, zone, _TOTE_RGBA[name]) for name, zone in TOTES.items())
    xml += "".join(item.loose.xml for item in items)
    truth = {"items": items, "lines": wanted}
    return Scene(xml, lines[0].text, packing.outcome, truth, desk.step, order)


def meaning(text: str) -> tuple[str, str] | None:
    """The colour of the item and the name of the tote ("": it is to be scanned) that `text` is
    about; None where it means nothing that this scene knows."""
    command = meant(text, COMMANDS)
    if command is None:
        return None
    words = command.plain.split()
    return words[2], words[-2] if words[0] == "put" else ""


def _line(cfg: Config, rng: np.random.Generator, colour: str, tote: str, text: str) -> Line:
    """The line for the item of `colour`. `text`: what the robot is asked first, "" for a sentence
    of the configured split."""
    scan = words.command_named(words.scan_text(colour))
    asked = tote
    if rng.random() < cfg.misread:
        tote = next(t for t in TOTES if t != tote)
    put = words.command_named(words.put_text(colour, tote))
    said, then = scan.say(cfg.phrasing, rng), put.say(cfg.phrasing, rng)
    if text and meant(text, (scan,)) is None:  # it names the tote: no barcode does
        return Line(words.command_named(words.put_text(colour, asked)), text)
    return Line(scan, text or said, (Step(put, then),))


def _items(cfg: Config, rng: np.random.Generator, colours: list[str]) -> list[Made]:
    """An item per colour, each in a part of the bin of its own, and the clutter between them."""
    (cx, cy, _), (hx, hy, _) = BIN.centre, BIN.half
    quarters = rng.permutation([(sx, sy) for sx in (-1, 1) for sy in (-1, 1)])
    made, taken = [], []
    for i, colour in enumerate(colours):
        article = ARTICLES[colour]
        x = cx + quarters[i][0] * 0.5 * hx + rng.uniform(-0.012, 0.012)
        y = cy + quarters[i][1] * 0.47 * hy + rng.uniform(-0.010, 0.010)
        mass = rng.uniform(cfg.mass_min, cfg.mass_max)
        friction = _friction(cfg, rng, mass)
        stiffness = rng.uniform(cfg.stiffness_min, cfg.stiffness_max)
        stuff = Stuff(mass, friction, cfg.skin * friction, stiffness)
        rgb = np.array(article.rgb) * rng.uniform(0.9, 1.1) + rng.normal(0, 0.015, 3)
        if cfg.novel:  # paler or darker than ever in training
            rgb = 0.75 * rgb + (0.25 if rng.random() < 0.5 else 0.02)
        yaw = rng.uniform(-math.pi, math.pi)
        make = returned_items.MAKE[article.form]
        loose = make(f"item{i}", (x, y, _FLOOR), yaw, _rgba(rgb), stuff, rng, novel=cfg.novel)
        made.append(Made(loose, colour))
        taken.append((x, y, loose.radius))
    for i in range(cfg.clutter_items):
        x, y = _free_place(rng, taken)
        rgb = np.array(_SCRAP_RGB[int(rng.integers(len(_SCRAP_RGB)))])
        at = (x, y, _FLOOR)
        loose = returned_items.scrap(f"scrap{i}", at, rng.uniform(-3.1, 3.1), _rgba(rgb), rng)
        made.append(Made(loose, ""))
        taken.append((x, y, loose.radius))
    return made


def _friction(cfg: Config, rng: np.random.Generator, mass: float) -> float:
    """The coefficient of friction of an item of `mass` [kg], see `Config.hold_min`."""
    low, high = (cfg.hold_min, cfg.hold_max) if rng.random() >= cfg.poor else _POOR
    hold = math.exp(rng.uniform(math.log(low), math.log(high)))
    return max(_LEAST_FRICTION, hold * mass * 9.81 / (2 * _GRIP_N))


def _free_place(
    rng: np.random.Generator, taken: list[tuple[float, float, float]]
) -> tuple[float, float]:
    """A place (x, y) [m] in the bin where a small block lies on nothing, as far as there is one:
    after every 100 draws, the room that is wanted around it shrinks by 10 %."""
    (cx, cy, _), (hx, hy, _) = BIN.centre, BIN.half
    room = 1.0
    for attempt in range(10_000):
        x, y = cx + rng.uniform(-1, 1) * (hx - 0.03), cy + rng.uniform(-1, 1) * (hy - 0.03)
        if all(math.hypot(x - a, y - b) > room * (r + 0.024) for a, b, r in taken):
            return float(x), float(y)
        if attempt % 100 == 99:
            room *= 0.9
    raise AssertionError("unreachable: the room shrinks until the block fits")


class _Packing:
    """Where the items are, and where they should be: `wanted` has the body and the tote of each
    line, and is empty where nobody can judge the order."""

    def __init__(self, items: list[Made], wanted: list[tuple[str, str]]) -> None:
        self.items, self.wanted = items, wanted
        self._bodies = [item.loose.body for item in items]
        self._ids: list[int] = []

    def places(self, model: Any, data: Any) -> dict[str, list[float]]:
        """The place (x, y, z) [m] of each item, by the name of its body."""
        if not self._ids:
            self._ids = [model.body(name).id for name in self._bodies]
        return dict(zip(self._bodies, data.xpos[self._ids].tolist(), strict=True))

    def outcome(self, model: Any, data: Any) -> bool | None:
        """Whether every item of the order is in its tote, and nothing else in any."""
        if not self.wanted:
            return None
        places = self.places(model, data)
        found = {(body, t) for t in TOTES for body, at in places.items() if in_tote(at, t)}
        return found == set(self.wanted)


class _Desk:
    """What is true at the scanner and the totes, for the sensors of the station."""

    def __init__(
        self, cfg: Config, packing: _Packing, order: SimOrder, rng: np.random.Generator
    ) -> None:
        self._packing, self._order, self._rng = packing, order, rng
        self._cfg = cfg
        covered = {f: getattr(cfg, f"covered_{f}") for f in returned_items.MAKE}
        self._covers = {i.loose.body: covered.get(i.loose.form, 0.0) for i in packing.items}
        self._mass = {i.loose.body: i.loose.mass for i in packing.items}
        self._last: dict[str, list[float]] = {}
        self._still: dict[str, float] = {}  # since when an item does not move [s]
        self._at: tuple[int, int] | None = None  # line and step
        self._before: set[str] = set()  # what was in the tote when the line began
        self._drawn: dict[str, float] = {}  # when an item began to lie as it does [s]
        self._presented = self._covered = False

    def step(self, model: Any, data: Any, t_s: float) -> None:
        """See `Scene.step`."""
        order, wanted = self._order, self._packing.wanted
        if not wanted or order.line >= len(order.lines):
            order.sense(t_s, placed=False, weight_ok=False, scanned=False)
            return
        places = self._packing.places(model, data)
        self._watch(places, t_s)
        self._turn_over(model, places, t_s)
        body, tote = wanted[order.line]
        inside = {b for b, at in places.items() if in_tote(at, tote)}
        if self._at != (order.line, order.step):
            if self._at is None or self._at[0] != order.line:
                self._before, self._presented = inside, False
            self._at = (order.line, order.step)
        due = {b for b, t in wanted[: order.line + 1] if t == tote}
        arrived = {b for b in inside - self._before if t_s - self._still[b] >= _STILL_S}
        order.sense(
            t_s,
            placed=bool(arrived),
            weight_ok=abs(sum(self._mass[b] for b in inside) - sum(self._mass[b] for b in due))
            < _SCALE,
            scanned=self._scanned(body, places[body], t_s),
        )

    def _watch(self, places: dict[str, list[float]], t_s: float) -> None:
        for body, at in places.items():
            last = self._last.get(body)
            if last is None or math.dist(last, at) > 0.004:
                self._last[body], self._still[body] = at, t_s

    def _turn_over(self, model: Any, places: dict[str, list[float]], t_s: float) -> None:
        """Draw anew how well an item is held, once it has moved and lies again."""
        for item in self._packing.items:
            body, since = item.loose.body, self._still[item.loose.body]
            if places[body][2] > _LIES_Z or t_s - since < _STILL_S:
                continue
            if self._drawn.setdefault(body, since) != since:
                self._drawn[body] = since
                friction = _friction(self._cfg, self._rng, item.loose.mass)
                for name in item.loose.geoms:
                    skin = item.loose.form == "bag" and name.endswith("g0")
                    share = self._cfg.skin if skin else 1.0
                    model.geom(name).friction[0] = share * friction

    def _scanned(self, body: str, at: list[float], t_s: float) -> bool:
        """Whether the barcode of the due item `body` at the place `at` (3,) [m] can be read."""
        room = 0.03 if self._presented else 0.02  # it leaves a little further out than it enters
        top = SCAN.centre[2] + room
        there = SCAN.holds(at[0], at[1], -room) and SCAN.centre[2] - _SAG < at[2] < top
        if there and not self._presented:
            self._covered = bool(self._rng.random() < self._covers[body])
        self._presented = there
        return there and not self._covered and t_s - self._still[body] >= self._cfg.dwell_s


def in_tote(at: Any, tote: str) -> bool:
    """Whether the place `at` (3,) [m] is in the tote of that name."""
    return TOTES[tote].holds(at[0], at[1]) and bool(at[2] < 0.10)


def _rgba(rgb: Any) -> str:
    r, g, b = np.clip(rgb, 0.0, 1.0)
    return f"{r:.3f} {g:.3f} {b:.3f} 1"


def _scanner() -> str:
    """A dark block with a red window."""
    (x, y, _), (hx, hy, hz) = SCANNER.centre, SCANNER.half
    return (
        f'<geom class="fixture" name="scanner" type="box" size="{hx} {hy} {hz}" pos="{x} {y} {hz}"'
        ' rgba=".08 .09 .10 1"/>'
        f'<geom class="visual" type="box" size="{0.7 * hx} {0.7 * hy} .001"'
        f' pos="{x} {y} {2 * hz + 0.001}" rgba=".75 .05 .08 1"/>'
    )
