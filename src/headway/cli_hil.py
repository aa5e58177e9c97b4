"""The command `headway hil`: whether devices keep their promises."""

from __future__ import annotations

from pathlib import Path

import tyro


def hil(
    robot: tyro.conf.Positional[Path | None] = None,
    all: bool = False,
    move: bool = False,
    allow_hardware: bool = False,
    quick: bool = False,
    cycles: int | None = None,
    only: tuple[str, ...] = (),
    devices: tuple[str, ...] = (),
    out: Path = Path("runs/hil"),
) -> int:
    """Check whether the devices of a robot keep their promises: rates, stamps, limits, stops.

    Args:
        robot: run configuration (TOML) whose devices are checked.
        all: instead, check every driver kind against its emulator or simulation.
        move: allow real devices to be moved, by small steps around where they stand.
        allow_hardware: allow faults on the lines of real devices.
        quick: look for a shorter time, and open and close less often.
        cycles: how often to open and close for leaks [1000; with --quick 20].
        only: promises to check, by the beginnings of their names, e.g. stamps stops fault.
        devices: devices to check, by the beginnings of their names, e.g. "arms ur" cameras.
        out: folder for index.html, junit.xml and results.json.
    """
    from headway.hil.suite.command import Options, hil_command

    options = Options(move, allow_hardware, quick, cycles, only, devices, out)
    return hil_command(robot, all, options)
