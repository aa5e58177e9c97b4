"""What is promised, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headway.hil.suite import commands, device_faults, host_gone, leaks, line_faults, stops, stream
from headway.hil.suite.results import Bounds, Found
from headway.hil.suite.subject import Subject

ALL = ("arms", "ft", "grippers", "cameras", "stations")


@dataclass(frozen=True)
class Promise:
    """`check` measures whether a device of one of `folders` keeps it. `moves`: the check moves the
    device; `faults`: it brings about faults on its line. `says`: what is promised, in a line."""

    name: str
    says: str
    check: Callable[[Subject, Bounds], Found]
    folders: tuple[str, ...] = ALL
    moves: bool = False
    faults: bool = False


_ARM = ("arms",)
PROMISES: tuple[Promise, ...] = (
    Promise("identity", "it is what it is expected to be", stream.identity),
    Promise("lifecycle", "open, close and open again", stream.lifecycle),
    Promise("rate", "it measures as often as it says, without gaps", stream.rate),
    Promise("stamps", "times and numbers grow; nothing is stamped anew", stream.stamps),
    Promise("image", "shape, depth; it stays as it is", stream.image, ("cameras",)),
    Promise("reactivation", "no command before activate()", stops.reactivation, _ARM, moves=True),
    Promise("limits", "unfit commands move nothing", commands.limits, _ARM, moves=True),
    Promise("jump", "a jump is refused, clamped or slowed", commands.jump, _ARM, moves=True),
    Promise("latency", "from command to motion", commands.latency, _ARM, moves=True),
    Promise("stops", "stops of category 2 and 1", stops.stops, _ARM, moves=True),
    Promise("jaws", "unfit refused, fit obeyed", commands.gripper, ("grippers",), moves=True),
    Promise("host killed", "what the device does then", host_gone.host_killed, _ARM, moves=True),
    Promise("leaks", "nothing is left behind by opening and closing", leaks.leaks),
    *(
        Promise(f"fault {kind}", "no wrong value, no hang, back again",
                line_faults.check_of(kind), faults=True)
        for kind in line_faults.FAULTS
    ),
    *(
        Promise(f"fault device {kind}", "told, no wrong value, no hang, back again",
                device_faults.check_of(kind), faults=True)
        for kind in device_faults.FAULTS
    ),
    # The last one: some arms have to be switched on by hand afterwards.
    Promise("power off", "a stop of category 0", stops.power_off, _ARM, moves=True),
)  # fmt: skip


def of(folder: str) -> list[Promise]:
    """The promises that devices of `folder` make."""
    return [p for p in PROMISES if folder in p.folders]
