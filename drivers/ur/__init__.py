"""What all devices at one controller of Universal Robots share: the arm, its wrench, its inputs and
outputs.

    fields.py      the values that are read, and what their bits mean
    link.py        the one RTDE connection of a run to a controller, with the thread that owns it
    greeting.py    how that connection begins, and who answers
    plausible.py   what no arm can do
    source.py      a device that gives samples of what the link reads
    dashboard.py   the controller's line for identity, unlocking and stopping
    program.py     the program that moves the arm (servo.script), and how it is started

A controller takes any number of readers but only one writer of each register, so the devices of a
run share one link: `link_of` keeps it in the run's `Context`.
"""

from __future__ import annotations

from headway.drivers import Context
from headway.drivers.ur.link import Link, LinkConfig

__all__ = ["Link", "LinkConfig", "link_of"]


def link_of(cfg: LinkConfig, ctx: Context) -> Link:
    """The link to the controller at `cfg.host`, made by the first device of the run that asks.
    Raises ConfigError where `cfg` says otherwise than that device's."""
    key = f"ur {cfg.host}:{cfg.rtde_port}"
    made = ctx.worlds.get(key)
    if made is None:
        made = ctx.worlds[key] = Link(cfg, ctx.clock)
    assert isinstance(made, Link)
    made.agree(cfg)
    return made
