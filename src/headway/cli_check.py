"""The command `headway check`: does this bundle fit this robot and this computer?"""

from __future__ import annotations

from pathlib import Path

import tyro

from headway import shipped, workflows
from headway.errors import ConfigError


def check(
    bundle: tyro.conf.Positional[Path | None] = None,
    robot: Path | None = None,
    workflow: str | None = None,
    seconds: float = 5.0,
    devices: bool = False,
    json: bool = False,
) -> int:
    """Say whether a bundle fits a robot and this computer, before anything moves.

    Args:
        bundle: folder of a policy, a PRO head or a critic [those of the configuration].
        robot: run configuration (TOML) of the robot [the simulated cell].
        workflow: name of a workflow, such as pick_place, instead of --robot.
        seconds: how long to measure the loop and the policy on null devices; 0: not at all.
        devices: also open the robot's own devices and read them; nothing moves.
        json: print JSON, for programs.
    """
    from headway.tools.check.check import Asked
    from headway.tools.check.command import check_command

    if workflow is not None:
        if robot is not None:
            raise ConfigError(
                f"wanted one configuration, found --robot {robot} and --workflow {workflow}: "
                "leave one of them out"
            )
        robot = workflows.config_of(workflow)
    return check_command(Asked(robot or shipped.CONFIG, bundle, seconds, devices), json)
