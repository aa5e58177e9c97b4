"""Kinematics against MuJoCo's own, numeric derivatives, and round trips over whole ranges."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from properties import examples

from headway.drivers import native
from headway.drivers.kinematics import (
    Chain,
    mat_to_quat,
    mat_to_rotvec,
    quat_to_mat,
    rotvec_to_mat,
    tool_down,
)
from headway.drivers.model import load

UR5E = load("ur5e")

IMPLS = [
    "python",
    pytest.param(
        "cpp",
        marks=pytest.mark.skipif(native.module("auto") is None, reason="C++ kinematics not built"),
    ),
]
TCP = (0.0, 0.0, 0.185)
PI = math.pi
# The UR5e as Universal Robots publishes it: a [m], d [m], alpha [rad] per joint.
DH = (
    (0.0, 0.1625, PI / 2),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, PI / 2),
    (0.0, 0.0997, -PI / 2),
    (0.0, 0.0996, 0.0),
)

either = pytest.mark.parametrize("chain", IMPLS, indirect=True)


@pytest.fixture(scope="module")
def chain(request):
    """The UR5e with a tool, computed by Python or by C++."""
    made = replace(UR5E.chain, impl=request.param)
    assert made.computed_by == request.param
    return made


angle = st.floats(-PI, PI)
joints = st.tuples(*[angle] * 6).map(np.array)
unit = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array).filter(lambda v: np.linalg.norm(v) > 0.1)
rotvec = st.builds(lambda axis, a: axis / np.linalg.norm(axis) * a, unit, st.floats(0, PI))


def angle_between(A, B):
    return np.linalg.norm(mat_to_rotvec(A @ B.T))


@given(rotvec)
def test_rotation_vector_matrix_and_quaternion_are_the_same_rotation(r):
    R = rotvec_to_mat(r)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)
    q = mat_to_quat(R)
    assert q[0] >= 0
    assert np.linalg.norm(q) == pytest.approx(1.0)
    np.testing.assert_allclose(quat_to_mat(q), R, atol=1e-9)
    # at pi both signs of the axis are the same rotation, so matrices are compared, not vectors
    np.testing.assert_allclose(rotvec_to_mat(mat_to_rotvec(R)), R, atol=1e-7)
    if np.linalg.norm(r) < PI - 1e-3:
        np.testing.assert_allclose(mat_to_rotvec(R), r, atol=1e-6)


@pytest.mark.parametrize("axis", np.eye(3))
@pytest.mark.parametrize("turn", [0.0, 1e-9, PI / 2, PI - 1e-9, PI])
def test_every_branch_of_the_quaternion_is_a_rotation(axis, turn):
    R = rotvec_to_mat(axis * turn)
    np.testing.assert_allclose(quat_to_mat(mat_to_quat(R)), R, atol=1e-12)


def test_tool_down_points_down_at_its_yaw():
    R = tool_down(0.3)
    np.testing.assert_allclose(R @ [0, 0, 1], [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(R @ [1, 0, 0], [math.cos(0.3), math.sin(0.3), 0], atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)


@either
@given(joints)
def test_all_forms_of_forward_kinematics_agree(chain, q):
    R, p = chain.fk(q)
    Rs, ps, J = chain.state(q)
    pose = chain.pose(q)
    Ri, pi, Ji = np.empty((3, 3)), np.empty(3), np.empty((6, 6))
    chain.state_into(q, Ri, pi, Ji)
    np.testing.assert_array_equal(Ji, J)
    np.testing.assert_array_equal(pi, p)
    chain.fk_into(q, Ri, pi)
    np.testing.assert_array_equal(Ri, R)
    for other in (ps, chain.position(q), pose.pos, pi):
        np.testing.assert_allclose(other, p, atol=1e-12)
    np.testing.assert_allclose(Rs, R, atol=1e-12)
    np.testing.assert_allclose(quat_to_mat(pose.quat), R, atol=1e-9)
    np.testing.assert_array_equal(chain.jacobian(q), J)


@either
@given(joints)
@examples(50)
def test_the_jacobian_is_the_derivative(chain, q):
    J = chain.jacobian(q)
    h = 1e-6
    for i in range(6):
        step = np.zeros(6)
        step[i] = h
        R1, p1 = chain.fk(q + step)
        R0, p0 = chain.fk(q - step)
        np.testing.assert_allclose(J[:3, i], (p1 - p0) / (2 * h), atol=1e-7)
        np.testing.assert_allclose(J[3:, i], mat_to_rotvec(R1 @ R0.T) / (2 * h), atol=1e-7)


def test_forward_kinematics_is_the_published_one():
    """At q = 0 the arm lies stretched out along its base's -x (turned to +x in the robot model,
    whose base is ROS's `base_link`): the sums of the published a and d."""
    _, flange = Chain.from_dh(DH).fk(np.zeros(6))
    a2, a3, d1, d4, d5, d6 = -0.425, -0.3922, 0.1625, 0.1333, 0.0997, 0.0996
    np.testing.assert_allclose(flange, [a2 + a3, -d4 - d6, d1 - d5], atol=1e-12)
    published = Chain.from_dh(DH, PI, TCP)
    for q in np.random.default_rng(0).uniform(-PI, PI, (20, 6)):
        for have, want in zip(UR5E.chain.fk(q), published.fk(q), strict=True):
            np.testing.assert_allclose(have, want, atol=1e-12)


@either
def test_forward_kinematics_is_that_of_mujocos_model(chain):
    mujoco = pytest.importorskip("mujoco")
    from headway.drivers.sim.arm_model import with_gripper

    arm = with_gripper("ur5e")
    xml = (
        f'<mujoco><compiler angle="radian" autolimits="true"/>{arm.defaults_xml()}<worldbody>'
        f"{arm.body_xml(75.0)}</worldbody>{arm.actuators_xml()}</mujoco>"
    )
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    for _ in range(50):
        q = rng.uniform(-PI, PI, 6)
        data.qpos[:6] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        R, p, J = chain.state(q)
        np.testing.assert_allclose(data.site("tcp").xpos, p, atol=1e-6)
        np.testing.assert_allclose(data.site("tcp").xmat.reshape(3, 3), R, atol=1e-6)
        jac = np.zeros((6, model.nv))
        mujoco.mj_jacSite(model, data, jac[:3], jac[3:], model.site("tcp").id)
        np.testing.assert_allclose(jac[:, :6], J, atol=1e-6)


REACH = sum(abs(a) for a, _, _ in DH)  # [m] upper arm and forearm


def stretch(xyz):
    """Distance [m] from the shoulder to the first wrist joint while the tool points down at `xyz`:
    at most REACH. Above the tool's tip are the tool and the last link (d6); the link before it (d5)
    is level, away from the shoulder; d4 is the wrist's offset to the side."""
    d1, _, _, d4, d5, d6 = (d for _, d, _ in DH)
    radius = math.sqrt(xyz[0] ** 2 + xyz[1] ** 2 - d4**2)
    return math.hypot(radius - d5, xyz[2] + TCP[2] + d6 - d1)


@either
@given(
    st.tuples(st.floats(0.3, 0.6), st.floats(-0.35, 0.35), st.floats(0.05, 0.4)),
    st.floats(-1.2, 1.2),
    st.tuples(*[st.floats(-0.1, 0.1)] * 3),
)
@examples(60)
def test_inverse_kinematics_reaches_the_cells_poses_from_nearby(chain, xyz, yaw, step):
    home, first = chain.ik(
        tool_down(yaw), np.array(xyz), np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0]), iterations=60
    )
    assert first < 2e-5
    target = np.array(xyz) + step
    assume(stretch(target) < REACH - 1e-3)
    q, residual = chain.ik(tool_down(yaw), target, home, iterations=30)
    assert residual < 2e-5
    R, p = chain.fk(q)
    assert np.abs(p - target).max() < 2e-5
    assert angle_between(R, tool_down(yaw)) < 1e-4


@either
def test_inverse_kinematics_says_what_is_out_of_reach(chain):
    q0 = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])
    q, residual = chain.ik(tool_down(0.0), np.array([3.0, 0.0, 0.3]), q0, iterations=50)
    assert residual > 1.0
    assert np.isfinite(q).all()


@either
def test_a_chain_wants_as_many_joints_as_it_has(chain):
    for call in (chain.fk, chain.position, chain.state, chain.transforms, chain.pose):
        with pytest.raises(ValueError, match="wanted 6 joint positions, found 5"):
            call(np.zeros(5))
