"""From what a client uploads to a program that runs."""

from __future__ import annotations

from headway.hil.emulators._ur.expressions import ScriptError
from headway.hil.emulators._ur.robot import ERROR, Program, Robot
from headway.hil.emulators._ur.script import compile_script
from headway.hil.emulators._ur.ur_rtde import UrRtde, is_it


def load(source: str, robot: Robot) -> Program | None:
    """The program that `source` is; None, with the reason in the log, if it does not compile."""
    if is_it(source):
        return UrRtde(source)
    try:
        return compile_script(source, robot)
    except ScriptError as e:
        robot.say(f"compile error in line {e.line}: {e.text}", ERROR)
        return None
