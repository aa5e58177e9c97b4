"""Run by scripts/extras.py in the environment of one extra: `python -I extras_try.py EXTRA`.

Imports every driver, then opens those of the extra without a device. Each has to say in an error
that the device is not there, and not that a package is. Of `base`, all of them have to name the
extra that they want. Prints what they said; exits with 1 where one of them said something else.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from headway import plugins
from headway.clock import WallClock
from headway.drivers import Context, open_device
from headway.errors import HeadwayError, Missing

FOLDERS = ("arms", "ft", "grippers", "cameras", "inputs", "stations", "worlds")
NOWHERE = "/dev/headway-none"
# For each extra its drivers: folder, kind, keys. The address is one where nobody is.
HERE = {"host": "127.0.0.1"}
FILE = "calibration.json"
CASES: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "serial": [
        ("ft", "ft300", {"port": NOWHERE}),
        ("ft", "bota", {"port": NOWHERE}),
        ("grippers", "robotiq_2f", {"port": NOWHERE}),
    ],
    "ur": [("arms", "ur", {**HERE, "rtde_port": 1, "dashboard_port": 0, "script_port": 1})],
    "feetech": [("arms", "feetech", {"port": NOWHERE, "calibration": FILE})],
    "dynamixel": [("arms", "dynamixel", {"port": NOWHERE, "calibration": FILE})],
    "realsense": [("cameras", "realsense", {})],
    "uvc": [("cameras", "uvc", {"device": NOWHERE})],
    "franka": [
        ("arms", "franka", {**HERE, "realtime": "ignore"}),
        ("grippers", "franka", HERE),
    ],
    "teleop": [("inputs", "gamepad", {}), ("inputs", "spacemouse", {})],
}
NEEDS_NOTHING = ("ur",)


def calibration(folder: Path) -> str:
    """The path of a file for six servos."""
    names = (
        "shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper",
    )  # fmt: skip
    row = {"drive_mode": 0, "homing_offset": 0, "range_min": 300, "range_max": 3796}
    path = folder / FILE
    path.write_text(json.dumps({name: {"id": i, **row} for i, name in enumerate(names, 1)}))
    return str(path)


def error_of(folder: str, kind: str, table: dict[str, Any]) -> HeadwayError:
    """What the driver says when it is opened. Raises AssertionError where it opens."""
    try:
        device = open_device(folder, kind, table, Context(WallClock(spin_ns=0)))
        try:
            device.open(1.0)
        finally:
            device.close()
    except HeadwayError as e:
        return e
    raise AssertionError(f"{folder} {kind} opens without a device")


def main(extra: str) -> int:
    """Try `extra`; returns the exit status."""
    count = 0
    for folder in FOLDERS:
        for kind in plugins.kinds(f"drivers.{folder}"):
            plugins.load(f"drivers.{folder}", kind)
            count += 1
    print(f"{count} drivers import")
    bad = False
    with tempfile.TemporaryDirectory() as place:
        file = calibration(Path(place))
        for owner, cases in CASES.items():
            if extra not in (owner, "base"):
                continue
            for folder, kind, table in cases:
                keys = {k: file if v == FILE else v for k, v in table.items()}
                said = error_of(folder, kind, keys)
                lacks = extra == "base" and owner not in NEEDS_NOTHING
                right = isinstance(said, Missing) == lacks and (
                    not lacks or "pip install 'headway[" in " ".join(str(said).split())
                )
                bad |= not right
                print(f"{'' if right else 'WRONG '}{folder} {kind}: {said}")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
