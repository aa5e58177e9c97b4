"""The simulated cell with every robot that comes with Headway, and with a URDF of one's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated cell wants mujoco")

import mujoco

from headway import config
from headway.clock import NS, VirtualClock
from headway.drivers import Context, open_device
from headway.drivers.capsules import Capsule
from headway.drivers.kinematics import quat_to_mat, tool_down
from headway.drivers.model import LinkMass, load, shipped
from headway.drivers.sim.arm_model import estimated, inertia_at_joints, with_gripper
from headway.drivers.sim.cell import Cell, CellConfig
from headway.drivers.sim.gripper import SMALL, STANDARD
from headway.edge.control import settings
from headway.edge.control.station import Station
from headway.edge.guard import collision
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.guard.reasons import Reason
from headway.errors import ConfigError, DeviceError

DT_NS = 2_000_000
QUIET = {"force_noise": 0.0, "torque_noise": 0.0, "force_bias": 0.0, "torque_bias": 0.0}
JOINTS = {"ur5e": 6, "ur10": 6, "franka": 7, "so101": 5}
every_robot = pytest.mark.parametrize("robot", sorted(JOINTS))

# Three links without masses: of a cylinder, of a ball and a box, and without any shape.
PLAIN = """<robot name="plain">
 <link name="base"/>
 <link name="one"><collision><origin xyz="0 0 .1"/>
  <geometry><cylinder radius=".04" length=".2"/></geometry></collision></link>
 <link name="two"><collision><geometry><sphere radius=".05"/></geometry></collision>
  <collision><origin xyz=".1 0 0"/><geometry><box size=".2 .05 .05"/></geometry></collision></link>
 <link name="three"/>
 <joint name="turn" type="revolute"><parent link="base"/><child link="one"/>
  <axis xyz="0 0 1"/><limit lower="-3" upper="3" velocity="2" effort="40"/></joint>
 <joint name="lift" type="revolute"><parent link="one"/><child link="two"/>
  <origin xyz="0 0 .3"/><axis xyz="0 1 0"/>
  <limit lower="-1" upper="1.5" velocity="2" effort="40"/></joint>
 <joint name="bend" type="revolute"><parent link="two"/><child link="three"/>
  <origin xyz=".3 0 0"/><axis xyz="0 1 0"/>{mimic}
  <limit lower="-1" upper="2" velocity="2" effort="20"/></joint>
</robot>"""
PLAIN_TOML = """
home = {home}
tool = "out"
[tools.out]
rpy = [0.0, 1.5707963267948966, 0.0]
"""


def plain(folder: Path, mimic: str = "", home: str = "[0.0, -0.5, 0.4]") -> Path:
    """The URDF of an arm of nobody's make."""
    path = folder / "plain.urdf"
    path.write_text(PLAIN.format(mimic=mimic))
    path.with_suffix(".toml").write_text(PLAIN_TOML.format(home=home))
    return path


class Bench:
    """A cell with its devices on a virtual clock."""

    def __init__(self, robot: str, **cell: Any) -> None:
        self.clock = VirtualClock(1)
        table = {"robot": robot, "scene": "empty", **QUIET, **cell}
        self.cell = Cell(config.decode(table, CellConfig, "[cell]"), self.clock)
        ctx = Context(self.clock, {"sim": self.cell})
        self.arm = open_device("arms", "sim", {}, ctx)
        self.ft = open_device("ft", "sim", {}, ctx)
        self.gripper = open_device("grippers", "sim", {}, ctx)
        for device in (self.arm, self.ft, self.gripper):
            device.open(1.0)
        self.arm.activate()

    def wait(self, seconds: float) -> np.ndarray:
        """The joints' positions (ticks, n) [rad] meanwhile."""
        rows = []
        for _ in range(round(seconds * NS / DT_NS)):
            self.clock.sleep_until(self.clock.now() + DT_NS)
            self.cell.sync()
            rows.append(self.cell.q.copy())
        return np.array(rows)


def test_every_shipped_robot_is_tested_here():
    assert sorted(JOINTS) == shipped()


@every_robot
def test_the_arm_has_the_models_joints_and_limits(robot):
    bench, model = Bench(robot), load(robot)
    assert len(bench.arm.model.joints) == JOINTS[robot]
    assert bench.arm.model.joints == model.joints
    np.testing.assert_array_equal(bench.arm.limits.q_max, model.limits.q_max)
    assert bench.arm.read(0.0).value.q.shape == (JOINTS[robot],)
    assert bench.arm.chain is bench.arm.model.chain
    names = [c.name for c in bench.arm.chain.body]
    assert {"F/T sensor", "gripper", "left finger", "right finger"} <= set(names)
    assert "hand" not in names  # the gripper is there instead
    with pytest.raises(DeviceError, match=model.joints[0]):
        bench.arm.command(np.zeros(JOINTS[robot] + 1), deadline_ns=0)


@every_robot
def test_mujocos_tcp_is_that_of_the_chain(robot):
    cell = Bench(robot).cell
    limits, data = cell.robot.limits, mujoco.MjData(cell.model)
    data.qpos[:] = 0.0
    rng = np.random.default_rng(0)
    for _ in range(100):
        q = rng.uniform(limits.q_min, limits.q_max)
        data.qpos[: cell.robot.n] = q
        mujoco.mj_kinematics(cell.model, data)
        pose = cell.robot.chain.pose(q)
        np.testing.assert_allclose(data.site("tcp").xpos, pose.pos, rtol=0.0, atol=1e-9)
        R = data.site("tcp").xmat.reshape(3, 3)
        np.testing.assert_allclose(R, quat_to_mat(pose.quat), rtol=0.0, atol=1e-9)


@every_robot
def test_at_home_the_arm_is_at_rest(robot):
    bench = Bench(robot, home_spread=0.0)
    p = bench.cell.robot.chain.position(bench.cell.robot.home)
    np.testing.assert_allclose(bench.arm.read(0.0).value.tcp.pos, p, atol=1e-3)
    q = bench.wait(1.0)
    assert np.ptp(q, axis=0).max() < 1e-6
    assert np.abs(bench.cell.dq).max() < 1e-6


@every_robot
def test_the_arm_follows_a_smooth_motion_at_most_a_tenth_of_a_second_late(robot):
    """And does not swing beyond its end. At a speed v a servo with damping is v kv / kp behind."""
    bench = Bench(robot, home_spread=0.0)
    limits, start = bench.arm.limits, bench.cell.q_ref.copy()
    room = np.minimum(limits.q_max - start, start - limits.q_min)
    move = np.minimum(0.4, 0.4 * room)
    move[1] *= -1.0  # upwards
    ticks = 1000
    worst = np.zeros(len(start))
    for k in range(1, ticks + 1):
        s = k / ticks
        ref = start + move * (10.0 * s**3 - 15.0 * s**4 + 6.0 * s**5)
        bench.arm.command(ref, deadline_ns=0)
        bench.wait(0.002)
        worst = np.maximum(worst, np.abs(bench.cell.q - ref))
    fastest = np.abs(move) * 1.875 / (ticks * DT_NS / NS)  # [rad/s]
    assert (worst < 0.1 * fastest).all()
    beyond = (bench.wait(1.0) - (start + move)) * np.sign(move)
    assert beyond.max() < 1e-4
    np.testing.assert_allclose(bench.cell.q, start + move, atol=1e-4)


@every_robot
def test_a_jump_of_the_reference_does_not_make_the_arm_swing(robot):
    bench = Bench(robot, home_spread=0.0)
    goal = bench.cell.q_ref - 0.02
    bench.arm.command(goal, deadline_ns=0)
    late = bench.wait(2.0)[300:] - goal  # after 0.6 s
    assert np.abs(late).max() < 2e-3
    assert np.abs(bench.cell.dq).max() < 1e-3


@every_robot
def test_at_rest_the_sensor_reads_the_tools_weight(robot):
    bench = Bench(robot)
    bench.wait(0.5)
    gripper, wrench = bench.cell.gripper, bench.ft.read(0.0).value
    R = quat_to_mat(bench.arm.read(0.0).value.tcp.quat)
    weight = R.T @ np.array([0.0, 0.0, -9.81 * gripper.mass])
    np.testing.assert_allclose(wrench.force, weight, atol=0.01 * np.abs(weight).max())


@every_robot
def test_the_jaws_open_and_close(robot):
    bench = Bench(robot)
    stroke = bench.gripper.stroke
    assert stroke == (0.5 if robot == "so101" else 1.0) * STANDARD.stroke
    for width in (0.0, stroke, 0.5 * stroke):
        bench.gripper.command(width, force=5.0)
        bench.wait(1.0)
        assert bench.gripper.read(0.0).value.width == pytest.approx(width, abs=1e-3)


@pytest.mark.parametrize("robot", ["ur5e", "ur10", "franka"])
def test_these_robots_reach_into_the_bin(robot):
    bench = Bench(robot, scene="pick_place", home_spread=0.0)
    state = bench.arm.read(0.0).value
    np.testing.assert_allclose(state.tcp.pos, (0.42, -0.13, 0.30), atol=2e-3)
    np.testing.assert_allclose(quat_to_mat(state.tcp.quat), tool_down(0.0), atol=0.01)
    assert bench.cell.outcome() is False


@every_robot
def test_the_guard_finds_no_collision_where_the_arm_works(robot):
    """At home, and on the way into bin and tote."""
    arm = with_gripper(robot).robot
    chain, far = arm.chain, 3.0
    cfg = GuardConfig(
        workspace_min=(-far,) * 3, workspace_max=(far,) * 3, force_max=80.0, torque_max=15.0,
        floor_z=0.0,
    )  # fmt: skip
    guard = Guard(cfg, arm.limits, 0.002, chain)
    rows = []
    if robot != "so101":
        q = arm.home
        for x, y, z in (
            (0.42, -0.13, 0.3),
            (0.45, -0.17, 0.03),
            (0.45, 0.2, 0.3),
            (0.45, 0.2, 0.1),
        ):
            start = chain.position(q)
            for s in np.linspace(0.1, 1.0, 10):
                p = start + s * (np.array((x, y, z)) - start)
                q, residual = chain.ik(tool_down(0.0), p, q, iterations=50)
                assert residual < 1e-3
                rows.append(q)
    if robot == "franka":  # whose flange turns past its forearm
        for q6 in np.linspace(0.3, 3.7, 18):
            rows.append(arm.home.copy())
            rows[-1][5] = q6
    guard.reset(arm.home)
    shape = collision.scene(cfg, chain.body, len(chain.steps) + 1)
    assert (
        min(collision.Collisions(shape).distances(chain.transforms(arm.home)))
        == cfg.collision_margin
    )
    for q in rows:
        verdict = guard.check_chunk(np.array([arm.home, q]), 100.0)
        assert verdict.reason is Reason.OK, verdict.finding


def test_a_home_out_of_reach_is_a_configuration_error():
    with pytest.raises(ConfigError, match="out of the arm's reach: so101 misses"):
        Bench("so101", scene="pick_place")
    bench = Bench("so101", home=[0.24, 0.02, 0.06], home_spread=0.0)
    np.testing.assert_allclose(bench.arm.read(0.0).value.tcp.pos, (0.24, 0.02, 0.06), atol=2e-3)


def test_the_inertia_at_a_joint_is_that_of_mujocos_mass_matrix():
    for robot in ("ur10", "franka"):
        cell = Bench(robot).cell
        arm, n = cell.arm, cell.robot.n
        # Column j of the mass matrix is its product with unit vector j: a call that all versions of
        # MuJoCo take in the same way, while the arguments of mj_fullM differ between them.
        M = np.zeros((cell.model.nv, cell.model.nv))
        for j, unit in enumerate(np.eye(cell.model.nv)):
            mujoco.mj_mulM(cell.model, cell.data, M[j], unit)
        rotors = [s.armature for s in arm.servos]
        mine = inertia_at_joints(arm.robot, arm.gripper, arm.mount, arm.masses, cell.q.copy())
        # The gripper is taken for a point: it turns about itself with less than 0.02 kg m^2.
        np.testing.assert_allclose(mine + rotors, np.diag(M)[:n], atol=0.02)


def test_the_hand_of_a_model_makes_room_for_the_gripper():
    with_hand, without = load("franka"), load("franka", hand=False)
    assert with_hand.links[-1].mass - without.links[-1].mass == pytest.approx(0.76)
    assert with_hand.jaw
    assert not without.jaw
    arm = with_gripper("franka")
    assert arm.masses[-1].mass == without.links[-1].mass
    # The jaws close along y of Franka's own hand.
    np.testing.assert_allclose(
        arm.robot.chain.fk(arm.robot.home)[0], with_hand.chain.fk(arm.robot.home)[0], atol=1e-12
    )
    assert with_gripper("so101").gripper is SMALL
    assert with_gripper("so101").robot.chain.tool == pytest.approx(load("so101").chain.tool)


def test_a_link_without_a_mass_gets_that_of_its_shape():
    bare = LinkMass(("x",), 0.0, (0.0, 0.0, 0.0), (0.0,) * 6)
    rod = estimated(bare, [Capsule("rod", 1, (0.0, 0.0, -0.5), (0.0, 0.0, 0.5), 0.001)])
    tall = 1.0 + 0.004 / 3.0
    assert rod.mass == pytest.approx(1500.0 * math.pi * 1e-6 * tall)
    assert rod.inertia[0] == pytest.approx(rod.mass * tall**2 / 12.0, rel=1e-4)
    assert rod.inertia[2] == pytest.approx(rod.mass * 1e-6 / 2.0)
    two = estimated(bare, [Capsule("", 1, (x, 0.0, 0.0), (x, 0.0, 0.0), 0.01) for x in (0.0, 1.0)])
    assert two.com == pytest.approx((0.5, 0.0, 0.0))
    assert two.inertia[1] == pytest.approx(two.mass * 0.25, rel=1e-2)
    assert estimated(bare, []).mass > 0.0


def test_an_arm_of_ones_own_runs_in_the_cell(tmp_path):
    bench = Bench(str(plain(tmp_path)), home_spread=0.0)
    assert bench.arm.model.joints == ("turn", "lift", "bend")
    assert bench.cell.gripper is STANDARD
    start = bench.cell.q_ref.copy()
    np.testing.assert_allclose(start, [0.0, -0.5, 0.4], atol=1e-3)
    for k in range(1, 501):
        bench.arm.command(start + 0.0006 * k, deadline_ns=0)
        bench.wait(0.002)
    np.testing.assert_allclose(bench.wait(0.5)[-1], start + 0.3, atol=1e-3)
    bench.wait(0.3)
    np.testing.assert_allclose(
        np.linalg.norm(bench.ft.read(0.0).value.force), STANDARD.mass * 9.81, rtol=0.01
    )


def test_coupled_joints_are_refused(tmp_path):
    path = plain(tmp_path, '<mimic joint="lift"/>', home="[0.0, 0.2]")
    with pytest.raises(ConfigError, match="found a joint that mimics another"):
        Bench(str(path))


def test_an_unknown_robot_is_found_before_anything_starts(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        '[cell]\nrobot = "ur6e"\nscene = "empty"\n[arm]\nkind = "sim"\n[task]\n'
        "source = { centre = [0.4, 0.0], half = [0.1, 0.1] }\n"
        "target = { centre = [0.4, 0.3], half = [0.1, 0.1] }\n"
        "[guard]\nworkspace_min = [-1.0, -1.0, 0.0]\nworkspace_max = [1.0, 1.0, 1.0]\n"
        "force_max = 80.0\ntorque_max = 15.0\n"
    )
    with pytest.raises(ConfigError, match="found 'ur6e'"):
        settings.load(path)
    # A path is relative to the file that names it; the instruction is the configuration's, as the
    # scene gives none.
    plain(tmp_path)
    text = path.read_text().replace("ur6e", "plain.urdf")
    path.write_text('instruction = "reach"\n' + text)
    with Station(settings.load(path), VirtualClock(1)) as station:
        assert station.joints == 3
        assert station.reset(4) == "reach"
        assert station.outcome() is None


def test_the_empty_scene_depends_on_its_seed_by_the_start_alone():
    bench = Bench("ur10")
    starts = []
    for seed in (1, 2, 1):
        assert bench.cell.reset(seed) == ""
        assert bench.cell.seed == seed
        assert bench.cell.scene.xml == ""
        starts.append(bench.cell.q.copy())
    np.testing.assert_array_equal(starts[0], starts[2])
    assert np.abs(starts[0] - starts[1]).max() > 1e-3
    with pytest.raises(ConfigError, match="unknown key"):
        Bench("ur10", scene_config={"items_min": 1})
