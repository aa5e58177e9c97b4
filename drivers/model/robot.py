"""What the rest of Headway knows about an arm, whatever arm it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headway import config
from headway.drivers.kinematics import Chain
from headway.drivers.transforms import Transform, compose, offset
from headway.errors import ConfigError
from headway.types import Limits, Vec

Tool = str | Sequence[float]


@dataclass(frozen=True, eq=False)
class LinkMass:
    """What moves with one frame of the chain, taken as one body: the URDF's links `names`, `mass`
    [kg], centre of mass `com` (3,) [m], and `inertia` (ixx, iyy, izz, ixy, ixz, iyz) [kg m^2] about
    the centre of mass, both in the axes of the chain's frame."""

    names: tuple[str, ...]
    mass: float
    com: tuple[float, float, float]
    inertia: tuple[float, float, float, float, float, float]


@dataclass(frozen=True, eq=False)
class RobotModel:
    """An arm of n joints.

    `joints` (n) are the names of the joints that move from the base to the tool, in order, with
    their `limits`; `chain` is the kinematics from the base to the TCP, with the arm's shape, and
    keeps the limits in inverse kinematics; `home` (n,) [rad] is a posture to start from. `jaw` are
    further joints that move, as those of a hand. `links` has one body per frame of the chain,
    number 0 the base. `tools` are named tool frames in the chain's last frame; `tool_link` is the
    one that tools are mounted on. `missing` says in words what the files do not say, and what is
    taken instead. `source` says where the numbers come from.
    """

    name: str
    source: str
    joints: tuple[str, ...]
    limits: Limits
    chain: Chain
    home: Vec
    jaw: tuple[str, ...]
    links: tuple[LinkMass, ...]
    tools: dict[str, Transform]
    base_link: str
    tool_link: str
    missing: tuple[str, ...]

    @property
    def n(self) -> int:
        """How many joints the chain has."""
        return len(self.joints)

    @property
    def ik_weights(self) -> tuple[float, ...]:
        """The six weights of inverse kinematics, see `Chain`."""
        return self.chain.ik_weights

    def with_tool(self, tool: Tool) -> RobotModel:
        """The same arm with another TCP: the name of one of `tools`, or a position [m] (3 numbers)
        or position and rotation vector [rad] (6 numbers) in the frame of `tool_link`. Raises
        ConfigError."""
        if isinstance(tool, str):
            if tool not in self.tools:
                raise ConfigError(
                    f"robot {self.name}: wanted a tool frame, found {tool!r}: "
                    f"{config.suggest(tool, self.tools)}"
                )
            at = self.tools[tool]
        else:
            try:
                at = compose(self.tools[self.tool_link], offset(tool))
            except ValueError as e:
                raise ConfigError(f"robot {self.name}, tool: {e}") from None
        return replace(self, chain=replace(self.chain, tool=at))
