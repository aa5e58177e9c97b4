"""An order at a simulated station: its lines, and the sensors that confirm what has arrived.

The scene tells `SimOrder` at every tick what is true. The robot is told only what the station's
sensors make of it: with delays, misses and false alarms, whose rates are in `Rates`. By these
confirms alone the station closes a line and hands out the next one, so that it may close a line
whose item never arrived, or wait for an item that is there.

A line closes when the scale agrees, or when the place sensor has fired and for `grace_s` the scale
did not object (there is none, or it gave no verdict).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from headway import config
from headway.drivers.sim.phrases import Command
from headway.types import OrderState

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
PerMinute = Annotated[float, Meta(ge=0.0, le=60.0)]
_SPREAD = 0.3  # by which a delay varies, as a share of it
_MINUTE_S = 60.0


class Rates(config.Struct, frozen=True):
    """How well the station's sensors tell what is true. A sensor that misses looks again after
    `again_s`; delays vary by up to 30 %."""

    place_miss: Probability = 0.05  # of the arrivals, each time that the sensor looks
    place_false: PerMinute = 0.4  # alarms without an arrival
    place_delay_s: config.SecondsOrNone = 0.15
    barcode_miss: Probability = 0.10
    barcode_false: PerMinute = 0.1
    barcode_delay_s: config.SecondsOrNone = 0.10
    scale_miss: Probability = 0.05  # of the weighings, which then give no verdict
    scale_false: Probability = 0.02  # of the weighings of another weight, which agree all the same
    scale_delay_s: config.SecondsOrNone = 0.40  # until the load has settled
    again_s: config.Seconds = 2.0
    hold_s: config.Seconds = 1.0  # for which a confirm stays
    grace_s: config.Seconds = 1.5  # within which the scale may object to what the place sensor saw


@dataclass(frozen=True)
class Step:
    """What the robot is asked next within the same line, once `after` has been confirmed. `text` is
    one of the sentences of `command`."""

    command: Command
    text: str
    after: Literal["barcode"] = "barcode"


@dataclass(frozen=True)
class Line:
    """One line of an order. `text`, one of the sentences of `command`, is what the robot is asked
    first, and then one step of `then` after the other. A line closes in its last step only."""

    command: Command
    text: str
    then: tuple[Step, ...] = ()


class SimOrder:
    """The order of `lines`, at a station whose sensors are as `rates` say. `rng` draws what they
    miss and invent, which depends on what happens and when, not on the rate of ticks. `scale`:
    whether the station has one."""

    def __init__(
        self, lines: Sequence[Line], rates: Rates, rng: np.random.Generator, *, scale: bool = True
    ) -> None:
        self.lines, self.rates, self.scale = tuple(lines), rates, scale
        self.line = 0  # index of the one that is due
        self.step = 0  # of the line: 0 for its `text`, n for the n-th of `then`
        self._place = _Sensor(rates.place_miss, rates.place_false, rates.place_delay_s, rates, rng)
        self._barcode = _Sensor(
            rates.barcode_miss, rates.barcode_false, rates.barcode_delay_s, rates, rng
        )
        self._scale = _Scale(rates, rng)
        # when the place sensor fired for this line, and the scale has not objected
        self._arrived_s: float | None = None
        self._state = OrderState(0, len(self.lines), self._text())
        self._told: tuple[int | bool | None, ...] = ()

    @property
    def state(self) -> OrderState:
        """What the station says now."""
        return self._state

    def sense(
        self, t_s: float, *, placed: bool, weight_ok: bool | None, scanned: bool | None
    ) -> None:
        """Take in what is true at `t_s` [s] since the episode's start, once per control tick.
        `placed`: something has come to rest where the due line's item belongs, since the line is
        due. `weight_ok`: what lies there weighs what it should once the due line is done; None:
        nobody can tell, and the scale is silent. `scanned`: a barcode is where the scanner reads
        it; None: there is no scanner. Raises ValueError for a weight where there is no scale."""
        if weight_ok is not None and not self.scale:
            raise ValueError(
                "wanted weight_ok=None at a station without a scale, found "
                f"{weight_ok}: make the order with scale=True"
            )
        read = self._barcode.step(t_s, bool(scanned))
        saw = self._place.step(t_s, placed)
        agrees = False
        if weight_ok is not None:
            agrees = self._scale.step(t_s, placed, weight_ok, saw)
        if saw:
            self._arrived_s = t_s
        if self._scale.objects:
            self._arrived_s = None
        waited = self._arrived_s is not None and t_s - self._arrived_s >= self.rates.grace_s
        if self.line < len(self.lines):
            if self.step < len(self.lines[self.line].then):
                if read:
                    self.step += 1
                    self._begin()
            elif agrees or waited:
                self.line, self.step = self.line + 1, 0
                self._begin()
        if waited:
            self._arrived_s = None
        self._tell(t_s, scanned is not None)

    def _begin(self) -> None:
        """Look anew, since another line or step is due."""
        self._arrived_s = None
        self._place.again()
        self._scale.again()

    def _text(self) -> str:
        if self.line >= len(self.lines):
            return ""
        line = self.lines[self.line]
        return line.then[self.step - 1].text if self.step else line.text

    def _tell(self, t_s: float, scanner: bool) -> None:
        told = (
            self.line, self.step, t_s < self._place.until_s,
            t_s < self._barcode.until_s if scanner else None,
            t_s < self._scale.until_s if self.scale else None,
            self._scale.objects,
        )  # fmt: skip
        if told == self._told:  # the state is the same object while nothing changes
            return
        self._told = told
        place, barcode, scales = (math.nan if x is None else float(x) for x in told[2:5])
        self._state = OrderState(
            self.line, len(self.lines), self._text(), place, barcode, scales, self._scale.objects
        )


class _Sensor:
    """A sensor that fires once for each arrival: `until_s` is when its confirm ends."""

    def __init__(
        self, miss: float, false: float, delay_s: float, rates: Rates, rng: np.random.Generator
    ) -> None:
        self._miss, self._delay_s, self._rates, self._rng = miss, delay_s, rates, rng
        self._pause_s = _MINUTE_S / false if false > 0 else math.inf  # mean, between false alarms
        self._false_s = self._next(0.0)
        self._due_s: float | None = None  # when it looks at what has arrived
        self._was = False
        self.until_s = -math.inf

    def again(self) -> None:
        """Take what is there for a new arrival."""
        self._was, self._due_s = False, None

    def step(self, t_s: float, there: bool) -> bool:
        """Whether it fires at `t_s` [s]; `there`: whether there is something to see."""
        if there and not self._was:
            self._due_s = t_s + _vary(self._delay_s, self._rng)
        elif not there:
            self._due_s = None
        self._was = there
        fires = False
        if self._due_s is not None and t_s >= self._due_s:
            fires = self._rng.random() >= self._miss
            self._due_s = None if fires else t_s + self._rates.again_s
        if t_s >= self._false_s:
            self._false_s, fires = self._next(t_s), True
        if fires:
            self.until_s = t_s + self._rates.hold_s
        return fires

    def _next(self, t_s: float) -> float:
        return math.inf if math.isinf(self._pause_s) else t_s + self._rng.exponential(self._pause_s)


class _Scale:
    """A scale that weighs when the load has changed, or when the place sensor has fired. `objects`:
    it has found another weight than it should."""

    def __init__(self, rates: Rates, rng: np.random.Generator) -> None:
        self._rates, self._rng = rates, rng
        self._due_s: float | None = None
        self._load = (False, False)
        self._objects_until_s = -math.inf
        self.objects = False
        self.until_s = -math.inf

    def again(self) -> None:
        """Weigh anew what is there."""
        self._load, self._due_s, self.objects = (False, False), None, False

    def step(self, t_s: float, placed: bool, ok: bool, asked: bool) -> bool:
        """Whether it agrees at `t_s` [s]. `placed` and `ok` as in `SimOrder.sense`; `asked`: the
        place sensor has just fired."""
        load = (placed, ok)
        if load != self._load:
            self._load, self.objects = load, False
            self._due_s = t_s + _vary(self._rates.scale_delay_s, self._rng) if placed else None
        elif asked and self._due_s is None and not placed:
            self._due_s = t_s + _vary(self._rates.scale_delay_s, self._rng)
        elif self.objects and not placed and t_s >= self._objects_until_s:
            self.objects = False
        if self._due_s is None or t_s < self._due_s:
            return False
        missed = self._rng.random() < self._rates.scale_miss
        self._due_s = t_s + self._rates.again_s if missed and placed else None
        if missed:
            return False
        if (placed and ok) or self._rng.random() < self._rates.scale_false:
            self.until_s = t_s + self._rates.hold_s
            return True
        self.objects, self._objects_until_s = True, t_s + self._rates.hold_s
        return False


def _vary(delay_s: float, rng: np.random.Generator) -> float:
    return float(delay_s * (1.0 + _SPREAD * rng.uniform(-1.0, 1.0)))
