"""From what a client uploads to a program that runs."""

from __future__ import annotations

from headway.hil.emulators._ur.robot import Program, Robot
from headway.hil.emulators._ur.ur_rtde import UrRtde, is_it


def load(source: str, robot: Robot) -> Program | None:
    """The program that `source` is; None, with the reason in the log, if it is none."""
    if is_it(source):
        return UrRtde(source)
    return None
