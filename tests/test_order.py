"""Orders at a simulated station: what its sensors confirm, and when it closes a line."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from msgspec import structs

from headway.drivers.sim.order import Line, Rates, SimOrder, Step
from headway.drivers.sim.phrases import Command

SURE = Rates(
    place_miss=0.0, place_false=0.0, barcode_miss=0.0, barcode_false=0.0, scale_miss=0.0,
    scale_false=0.0,
)  # fmt: skip
DT = 0.008


def changed(**rates) -> Rates:
    return structs.replace(SURE, **rates)


def lines(n: int, then: tuple[Step, ...] = ()) -> list[Line]:
    return [Line(Command(f"do {i}"), f"do {i}", then) for i in range(n)]


class Bench:
    """An order that is told the same truth for a while."""

    def __init__(
        self, made: list[Line], rates: Rates, seed: int = 0, dt: float = DT, scale: bool = True
    ) -> None:
        self.order = SimOrder(made, rates, np.random.default_rng(seed), scale=scale)
        self.t, self.dt = 0.0, dt

    def hold(self, seconds: float, placed=False, weight_ok: bool | None = False, scanned=False):
        """All states that the station told, one per tick."""
        told = []
        for _ in range(round(seconds / self.dt)):
            self.order.sense(self.t, placed=placed, weight_ok=weight_ok, scanned=scanned)
            told.append(self.order.state)
            self.t += self.dt
        return told


def test_an_order_hands_out_its_lines_one_after_the_other():
    bench = Bench(lines(2), SURE)
    assert bench.order.state.instruction == "do 0"
    assert {s.line for s in bench.hold(1.0)} == {0}
    told = bench.hold(0.8, placed=True, weight_ok=True)
    assert (told[0].line, told[-1].line, told[-1].instruction) == (0, 1, "do 1")
    assert any(s.place == 1.0 for s in told)
    assert any(s.scale == 1.0 and s.line == 1 for s in told)  # the confirm outlasts the line
    bench.hold(2.0)
    last = bench.hold(1.0, placed=True, weight_ok=True)[-1]
    assert (last.line, last.lines, last.instruction) == (2, 2, "")


def test_without_a_scale_the_place_sensor_closes_a_line_after_the_time_of_grace():
    bench = Bench(lines(1), SURE, scale=False)
    told = bench.hold(3.0, placed=True, weight_ok=None)
    fired = next(i for i, s in enumerate(told) if s.place == 1.0)
    closed = next(i for i, s in enumerate(told) if s.line == 1)
    assert (closed - fired) * DT == pytest.approx(SURE.grace_s, abs=2 * DT)
    assert all(np.isnan(s.scale) for s in told)


def test_a_weight_at_a_station_without_a_scale_is_refused():
    with pytest.raises(ValueError, match="scale=True"):
        Bench(lines(1), SURE, scale=False).hold(DT, weight_ok=True)


def test_a_scale_is_silent_where_nobody_can_tell_what_it_should_find():
    bench = Bench(lines(1), SURE)
    for i in range(round(3.0 / DT)):
        bench.order.sense(i * DT, placed=True, weight_ok=None, scanned=False)
        assert bench.order.state.scale == 0.0
    assert bench.order.state.line == 1


def test_another_weight_keeps_the_line_open_until_the_load_is_right():
    bench = Bench(lines(1), SURE)
    told = bench.hold(6.0, placed=True)
    assert told[-1].line == 0
    assert told[-1].mismatch
    assert not bench.hold(0.5)[-1].mismatch  # taken out again
    assert bench.hold(1.0, placed=True, weight_ok=True)[-1].line == 1


def test_a_weighing_that_gives_no_verdict_is_made_again():
    bench = Bench(lines(1), changed(scale_miss=1.0, place_miss=1.0))
    assert bench.hold(8.0, placed=True, weight_ok=True)[-1].line == 0
    closed = 0
    for seed in range(40):
        bench = Bench(lines(1), changed(scale_miss=0.5, place_miss=1.0), seed)
        bench.hold(0.6, placed=True, weight_ok=True)
        first = bench.order.line
        closed += bench.hold(20.0, placed=True, weight_ok=True)[-1].line > first
    assert 10 <= closed <= 30  # half of them are late


def test_a_false_alarm_of_the_place_sensor_is_vetoed_by_the_scale():
    often = changed(place_false=60.0)
    assert Bench(lines(1), often).hold(20.0)[-1].line == 0
    assert Bench(lines(1), often).hold(20.0, weight_ok=None)[-1].line == 1  # nothing to veto it


def test_misses_and_false_alarms_come_at_their_rates():
    seen = sum(
        any(s.place == 1.0 for s in Bench(lines(1), changed(place_miss=0.3), i).hold(0.4, True))
        for i in range(400)
    )
    assert seen / 400 == pytest.approx(0.7, abs=0.07)
    wrong = sum(
        Bench(lines(1), changed(scale_false=0.2, place_miss=1.0), i).hold(1.0, True)[-1].line
        for i in range(400)
    )
    assert wrong / 400 == pytest.approx(0.2, abs=0.06)
    alarms = 0
    for i in range(20):
        told = Bench(lines(1), changed(place_false=6.0, hold_s=0.01), i, dt=0.02).hold(60.0)
        alarms += sum(s.place > 0 and not b.place > 0 for b, s in itertools.pairwise(told))
    assert alarms / 20 == pytest.approx(6.0, abs=1.5)


@pytest.mark.parametrize("dt", [0.002, 0.008, 0.02])
def test_what_is_missed_does_not_depend_on_the_rate_of_ticks(dt):
    rates = Rates()
    bench = Bench(lines(3), rates, seed=4, dt=dt)
    for _ in range(3):
        bench.hold(1.0)
        bench.hold(2.0, placed=True, weight_ok=True)
    usual = Bench(lines(3), rates, seed=4)
    for _ in range(3):
        usual.hold(1.0)
        usual.hold(2.0, placed=True, weight_ok=True)
    assert bench.order.line == usual.order.line


def test_a_line_of_several_steps_goes_on_once_the_barcode_is_read():
    step = Step(Command("put it away"), "put it away")
    bench = Bench(lines(1, (step,)), SURE)
    assert bench.hold(2.0, placed=True, weight_ok=True)[-1].line == 0  # was not scanned
    told = bench.hold(0.5, scanned=True)
    assert any(s.barcode == 1.0 for s in told)
    assert told[-1].instruction == "put it away"
    assert bench.hold(1.0, placed=True, weight_ok=True)[-1].line == 1


def test_a_state_stays_the_same_object_while_nothing_changes():
    told = Bench(lines(1), SURE).hold(1.0)
    assert all(s is told[0] for s in told)
