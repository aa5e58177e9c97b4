"""The promise that a device whose host dies does what its page says. The host is a child process,
which is killed while it moves the arm.

    python -m headway.hil.suite.host_gone SETUP
"""

from __future__ import annotations

import json
import math
import select
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np

from headway.child import environment
from headway.clock import NS, Rate, WallClock
from headway.drivers import Context, open_device
from headway.errors import DeviceError
from headway.hil.suite.results import Bounds, Found, NotApplicableError
from headway.hil.suite.samples import collect
from headway.hil.suite.subject import OPEN_S, SIMULATED, Subject

_START_S = 30.0
_MOVES_S = 0.5
_STOPS_S = 3.0
_HZ = 100.0


def host_killed(subject: Subject, bounds: Bounds) -> Found:
    """SIGKILL of the host in motion: the device stops by itself, or holds where its page says
    so."""
    subject.want_motion("arm")
    if subject.kind in SIMULATED:
        raise NotApplicableError("it is in its host's process and ends with it")
    found = Found()
    killed = _kill_in_motion(subject, bounds)
    if subject.partner is not None:
        _journal(subject, killed, found)
    with subject.opened() as arm:
        states = [t.sample.value.q for t in collect(arm, subject.clock, 0.5, 1.0)]
    crept = max((float(np.abs(q - states[0]).max()) for q in states), default=math.inf)
    found.numbers["moved_afterwards_rad"] = crept
    found.want(crept < bounds.still, f"it still moves afterwards, by {crept:.3f} rad")
    return found


def _kill_in_motion(subject: Subject, bounds: Bounds) -> int:
    """Returns the time [ns] just before the host was killed."""
    setup = {
        "folder": subject.folder,
        "kind": subject.kind,
        "table": subject.table,
        "step": bounds.step,
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "headway.hil.suite.host_gone", json.dumps(setup)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    try:
        assert child.stdout is not None
        ready = select.select([child.stdout], [], [], _START_S)[0]
        if not ready or child.stdout.readline() != b"moves\n":
            child.kill()
            said = child.communicate()[1].decode(errors="replace").strip().splitlines()
            raise DeviceError(f"wanted a host that moves the arm, found: {said[-1:] or 'silence'}")
        time.sleep(_MOVES_S)
    finally:
        killed = time.monotonic_ns()  # before: the device may notice at once
        child.send_signal(signal.SIGKILL)
        child.communicate()
    return killed


def _journal(subject: Subject, killed: int, found: Found) -> None:
    """Whether the emulator has written down a stop, after the host was killed at `killed` [ns]."""
    assert subject.partner is not None
    if subject.partner.host_gone == "holds":
        found.said.append("it has no watchdog and holds its last goal, as its page says")
        return
    until = time.monotonic() + _STOPS_S
    while time.monotonic() < until:
        for entry in subject.journal():
            if entry.event == "stopped" and entry.t_ns >= killed:
                found.numbers["stopped_after_ms"] = (entry.t_ns - killed) / 1e6
                found.said.append(entry.why)
                return
        time.sleep(0.02)
    found.want(False, f"no stop within {_STOPS_S:g} s after its host was killed")


def main(argv: list[str]) -> int:
    """Open the arm that `argv` describes and move it to and fro until killed."""
    setup: dict[str, Any] = json.loads(argv[0])
    clock = WallClock(spin_ns=0)
    arm = open_device(setup["folder"], setup["kind"], setup["table"], Context(clock))
    arm.open(OPEN_S)
    arm.activate()
    home = arm.read(1.0).value.q.copy()
    start = clock.now()
    for tick in Rate(_HZ, clock):
        q = home.copy()
        q[-1] += setup["step"] * math.sin(2.0 * (tick.t_ns - start) / NS)
        arm.command(q, deadline_ns=tick.deadline_ns)
        if tick.index == 20:
            print("moves", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
