"""Drivers of real devices at work, each with all that its configuration can say: at stand-ins,
emulated lines and sockets, and at a rig."""

from __future__ import annotations

from pathlib import Path

import pytest
from device_rig import GENEROUS
from emulator_rig import served
from test_feetech_arm import calibration, fresh
from test_feetech_arm import devices as feetech_devices
from test_ft_emulated import device_of
from ur_stand_in import LONG, Controller, here, shared, until

from headway.clock import WallClock
from headway.drivers import Context, device_config, open_device
from headway.drivers.worlds.rig import connect as open_rig
from headway.errors import Busy
from headway.hil.emulators import dynamixel
from headway.hil.plant import ServoConfig, ServoPlant


def a_controller() -> None:
    """The devices at one of Universal Robots."""
    ctx = Context(WallClock(0))
    with Controller() as robot:
        arm = open_device("arms", "ur", robot.table | {"nm_per_a": (10.0,) * 6}, ctx)
        ft = open_device("ft", "ur", shared(robot), ctx)
        vacuum = open_device("grippers", "vacuum_ur", shared(robot) | {"sensor": 1}, ctx)
        for device in (arm, ft, vacuum):
            device.open(LONG)
            device.read(LONG)
        robot.set(robot_status_bits=3, actual_qd=[0.1] * 6)  # a program of somebody else's
        until(arm, lambda sample: sample.value.dq[0] == 0.1)
        with pytest.raises(Busy):
            arm.activate()
        robot.end_program()
        arm.activate()
        arm.command(here(arm), deadline_ns=0)
        vacuum.command(0.0, force=0.0)
        for device in (vacuum, ft, arm):
            device.close()


def at_lines(tmp_path: Path) -> None:
    """Devices at emulated lines and sockets."""
    for kind, setup, table in (
        ("ft300", {}, {}),
        ("bota", {}, {"save": True}),
        ("rdt", {}, {}),
        ("rdt", {"dialect": "onrobot"}, {"dialect": "onrobot", "rate_hz": 200.0}),
    ):
        with served(kind, tmp_path, **setup) as device:
            sensor = device_of("ft", kind, device.uri, table)
            sensor.open(GENEROUS)
            sensor.read(GENEROUS)
            sensor.close()
    with served("robotiq_2f", tmp_path) as device:
        gripper = device_of("grippers", "robotiq_2f", device.uri, {"newton_per_ampere": 10.0})
        gripper.open(GENEROUS)
        gripper.activate()
        gripper.read(GENEROUS)
        gripper.command(0.03, force=20.0)
        gripper.close()
    with served("feetech", tmp_path, ServoPlant(ServoConfig(model="so101"))) as device:
        arm, jaw = feetech_devices(device.uri, calibration(tmp_path))
        arm.open(GENEROUS)
        jaw.open(GENEROUS)
        arm.activate()
        arm.command(fresh(arm).value.q, deadline_ns=0)
        fresh(jaw)
        jaw.close()
        arm.close()
    with served("dynamixel", tmp_path, ServoPlant(ServoConfig(model="so101"))) as device:
        table = dynamixel.table("arms", device.uri) | {"watchdog_s": 2.0}
        ctx = Context(WallClock(0))
        arm = open_device("arms", "dynamixel", table, ctx)
        jaw = open_device("grippers", "dynamixel", {"port": device.uri}, ctx)
        arm.open(GENEROUS)
        jaw.open(GENEROUS)
        arm.activate()
        arm.command(fresh(arm).value.q, deadline_ns=0)
        fresh(jaw)
        jaw.close()
        arm.close()


def a_rig(tmp_path: Path) -> None:
    """The simulated cell behind a rig."""
    path = tmp_path / "cell.rig.toml"
    path.write_text(f'folder = "{tmp_path / "rig"}"\n[[cameras]]\nname = "wrist"\n')
    ctx = Context(WallClock(0))
    _, cfg = device_config("worlds", {"kind": "rig", "file": str(path)}, "[cell]")
    world = open_rig(cfg, ctx)
    camera = open_device("cameras", "rig", {"name": "wrist"}, ctx)
    camera.open(GENEROUS)
    camera.read(GENEROUS)
    camera.close()
    world.close()
