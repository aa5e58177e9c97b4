"""The robots that come with Headway: kinematics as MuJoCo reads the same files, limits, masses,
shape and inverse kinematics; and models of other URDFs."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from urdf_rig import LIMIT, TWO, in_mujoco, joint, put, robot

from headway.drivers import native
from headway.drivers.kinematics import Chain, mat_to_rotvec
from headway.drivers.model import ROBOTS, load, shipped
from headway.drivers.rotations import rpy_to_mat
from headway.drivers.transforms import IDENTITY, compose, inverse, parts, transform
from headway.edge.guard.collision import Collisions, scene
from headway.edge.guard.config import GuardConfig
from headway.errors import ConfigError

JOINTS = {"franka": 7, "so101": 5, "ur10": 6, "ur5e": 6}
IMPLS = [
    "python",
    pytest.param(
        "cpp",
        marks=pytest.mark.skipif(native.module("auto") is None, reason="C++ kinematics not built"),
    ),
]
every = pytest.mark.parametrize("name", JOINTS)
both = pytest.mark.parametrize("impl", IMPLS)


def anywhere(model, count, seed=0):
    """Random joint positions (count, n) within the limits."""
    rng = np.random.default_rng(seed)
    return rng.uniform(model.limits.q_min, model.limits.q_max, (count, model.n))


def test_these_are_the_robots():
    assert shipped() == sorted(JOINTS)
    assert {name: load(name).n for name in JOINTS} == JOINTS


@every
def test_a_shipped_robot_lacks_nothing_and_says_where_it_is_from(name):
    model = load(name)
    assert model.missing == ()
    assert len(model.source) > 100
    limits = model.limits
    for x in (limits.dq_max, limits.ddq_max, limits.dddq_max, limits.tau_max):
        assert x.shape == (model.n,)
        assert (x > 0).all()
    assert ((limits.q_min <= model.home) & (model.home <= limits.q_max)).all()
    assert model.chain.q_min == tuple(limits.q_min)
    assert model.chain.upright
    assert all(link.mass > 0 for link in model.links[1:])
    assert load(name) is model


@every
def test_kinematics_and_masses_are_those_of_mujoco(name):
    mujoco = pytest.importorskip("mujoco")
    model = load(name)
    bare = model.with_tool(model.tool_link)
    mj, data, body = in_mujoco(mujoco, ROBOTS / f"{name}.urdf", model.tool_link)
    at = [mj.joint(j).qposadr[0] for j in model.joints]
    worst_p = worst_R = 0.0
    for q in anywhere(model, 10_000):
        data.qpos[at] = q
        mujoco.mj_kinematics(mj, data)
        R, p = bare.chain.fk(q)
        worst_p = max(worst_p, float(np.abs(data.xpos[body] - p).max()))
        worst_R = max(worst_R, float(np.abs(data.xmat[body].reshape(3, 3) - R).max()))
    assert worst_p <= 1e-9
    assert worst_R <= 1e-9
    base = mj.body(model.base_link).id
    moving = sum(link.mass for link in model.links[1:])
    assert mj.body_subtreemass[base] - mj.body_mass[base] == pytest.approx(moving, rel=1e-4)
    com = sum(
        link.mass * (parts(tuple(f))[0] @ link.com + parts(tuple(f))[1])
        for link, f in zip(model.links[1:], bare.chain.transforms(q)[1:], strict=True)
    )
    data.qpos[:] = 0.0
    data.qpos[at] = q
    mujoco.mj_kinematics(mj, data)
    mujoco.mj_comPos(mj, data)
    theirs = sum(mj.body_mass[i] * data.xipos[i] for i in range(base + 1, mj.nbody))
    np.testing.assert_allclose(com, theirs, atol=1e-4)


@every
@both
def test_the_jacobian_is_the_derivative(name, impl):
    chain = replace(load(name).chain, impl=impl)
    assert chain.computed_by == impl
    h = 1e-6
    for q in anywhere(load(name), 5):
        J = chain.jacobian(q)
        for i in range(chain.n):
            step = np.eye(chain.n)[i] * h
            (R1, p1), (R0, p0) = chain.fk(q + step), chain.fk(q - step)
            np.testing.assert_allclose(J[:3, i], (p1 - p0) / (2 * h), atol=1e-7)
            np.testing.assert_allclose(J[3:, i], mat_to_rotvec(R1 @ R0.T) / (2 * h), atol=1e-7)


@every
def test_no_capsules_touch_at_home(name):
    model = load(name)
    cfg = GuardConfig(
        workspace_min=(-2.0,) * 3, workspace_max=(2.0,) * 3, force_max=1.0, torque_max=1.0,
        floor_z=0.0,
    )  # fmt: skip
    body = scene(cfg, model.chain.body, len(model.chain.steps) + 1)
    assert len(body.pairs) > 10
    apart = Collisions(body).distances(model.chain.transforms(model.home))
    assert min(apart) >= cfg.collision_margin


def test_named_and_given_tools():
    model = load("ur10")
    R, p = model.chain.fk(model.home)
    E, at = model.with_tool("ee_link").chain.fk(model.home)
    np.testing.assert_allclose(at, p, atol=1e-12)
    np.testing.assert_allclose(E[:, 0], R[:, 2], atol=1e-12)  # x points out of the flange
    further = model.with_tool((0.0, 0.0, 0.1))
    np.testing.assert_allclose(further.chain.position(model.home), p + 0.1 * R[:, 2], atol=1e-12)
    turned = load("ur10", (0.0, 0.0, 0.1, 0.0, 0.0, math.pi / 2))
    np.testing.assert_allclose(turned.chain.fk(model.home)[0][:, 0], R[:, 1], atol=1e-12)
    with pytest.raises(ConfigError, match="did you mean `ee_link`"):
        model.with_tool("ee_lnk")
    with pytest.raises(ConfigError, match="wanted a position of 3 numbers"):
        model.with_tool((0.0, 0.0))


def test_what_isaac_reach_calls_its_pose():
    """The UR10 of a public reach policy: at roll 0 and pitch 90 deg its TCP frame points down."""
    model = load("ur10").with_tool("isaac_ee")
    flange = model.with_tool("tool0").chain.fk(model.home)[0]
    np.testing.assert_allclose(
        model.chain.fk(model.home)[0], flange[:, [2, 1, 0]] * [1, -1, 1], atol=1e-12
    )
    R = rpy_to_mat(0.0, math.pi / 2, 0.4)
    q, residual = model.chain.ik(R, np.array([0.5, 0.1, 0.3]), model.home, iterations=100)
    assert residual < 2e-5
    assert model.with_tool("tool0").chain.fk(q)[0][2, 2] == pytest.approx(-1.0, abs=1e-4)


def test_axes_of_any_direction_and_fixed_joints_between(tmp_path):
    """Against MuJoCo, with a mimic joint in the chain."""
    mujoco = pytest.importorskip("mujoco")
    urdf = robot(
        joint("one", "a", "b", axis="1 2 -0.5"),
        joint("bolt", "b", "c", kind="fixed", axis=None, limit=""),
        joint("two", "c", "d", axis="0 0 -1"),
        joint("three", "d", "e", axis="-1 0 0", more='<mimic joint="one" multiplier="-0.5"'
              ' offset="0.2"/>'),
        joint("end", "e", "f", kind="fixed", axis=None, limit=""),
        links="abcdef",
    )  # fmt: skip
    weight = (
        '<inertial><mass value="1"/><origin xyz="0.1 0 0"/><inertia ixx="1" ixy="0" ixz="0" '
        'iyy="1" iyz="0" izz="1"/></inertial>'
    )
    for x in "abcdef":
        urdf = urdf.replace(f'<link name="{x}"/>', f'<link name="{x}">{weight}</link>')
    path = put(tmp_path, urdf)
    model = load(path)
    assert model.joints == ("one", "two")
    assert [s.joint for s in model.chain.steps] == [0, 1, 0]
    # three = 0.2 - 0.5 one must stay in -1..1: one in -1.6..2.4, within its own -1..1
    np.testing.assert_allclose(model.limits.q_min, [-1.0, -1.0])
    np.testing.assert_allclose(model.limits.dq_max, [2.0, 2.0])
    assert model.links[1].names == ("b", "c")
    assert model.links[1].mass == 2.0
    mj, data, body = in_mujoco(mujoco, path, "f")
    for impl in ("python", "auto"):
        chain = replace(model.chain, impl=impl)
        for q in anywhere(model, 30):
            data.joint("one").qpos, data.joint("two").qpos = q
            data.joint("three").qpos = 0.2 - 0.5 * q[0]
            mujoco.mj_kinematics(mj, data)
            R, p = chain.fk(q)
            np.testing.assert_allclose(data.xpos[body], p, atol=1e-9)
            np.testing.assert_allclose(data.xmat[body].reshape(3, 3), R, atol=1e-9)
            h = 1e-6
            J = chain.jacobian(q)
            for i in range(2):
                step = np.eye(2)[i] * h
                slope = (chain.position(q + step) - chain.position(q - step)) / (2 * h)
                np.testing.assert_allclose(J[:3, i], slope, atol=1e-8)


def test_a_bare_urdf_says_what_it_lacks(tmp_path):
    model = load(put(tmp_path, TWO))
    said = "\n".join(model.missing)
    for word in ("acceleration", "jerk", "home", "masses", "ik_weights", "source"):
        assert word in said
    np.testing.assert_allclose(model.limits.ddq_max, 8.0)
    np.testing.assert_allclose(model.home, 0.0)
    assert model.tool_link == "c"
    assert model.base_link == "a"


def test_a_toml_beside_it_replaces_and_adds(tmp_path):
    toml = """
source = "made up"
tool = "tip"
home = [0.1, -0.2]
velocity = [1.0, 1.5]
acceleration = 7.0
jerk = 70.0
torque = 9.0
ik_weights = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
ik_axes = "a"
[tools.tip]
xyz = [0.0, 0.0, 0.1]
[[capsules]]
name = "stick"
link = "b"
a = [0.0, 0.0, 0.0]
b = [0.0, 0.0, 0.2]
radius = 0.05
"""
    model = load(put(tmp_path, TWO, toml))
    np.testing.assert_array_equal(model.limits.dq_max, [1.0, 1.5])
    np.testing.assert_array_equal(model.limits.tau_max, [9.0, 9.0])
    np.testing.assert_array_equal(model.home, [0.1, -0.2])
    assert model.chain.ik_axes == 0
    assert model.ik_weights == (1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    assert [c.name for c in model.chain.body] == ["stick"]
    assert not any("acceleration" in m for m in model.missing)
    p = model.chain.position(model.home)
    bare = model.with_tool("c").chain
    R, flange = bare.fk(model.home)
    np.testing.assert_allclose(p, flange + 0.1 * R[:, 2], atol=1e-12)


def test_shapes_of_the_urdf_become_capsules(tmp_path):
    shapes = (
        '<collision><origin xyz="0 0 0.1" rpy="0 1.5707963267948966 0"/><geometry>{}</geometry>'
        "</collision>"
    )
    links = "".join(
        f'<link name="{name}">{"".join(shapes.format(s) for s in given)}</link>'
        for name, given in {
            "a": ['<mesh filename="package://nowhere/a.stl"/>'],
            "b": ['<cylinder radius="0.03" length="0.4"/>', '<sphere radius="0.05"/>'],
            "c": ['<box size="0.06 0.08 0.5"/>', '<capsule radius="0.02" length="0.1"/>'],
        }.items()
    )
    turn = joint("two", "b", "c", axis="0 1 0", limit=LIMIT)
    urdf = f'<robot name="r">{links}{joint("one", "a", "b", origin="")}{turn}</robot>'
    model = load(put(tmp_path, urdf))
    cylinder, ball, box, capsule = model.chain.body
    np.testing.assert_allclose(
        [cylinder.a, cylinder.b], [[-0.2, 0, 0.1], [0.2, 0, 0.1]], atol=1e-12
    )
    assert (cylinder.radius, ball.radius, capsule.radius) == (0.03, 0.05, 0.02)
    assert ball.a == ball.b
    assert box.radius == pytest.approx(0.05)  # the half diagonal of its small sides
    assert math.dist(box.a, box.b) == pytest.approx(0.5)
    assert [c.frame for c in model.chain.body] == [1, 1, 2, 2]
    assert any("meshes of a are not opened" in m for m in model.missing)


def test_a_continuous_joint_is_limited_and_said(tmp_path):
    urdf = robot(
        joint("one", "a", "b", kind="continuous", limit='<limit velocity="2" effort="3"/>'),
        links="ab",
    )
    model = load(put(tmp_path, urdf))
    np.testing.assert_allclose(model.limits.q_max, 2 * math.pi)
    assert any("turns without end" in m for m in model.missing)


def test_a_chain_survives_json():
    chain = load("so101").chain
    again = Chain.from_plain(json.loads(json.dumps(chain.plain())))
    assert again == replace(chain, body=())
    q = load("so101").home
    np.testing.assert_array_equal(again.position(q), chain.position(q))


def test_transforms_undo_each_other():
    T = transform(rpy_to_mat(0.3, -0.4, 0.5), (0.1, 0.2, 0.3))
    np.testing.assert_allclose(compose(T, inverse(T)), IDENTITY, atol=1e-15)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"steps": ()}, "wanted steps of joints"),
        ({"q_min": (0.0,)}, "wanted 6 numbers in q_min"),
        ({"ik_weights": (1.0,) * 5}, "six ik_weights"),
        ({"ik_weights": (-1.0,) * 6}, "six ik_weights"),
        ({"ik_axes": 7}, "ik_axes of a frame"),
    ],
)
def test_chains_that_make_no_sense_are_refused(given, says):
    with pytest.raises(ValueError, match=says):
        replace(load("ur5e").chain, **given)
