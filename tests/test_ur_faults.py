"""headway.drivers.arms.ur against a stand-in for the controller: what keeps it from moving, and
what becomes of the connection."""

from __future__ import annotations

import math
import threading

import pytest
from ur_fixtures import active, arm, ctx, robot
from ur_stand_in import HOME, LONG, here, keep_on, refused, refused_in_the_end, until

from headway.clock import WallClock
from headway.drivers import Context, open_device
from headway.drivers.arms import ur
from headway.drivers.latest import Latest
from headway.errors import Busy, DeviceError

# What keeps it from moving.


def test_it_is_not_activated_in_local_control_or_without_power(arm, robot):
    robot.answers["is in remote control"] = "false"
    with pytest.raises(DeviceError, match="found it in local control: switch it over"):
        arm.activate()
    robot.set(robot_mode=5, robot_status_bits=0)
    until(arm, lambda s: not s.value.powered)
    with pytest.raises(DeviceError, match=r"found the mode idle \(brakes on\)"):
        arm.activate()
    assert robot.programs == []


def test_a_program_of_somebody_else_is_not_replaced_unasked(robot, ctx):
    robot.set(robot_status_bits=3)
    arm = open_device("arms", "ur", robot.table | {"watchdog_hz": 100.0}, ctx)
    arm.open(LONG)
    with pytest.raises(Busy, match="another one runs there: stop it"):
        arm.activate()
    assert robot.programs == []
    arm.close()
    keys = {"watchdog_hz": 100.0, "take_over": True}
    arm = open_device("arms", "ur", robot.table | keys, Context(WallClock(0)))
    arm.open(LONG)
    arm.activate()
    assert len(robot.programs) == 1
    arm.close()


def test_a_program_that_does_not_start_is_told(arm, robot, monkeypatch):
    monkeypatch.setattr(ur, "_READY_S", 0.2)
    robot.takes_programs = False
    with pytest.raises(DeviceError, match=r"to start within .* found no program running"):
        arm.activate()
    refused(arm, HOME, r"wants activate\(\)")


def test_a_protective_stop_is_latched_and_left_by_explicit_steps(active, robot):
    active.command(here(active), deadline_ns=0)
    robot.set(safety_status_bits=1 << 2)
    sample = until(active, lambda s: s.value.protective_stop)
    assert "protective stop" in sample.flags
    refused(active, HOME, r"is in protective stop: acknowledge\(\) it, then activate\(\)")
    robot.set(safety_status_bits=1)  # somebody unlocked it at the panel
    until(active, lambda s: not s.flags)
    refused(active, HOME, r"acknowledge\(\) it")
    with pytest.raises(DeviceError, match=r"is in protective stop: .* acknowledge\(\)"):
        active.activate()
    assert active.read(LONG).value.protective_stop  # until somebody has looked
    robot.set(safety_status_bits=1 << 2)
    until(active, lambda s: "protective stop" in s.flags)
    active.acknowledge()
    assert "unlock protective stop" in robot.asked
    refused(active, HOME, r"wants activate\(\)")
    active.activate()
    active.command(here(active), deadline_ns=0)
    assert not active.read(LONG).value.protective_stop


def test_a_protective_stop_that_cannot_be_unlocked_says_why(active, robot):
    robot.answers["unlock protective stop"] = "Cannot unlock protective stop until 5s after"
    robot.set(safety_status_bits=1 << 2)
    until(active, lambda s: s.value.protective_stop)
    with pytest.raises(DeviceError, match="found 'Cannot unlock protective stop until 5s after'"):
        active.acknowledge()
    refused(active, HOME, "acknowledge")


@pytest.mark.parametrize(("bit", "name"), [(5, "system emergency stop"), (7, "emergency stop")])
def test_an_emergency_stop_is_for_people_to_end(active, robot, bit, name):
    robot.set(safety_status_bits=1 << bit, robot_mode=3, robot_status_bits=0)
    until(active, lambda s: s.value.protective_stop)
    refused(active, HOME, f"is in {name}: acknowledge")
    with pytest.raises(DeviceError, match=f"is in {name}: release the button"):
        active.acknowledge()
    robot.set(safety_status_bits=1)
    robot.end_program()
    until(active, lambda s: not s.flags)
    active.acknowledge()
    robot.set(robot_mode=7)
    until(active, lambda s: s.value.powered)
    active.activate()
    active.command(here(active), deadline_ns=0)


def test_a_program_that_is_ended_at_the_panel_is_noticed(active, robot):
    active.command(here(active), deadline_ns=0)
    robot.end_program()
    refused_in_the_end(active, r"has lost its program.*activate\(\) it")
    active.activate()
    active.command(here(active), deadline_ns=0)


def test_speed_scaling_is_told_while_a_program_runs(arm, robot):
    robot.set(speed_scaling=0.0)
    assert arm.read(LONG).flags == ()
    arm.activate()
    robot.set(speed_scaling=0.43)
    sample = until(arm, lambda s: s.flags == ("speed scaling 0.43",))
    assert sample.valid


# The connection.


def test_a_dropped_connection_is_told_at_once_and_set_up_anew(active, robot, ctx):
    source = Latest(active, ctx.clock, "arm")
    active.command(here(active), deadline_ns=0)
    robot.hang_up()
    with pytest.raises(DeviceError, match=r"is lost: .*closed it"):
        until(active, lambda s: False)
    refused(active, HOME, r"has lost its connection .* activate\(\) it once it is back")
    assert active.health().state == "fault"
    active.stop()  # has nothing to stop: the controller did
    source.start(LONG)  # opens it again
    assert robot.connections == 2
    assert active.health().reconnects == 1
    refused(active, HOME, "has lost its connection")  # no motion by itself
    robot.end_program()
    active.activate()
    active.command(source.latest(10**10).value.q, deadline_ns=0)
    source.close()


@pytest.mark.parametrize(
    ("question", "other", "said"),
    [
        ("get serial number", "20229999999", "serial number 20225500123 .* found 20229999999"),
        ("get robot model", "UR10", "wanted a ur5e at .* found a UR10e"),
    ],
)
def test_another_robot_at_the_address_is_refused_after_a_lost_connection(
    robot, ctx, question, other, said
):
    arm = open_device("arms", "ur", robot.table | {"serial": robot.serial}, ctx)
    arm.open(LONG)
    robot.hang_up()
    with pytest.raises(DeviceError, match="is lost"):
        until(arm, lambda s: False)
    arm.close()
    ours, robot.answers[question] = robot.answers[question], other  # with the same software
    with pytest.raises(DeviceError, match=said):
        arm.open(LONG)
    robot.answers[question] = ours
    arm.open(LONG)
    assert arm.info.serial == robot.serial
    assert arm.read(LONG).valid
    arm.close()


def test_a_reader_that_waits_hears_of_the_loss_from_its_wait(arm, robot):
    robot.silent = True
    caught = []
    waits = threading.Thread(target=lambda: caught.append(_raised(arm)))
    waits.start()
    robot.hang_up()
    waits.join(LONG)
    assert "is lost" in caught[0]


def _raised(arm):
    try:
        while True:
            arm.read(LONG)
    except DeviceError as e:
        return str(e)


def test_a_controller_that_takes_nothing_is_a_fault_and_no_command_waits_for_it(active, robot):
    active.command(here(active), deadline_ns=0)
    robot.deaf = True
    q = here(active)
    with pytest.raises(DeviceError, match=r"lost.* takes nothing"):
        keep_on(active, lambda: q)
    refused(active, q, "has lost its connection")


def test_silence_is_a_fault_after_a_second(active, robot):
    robot.silent = True
    with pytest.raises(DeviceError, match="silent for 1 s"):
        until(active, lambda s: False)
    refused(active, HOME, "has lost its connection")


def test_what_is_skipped_is_counted_and_a_clock_that_restarts_is_told(arm, robot):
    arm.read(LONG)
    before = arm.health().lost
    with robot.lock:
        robot.fields["timestamp"] += 0.2  # a hundred states
    until(arm, lambda s: arm.health().lost >= before + 100)
    last = arm.read(LONG)
    robot.set(timestamp=0.0)
    sample = until(arm, lambda s: "clock restarted" in s.flags)
    assert sample.stamp.t_ns >= last.stamp.t_ns
    assert sample.stamp.device_ns < 1_000_000_000


def test_numbers_that_are_none_are_not_valid(arm, robot):
    robot.set(actual_q=[math.nan] * 6)
    sample = until(arm, lambda s: not s.valid)
    assert "joints that are no numbers" in sample.flags
    robot.set(actual_q=list(HOME))
    until(arm, lambda s: s.valid)

    def mangle(package):
        robot.mangle = bytes
        return package[:4] + b"\x7f\xf8" + package[6:]  # the time is NaN

    robot.mangle = mangle
    until(arm, lambda s: arm.health().crc_errors > 0)
    assert all(math.isfinite(x) for x in arm.read(LONG).value.q)


def test_joints_that_do_not_move_with_their_reference_are_stuck(arm, robot):
    arm.read(LONG)
    assert arm.read(LONG).valid
    robot.set(target_q=[x + 0.04 for x in HOME])
    until(arm, lambda s: s.value.q_ref[0] == 0.04)
    assert arm.read(LONG).valid
    robot.set(target_q=[x + 0.06 for x in HOME])
    sample = until(arm, lambda s: not s.valid)
    assert sample.flags == ("stuck",)
    robot.set(actual_q=[x + 1e-12 for x in HOME])
    until(arm, lambda s: s.valid)


def test_joints_that_jump_are_not_valid_until_they_stay_there(arm, robot):
    assert arm.read(LONG).valid

    def mangle(package):
        robot.mangle = bytes
        return package[:12] + b"\x40\x00" + package[14:]  # the first joint is at 2 rad

    robot.mangle = mangle
    sample = until(arm, lambda s: not s.valid)
    assert sample.flags == ("a jump",)
    assert arm.read(LONG).valid
    robot.set(actual_qd=[50.0] * 6)
    assert until(arm, lambda s: not s.valid).flags == ("a jump",)
    robot.set(actual_qd=[0.0] * 6, actual_q=[1.0] * 6, target_q=[1.0] * 6)
    until(arm, lambda s: s.valid and s.value.q[0] == 1.0)


def test_damaged_headers_are_dropped_and_counted(arm, robot):
    def mangle(package):
        robot.mangle = bytes
        return b"\xff" + package[1:]

    robot.mangle = mangle
    until(arm, lambda s: arm.health().crc_errors == 1)
    assert arm.read(LONG).value.q.tolist() == HOME


# Stopping from another process.


def test_the_watchdog_stops_it_by_the_dashboard(active, robot):
    ur.remote_stop(robot.table)
    assert robot.asked[-1] == "stop"
    refused_in_the_end(active, "has lost its program")


@pytest.mark.parametrize("keys", [{"dashboard_port": 0}, {}])
def test_the_watchdog_stops_it_by_a_program_where_the_dashboard_does_not(active, robot, keys):
    robot.answers["stop"] = "Failed to execute: stop"
    ur.remote_stop(robot.table | keys)
    until(active, lambda s: len(robot.programs) == 2)
    assert robot.programs[-1] == "def headway_stop():\n  stopj(10)\nend\n"
