"""Null devices in place of a robot's, with its limits, kinematics, stroke and image sizes: the same
loop, policy and guard run on them as on the robot, and nothing moves."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from msgspec import structs

from headway.drivers import Context
from headway.drivers.arms import null as null_arm
from headway.drivers.cameras import null as null_camera
from headway.drivers.ft import null as null_ft
from headway.drivers.grippers import null as null_gripper
from headway.drivers.stations import null as null_station
from headway.edge.control.settings import Settings
from headway.edge.policy.policy import About
from headway.tools.check.described import Described

SIZE = 96  # [px] of a camera of unknown size that the policy takes at any size


class Twins:
    """What a `Station` makes its devices with. `described` has the robot's devices, of which the
    arm is known. `policy` is the one that sees the images, as far as it is known: cameras of
    unknown size are given the size that it wants. `instruction` is what the station's line says."""

    def __init__(self, described: Described, policy: About | None, instruction: str) -> None:
        self._of, self._instruction = described, instruction
        self._needs = policy.needs.images if policy is not None else ()

    def __call__(self, folder: str, module: ModuleType, cfg: Any, ctx: Context) -> Any:
        """The twin of the device that `cfg` configures."""
        if module.__name__ == f"headway.drivers.{folder}.null":
            return module.connect(cfg, ctx)
        if folder == "arms":
            return self._arm(ctx)
        if folder == "ft":
            return null_ft.connect(null_ft.Config(), ctx)
        if folder == "grippers":
            stroke = self._of.stroke or null_gripper.Config().stroke
            return null_gripper.connect(null_gripper.Config(stroke=stroke), ctx)
        if folder == "stations":
            return null_station.connect(null_station.Config(instruction=self._instruction), ctx)
        return null_camera.connect(self._camera(str(cfg.name)), ctx)

    def _arm(self, ctx: Context) -> null_arm.NullArm:
        arm = self._of.arm
        assert arm is not None
        limits = arm.limits  # a calibration may have narrowed them to less than the model's home
        q = np.clip(arm.model.home, limits.q_min, limits.q_max).tolist()
        model = replace(arm.model, limits=limits, chain=arm.chain)
        return null_arm.NullArm(ctx.clock, null_arm.Config(q=tuple(q)), model)

    def _camera(self, name: str) -> null_camera.Config:
        rate = self._of.rates.get(f"camera {name}", null_camera.Config().rate_hz)
        shape = self._of.cameras.get(name)
        if shape is not None:
            height, width, depth = shape
        else:
            needs = [n for n in self._needs if n.camera == name]
            height = next((n.height for n in needs if n.height), SIZE)
            width = next((n.width for n in needs if n.width), SIZE)
            depth = any(n.depth for n in needs)
        return null_camera.Config(name=name, width=width, height=height, rate_hz=rate, depth=depth)


def on_twins(settings: Settings, instruction: str | None) -> Settings:
    """`settings` for a run on twins, with the instruction that a world would give: without the
    world, and with a wrench that may stay the same, as that of a twin does."""
    return structs.replace(
        settings,
        cell=None,
        instruction=instruction,
        loop=structs.replace(settings.loop, ft_stuck_s=0.0),
    )
