"""What goes wrong at the controller, from the table `faults` or by the dashboard command
`emulator fault`, which no real controller has."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta

from headway.config import Struct

Kind = Literal[
    "protective_stop",  # until it is unlocked
    "emergency_stop",  # pressed for `for_s`, then power on and brake release are needed
    "safeguard_stop",  # for `for_s`; the program is paused and goes on by itself
    "speed_scaling",  # the trajectory limiter slows down to `value` (0..1)
    "speed_slider",  # somebody moves the speed slider to `value` (0..1)
    "reboot",  # connections close, none for `for_s`, then the timestamp begins at 0
    "disconnect",  # all connections of RTDE close
    "silence",  # no package of RTDE for `for_s`, connections stay
    "skip",  # the share `value` of the packages is left out for `for_s`
    "stuck",  # the measured joints do not change for `for_s`, the timestamp does
    "program_stop",  # somebody presses stop at the pendant
    "local_control",  # the pendant takes over for `for_s`: scripts and commands are refused
    "power_off",
]
KINDS: tuple[str, ...] = get_args(Kind)


class Fault(Struct, frozen=True):
    """`kind` happens `at_s` [s] after the first client has connected to RTDE, and lasts `for_s`
    [s], 0 for ever; `value` as the kind says."""

    kind: Kind
    at_s: Annotated[float, Meta(ge=0.0)] = 0.0
    for_s: Annotated[float, Meta(ge=0.0)] = 0.0
    value: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
