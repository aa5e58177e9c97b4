"""A scene: three buttons on a panel. Pressing one turns its lamp on, pressing it again off.

An order names two or three of them. The station has two sensors that notice: the panel's switches
say that another lamp is on (`place`), and a camera above it says whether just the lamps of the
lines so far are on (`scale`). Its scanner has nothing to read.
"""

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from headway.config import Struct
from headway.drivers.sim.order import Line, Rates, SimOrder
from headway.drivers.sim.phrases import Command, Split, filled, meant
from headway.drivers.sim.scenes import Scene, Zone

COLOURS = {"red": "0.6 0.08 0.08", "green": "0.08 0.5 0.12", "blue": "0.08 0.15 0.6"}
TRAIN = (
    "press the {it}", "please press the {it}", "push the {it}", "push down the {it}",
    "switch on the {it}", "give the {it} a push", "the {it} should be pressed",
)  # fmt: skip
HELD_OUT = ("it is the {it} that has to go down", "would you press the {it}", "hit the {it}")
NOT_TRAIN = ("do not press the {it}", "leave the {it} alone", "never push the {it}")
NOT_HELD_OUT = ("hands off the {it}", "by no means press the {it}")


def _command(colour: str) -> Command:
    its = (f"{colour} button", f"{colour} one", f"{colour} key")
    train = filled(TRAIN, it=its)
    return Command(train[0], train[1:], filled(HELD_OUT, it=its))


COMMANDS = tuple(map(_command, COLOURS))
_BUTTONS = tuple(f"{colour} button" for colour in COLOURS)
NOT_COMMANDS_TRAIN = (*filled(NOT_TRAIN, it=_BUTTONS), "press the purple button", "wait", "hello")
NOT_COMMANDS_HELD_OUT = (*filled(NOT_HELD_OUT, it=_BUTTONS), "press the pink button", "go home")

TASK = "press_button"
INSTRUCTIONS = tuple(command.plain for command in COMMANDS)
PLACES: dict[str, Zone] = {}  # zones that the task's configuration has to agree with
HOME = (0.40, 0.0, 0.30)  # [m]

TOP = 0.055  # of a button that is up [m]
TRAVEL, CLICK, UP_AGAIN = 0.012, 0.007, 0.002  # to its stop; where it switches; and is up again [m]
_RADIUS, _HALF = 0.024, 0.010  # of a button [m]

Count = Annotated[int, Meta(ge=1, le=3)]


class Config(Struct, frozen=True):
    """The keys of `scene_config`."""

    lines_min: Count = 2
    lines_max: Count = 2
    stiffness: Annotated[float, Meta(gt=100.0, le=5000.0)] = 1200.0  # of a button [N/m]
    phrasing: Split = "plain"
    instruction: Annotated[str, Meta(min_length=1)] | None = None  # free text, an order of one line
    noise: Annotated[float, Meta(ge=0.0, le=10.0)] = 1.0  # factor on the noise of force and joints
    rates: Rates = Rates()  # how good the station's sensors are


@dataclass
class Panel:
    """The buttons, which stand at `places` x, y [m] by their colours. `due`: the colour of each
    line, None where nobody can tell."""

    places: dict[str, tuple[float, float]]
    due: tuple[str | None, ...]
    order: SimOrder
    lit: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    _line: int = 0
    _before: set[str] = field(default_factory=set)  # the lamps that were on when it became due

    def step(self, model, data, t_s):
        """After every control tick: what the buttons do, and what the station is to notice."""
        for colour in self.places:
            travel = float(data.joint(colour).qpos[0])
            if travel > CLICK and colour not in self.down:
                self.down.add(colour)
                self.lit ^= {colour}
                model.geom(colour).rgba[:3] *= 1.6 if colour in self.lit else 1 / 1.6  # it glows
            elif travel < UP_AGAIN:
                self.down.discard(colour)
        due = self.due[: self._line + 1]
        agrees = None if None in due else self.lit == set(due)
        self.order.sense(
            t_s,
            placed=bool(self.lit - self._before),
            weight_ok=agrees,
            scanned=False,
        )
        if self.order.line != self._line:
            self._line, self._before = self.order.line, set(self.lit)

    def outcome(self, model, data):
        """The audit: the lamps of all lines are on, and no others."""
        return None if None in self.due else self.lit == set(self.due)


def build(cfg, rng):
    """The scene of one episode; all that is random comes from `rng`."""
    colours = [str(c) for c in rng.permutation(list(COLOURS))]
    places = {
        c: (0.45 + float(rng.uniform(-0.06, 0.06)), y + float(rng.uniform(-0.03, 0.03)))
        for c, y in zip(colours, (0.16, 0.0, -0.16), strict=True)
    }
    if cfg.instruction is None:
        lines = int(rng.integers(cfg.lines_min, max(cfg.lines_min, cfg.lines_max) + 1))
        due = tuple(str(c) for c in rng.permutation(colours)[:lines])
        said = [COMMANDS[list(COLOURS).index(c)] for c in due]
        asked = [Line(command, command.say(cfg.phrasing, rng)) for command in said]
    else:
        command = meant(cfg.instruction, COMMANDS)
        due = (None if command is None else list(COLOURS)[COMMANDS.index(command)],)
        asked = [Line(command or Command(cfg.instruction), cfg.instruction)]
    order = SimOrder(asked, cfg.rates, rng.spawn(1)[0])
    panel = Panel(places, due, order)
    xml = (
        '<geom class="fixture" type="box" size="0.13 0.24 0.01" pos="0.45 0 0.01"'
        ' rgba="0.45 0.47 0.5 1"/>'
    )
    xml += "".join(_button(cfg, colour, *at) for colour, at in places.items())
    truth = {"panel": panel}  # for the expert, and for nothing that runs on a robot
    return Scene(xml, asked[0].text, panel.outcome, truth, panel.step, order)


def _button(cfg, colour, x, y):
    return f"""
<body name="{colour}" pos="{x:.4f} {y:.4f} {TOP - _HALF}">
 <joint name="{colour}" type="slide" axis="0 0 -1" range="0 {TRAVEL}" stiffness="{cfg.stiffness}"
  damping="12" armature=".05"/>
 <geom name="{colour}" type="cylinder" size="{_RADIUS} {_HALF}" mass=".02"
  rgba="{COLOURS[colour]} 1"/>
</body>"""
