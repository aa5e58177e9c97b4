"""What a person steers by: keyboard, game pad and space mouse with injected events, leader arm."""

from __future__ import annotations

import math
import os
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from device_rig import told
from test_feetech_arm import calibration

from headway import plugins
from headway.clock import NS, VirtualClock, WallClock
from headway.drivers import Context, device_config
from headway.drivers.input_events import ABS, KEY, REL, SYN
from headway.drivers.inputs import gamepad, keyboard, leader, spacemouse
from headway.drivers.inputs.keyboard import KEYS, Keys
from headway.errors import ConfigError, DeviceError, Missing
from headway.hil.launch import Emulator

LATE_S = 20.0


class FakeDevice:
    """An input device of the kernel: `send` lets it report."""

    def __init__(self, path, name, capabilities, vendor=1):
        self.path, self.name, self.info = path, name, SimpleNamespace(vendor=vendor)
        self._capabilities, self._events = capabilities, []
        self.fd, self._write = os.pipe()
        self.gone = False
        self.down = []  # the keys that are

    def capabilities(self):
        return self._capabilities

    def send(self, *events):
        self._events += [SimpleNamespace(type=t, code=c, value=v) for t, c, v in events]
        os.write(self._write, b"x")

    def pull(self):
        self.gone = True
        os.write(self._write, b"x")

    def absinfo(self, code):
        return dict(self._capabilities[ABS])[code]

    def active_keys(self):
        return self.down

    def read(self):
        os.read(self.fd, 1)
        if self.gone:
            raise OSError(19, "No such device")
        events, self._events = self._events, []
        return events

    def close(self): ...


def axes(*codes, low=0, high=255, value=128):
    return [(c, SimpleNamespace(min=low, max=high, value=value)) for c in codes]


def pad():
    return FakeDevice(
        "/dev/input/event4", "Pad", {ABS: axes(0, 1, 3, 4), KEY: [gamepad.SOUTH, gamepad.SHOULDER]}
    )


def mouse(kind=REL):
    six = list(range(6)) if kind == REL else axes(*range(6), low=-350, high=350, value=0)
    return FakeDevice("/dev/input/event7", "SpaceMouse", {kind: six, KEY: [256]}, vendor=0x256F)


@pytest.fixture
def kernel(monkeypatch):
    """The kernel's devices: a list to be filled."""
    devices = [FakeDevice("/dev/input/event0", "Power Button", {KEY: [116]})]

    def opened(path):
        for d in devices:
            if d.path == path and not d.gone:
                return d
        raise OSError(2, "No such file or directory")

    fake = SimpleNamespace(list_devices=lambda: [d.path for d in devices], InputDevice=opened)
    monkeypatch.setitem(sys.modules, "evdev", fake)
    return devices


def until(condition):
    end = time.monotonic() + LATE_S
    while not (found := condition()):
        assert time.monotonic() < end
        os.sched_yield()
    return found


def opened(module, clock=None, **keys):
    device = module.connect(module.Config(**keys), Context(clock or VirtualClock(1)))
    device.open(1.0)
    return device


def test_every_kind_of_input_is_found_and_has_one_row():
    assert {"keyboard", "gamepad", "spacemouse", "leader"} <= set(plugins.kinds("drivers.inputs"))
    for kind in plugins.kinds("drivers.inputs"):
        plugins.load("drivers.inputs", kind, ("Config", "connect"))
    with pytest.raises(ConfigError, match="did you mean `speed`"):
        device_config("inputs", {"kind": "keyboard", "sped": 1.0}, "[input]")


def test_a_key_counts_as_held_for_a_while_and_the_clock_says_how_long():
    clock, keys = VirtualClock(1), Keys()
    device = keyboard.connect(
        keyboard.Config(speed=0.1, turn=0.5, held_s=0.1), Context(clock, {KEYS: keys})
    )
    keys.take(" ")
    keys.take("w")
    keys.take("q")
    assert device.read().tolist() == [0.1, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0]
    clock.sleep_until(clock.now() + round(0.09 * NS))
    assert device.read()[0] == 0.1
    clock.sleep_until(clock.now() + round(0.02 * NS))
    keys.take("g")
    assert device.read().tolist() == [0.0] * 6 + [1.0]
    device.reset()
    assert device.read()[6] == 0.0
    with pytest.raises(ConfigError, match="wants a terminal"):
        keyboard.connect(keyboard.Config(), Context(clock))


def test_a_game_pad_moves_the_arm_while_its_dead_mans_button_is_held(kernel):
    kernel.append(made := pad())
    device = opened(gamepad, speed=0.2, turn=1.0, dead_zone=0.1)
    assert device.info.model == "Pad"
    assert device.read() is None
    made.send((ABS, 1, 0), (KEY, gamepad.SHOULDER, 1))  # forward
    said = until(lambda: (r := device.read()) is not None and [r])[0]
    np.testing.assert_allclose(said, [0.2, 0, 0, 0, 0, 0, 0], atol=1e-9)
    made.send((ABS, 1, 128), (ABS, 0, 255), (ABS, 4, 0), (ABS, 3, 0), (KEY, gamepad.SOUTH, 1))
    said = until(lambda: (r := device.read())[6] and [r])[0]
    np.testing.assert_allclose(said, [0, -0.2, 0.2, 0, 0, 1.0, 1.0], atol=1e-9)
    made.send((ABS, 0, 134))  # within the dead zone
    until(lambda: device.read()[1] == 0.0)
    made.send((KEY, gamepad.SOUTH, 0), (KEY, gamepad.SHOULDER, 0))
    until(lambda: device.read() is None)
    device.close()


def test_a_release_that_the_kernel_has_dropped_lets_go_of_the_dead_mans_button(kernel):
    """It says so by SYN_DROPPED, and the device is to be asked once the report has ended."""
    kernel.append(made := pad())
    device = opened(gamepad, speed=0.2, dead_zone=0.1)
    made.send((ABS, 1, 0), (KEY, gamepad.SHOULDER, 1), (SYN, 0, 0))
    until(lambda: device.read() is not None)
    made.send((SYN, 3, 0))
    until(lambda: device.read() is None)  # whether it is held still is not known
    made.send((KEY, gamepad.SHOULDER, 1), (ABS, 1, 0))  # of a report whose beginning is lost
    made.absinfo(1).value = 255  # where the stick is by now
    made.send((SYN, 0, 0), (KEY, gamepad.SOUTH, 1))
    until(lambda: device.events.presses(gamepad.SOUTH))
    assert device.read() is None
    assert device.events.axis(1) == 1.0
    made.down = [gamepad.SHOULDER]
    made.send((SYN, 3, 0), (SYN, 0, 0), (KEY, gamepad.SOUTH, 1))
    until(lambda: device.events.presses(gamepad.SOUTH) == 2)
    assert device.read()[0] == pytest.approx(-0.2)  # it is held, and goes on
    device.close()


@pytest.mark.parametrize("kind", [REL, ABS])
def test_a_space_mouse_moves_along_the_axes_of_the_base(kernel, kind):
    clock = VirtualClock(1)
    kernel.append(made := mouse(kind))
    device = opened(spacemouse, clock, speed=0.1, turn=0.5, dead_zone=0.0)
    assert not device.read().any()
    made.send((kind, 1, -350), (kind, 2, -175), (kind, 5, -350), (KEY, 256, 1))
    said = until(lambda: (r := device.read())[6] and [r])[0]
    np.testing.assert_allclose(said, [0.1, 0, 0.05, 0, 0, 0.5, 1.0], atol=1e-9)
    clock.sleep_until(clock.now() + NS)
    # relative axes say nothing at rest, absolute ones keep their value
    assert device.read()[:6].any() == (kind == ABS)
    device.close()


def test_a_pulled_plug_is_told_and_the_device_comes_back(kernel):
    kernel.append(made := mouse())
    device = opened(spacemouse)
    made.pull()

    assert "SpaceMouse is gone (No such device)" in until(lambda: told(device.read))
    with pytest.raises(DeviceError, match="wanted a space mouse, found Power Button"):
        device.activate()
    kernel.append(mouse())
    device.activate()
    assert not device.read().any()
    device.close()
    with pytest.raises(DeviceError, match="it is closed"):
        device.read()


def test_another_device_in_the_place_of_the_last_one_is_not_asked_for_axes_it_lacks(kernel):
    kernel.append(made := pad())
    device = opened(gamepad)
    made.send((ABS, 3, 255))
    until(lambda: device.events.axis(3) == 1.0)
    made.pull()
    until(lambda: told(device.read))
    small = FakeDevice(
        "/dev/input/event5", "Small pad", {ABS: axes(0, 1), KEY: [gamepad.SOUTH, gamepad.SHOULDER]}
    )
    kernel.append(small)
    device.activate()
    assert device.events.axis(3) == 0.0
    small.send((SYN, 3, 0), (SYN, 0, 0), (KEY, gamepad.SOUTH, 1))  # which makes it ask for all axes
    until(lambda: device.events.presses(gamepad.SOUTH))
    device.events.check()  # no fault
    device.close()


def test_a_device_that_is_not_there_says_what_to_do(kernel, monkeypatch):
    with pytest.raises(DeviceError, match="group `input`"):
        opened(gamepad)
    with pytest.raises(DeviceError, match="/dev/input/event9, found No such file"):
        opened(gamepad, device="/dev/input/event9")
    monkeypatch.setitem(sys.modules, "evdev", None)
    with pytest.raises(Missing, match=r"pip install 'headway\[teleop\]'"):
        opened(gamepad)


def test_a_leader_is_limp_and_only_read(tmp_path):
    q = [0.3, -0.2, 0.1, 0.0, 0.5]
    plant = {"kind": "servo", "model": "so101", "q": q}
    with Emulator("feetech", {}, plant) as device:
        ctx = Context(WallClock(spin_ns=0))
        keys = {"port": device.uri, "calibration": str(calibration(tmp_path))}
        made = leader.connect(leader.Config(check_calibration=False, **keys), ctx)
        assert made.actions.names[-1] == "grip"
        made.open(LATE_S)
        made.open(LATE_S)
        said = until(lambda: (r := made.read()) is not None and [r])[0]
        np.testing.assert_allclose(said[:5], q, atol=2e-3)
        assert 0.0 <= said[5] <= 1.0
        assert not {e.event for e in device.journal()} & {"activated", "command"}
        device.kill()

        def failed():
            try:
                return made.read() is None and "stale"
            except DeviceError as e:
                return str(e)

        assert until(failed)
        made.close()


def test_a_leader_that_says_nothing_new_is_nobody(tmp_path):
    plant = {"kind": "servo", "model": "so101"}
    with Emulator("feetech", {}, plant) as device:
        keys = {"port": device.uri, "calibration": str(calibration(tmp_path))}
        cfg = leader.Config(check_calibration=False, dead_s=1e-9, **keys)
        made = leader.connect(cfg, Context(WallClock(spin_ns=0)))
        made.open(LATE_S)
        assert made.read() is None
        made.close()
    assert math.isclose(made.actions.dt_s, 0.04)
