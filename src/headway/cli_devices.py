"""The commands about devices: `headway devices`, and `headway teleop` by hand.

Each function in `DEVICE_COMMANDS` is a command; its docstring is the command's help text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tyro


def devices(
    port: tuple[str, ...] = (),
    host: tuple[str, ...] = (),
    probe: bool = False,
    json: bool = False,
    write: Path | None = None,
    overwrite: bool = False,
) -> int:
    """List what is plugged in, and write a first configuration for it. Nothing moves.

    Args:
        port: look at these serial ports only, whatever their adapters are.
        host: network addresses to look at, NAME or NAME:PORT.
        probe: ask at the ports who is there, in the devices' own protocols.
        json: print JSON, for programs.
        write: file for a run configuration (TOML) of what was found.
        overwrite: replace a file at --write.
    """
    from headway.tools.devices.command import devices_command

    return devices_command(port, host, probe, json, write, overwrite)


def teleop(
    config: tyro.conf.Positional[Path],
    input: str | None = None,
    out: Path | None = None,
    dataset: Path | None = None,
    episodes: int | None = None,
    instruction: str | None = None,
    overwrite: bool = False,
) -> int:
    """Steer a robot by hand, through the guard, and record demonstrations.

    Args:
        config: run configuration (TOML); its [input] says by what, its [policy] does not drive.
        input: keyboard, gamepad, spacemouse or leader, instead of that of [input] [keyboard].
        out: folder for the recordings, which are numbered on [runs/NAME-teleop].
        dataset: also write the session's episodes as a LeRobotDataset to this folder.
        episodes: end after so many that were kept [when you end it].
        instruction: what the demonstrations are of, instead of the configured instruction.
        overwrite: replace a data set at --dataset.
    """
    from headway.tools.teleop.command import TeleopOptions, teleop_command

    options = TeleopOptions(input, out, dataset, episodes, instruction, overwrite)
    return teleop_command(config, options)


DEVICE_COMMANDS: dict[str, Callable[..., int]] = {"devices": devices, "teleop": teleop}
