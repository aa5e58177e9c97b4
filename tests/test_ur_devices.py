"""The wrench and the suction cup at a controller of Universal Robots."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from ur_fixtures import arm, ctx, robot
from ur_stand_in import LONG, Controller, shared, until

from headway import config
from headway.drivers import device_config, open_device
from headway.drivers.arms import ur
from headway.edge.control.settings import Settings
from headway.errors import ConfigError, DeviceError

ROOT = Path(__file__).resolve().parent.parent


def test_the_wrench_is_turned_into_the_axes_of_the_tcp(arm, robot, ctx):
    ft = open_device("ft", "ur", shared(robot), ctx)
    ft.open(LONG)
    assert robot.connections == 1  # it shares the arm's
    # A tool that points down: half a turn about x.
    robot.noise = 1e-9
    robot.set(actual_TCP_pose=[0.3, 0.1, 0.4, math.pi, 0.0, 0.0])
    sample = until(ft, lambda s: s.value.force[1] < 0)
    assert np.allclose(sample.value.force, [1.0, -2.0, -3.0], atol=1e-4)
    assert np.allclose(sample.value.torque, [0.1, -0.2, -0.3])
    assert sample.value.frame_id == "tcp"
    assert sample.valid
    robot.noise = math.nan
    assert "numbers that are none" in until(ft, lambda s: not s.valid).flags
    ft.close()
    arm.read(LONG)  # which stays open


def test_a_wrench_that_never_changes_is_stuck(arm, robot, ctx):
    ft = open_device("ft", "ur", shared(robot), ctx)
    ft.open(LONG)
    assert until(ft, lambda s: not s.valid).flags == ("stuck",)
    robot.noise = 1e-6
    until(ft, lambda s: s.valid)
    ft.close()


def test_on_cb3_the_wrench_is_an_estimate(ctx):
    with Controller(version=(3, 15, 0, 1)) as robot:
        ft = open_device("ft", "ur", shared(robot) | {"rate_hz": 125.0, "sign": -1}, ctx)
        ft.open(LONG)
        sample = ft.read(LONG)
        assert "estimate" in sample.flags
        assert sample.value.force.tolist() == [-1.0, -2.0, -3.0]
        assert ft.info.model == "UR5 wrench"
        ft.close()


def test_the_vacuum_is_switched_by_a_mask_and_seen_by_an_input(robot, ctx):
    keys = {"bank": "tool", "output": 1, "sensor": 16}
    gripper = open_device("grippers", "vacuum_ur", shared(robot) | keys, ctx)
    gripper.open(LONG)
    robot.set(actual_digital_output_bits=1)  # somebody else's
    until(gripper, lambda s: True)
    gripper.command(0.0, force=10.0)
    state = until(gripper, lambda s: s.value.width_ref == 0.0).value
    assert robot.written == [{"tool_digital_output_mask": 2, "tool_digital_output": 2}]
    assert state.vacuum == 0.0
    robot.set(actual_digital_input_bits=1 << 16)
    until(gripper, lambda s: s.value.vacuum == 1.0)
    gripper.command(0.001, force=10.0)  # as it is: nothing to write
    gripper.stop()  # holds on
    gripper.command(gripper.stroke, force=10.0)
    until(gripper, lambda s: s.value.width == gripper.stroke)
    assert robot.written[1:] == [{"tool_digital_output_mask": 2, "tool_digital_output": 0}]
    assert robot.fields["actual_digital_output_bits"] & 1
    for bad in (math.nan, math.inf):
        with pytest.raises(DeviceError, match="wants finite numbers"):
            gripper.command(bad, force=1.0)
    gripper.close()


def test_what_is_let_go_before_the_suction_was_reported_is_let_go(robot, ctx):
    gripper = open_device("grippers", "vacuum_ur", shared(robot), ctx)
    gripper.open(LONG)
    until(gripper, lambda s: True)
    robot.silent = True  # the newest report says off
    gripper.command(0.0, force=10.0)
    gripper.command(gripper.stroke, force=10.0)
    robot.silent = False
    until(gripper, lambda s: len(robot.written) == 2)
    assert [w["tool_digital_output"] for w in robot.written] == [1, 0]
    until(gripper, lambda s: s.value.width == gripper.stroke)
    gripper.command(gripper.stroke, force=10.0)  # as it is: nothing to write
    gripper.command(0.0, force=10.0)
    until(gripper, lambda s: s.value.width == 0.0)
    assert len(robot.written) == 3
    gripper.close()


def test_an_output_that_the_bank_has_not_is_refused(robot, ctx):
    with pytest.raises(ConfigError, match="`output` wants 0 to 1 in the bank tool, found 4"):
        open_device("grippers", "vacuum_ur", shared(robot) | {"output": 4}, ctx)


def test_devices_that_share_a_connection_agree_and_are_made_before_it_is_open(arm, robot, ctx):
    with pytest.raises(ConfigError, match="share one connection: wanted `rate_hz` = 500"):
        open_device("ft", "ur", shared(robot) | {"rate_hz": 125.0}, ctx)
    late = open_device("grippers", "vacuum_ur", shared(robot), ctx)
    with pytest.raises(DeviceError, match="made before the first one is opened"):
        late.open(LONG)


def test_an_unknown_key_is_refused():
    with pytest.raises(ConfigError, match="did you mean `lookahead_s`"):
        config.decode({"host": "x", "lookahed_s": 0.1}, ur.Config, "[arm]")


def test_the_example_and_the_keys_in_the_docs_are_those_that_there_are():
    settings = config.load(ROOT / "examples" / "ur5e.toml", Settings)
    page = (ROOT / "docs" / "devices" / "ur.md").read_text()
    sections = ("arms", settings.arm), ("ft", settings.ft), ("grippers", settings.gripper)
    for folder, table in sections:
        module, cfg = device_config(folder, table, folder)
        assert cfg.host == "192.168.1.10"
        for name in module.Config.__struct_fields__:
            assert f"`{name}`" in page, name
