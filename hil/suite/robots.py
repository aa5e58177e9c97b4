"""Which devices are tested: those of a run configuration, or every driver kind with its partner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headway import plugins
from headway.clock import WallClock
from headway.drivers import Context, device_config, open_device
from headway.edge.control import settings as run_settings
from headway.edge.control.settings import Settings
from headway.errors import ConfigError, HeadwayError
from headway.hil.partners import partners, recordings
from headway.hil.suite.promises import ALL
from headway.hil.suite.results import Result
from headway.hil.suite.subject import Subject

_NEEDS_NOTHING = ("null", "sim")  # kinds that are their own partners
# What needs nothing measures as often as the host lets it, so the suite asks for little; and the
# joints of a null arm are to move as servos move them.
_EASY: dict[str, Any] = {"rate_hz": 50.0}
_MORE: dict[tuple[str, str], dict[str, Any]] = {("arms", "null"): {"servo_rad_s": 60.0}}


def of_robot(path: Path, may_move: bool, may_fault: bool) -> list[Subject]:
    """The devices of the run configuration at `path`. Raises ConfigError."""
    settings: Settings = run_settings.load(path)
    known = partners()
    worlds = _world(settings.cell)
    made = []
    for folder, name, table in _tables(settings):
        rest = {k: v for k, v in table.items() if k != "kind"}
        kind = str(table["kind"])
        partner = known.get((folder, kind))
        owner = None
        if partner is not None and partner.needs is not None:
            owner = _owner(partner.needs, settings, name)
        subject = Subject(
            folder, kind, rest, name=f"{name} {kind}", may_move=may_move, may_fault=may_fault,
            wire=partner.wire if partner is not None else None, worlds=worlds, owner=owner,
        )  # fmt: skip
        made.append(subject)
    return made


def _tables(settings: Settings) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Folder, name and table of each device."""
    yield "arms", "arm", settings.arm
    for folder, name, table in (
        ("ft", "ft", settings.ft),
        ("grippers", "gripper", settings.gripper),
        ("stations", "station", settings.station),
    ):
        if table is not None:
            yield folder, name, table
    for i, table in enumerate(settings.camera):
        yield "cameras", f"camera {table.get('name', i)}", table


def _owner(
    needs: tuple[str, str], settings: Settings, name: str
) -> tuple[str, str, dict[str, Any]]:
    """The device that `needs` names, of the same run. Raises ConfigError where there is none."""
    for folder, _, table in _tables(settings):
        if (folder, table["kind"]) == needs:
            return (*needs, {k: v for k, v in table.items() if k != "kind"})
    raise ConfigError(
        f"the {name} wants a device of kind {needs[1]} in {needs[0]} beside it, found none: they "
        "share a port"
    )


def _world(table: dict[str, Any] | None) -> dict[str, Any]:
    """What the devices of a run share: its world."""
    ctx = Context(WallClock(spin_ns=0))
    if table is not None:
        module, cfg = device_config("worlds", {"kind": "sim", **table}, "[cell]")
        module.connect(cfg, ctx).reset(0)
    return ctx.worlds


def of_all() -> Iterator[Subject | Result]:
    """Every driver kind with its partner; for one that has none, a result that says so."""
    known, recorded = partners(), recordings()
    for folder in ALL:
        for kind in plugins.kinds(f"drivers.{folder}"):
            name = f"{folder} {kind}"
            try:
                partner = known.get((folder, kind))
                table = {**_EASY, **_MORE.get((folder, kind), {})}
                if partner is not None:
                    yield Subject(folder, kind, partner=partner)
                elif (folder, kind) in recorded:
                    yield Subject(folder, kind, recorded=recorded[folder, kind])
                elif kind in _NEEDS_NOTHING:
                    yield Subject(folder, kind, table, worlds=_shared(folder, kind, table))
                else:
                    why = "no partner: no emulator and no recording of hil names this driver"
                    yield Result(name, "partner", "not applicable", why)
            except HeadwayError as e:
                yield Result(name, "partner", "not applicable", f"no partner: {e}")


def _shared(folder: str, kind: str, table: dict[str, Any]) -> dict[str, Any]:
    """The world in which the device `kind` of `folder` opens with `table`: none, or a simulated
    cell with the first scene that has such a device. Raises ConfigError where there is none,
    Missing without a simulator."""
    if kind != "sim":
        return {}
    said = ""
    for scene in plugins.kinds("drivers.sim.scenes"):
        found = _with_scene(folder, kind, table, scene)
        if not isinstance(found, str):
            return found
        said = said or found
    raise ConfigError(said or f"wanted a scene for {folder} {kind}, found none")


def _with_scene(folder: str, kind: str, table: dict[str, Any], scene: str) -> dict[str, Any] | str:
    """The simulated cell with `scene`; where the device does not open in it, why not."""
    worlds = _world({"scene": scene})
    try:
        open_device(folder, kind, table, Context(WallClock(spin_ns=0), worlds))
    except ConfigError as e:
        return str(e)
    return worlds
