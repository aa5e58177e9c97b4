"""A recording of Headway's own, of an episode of null devices, for the drivers that play one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.child import environment
from headway.errors import DeviceError
from headway.hil.recordings import SECONDS

DRIVERS = tuple((folder, "replay") for folder in ("arms", "ft", "grippers", "cameras", "stations"))
_TAKES_S = 300.0  # at most, on a busy machine
_ROBOT = f"""
[policy]
kind = "python"
target = "headway.hil.recordings.replay:Rise"
[arm]
kind = "null"
model = "ur5e"
[ft]
kind = "null"
rate_hz = 100.0
[gripper]
kind = "null"
rate_hz = 50.0
[station]
kind = "null"
[[camera]]
kind = "null"
name = "wrist"
width = 64
height = 48
rate_hz = 30.0
[task]
kind = "open_ended"
limit_s = {SECONDS}
[loop]
hz = 100.0
[guard]
workspace_min = [-2.0, -2.0, -2.0]
workspace_max = [2.0, 2.0, 2.0]
force_max = 100.0
torque_max = 20.0
require_wrench = true
"""


class Rise:
    """A policy that lets the arm rise by 2 cm/s, so that no sample is like another. A recording has
    the images that a policy saw."""

    actions = {  # noqa: RUF012 - read, never written into
        "names": ["x", "y", "z", "rx", "ry", "rz", "grip"], "chunk": 6, "dt_s": 0.1,
    }  # fmt: skip
    cameras = ("wrist",)

    def infer(self, obs: object) -> NDArray[np.float64]:
        rows = np.zeros((6, 7))
        rows[:, 2] = 0.002 * np.arange(1, 7)
        return rows


def record(folder: Path) -> dict[str, Any]:
    """Write it. Raises DeviceError where the run does not record."""
    robot, out = folder / "robot.toml", folder / "run"
    robot.write_text(_ROBOT)
    args = ["run", "--config", str(robot), "--out", str(out), "--episodes", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "headway", *args],
        env=environment(), capture_output=True, text=True, timeout=_TAKES_S, check=False,
    )  # fmt: skip
    path = out / "episode_0.mcap"
    if not path.is_file():
        raise DeviceError(f"wanted a recording of null devices, found none: {done.stderr[-500:]}")
    return {"path": str(path)}
