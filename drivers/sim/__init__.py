"""The MuJoCo cell: one simulated world behind the device kinds `sim` of every folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.drivers import Context
    from headway.drivers.sim.cell import Cell


def cell_of(ctx: Context) -> Cell:
    """The cell that the devices of one run share. Raises ConfigError where there is none."""
    cell: Cell | None = ctx.worlds.get("sim")
    if cell is None:
        raise ConfigError(
            "devices of kind `sim` want a [cell] section in the configuration: add one"
        )
    return cell
