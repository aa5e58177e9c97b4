"""The kinds `feetech` of arms and grippers: against the emulated line, with its faults; and the
calibration that they share with LeRobot."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from servo_host import kill_in_motion

from headway.clock import WallClock
from headway.drivers import Context
from headway.drivers.arms import feetech as arms
from headway.drivers.grippers import feetech as grippers
from headway.drivers.latest import Latest
from headway.drivers.servo_calibration import Motor, check, read
from headway.errors import ConfigError, DeviceError, Stale
from headway.hil.launch import Emulator

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
PLANT = {"kind": "servo", "model": "so101"}
LATE_S = 20.0  # until something that has to happen has happened, on a busy machine


def calibration(folder: Path, **changes: dict[str, int]) -> Path:
    """A calibration file whose angles are those of the emulated servos, 0 at 2048; `changes` by the
    motor's name."""
    table = {
        name: {"id": i, "drive_mode": 0, "homing_offset": 0, "range_min": 300, "range_max": 3796}
        for i, name in enumerate(NAMES, 1)
    }
    table["gripper"] |= {"range_min": 2048, "range_max": 3189}  # closed, and 1.75 rad open
    for name, keys in changes.items():
        table[name] |= keys
    path = folder / "calibration.json"
    path.write_text(json.dumps(table))
    return path


def devices(uri: str, path: Path, **keys):
    """Arm and jaw at `uri`, with a context of their own."""
    ctx = Context(WallClock(spin_ns=0))
    table = {"port": uri, "calibration": str(path), "check_calibration": False, **keys}
    arm = arms.connect(arms.Config(**table), ctx)
    return arm, grippers.connect(grippers.Config(port=uri), ctx)


def soon(condition, *what):
    """Wait until `condition()` holds, calling `what` meanwhile; returns what it gave."""
    until = time.monotonic() + LATE_S
    while not (found := condition()):
        assert time.monotonic() < until
        for call in what:
            call()
    return found


def fault_of(arm):
    """What the arm says of its fault, "" while it has none."""
    try:
        arm.read(0.1)
    except Stale:
        return ""
    except DeviceError as e:
        return str(e)
    return ""


def fresh(source):
    """A sample of `source`, which may be late on a busy machine."""

    def attempt():
        try:
            return source.read(1.0)
        except Stale:
            return None

    return soon(attempt)


def open_and_read(arm):
    """Open `arm` and read it until it fails."""
    arm.open(LATE_S)
    soon(lambda: fresh(arm) is None)


@pytest.fixture
def line(tmp_path):
    with Emulator("feetech", {}, PLANT) as device:
        arm, jaw = devices(device.uri, calibration(tmp_path))
        arm.open(LATE_S)
        jaw.open(LATE_S)
        yield device, arm, jaw
        arm.close()
        jaw.close()


def test_the_arm_goes_where_it_is_sent_and_the_jaw_as_well(line):
    _, arm, jaw = line
    before = fresh(arm).value.q
    arm.activate()
    goal = before + np.array([0.1, 0.0, -0.1, 0.0, 0.05])
    sent = arm.command(goal, deadline_ns=0)
    np.testing.assert_array_equal(sent.q, goal)
    soon(lambda: np.abs(fresh(arm).value.q - goal).max() < 0.01)
    jaw.command(0.03, force=10.0)
    soon(lambda: abs(fresh(jaw).value.width - 0.03) < 0.01)
    assert arm.info.firmware
    assert arm.health().received > 2


def test_nothing_moves_before_it_is_activated(line):
    _, arm, jaw = line
    q = fresh(arm).value.q
    with pytest.raises(DeviceError, match="activate"):
        arm.command(q, deadline_ns=0)
    with pytest.raises(DeviceError, match="activate"):
        jaw.command(0.0, force=1.0)
    arm.activate()
    assert np.abs(fresh(arm).value.q - q).max() < 0.005


@pytest.mark.parametrize("bad", [math.nan, math.inf, 3.0, 0.9])
def test_a_command_that_cannot_be_is_refused_and_nothing_is_sent(line, bad):
    _, arm, _ = line
    arm.activate()
    q = fresh(arm).value.q
    wrong = q.copy()
    wrong[0] = bad
    with pytest.raises(DeviceError, match=r"finite|within"):
        arm.command(wrong, deadline_ns=0)
    for _ in range(5):
        assert np.abs(fresh(arm).value.q - q).max() < 0.005


def test_a_stop_holds_where_the_arm_is_and_a_harder_one_wants_activation(line):
    _, arm, _ = line
    arm.activate()
    q = fresh(arm).value.q
    arm.command(q + np.array([0.25, 0, 0, 0, 0]), deadline_ns=0)
    soon(lambda: fresh(arm).value.q[0] > q[0] + 0.02)
    arm.stop(2)
    held = soon(lambda: (s := fresh(arm).value) and abs(s.dq[0]) < 0.02 and s)
    assert held.q[0] < q[0] + 0.26
    arm.command(held.q_ref, deadline_ns=0)
    arm.stop(1)
    with pytest.raises(DeviceError, match="activate"):
        arm.command(held.q_ref, deadline_ns=0)


def test_a_silent_servo_is_a_fault_that_only_activation_leaves(tmp_path):
    fault = {"kind": "silent", "at_s": 0.0, "for_s": 1.5, "target": 3}
    with Emulator("feetech", {"faults": [fault]}, PLANT) as device:
        arm, _ = devices(device.uri, calibration(tmp_path))
        with pytest.raises(DeviceError, match=r"elbow_flex|id 3"):
            open_and_read(arm)
        arm.close()

        def opens():
            try:
                arm.open(LATE_S)
            except DeviceError:
                return False
            return True

        soon(opens)
        q = fresh(arm).value.q
        with pytest.raises(DeviceError, match="activate"):
            arm.command(q, deadline_ns=0)
        arm.activate()
        arm.command(q, deadline_ns=0)
        arm.close()


def test_an_overload_in_motion_is_told_with_its_servo_and_sends_nothing_more(tmp_path):
    fault = {"kind": "overload", "at_s": 1.0, "for_s": 0.5, "target": 2}
    with Emulator("feetech", {"faults": [fault]}, PLANT) as device:
        arm, _ = devices(device.uri, calibration(tmp_path))
        arm.open(LATE_S)
        arm.activate()
        q = fresh(arm).value.q

        def fails():
            try:
                arm.command(q, deadline_ns=0)
                fresh(arm)
            except DeviceError as e:
                return str(e)
            return ""

        assert "shoulder_lift" in soon(fails)
        with pytest.raises(DeviceError, match="activate"):
            arm.command(q, deadline_ns=0)

        def again():
            try:
                arm.activate()
            except DeviceError:
                return False  # the load is still there
            return True

        assert soon(again)
        arm.command(fresh(arm).value.q, deadline_ns=0)
        arm.close()


def test_an_arm_that_reports_an_overload_can_be_opened_and_says_so_until_it_is_activated(tmp_path):
    fault = {"kind": "overload", "at_s": 0.0, "for_s": 0.01, "target": 2}
    with Emulator("feetech", {"faults": [fault]}, PLANT) as device:
        arm, _ = devices(device.uri, calibration(tmp_path))
        arm.open(LATE_S)

        assert "shoulder_lift (id 2): overload" in soon(lambda: fault_of(arm))
        arm.activate()
        arm.command(fresh(arm).value.q, deadline_ns=0)
        arm.close()


RESTARTS = [{"kind": "restart", "at_s": 1.0 + 2.0 * k, "target": 3} for k in range(8)]


def tell_restarts(driver, make, *, active):
    """Let servo 3 lose its power for a moment, again and again, under the arm that `make` makes of
    the address of the emulated line of `driver`, `active` or without torque: it has to say so, and
    to want activation."""
    with Emulator(driver, {"faults": RESTARTS}, PLANT) as device:
        arm = make(device.uri)
        arm.open(LATE_S)
        if active:
            arm.activate()
        said = soon(lambda: fault_of(arm))
        assert "anew" in said
        assert "elbow_flex (id 3)" in said
        with pytest.raises(DeviceError, match="activate"):
            arm.command(np.zeros(5), deadline_ns=0)

        def again():
            try:
                arm.activate()
                arm.command(fresh(arm).value.q, deadline_ns=0)
            except DeviceError:  # the next time came meanwhile
                return False
            return True

        assert soon(again)
        arm.close()


@pytest.mark.parametrize("active", [False, True])
def test_a_servo_that_started_anew_is_told_before_activation_as_after(tmp_path, active):
    tell_restarts("feetech", lambda uri: devices(uri, calibration(tmp_path))[0], active=active)


def test_a_pulled_plug_is_a_fault(line):
    device, arm, _ = line
    fresh(arm)
    device.kill()

    assert soon(lambda: fault_of(arm))
    assert arm.health().state == "fault"


def test_a_line_that_comes_back_is_counted_as_a_reconnection_of_each_of_its_devices(tmp_path):
    fault = {"kind": "silent", "at_s": 1.0, "for_s": 0.5}
    with Emulator("feetech", {"faults": [fault]}, PLANT) as device:
        readers = [Latest(d, WallClock(0)) for d in devices(device.uri, calibration(tmp_path))]
        for reader in readers:
            reader.start(LATE_S)
        for reader in readers:
            soon(lambda reader=reader: reader.health().reconnects > 0)
            soon(lambda reader=reader: reader.health().state == "ok")
        for reader in readers:
            reader.close()


def test_a_device_that_is_closed_in_fault_says_so_and_leaves_the_line_to_the_other(tmp_path):
    fault = {"kind": "silent", "at_s": 1.0, "for_s": 0.5, "target": 3}
    with Emulator("feetech", {"faults": [fault]}, PLANT) as device:
        arm, jaw = devices(device.uri, calibration(tmp_path))
        arm.open(LATE_S)
        jaw.open(LATE_S)
        assert "elbow_flex" in soon(lambda: fault_of(arm))
        arm.close()
        arm.close()  # once more takes nothing from the jaw
        assert arm.health().state == "fault"
        with pytest.raises(DeviceError, match="is closed: open it before reading"):
            arm.read(0.1)
        assert "elbow_flex" in fault_of(jaw)
        arm.open(LATE_S)  # the line is in fault still, which opening does not leave
        assert "elbow_flex" in fault_of(arm)
        assert arm.health().reconnects == 0

        def again():
            try:
                arm.activate()
            except DeviceError:
                return False  # the servo is silent still
            return True

        soon(again)
        for one in (arm, jaw):
            fresh(one)
            assert (one.health().state, one.health().reconnects) == ("ok", 1)
            one.close()
            assert one.health().state == "closed"


def test_a_host_that_is_killed_leaves_an_arm_that_holds_its_last_goal(tmp_path):
    """The documented behaviour of these servos: they have no watchdog."""
    with Emulator("feetech", {}, PLANT) as device:
        path = calibration(tmp_path)
        kill_in_motion("test_feetech_arm", device.uri, path)
        soon(lambda: any(e.event == "held" or e.why == "held" for e in device.journal()))


def test_two_devices_share_the_line_in_any_order_of_closing(tmp_path):
    with Emulator("feetech", {}, PLANT) as device:
        arm, jaw = devices(device.uri, calibration(tmp_path))
        arm.open(LATE_S)
        jaw.open(LATE_S)
        arm.close()
        assert fresh(jaw).value.width >= 0.0
        jaw.close()
        with pytest.raises(DeviceError, match="closed"):
            jaw.read(0.1)


def test_the_calibration_in_the_servos_is_compared(tmp_path):
    with Emulator("feetech", {}, PLANT) as device:
        path = calibration(tmp_path, elbow_flex={"homing_offset": 33})
        arm, _ = devices(device.uri, path, check_calibration=True)
        with pytest.raises(DeviceError, match=r"elbow_flex has homing_offset 0 \(the file 33\)"):
            arm.open(LATE_S)


def test_another_device_at_the_port_is_no_arm(tmp_path):
    with Emulator("robotiq_2f", {}, {"kind": "servo"}) as device:
        arm, _ = devices(device.uri, calibration(tmp_path))
        with pytest.raises(DeviceError, match="found no answer of shoulder_pan"):
            arm.open(LATE_S)


def test_angles_and_counts():
    m = Motor(1, 0, 0, 1000, 3000)
    assert m.angle(2000) == 0.0
    assert m.angle(3024) == pytest.approx(math.pi / 2)
    assert m.counts(math.pi / 2) == 3024
    turned = Motor(1, 1, 0, 1000, 3000)
    assert turned.angle(3024) == pytest.approx(-math.pi / 2)
    assert turned.counts(turned.angle(1234)) == 1234
    assert (m.share(1000), m.share(3000)) == (0.0, 1.0)
    assert (turned.share(1000), turned.share(3000)) == (1.0, 0.0)
    assert turned.at_share(0.25) == 2500


def test_a_calibration_that_does_not_fit_says_why(tmp_path):
    with pytest.raises(ConfigError, match="lerobot-calibrate"):
        read(tmp_path / "none.json", NAMES)
    path = calibration(tmp_path)
    with pytest.raises(ConfigError, match="found no wrist_yaw"):
        read(path, ["wrist_yaw"])
    with pytest.raises(ConfigError, match="calibrate it again"):
        read(calibration(tmp_path, gripper={"range_max": 100}), NAMES)
    with pytest.raises(ConfigError, match="same id"):
        read(calibration(tmp_path, gripper={"id": 1}), NAMES)
    path.write_text("{]")
    with pytest.raises(ConfigError, match="wanted a calibration of LeRobot"):
        read(path, NAMES)
    motors = {"a": Motor(1, 0, 5, 10, 20)}
    check(path, motors, dict(motors))


def test_a_jaw_without_its_arm_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="same port"):
        grippers.connect(grippers.Config(port="/dev/none"), Context(WallClock(spin_ns=0)))


@pytest.mark.parametrize("number", [-1, 253, 300])
def test_a_calibration_with_an_impossible_id_is_refused(tmp_path, number):
    path = calibration(tmp_path, elbow_flex={"id": number})
    with pytest.raises(ConfigError, match=f"elbow_flex wants an `id` of 0 to 252, found {number}"):
        devices("/dev/null", path)
