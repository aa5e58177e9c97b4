"""The driver of Robotiq's 2F grippers: against a device made of the manual's facts at a real
pseudo-terminal, and against a Modbus server that nobody here wrote."""

from __future__ import annotations

import math
import select
import subprocess
import time
from pathlib import Path

import pytest
from device_rig import GENEROUS, ModbusDevice, reads, until

from headway.clock import WallClock
from headway.drivers import Context, open_device
from headway.drivers.grippers.robotiq_2f import GripperError
from headway.drivers.latest import Latest
from headway.errors import Busy, ConfigError, DeviceError

ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".venv-hil" / "bin" / "python"


class Gripper(ModbusDevice):
    """Activates at the second status after it is told to; its jaws are where they are sent at once,
    unless `held` stops them there. `fault` is its gFLT."""

    def __init__(self, active: bool = False) -> None:
        super().__init__()
        self.held: int | None = None
        self.fault = 0
        self.fails = False  # to activate
        self.position = 3
        self.goals: list[tuple[int, int, int, int]] = []  # action, position, speed, force
        self.resets = 0
        self._to_come = 0  # statuses until it is active
        self._action = 9 if active else 0
        self._told = 0
        self.show()

    def written(self, address, values) -> None:
        action, position, speed, force = (
            values[0] >> 8, values[1] & 0xFF, values[2] >> 8, values[2] & 0xFF
        )  # fmt: skip
        if not action & 1:
            self.resets += 1
            self.fault, self._action = 0, 0
        elif not self._action & 1:
            self._action, self._to_come = action, 2
            self.fault = 0xD if self.fails else 0
        else:
            self._action = action
            self.goals.append((action, position, speed, force))
            if action & 8:
                self._told = position
                self.position = position if self.held is None else min(position, self.held)
        self.show()

    def lose_power(self) -> None:
        self._action = self.fault = 0
        self.show()

    def fall_into(self, fault: int) -> None:
        self.fault = fault
        self.show()

    def show(self) -> None:
        on = self._action & 1
        gsta = 0 if not on else 1 if self._to_come else 3
        gobj = 2 if self.held is not None and self._told > self.held else 3
        status = on | (self._action & 8) | gsta << 4 | gobj << 6
        self.registers[2000] = status << 8
        self.registers[2001] = self.fault << 8 | self._told
        self.registers[2002] = self.position << 8 | 12

    def heard(self, data: bytes) -> None:
        super().heard(data)
        if self._to_come and self.registers[2000] >> 8 & 1:
            self._to_come -= 1
            self.show()

    @property
    def asked_for(self) -> int:
        """How many statuses were asked for."""
        return sum(r[1] == 4 for r in self.requests)


def driver_of(port: str, **table):
    table = {"port": port, "rate_hz": 500.0, "answer_s": 1.0, **table}
    return open_device("grippers", "robotiq_2f", table, Context(WallClock(0)))


@pytest.fixture
def device():
    with Gripper() as made:
        yield made


@pytest.fixture
def opened(device):
    ends = []

    def make(**table):
        gripper = driver_of(device.path, **table)
        gripper.open(GENEROUS)
        ends.append(gripper.close)
        return gripper

    yield make
    for end in ends:
        end()


def sample_where(gripper, true):
    """The first sample for which `true` holds."""
    end = time.monotonic() + GENEROUS
    while time.monotonic() < end:
        sample = gripper.read(GENEROUS)
        if true(sample):
            return sample
    pytest.fail("no such sample")


def valid(gripper):
    return sample_where(gripper, lambda s: s.valid)


def test_opening_moves_nothing_and_says_that_it_is_not_active(device, opened):
    gripper = opened()
    sample = gripper.read(GENEROUS)
    assert (sample.valid, sample.flags) == (False, ("not active",))
    assert all(r[1] == 4 for r in device.requests)
    assert gripper.info.model == "Robotiq 2F-85"


def test_the_first_command_activates_and_is_carried_out_then(device, opened):
    gripper = opened(speed=0.15)
    gripper.command(0.0, force=235.0)
    seen = []
    sample_where(gripper, lambda s: seen.append(s.flags) or s.valid)
    until(lambda: device.goals, "the goal")
    assert device.goals == [(9, 255, 255, 255)]
    assert device.resets == 1
    assert ("activating",) in seen
    gripper.command(0.085, force=20.0)
    until(lambda: len(device.goals) == 2, "the second goal")
    assert device.goals[1] == (9, 0, 255, 0)
    assert device.resets == 1


def test_an_active_gripper_is_not_activated_again(opened, device):
    device._action = 9
    device.show()
    gripper = opened()
    gripper.command(0.04, force=100.0)
    until(lambda: device.goals, "the goal")
    assert device.resets == 0


@pytest.mark.parametrize("model", ["2F-85", "2F-140"])
def test_widths_and_forces_are_those_of_the_model(device, opened, model):
    stroke = {"2F-85": 0.085, "2F-140": 0.140}[model]
    gripper = opened(model=model, open=3, closed=230)
    assert gripper.stroke == stroke
    for width in (0.0, 0.01, 0.5 * stroke, 0.99 * stroke, stroke):
        position = gripper.position_of(width)
        assert gripper.width_of(position) == pytest.approx(width, abs=stroke / 227)
    assert gripper.position_of(math.nextafter(stroke, 0)) == 3
    assert (gripper.position_of(0.0), gripper.position_of(-1.0)) == (255, 255)
    assert (gripper.position_of(stroke), gripper.position_of(1.0)) == (0, 0)
    half = sum(gripper.design.forces) / 2
    gripper.command(0.5 * stroke, force=half)
    until(lambda: device.goals, "the goal")
    assert device.goals[0][3] == 128
    gripper.command(0.4 * stroke, force=-5.0)
    until(lambda: len(device.goals) == 2, "the second goal")
    assert device.goals[1][3] == 0


def test_what_the_jaws_hold_is_felt(device, opened):
    device.held = 100
    gripper = opened()
    gripper.command(0.0, force=20.0 + 215.0 * 51 / 255)
    sample = sample_where(gripper, lambda s: s.valid and s.value.force > 0.0)
    assert sample.value.force == pytest.approx(63.0)
    assert sample.value.width == pytest.approx(gripper.width_of(100))
    assert sample.value.width_ref == 0.0
    assert sample.value.vacuum is None


def test_current_tells_the_force_where_it_is_calibrated(device, opened):
    gripper = opened(newton_per_ampere=50.0)
    gripper.command(0.05, force=50.0)
    assert valid(gripper).value.force == pytest.approx(0.12 * 50.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_do_not_reach_the_wire(device, opened, bad):
    gripper = opened()
    for width, force in ((bad, 10.0), (0.01, bad)):
        with pytest.raises(DeviceError, match="finite"):
            gripper.command(width, force=force)
    gripper.read(GENEROUS)
    assert all(r[1] == 4 for r in device.requests)


def test_stop_ends_a_motion_and_activates_nothing(device, opened):
    gripper = opened()
    gripper.stop()
    asked = device.asked_for
    until(lambda: device.asked_for > asked + 2, "more statuses")
    assert not device.goals
    assert not device.resets
    gripper.command(0.02, force=50.0)
    until(lambda: device.goals, "the goal")
    valid(gripper)
    gripper.stop()
    until(lambda: len(device.goals) == 2, "the stop")
    assert device.goals[1][0] == 1  # active, and not going


@pytest.mark.parametrize("fault", [0xA, 0xB, 0xC, 0xE, 0xF])
def test_after_a_fault_nothing_moves_until_it_is_activated_again(device, opened, fault):
    gripper = opened()
    gripper.command(0.02, force=50.0)
    valid(gripper)
    until(lambda: device.goals, "the goal")
    device.fall_into(fault)
    sample = sample_where(gripper, lambda s: f"fault {fault:#x}" in s.flags)
    assert not sample.valid
    goals, resets = len(device.goals), device.resets
    with pytest.raises(GripperError, match=r"activate\(\) it again") as e:
        gripper.command(0.01, force=50.0)
    assert e.value.code == fault
    for _ in range(3):
        gripper.read(GENEROUS)
    assert (len(device.goals), device.resets) == (goals, resets)
    gripper.activate()
    valid(gripper)
    assert device.resets == resets + 1
    assert len(device.goals) == goals  # what was wanted before is forgotten
    gripper.command(0.03, force=50.0)
    until(lambda: len(device.goals) == goals + 1, "the new goal")


def test_a_gripper_that_lost_its_power_says_so(device, opened):
    gripper = opened()
    gripper.command(0.02, force=50.0)
    valid(gripper)
    until(lambda: device.goals, "the goal")  # one that comes later would activate it again
    device.lose_power()
    sample_where(gripper, lambda s: s.flags == ("not active",))
    with pytest.raises(GripperError, match="did it lose its power"):
        gripper.command(0.01, force=50.0)
    gripper.activate()
    assert valid(gripper)


def test_an_activation_that_fails_is_a_fault(device, opened):
    device.fails = True
    gripper = opened()
    gripper.command(0.02, force=50.0)
    sample_where(gripper, lambda s: "fault 0xd" in s.flags and "activating" not in s.flags)
    with pytest.raises(GripperError, match="in the way of the jaws"):
        gripper.command(0.02, force=50.0)
    assert not device.goals


def test_heat_is_a_typed_error(device, opened):
    gripper = opened()
    gripper.command(0.02, force=50.0)
    valid(gripper)
    device.fall_into(8)
    sample_where(gripper, lambda s: "fault 0x8" in s.flags)
    with pytest.raises(GripperError, match="too hot"):
        gripper.command(0.01, force=50.0)


def test_two_broken_answers_do_not_end_a_run_three_in_a_row_do(device, opened):
    gripper = opened(answer_s=0.4)
    gripper.read(GENEROUS)
    device.spoil = 2
    asked = device.asked_for
    until(lambda: device.asked_for > asked + 4, "more statuses")
    gripper.read(GENEROUS)
    assert gripper.health().crc_errors == 2


def test_silence_is_a_fault_from_which_it_recovers_without_moving(device):
    gripper = driver_of(device.path, answer_s=0.02)
    latest = Latest(gripper, WallClock(0))
    latest.start(GENEROUS)
    gripper.command(0.02, force=50.0)
    until(lambda: device.goals, "the goal")
    device.mute = True
    until(lambda: gripper.health().state == "fault", "the fault")
    device.mute = False
    goals = len(device.goals)
    until(lambda: gripper.health().state == "ok", "the recovery")
    received = gripper.health().received
    until(lambda: gripper.health().received > received + 3, "new samples")
    assert len(device.goals) == goals
    assert gripper.health().reconnects >= 1
    latest.close()


def test_a_command_never_waits_for_the_line(device, opened):
    """Ten thousand commands while an answer that takes a second is waited for."""
    gripper = opened()
    gripper.command(0.0, force=50.0)
    valid(gripper)
    until(lambda: device.goals, "the goal")
    device.mute = True
    asked = device.asked_for
    until(lambda: device.asked_for > asked, "a request that nobody answers")
    sent = len(device.goals)
    for i in range(10_000):
        gripper.command(0.0001 + i * 1e-6, force=50.0)
    device.mute = False
    newest = gripper.position_of(0.0001 + 9_999 * 1e-6)
    until(lambda: device.goals[-1][1] == newest, "the newest goal")
    assert len(device.goals) - sent < 100  # none of the others was waited for


def test_unplugging_is_a_fault(device):
    gripper = driver_of(device.path)
    gripper.open(GENEROUS)
    gripper.read(GENEROUS)
    device.unplug()
    with pytest.raises(DeviceError, match="gone"):
        reads(gripper, 1.0)
    gripper.close()
    with pytest.raises(DeviceError):
        gripper.open(1.0)


def test_errors_at_the_start_say_what_to_do(device):
    device.mute = True
    with pytest.raises(DeviceError, match=r"is it powered \(24 V\).*address 9.*115200 bit/s"):
        driver_of(device.path, answer_s=0.02).open(1.0)
    device.mute, device.refuse = False, 1
    with pytest.raises(DeviceError, match="illegal function: name another port"):
        driver_of(device.path, answer_s=0.5).open(5.0)
    device.refuse = 0
    first = driver_of(device.path)
    first.open(GENEROUS)
    with pytest.raises(Busy):
        driver_of(device.path).open(1.0)
    first.close()
    with pytest.raises(DeviceError, match="open it before reading"):
        first.read(0.1)
    with pytest.raises(DeviceError, match="closed"):
        first.command(0.01, force=1.0)
    with pytest.raises(ConfigError, match="`closed` above `open`"):
        driver_of("x", open=230, closed=3)


@pytest.fixture
def pymodbus_gripper():
    if not PEERS.exists():
        pytest.skip(f"wants pymodbus in {PEERS.parent.parent.name}: make hil-peers")
    server = subprocess.Popen(
        [PEERS, Path(__file__).with_name("pymodbus_gripper.py")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with server, server.stdout as out:
        assert select.select([out], [], [], GENEROUS)[0], "it does not start"
        yield f"tcp://127.0.0.1:{int(out.readline())}"
        server.kill()


def test_a_modbus_server_of_pymodbus_is_understood_over_tcp(pymodbus_gripper):
    gripper = driver_of(pymodbus_gripper)
    gripper.open(GENEROUS)
    assert gripper.read(GENEROUS).flags == ("not active",)
    gripper.command(0.0, force=235.0)
    sample = sample_where(gripper, lambda s: s.valid and s.value.force > 0.0)
    assert sample.value.force == 235.0
    assert sample.value.width == pytest.approx(gripper.width_of(150))
    gripper.command(0.06, force=20.0)
    sample_where(gripper, lambda s: s.value.width == gripper.width_of(gripper.position_of(0.06)))
    assert gripper.health().crc_errors == 0
    gripper.close()
    with pytest.raises(DeviceError):
        driver_of(pymodbus_gripper, slave=8, answer_s=0.2).open(1.0)
