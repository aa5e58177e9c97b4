"""Drivers of F/T sensors and of the 2F gripper against emulators that were written from the same
manuals by somebody else, each in a process of its own."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from device_rig import GENEROUS, reads

from headway import plugins
from headway.clock import NS, WallClock
from headway.drivers import Context, open_device
from headway.drivers.grippers.robotiq_2f import GripperError
from headway.errors import DeviceError
from headway.hil.launch import Emulator

THERE = plugins.kinds("hil.emulators")
CASES = [
    ("ft300", {"streams": True}, {}),
    ("bota", {}, {"sinc_length": 512}),
    ("rdt", {}, {}),
    ("rdt", {"dialect": "onrobot"}, {"dialect": "onrobot", "rate_hz": 200.0}),
    ("rdt", {"force_unit": "lbf"}, {}),
]
KINDS = {kind for kind, *_ in CASES} | {"robotiq_2f"}
pytestmark = pytest.mark.skipif(
    not set(THERE) >= KINDS, reason=f"wants the emulators {', '.join(sorted(KINDS - set(THERE)))}"
)


def emulated(kind: str, table: dict) -> Emulator:
    return Emulator(kind, table, plant={"kind": "servo", "object_m": 0.03})


def device_of(folder: str, kind: str, uri: str, table: dict):
    if kind == "rdt":
        host, port, http = re.fullmatch(r"udp://(.*?):(\d+)(?:\?http=(\d+))?", uri).groups()
        where = {"host": host, "port": int(port), "http_port": int(http or 80)}
    else:
        where = {"port": uri}
    return open_device(folder, kind, {**where, **table}, Context(WallClock(0)))


@pytest.mark.parametrize(("kind", "setup", "table"), CASES)
def test_a_sensor_streams_what_its_plant_feels_and_says_when_it_is_gone(kind, setup, table):
    with emulated(kind, setup) as device:
        sensor = device_of("ft", kind, device.uri, table)
        sensor.open(GENEROUS)
        samples = [sensor.read(GENEROUS) for _ in range(50)]
        assert all(s.valid for s in samples)
        # The plant's wrench has an amplitude of 5 N and 0.25 Nm, and noise: in other units, or with
        # its bytes in another order, it would be far away.
        force = max(abs(f) for s in samples for f in s.value.force)
        torque = max(abs(t) for s in samples for t in s.value.torque)
        assert 0.5 < force < 6.0
        assert 0.01 < torque < 0.35
        assert all(a.stamp.t_ns <= b.stamp.t_ns for a, b in pairwise(samples))
        assert all(a.stamp.seq < b.stamp.seq for a, b in pairwise(samples))
        health = sensor.health()
        assert (health.crc_errors, health.reordered, health.reconnects) == (0, 0, 0)
        device.kill()
        with pytest.raises(DeviceError):
            reads(sensor, 10.0)
        assert sensor.health().state == "fault"
        sensor.close()


FAULTS = {  # by the emulators' names: the driver's flag, and whether samples with it are valid
    "ft300": {"overrange": ("overrange", False), "stuck": ("stuck", False)},
    "bota": {
        "overrange": ("overrange", False), "nan": ("not finite", False),
        "invalid": ("invalid", False), "throttled": ("throttled", True),
        "clock_back": ("clock reset", True), "stuck": ("stuck", False),
    },
    "rdt": {
        "overrange": ("overrange", False), "broken_gauge": ("broken gauge", False),
        "busy": ("busy", False), "supply": ("supply voltage", False),
        "temperature": ("temperature", True), "stuck": ("stuck", False),
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_of_a_sensor_are_flagged_and_none_of_their_values_is_valid(kind):
    """One after the other, each for 0.3 s; the stuck one last and for ever."""
    at = {fault: 0.5 * i for i, fault in enumerate(FAULTS[kind], 1)}
    faults = [
        {"kind": fault, "at_s": t} | ({} if fault == "stuck" else {"for_s": 0.3})
        for fault, t in at.items()
    ]
    with emulated(kind, {"faults": faults}) as device:
        sensor = device_of("ft", kind, device.uri, {"stuck_after": 10})
        sensor.dead_ns = round(GENEROUS * NS)  # a busy machine may stop the emulator for a second
        sensor.open(GENEROUS)
        wanted = {flag for flag, _ in FAULTS[kind].values()}
        valid = {flag for flag, ok in FAULTS[kind].values() if ok}
        seen: set[str] = set()
        end = time.monotonic() + GENEROUS
        while not wanted <= seen:
            assert time.monotonic() < end, wanted - seen
            sample = sensor.read(GENEROUS)
            seen.update(sample.flags)
            assert sample.valid == (set(sample.flags) <= valid), sample
            if sample.valid:  # the plant's amplitude
                assert max(map(abs, sample.value.force)) < 6.0
        sensor.close()


def test_a_fault_of_a_gripper_is_typed_and_left_by_activating():
    fault = {"at_s": 0.5, "for_s": 0.2, "kind": "overcurrent"}
    with emulated("robotiq_2f", {"activation_s": 0.1, "faults": [fault]}) as device:
        gripper = device_of("grippers", "robotiq_2f", device.uri, {})
        gripper.open(GENEROUS)
        gripper.command(0.05, force=60.0)
        sample_where(gripper, lambda s: s.valid)
        sample = sample_where(gripper, lambda s: not s.valid)
        assert "fault 0xe" in sample.flags
        with pytest.raises(GripperError, match=r"activate\(\) it again"):
            gripper.command(0.02, force=60.0)
        end = time.monotonic() + GENEROUS
        while not gripper.read(GENEROUS).valid:  # while its cause is there, it falls back
            assert time.monotonic() < end
            if "activating" not in gripper.read(GENEROUS).flags:
                gripper.activate()
        gripper.command(0.02, force=60.0)
        gripper.close()


def sample_where(gripper, true):
    """The first sample for which `true` holds."""
    end = time.monotonic() + GENEROUS
    while not true(sample := gripper.read(GENEROUS)):
        assert time.monotonic() < end, sample
    return sample


def test_a_gripper_is_activated_and_grasps():
    with emulated("robotiq_2f", {}) as device:
        gripper = device_of("grippers", "robotiq_2f", device.uri, {"speed": 0.15})
        gripper.open(GENEROUS)
        assert gripper.read(GENEROUS).flags == ("not active",)
        gripper.command(0.0, force=60.0)
        end = time.monotonic() + GENEROUS
        while (sample := gripper.read(GENEROUS)).value.force == 0.0:
            assert time.monotonic() < end
        assert sample.valid
        assert sample.value.force == pytest.approx(60.0, abs=1.0)
        assert sample.value.width == pytest.approx(0.03, abs=0.004)  # of its own calibration
        device.kill()
        with pytest.raises(DeviceError):
            reads(gripper, 10.0)
        with pytest.raises(DeviceError):
            gripper.command(0.05, force=60.0)
        gripper.close()
