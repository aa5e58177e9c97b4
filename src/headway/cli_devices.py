"""The commands about devices: `headway devices`, and `headway teleop` by hand.

Each function in `DEVICE_COMMANDS` is a command; its docstring is the command's help text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


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


DEVICE_COMMANDS: dict[str, Callable[..., int]] = {"devices": devices}
