"""What the drivers of a line of servos are told about an emulated one."""

from __future__ import annotations

import functools
import json
import math
import tempfile
from pathlib import Path
from typing import Any

_MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
_COUNTS = 4096  # per turn; an angle is 0 in the middle
_RANGE = (300, 3796)  # of the joints


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """For the calibration file; gone at the end of the process."""
    return tempfile.TemporaryDirectory(prefix="headway-calibration-")


def table(folder: str, uri: str, jaw_rad: float) -> dict[str, Any]:
    """The keys of a driver of `folder` for the line at `uri`, whose jaw opens by `jaw_rad` [rad]
    from the middle of its servo; an arm's with a calibration file."""
    if folder == "grippers":
        return {"port": uri}
    middle = _COUNTS // 2
    ranges = [_RANGE] * 5 + [(middle, middle + round(jaw_rad / (2.0 * math.pi) * _COUNTS))]
    motors = {
        name: {"id": i, "drive_mode": 0, "homing_offset": 0, "range_min": low, "range_max": high}
        for i, (name, (low, high)) in enumerate(zip(_MOTORS, ranges, strict=True), 1)
    }
    path = Path(_folder().name) / f"jaw_{jaw_rad:g}.json"
    path.write_text(json.dumps(motors))
    return {"port": uri, "calibration": str(path), "check_calibration": False}
