"""The workflow pick_place: orders, what the station says of them, and an expert that recovers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="workflows run in the simulated cell")

from workflow_rig import episode, put, settings_of

from headway.clock import VirtualClock
from headway.drivers.sim.cell import Cell, CellConfig
from headway.drivers.sim.scenes import pick_place
from headway.drivers.sim.scenes.pick_place import BIN, TOTE
from headway.edge.control.events import EventKind
from headway.errors import ConfigError
from headway.kernels import oracle, spec

SURE = {
    "place_miss": 0.0, "place_false": 0.0, "scale_miss": 0.0, "scale_false": 0.0,
    "barcode_false": 0.0,
}  # fmt: skip
TWO = {"lines_min": 2, "lines_max": 2, "rates": SURE}


def cell(**scene) -> Cell:
    return Cell(CellConfig(scene_config=scene), VirtualClock(1))


@pytest.fixture(scope="module")
def order():
    """An order of two lines, done by the expert."""
    return episode(settings_of("pick_place", **TWO), 3_000_001)


def test_the_expert_does_an_order_line_by_line(order):
    result, log, station = order
    assert (result.success, result.end) == (True, "done")
    truth = station.world.scene.truth
    said = [e.text for e in log.of(EventKind.LINE_BEGUN)]
    wanted = [truth["items"][i]["colour"] for i in truth["wanted"]]
    assert said == [f"put the {c} item in the tote" for c in wanted]
    assert [e.numbers for e in log.of(EventKind.LINE_CLOSED)] == [
        {"line": 0.0, "lines": 2.0},
        {"line": 1.0, "lines": 2.0},
    ]
    assert [e.text for e in log.of(EventKind.INSTRUCTION)] == said[1:]  # it began with the first
    assert len(log.of(EventKind.CONFIRM, "place")) == len(log.of(EventKind.CONFIRM, "scale")) == 2
    assert [e.text for e in log.of(EventKind.TASK_DONE)] == ["the order is complete"]


def test_what_the_station_confirms_is_telemetry_that_pro_sees(order):
    _, log, station = order
    rows = np.array(log.rows)
    for name in ("place_confirm", "barcode", "scale_match", "operator"):
        assert set(np.unique(rows[name])) <= {0.0, 1.0}, name
    confirmed = rows["t_ns"][1:][np.diff(rows["scale_match"]) > 0]
    events = [e.t_ns for e in log.of(EventKind.CONFIRM, "scale")]
    assert confirmed.tolist() == events
    features, masks = oracle.batch(rows[:1600], station.scale, 125.0, every=25)
    bit = spec.MASKS.index("station")
    assert (masks[8:, bit] == 1.0).all()
    assert features[:, spec.INDEX["place_confirm"]].max() == 1.0


def test_a_wrong_item_in_the_tote_is_noticed_and_taken_out():
    moved = []

    def hand(world, t_s):
        if t_s > 1.0 and not moved:
            moved.append(world.scene.truth["items"][2]["colour"])
            put(world, "item2", (*TOTE.centre[:2], 0.05))

    result, log, station = episode(settings_of("pick_place", **TWO), 3_000_001, hand)
    assert result.success
    assert log.of(EventKind.CONFIRM, "scale mismatch")
    assert result.retries >= 1
    assert not TOTE.holds(*station.world.data.body("item2").xpos[:2])


@pytest.mark.parametrize("quat", [(1, 0, 0, 0), (0.7071, 0.7071, 0, 0)])
def test_an_item_beside_the_bin_or_on_its_edge_is_picked_up(quat):
    moved = []

    def hand(world, t_s):
        if t_s > 0.5 and not moved:
            moved.append(t_s)
            put(world, "item0", (0.45, 0.0, 0.045), quat)

    result, _, _ = episode(settings_of("pick_place", **TWO), 3_000_001, hand)
    assert moved
    assert result.success


@pytest.mark.parametrize("at", [(0.3, -0.3), (0.62, 0.02), (0.31, 0.02), (0.6, 0.31)])
def test_the_whole_table_within_the_rim_is_in_reach(at):
    moved = []

    def hand(world, t_s):
        if t_s > 0.5 and not moved:
            moved.append(t_s)
            put(world, "item0", (*at, 0.045))

    one = {**TWO, "lines_min": 1, "lines_max": 1}
    result, _, _ = episode(settings_of("pick_place", 20.0, **one), 3_000_001, hand)
    assert moved
    assert result.success


def test_an_item_that_is_lost_over_the_table_is_fetched_again():
    lost = []

    def hand(world, t_s):
        p = world.data.body("item0").xpos
        if not lost and p[2] > 0.15 and p[1] > -0.03:
            lost.append(p[1])
            put(world, "item0", (0.36, -0.01, 0.05))

    result, log, _ = episode(settings_of("pick_place", **TWO), 3_000_001, hand)
    assert lost
    assert result.success
    assert log.of(EventKind.ITEM_LOST)


def test_an_order_has_as_many_lines_as_asked_for_and_the_items_for_them():
    seen = set()
    world = cell(lines_min=2, lines_max=4, items_min=1, items_max=2, clutter_items=3)
    for seed in range(12):
        world.reset(seed)
        order, truth = world.scene.order, world.scene.truth
        seen.add(len(order.lines))
        assert truth["wanted"] == [*range(len(order.lines))]
        colours = [i["colour"] for i in truth["items"]]
        assert colours.count("grey") == 3
        for line, i in zip(order.lines, truth["wanted"], strict=True):
            assert line.text == f"put the {colours[i]} item in the tote"
        for i in range(len(colours)):
            assert BIN.holds(*world.data.body(f"item{i}").xpos[:2])
    assert seen == {2, 3, 4}


def test_the_audit_wants_what_was_ordered_and_nothing_else():
    world = cell(lines_min=2, lines_max=2, items_min=3, items_max=3)
    assert world.outcome() is False
    for i, at in ((0, -0.05), (1, 0.05)):
        put(world, f"item{i}", (TOTE.centre[0] + at, TOTE.centre[1], 0.03))
    world.mujoco.mj_forward(world.model, world.data)
    assert world.outcome() is True
    put(world, "item2", (*TOTE.centre[:2], 0.05))
    world.mujoco.mj_forward(world.model, world.data)
    assert world.outcome() is False


def test_novel_items_are_of_shapes_that_others_are_not():
    usual, novel = cell(), cell(novel=True)
    shapes: list[set[str]] = [set(), set()]
    for seed in range(10):
        for world, found in zip((usual, novel), shapes, strict=True):
            world.reset(seed)
            found |= {i["kind"] for i in world.scene.truth["items"]}
    assert shapes[0] == {"box", "cylinder", "capsule"}
    assert not shapes[0] & shapes[1]


def test_what_rolls_comes_to_rest():
    speeds = []
    for rolling in (0.0, 0.002):
        world = cell(rim=True, rolling=rolling, items_min=1, items_max=1)
        seed = next(s for s in range(20) if kind_of(world, s) == "capsule")
        world.reset(seed)
        put(world, "item0", (0.45, 0.01, world.scene.truth["items"][0]["half_height"] + 0.001))
        body = world.model.body("item0")
        v = int(world.model.jnt_dofadr[int(body.jntadr[0])])
        world.data.qvel[v + 1] = 0.15  # across its axis
        for _ in range(500):
            world.mujoco.mj_step(world.model, world.data)
        speeds.append(float(np.abs(world.data.qvel[v : v + 3]).max()))
    assert speeds[0] > 0.01 > 0.001 > speeds[1]


def kind_of(world, seed):
    world.reset(seed)
    return world.scene.truth["items"][0]["kind"]


class TestFreeText:
    def test_what_a_sentence_means_is_there_and_is_judged(self):
        text = pick_place.COMMANDS[2].held_out[0]
        for seed in range(6):
            world = cell(instruction=f" {text.upper()}.")
            assert world.reset(seed) == f" {text.upper()}."
            assert world.scene.truth["items"][0]["colour"] == "blue"
            assert world.outcome() is False

    def test_of_a_text_that_nobody_wrote_down_nobody_can_tell(self):
        world = cell(instruction="put the purple hat in the tote")
        assert len(world.scene.order.lines) == 1
        assert world.outcome() is None

    def test_it_may_not_be_empty(self):
        with pytest.raises(ConfigError, match="instruction"):
            cell(instruction="")
