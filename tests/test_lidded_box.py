"""A latched box in the simulated cell: its latch, its pads and its lid behave as described."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the boxes are in the simulated cell")

from headway.clock import VirtualClock
from headway.drivers.sim import lidded_box
from headway.drivers.sim.cell import Cell, CellConfig
from headway.drivers.sim.lidded_box import BROKEN_AWAY, CLICK_TRAVEL, OPEN, SHUT, pad
from headway.drivers.sim.scenes import shoebox

DT = 0.008
SURE = {"place_miss": 0.0, "place_false": 0.0, "scale_miss": 0.0, "scale_false": 0.0}


class Bench:
    """The scene shoebox, with forces on its lids and pads; the robot stays at home."""

    def __init__(self, seed: int = 1, **scene):
        scene = {"boxes_min": 2, "boxes_max": 2, "rates": SURE, **scene}
        self.cell = Cell(CellConfig(scene="shoebox", scene_config=scene), VirtualClock(1))
        self.cell.reset(seed)
        self.boxes = self.cell.scene.truth["boxes"]
        self.t = 0.0

    def latch(self, i=0):
        return self.boxes.latches[i]

    def pad(self, right: bool, i=0) -> str:
        side = self.latch(i).box.side
        return pad(i, side if right else -side)

    def angle(self, i=0) -> float:
        return float(self.cell.data.joint(f"lid{i}").qpos[0])

    def put(self, joint: str, value: float) -> None:
        self.cell.data.joint(joint).qpos[0] = value
        self.cell.data.joint(joint).qvel[0] = 0.0

    def run(self, seconds: float, **forces: float) -> None:
        """`forces`: on joints by name [N or Nm]; they cease afterwards."""
        data, clock = self.cell.data, self.cell.clock
        for name, force in forces.items():
            data.joint(name).qfrc_applied[0] = force
        for _ in range(round(seconds / DT)):
            clock.sleep_until(clock.now() + round(DT * 1e9))
            self.cell.sync()
            self.t += DT
        for name in forces:
            data.joint(name).qfrc_applied[0] = 0.0

    def press(self, right=True, i=0) -> None:
        """Press a pad down with more than it takes, and let go."""
        self.run(0.3, **{self.pad(right, i): 40.0})
        self.run(0.3)


def test_the_latch_holds_the_lid_until_its_pad_is_pressed():
    bench = Bench()
    bench.run(0.5, lid0=2.0)
    assert bench.angle() < SHUT
    bench.press()
    assert bench.latch().clicks == 1
    bench.run(0.8, lid0=1.0)
    assert bench.angle() > OPEN
    assert bench.angle(1) < SHUT


def test_a_pad_gives_way_at_its_force_and_not_before():
    bench = Bench()
    box, name = bench.latch().box, bench.pad(True)
    for share in (0.3, 0.6, 0.9):  # a push that begins suddenly goes too far at first
        bench.cell.data.joint(name).qfrc_applied[0] = share * box.press
        bench.run(0.2)
    assert bench.latch().clicks == 0
    held = float(bench.cell.data.joint(name).qpos[0])
    assert held == pytest.approx(0.9 * CLICK_TRAVEL, abs=0.0006)
    stiff = bench.cell.model.joint(name).stiffness[0]
    bench.run(0.4, **{name: 1.1 * box.press})
    assert bench.latch().clicks == 1
    assert bench.cell.model.joint(name).stiffness[0] == pytest.approx(
        lidded_box.AFTER_CLICK * stiff
    )
    bench.run(0.3)  # it comes up again, and is as stiff as before
    assert bench.cell.model.joint(name).stiffness[0] == pytest.approx(stiff)
    assert bench.latch().clicks == 1


def test_the_wrong_pad_jams_the_latch_for_a_while():
    bench = Bench(jam_s=2.0)
    bench.press()
    assert bench.latch().released_s(bench.t) > 0.0
    bench.press(right=False)
    latch = bench.latch()
    assert latch.jams == 1
    assert latch.released_s(bench.t) == 0.0
    assert 0.0 < latch.jammed_s(bench.t) < 2.0
    bench.press()  # in vain
    bench.run(0.3, lid0=1.0)
    assert latch.clicks == 1
    assert bench.angle() < SHUT
    bench.run(1.6)
    bench.press()
    assert latch.clicks == 2
    assert latch.released_s(bench.t) > 0.0


def test_a_lid_that_is_not_lifted_in_time_is_caught_again():
    bench = Bench(open_s=2.0)
    bench.press()
    bench.run(2.0)
    bench.run(0.3, lid0=1.0)
    assert bench.angle() < SHUT


def test_a_lid_sticks_and_then_moves_easily():
    bench = Bench(breakaway_min=0.4, breakaway_max=0.4)
    bench.press()
    weight = bench.latch().box
    torque = weight.lid_mass * 9.81 * weight.depth / 2  # of its weight, about the hinge
    bench.run(0.5, lid0=0.3 + torque)
    assert bench.angle() < BROKEN_AWAY
    bench.put("lid0", 0.1)
    bench.run(2.0, lid0=0.1 + 1.2 * torque)
    assert bench.angle() > OPEN


@pytest.mark.parametrize(("angle", "ends"), [(1.2, 0.0), (1.75, lidded_box.LID_STOP)])
def test_a_lid_falls_shut_or_open(angle, ends):
    bench = Bench()
    bench.press()
    bench.put("lid0", angle)
    bench.run(3.0)
    assert bench.angle() == pytest.approx(ends, abs=0.03)


def test_the_place_to_pinch_moves_with_the_fin():
    bench = Bench()
    bench.press()
    box, data = bench.latch().box, bench.cell.data
    for angle in (0.0, 0.7, 1.5):
        bench.put("lid0", angle)
        bench.cell.mujoco.mj_forward(bench.cell.model, data)
        body = data.body("box0")
        at = body.xmat.reshape(3, 3) @ np.array(box.pinch(angle)) + body.xpos
        fin = data.geom("fin0")
        off = fin.xmat.reshape(3, 3).T @ (at - fin.xpos)
        assert np.abs(off)[:2].max() < 2e-4  # in the middle of the fin, but for its height
        assert abs(off[2]) < lidded_box.FIN_HALF[2]
    assert math.dist(box.pinch(0.3), box.pinch(0.3, 0.03)) == pytest.approx(
        0.03 - lidded_box.PINCH_UP
    )


def test_a_box_gives_way_under_a_hard_push_from_above_but_not_under_a_press():
    bench = Bench()
    bench.run(0.3, box0z=-22.0)
    assert float(bench.cell.data.joint("box0z").qpos[0]) > -0.001
    bench.run(0.5, box0z=-45.0)
    assert -0.025 < float(bench.cell.data.joint("box0z").qpos[0]) < -0.01


class TestOrders:
    def test_the_station_sees_lids_that_stand_open_and_the_audit_all_of_them(self):
        bench = Bench(seed=3, boxes_min=3, boxes_max=3, lines_min=2, lines_max=2)
        order, due = bench.boxes.order, bench.boxes.due
        other = next(i for i in range(3) if i not in due)
        assert bench.cell.outcome() is False
        for line, i in enumerate(due):
            assert order.state.line == line
            bench.press(i=i)
            bench.put(f"lid{i}", 1.9)
            bench.run(1.2)
        assert (order.state.line, order.state.instruction) == (2, "")
        assert bench.cell.outcome() is True
        bench.press(i=other)
        bench.put(f"lid{other}", 1.9)
        bench.run(0.1)
        assert bench.cell.outcome() is False

    def test_the_station_objects_to_the_lid_of_another_box(self):
        bench = Bench(seed=3, boxes_min=3, boxes_max=3, lines_min=2, lines_max=2)
        other = next(i for i in range(3) if i not in bench.boxes.due)
        bench.press(i=other)
        bench.put(f"lid{other}", 1.9)
        bench.run(1.2)
        state = bench.boxes.order.state
        assert state.mismatch
        assert state.line == 0

    def test_a_box_that_was_pushed_away_spoils_the_order(self):
        bench = Bench(lines_min=2, lines_max=2)
        for i in bench.boxes.due:
            bench.press(i=i)
            bench.put(f"lid{i}", 1.9)
        bench.run(0.2)
        assert bench.cell.outcome() is True
        bench.put("box0x", 0.079)
        assert bench.cell.outcome() is False

    def test_novel_boxes_have_other_sizes_and_what_is_asked_for_is_there(self):
        def boxes(**scene):
            cfg = shoebox.Config(**scene)
            return [
                shoebox.build(cfg, np.random.default_rng(seed)).truth["boxes"] for seed in range(20)
            ]

        usual = [x.box for made in boxes() for x in made.latches]
        novel = [x.box for made in boxes(novel=True) for x in made.latches]
        for size in ("depth", "height"):
            low, high = min(getattr(b, size) for b in usual), max(getattr(b, size) for b in usual)
            assert not any(low <= getattr(b, size) <= high for b in novel), size
        for made in boxes(instruction="Unlatch the red shoebox and open it."):
            (due,) = made.due
            assert made.named("open the red box") is made.latches[due]
        assert all(made.due == (None,) for made in boxes(instruction="open the pink box"))

    def test_orders_name_each_box_once(self):
        for seed in range(20):
            cfg = shoebox.Config(phrasing="held_out", clutter_items=3)
            made = shoebox.build(cfg, np.random.default_rng(seed)).truth["boxes"]
            assert len({*made.due}) == len(made.due) == len(made.order.lines)
            assert 2 <= len(made.due) <= len(made.latches) <= 3
            for i, line in zip(made.due, made.order.lines, strict=True):
                assert made.named(line.text) is made.latches[i]

    def test_a_range_upside_down_is_refused(self):
        with pytest.raises(Exception, match="press_min wants at most press_max"):
            Bench(press_min=20.0)
