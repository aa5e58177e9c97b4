"""The workflow shoebox: an expert that recovers, and what the camera at the wrist sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from msgspec import structs

pytest.importorskip("mujoco", reason="workflows run in the simulated cell")

from workflow_rig import episode, settings_of

from headway.clock import NS, VirtualClock
from headway.drivers import Context, open_device
from headway.drivers.sim.cell import Cell, CellConfig
from headway.drivers.sim.lidded_box import OPEN
from headway.drivers.sim.scenes.shoebox import HOME
from headway.edge.control.events import EventKind
from headway.edge.control.tasks.shoebox import Phase
from headway.errors import ConfigError
from headway.learn.experts.shoebox import Expert, connect
from headway.types import Observation, Pose

SEED = 3_000_002
SURE = {"place_miss": 0.0, "place_false": 0.0, "scale_miss": 0.0, "scale_false": 0.0}
ONE = {"lines_min": 1, "lines_max": 1, "boxes_min": 3, "boxes_max": 3, "rates": SURE}


def settings(limit_s=None, **scene):
    """The workflow without its camera, which the expert does not look at."""
    return structs.replace(settings_of("shoebox", limit_s, **scene), camera=[])


def due(cell) -> int:
    return cell.scene.truth["boxes"].due[0]


def hand_that_opens_another_box():
    done: list[int] = []

    def hand(cell, t_s):
        if t_s > 1.0 and not done:
            i = next(i for i in range(3) if i != due(cell))
            cell.data.eq_active[cell.model.equality(f"latch{i}").id] = 0
            cell.data.joint(f"lid{i}").qpos[0] = 2.0
            done.append(i)

    return hand


def hand_that_greases_the_fin():
    slips: list[float] = []

    def hand(cell, t_s):
        friction = cell.model.geom(f"fin{due(cell)}").friction
        if not slips and cell.scene.truth["boxes"].latches[due(cell)].angle > 0.5:
            slips.append(t_s)
            friction[0] = 0.001
        elif slips and t_s > slips[0] + 1.0:
            friction[0] = 0.5

    return hand


def hand_that_jams_the_latch(cell, t_s):
    if t_s < 4.0:
        cell.scene.truth["boxes"].latches[due(cell)]._jammed_until = 4.0


def hand_that_holds_the_lid_down():
    """Until the latch has caught again."""

    def hand(cell, t_s):
        lid = cell.data.joint(f"lid{due(cell)}")
        lid.qfrc_applied[0] = -5.0 if t_s < 13.0 else 0.0

    return hand


@pytest.mark.parametrize(
    ("hand", "happens"),
    [
        (None, []),
        (hand_that_opens_another_box(), [EventKind.RELEASED_ELSEWHERE]),
        (hand_that_greases_the_fin(), [EventKind.ITEM_LOST]),
        (hand_that_jams_the_latch, []),
        (hand_that_holds_the_lid_down(), [EventKind.ITEM_LOST]),
    ],
    ids=["nothing", "another box", "greased", "jammed", "held down"],
)
def test_the_expert_opens_a_box_whatever_happens(hand, happens):
    result, log, station = episode(settings(**ONE), SEED, hand)
    assert (result.success, result.end) == (True, "done")
    assert result.peak_force < 60.0
    seen = [e.kind for e in log.events]
    for kind in happens:
        assert kind in seen
    assert (result.retries > 0) == bool(happens)
    angles = [latch.angle for latch in station.world.scene.truth["boxes"].latches]
    assert [angle > OPEN for angle in angles] == [i == due(station.world) for i in range(3)]
    phases = [int(row["phase"]) for row in log.rows]
    assert {Phase.APPROACH, Phase.PRESS, Phase.REACH, Phase.GRIP, Phase.LIFT} <= {*phases}


def test_the_expert_is_a_function_of_its_seed_and_presses_a_wrong_pad_where_it_is_disturbed():
    first, again = (episode(settings(limit_s=3.0, **ONE), SEED)[1] for _ in range(2))
    assert np.array_equal(np.array(first.rows)["q_ref"], np.array(again.rows)["q_ref"])
    assert not any(e.kind is EventKind.PRESSED_IN_VAIN for e in first.events)

    def marks(cell, expert):
        """What a decision at home says of itself, and whether it is the wrong pad's."""
        pose = Pose(np.array(HOME), np.array([0.0, 1.0, 0.0, 0.0]))
        state = dict.fromkeys(Expert.state_names, 0.0) | {"gripper.width_ref": 0.085}
        values = np.array([*state.values()], np.float32)
        chunk = expert.infer(Observation(0, {}, values, "", np.zeros(6), pose, ()))
        return chunk.meta["demonstration"], expert._wrong_side or expert.bad_look

    cell = Cell(CellConfig(scene="shoebox", scene_config=ONE), VirtualClock(1))
    found = set()
    for seed in range(8):
        cell.reset(seed)
        demonstration, wrong = marks(cell, connect(cell, disturb=1e-9))
        assert demonstration == float(not wrong)
        found.add(wrong)
        assert marks(cell, connect(cell)) == (1.0, False)
    assert found == {True, False}


def test_the_expert_holds_still_for_what_nobody_can_open():
    result, log, _ = episode(settings(limit_s=2.0, instruction="open the pink box"), SEED)
    assert result.success is None
    moved = np.ptp(np.array(log.rows)["tcp"][:, :3], axis=0)
    assert moved.max() < 0.005


def test_the_expert_wants_its_scene():
    with pytest.raises(ConfigError, match="with the scene shoebox, found the scene pick_place"):
        connect(Cell(CellConfig(), VirtualClock(1)))


@pytest.mark.parametrize("boxes", [2, 3])
def test_the_camera_at_the_wrist_sees_the_mark_of_every_box_from_home(boxes):
    clock = VirtualClock(1)
    options = {"boxes_min": boxes, "boxes_max": boxes}
    cell = Cell(CellConfig(scene="shoebox", scene_config=options), clock)
    camera = open_device("cameras", "sim", {}, Context(clock, {"sim": cell}))
    camera.open(5.0)
    try:
        for seed in range(10):
            cell.reset(seed)
            clock.sleep_until(clock.now() + NS // 10)
            frame = camera.read(1.0).value
            r, g, b = (frame.rgb[..., i].astype(int) for i in range(3))
            mark = (r > 170) & (b > 120) & (g < 130) & (r - g > 90)
            latches = cell.scene.truth["boxes"].latches
            hits = _seen(cell, frame, [_mark(cell, latch) for latch in latches], mark)
            assert min(hits) >= 4, (seed, hits)
    finally:
        camera.close()


def _mark(cell, latch):
    """The marked pad's upper face (3,) [m], base frame."""
    body = cell.data.body(f"box{latch.i}")
    at = np.array(latch.box.ledge(latch.box.side))
    return body.xmat.reshape(3, 3) @ at + body.xpos


def _seen(cell, frame, points, mark):
    """How many marked pixels are near each of the points (3,) [m]."""
    eye = cell.data.camera("wrist")
    R, p = eye.xmat.reshape(3, 3), eye.xpos
    rows, columns = np.nonzero(mark)
    counts = []
    for point in points:
        x, y, z = R.T @ (point - p)  # the camera looks along -z, y is up
        u = frame.intrinsics[0, 2] + frame.intrinsics[0, 0] * x / -z
        v = frame.intrinsics[1, 2] - frame.intrinsics[1, 1] * y / -z
        counts.append(sum(math.hypot(c - u, r - v) < 6 for r, c in zip(rows, columns, strict=True)))
    return counts
