"""From a policy's actions to joint motion: every space makes the motion that it describes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from scipy.linalg import expm
from scipy.spatial.transform import Rotation as Turn

from headway.actions import ROTATIONS, ActionSpace
from headway.drivers.kinematics import Chain, mat_to_quat
from headway.drivers.model import load
from headway.edge.motion import rotation_rows as rot
from headway.edge.motion.actions import Limb, joint_actions, tcp_actions, tcp_path, to_joints
from headway.errors import SpecMismatch
from headway.types import Chunk, Pose

DT_S, DT_NS = 0.1, 100_000_000
HALF = math.pi / 2
UR5E, PANDA = load("ur5e", (0.0, 0.0, 0.185)), load("franka")
CHAINS = {
    5: (Chain(UR5E.chain.steps[:5], UR5E.chain.tool), [0.0, -1.9, 1.9, -1.57, -1.57]),
    6: (UR5E.chain, [0.0, -1.9, 1.9, -1.57, -1.57, 0.0]),
    7: (PANDA.chain, [0.0, -0.8, 0.1, -2.3, 0.0, 1.6, 0.8]),
}
MODES = ("absolute", "chunk", "step", "velocity")


def joints_of(n: int) -> tuple[str, ...]:
    return tuple(f"j{k}" for k in range(n))


def joint_space(n: int, h: int, **changes: Any) -> ActionSpace:
    names = ("grip", *reversed(joints_of(n)), "-")  # in another order than the robot's
    given: dict[str, Any] = {
        "space": "joint",
        "names": names,
        "chunk": h,
        "dt_s": DT_S,
        "hold_s": 0.0,
    }
    return ActionSpace(**(given | changes))


def tcp_space(h: int, rotation: Any = "rotvec", **changes: Any) -> ActionSpace:
    names = ("-", *reversed(ROTATIONS[rotation]), "z", "grip", "x", "y")
    given: dict[str, Any] = {
        "names": names,
        "chunk": h,
        "dt_s": DT_S,
        "hold_s": 0.0,
        "rotation": rotation,
    }
    return ActionSpace(**(given | changes))


TCP = [
    {"mode": mode, "rotation": rotation, "axes": axes}
    for mode, rotation, axes in itertools.product(MODES, ROTATIONS, ("tcp", "base"))
    if (mode != "velocity" or rotation == "rotvec") and (mode != "absolute" or axes == "tcp")
]
NAMES = ["-".join(space.values()) for space in TCP]


def converted(
    values: Any, space: ActionSpace, n: int = 6, base: Pose | None = None, stroke: Any = 0.08
) -> Any:
    chain, home = CHAINS[n]
    start = chain.pose(np.array(home)) if base is None else base
    chunk = Chunk(5, DT_NS, np.asarray(values), start)
    return to_joints(chunk, space, Limb(chain, joints_of(n), stroke), np.array(home))


def rows_of(width: int, most: float, longest: int = 60) -> Any:
    return st.integers(1, longest).flatmap(
        lambda h: hnp.arrays(np.float64, (h, width), elements=st.floats(-most, most))
    )


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data(), n=st.sampled_from([5, 6, 7]))
def test_joint_actions_make_the_motion_that_they_were_made_of(mode: Any, data: Any, n: int) -> None:
    way = data.draw(rows_of(n, 3.0))
    q = np.array(CHAINS[n][1]) + np.concatenate([np.zeros((1, n)), way])
    space = joint_space(n, len(way), mode=mode)
    made = converted(joint_actions(q, space, joints_of(n)), space, n)
    np.testing.assert_allclose(made.q, q, atol=1e-9)
    assert (made.t0_ns, made.dt_ns, made.residual) == (5, DT_NS, 0.0)


def poses(moves: Any) -> tuple[Any, Any]:
    """Any poses, the first of which is where the chunk starts."""
    return Turn.from_rotvec(moves[:, 3:]).as_matrix(), moves[:, :3]


@pytest.mark.parametrize("kind", TCP, ids=NAMES)
@given(moves=rows_of(6, 1.5).filter(lambda m: len(m) > 1))
@examples(30)
def test_tcp_actions_make_the_poses_that_they_were_made_of(kind: Any, moves: Any) -> None:
    R, p = poses(moves)
    space = tcp_space(len(moves) - 1, **kind)
    values = tcp_actions(R, p, space)
    path = tcp_path(values, space, Pose(p[0], mat_to_quat(R[0])), DT_S)
    np.testing.assert_allclose(path.p + path.rows[:, :3] @ path.R.T, p[1:], atol=1e-9)
    turned = path.R @ Turn.from_rotvec(path.rows[:, 3:]).as_matrix()
    np.testing.assert_allclose(turned, R[1:], atol=1e-7)  # near a half turn, angles lose digits


@pytest.mark.parametrize("kind", TCP, ids=NAMES)
@given(data=st.data(), n=st.sampled_from([5, 6, 7]))
@examples(8)
def test_tcp_actions_of_a_joint_motion_move_the_tcp_the_same_way(
    kind: Any, data: Any, n: int
) -> None:
    chain, home = CHAINS[n]
    steps = data.draw(rows_of(n, 0.02, 20))
    q = np.array(home) + np.concatenate([np.zeros((1, n)), steps.cumsum(axis=0)])
    R, p = map(np.array, zip(*map(chain.fk, q), strict=True))
    space = tcp_space(len(steps), **kind)
    made = converted(tcp_actions(R, p, space).astype(np.float32), space, n)
    assert made.residual < 1e-4
    np.testing.assert_array_equal(made.q[0], home)
    for k, one in enumerate(made.q):
        found_R, found_p = chain.fk(one)
        np.testing.assert_allclose(found_p, p[k], atol=2e-4)
        np.testing.assert_allclose(found_R, R[k], atol=2e-4)


def transforms(path: Any) -> Any:
    out = np.tile(np.eye(4), (len(path.rows), 1, 1))
    out[:, :3, :3] = path.R @ Turn.from_rotvec(path.rows[:, 3:]).as_matrix()
    out[:, :3, 3] = path.p + path.rows[:, :3] @ path.R.T
    return out


def transform(turn: Any, move: Any) -> Any:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = Turn.from_rotvec(turn).as_matrix(), move
    return out


@given(moves=rows_of(6, 1.5, 12).filter(lambda m: len(m) > 1))
@examples(30)
def test_steps_and_twists_compose_as_the_docstring_says(moves: Any) -> None:
    start, rows = transform(moves[0, 3:], moves[0, :3]), moves[1:]
    base = Pose(start[:3, 3], mat_to_quat(start[:3, :3]))
    plain: dict[str, Any] = {"names": ("x", "y", "z", "rx", "ry", "rz"), "chunk": len(rows)}
    twist = np.zeros((4, 4))
    for mode, axes in itertools.product(("step", "velocity"), ("tcp", "base")):
        space = ActionSpace(**plain, dt_s=DT_S, mode=mode, axes=axes)
        found = transforms(tcp_path(rows, space, base, DT_S))
        T = start.copy()
        for k, (v, r) in enumerate(zip(rows[:, :3], rows[:, 3:], strict=True)):
            dt = DT_S if mode == "velocity" else 1.0
            if axes == "base":
                T[:3, 3] += v * dt
                T[:3, :3] = Turn.from_rotvec(r * dt).as_matrix() @ T[:3, :3]
            elif mode == "step":
                T = T @ transform(r, v)
            else:
                twist[:3, :3] = [[0, -r[2], r[1]], [r[2], 0, -r[0]], [-r[1], r[0], 0]]
                twist[:3, 3] = v
                T = T @ expm(twist * dt)
            np.testing.assert_allclose(found[k], T, atol=1e-9)


def test_rotations_have_the_conventions_that_they_are_named_after() -> None:
    rng = np.random.default_rng(0)
    turn = Turn.from_rotvec(rng.normal(0, 1.5, (200, 3)))
    R = turn.as_matrix()
    np.testing.assert_allclose(rot.to_mats(turn.as_rotvec(), "rotvec"), R, atol=1e-12)
    np.testing.assert_allclose(rot.to_mats(-turn.as_quat()[:, [3, 0, 1, 2]], "quat"), R, atol=1e-12)
    np.testing.assert_allclose(rot.to_mats(turn.as_euler("xyz"), "rpy"), R, atol=1e-12)
    skewed = np.concatenate([2.0 * R[:, :, 0], 0.7 * R[:, :, 1] + 0.3 * R[:, :, 0]], axis=1)
    np.testing.assert_allclose(rot.to_mats(skewed, "rot6d"), R, atol=1e-12)
    np.testing.assert_allclose(rot.rotvecs(R), turn.as_rotvec(), atol=1e-9)


@pytest.mark.parametrize("pitch", [HALF, -HALF])
def test_at_a_vertical_pitch_yaw_is_zero_and_the_rotation_the_same(pitch: float) -> None:
    R = rot.to_mats(np.array([[0.3, pitch, 0.8], [0.0, pitch, 0.0]]), "rpy")
    rpy = rot.from_mats(R, "rpy")
    np.testing.assert_array_equal(rpy[:, 2], 0.0)
    np.testing.assert_allclose(rot.to_mats(rpy, "rpy"), R, atol=1e-9)


def test_half_turns_and_tiny_turns_are_turns_too() -> None:
    turns = np.concatenate([np.eye(3) * math.pi, np.eye(3) * 1e-9, np.zeros((1, 3))])
    R = rot.to_mats(turns, "rotvec")
    np.testing.assert_allclose(np.abs(rot.rotvecs(R)), turns, atol=1e-12)
    moved = np.ones((7, 3))
    np.testing.assert_allclose(rot.unscrew(turns, rot.screw(turns, moved)), moved, atol=1e-9)


BAD = [
    ("quat", (1.21, 0.0, 0.0, 0.0)), ("quat", (0.79, 0.0, 0.0, 0.0)), ("quat", (0.0,) * 4),
    ("rot6d", (0.0, 0.0, 0.0, 0.0, 1.0, 0.0)), ("rot6d", (1.0, 0.0, 0.0, 1.0, 0.05, 0.0)),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["absolute", "step"])
@pytest.mark.parametrize(("kind", "row"), BAD)
def test_what_is_no_rotation_makes_the_joints_nan_from_there_on(
    kind: Any, row: Any, mode: Any
) -> None:
    chain, home = CHAINS[6]
    R, p = map(np.array, zip(*[chain.fk(np.array(home))] * 6, strict=True))
    space = tcp_space(5, kind, mode=mode, hold_s=0.2, grip="normalised")
    values = tcp_actions(R, p, space)
    assert np.isfinite(converted(values, space).q).all()
    values[2, space.columns.rotation] = row
    made = converted(values, space)
    assert np.isfinite(made.q[:3]).all()
    assert np.isnan(made.q[3:]).all()
    assert np.isfinite(made.grip[:3]).all()
    assert np.isnan(made.grip[3:]).all()
    assert made.residual < 1e-4


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kind", [*TCP, *({"mode": m, "space": "joint"} for m in MODES)])
def test_a_value_that_is_no_number_makes_the_joints_nan_from_there_on(
    kind: dict[str, Any], value: float
) -> None:
    chain, home = CHAINS[6]
    q = np.tile(home, (6, 1))
    if "space" in kind:
        space = joint_space(6, 5, hold_s=0.2, **kind)
        values = joint_actions(q, space, joints_of(6))
    else:
        space = tcp_space(5, hold_s=0.2, **kind)
        values = tcp_actions(*map(np.array, zip(*map(chain.fk, q), strict=True)), space)
    values[:, space.names.index("-")] = value  # not used
    assert np.isfinite(converted(values, space).q).all()
    for column in space.columns.used:
        for row in (0, 2):
            bad = values.copy()
            bad[row, column] = value
            made = converted(bad, space)
            assert made.q.shape == (space.rows, 6)
            assert np.isfinite(made.q[: row + 1]).all()
            assert np.isnan(made.q[row + 1 :]).all()
            assert np.isnan(made.grip[row + 1 :]).all()


@pytest.mark.parametrize("mode", MODES)
def test_what_is_held_is_the_last_target_and_for_velocities_the_last_speed(mode: Any) -> None:
    n, home = 6, np.array(CHAINS[6][1])
    q = home + 0.01 * np.arange(3)[:, None]
    space = joint_space(n, 2, mode=mode, hold_s=0.3)
    actions = joint_actions(q, space, joints_of(n))
    actions[:, 0] = (0.0, 1.0)
    made = converted(actions, space)
    held = 0.01 * np.array([2, 2, 2] if mode != "velocity" else [3, 4, 5])
    np.testing.assert_allclose(made.q[3:], home + held[:, None], atol=1e-12)
    np.testing.assert_array_equal(made.grip, [0.0, 0.0, 1.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("axes", ["tcp", "base"])
def test_a_single_twist_goes_on_for_three_rows(axes: Any) -> None:
    chain, home = CHAINS[6]
    space = ActionSpace(
        names=("x", "y", "z", "rx", "ry", "rz"), chunk=1, dt_s=DT_S, mode="velocity", axes=axes
    )
    made = converted([[0.1, 0.0, 0.0, 0.0, 0.0, 0.0]], space)
    R, p = chain.fk(np.array(home))
    way = R[:, 0] if axes == "tcp" else np.eye(3)[0]
    for k, q in enumerate(made.q):
        np.testing.assert_allclose(chain.position(q), p + 0.01 * k * way, atol=1e-4)
    assert len(made.q) == 5


@pytest.mark.parametrize(
    ("kind", "given", "closed", "force", "does"),
    [
        ({}, [0.2, 1.3], [0.2, 1.3], None, "binary"),
        ({"grip": "normalised", "grip_open": 1.0, "grip_closed": -1.0}, [1.0, 0.0], [0.0, 0.5],
         None, "continuous"),
        ({"grip": "width"}, [0.08, 0.02], [0.0, 0.75], None, "continuous"),
        ({"grip": "width"}, [0.12, 0.0], [-0.5, 1.0], None, "continuous"),
        ({"grip": "width", "grip_open": 0.04}, [0.04, 0.01], [0.0, 0.75], None, "continuous"),
        ({"grip": "force", "grip_closed": 5.0}, [-3.0, 20.0], [0.0, 1.0], [math.nan, 20.0],
         "binary"),
    ],
)  # fmt: skip
def test_the_grip_is_0_for_open_and_1_for_closed_jaws(
    kind: Any, given: Any, closed: Any, force: Any, does: str
) -> None:
    space = joint_space(6, 2, mode="step", **kind)
    values = np.zeros((2, 8))
    values[:, 0] = given
    made = converted(values, space)
    np.testing.assert_allclose(made.grip, [closed[0], *closed], atol=1e-12)
    if force is None:
        assert made.grip_force is None
    else:
        np.testing.assert_array_equal(made.grip_force, [force[0], *force])
    assert made.grip_kind == does


def test_without_a_grip_the_jaws_are_left_as_they_are() -> None:
    made = converted(np.zeros((2, 8)), joint_space(6, 2, mode="step", ignored=("grip",)))
    assert made.grip_kind == "none"
    assert np.isfinite(made.q).all()


@pytest.mark.parametrize(
    ("given", "at"), [([0, 0, 0], None), ([0.4, 0.6, 1], 2), ([1, 0, 0], 1), ([0, np.nan, 1], None)]
)
def test_the_first_row_above_the_limit_ends_the_episode(given: Any, at: Any) -> None:
    """Also when the flag is the first column."""
    names = ("terminate", *joints_of(6))
    space = joint_space(6, 3, names=names, mode="step", ends="terminate")
    values = np.zeros((3, 7))
    values[:, 0] = given
    assert converted(values, space).ends_at == at


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((4, 6), np.float32), r"wanted .* \(4, 8\) of floats.*found \(4, 6\)"),
        (np.zeros((3, 8), np.float32), r"found \(3, 8\)"),
        (np.zeros((4, 8), np.int32), "of int32"),
    ],
)
def test_a_chunk_of_another_shape_is_an_error_that_says_so(bad: Any, says: str) -> None:
    with pytest.raises(SpecMismatch, match=says):
        converted(bad, joint_space(6, 4))


def test_a_chunk_wants_time_between_its_rows_and_the_joints_of_the_arm() -> None:
    chain, home = CHAINS[6]
    chunk = Chunk(0, 0, np.zeros((4, 8), np.float32), chain.pose(np.array(home)))
    with pytest.raises(SpecMismatch, match="dt > 0"):
        to_joints(chunk, joint_space(6, 4), Limb(chain, joints_of(6)), np.array(home))
    with pytest.raises(SpecMismatch, match="lack j6"):
        converted(np.zeros((4, 8), np.float32), joint_space(6, 4), 7)
