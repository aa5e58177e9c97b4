"""The host is killed (SIGKILL) while it moves a device: what does the device do by itself, and
when?

Each device is an emulator in a process of its own, which keeps a journal; each host is our driver
in another one. What is found is the first thing that the journal says after the kill: `stopped` by
one of the device's own promises, `held` for a device that promises nothing and keeps its last goal,
which the emulator notes after a second of silence, or a `fault` that the device raises.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from headway import plugins
from headway.benchmarks import _child, _moving_hosts
from headway.benchmarks._findings import Findings, Number, Table
from headway.benchmarks._robot import ROOT
from headway.drivers.arms import dynamixel, ur
from headway.hil.journal import Entry
from headway.hil.launch import Emulator

# Of each device that moves something: its plant, and what its documentation says that it does
# within how many seconds of the last command.
DEVICES: dict[str, tuple[dict[str, Any], str, float]] = {
    "ur": ({}, "stopped", 1.0 / ur.Config(host="-").watchdog_hz),
    "feetech": ({"model": "so101"}, "held", 1.0),
    "dynamixel": (
        {"model": "so101"},
        "stopped",
        dynamixel.Config(port="-", calibration="-").watchdog_s,
    ),
    "robotiq_2f": ({}, "fault", 1.0),
}
TURNS = 5
SLACK_S = 0.05  # of the emulator and its host's last cycle
_FIRST = 30  # commands, by when it moves
_LONGEST_S = 5.0
_OURS = ("stopped", "held", "fault")


def measure(effort: float = 1.0) -> Findings:
    rows, numbers, notes = [], [], []
    for kind, (plant, event, within_s) in DEVICES.items():
        if kind not in plugins.kinds("hil.emulators") or kind not in _moving_hosts.HOSTS:
            notes.append(f"{kind}: no driver that could be killed")
            continue
        took: list[float] = []
        whole, turns = "", max(1, round(TURNS * effort))
        for _ in range(turns):
            said, found, note = _killed(kind, plant)
            if note:
                notes.append(f"{kind}: {note}")
            if said is not None and said.event == event:
                took.append(found)
                whole = f"{event}: {said.why}"
            elif said is not None:
                notes.append(f"{kind}: wanted {event!r}, found {said.event}: {said.why}")
        # A turn in which the device did not do it counts, as one that took longer than was waited.
        worst = max(took) if len(took) == turns else _LONGEST_S * 1e3
        target = (within_s + SLACK_S) * 1e3
        numbers.append(Number(f"{kind} {event} after, at most", worst, "ms", target))
        if took:
            rows.append((f"{kind}: {whole}", (min(took), max(took), float(len(took)))))
    table = Table(
        "after the kill, by the device's journal",
        ("soonest [ms]", "latest [ms]", "times"),
        tuple(rows),
        "as said",
    )
    return Findings("The host is killed in motion", numbers, [table], notes)


def _killed(kind: str, plant: dict[str, Any]) -> tuple[Entry | None, float, str]:
    """What the journal of the emulator `kind` says first after its host was killed, after how long
    [ms], and what went wrong."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        device = stack.enter_context(Emulator(kind, {}, {"kind": "servo", **plant}))
        said = stack.enter_context((Path(folder) / "said").open("w+b"))
        host = subprocess.Popen(
            [sys.executable, "-m", "headway.benchmarks._moving_hosts", kind, device.uri, folder],
            stdout=subprocess.PIPE,
            stderr=said,
            cwd=ROOT,
            env=_child.environment(),
        )
        try:
            assert host.stdout is not None
            if not all(host.stdout.readline() for _ in range(_FIRST)):
                host.wait()
                return None, math.nan, (Path(folder) / "said").read_text()[-500:]
            at = time.monotonic_ns()
            os.kill(host.pid, signal.SIGKILL)
        finally:
            host.kill()
            host.wait()
            if host.stdout is not None:
                host.stdout.close()
        until = time.monotonic() + _LONGEST_S
        while time.monotonic() < until:
            for entry in device.journal():
                if entry.t_ns >= at and entry.event in _OURS:
                    return entry, (entry.t_ns - at) * 1e-6, ""
            time.sleep(0.01)
    return None, math.nan, "its journal says nothing after the kill"
