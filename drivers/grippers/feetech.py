"""The jaw of an arm of Feetech servos: one more servo on the arm's line."""

from __future__ import annotations

from headway.drivers import Context
from headway.drivers.servo_jaw import ServoJaw, ServoJawConfig, jaw_of


class Config(ServoJawConfig, frozen=True):
    """Keys of `[gripper]` for the kind `feetech`: those of `ServoJawConfig`."""


def connect(cfg: Config, ctx: Context) -> ServoJaw:
    """The jaw, not open yet. Raises ConfigError where no arm of kind feetech is at this port."""
    return jaw_of("feetech", cfg, ctx)
