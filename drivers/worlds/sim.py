"""The simulated cell as a world, which the section `[cell]` configures."""

from __future__ import annotations

from typing import Any

import msgspec

from headway import plugins
from headway.drivers import Asked, Context
from headway.drivers.model import load
from headway.drivers.sim.cell import Cell, CellConfig, scene_config

Config = CellConfig
_SCENE = ("Config", "build", "HOME", "TASK", "PLACES", "INSTRUCTIONS")  # what its module has


def asked(cfg: CellConfig, where: str) -> Asked:
    """What the scene of `cfg` expects of a run; `where` names the section in errors. Raises
    ConfigError for an unknown scene or robot, a module that is no scene, or for keys of
    `scene_config` that do not fit."""
    scene = plugins.load("drivers.sim.scenes", cfg.scene, _SCENE)
    scene_config(cfg, where)
    load(cfg.robot)
    places = {name: (x, y) for name, zone in scene.PLACES.items() for x, y, _ in (zone.centre,)}
    return Asked(f"scene {cfg.scene}", scene.TASK, places, scene.INSTRUCTIONS)


def asking(table: dict[str, Any], text: str) -> dict[str, Any] | None:
    """The section [cell] that `table` holds, with orders of one line that asks for `text`; None
    where its scene cannot be told what to ask for. Raises ConfigError for an unknown scene."""
    kind = table.get("scene", CellConfig().scene)
    scene = plugins.load("drivers.sim.scenes", kind)
    if "instruction" not in {f.name for f in msgspec.structs.fields(scene.Config)}:
        return None
    return {**table, "scene_config": {**table.get("scene_config", {}), "instruction": text}}


def connect(cfg: CellConfig, ctx: Context) -> Cell:
    """Make the cell of `cfg`, and put it into `ctx`, where devices of kind `sim` find it. Raises
    ConfigError or Missing like `Cell`."""
    cell = ctx.worlds["sim"] = Cell(cfg, ctx.clock)
    return cell
