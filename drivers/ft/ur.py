"""The wrench that a controller of Universal Robots reports: on the e-Series that of the sensor in
its wrist, on CB3 an estimate from motor currents, whose errors are tens of newtons.

The controller gives the force and torque on the tool at its TCP, in the axes of its frame `base`,
with the payload of its installation taken out. Here they are turned into the axes of that TCP. What
offset is left is taken out as for every sensor, by taring at the beginning of an episode
(`edge.control.payload`); leave `[tool] mass` at 0 where the controller knows the payload.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from headway.drivers import Context
from headway.drivers.rotations import rotvec_to_mat
from headway.drivers.ur import Link, LinkConfig, link_of
from headway.drivers.ur.greeting import CB3
from headway.drivers.ur.link import Heard
from headway.drivers.ur.source import UrSource, said_of
from headway.types import Vec, Wrench

STUCK = 250  # samples that are all the same, of something that is never still


class Config(LinkConfig, frozen=True):
    """Keys of `[ft]` for the kind `ur`, beside those of `LinkConfig`. `sign`: -1 where the
    controller's numbers turn out to be the force of the tool on its surroundings: push the tool up
    by hand, and the force along the base's z must be positive."""

    sign: Literal[1, -1] = 1


class UrForceTorque(UrSource[Wrench]):
    """The wrench at the TCP of the controller, in its axes. Numbers that stay exactly the same
    (`STUCK`), or are none, are not valid."""

    def __init__(self, cfg: Config, link: Link) -> None:
        super().__init__(link, "wrench")
        self._sign = float(cfg.sign)
        self._last: Vec = np.full(6, math.nan)
        self._same = 0

    def value(self, heard: Heard) -> tuple[Wrench, tuple[str, ...], bool]:
        state, flags = heard.state, said_of(heard.state)
        self._same = self._same + 1 if np.array_equal(state.wrench, self._last) else 0
        self._last = state.wrench
        R = rotvec_to_mat(state.pose[3:])
        turned = (state.wrench.reshape(2, 3) @ R) * self._sign  # a row times R is R^T times it
        if self.info.firmware.startswith(f"{CB3}."):
            flags = (*flags, "estimate")
        bad = []
        if not math.isfinite(float(turned.sum())):
            bad.append("numbers that are none")
        if self._same >= STUCK:
            bad.append("stuck")
        return Wrench(turned[0], turned[1], "tcp"), (*flags, *bad), not bad


def connect(cfg: Config, ctx: Context) -> UrForceTorque:
    """The sensor, not open yet. Raises ConfigError where `cfg` says otherwise than an earlier
    device of the run at the same controller."""
    return UrForceTorque(cfg, link_of(cfg, ctx))
