"""The simulated cell as a world, which the section `[cell]` configures."""

from __future__ import annotations

from headway import plugins
from headway.drivers import Asked, Context
from headway.drivers.sim.cell import Cell, CellConfig, scene_config

Config = CellConfig


def asked(cfg: CellConfig, where: str) -> Asked:
    """What the scene of `cfg` expects of a run; `where` names the section in errors. Raises
    ConfigError for an unknown scene, or for keys of `scene_config` that do not fit it."""
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
    """Make the cell of `cfg`, and put it into `ctx`, where devices of kind `sim` find it. Raises
    ConfigError or Missing like `Cell`."""
    cell = ctx.worlds["sim"] = Cell(cfg, ctx.clock)
    return cell
