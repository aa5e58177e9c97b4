"""A first run configuration for devices that were found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from headway import plugins
from headway.drivers.finding import Found

SECTIONS = {"arms": "[arm]", "ft": "[ft]", "grippers": "[gripper]", "cameras": "[[camera]]"}
NAMES = ("wrist", "overview")  # of the cameras, in order
HEAD = """\
# A first configuration, written by `headway devices --write` for what was plugged in. Lines that
# say FILL IN want something that only you know; without it the file is refused, and the key named.
# Then try, before anything else:  headway run --config {name} --realtime --episodes 1
# It has no [policy] yet, so the arm is switched on and holds where it is.
"""
REST = """\
[task]
kind = "open_ended"
limit_s = 60.0              # [s] that an episode may take

[loop]
hz = {hz}
max_age_s = {age}            # [s] of the samples of arm, wrench and gripper

# What the guard allows. These numbers are small on purpose: measure your cell, and set them.
[guard]
workspace_min = [-0.4, -0.4, 0.02]   # [m] the box that the TCP stays in, in the base frame
workspace_max = [0.4, 0.4, 0.5]
force_max = 30.0            # [N]
torque_max = 5.0            # [Nm]
require_wrench = {wrench}
dq_scale = 0.25             # fractions of the arm's own limits
ddq_scale = 0.25
floor_z = 0.0               # [m] the table
"""
RATES = {"feetech": 200.0, "dynamixel": 200.0}  # [Hz] of arms that are slower than the usual loop
AGES = {"ft300": 0.06}  # [s] of what measures at 100 Hz, and takes 8 ms to say it


def draft(found: Sequence[Found], name: str) -> str:
    """The text of the file `name`: the first arm, F/T sensor and gripper, and all cameras. A device
    that was found twice, or an arm that is missing, is a comment."""
    parts, taken = [HEAD.format(name=name)], set()
    if not any(f.folder == "arms" for f in found):
        parts.append(
            '# No arm was found: this one is none.\n[arm]\nkind = "null"\nmodel = "ur5e"\n'
        )
    cameras = 0
    for folder, section in SECTIONS.items():
        for f in found:
            if f.folder != folder:
                continue
            keys = {"kind": f.kind, **f.keys}
            if folder == "cameras":
                number = cameras
                cameras += 1
                keys["name"] = NAMES[number] if number < len(NAMES) else f"camera{number}"
            lines = [section, *(f"{k} = {toml(v)}" for k, v in keys.items())]
            lines += [f'{k} = ""{" " * 4}# FILL IN: {what}' for k, what in f.todo.items()]
            about = " ".join(w for w in (f.model, f.serial) if w)
            note = f"# {about}{'' if f.sure else ' (only its USB adapter says so: check it)'}"
            known = f.kind in plugins.kinds(f"drivers.{folder}")
            if not known:
                note += f"\n# This release has no driver of the kind {f.kind}."
            if not known or (folder in taken and folder != "cameras"):
                lines = [f"# {line}" for line in lines]
            else:
                taken.add(folder)
            parts.append("\n".join((note, *lines)) + "\n")
    arm = next((f.kind for f in found if f.folder == "arms"), "null")
    wrench = toml("ft" in taken)
    hz = RATES.get(arm, 500.0)
    age = max(10.0 / hz, *(AGES.get(f.kind, 0.0) for f in found), 0.0)
    parts.append(REST.format(hz=hz, age=age, wrench=wrench))
    return "\n".join(parts)


def toml(value: Any) -> str:
    """A value of TOML: a text, a number, a list, or a truth value."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)
