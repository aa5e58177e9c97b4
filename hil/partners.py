"""Which emulator, or which recording, stands in for which driver: found in the modules of
`headway.hil.emulators` and `headway.hil.recordings`, which say so themselves (see there)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from headway import plugins
from headway.errors import ConfigError

Record = Callable[[Path], dict[str, Any]]  # writes into a folder; gives the keys that play it


@dataclass(frozen=True)
class Wire:
    """The line to a device: what it is, and which keys of the driver's table have its address."""

    kind: Literal["serial", "tcp", "udp"]
    keys: tuple[str, ...]

    def address(self, table: dict[str, Any]) -> str:
        """The path, or HOST:PORT, that `table` names. Raises ConfigError where it names none."""
        try:
            return ":".join(str(table[key]) for key in self.keys)
        except KeyError as e:
            raise ConfigError(
                f"wanted the address of the line in the keys {', '.join(self.keys)}, found no {e}: "
                "name it"
            ) from None

    def moved(self, table: dict[str, Any], address: str) -> dict[str, Any]:
        """`table` with `address` instead."""
        if len(self.keys) == 1:
            return {**table, self.keys[0]: address}
        host, _, port = address.rpartition(":")
        return {**table, self.keys[0]: host, self.keys[1]: int(port)}


@dataclass(frozen=True)
class Partner:
    """The emulator `name` with its `module`, for the driver `kind` of `folder`."""

    name: str
    folder: str
    kind: str
    module: ModuleType

    @property
    def setup(self) -> dict[str, Any]:
        """Keys of its `Config` for the suite."""
        return dict(getattr(self.module, "SETUP", {}))

    @property
    def plant(self) -> dict[str, Any]:
        """The plant that it moves."""
        return {"kind": "servo", **getattr(self.module, "PLANT", {})}

    @property
    def wire(self) -> Wire:
        kind, keys = self.module.WIRE
        return Wire(kind, tuple(keys))

    @property
    def host_gone(self) -> str:
        """What the device does when its host dies: `stops` or `holds`."""
        return str(getattr(self.module, "HOST_GONE", "stops"))

    @property
    def device_faults(self) -> tuple[str, ...]:
        """The kinds of faults that it can have by itself."""
        return tuple(getattr(self.module, "KINDS", ()))

    @property
    def needs(self) -> tuple[str, str] | None:
        """Folder and kind of the driver that has to be made before this one, in one run, since it
        owns the port that both share."""
        found = dict(getattr(self.module, "NEEDS", {})).get((self.folder, self.kind))
        return None if found is None else (str(found[0]), str(found[1]))

    def table(self, uri: str, folder: str = "") -> dict[str, Any]:
        """The keys for the emulator at `uri` of this driver, or of that of `folder`."""
        made: dict[str, Any] = self.module.table(folder or self.folder, uri)
        return made


def partners() -> dict[tuple[str, str], Partner]:
    """The partners of all drivers that have one, by the driver's folder and kind. Raises
    ConfigError for an emulator that says only half of what it should, and for two of one driver."""
    found: dict[tuple[str, str], Partner] = {}
    for name in plugins.kinds("hil.emulators"):
        module = plugins.load("hil.emulators", name)
        for folder, kind in getattr(module, "DRIVERS", ()):
            plugins.load("hil.emulators", name, ("WIRE", "table", "Config", "serve"))
            other = found.get((folder, kind))
            if other is not None:
                raise ConfigError(
                    f"wanted one emulator for the driver {kind} of {folder}, found {other.name} "
                    f"and {name}: take it out of the DRIVERS of one"
                )
            found[folder, kind] = Partner(name, folder, kind, module)
    return found


def recordings() -> dict[tuple[str, str], Record]:
    """How the recordings of all drivers that have one are made, by the driver's folder and kind.
    Raises ConfigError for a module that says only half of what it should."""
    found: dict[tuple[str, str], Record] = {}
    for name in plugins.kinds("hil.recordings"):
        module = plugins.load("hil.recordings", name, ("DRIVERS", "record"))
        for folder, kind in module.DRIVERS:
            found[folder, kind] = module.record
    return found
