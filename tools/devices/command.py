"""`headway devices`: list what is plugged in, and write a first configuration."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headway.drivers.finding import Found, Port, Seen, find_all
from headway.errors import ConfigError
from headway.tools.devices.draft import draft
from headway.tools.devices.look import cameras, look

NOTHING = 1  # exit code where no device was found
CHECK = """\
No device was found. What to check:
- the cable, the hub, and the device's own supply; `lsusb` should list its adapter
- serial ports: pyserial is there (pip install 'headway[serial]'), and this user is in the group
  dialout (sudo usermod -aG dialout $USER, then log in again)
- cameras: this user is in the group video; RealSense wants pyrealsense2 and its udev rules
- a port that ModemManager or brltty has taken: `fuser -v /dev/ttyUSB0` names the program
- network devices are only looked for where you say: --host NAME"""


def devices_command(
    named: Sequence[str],
    hosts: Sequence[str],
    probe: bool,
    json: bool,
    write: Path | None,
    overwrite: bool,
    *,
    seen: Callable[..., Seen] = look,
    camera_list: Callable[[], list[Found]] = cameras,
    console: Console | None = None,
) -> int:
    """List the devices at the `named` serial ports (all, where none is named), at `hosts`, and the
    cameras. `probe`: ask at the ports. `json`: print JSON. `write`: a file for a configuration.
    Returns 0, or NOTHING where nothing was found. Raises ConfigError for a `write` that is there
    already, and what `look` raises."""
    console = console or Console()
    if write is not None and write.exists() and not overwrite:
        raise ConfigError(
            f"wanted a new file at {write}, found one: name another, or add --overwrite"
        )
    what = seen(named, hosts, probe)
    found, troubles = find_all(what)
    found += camera_list()
    if json:
        known = {f.uri for f in found}
        unknown = [asdict(p) for p in what.ports if p.address not in known]
        table = {
            "devices": [asdict(f) for f in found], "other_ports": unknown, "troubles": troubles,
        }  # fmt: skip
        console.file.write(json_module.dumps(table, indent=2) + "\n")
    else:
        _show(console, what, found, troubles)
    if write is not None and found:
        try:
            write.write_text(draft(found, write.name))
        except OSError as e:
            raise ConfigError(f"cannot write {write}: {e.strerror}: name another file") from None
        if not json:
            console.print(f"wrote {write}: fill in what it says FILL IN at", soft_wrap=True)
    return 0 if found else NOTHING


def _show(console: Console, what: Seen, found: list[Found], troubles: list[str]) -> None:
    if found:
        table = Table(box=box.SIMPLE)
        for title in ("device", "kind", "address", "what it is", "serial", ""):
            table.add_column(title)
        for f in found:
            sure = "" if f.sure else "[yellow]by its USB adapter[/yellow]"
            row = (f.folder, f.kind, f.uri, f.model, f.serial)
            table.add_row(*map(escape, row), sure)
        console.print(table)
    known = {f.uri for f in found}
    for p in what.ports:
        if p.address not in known:
            said = "nobody whom a driver knows answers there" if what.probe else "not known"
            console.print(f"port {escape(_port(p))}: {said}", highlight=False, soft_wrap=True)
    for text in troubles:
        console.print(f"[yellow]{escape(text)}[/yellow]", soft_wrap=True)
    if found and not what.probe and any(not f.sure for f in found):
        console.print("--probe asks them who they are; nothing moves by that", highlight=False)
    if not found:
        console.print(CHECK, markup=False, highlight=False, soft_wrap=True)


def _port(p: Port) -> str:
    usb = "" if p.vid is None or p.pid is None else f" (USB {p.vid:04x}:{p.pid:04x}"
    rest = " ".join(w for w in (p.product, p.serial) if w)
    return p.address + (f"{usb} {rest})" if usb and rest else f"{usb})" if usb else "")
