"""What the computer sees of devices: serial ports, cameras, RealSense."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from headway.drivers.finding import Found, Port, Seen
from headway.errors import ConfigError

BY_ID, CAMERAS = Path("/dev/serial/by-id"), Path("/dev/v4l/by-id")
Comports = Callable[[], Iterable[Any]]  # as serial.tools.list_ports.comports


def comports() -> Iterable[Any]:
    """The serial ports of this computer, as pyserial lists them; none without pyserial."""
    try:
        from serial.tools import list_ports
    except ImportError:
        return ()
    found: Iterable[Any] = list_ports.comports()
    return found


def look(
    named: Sequence[str] = (),
    hosts: Sequence[str] = (),
    probe: bool = False,
    *,
    ports: Comports = comports,
    by_id: Path = BY_ID,
) -> Seen:
    """What there is: the serial ports that are of USB, or all `named` ones where there are some,
    and the `hosts`. Raises ConfigError for a named port that is not there."""
    links = _links(by_id)
    seen = []
    for p in sorted(ports(), key=lambda p: str(p.device)):
        path = str(p.device)
        if p.vid is not None and (not named or path in named or links.get(path) in named):
            link = links.get(path, "")
            seen.append(
                Port(path, link, p.vid, p.pid, p.serial_number or "", p.product or "", bool(named))
            )
    known = {q for p in seen for q in (p.path, p.link)}
    for path in named:
        if path in known:
            continue
        if not Path(path).exists():
            raise ConfigError(
                f"wanted a serial port at {path}, found none: is it plugged in? without --port, "
                "`headway devices` lists what there is"
            )
        seen.append(Port(path, named=True))
    return Seen(tuple(seen), tuple(_host(h) for h in hosts), probe)


def _host(text: str) -> str:
    name, colon, port = text.partition(":")
    if not name or (colon and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise ConfigError(f"wanted --host as NAME or NAME:PORT, found {text!r}")
    return text


def _links(folder: Path) -> dict[str, str]:
    """The links in `folder`, by the path that each leads to."""
    if not folder.is_dir():
        return {}
    return {str(link.resolve()): str(link) for link in sorted(folder.iterdir())}


def cameras(
    folder: Path = CAMERAS, module: Callable[[str], Any] = importlib.import_module
) -> list[Found]:
    """Cameras at `folder`, one per name: a camera has further nodes for its metadata. RealSense
    cameras are those that pyrealsense2 lists; without it they are taken for what they are to the
    kernel, UVC cameras."""
    depth = _realsense(module)
    numbers = [f.serial for f in depth if f.serial]
    found = []
    for link in sorted(folder.glob("*-video-index0")) if folder.is_dir() else ():
        text = link.name.removesuffix("-video-index0").removeprefix("usb-").replace("_", " ")
        if not any(n in link.name for n in numbers) and not (depth and "RealSense" in link.name):
            found.append(
                Found("cameras", "uvc", str(link), text, sure=True, keys={"device": str(link)})
            )
    return [*depth, *found]


def _realsense(module: Callable[[str], Any]) -> list[Found]:
    try:
        rs = module("pyrealsense2")
    except Exception:  # not installed, or without libusb
        return []
    found = []
    for device in rs.context().query_devices():
        number = str(device.get_info(rs.camera_info.serial_number))
        name = str(device.get_info(rs.camera_info.name))
        found.append(
            Found("cameras", "realsense", f"realsense:{number}", name, number, True,
                  {"serial": number})
        )  # fmt: skip
    return found
