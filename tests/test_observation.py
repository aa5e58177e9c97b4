"""The numbers of the state vector, each against what a telemetry row says."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from headway import bundle, units
from headway.bundle.schema1 import RENAMED
from headway.drivers.rotations import mat_to_quat, mat_to_rotvec, rotvec_to_mat
from headway.edge.control.tasks import MOST_PHASES
from headway.edge.policy.observation import StateVector, known_names, unit_of
from headway.errors import SpecMismatch
from headway.kernels import telemetry
from headway.learn.state_names import CLONING_STATE
from headway.types import Pose, Signals

ROOT = Path(__file__).resolve().parent.parent
JOINTS = ("shoulder", "elbow", "fr3.wrist")
R = rotvec_to_mat(np.array([0.3, -0.5, 1.1]))
BASE = Pose(np.array([0.5, 0.1, 0.2]), np.array([1.0, 0, 0, 0]))
GOAL = Pose(np.array([0.6, -0.1, 0.05]), mat_to_quat(R.T))
SIGNALS = Signals(0.1, 0.2, 0.3, 0.4, 5.0, -1.0)


def row_of(R=R):
    row = telemetry.empty(3, 1)[0]
    row["q"], row["dq"], row["q_ref"], row["tau_ext"] = np.arange(12.0).reshape(4, 3)
    row["tcp"] = [0.4, -0.2, 0.3, *mat_to_quat(R)]
    row["twist"], row["wrench"] = np.arange(6) / 10, np.arange(6) - 3.0
    row["width"], row["width_ref"], row["grip_force"] = 0.02, 0.0, 12.0
    row["elapsed"], row["retries"], row["recovery"], row["phase"] = 7.5, 2, 1, 3
    row["place_confirm"], row["barcode"], row["scale_match"] = 1, 0, 1
    return row


def filled(names, row=None, stroke=0.08, **beside):
    vector = StateVector(names, JOINTS, stroke)
    out = np.zeros(len(names), np.float32)
    vector.fill(row_of() if row is None else row, out, **{"base": BASE, **beside})
    return out


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("q.elbow", "dq.shoulder", "q_ref.fr3.wrist", "tau.shoulder"), [1, 3, 8, 9]),
        (("tcp.z", "tcp.x", "tcp.y"), [0.3, 0.4, -0.2]),
        (("tcp.qw", "tcp.qx", "tcp.qy", "tcp.qz"), mat_to_quat(R)),
        (("tcp.rx", "tcp.ry", "tcp.rz"), [0.3, -0.5, 1.1]),
        (tuple(f"tcp.r{i}" for i in range(1, 7)), [*R[:, 0], *R[:, 1]]),
        (("tcp.yaw",), [math.atan2(R[1, 0], R[0, 0])]),
        (("tcp.pitch", "tcp.roll"), [-math.asin(R[2, 0]), math.atan2(R[2, 1], R[2, 2])]),
        (("tcp.yaw_sin", "tcp.yaw_cos"), R[1::-1, 0] / math.hypot(R[0, 0], R[1, 0])),
        (("goal.x", "goal.qw", "goal.r6"), [0.6, mat_to_quat(R)[0], R.T[2, 1]]),
        (("goal.rx", "goal.ry", "goal.rz"), mat_to_rotvec(R.T)),
        (("twist.vy", "twist.wz"), [0.1, 0.5]),
        (("lead.x", "lead.y", "lead.z"), [0.1, 0.3, -0.1]),
        (("wrench.fx", "wrench.fz", "wrench.tx", "wrench.tz"), [-3, -1, 0, 2]),
        (("gripper.width", "gripper.width_ref", "gripper.force"), [0.02, 0, 12]),
        (("gripper.closed",), [0.75]),
        (("elapsed", "retried", "retries", "recovering"), [7.5, 2 / 3, 2, 1]),
        (("station.place", "station.barcode", "station.scale"), [1, 0, 1]),
        (tuple(f"phase.{k}" for k in range(MOST_PHASES)), [0, 0, 0, 1, 0, 0, 0, 0]),
        (("pro.progress", "pro.stability", "pro.completion", "pro.risk"), [0.1, 0.2, 0.3, 0.4]),
        (("pro.time_to_go", "tcp.x", "tcp.x"), [5, 0.4, 0.4]),
        ((), []),
    ],
)
def test_each_number_is_what_its_name_says(names, wanted):
    np.testing.assert_allclose(filled(names, goal=GOAL, signals=SIGNALS), wanted, rtol=1e-6)


def test_all_at_once_are_each_by_itself():
    names = tuple(n for n in reversed(known_names(JOINTS)) if n != "gripper.vacuum")
    found = filled(names, goal=GOAL, signals=SIGNALS)
    assert np.isfinite(found).all()
    alone = [filled((n,), goal=GOAL, signals=SIGNALS)[0] for n in names]
    np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("goal.x", {}),
        ("goal.rx", {}),
        ("goal.yaw_sin", {}),
        ("pro.risk", {}),
        ("gripper.closed", {"stroke": None}),
        ("gripper.vacuum", {}),
        ("q.elbow", {"row": telemetry.empty(3, 1)[0]}),
        ("tcp.ry", {"row": telemetry.empty(3, 1)[0]}),
        ("tcp.r3", {"row": telemetry.empty(3, 1)[0]}),
        ("tcp.pitch", {"row": telemetry.empty(3, 1)[0]}),
        ("tcp.yaw_cos", {"row": telemetry.empty(3, 1)[0]}),
        ("retried", {"row": telemetry.empty(3, 1)[0]}),
        ("station.scale", {"row": telemetry.empty(3, 1)[0]}),
        ("phase.0", {"row": telemetry.empty(3, 1)[0]}),
    ],
)
def test_what_is_not_known_is_nan(name, given):
    assert np.isnan(filled((name, "tcp.x"), **given)[0])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tcp.qq", "did you mean `tcp.q"),
        ("q.elbo", "did you mean `q.elbow`?"),
        ("q.foo", "valid: shoulder, elbow, fr3.wrist"),
        ("gripper.widht", "did you mean `gripper.width`?"),
        ("pro.xyzzy", "valid: progress, stability"),
        ("tcp_x", "it is called `tcp.x` now"),
        ("q", "valid: shoulder, elbow"),
        ("elapse", "did you mean `elapsed`?"),
        ("zzzz", "does not know: docs/bundle.md says which there are"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, hint):
    with pytest.raises(SpecMismatch) as e:
        StateVector(("tcp.x", name), JOINTS)
    assert f"`{name}`" in str(e.value)
    assert hint in str(e.value)


def test_joints_are_asked_for_by_name_where_none_are_known():
    with pytest.raises(SpecMismatch, match=r"the name of a joint, as in `dq\.JOINT`"):
        StateVector(("dq.elbow",))


def test_every_name_has_a_unit():
    for name in known_names(JOINTS):
        units.check(unit_of(name))
    assert unit_of("tau.any joint") == "Nm"
    assert (unit_of("goal.rz"), unit_of("goal.y"), unit_of("goal.r1")) == ("rad", "m", "1")
    assert (unit_of("twist.vx"), unit_of("twist.wx")) == ("m/s", "rad/s")
    for name in ("q.", "q", "tau", "tcp", "tcp.q"):
        with pytest.raises(SpecMismatch, match=f"`{name}`"):
            unit_of(name)


def test_old_names_are_known_by_their_new_ones():
    assert set(RENAMED.values()) <= set(known_names())
    assert len(set(RENAMED.values())) == len(RENAMED)


def test_a_tool_that_points_down_has_the_yaw_of_its_x_axis():
    yaw = 0.7
    down = rotvec_to_mat(np.array([0, 0, yaw])) @ np.diag([1.0, -1.0, -1.0])
    found = filled(("tcp.yaw_sin", "tcp.yaw_cos", "tcp.yaw", "tcp.pitch"), row_of(down))
    np.testing.assert_allclose(found, [math.sin(yaw), math.cos(yaw), yaw, 0], atol=1e-6)


def test_the_shipped_policy_sees_what_is_taught():
    about = bundle.load(ROOT / "models" / "pick_place_policy").manifest.policy
    assert about is not None
    assert about.state[0].names == CLONING_STATE
