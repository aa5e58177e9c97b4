"""What a station says reaches the task, the telemetry, PRO's features and the events."""

from __future__ import annotations

import math

import numpy as np
import pytest
from loop_rig import Policy, Rig
from msgspec import structs
from null_robot import null_table

from headway import config
from headway.clock import VirtualClock
from headway.drivers import Context, open_device
from headway.edge.control import fits
from headway.edge.control.events import EventKind
from headway.edge.control.log import NullLog
from headway.edge.control.orders import OrderWatch
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.control.tasks import Sensed, TaskAbout
from headway.edge.control.tasks._cells import Zone
from headway.edge.control.tasks.pick_place import Config, Phase, make
from headway.errors import ConfigError, DeviceError
from headway.mcaplog import open_recording
from headway.types import ArmState, GripperState, OrderState, Pose

ASKED = "put the red item in the tote"
CONFIRMS = ("place_confirm", "barcode", "scale_match")


def with_station(**station) -> dict:
    table = null_table(station={"kind": "null", "instruction": ASKED, **station})
    del table["instruction"]
    return table


class TestRun:
    def test_a_station_gives_the_instruction_and_its_confirms_are_recorded(self, tmp_path):
        rig = Rig(with_station(), Policy())
        rig.run(tmp_path / "run.mcap")
        recording = open_recording(tmp_path / "run.mcap")
        assert recording.metadata["instruction"] == ASKED
        rows = recording.rows("/telemetry")
        for name in (*CONFIRMS, "operator"):
            assert (rows[name] == 0.0).all(), name

    def test_without_one_nothing_is_known_of_an_order(self, tmp_path):
        rig = Rig(null_table(), Policy())
        assert rig.station.orders is None
        rig.run(tmp_path / "run.mcap")
        rows = open_recording(tmp_path / "run.mcap").rows("/telemetry")
        for name in (*CONFIRMS, "operator"):
            assert np.isnan(rows[name]).all(), name

    def test_a_station_that_falls_silent_is_not_known_any_more(self, tmp_path):
        rig = Rig(with_station(), Policy())
        device = rig.station.orders.source
        usual, read = device.read, [0]

        def fails(timeout_s):
            read[0] += 1
            if read[0] > 20:
                raise DeviceError("the cable is out")
            return usual(timeout_s)

        device.read = fails
        rig.run(tmp_path / "run.mcap")
        rows = open_recording(tmp_path / "run.mcap").rows("/telemetry")
        known = np.isfinite(rows["place_confirm"])
        assert known[0]
        assert not known[-1]
        silent = int(np.argmin(known))
        assert not known[silent:].any()
        assert rows["t_ns"][silent] - rows["t_ns"][0] > 0.5e9  # loop.station_max_age_s

    def test_pro_is_told_that_the_station_is_there(self):
        for table, there in ((with_station(), True), (null_table(), False)):
            settings = config.decode(table, Settings, "test")
            with Station(settings, VirtualClock(1)) as station:
                gives = fits.given(station, "open_ended", ()).gives
            assert ("station" in gives) is there


class TestEvents:
    def told(self, *states: OrderState | None) -> list[tuple[EventKind, str, str, float]]:
        log = NullLog()
        watch = OrderWatch(log)
        for t, state in enumerate(states):
            watch.step(state, t)
        return [(e.kind, e.subject, e.text, e.numbers["line"]) for e in log.events]

    def test_lines_begin_and_close(self):
        first = OrderState(0, 2, "a", 0.0, 0.0, 0.0)
        second, done = due(first, 1, "b"), due(first, 2, "")
        assert self.told(first, first, None, second, done) == [
            (EventKind.LINE_BEGUN, "", "a", 0.0),
            (EventKind.LINE_CLOSED, "", "line 1 of 2 is closed", 0.0),
            (EventKind.LINE_BEGUN, "", "b", 1.0),
            (EventKind.LINE_CLOSED, "", "line 2 of 2 is closed", 1.0),
        ]

    def test_a_confirm_is_one_event_and_belongs_to_the_line_that_was_due(self):
        idle = OrderState(0, 1, "a", 0.0, 0.0, 0.0)
        placed = OrderState(0, 1, "a", 1.0, 0.0, 0.0)
        closed = OrderState(1, 1, "", 1.0, 0.0, 1.0)
        told = self.told(idle, placed, placed, closed)[1:]
        assert [(kind, subject, line) for kind, subject, _, line in told] == [
            (EventKind.CONFIRM, "place", 0.0),
            (EventKind.CONFIRM, "scale", 0.0),
            (EventKind.LINE_CLOSED, "", 0.0),
        ]

    def test_a_mismatch_and_a_barcode_are_confirms_too(self):
        idle = OrderState(0, 1, "a", 0.0, 0.0, 0.0)
        wrong = OrderState(0, 1, "a", 0.0, 1.0, 0.0, mismatch=True)
        assert [subject for _, subject, _, _ in self.told(idle, wrong, idle, wrong)] == [
            "", "barcode", "scale mismatch", "barcode", "scale mismatch",
        ]  # fmt: skip


def due(state: OrderState, line: int, instruction: str) -> OrderState:
    return OrderState(line, state.lines, instruction, state.place, state.barcode, state.scale)


class TestPickPlace:
    """The task over several lines."""

    def setup_method(self):
        self.events: list[EventKind] = []
        zones = Zone((0.45, -0.17), (0.15, 0.13)), Zone((0.45, 0.20), (0.11, 0.11))
        about = TaskAbout(0, (), None, 0.085, lambda kind, *_: self.events.append(kind))
        self.task = make(Config(source=zones[0], target=zones[1]), about)

    def step(self, y: float, z: float, width: float, order: OrderState | None, seconds=0.5):
        pose = Pose(np.array([0.45, y, z]), np.array([0.0, 1.0, 0.0, 0.0]))
        still = np.zeros(6)
        state = ArmState(still, still, still, pose, still)
        grip = GripperState(width, 0.0 if width < 0.05 else 0.085, 0.0)
        for _ in range(round(seconds / 0.008)):
            sensed = Sensed(0, 0.008, 0.0, state, None, grip)
            self.task.step(structs.replace(sensed, order=order))
        return self.task.phase

    def place_one(self, order: OrderState) -> None:
        self.step(-0.17, 0.05, 0.03, order)
        self.step(0.2, 0.3, 0.03, order)
        assert self.step(0.2, 0.1, 0.085, order) == Phase.RETREAT

    def test_after_a_closed_line_it_approaches_the_next_item(self):
        first, second = OrderState(0, 2, "a", 0.0, 0.0, 0.0), OrderState(1, 2, "b", 1.0, 0.0, 1.0)
        assert self.step(-0.17, 0.3, 0.085, first) == Phase.APPROACH
        assert self.task.instruction == "a"
        self.place_one(first)
        assert self.step(0.2, 0.3, 0.085, first) == Phase.APPROACH  # the station has not closed it
        assert not self.task.done
        self.place_one(first)
        assert self.step(0.2, 0.1, 0.085, second) == Phase.APPROACH
        assert self.task.instruction == "b"
        self.place_one(second)
        self.step(0.2, 0.1, 0.085, OrderState(2, 2, "", 1.0, 0.0, 1.0))
        assert self.task.done
        assert self.task.instruction == "b"
        assert self.events.count(EventKind.TASK_DONE) == 1
        assert self.task.retries == 0

    def test_a_weight_that_is_wrong_is_a_retry_counted_once(self):
        first = OrderState(0, 1, "a", 0.0, 0.0, 0.0)
        wrong = OrderState(0, 1, "a", 0.0, 0.0, 0.0, mismatch=True)
        for order in (first, wrong, wrong, None, wrong, first):
            self.step(-0.17, 0.3, 0.085, order)
        assert self.task.retries == 1

    def test_without_a_station_the_first_placing_is_the_end(self):
        self.step(-0.17, 0.05, 0.03, None)
        self.step(0.2, 0.3, 0.03, None)
        self.step(0.2, 0.1, 0.085, None)
        assert not self.task.done
        self.step(0.2, 0.3, 0.085, None)
        assert self.task.done
        assert self.task.instruction is None


def test_a_station_that_is_not_of_this_world_is_refused():
    with pytest.raises(ConfigError, match="want a"):
        open_device("stations", "sim", {}, Context(VirtualClock(1)))
    pytest.importorskip("mujoco", reason="the simulated station belongs to the cell")
    ctx = Context(VirtualClock(1))
    open_device("worlds", "sim", {"scene": "empty"}, ctx)
    with pytest.raises(ConfigError, match="wants a scene with orders, found the scene empty"):
        open_device("stations", "sim", {}, ctx)


def test_the_state_of_an_order_says_nothing_of_sensors_that_are_not_there():
    state = OrderState(0, 1, "a")
    assert all(math.isnan(x) for x in (state.place, state.barcode, state.scale))
    assert not state.mismatch
