"""The simulated cell: repeatable to the bit, and its sensors read what its physics says."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated cell wants mujoco")

from headway import config
from headway.clock import NS, VirtualClock
from headway.drivers import Context, open_device
from headway.drivers.kinematics import mat_to_quat, quat_to_mat, rotvec_to_mat, tool_down
from headway.drivers.sim.cell import Cell, CellConfig
from headway.drivers.sim.gripper import STANDARD
from headway.drivers.sim.scenes import Zone
from headway.drivers.sim.scenes.pick_place import BIN, HOME, TOTE
from headway.edge.control.payload import Payload, ToolConfig
from headway.errors import ArmStopped, ConfigError, DeviceError
from headway.types import Wrench

DT_NS = 2_000_000
EASY = {"items_min": 1, "items_max": 1, "friction_min": 0.9, "mass_min": 0.3, "mass_max": 0.3}
FINGERS = 2 * STANDARD.finger_mass
# centre of mass of gripper body and fingers, from the sensor's frame [m]
COM_Z = (STANDARD.mass - FINGERS) * STANDARD.com[2] + FINGERS * 0.15
COM_Z = COM_Z / STANDARD.mass - 0.02
TOOL = ToolConfig(STANDARD.mass, (0.0, 0.0, COM_Z), (0.0, 0.0, 0.165))


class Bench:
    """A cell with its devices on a virtual clock."""

    def __init__(self, clock=None, **cell):
        self.clock = clock or VirtualClock(1)
        self.cell = Cell(config.decode(cell, CellConfig, "[cell]"), self.clock)
        ctx = Context(self.clock, {"sim": self.cell})
        self.arm = open_device("arms", "sim", {}, ctx)
        self.ft = open_device("ft", "sim", {}, ctx)
        self.gripper = open_device("grippers", "sim", {}, ctx)
        for device in (self.arm, self.ft, self.gripper):
            device.open(1.0)

    def wait(self, seconds):
        for _ in range(round(seconds * NS / DT_NS)):
            self.clock.sleep_until(self.clock.now() + DT_NS)
            self.cell.sync()

    def move(self, R, p, seconds):
        """Joints on a straight line to the ones of a tool pose."""
        start = self.cell.q_ref.copy()
        goal, residual = self.cell.robot.chain.ik(R, np.asarray(p), start, iterations=50)
        assert residual < 1e-4
        n = round(seconds * NS / DT_NS)
        for k in range(1, n + 1):
            self.arm.command(start + (goal - start) * k / n, deadline_ns=0)
            self.wait(0.002)

    def wrench(self, seconds=0.2):
        """Mean of what the sensor reads, without its bias (6,), and the sensor's orientation."""
        w = np.zeros(6)
        n = round(seconds * NS / DT_NS)
        for _ in range(n):
            self.wait(0.002)
            value = self.ft.read(0.0).value
            w += np.concatenate([value.force, value.torque])
        return w / n - self.cell.ft_bias, quat_to_mat(self.arm.read(0.0).value.tcp.quat)

    def history(self, n):
        """Everything that the devices read in `n` ticks of a moving arm."""
        self.arm.activate()
        start = self.cell.q_ref.copy()
        out = []
        for k in range(n):
            self.arm.command(start + 0.1 * math.sin(k * 0.01), deadline_ns=0)
            if k == n // 2:
                self.gripper.command(0.0, force=15.0)
            self.wait(0.002)
            arm, wrench = self.arm.read(0.0).value, self.ft.read(0.0).value
            grip = self.gripper.read(0.0).value
            out.append([*arm.q, *arm.dq, *arm.tau_ext, *wrench.force, *wrench.torque])
            out[-1] += [grip.width, grip.width_ref, grip.force]
        return np.array(out)


def test_the_same_seed_is_the_same_to_the_bit_whatever_was_before():
    a, b = Bench(), Bench()
    b.cell.reset(9)
    b.history(50)
    for bench in (a, b):
        bench.cell.reset(5)
    assert a.cell.scene.xml == b.cell.scene.xml
    assert a.cell.scene.instruction == b.cell.scene.instruction
    np.testing.assert_array_equal(a.history(300), b.history(300))
    np.testing.assert_array_equal(a.cell.data.qpos, b.cell.data.qpos)
    c = Bench()
    c.cell.reset(6)
    assert not np.array_equal(c.history(300), Bench().history(300))


def test_physics_do_not_depend_on_how_often_somebody_looks():
    a, b = Bench(), Bench()
    a.wait(0.4)
    b.clock.sleep_until(b.clock.now() + 400_000_000)
    b.cell.sync()
    np.testing.assert_array_equal(a.cell.data.qpos, b.cell.data.qpos)
    assert a.cell.t_ns == b.cell.t_ns == 400_000_001


def test_a_stalled_host_is_not_followed_by_minutes_of_catching_up():
    bench = Bench()
    bench.clock.sleep_until(60 * NS)
    before = bench.cell.data.time
    bench.cell.sync()
    assert bench.cell.data.time - before == pytest.approx(1.0, abs=0.003)
    assert 0 <= bench.clock.now() - bench.cell.t_ns < DT_NS


def test_after_a_reset_the_arm_stands_at_home_with_the_tool_down():
    bench = Bench()
    for seed in range(4):
        bench.cell.reset(seed)
        state = bench.arm.read(0.0).value
        assert np.abs(state.tcp.pos - HOME).max() < CellConfig().home_spread + 2e-3
        np.testing.assert_allclose(quat_to_mat(state.tcp.quat), tool_down(0.0), atol=0.01)
        assert np.abs(state.dq).max() < 0.01
        assert not state.protective_stop
        assert bench.gripper.read(0.0).value.width == pytest.approx(STANDARD.stroke, abs=1e-3)
        colour = bench.cell.scene.truth["items"][0]["colour"]
        assert bench.cell.scene.instruction == f"put the {colour} item in the tote"
        assert not bench.cell.outcome()


def test_items_begin_in_the_bin():
    bench = Bench()
    for seed in range(5):
        bench.cell.reset(seed)
        for i in range(len(bench.cell.scene.truth["items"])):
            x, y, z = bench.cell.data.body(f"item{i}").xpos
            assert BIN.holds(x, y)
            assert 0.0 < z < 0.08


def test_samples_carry_the_simulations_time_and_count_up():
    bench = Bench()
    bench.wait(0.1)
    first, second = bench.ft.read(0.0), bench.ft.read(0.0)
    assert first.stamp.t_ns == bench.cell.t_ns == bench.clock.now()
    assert (first.stamp.seq, second.stamp.seq) == (1, 2)
    assert bench.ft.health().received == 2


@pytest.mark.parametrize("yaw", [0.0, 0.9])
def test_at_rest_the_sensor_reads_the_tools_weight(yaw):
    bench = Bench()
    bench.arm.activate()
    bench.move(tool_down(yaw), (0.42, -0.1, 0.35), 1.0)
    bench.wait(0.3)
    w, _ = bench.wrench()
    assert abs(w[2]) == pytest.approx(STANDARD.mass * 9.81, abs=0.1)
    np.testing.assert_allclose(w[:2], 0.0, atol=0.3)
    np.testing.assert_allclose(w[3:], 0.0, atol=0.03)


def test_the_wrench_is_the_force_on_the_tool():
    """As `headway.types.Wrench` has it: weight along +z of a tool that points down, and contact
    with the table along -z. So the payload's model fits at any orientation."""
    bench = Bench()
    bench.arm.activate()
    for tilt in (0.0, 0.6):
        R = tool_down(0.0) @ rotvec_to_mat(np.array([tilt, 0.0, 0.0]))
        bench.move(R, (0.42, -0.1, 0.35), 1.0)
        bench.wait(0.3)
        w, R = bench.wrench()
        left = Payload(TOOL).compensate(Wrench(w[:3], w[3:]), mat_to_quat(R))
        np.testing.assert_allclose(left[:3], 0.0, atol=0.15)
        np.testing.assert_allclose(left[3:], 0.0, atol=0.03)
    assert press_on_the_table(bench, 0.005) < -15.0


def test_noise_bias_and_delay_are_those_of_the_configuration():
    quiet = Bench(
        force_noise=0.0, torque_noise=0.0, force_bias=0.0, torque_bias=0.0, ft_delay_s=0.02
    )
    quiet.wait(0.1)
    np.testing.assert_array_equal(quiet.cell.ft_bias, np.zeros(6))
    quiet.arm.activate()
    quiet.arm.command(quiet.cell.q_ref + 0.01, deadline_ns=0)
    now, later = [], []
    for _ in range(50):
        quiet.wait(0.002)
        now.append(quiet.cell.data.sensordata[:6].copy())
        later.append(quiet.cell.wrench())
    np.testing.assert_array_equal(np.abs(now[:-10]), np.abs(later[10:]))
    assert np.abs(np.diff(now, axis=0)).max() > 0.1


def test_the_jaws_hold_an_item_and_the_sensor_feels_its_weight():
    bench = Bench(scene_config=EASY)
    bench.cell.reset(3)
    facts = bench.cell.scene.truth["items"][0]
    x, y, z = bench.cell.data.body("item0").xpos
    R = tool_down(facts["yaw"])
    bench.arm.activate()
    bench.move(R, (x, y, 0.3), 1.0)
    empty, _ = bench.wrench()
    bench.move(R, (x, y, z), 1.5)
    bench.gripper.command(0.0, force=25.0)
    bench.wait(1.0)
    bench.move(R, (x, y, 0.3), 1.5)
    bench.wait(0.5)
    grip = bench.gripper.read(0.0).value
    assert grip.width == pytest.approx(2 * facts["half_width"], abs=0.003)
    assert grip.width_ref == 0.0
    assert 15.0 < grip.force < 28.0
    assert bench.cell.data.body("item0").xpos[2] > 0.2
    held, _ = bench.wrench()
    assert abs(held[2] - empty[2]) == pytest.approx(0.3 * 9.81, abs=0.3)
    # ... and put it down in the tote: the station sees it
    assert not bench.cell.outcome()
    bench.move(R, (*TOTE.centre[:2], 0.3), 2.0)
    bench.move(R, (*TOTE.centre[:2], z + 0.02), 1.5)
    bench.gripper.command(STANDARD.stroke, force=25.0)
    bench.wait(1.0)
    assert bench.cell.outcome()


def press_on_the_table(bench, depth, seconds=2.0):
    """Contact force along the tool's z at the end [N]."""
    bench.arm.activate()
    x, y = 0.2, 0.3  # beside bin and tote
    bench.move(tool_down(0.0), (x, y, 0.1), 1.5)
    free, _ = bench.wrench()
    with contextlib.suppress(ArmStopped):
        bench.move(tool_down(0.0), (x, y, -depth), seconds)
    pressed, _ = bench.wrench()
    return pressed[2] - free[2]


def test_contact_pushes_back_and_the_mount_gives_way():
    bench = Bench()
    force = press_on_the_table(bench, 0.005)
    assert 15.0 < abs(force) < 60.0
    assert not bench.cell.protective_stop


def test_too_much_force_is_a_protective_stop_until_reset():
    bench = Bench(protective_force=80.0)
    peak = press_on_the_table(bench, 0.12)
    state = bench.arm.read(0.0).value
    assert state.protective_stop
    assert 40.0 < abs(peak) < 120.0  # it stopped there, and did not press on
    where, held = bench.cell.q.copy(), bench.cell.q_ref.copy()
    with pytest.raises(ArmStopped, match="protective stop"):
        bench.arm.command(held + 0.3, deadline_ns=0)
    bench.wait(0.3)
    np.testing.assert_allclose(bench.cell.q, where, atol=0.01)
    np.testing.assert_array_equal(bench.arm.read(0.0).value.q_ref, held)
    with pytest.raises(DeviceError, match="protective stop"):
        bench.arm.activate()
    bench.cell.reset(1)
    bench.arm.activate()
    assert not bench.arm.read(0.0).value.protective_stop


def test_the_arm_follows_and_stop_freezes_it():
    bench = Bench()
    bench.arm.activate()
    goal = bench.cell.q_ref + 0.2
    for _ in range(500):
        bench.arm.command(goal, deadline_ns=0)
        bench.wait(0.002)
    np.testing.assert_allclose(bench.arm.read(0.0).value.q, goal, atol=5e-3)
    bench.arm.command(goal + 0.3, deadline_ns=0)
    bench.wait(0.1)
    bench.arm.stop()
    where = bench.cell.q.copy()
    bench.wait(1.0)
    assert np.abs(bench.cell.q - where).max() < 0.1
    assert np.abs(bench.cell.dq).max() < 1e-2
    bench.arm.stop(category=1)
    bench.arm.stop()  # which activates nothing
    with pytest.raises(DeviceError, match="activate"):
        bench.arm.command(goal, deadline_ns=0)


@pytest.mark.parametrize("bad", [np.full(6, np.nan), np.full(6, np.inf), np.zeros(5)])
def test_the_arm_takes_no_command_that_is_none(bad):
    bench = Bench()
    bench.arm.activate()
    before = bench.cell.q_ref.copy()
    with pytest.raises(DeviceError, match="6 finite joint positions"):
        bench.arm.command(bad, deadline_ns=0)
    np.testing.assert_array_equal(bench.cell.q_ref, before)


def test_the_gripper_takes_finite_numbers_within_its_stroke():
    bench = Bench()
    for width, force in ((math.nan, 10.0), (0.02, math.inf)):
        with pytest.raises(DeviceError, match="finite numbers"):
            bench.gripper.command(width, force=force)
    bench.gripper.command(5.0, force=500.0)
    assert (bench.cell.width_ref, bench.cell.grip_limit) == (STANDARD.stroke, 40.0)
    bench.gripper.command(0.0, force=10.0)
    bench.wait(0.2)
    bench.gripper.stop()
    where = bench.gripper.read(0.0).value.width
    bench.wait(0.3)
    assert 0.02 < where < 0.08
    assert bench.gripper.read(0.0).value.width == pytest.approx(where, abs=0.005)


def test_in_real_time_a_reader_waits_for_its_turn():
    class Wall(VirtualClock):
        realtime = True

    bench = Bench(Wall(1))
    stamps = [bench.ft.read(1.0).stamp.t_ns for _ in range(4)]
    assert list(np.diff(stamps)) == [DT_NS] * 3


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ({"scene": "pick_plaice"}, "did you mean `pick_place`?"),
        ({"scene_config": {"item_min": 1}}, "unknown key `item_min`: did you mean `items_min`?"),
        ({"home": [3.0, 0.0, 0.3]}, "out of the arm's reach"),
        ({"tmestep": 0.001}, "did you mean `timestep`?"),
    ],
)
def test_what_does_not_fit_is_a_configuration_error(cell, says):
    with pytest.raises(ConfigError) as e:
        Bench(**cell)
    assert says in str(e.value)


def test_an_unstable_simulation_is_an_error_not_a_nan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves its own log in the working directory
    bench = Bench()
    bench.cell.data.qvel[:6] = 1e12
    with pytest.raises(DeviceError, match="unstable: use a smaller"):
        bench.wait(0.1)


def test_zones_know_their_margins():
    zone = Zone((1.0, 2.0, 0.0), (0.1, 0.2, 0.0))
    assert zone.holds(1.05, 2.15)
    assert not zone.holds(1.05, 2.15, margin=0.06)
    assert not zone.holds(1.2, 2.0)


def test_encoders_with_wrong_zeros_let_the_arm_stand_elsewhere_than_it_believes():
    exact, off = Bench(), Bench(joint_offset=0.002)
    np.testing.assert_array_equal(exact.cell.offset, np.zeros(6))
    assert 0.0005 < np.abs(off.cell.offset).max() < 0.01
    off.wait(0.1)
    believed, real = off.arm.read(0.0).value.q, off.cell.q.copy()
    np.testing.assert_allclose(believed, real - off.cell.offset, atol=2e-4)
    np.testing.assert_allclose(believed, exact.cell.q, atol=1e-3)  # it went home by its encoders
    off.cell.hold()
    off.wait(0.2)
    np.testing.assert_allclose(off.cell.q, real, atol=2e-4)  # and stays there
    noisy = Bench(joint_offset=0.002, scene_config={"noise": 3.0})
    np.testing.assert_allclose(noisy.cell.offset, 3.0 * off.cell.offset)
    np.testing.assert_allclose(noisy.cell.ft_bias, 3.0 * off.cell.ft_bias)
