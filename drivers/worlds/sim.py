"""The simulated cell as a world: the section `[cell]`."""

from __future__ import annotations

from headway import plugins
from headway.drivers import Asked, Context
from headway.drivers.sim.cell import Cell, CellConfig, scene_config

Config = CellConfig


def asked(cfg: CellConfig, where: str) -> Asked:
    """What the scene asks of a run. Raises ConfigError for a scene that is not there, or for keys
    of `scene_config` that do not fit it; `where` names the section."""
    scene_config(cfg, where)
    scene = plugins.load("drivers.sim.scenes", cfg.scene)
    places = {"source": scene.SOURCE.centre, "target": scene.TARGET.centre}
    return Asked(
        f"scene {cfg.scene}",
        scene.TASK,
        {name: (x, y) for name, (x, y, _) in places.items()},
        scene.INSTRUCTIONS,
    )


def connect(cfg: CellConfig, ctx: Context) -> Cell:
    """The cell, which the devices of kind `sim` of the same context find there."""
    cell = ctx.worlds["sim"] = Cell(cfg, ctx.clock)
    return cell
