"""Faults of the device itself, which no proxy on its line can bring about: a start anew, a wrong
number, silence. An emulator of its own is started for each, and has it after a few seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from headway.clock import NS
from headway.errors import DeviceError
from headway.hil.launch import Emulator
from headway.hil.suite.line_faults import judge, watched
from headway.hil.suite.results import Bounds, Found, NotApplicableError
from headway.hil.suite.samples import collect
from headway.hil.suite.subject import OPEN_S, Subject

# What is tried, where the emulator knows it. What wants `activate` to be left, as an overload, is
# in the drivers' tests.
FAULTS = ("silent", "nan", "overrange", "restart", "clock_back")
# Nobody has to be told: the driver's clock comes over it.
UNTOLD = ("clock_back",)
_AT_S = 5.0  # after the first connection: a sensor takes 3 s to start, and is looked at before
_BEGINS_S = 30.0  # within which a fault begins, on a busy machine
_LOOK_S, _WAIT_S = 0.05, 0.02  # for samples, before the journal is looked at again
_BEFORE_NS = 50_000_000  # samples so shortly before the fault may have it already


def check_of(kind: str) -> Callable[[Subject, Bounds], Found]:
    """The check of the fault `kind`."""

    def check(subject: Subject, bounds: Bounds) -> Found:
        return at_device(subject, kind, bounds)

    return check


def at_device(subject: Subject, kind: str, bounds: Bounds) -> Found:
    """Read the device while it has the fault `kind`, and after it."""
    partner = subject.partner
    if partner is None:
        raise NotApplicableError("only an emulator has it when it should")
    if kind not in partner.device_faults:
        raise NotApplicableError("this device's emulator knows no such fault")
    if partner.needs is not None:
        raise NotApplicableError(f"tried with {' '.join(partner.needs)}, whose port it shares")
    found, clock = Found(), subject.clock
    fault = {"kind": kind, "at_s": _AT_S, "for_s": bounds.fault_s}
    setup = {**partner.setup, "faults": [fault]}
    with Emulator(partner.name, setup, partner.plant) as emulator:
        device = subject.device(partner.table(emulator.uri))
        with subject.locked(device), contextlib.closing(device):
            device.open(OPEN_S)
            until, begin, taken = clock.now() + round(_BEGINS_S * NS), None, []
            while begin is None and clock.now() < until:
                with contextlib.suppress(DeviceError):  # the fault, which the journal has
                    taken += collect(device, clock, _LOOK_S, _WAIT_S)
                begin = next((e.t_ns for e in emulator.journal() if e.event == "fault"), None)
            if begin is None:
                found.want(False, "its emulator does not have the fault")
                return found
            clean = [t for t in taken if t.sample.stamp.t_ns < begin - _BEFORE_NS]
            if len(clean) < 3:
                found.want(False, f"{len(clean)} samples without any fault")
                return found
            watch = watched(subject, device, begin, bounds.fault_s, bounds)
            watch.taken[:0] = taken[len(clean) :]
            judge(subject, kind, clean, watch, begin, bounds, found)
    told = (
        watch.stale_ns
        or watch.failed_ns
        or any(not t.sample.valid or t.sample.flags for t in watch.taken)
    )
    found.want(bool(told) or kind in UNTOLD, "nothing tells it: no error, no flag")
    found.numbers["hits"] = 1.0
    return found
