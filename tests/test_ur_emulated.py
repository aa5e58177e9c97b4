"""The driver of Universal Robots against the emulator, which was written by somebody else from the
manual: physics, wire, driver and back. Skipped where there is no such emulator."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.parse

import numpy as np
import pytest

from headway import plugins
from headway.clock import WallClock
from headway.drivers import Context, open_device
from headway.drivers.arms import ur
from headway.drivers.latest import Latest
from headway.errors import Busy, DeviceError
from headway.hil.launch import Emulator

pytestmark = pytest.mark.skipif(
    "ur" not in plugins.kinds("hil.emulators"), reason="wants the emulator of the kind ur"
)
LONG = 20.0  # [s] to wait for an event on a busy machine
SLOW = {"watchdog_hz": 1.0}  # so that a busy machine does not stop the arm


def table(device):
    ports = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(device.uri).query))
    return {
        "host": "127.0.0.1", "rtde_port": int(ports["rtde"]), "script_port": int(ports["script"]),
        "dashboard_port": int(ports["dashboard"]),
    }  # fmt: skip


@pytest.fixture
def emulated():
    """`emulated(remote=False)`: an emulator with these keys, and an arm at it that is open."""
    opened = []

    def emulated(keys=None, **emulator):
        device = Emulator("ur", emulator)
        opened.append(device.close)
        device.__enter__()
        ctx = Context(WallClock(0))
        arm = open_device("arms", "ur", table(device) | SLOW | (keys or {}), ctx)
        opened.append(arm.close)
        return device, arm, ctx

    yield emulated
    for close in reversed(opened):
        close()


def until(source, right):
    for _ in range(20_000):
        sample = source.read(LONG)
        if right(sample):
            return sample
    raise AssertionError(f"never: the last one was {sample}")


def follow(arm, goal):
    """Command small steps from where the arm is until it has arrived at `goal` (6,) [rad]."""
    q = arm.read(LONG).value.q_ref.copy()
    while True:
        q += np.clip(goal - q, -0.002, 0.002)
        arm.command(q, deadline_ns=0)
        state = arm.read(LONG).value
        if np.abs(state.q - goal).max() < 1e-3:
            return state


def keep_on(newest, arm):
    """Command the arm to stay where it is, for ever."""
    while True:
        arm.command(newest().value.q_ref, deadline_ns=0)


def command_until_refused(arm):
    with pytest.raises(DeviceError) as caught:
        keep_on(lambda: arm.read(LONG), arm)
    return str(caught.value)


def test_it_moves_stops_and_is_activated_again(emulated):
    device, arm, ctx = emulated()
    ft = open_device("ft", "ur", table_of(device), ctx)
    vacuum = open_device("grippers", "vacuum_ur", table_of(device), ctx)
    arm.open(LONG)
    ft.open(LONG)
    vacuum.open(LONG)
    assert arm.info.model == "UR5e arm"
    home = arm.read(LONG).value.q
    arm.activate()
    goal = home + np.array([0.05, -0.03, 0.04, 0.02, 0.01, -0.06])
    follow(arm, goal)
    with pytest.raises(DeviceError, match="finite"):
        arm.command(np.full(6, np.nan), deadline_ns=0)
    arm.stop(2)
    until(arm, lambda s: np.abs(s.value.dq).max() < 1e-3)
    assert np.abs(arm.read(LONG).value.q - goal).max() < 0.01
    follow(arm, home)
    arm.stop(1)
    until(arm, lambda s: any(e.event == "stopped" for e in device.journal()))
    arm.activate()
    follow(arm, goal)
    assert np.isfinite(until(ft, lambda s: s.valid).value.force).all()
    vacuum.command(0.0, force=1.0)
    until(vacuum, lambda s: s.value.width == 0.0)
    ft.close()
    vacuum.close()


def table_of(device):
    return {k: v for k, v in table(device).items() if k != "script_port"}


def test_a_loop_that_falls_silent_is_stopped_by_the_controller(emulated):
    device, arm, _ = emulated({"watchdog_hz": 10.0})
    arm.open(LONG)
    arm.activate()
    arm.command(arm.read(LONG).value.q_ref, deadline_ns=0)
    until(arm, lambda s: any(e.why == "watchdog" for e in device.journal()))
    until(arm, lambda s: np.abs(s.value.dq).max() < 1e-3)
    assert "has lost its program" in command_until_refused(arm)
    arm.activate()


def test_a_host_that_is_killed_in_motion_is_noticed_by_the_controller(emulated):
    device, _, _ = emulated()
    host = (
        "import sys, numpy as np\n"
        "from headway.clock import WallClock\n"
        "from headway.drivers import Context, open_device\n"
        f"arm = open_device('arms', 'ur', {table(device) | SLOW}, Context(WallClock(0)))\n"
        "arm.open(20.0); arm.activate()\n"
        "q = arm.read(20.0).value.q.copy()\n"
        "for i in range(10**9):\n"
        "    q += 0.0005; arm.command(q, deadline_ns=0); arm.read(20.0)\n"
        "    if i == 20: print('moving', flush=True)\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = subprocess.Popen([sys.executable, "-c", host], stdout=subprocess.PIPE, env=env)
    assert child.stdout.readline() == b"moving\n"
    child.kill()
    child.wait()
    child.stdout.close()
    arm = open_device("arms", "ur", table(device) | SLOW, Context(WallClock(0)))
    arm.open(LONG)
    until(arm, lambda s: any(e.event == "stopped" for e in device.journal()))
    until(arm, lambda s: np.abs(s.value.dq).max() < 1e-3)
    arm.close()


def test_the_watchdog_process_stops_it(emulated):
    device, arm, _ = emulated()
    arm.open(LONG)
    arm.activate()
    ur.remote_stop(table(device))
    assert "has lost its program" in command_until_refused(arm)
    arm.activate()
    # Without a dashboard, by a program in place of ours.
    ur.remote_stop(table(device) | {"dashboard_port": 0})
    assert "has lost its program" in command_until_refused(arm)


@pytest.mark.slow
def test_local_control_and_registers_in_use_are_told(emulated):
    _, arm, _ = emulated(remote=False)
    arm.open(LONG)
    with pytest.raises(DeviceError, match="found it in local control"):
        arm.activate()
    _, arm, _ = emulated(in_use=["input_int_register_1"])
    with pytest.raises(Busy, match="wanted to write input_int_register_1 "):
        arm.open(LONG)
    _, arm, _ = emulated(model="ur10e")
    with pytest.raises(DeviceError, match=r"wanted a ur5e .* found a UR10e"):
        arm.open(LONG)


def test_a_protective_stop_is_left_by_explicit_steps(emulated):
    fault = {"at_s": 1.0, "kind": "protective_stop"}
    _, arm, _ = emulated(faults=[fault], unlock_s=0.0)
    arm.open(LONG)
    arm.activate()
    assert "is in protective stop: acknowledge" in command_until_refused(arm)
    assert arm.read(LONG).value.protective_stop
    with pytest.raises(DeviceError, match="acknowledge"):
        arm.activate()
    arm.acknowledge()
    assert "wants activate()" in command_until_refused(arm)
    arm.activate()
    follow(arm, arm.read(LONG).value.q + 0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("emergency_stop", "emergency stop"),
        ("safeguard_stop", "safeguard stop"),
        ("program_stop", "has lost its program"),
        ("power_off", "has the mode"),
        ("reboot", "lost"),
    ],
)
def test_what_happens_at_the_controller_ends_motion_and_is_told(emulated, kind, said):
    _, arm, ctx = emulated(faults=[{"at_s": 1.0, "kind": kind}])
    source = Latest(arm, ctx.clock, "arm")
    source.start(LONG)
    arm.activate()
    with pytest.raises(DeviceError, match=said):
        keep_on(lambda: source.latest(10**10), arm)
    source.close()


def test_a_connection_that_drops_comes_back_and_moves_nothing(emulated):
    _, arm, ctx = emulated(faults=[{"at_s": 1.0, "kind": "disconnect"}])
    source = Latest(arm, ctx.clock, "arm")
    source.start(LONG)
    arm.activate()
    with pytest.raises(DeviceError, match="lost"):
        keep_on(lambda: source.latest(10**10), arm)
    tick = WallClock(0)
    while arm.health().reconnects == 0:
        tick.sleep_until(tick.now() + 1_000_000)
    with pytest.raises(DeviceError, match="has lost its connection"):
        arm.command(source.latest(10**10).value.q_ref, deadline_ns=0)
    arm.activate()
    arm.command(source.latest(10**10).value.q_ref, deadline_ns=0)
    source.close()


@pytest.mark.slow
def test_what_the_stream_suffers_is_told(emulated):
    def arm_with(kind):
        _, arm, _ = emulated(faults=[{"at_s": 1.0, "kind": kind}])
        arm.open(LONG)
        return arm

    arm = arm_with("speed_scaling")
    arm.activate()
    until(arm, lambda s: any("speed scaling" in flag for flag in s.flags))
    arm = arm_with("skip")
    until(arm, lambda s: arm.health().lost > 0)
    arm = arm_with("silence")
    with pytest.raises(DeviceError, match="silent for 1 s"):
        until(arm, lambda s: False)
    assert arm.health().state == "fault"
    arm = arm_with("stuck")
    arm.activate()
    home = arm.read(LONG).value.q
    with pytest.raises(AssertionError, match="stuck"):
        swing(arm, home)


def swing(arm, home):
    """Swing about `home` until a sample is not valid."""
    for i in range(100_000):
        arm.command(home + 0.2 * np.sin(0.01 * i), deadline_ns=0)
        sample = arm.read(LONG)
        assert sample.valid, sample.flags
