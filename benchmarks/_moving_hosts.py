"""Programs that move an emulated device by its driver until they are killed, for `host_killed`.

    python -m headway.benchmarks._moving_hosts KIND URI FOLDER

Each prints a line per command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from headway.clock import Rate, WallClock
from headway.drivers import Arm, Context
from headway.drivers.arms import dynamixel, feetech, ur
from headway.drivers.grippers import robotiq_2f
from headway.hil.emulators import dynamixel as emulated_dynamixel

HZ = 100.0
_OPEN_S = 20.0
_STEP_RAD = 0.003
_FAR_RAD = 1.0
_MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


def move_ur(uri: str, folder: Path) -> Iterator[None]:
    """An arm of Universal Robots, its last joint to and fro."""
    parts = urlsplit(uri)
    ports = {name: int(v[0]) for name, v in parse_qs(parts.query).items()}
    cfg = ur.Config(
        host=parts.hostname or "",
        rtde_port=ports["rtde"],
        script_port=ports["script"],
        dashboard_port=ports["dashboard"],
    )
    return _to_and_fro(ur.connect(cfg, _context()), 5)


def move_feetech(uri: str, folder: Path) -> Iterator[None]:
    """An arm of Feetech servos, its first joint to and fro; its calibration is that of the
    emulator."""
    table = {
        name: {"id": i, "drive_mode": 0, "homing_offset": 0, "range_min": 300, "range_max": 3796}
        for i, name in enumerate(_MOTORS, 1)
    }
    path = folder / "calibration.json"
    path.write_text(json.dumps(table))
    cfg = feetech.Config(port=uri, calibration=str(path), check_calibration=False)
    return _to_and_fro(feetech.connect(cfg, _context()), 0)


def move_dynamixel(uri: str, folder: Path) -> Iterator[None]:
    """An arm of Dynamixel servos, its first joint to and fro, calibrated as its emulator is."""
    cfg = dynamixel.Config(**emulated_dynamixel.table(str(folder), uri))
    return _to_and_fro(dynamixel.connect(cfg, _context()), 0)


def move_robotiq_2f(uri: str, folder: Path) -> Iterator[None]:
    """A gripper that opens and closes slowly."""
    cfg = robotiq_2f.Config(port=uri, speed=0.02)
    gripper = robotiq_2f.connect(cfg, _context())
    gripper.open(_OPEN_S)
    gripper.activate()
    while not gripper.read(1.0).valid:
        pass
    width = 0.0
    while True:
        gripper.command(width, force=30.0)
        yield
        if abs(gripper.read(1.0).value.width - width) < 0.01:
            width = gripper.stroke - width


def _context() -> Context:
    return Context(WallClock(spin_ns=0))


def _to_and_fro(arm: Arm, joint: int) -> Iterator[None]:
    arm.open(_OPEN_S)
    arm.activate()
    q = arm.read(1.0).value.q_ref.copy()
    way, first = _STEP_RAD, q[joint]
    for tick in Rate(HZ, WallClock(spin_ns=0)):
        q[joint] += way
        if abs(q[joint] - first) > 0.5 * _FAR_RAD:
            way = -way
        arm.command(q.copy(), deadline_ns=tick.t_ns)
        yield


HOSTS: dict[str, Callable[[str, Path], Iterator[None]]] = {
    "ur": move_ur,
    "feetech": move_feetech,
    "dynamixel": move_dynamixel,
    "robotiq_2f": move_robotiq_2f,
}


def main(argv: list[str]) -> None:
    """Move the device that `argv` names."""
    kind, uri, folder = argv
    for _ in HOSTS[kind](uri, Path(folder)):
        print("sent", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
