"""A scripted expert, which sees where the simulated world has its objects: for demonstrations, and
to see what a cell allows. It only runs in lock-step, in the loop's process, beside the world."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from headway import config, plugins
from headway.drivers import World
from headway.edge.policy.policy import Policy
from headway.errors import ConfigError

FOLDER = "learn.experts"
PATHS: tuple[str, ...] = ()


class Config(config.Struct, frozen=True):
    """Keys of `[policy]` for the kind `expert`: the name of the expert in `headway.learn.experts`
    (or of an entry point of the group `headway.experts`), and how often it is pushed off its way,
    as the probability (0..1) per decision."""

    expert: Annotated[str, Meta(min_length=1)]
    disturb: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0


def open_in_place(cfg: Config, world: World | None, cameras: tuple[str, ...]) -> Policy:
    """The expert that `cfg` names, in `world`, asking for the images of `cameras`. Raises
    ConfigError without a world, and for an expert that is not there or not made for this world."""
    if world is None:
        raise ConfigError(
            "a policy of kind expert wants a simulated world to look into, found none: add a "
            "section [cell], or choose another policy"
        )
    module: Any = plugins.load(FOLDER, cfg.expert, ("connect",))
    made: Policy = module.connect(world, disturb=cfg.disturb, cameras=cameras)
    return made
