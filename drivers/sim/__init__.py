"""The simulated cell (MuJoCo): one world that all devices of kind `sim` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.drivers import Context
    from headway.drivers.sim.cell import Cell


def cell_of(ctx: Context) -> Cell:
    """The cell of the run that `ctx` belongs to. Raises ConfigError when it has none."""
    cell: Cell | None = ctx.worlds.get("sim")
    if cell is None:
        raise ConfigError(
            "devices of kind `sim` want a [cell] section in the configuration: add one"
        )
    return cell
