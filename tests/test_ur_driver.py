"""headway.drivers.arms.ur against a stand-in for the controller: who it is, and how it moves."""

from __future__ import annotations

import math
import socket

import numpy as np
import pytest
from ur_fixtures import active, arm, ctx, robot
from ur_stand_in import HOME, LONG, Controller, here, modes, refused, until

from headway.clock import WallClock
from headway.drivers import Context, open_device
from headway.errors import Busy, ConfigError, DeviceError

# Before it is open, and opening it.


def test_it_is_known_before_it_is_open(robot, ctx):
    arm = open_device("arms", "ur", robot.table | {"model": "ur10", "serial": "123"}, ctx)
    assert arm.info.kind == "ur"
    assert arm.info.uri == f"rtde://127.0.0.1:{robot.ports[0]}"
    assert arm.info.serial == "123"
    assert arm.model.name == "ur10"
    assert arm.limits.q_min.shape == (6,)
    assert arm.health().state == "closed"
    with pytest.raises(DeviceError, match="open it before reading"):
        arm.read(0.0)


def test_the_state_comes_with_stamps_and_identity(arm, robot):
    robot.set(actual_qd=[0.1] * 6)
    sample = until(arm, lambda s: s.value.dq[0] == 0.1)
    assert sample.valid
    assert sample.flags == ()
    assert sample.value.q.tolist() == HOME
    assert sample.value.powered
    assert not sample.value.protective_stop
    assert sample.value.tau_ext is None
    pose = arm.chain.pose(sample.value.q)
    assert np.allclose(sample.value.tcp.pos, pose.pos)
    later = arm.read(LONG)
    assert later.stamp.t_ns >= sample.stamp.t_ns
    assert later.stamp.seq > sample.stamp.seq
    assert later.stamp.device_ns - sample.stamp.device_ns >= 2_000_000
    assert sample.stamp.error_ns >= 2_000_000
    assert (arm.info.model, arm.info.serial) == ("UR5e arm", "20225500123")
    assert arm.info.firmware == "5.12.0.100"
    assert robot.programs == []  # opening moves nothing
    assert robot.written == []


def test_torques_follow_from_currents_where_the_constants_are_given(robot, ctx):
    table = robot.table | {"nm_per_a": [10.0, 10.0, 10.0, 4.0, 4.0, 4.0]}
    arm = open_device("arms", "ur", table, ctx)
    arm.open(LONG)
    assert arm.read(LONG).value.tau_ext.tolist() == [2.5, 2.5, 2.5, 1.0, 1.0, 1.0]
    arm.close()


@pytest.mark.parametrize(
    ("change", "keys", "match"),
    [
        ({"version": (5, 0, 4, 1)}, {}, r"wanted firmware 5\.1 or newer .* found 5\.0\.4\.1"),
        ({"version": (1, 8, 0, 1)}, {}, r"wanted firmware 3\.5 or newer"),
        ({}, {"firmware": [5, 13]}, r"wanted firmware 5\.13 or newer in the UR5e .* found 5\.12"),
        ({"model": "UR10"}, {}, "wanted a ur5e at .*, found a UR10e: correct `model`"),
        ({"version": (3, 15, 0, 1)}, {"rate_hz": 125.0}, "wanted a ur5e at .*, found a UR5:"),
        ({"version": (3, 15, 0, 1)}, {}, "`rate_hz` wants at most 125 for a controller of the CB3"),
        ({}, {"serial": "99"}, "with the serial number 99 at .*, found 20225500123"),
        ({}, {"serial": "99", "dashboard_port": 0}, "found no dashboard that would tell"),
    ],
)
def test_another_robot_than_expected_is_refused(ctx, change, keys, match):
    with Controller(**change) as robot:
        arm = open_device("arms", "ur", robot.table | keys, ctx)
        with pytest.raises((DeviceError, ConfigError), match=match):
            arm.open(LONG)
        arm.close()
        assert robot.written == []


def test_fields_that_are_missing_or_taken_are_named(ctx):
    with Controller() as robot:
        robot.not_found = {"speed_scaling"}
        arm = open_device("arms", "ur", robot.table, ctx)
        with pytest.raises(DeviceError, match=r"wanted to read speed_scaling .* no such field"):
            arm.open(LONG)
        robot.not_found = set()
        robot.in_use = {"input_int_register_1", "input_double_register_5"}
        with pytest.raises(
            Busy, match=r"input_int_register_1, input_double_register_5 .* another client"
        ):
            arm.open(LONG)
        # The other registers are free.
        other = open_device("arms", "ur", robot.table | {"registers": 24}, Context(WallClock(0)))
        other.open(LONG)
        other.activate()
        until(other, lambda s: robot.written)
        assert {"input_int_register_24", "input_double_register_29"} < set(robot.written[-1])
        other.close()


def test_a_port_that_is_not_rtde_is_told_from_one_where_nobody_is(robot, ctx):
    wrong = robot.table | {"rtde_port": robot.ports[2]}  # the dashboard greets
    with pytest.raises(DeviceError, match=r"found 45 bytes of something else.*RTDE port"):
        open_device("arms", "ur", wrong, ctx).open(0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DeviceError, match="Connection refused: is the device on"):
        open_device("arms", "ur", robot.table | {"rtde_port": port}, ctx).open(LONG)


def test_a_model_that_is_no_arm_of_six_joints_is_refused(robot, ctx):
    with pytest.raises(ConfigError, match="wants 6 joints, found 7"):
        open_device("arms", "ur", robot.table | {"model": "franka"}, ctx)


# Motion.


def test_it_moves_after_activate_and_only_then(arm, robot):
    refused(arm, HOME, r"wants activate\(\)")
    arm.activate()
    q = here(arm) + 0.001
    sent = arm.command(q, deadline_ns=0)
    assert np.array_equal(sent.q, q)
    until(arm, lambda s: np.allclose(s.value.q, q))
    first = robot.written[0]
    assert [first[f"input_double_register_{i}"] for i in range(6)] == HOME  # goal := measured
    assert first["input_int_register_1"] == 1
    assert modes(robot)[-1] == 2
    beats = [w["input_int_register_0"] for w in robot.written]
    assert beats == sorted(set(beats))


def test_the_program_is_plain_and_complete(active, robot):
    (text,) = robot.programs
    assert text.startswith("def headway_servo():\n")
    assert text.endswith("end\n")
    assert "@" not in text
    assert "#" not in text
    assert 'rtde_set_watchdog("input_int_register_0", 10, "stop")' in text
    assert "servoj(q, 0, 0, 0.002, 0.1, 300)" in text
    openers = sum(line.split()[0] in ("def", "if", "while") for line in text.splitlines())
    assert openers == sum(line.strip() == "end" for line in text.splitlines())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (math.nan, "wants 6 finite joint positions"),
        (math.inf, "wants 6 finite joint positions"),
        (20.0, "wants joints from"),
        (-100.0, "wants joints from"),
        (0.5, "of the last command"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_and_nothing_is_sent(active, robot, change, match):
    for joint in range(6):
        q = here(active)
        q[joint] += change
        refused(active, q, match)
    refused(active, HOME[:5], "wants 6 finite")
    assert set(modes(robot)) == {1}
    active.command(here(active), deadline_ns=0)  # the arm is none the worse


def test_while_it_holds_the_link_feeds_the_watchdog_and_while_it_moves_it_does_not(active, robot):
    begun = len(robot.written)
    until(active, lambda s: len(robot.written) > begun + 2)
    assert set(modes(robot)) == {1}
    active.command(here(active), deadline_ns=0)
    until(active, lambda s: modes(robot)[-1:] == [2])
    count = len(robot.written)
    first = active.read(LONG).stamp.t_ns
    until(active, lambda s: s.stamp.t_ns > first + 200_000_000)  # eight times as long as it waits
    assert len(robot.written) == count
    active.stop(2)
    until(active, lambda s: len(robot.written) > count + 2)
    assert set(modes(robot)[count:]) == {1}
    active.command(here(active), deadline_ns=0)


def test_a_stop_of_category_1_ends_the_program(active, robot):
    active.command(here(active), deadline_ns=0)
    active.stop(1)
    until(active, lambda s: robot.session == 0)
    assert modes(robot)[-1] == 0
    refused(active, HOME, r"was stopped: activate\(\)")
    active.activate()
    active.command(here(active), deadline_ns=0)
    assert len(robot.programs) == 2


def test_a_stop_of_category_0_takes_the_power_away(active, robot):
    active.stop(0)
    until(active, lambda s: modes(robot)[-1:] == [0])
    assert robot.asked[-1] == "power off"


def test_power_is_not_taken_away_without_a_dashboard(robot, ctx):
    arm = open_device("arms", "ur", robot.table | {"dashboard_port": 0}, ctx)
    arm.open(LONG)
    arm.activate()
    with pytest.raises(DeviceError, match="found no dashboard: the arm was stopped"):
        arm.stop(0)
    until(arm, lambda s: modes(robot)[-1:] == [0])
    robot.set(safety_status_bits=1 << 2)
    until(arm, lambda s: s.value.protective_stop)
    with pytest.raises(DeviceError, match="found no dashboard: unlock it at the robot's panel"):
        arm.acknowledge()
    arm.close()


def test_activating_twice_takes_the_same_program_and_holds(active, robot):
    active.command(here(active) + 0.002, deadline_ns=0)
    until(active, lambda s: 2 in modes(robot))
    active.activate()
    assert len(robot.programs) == 1
    until(active, lambda s: modes(robot)[-1] == 1)
    active.command(here(active), deadline_ns=0)


def test_a_stop_before_activate_does_nothing(arm, robot):
    arm.stop()
    assert robot.written == []
