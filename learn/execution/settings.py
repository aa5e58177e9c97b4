"""Everything that decides how a unit learns, as plain settings: those of a study's plan, of a
`headway learn` file, and their defaults."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from headway import config
from headway.config import AtLeastOne, NotNegative, Struct
from headway.errors import ConfigError
from headway.learn.execution.arms import ARMS, Arm
from headway.learn.execution.critic import CriticFit
from headway.learn.execution.extraction import CloneFit, HeadFit, Mix
from headway.learn.execution.gate import Gate
from headway.learn.execution.outcome import OutcomeFit
from headway.learn.execution.process import ProcessFit
from headway.learn.execution.regression import Regression
from headway.learn.execution.values import Worth
from headway.learn.oracle import OracleConfig


class Demonstrations(Struct, frozen=True):
    """The demonstrations that a unit begins with: so many `orders`, in which the expert is pushed
    off its way with the probability `disturb` per decision."""

    orders: AtLeastOne = 20
    disturb: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.04

    @property
    def scenes(self) -> int:
        """Scenes that are set aside for them: a few come to nothing, where the physics blows up."""
        return 2 * self.orders


class Learning(Struct, frozen=True, kw_only=True):
    """How a unit learns. `base` is the folder of the policy whose eyes and text are frozen.

    `temperature` is that of the choice among candidates while collecting: about even, so that what
    a critic learns from is not what the critic before it liked. At tests the best one is taken.
    `noise`: how much of its noise the policy makes chunks from at tests; while collecting it is all
    of it, so that there are better and worse decisions to learn from.
    `keep`: keep the episodes of a unit that is finished."""

    base: str
    arm: Arm
    demonstrations: Demonstrations = Demonstrations()
    clone: CloneFit = CloneFit(steps=1500, lr=2e-3)
    head: HeadFit = HeadFit()
    mix: Mix = Mix()
    worth: Worth = Worth()
    process: ProcessFit = ProcessFit()
    outcome: OutcomeFit = OutcomeFit()
    baseline: Regression = Regression()
    critic: CriticFit = CriticFit()
    gate: Gate = Gate()
    oracle: OracleConfig = OracleConfig()
    temperature: NotNegative = 4.0
    noise: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    keep: bool = False
    workflow: dict[str, Any] = field(default_factory=dict)  # over the workflow's own settings

    def __post_init__(self) -> None:
        if self.arm.candidates > 1 and self.noise == 0.0:
            raise ValueError(
                f"{self.arm.candidates} candidates want noise, by which they differ, found noise = "
                "0: leave one of the two out"
            )


def learning(name: str, settings: dict[str, Any], where: str) -> Learning:
    """The settings of the arm `name`: `settings` over the defaults. The keys of `Arm` may stand
    among them, over those of the arm that has the name. `where` names their place in errors. Raises
    ConfigError."""
    own = {k: settings[k] for k in Arm.__struct_fields__ if k in settings and k != "oracle"}
    rest = {k: v for k, v in settings.items() if k not in own}
    if isinstance(rest.get("oracle"), bool):  # a table has the oracle's own settings
        own["oracle"] = rest.pop("oracle")
    if name in ARMS:
        own = msgspec.to_builtins(ARMS[name]) | own
    elif "credit" not in own:
        raise ConfigError(
            f"{where}: the arm {name!r} wants `credit`, or the name of one that is known: "
            f"{config.suggest(name, tuple(ARMS))}"
        )
    usual = msgspec.to_builtins(Learning(base="", arm=ARMS["1.6"]))
    del usual["base"]
    made: Learning = config.decode(
        config.over(usual, {**rest, "arm": own}), Learning, f"{where}: settings of the arm {name!r}"
    )
    return made
