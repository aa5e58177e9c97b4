"""A scene: open the named shoeboxes, one after the other.

Two or three boxes of different colours stand on the table. A latch holds each lid until the pad
with the bright mark is pressed, on the left or the right of the box; pressing the other one jams
the latch for a while. Then the lid is lifted by its fin (see `drivers.sim.lidded_box`).

An episode can fail for physical reasons, drawn anew each time: a lid that sticks, a fin that slips
out of the jaws and drops the lid, a latch that catches again because the lid was not lifted in
time. All of that can be tried again. An order succeeds when at the end the lids of all boxes that
it names are open, no other lid is, and no box was pushed away. Meanwhile the station judges by its
sensors, see `drivers.sim.order`: a light barrier behind the boxes fires when another lid stands
open (`place`), and load cells under the mat tell by where the weight is whether the lids of just
the lines so far are open (`scale`). Its barcode scanner has nothing to read here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config
from headway.drivers.sim.lidded_box import OPEN, Latch, LiddedBox, mat_xml
from headway.drivers.sim.order import Line, Rates, SimOrder
from headway.drivers.sim.phrases import Command, Split, filled, meant
from headway.drivers.sim.scenes import Scene, Zone

COLOURS = {
    "white": (0.93, 0.93, 0.90),
    "red": (0.78, 0.12, 0.10),
    "green": (0.12, 0.55, 0.18),
    "blue": (0.12, 0.24, 0.78),
}
_TRAIN = (
    "open the {box}", "open up the {box}", "please open the {box}", "open the {box} please",
    "open the lid of the {box}", "lift the lid of the {box}", "raise the lid of the {box}",
    "pull up the lid of the {box}", "flip open the {box}", "flip up the lid of the {box}",
    "get the {box} open", "the {box} should be opened", "i want the {box} open",
    "i need the {box} opened", "can you open the {box}", "could you open the {box} for me",
    "now the {box}, open it", "unlatch the {box} and open it", "unlock the {box} and lift its lid",
    "press the latch of the {box} and open it", "go to the {box} and open it",
    "the next one is the {box}, open it", "have the {box} opened",
)  # fmt: skip
_HELD_OUT = (
    "the lid of the {box} has to come up", "make sure that the {box} ends up open",
    "show me what is inside the {box}", "it is the {box} that we want to be open",
    "would you mind opening the {box}", "swing the lid of the {box} upwards",
    "what we need is an open {box}", "for the {box}: release the latch, then lift",
)  # fmt: skip
_NOT_TRAIN = (
    "do not open the {box}", "please do not open the {box}", "don't open the {box}",
    "never open the {box}", "leave the {box} closed", "keep the {box} shut",
    "leave the {box} alone", "do not touch the {box}", "do not lift the lid of the {box}",
    "stay away from the {box}", "the {box} should not be opened", "close the {box}",
)  # fmt: skip
_NOT_HELD_OUT = (
    "the {box} must stay shut", "by no means open the {box}", "i do not want the {box} open",
    "you should not lift the lid of the {box}", "hands off the {box}", "skip the {box}",
)  # fmt: skip


def _command(colour: str) -> Command:
    boxes = {"box": (f"{colour} box", f"{colour} shoebox")}
    train, held_out = (filled(texts, **boxes) for texts in (_TRAIN, _HELD_OUT))
    return Command(train[0], train[1:], held_out)


def _not_commands(texts: Sequence[str], things: Sequence[str]) -> tuple[str, ...]:
    """`texts` about the boxes that are there, and the wish to open `things` that are not."""
    boxes = tuple(f"{colour} box" for colour in COLOURS)
    asked = ("open the {thing}", "please open the {thing}", "lift the lid of the {thing}")
    return filled(texts, box=boxes) + filled(asked, thing=things)


COMMANDS = tuple(map(_command, COLOURS))
NOT_COMMANDS_TRAIN = (
    *_not_commands(
        _NOT_TRAIN, ("purple box", "orange box", "brown shoebox", "door", "window", "yellow box")
    ),
    "wait", "stop", "stand still", "hello", "what time is it", "tell me a joke", "open", "the lid",
)  # fmt: skip
NOT_COMMANDS_HELD_OUT = (
    *_not_commands(
        _NOT_HELD_OUT, ("pink box", "grey shoebox", "fridge", "suitcase", "turquoise box")
    ),
    "how are you", "go home", "sing a song", "nothing to do",
)  # fmt: skip

# Where the boxes stand, from left to right, as y of their middles [m]: three boxes or two.
PLACES_Y = {2: (0.15, -0.15), 3: (0.235, 0.0, -0.235)}
INSTRUCTIONS = tuple(c.plain for c in COMMANDS)
TASK = "shoebox"
PLACES: dict[str, Zone] = {}
HOME = (0.38, 0.0, 0.44)
MAT = (0.41, (0.125, 0.40))  # middle and half size of the mat that the boxes stand on [m]
SEEN_OPEN = 1.83  # lid angle from which the station's sensors see a lid as open [rad]
MOVED = 0.075  # a box further from its place than this was pushed away [m]

Force = Annotated[float, Meta(gt=0.0, le=100.0)]  # [N]
Friction = Annotated[float, Meta(gt=0.0, le=10.0)]
Torque = Annotated[float, Meta(gt=0.0, le=5.0)]  # [Nm]
Seconds = Annotated[float, Meta(gt=0.0, le=600.0)]
Count = Annotated[int, Meta(ge=1, le=3)]


class Config(config.Struct, frozen=True):
    """Keys of `scene_config` of a `[cell]` with this scene: the ranges from which numbers are
    drawn, and what makes an episode a test."""

    boxes_min: Count = 2
    boxes_max: Count = 3
    # boxes to open; there are at least as many
    lines_min: Count = 2
    lines_max: Count = 3
    # which sentences are said: Headway's own, those for training, or those held out for tests
    phrasing: Split = "plain"
    # the whole order is this one text, whatever it means; None: an order is drawn
    instruction: Annotated[str, Meta(min_length=1)] | None = None
    novel: bool = False  # sizes and shades that the boxes otherwise do not have
    clutter_items: Annotated[int, Meta(ge=0, le=8)] = 0  # things of other colours on the table
    press_min: Force = 8.0  # at the click of the right pad
    press_max: Force = 18.0
    breakaway_min: Torque = 0.15  # with which the lid sticks
    breakaway_max: Torque = 0.5
    friction_min: Friction = 0.25  # of the fin between the jaws
    friction_max: Friction = 0.7
    damping_min: Torque = 0.06  # of the lid [Nms/rad]
    damping_max: Torque = 0.2
    open_s: Seconds = 8.0  # for how long the latch stays released when the lid is not lifted
    jam_s: Seconds = 3.0  # for how long the wrong pad jams the latch
    turn: Annotated[float, Meta(ge=0.0, le=0.3)] = 0.12  # largest angle of a box to the table [rad]
    noise: Annotated[float, Meta(ge=0.0, le=10.0)] = 1.0  # factor on the noise of force and joints
    rates: Rates = Rates()  # of the station's sensors

    def __post_init__(self) -> None:
        for name in ("boxes", "lines", "press", "breakaway", "friction", "damping"):
            least, most = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if least > most:
                raise ValueError(f"{name}_min wants at most {name}_max = {most}, found {least}")


@dataclass
class Boxes:
    """The boxes of an episode: their `latches`, whose `box` says how each is made; the `commands`
    that ask for each of them; and `due`, for each line of the order the number of its box, None
    where nobody knows."""

    latches: tuple[Latch, ...]
    commands: tuple[Command, ...]
    due: tuple[int | None, ...]
    order: SimOrder
    t_s: float = 0.0  # of the last step [s]
    _line: int = 0
    _before: frozenset[int] = frozenset()  # the lids that were open when the line became due

    def step(self, model: Any, data: Any, t_s: float) -> None:
        """See `Scene.step`."""
        self.t_s = t_s
        for latch in self.latches:
            latch.step(model, data, t_s)
        there = frozenset(latch.i for latch in self.latches if latch.angle > SEEN_OPEN)
        due, order = self.due[: self._line + 1], self.order
        weight_ok = None if None in due else there == frozenset(due)
        placed = bool(there - self._before)
        order.sense(t_s, placed=placed, weight_ok=weight_ok, scanned=False)
        if order.line != self._line:
            self._line, self._before = order.line, there

    def named(self, text: str) -> Latch | None:
        """The latch of the box that the instruction `text` asks for; None where none is meant."""
        command = meant(text, self.commands)
        return None if command is None else self.latches[self.commands.index(command)]

    def outcome(self, model: Any, data: Any) -> bool | None:
        """See `Scene.outcome`."""
        if None in self.due:
            return None
        opened = {latch.i for latch in self.latches if latch.angle > OPEN}
        moved = max(float(np.hypot(*data.qpos[self._slides(model, x.i)])) for x in self.latches)
        return opened == set(self.due) and moved < MOVED

    @staticmethod
    def _slides(model: Any, i: int) -> list[int]:
        return [int(model.joint(f"box{i}{axis}").qposadr[0]) for axis in "xy"]


def build(cfg: Config, rng: np.random.Generator) -> Scene:
    """The scene of one episode. `rng` draws the boxes, their latches, and the order. `truth` has
    the "boxes", a `Boxes`."""
    asked = None if cfg.instruction is None else meant(cfg.instruction, COMMANDS)
    colours = [str(c) for c in rng.permutation(list(COLOURS))]
    n = int(rng.integers(cfg.boxes_min, cfg.boxes_max + 1))
    lines = int(rng.integers(cfg.lines_min, cfg.lines_max + 1))
    n = max(n, lines)
    by_colour = dict(zip(COLOURS, COMMANDS, strict=True))
    if asked is not None:  # the box that is meant stands there, at any of the places
        wanted = next(c for c, command in by_colour.items() if command is asked)
        if wanted not in colours[:n]:
            colours[int(rng.integers(n))] = wanted
    colours = colours[:n]
    latches = tuple(
        Latch(i, _box(cfg, rng, colour, y), cfg.open_s, cfg.jam_s)
        for i, (colour, y) in enumerate(zip(colours, _rows(n, rng), strict=True))
    )
    due: tuple[int | None, ...] = tuple(int(i) for i in rng.permutation(n)[:lines])
    said = [by_colour[colours[i]] for i in due if i is not None]
    order = [Line(c, c.say(cfg.phrasing, rng)) for c in said]
    if cfg.instruction is not None:
        due = (None if asked is None else colours.index(wanted),)
        order = [Line(asked or Command(cfg.instruction), cfg.instruction)]
    boxes = Boxes(
        latches, tuple(by_colour[c] for c in colours), due, SimOrder(order, cfg.rates, rng)
    )
    xml = mat_xml(*MAT) + "".join(latch.box.xml(latch.i) for latch in latches) + _clutter(cfg, rng)
    latched = "".join(latch.box.latch_xml(latch.i) for latch in latches)
    return Scene(
        xml, order[0].text, boxes.outcome, {"boxes": boxes},
        sections=f"<equality>{latched}</equality>", step=boxes.step, order=boxes.order,
    )  # fmt: skip


def _rows(n: int, rng: np.random.Generator) -> list[float]:
    """Where `n` boxes stand: y of their middles [m], in random order."""
    places = PLACES_Y[n] if n > 1 else (float(rng.choice(PLACES_Y[3])),)
    return [float(y) for y in rng.permutation(places)]


def _box(cfg: Config, rng: np.random.Generator, colour: str, y: float) -> LiddedBox:
    depth, width, height = rng.uniform((0.135, 0.112, 0.055), (0.165, 0.136, 0.080))
    shade = np.array(COLOURS[colour]) * rng.uniform(0.9, 1.08) + rng.normal(0, 0.015, 3)
    if cfg.novel:  # flatter, longer boxes or taller, shorter ones; darker or paler shades
        flat = rng.random() < 0.5
        depth = rng.uniform(0.166, 0.178) if flat else rng.uniform(0.122, 0.134)
        height = rng.uniform(0.046, 0.054) if flat else rng.uniform(0.081, 0.088)
        shade = 0.72 * shade if rng.random() < 0.5 else 0.75 * shade + 0.22
    # The rim of the front is as far from the robot for all boxes, so that all can be reached.
    x = 0.335 + depth / 2 + rng.uniform(-0.015, 0.02)
    r, g, b = np.clip(shade, 0.0, 1.0).tolist()
    return LiddedBox(
        place=(float(x), y + float(rng.uniform(-0.008, 0.008))),
        turn=float(rng.uniform(-cfg.turn, cfg.turn)),
        depth=float(depth), width=float(width), height=float(height), rgb=(r, g, b),
        side=int(rng.choice((1, -1))),
        press=float(rng.uniform(cfg.press_min, cfg.press_max)),
        lid_mass=float(rng.uniform(0.08, 0.14)),
        breakaway=float(rng.uniform(cfg.breakaway_min, cfg.breakaway_max)),
        damping=float(rng.uniform(cfg.damping_min, cfg.damping_max)),
        friction=float(rng.uniform(cfg.friction_min, cfg.friction_max)),
    )  # fmt: skip


def _clutter(cfg: Config, rng: np.random.Generator) -> str:
    """Flat things that lie before and behind the boxes, where the robot does not go."""
    made = ""
    for _ in range(cfg.clutter_items):
        x = float(rng.uniform(0.22, 0.26) if rng.random() < 0.5 else rng.uniform(0.60, 0.66))
        y, turn = float(rng.uniform(-0.36, 0.36)), float(rng.uniform(-math.pi, math.pi))
        kind = str(rng.choice(("box", "cylinder", "ellipsoid")))
        size = rng.uniform((0.012, 0.012, 0.006), (0.028, 0.022, 0.014))
        rgb = rng.uniform(0.05, 0.95, 3)
        made += (
            f'<geom class="fixture" type="{kind}" size="{size[0]:.4f} {size[1]:.4f} {size[2]:.4f}"'
            f' pos="{x:.4f} {y:.4f} {size[2]:.4f}" euler="0 0 {turn:.3f}"'
            f' rgba="{rgb[0]:.3f} {rgb[1]:.3f} {rgb[2]:.3f} 1"/>'
        )
    return made
