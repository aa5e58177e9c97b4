"""The kinds `dynamixel`: the codec with the manual's bytes and damaged ones; arm and jaw against an
emulated line, with the servos' bus watchdog."""

from __future__ import annotations

import numpy as np
import pytest
from device_rig import told
from hypothesis import given
from hypothesis import strategies as st
from servo_host import kill_in_motion
from test_feetech_arm import LATE_S, NAMES, calibration, fresh, soon, tell_restarts

from headway.clock import WallClock
from headway.drivers import Context
from headway.drivers.arms import dynamixel as arms
from headway.drivers.codecs import dynamixel as codec
from headway.drivers.codecs.dynamixel import Status, StatusDecoder
from headway.drivers.dynamixel_servo import DynamixelX
from headway.drivers.finding import Port, Seen
from headway.drivers.grippers import dynamixel as grippers
from headway.drivers.servo_calibration import RAD, read
from headway.drivers.transports.serial import SerialPort
from headway.errors import ConfigError, DeviceError
from headway.hil.launch import Emulator

PLANT = {"kind": "servo", "model": "so101"}


def devices(uri, path, **keys):
    ctx = Context(WallClock(spin_ns=0))
    table = {"port": uri, "calibration": str(path), "check_calibration": False, **keys}
    arm = arms.connect(arms.Config(**table), ctx)
    return arm, grippers.connect(grippers.Config(port=uri), ctx)


@pytest.fixture
def line(tmp_path):
    with Emulator("dynamixel", {}, PLANT) as device:
        arm, jaw = devices(device.uri, calibration(tmp_path), watchdog_s=2.0)
        arm.open(LATE_S)
        jaw.open(LATE_S)
        yield device, arm, jaw
        arm.close()
        jaw.close()


def put(uri, address, data, ids=range(1, 7)):
    """Write `data` into the registers from `address` on of the servos `ids` at `uri`."""
    port = SerialPort(uri, 1_000_000)
    port.open(LATE_S)
    for servo in ids:
        decoder = StatusDecoder()
        port.write(codec.write(servo, address, data))
        (said,) = soon(lambda decoder=decoder: decoder.feed(port.read(64, 0.1)))
        assert (said.id, said.error) == (servo, 0)
    port.close()


def answer(servo, error, data):
    """A status packet, made by hand of the manual's description."""
    body = (bytes((0x55, error)) + data).replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
    head = b"\xff\xff\xfd\x00" + bytes((servo,)) + (len(body) + 2).to_bytes(2, "little") + body
    crc = 0
    for byte in head:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005) & 0xFFFF if crc & 0x8000 else crc << 1
    return head + crc.to_bytes(2, "little")


def test_the_manuals_bytes():
    assert codec.packet(1, codec.PING).hex(" ") == "ff ff fd 00 01 03 00 01 19 4e"
    # e-Manual, protocol 2.0: read the present position of servo 1; write its goal; their statuses
    assert codec.read(1, 132, 4).hex(" ") == "ff ff fd 00 01 07 00 02 84 00 04 00 1d 15"
    goal = codec.write(1, 116, (512).to_bytes(4, "little"))
    assert goal.hex(" ") == "ff ff fd 00 01 09 00 03 74 00 00 02 00 00 ca 89"
    said = bytes.fromhex("fffffd000108005500a600000 08cc0".replace(" ", ""))
    assert StatusDecoder().feed(said) == [Status(1, 0, bytes.fromhex("a6000000"))]


@given(st.integers(0, 252), st.integers(0, 255), st.binary(max_size=40), st.data())
def test_answers_come_through_in_any_pieces_and_after_garbage(servo, error, data, draw):
    data = draw.draw(st.sampled_from([data, data + b"\xff\xff\xfd", b"\xff\xff\xfd\x00" + data]))
    whole = answer(servo, error, data)
    stream = draw.draw(st.binary(max_size=3)) + whole
    cut = draw.draw(st.integers(0, len(stream)))
    decoder = StatusDecoder()
    got = [*decoder.feed(stream[:cut]), *decoder.feed(stream[cut:])]
    assert got == [Status(servo, error, data)]


@given(st.binary(min_size=1, max_size=21), st.data())
def test_a_flipped_bit_gives_no_wrong_value_and_is_over_after_two_answers(data, draw):
    good = [answer(k, 0, data) for k in (1, 2, 3, 4)]
    bad = bytearray(good[0])
    bad[draw.draw(st.integers(0, len(bad) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    got = StatusDecoder(21).feed(bytes(bad) + b"".join(good[1:]))
    true = [Status(k, 0, data) for k in (1, 2, 3, 4)]
    assert all(g in true[1:] for g in got)
    assert true[3] in got


def test_a_sync_write_wants_equal_rows():
    with pytest.raises(ValueError, match="as many bytes"):
        codec.sync_write(116, {1: b"ab", 2: b"a"})
    assert Status(1, 0x87, b"").errors() == (
        "does not give access, reports a hardware error (register 70)"
    )


def test_the_arm_goes_where_it_is_sent_and_the_jaw_as_well(line):
    _, arm, jaw = line
    before = fresh(arm).value.q
    with pytest.raises(DeviceError, match="activate"):
        arm.command(before, deadline_ns=0)
    arm.activate()
    goal = before + np.array([0.1, 0.0, -0.1, 0.0, 0.05])
    arm.command(goal, deadline_ns=0)
    soon(lambda: np.abs(fresh(arm).value.q - goal).max() < 0.01)
    jaw.command(0.03, force=10.0)
    soon(lambda: abs(fresh(jaw).value.width - 0.03) < 0.01)
    assert arm.info.kind == "dynamixel"
    assert fresh(arm).value.tau_ext is None  # no current per count is given
    assert np.isnan(fresh(jaw).value.force)
    arm.stop(2)
    arm.command(fresh(arm).value.q_ref, deadline_ns=0)


@pytest.mark.parametrize("active", [False, True])
def test_a_servo_that_started_anew_is_told_before_activation_as_after(tmp_path, active):
    def make(uri):
        return devices(uri, calibration(tmp_path), watchdog_s=2.0)[0]

    tell_restarts("dynamixel", make, active=active)


def test_a_torque_of_a_current_without_unit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="wants `ampere_per_count`"):
        devices("/dev/none", calibration(tmp_path), nm_per_a=1.2)


def test_speeds_are_in_rad_per_second():
    row = bytearray(21)
    row[2:6] = (-100).to_bytes(4, "little", signed=True)
    row[6:10] = (1024).to_bytes(4, "little")
    row[18:20], row[20] = (121).to_bytes(2, "little"), 40
    row[0:2] = (-100).to_bytes(2, "little", signed=True)
    found = DynamixelX(ampere_per_count=0.00269).reading([bytes(row)])
    assert found.ampere == (pytest.approx(-0.269),)
    assert np.isnan(DynamixelX().reading([bytes(row)]).ampere[0])
    assert found.position == (1024,)
    assert found.speed[0] * 2 * np.pi / 4096 == pytest.approx(-22.9 * 2 * np.pi / 60)
    assert (found.volts, found.celsius) == ((12.1,), (40,))
    with pytest.raises(DeviceError, match="21 registers"):
        DynamixelX().reading([b"short"])


def test_the_models_are_those_of_robotis_tables():
    # actuator.h of Dynamixel2Arduino, of all X servos with protocol 2.0; the newest by the e-Manual
    table = {*range(1000, 1051, 10), *range(1060, 1161, 10), 1170, 1180, 1270, 1280}
    table |= {*range(1190, 1241, 10), 1001, 1011, 1101, 1111, 1310, 1700, 1710}
    assert DynamixelX.models == table


def test_the_watchdog_is_rounded_up_and_kept_within_what_it_can():
    assert DynamixelX(0.2).watchdog == (98, b"\0", b"\x0a")
    assert DynamixelX(0.021).watchdog_s == pytest.approx(0.04)
    assert DynamixelX(9.0).watchdog[2] == b"\x7f"


def test_a_host_that_is_killed_in_motion_leaves_servos_that_stop(tmp_path):
    with Emulator("dynamixel", {}, PLANT) as device:
        path = calibration(tmp_path)
        kill_in_motion("test_dynamixel", device.uri, path, watchdog_s=1.0)
        soon(lambda: any(e.why == "bus watchdog" for e in device.journal()))
        arm, _ = devices(device.uri, path, watchdog_s=2.0)  # and activation ends that
        arm.open(LATE_S)
        q = fresh(arm).value.q
        arm.activate()
        arm.command(q - np.array([0.1, 0, 0, 0, 0]), deadline_ns=0)
        soon(lambda: fresh(arm).value.q[0] < q[0] - 0.08)
        arm.close()


def test_a_host_that_slept_is_told_that_the_servos_have_stopped(tmp_path):
    class Jumping(WallClock):
        ahead = 0

        def now(self):
            return super().now() + self.ahead

        def sleep_until(self, t_ns):  # the jump is slept once, not before every exchange
            super().sleep_until(t_ns - self.ahead)

    clock = Jumping(spin_ns=0)
    with Emulator("dynamixel", {}, PLANT) as device:
        table = {"port": device.uri, "calibration": str(calibration(tmp_path))}
        cfg = arms.Config(check_calibration=False, watchdog_s=2.0, **table)
        arm = arms.connect(cfg, Context(clock))
        arm.open(LATE_S)
        arm.activate()
        q = fresh(arm).value.q
        Jumping.ahead = 3_000_000_000

        assert "their watchdog has stopped them" in soon(lambda: told(lambda: fresh(arm)))
        with pytest.raises(DeviceError, match="activate"):
            arm.command(q, deadline_ns=0)
        arm.close()  # opened anew it is read as ever, and still takes no command
        arm.open(LATE_S)
        assert np.abs(fresh(arm).value.q - q).max() < 0.01
        with pytest.raises(DeviceError, match="activate"):
            arm.command(q, deadline_ns=0)
        arm.activate()
        arm.command(q, deadline_ns=0)
        fresh(arm)
        arm.close()


def test_an_overload_is_told_with_its_servo(tmp_path):
    fault = {"kind": "overload", "at_s": 1.0, "target": 2}
    with Emulator("dynamixel", {"faults": [fault]}, PLANT) as device:
        arm, _ = devices(device.uri, calibration(tmp_path), watchdog_s=2.0)
        arm.open(LATE_S)
        arm.activate()

        said = soon(lambda: told(lambda: fresh(arm)))
        assert "shoulder_lift" in said
        assert "hardware error" in said
        arm.close()


def test_it_is_found_by_asking_and_feetech_servos_are_not_taken_for_it():
    with Emulator("dynamixel", {}, PLANT) as device:
        seen = Seen((Port(device.uri, named=True),), probe=True)
        arm, jaw = arms.find(seen)
        assert arm.model == "6 Dynamixel X servos, 12.0 V"
        assert (jaw.folder, jaw.kind) == ("grippers", "dynamixel")
    with Emulator("feetech", {}, PLANT) as device:
        assert arms.find(Seen((Port(device.uri, named=True),), probe=True)) == []
        assert SerialPort(device.uri, 1_000_000).port == device.uri


def test_the_calibration_in_the_servos_is_compared(tmp_path):
    with Emulator("dynamixel", {}, PLANT) as device:
        arm, _ = devices(device.uri, calibration(tmp_path), check_calibration=True)
        with pytest.raises(DeviceError, match=r"range_min 0 \(the file 300\)"):
            arm.open(LATE_S)
        path = calibration(tmp_path, elbow_flex={"drive_mode": 1})
        arm, _ = devices(device.uri, path, check_calibration=True)
        with pytest.raises(DeviceError, match=r"elbow_flex has drive_mode 0 \(the file 1\)"):
            arm.open(LATE_S)


def test_a_servo_that_inverts_by_itself_is_not_inverted_again(tmp_path):
    """LeRobot's bus of Dynamixels has `apply_drive_mode` False: angles grow with the counts."""
    path = calibration(tmp_path, elbow_flex={"drive_mode": 1}, gripper={"drive_mode": 1})
    with Emulator("dynamixel", {}, PLANT) as device:
        put(device.uri, 10, b"\x05", ids=(3, 6))  # reversed, and a bit that does not turn it
        arm, jaw = devices(device.uri, path, watchdog_s=2.0)
        assert arm.bus.family.servo_inverts
        arm.open(LATE_S)
        jaw.open(LATE_S)
        wanted = {m.id: m for m in read(path, NAMES, servo_inverts=True).values()}
        counts = dict(zip(arm.bus.ids, soon(lambda: arm.newest(LATE_S)[1]).position, strict=True))
        elbow, gripper = wanted[3], wanted[6]
        assert fresh(arm).value.q[2] == pytest.approx((counts[3] - elbow.middle) * RAD, abs=1e-6)
        share = (counts[6] - gripper.range_min) / (gripper.range_max - gripper.range_min)
        assert fresh(jaw).value.width == pytest.approx(share * jaw.stroke, abs=1e-6)
        arm.activate()
        arm.command(fresh(arm).value.q + np.array([0, 0, 0.1, 0, 0]), deadline_ns=0)
        goal = counts[3] + round(0.1 / RAD)
        soon(lambda: abs(arm.newest(LATE_S)[1].position[2] - goal) <= 5)
        arm.close()
        jaw.close()
        found = DynamixelX().calibration(lambda *_: bytes(4), elbow)
        assert found.drive_mode == 0  # as the register says, not the file


@pytest.mark.parametrize("mode", [3, 4, 5])
def test_servos_go_to_positions_in_each_mode_that_lerobot_leaves_them_in(tmp_path, mode):
    with Emulator("dynamixel", {}, PLANT) as device:
        put(device.uri, 11, bytes((mode,)))
        arm, jaw = devices(device.uri, calibration(tmp_path), watchdog_s=2.0)
        arm.open(LATE_S)
        jaw.open(LATE_S)
        arm.activate()
        goal = fresh(arm).value.q + np.array([0.1, 0, 0, 0, 0])
        arm.command(goal, deadline_ns=0)
        soon(lambda: np.abs(fresh(arm).value.q - goal).max() < 0.01)
        jaw.command(0.03, force=10.0)
        soon(lambda: abs(fresh(jaw).value.width - 0.03) < 0.01)
        arm.close()
        jaw.close()


def test_a_mode_that_goes_to_no_position_is_refused(tmp_path):
    with Emulator("dynamixel", {}, PLANT) as device:
        put(device.uri, 11, b"\x01", ids=(4,))
        arm, _ = devices(device.uri, calibration(tmp_path))
        wanted = r"wanted wrist_flex \(id 4\) in a position mode .* found mode 1: set register 11"
        with pytest.raises(DeviceError, match=wanted) as said:
            arm.open(LATE_S)
        assert "lerobot-setup-motors" not in str(said.value)  # it does not set the mode


def test_a_homing_offset_that_the_servo_ignores_is_refused_and_obeyed_in_mode_4(tmp_path):
    far = {name: {"homing_offset": -1500} for name in NAMES}
    with Emulator("dynamixel", {}, PLANT) as device:
        arm, _ = devices(device.uri, calibration(tmp_path))
        arm.open(LATE_S)
        before = fresh(arm).value.q
        arm.close()
        put(device.uri, 20, (-1500).to_bytes(4, "little", signed=True))
        arm, _ = devices(device.uri, calibration(tmp_path, **far))
        wanted = "offset of shoulder_pan .* within -1024 to 1024 counts in mode 3, found -1500"
        with pytest.raises(DeviceError, match=wanted):
            arm.open(LATE_S)
        put(device.uri, 11, b"\x04")
        arm.open(LATE_S)
        np.testing.assert_allclose(fresh(arm).value.q, before - 1500 * RAD, atol=1e-3)
        arm.close()


def test_a_servo_that_has_lost_count_of_its_turns_is_not_sent_a_turn_away(tmp_path):
    with Emulator("dynamixel", {}, PLANT) as device:
        put(device.uri, 11, b"\x05", ids=(1, 6))
        put(device.uri, 20, (-4096).to_bytes(4, "little", signed=True), ids=(1, 6))
        arm, jaw = devices(device.uri, calibration(tmp_path), watchdog_s=2.0)
        arm.open(LATE_S)
        jaw.open(LATE_S)
        arm.activate()
        fresh(jaw)
        with pytest.raises(DeviceError, match=r"wanted the jaw \(id 6\) near its calibrated range"):
            jaw.command(0.03, force=10.0)
        here = fresh(arm).value.q
        assert here[0] < -4.0
        for first, said in ((here[0], "its calibrated range"), (0.0, "a jump")):
            with pytest.raises(DeviceError, match=said):
                arm.command(np.array([first, *here[1:]]), deadline_ns=0)
        arm.close()
        jaw.close()
