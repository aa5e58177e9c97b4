"""What a policy's bundle declares is acted on, with numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_policy import GIVEN, Echo, Named, infer, observation
from loop_rig import played, sim_table
from null_robot import HORIZON, STATE, UNITS, make_policy, null_table

from headway import bundle
from headway.edge.motion.chunks import ACTION_NAMES
from headway.edge.policy.kinds.bundle import BundlePolicy
from headway.types import Frame

STEP = 0.003  # [m] along z per action, as declared by the bundles below


def steps(unit: float = 1.0) -> Any:
    """`STEP` more along z with each action, in units of `unit` m."""
    actions = np.zeros((HORIZON, 7), np.float32)
    actions[:, 2] = STEP / unit * np.arange(1, HORIZON + 1)
    return actions


def rise(table: dict[str, Any], policy: Path, path: Path) -> float:
    """How far the TCP rises in an episode of `table` with the policy in the folder [m]."""
    recording = played({**table, "policy": {"bundle": str(policy)}}, path)
    z = recording.rows("/telemetry")["tcp"][:, 2]
    return float(z[-1] - z[0])


MILLIMETRES = ("mm",) * 3 + ("deg",) * 3 + ("closed 0..1",)
HALVES = {"actions": {"mean": (0.0,), "std": (0.5,)}}
OFFSET = {"actions": {"mean": (0.0, 0.0, STEP, 0.0, 0.0, 0.0, 0.0), "std": (1.0,)}}


@pytest.mark.parametrize(
    ("unit", "policy", "tensors", "sign"),
    [
        (1.0, {"frame": "base"}, {}, 1.0),
        (1.0, {"frame": "tcp"}, {}, -1.0),  # its z points down
        (1.0, {"frame": "tcp at the chunk's start"}, {}, -1.0),
        (1.0, {"frame": "tcp commanded at the observation"}, {}, -1.0),
        (0.001, {"frame": "base", "action_units": MILLIMETRES}, {}, 1.0),
        (0.5, {"frame": "base"}, HALVES, 1.0),
    ],
)
def test_the_arm_goes_where_the_bundle_says(tmp_path, unit, policy, tensors, sign):
    made = make_policy(tmp_path / "p", steps(unit), policy=policy, tensors=tensors)
    found = rise(null_table(), made, tmp_path / "e.mcap")
    # 30 mm/s for 1.3 s; the first chunk comes and the smoothed reference follows a little later
    assert sign * found == pytest.approx(0.0345, abs=0.003)


def test_up_in_the_axes_of_the_base_is_up_in_the_cell(tmp_path):
    made = make_policy(tmp_path / "p", steps(), policy={"frame": "base"})
    table = sim_table()
    table["camera"] = [{"kind": "null", "name": "wrist", "width": 16, "height": 16}]
    assert rise(table, made, tmp_path / "e.mcap") == pytest.approx(0.0345, abs=0.004)


def test_an_offset_of_the_answer_is_added(tmp_path):
    made = make_policy(tmp_path / "p", 0 * steps(), tensors=OFFSET)
    np.testing.assert_allclose(infer(made).actions[:, 2], STEP, rtol=1e-6)


@pytest.mark.parametrize(
    ("units", "row", "wanted"),
    [
        (UNITS, [0.1, 0, 0, 0.2, 0, 0, 0.7], [0.1, 0, 0, 0.2, 0, 0, 0.7]),
        (MILLIMETRES, [10, 0, 0, 90, 0, 0, 1], [0.01, 0, 0, math.pi / 2, 0, 0, 1]),
        (("cm", "m", "mm", *UNITS[3:]), [1, 1, 1, 0, 0, 0, 0], [0.01, 1, 0.001, 0, 0, 0, 0]),
        ((*UNITS[:6], "open 0..1"), [0] * 6 + [1.0], [0] * 7),
        ((*UNITS[:6], "closed -1..1"), [0] * 7, [0] * 6 + [0.5]),
    ],
)
def test_units_of_actions(tmp_path, units, row, wanted):
    actions = np.tile(np.float32(row), (HORIZON, 1))
    made = make_policy(tmp_path / "p", actions, policy={"action_units": units})
    np.testing.assert_allclose(infer(made).actions, np.tile(wanted, (HORIZON, 1)), atol=1e-7)


def test_columns_in_another_order(tmp_path):
    names, units = ("grip", *ACTION_NAMES[:6]), (UNITS[6], *UNITS[:6])
    actions = np.tile(np.arange(7, dtype=np.float32), (HORIZON, 1))
    made = make_policy(
        tmp_path / "p", actions, policy={"action_names": names, "action_units": units}
    )
    np.testing.assert_array_equal(infer(made).actions[0], [1, 2, 3, 4, 5, 6, 0])


def test_a_rotation_about_an_axis_of_the_base(tmp_path):
    """A quarter turn about the base's z is one about the minus z of a tool that looks down."""
    actions = np.zeros((HORIZON, 7), np.float32)
    actions[:, 5] = math.pi / 2
    found = infer(make_policy(tmp_path / "p", actions, policy={"frame": "base"})).actions[0]
    np.testing.assert_allclose(found[3:6], [0, 0, -math.pi / 2], atol=1e-6)


def test_what_is_not_finite_stays_so_whatever_the_frame(tmp_path):
    actions = steps()
    actions[2, 0] = np.nan
    found = infer(make_policy(tmp_path / "p", actions, policy={"frame": "base"})).actions
    assert np.isfinite(found).all(axis=1).tolist() == [True, True, False, True, True, True]


@pytest.fixture
def echo(tmp_path):
    return Echo(tmp_path / "echo")


DEPTH = {
    "camera": "wrist", "input": "depth", "height": 2, "width": 2, "channels": 1,
    "encoding": "depth_mm",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "names", "wanted"),
    [
        ({}, STATE, GIVEN),
        ({"mean": (100.0,), "std": (2.0,)}, STATE, [(x - 100) / 2 for x in GIVEN]),
        (
            {"mean": (1.0, 2.0, 3.0, 4.0), "std": (1.0, 2.0, 4.0, 8.0)},
            STATE,
            [-0.6, -0.85, -0.7375, -0.75],
        ),
        ({"unit": "mm"}, ("tcp_x", "tcp_z", "width", "lead_x"), [400, 300, 50, -2000]),
        (
            {"unit": "mm", "mean": (300.0,), "std": (100.0,)},
            ("tcp_x", "tcp_z", "width", "lead_x"),
            [1.0, 0.0, -2.5, -23.0],
        ),
    ],
)
def test_the_state_is_given_in_its_unit_normalised(echo, change, names, wanted):
    found = echo.seen({"state": change}, {"state_names": names})
    np.testing.assert_allclose(found[:4], wanted, rtol=1e-6, atol=1e-6)
    assert found[4] == 1.0  # the instruction's index


def test_images_of_floats_are_normalised(echo):
    per_channel = {"mean": (0.0, 1.0, 2.0), "std": (1.0, 2.0, 4.0)}
    found = echo.seen({"rgb": per_channel}, floats=True)
    np.testing.assert_allclose(found[5:11], [0, 0, 0, 3, 1.5, 0.75])


@pytest.mark.parametrize(("unit", "factor"), [("", 1.0), ("mm", 1.0), ("m", 0.001)])
def test_depth_is_given_in_its_unit(echo, unit, factor):
    depth = np.array([[100, 200], [300, 400]], np.uint16)
    rgb = np.zeros((2, 2, 3), np.uint8)
    obs = observation(images={"wrist": Frame(rgb, depth, np.eye(3))})
    policy = {"images": [DEPTH], "state_names": [], "instructions": []}
    without = ("rgb", "state", "instruction")
    path = echo.make({"depth": {"unit": unit, "dtype": "float32"}}, policy, without=without)
    given = Named(bundle.load(path))
    BundlePolicy(bundle.load(path), given).infer(obs)  # type: ignore[arg-type]
    np.testing.assert_allclose(given.arrays["depth"][0], depth * factor, rtol=1e-6)


def test_images_of_whole_numbers_pass_as_they_are(echo):
    np.testing.assert_array_equal(echo.seen()[5:14], range(9))
