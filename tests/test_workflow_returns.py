"""The workflow returns: orders of scanned and sorted items, what the scanner reads, how items are
held, and an expert that recovers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="workflows run in the simulated cell")

from workflow_rig import episode, put, settings_of

from headway.clock import VirtualClock
from headway.drivers.sim.cell import Cell, CellConfig
from headway.drivers.sim.scenes import returns
from headway.drivers.sim.scenes.returns import ARTICLES, BIN, COMMANDS, TOTES, meaning
from headway.edge.control.events import EventKind
from headway.errors import ConfigError
from headway.learn.scripted import nearest

SURE = {
    "place_miss": 0.0, "place_false": 0.0, "scale_miss": 0.0, "scale_false": 0.0,
    "barcode_miss": 0.0, "barcode_false": 0.0, "again_s": 0.8,
}  # fmt: skip
EASY = {
    "rates": SURE, "poor": 0.0, "misread": 0.0,
    "covered_bracket": 0.0, "covered_strap": 0.0, "covered_bag": 0.0,
}  # fmt: skip
ONE = {**EASY, "lines_min": 1, "lines_max": 1}
SEED = 3_000_000
OTHER = {"blue": "yellow", "yellow": "blue"}


def cell(**scene) -> Cell:
    return Cell(CellConfig(scene="returns", scene_config=scene), VirtualClock(1))


def place(world: Cell, body: str) -> np.ndarray:
    return world.data.body(body).xpos


def drop(world: Cell, body: str, tote: str) -> None:
    put(world, body, (*TOTES[tote].centre[:2], 0.03))


@pytest.fixture(scope="module")
def order():
    """An order of two lines, done by the expert."""
    return episode(settings_of("returns", **{**EASY, "lines_min": 2, "lines_max": 2}), SEED)


def test_the_expert_scans_each_item_and_puts_it_where_the_station_says(order):
    result, log, station = order
    assert (result.success, result.end, result.retries) == (True, "done", 0)
    assert result.seconds < 28.0
    assert result.peak_force < 80.0
    truth = station.world.scene.truth
    colours = [i.colour for i in truth["items"]]
    said = [e.text for e in log.of(EventKind.LINE_BEGUN)]
    assert [meaning(text) for text in said] == [(c, "") for c in colours[:2]]
    then = [meaning(e.text) for e in log.of(EventKind.INSTRUCTION)]
    (_, first), (_, second) = truth["lines"]
    assert then == [(colours[0], first), (colours[1], ""), (colours[1], second)]
    for subject in ("barcode", "place", "scale"):
        assert len(log.of(EventKind.CONFIRM, subject)) == 2, subject
    assert not log.of(EventKind.GUARD)


def test_an_item_that_is_lost_over_the_table_is_fetched_again():
    lost = []

    def hand(world, t_s):
        p = place(world, "item0")
        if not lost and p[2] > 0.15:
            lost.append(t_s)
            put(world, "item0", (0.36, -0.19, 0.04))

    result, log, _ = episode(settings_of("returns", **ONE), SEED, hand)
    assert lost
    assert result.success
    assert log.of(EventKind.ITEM_LOST)


def test_an_item_in_the_wrong_tote_is_fetched_and_put_into_the_right_one():
    moved = []

    def hand(world, t_s):
        order = world.scene.order
        if not moved and order.step == 1 and place(world, "item0")[2] > 0.15:
            moved.append(t_s)
            drop(world, "item0", OTHER[world.scene.truth["lines"][0][1]])

    result, _, _ = episode(settings_of("returns", **ONE), SEED, hand)
    assert moved
    assert result.success


def test_what_nobody_ordered_is_noticed_and_taken_out_of_the_tote():
    moved = []

    def hand(world, t_s):
        if t_s > 1.0 and not moved:
            moved.append(t_s)
            drop(world, "item2", world.scene.truth["lines"][0][1])

    result, log, station = episode(settings_of("returns", **ONE, items_min=3), SEED, hand)
    assert result.success
    assert log.of(EventKind.CONFIRM, "place")
    assert BIN.holds(*place(station.world, "item2")[:2], -0.02)


def test_what_the_scanner_cannot_see_is_shown_again_and_again():
    hidden = {f"covered_{form}": 1.0 for form in ("bracket", "strap", "bag")}
    result, log, station = episode(settings_of("returns", 14.0, **{**ONE, **hidden}), SEED)
    assert result.success is False
    assert len(log.of(EventKind.NOT_READ)) >= 2
    assert not log.of(EventKind.CONFIRM, "barcode")
    assert station.world.scene.order.step == 0


def test_a_misread_barcode_sends_the_item_to_the_wrong_tote():
    world = cell(**{**ONE, "misread": 1.0})
    world.reset(SEED)
    scene = world.scene
    told = meaning(scene.order.lines[0].then[0].text)
    assert told[1] == OTHER[scene.truth["lines"][0][1]]


def test_a_tote_that_is_named_in_free_text_needs_no_barcode():
    text = "put the red item into the blue tote"
    world = cell(**{**ONE, "misread": 1.0, "instruction": text})
    world.reset(SEED)
    (line,) = world.scene.order.lines
    assert (line.text, line.then) == (text, ())
    assert meaning(line.command.plain) == ("red", "blue")


@pytest.mark.parametrize(("poor", "lost"), [(0.0, False), (1.0, True)])
def test_what_is_hard_to_hold_slips(poor, lost):
    _, log, _ = episode(settings_of("returns", 9.0, **{**ONE, "poor": poor}), SEED)
    assert bool(log.of(EventKind.ITEM_LOST)) == lost


def test_how_an_item_is_held_is_drawn_anew_each_time_that_it_comes_to_rest():
    world = cell(**EASY)
    world.reset(SEED)
    item = world.scene.truth["items"][0].loose
    found = set()
    for i in range(4):
        put(world, item.body, (0.5, -0.05 + 0.03 * i, 0.04))
        for _ in range(80):
            world.clock.sleep_until(world.clock.now() + 8_000_000)
            world.sync()
        found.add(float(world.model.geom(item.geoms[0]).friction[0]))
    assert len(found) == 4


def test_the_audit_wants_every_ordered_item_in_its_tote_and_nothing_else():
    world = cell(lines_min=2, lines_max=2, items_min=3)
    assert world.outcome() is False
    for i, (body, tote) in enumerate(world.scene.truth["lines"]):
        x, y, _ = TOTES[tote].centre
        put(world, body, (x, y + 0.05 - 0.1 * i, 0.02))
    world.mujoco.mj_forward(world.model, world.data)
    assert world.outcome() is True
    drop(world, "item2", "blue")
    world.mujoco.mj_forward(world.model, world.data)
    assert world.outcome() is False


@pytest.mark.parametrize("options", [{}, {"novel": True, "clutter_items": 4}])
def test_items_of_all_forms_lie_still_in_the_bin_and_differ_in_colour(options):
    world, forms = cell(items_min=4, **options), set()
    for seed in range(8):
        world.reset(seed)
        items = world.scene.truth["items"]
        colours = [i.colour for i in items if i.colour]
        assert len(colours) == len(set(colours)) == 4
        assert len(items) == 4 + options.get("clutter_items", 0)
        forms |= {i.loose.form for i in items}
        for item in items:
            x, y, z = place(world, item.loose.body).tolist()
            assert BIN.holds(x, y)
            assert z < 0.06
            assert not item.colour or ARTICLES[item.colour].form == item.loose.form
    assert forms >= {"bracket", "strap", "bag"}


def test_novel_brackets_have_more_arms():
    counts = []
    for novel in (False, True):
        world = cell(items_min=4, novel=novel)
        arms = set()
        for seed in range(8):
            world.reset(seed)
            items = [i.loose for i in world.scene.truth["items"]]
            arms |= {len(i.geoms) for i in items if i.form == "bracket"}
        counts.append(arms)
    assert counts == [{2}, {3}]


class TestFreeText:
    def test_of_a_scan_the_station_says_afterwards_where_the_item_goes(self):
        command = COMMANDS[0]
        world = cell(instruction=command.held_out[0].upper())
        world.reset(4)
        (line,) = world.scene.order.lines
        assert (line.command, line.text) == (command, command.held_out[0].upper())
        assert meaning(line.then[0].text)[1] == world.scene.truth["lines"][0][1]

    def test_of_a_tote_that_one_is_the_right_one(self):
        text = "the blue tote is for the orange strap"
        world = cell(instruction=text)
        for seed in range(4):
            assert world.reset(seed) == text
            (line,) = world.scene.order.lines
            assert not line.then
            assert world.scene.truth["items"][0].colour == "orange"
            assert world.scene.truth["lines"] == [("item0", "blue")]

    def test_the_expert_does_it(self):
        text = "the blue tote is for the orange strap"
        result, _, station = episode(settings_of("returns", **{**EASY, "instruction": text}), 5)
        assert result.success
        assert returns.in_tote(place(station.world, "item0"), "blue")


def test_a_wrist_never_winds_up():
    yaw = 0.0
    for wanted in np.random.default_rng(0).uniform(-20, 20, 200):
        turned = nearest(float(wanted), yaw)
        assert abs(turned) < 2.3
        assert abs(np.sin(turned - wanted)) < 1e-9  # as wanted, or half a turn from it
        assert abs(turned - yaw) < np.pi
        yaw = turned


@pytest.mark.parametrize(
    ("scene", "says"),
    [
        ({"hold_min": 5.0, "hold_max": 2.0}, "hold_min wants at most hold_max"),
        ({"lines_min": 5}, "lines_min"),
        ({"covered_bags": 0.1}, "did you mean `covered_bag`"),
    ],
)
def test_a_scene_that_does_not_fit_is_refused(scene, says):
    with pytest.raises(ConfigError, match=says):
        cell(**scene)
