"""Robot models: an arm's kinematics, limits, masses and shape, from a URDF and a TOML file beside
it. Some arms come with Headway, in the folder `robots`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from headway import config
from headway.drivers.model import urdf
from headway.drivers.model.build import build
from headway.drivers.model.file import ModelFile
from headway.drivers.model.robot import LinkMass, RobotModel, Tool
from headway.errors import ConfigError

__all__ = ["ROBOTS", "LinkMass", "RobotModel", "Tool", "load", "shipped"]

ROBOTS = Path(__file__).parent / "robots"


def shipped() -> list[str]:
    """The names of the robots that come with Headway."""
    return sorted(p.stem for p in ROBOTS.glob("*.urdf"))


def load(name_or_path: str | Path, tool: Tool | None = None, *, hand: bool = True) -> RobotModel:
    """The model of a robot that comes with Headway, by its name, or of the URDF at a path that ends
    in `.urdf`, with the TOML file of the same name beside it, if there is one
    (`headway.drivers.model.file`). `tool`: the TCP, as for `RobotModel.with_tool` [the one that the
    TOML file names]. `hand`: with what the URDF has mounted on the tool link, in the masses and in
    the shape. Raises ConfigError."""
    text = str(name_or_path)
    model = _read(Path(text), hand) if text.endswith(".urdf") else _shipped(text, hand)
    return model if tool is None else model.with_tool(tool)


@lru_cache
def _shipped(name: str, hand: bool) -> RobotModel:
    have = shipped()
    if name not in have:
        raise ConfigError(
            "wanted the name of a robot model, or the path of a file that ends in .urdf, found "
            f"{name!r}: {config.suggest(name, have)}"
        )
    return _read(ROBOTS / f"{name}.urdf", hand)


def _read(path: Path, hand: bool) -> RobotModel:
    robot = urdf.read(path)
    beside = path.with_suffix(".toml")
    said = config.load(beside, ModelFile) if beside.is_file() else ModelFile()
    return build(path.stem, robot, said, path, hand)
