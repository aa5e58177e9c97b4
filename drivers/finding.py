"""Which devices are plugged in: what the computer sees, and what the drivers make of it.

A driver's module may offer `find(seen) -> list[Found]`, see `Finder`. `find_all` asks all that do,
so a new driver is found by `headway devices` without any list being edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from headway import plugins
from headway.errors import HeadwayError

FOLDERS = ("arms", "ft", "grippers", "cameras")
# FTDI's FT232R and FT-X, which are in adapters and devices of many makers: Robotiq's adapter has
# been seen with either (0403:6015 in issue 45 of github.com/ros-industrial-attic/robotiq).
FTDI = ((0x0403, 0x6001), (0x0403, 0x6015))


@dataclass(frozen=True)
class Port:
    """A serial port at `path`; `link` is its path of /dev/serial/by-id, "" without one. `vid`,
    `pid`, `serial` and `product` are those of its USB adapter, None and "" where it has none.
    `named`: the user has named it, so that every driver may ask what is there."""

    path: str
    link: str = ""
    vid: int | None = None
    pid: int | None = None
    serial: str = ""
    product: str = ""
    named: bool = False

    @property
    def address(self) -> str:
        """What a configuration should name: what stays the same wherever it is plugged in."""
        return self.link or self.path


@dataclass(frozen=True)
class Seen:
    """What the computer sees: its serial `ports`, and the `hosts` that the user has named (NAME or
    NAME:PORT). `probe`: whether drivers may ask what is at a port, in the device's own protocol;
    nothing moves by that, and nothing is written but the question. Hosts are always asked."""

    ports: tuple[Port, ...] = ()
    hosts: tuple[str, ...] = ()
    probe: bool = False

    def of_usb(self, ids: Iterable[tuple[int, int]]) -> list[Port]:
        """The ports whose adapter has one of the USB `ids` (vendor, product), and the named
        ones if they may be asked."""
        known = set(ids)
        return [p for p in self.ports if (p.vid, p.pid) in known or (p.named and self.probe)]


@dataclass(frozen=True)
class Found:
    """A device of the driver `kind` of `folder` at `uri`. `sure`: it has said so itself; else only
    its USB adapter fits. `keys` are those of its section in a configuration, and `todo` those that
    only the user knows, with what belongs there."""

    folder: str
    kind: str
    uri: str
    model: str = ""
    serial: str = ""
    sure: bool = False
    keys: dict[str, Any] = field(default_factory=dict)
    todo: dict[str, str] = field(default_factory=dict)


# What a driver's module may offer as `find`: the devices of its kind among what is seen, and those
# that come with them, as the jaw of an arm. A device that does not answer is none; other troubles
# are raised as a HeadwayError, and do not stop the other drivers.
Finder = Callable[[Seen], list[Found]]


def at_ports(
    seen: Seen,
    adapters: Iterable[tuple[int, int]],
    perhaps: Callable[[Port], Found],
    ask: Callable[[Port], Found | None],
) -> list[Found]:
    """For drivers of one device a port: what `ask` finds at the ports whose adapter is one of
    `adapters`; where they may not be asked, what `perhaps` says of them."""
    ports = seen.of_usb(adapters)
    if not seen.probe:
        return [perhaps(p) for p in ports]
    return [f for p in ports if (f := ask(p)) is not None]


def find_all(seen: Seen) -> tuple[list[Found], list[str]]:
    """What all drivers find, and in words what kept some of them from looking. At an address where
    one device is sure, what others only take for possible is left out, and a serial port whose
    device is known is not asked by further drivers."""
    found: list[Found] = []
    troubles: list[str] = []
    sure: set[str] = set()
    for folder in FOLDERS:
        for kind in plugins.kinds(f"drivers.{folder}"):
            left = replace(seen, ports=tuple(p for p in seen.ports if p.address not in sure))
            found += _found_by(folder, kind, left, troubles)
            sure = {f.uri for f in found if f.sure}
    return [f for f in found if f.sure or f.uri not in sure], troubles


def _found_by(folder: str, kind: str, seen: Seen, troubles: list[str]) -> list[Found]:
    """What the driver `kind` finds; what keeps it from looking is added to `troubles`."""
    try:
        module = plugins.load(f"drivers.{folder}", kind)
        finder: Finder | None = getattr(module, "find", None)
        return [] if finder is None else finder(seen)
    except HeadwayError as e:
        if str(e) not in troubles:  # several drivers may have the same one with a port
            troubles.append(str(e))
        return []
