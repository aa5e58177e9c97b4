"""The example that runs over emulated devices: its files fit each other, and an episode of it moves
the cell through the wires."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from null_robot import run

from headway.drivers.rig import read_rig_file
from headway.edge.control import settings
from headway.mcaplog import open_recording

pytest.importorskip("mujoco", reason="the rig's cell is simulated")
EXAMPLE = Path(__file__).parent.parent / "examples" / "ur5e_emulated.toml"


def known(values):
    """Those of `values` that there are: a tick without a new sample has none."""
    return values[np.isfinite(values)]


def test_the_example_names_the_ports_of_its_rig():
    of_run = settings.load(EXAMPLE)
    rig = read_rig_file(Path(of_run.cell["file"]))
    by_kind = {table["kind"]: table for table in rig.emulators}
    for ours, theirs in (("rtde_port", "rtde"), ("script_port", "script")):
        assert of_run.arm[ours] == by_kind["ur"][theirs]
    assert of_run.arm["dashboard_port"] == by_kind["ur"]["dashboard"]
    assert of_run.ft["port"] == by_kind["ft300"]["link"]
    assert of_run.gripper["port"] == by_kind["robotiq_2f"]["link"]
    assert [c["name"] for c in of_run.camera] == [c.name for c in rig.cameras]


@pytest.mark.slow
def test_an_episode_over_the_wires_moves_the_arm_and_the_jaws(tmp_path):
    """Whether the task succeeds is for a machine that does nothing else; what the wires carry is
    not."""
    assert run(EXAMPLE, tmp_path, "--realtime", "--seed", "5") in (0, 1)
    rows = open_recording(tmp_path / "episode_5.mcap").rows("/telemetry")
    assert np.ptp(known(rows["q"][:, 0])) > 0.05
    assert np.ptp(known(rows["width"])) > 0.01
    assert np.abs(known(rows["wrench"])).max() > 1.0
