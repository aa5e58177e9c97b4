"""Our driver of Universal Robots beside ur-rtde, taking turns at one emulated controller of 500 Hz.

The age of the newest state is what a loop would get: it is looked at 2000 times a second, each host
in a process of its own. It counts from the controller's own time of the state, whose offset is that
of the quickest delivery to either host, so that a constant part which both share is not in it.

For commands, and for what happens to the connection, a tap lies between host and controller: it
notes when a command is on the wire, ends the connection, or swallows what the controller says.
"Said" is, for our driver, that `health` is no longer "ok", for ur-rtde, that `isConnected` is
false; "raises" is that asking for the newest state does, ours with the limit of three periods.
Until then an old state is given out as if it were new.
"""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from headway.benchmarks import _child, _ur_hosts
from headway.benchmarks._findings import Findings, Number, Table, percentiles
from headway.benchmarks._robot import ROOT
from headway.benchmarks._tap import Tap
from headway.hil.launch import Emulator

TITLE = "RTDE at 500 Hz"
OURS, LINK, THEIRS = "Headway", "Headway, before its reader thread", "ur-rtde"
KINDS = {OURS: "ours", LINK: "link", THEIRS: "ur-rtde"}  # as _ur_hosts names them
PEER = ROOT / ".venv-hil" / "bin" / "python"
PORTS = {"rtde": 30004, "primary": 30001, "script": 30002, "realtime": 30003, "dashboard": 29999}
RATE_HZ = 500.0
TURNS = 3
WATCH_S, DRIVE_S, ENDURE_S = 10.0, 4.0, 6.0
DROPPED, LISTENING, MOVING = "dropped", "stalled", "stalled in motion"
HAPPENS = (DROPPED, LISTENING, MOVING)
HAPPENS_S = 0.4  # after a host has begun
NO_WORSE = 1.05  # what turns of one and the same host differ by
SAYS_MS, WIRE_MS = 20.0, 1.0
_PATIENCE_S = 15.0  # beyond the time that a host is given


def measure(effort: float = 1.0) -> Findings:
    if sys.platform != "linux":
        return Findings(
            TITLE, skipped="ur-rtde wants the real ports, on loopback addresses of ours"
        )
    notes: list[str] = []
    names = [OURS]
    if version := _peer():
        names.append(THEIRS)
        notes.append(f"{THEIRS} {version}")
    else:
        notes.append("ur-rtde is not there: `make hil-peers` installs it")
    number = os.getpid() % 65536 or 1
    there, here = (f"127.{n}.{number >> 8}.{number & 255 or 1}" for n in (86, 87))
    looked = [OURS, LINK, *names[1:]]
    found: dict[str, dict[str, Any]] = {name: {} for name in looked}
    with Emulator("ur", {"host": there, **PORTS}) as device:
        seconds = max(1.0, WATCH_S * effort / TURNS)
        turns: dict[str, list[Any]] = {name: [] for name in looked}
        for _ in range(TURNS if effort >= 0.5 else 1):
            for name in looked:
                turns[name].append(_Host(name, "watch", there, seconds).result())
        quickest = min(min(t["late"]) for each in turns.values() for t in each)
        for name in looked:
            late = np.concatenate([t["late"] for t in turns[name]]) - quickest
            states = sum(t["states"] for t in turns[name])
            found[name] |= {
                "rate": states / sum(t["seconds"] for t in turns[name]),
                "age": percentiles(late, 1e-6),
            }
        for name in names:
            found[name] |= _driven(name, here, there, max(0.5, DRIVE_S * effort))
        for name in names:
            for what in HAPPENS:
                found[name][what] = _endured(
                    name, here, there, what, max(2.0, ENDURE_S * effort), notes
                )
        if said := device.printed():
            notes.append(f"the emulator said: {said.splitlines()[-1]}")
    return Findings(TITLE, _numbers(found), _tables(found), notes)


def _peer() -> str:
    """The version of ur-rtde; "" where it is not there."""
    code = "import rtde_control; from importlib.metadata import version; print(version('ur-rtde'))"
    if not PEER.is_file():
        return ""
    asked = subprocess.run([PEER, "-c", code], capture_output=True, text=True, check=False)
    return "" if asked.returncode else asked.stdout.strip()


class _Host:
    """The process of the host `name`, which does `part` for `seconds` at the controller `host`."""

    def __init__(self, name: str, part: str, host: str, seconds: float) -> None:
        start = [sys.executable, "-m", "headway.benchmarks._ur_hosts"]
        if name == THEIRS:
            start = [str(PEER), "-I", _ur_hosts.__file__]
        self._process = subprocess.Popen(
            [*start, KINDS[name], part, host, str(seconds)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=_child.environment(),
        )  # fmt: skip
        self._given_up = ""
        self._patience = threading.Timer(_PATIENCE_S + seconds, self._give_up)
        self._patience.start()
        self._name = name

    def ready(self) -> None:
        """Wait until it says so. Raises RuntimeError when it ends before."""
        out = self._process.stdout
        assert out is not None
        while line := out.readline():
            if line.strip() == "ready":
                return
        self.result()

    def _give_up(self) -> None:
        self._given_up = "was given up, since a call of its library did not return, and it"
        self._process.kill()

    def result(self) -> dict[str, Any]:
        """What it found. Raises RuntimeError unless it ends well."""
        out, errors = self._process.communicate()
        self._patience.cancel()
        lines = out.splitlines()
        if self._process.returncode or not lines:
            raise RuntimeError(
                f"the host {self._name} {self._given_up} ended with {self._process.returncode}: "
                f"{errors[-1000:]}"
            )
        found: dict[str, Any] = json.loads(lines[-1])
        return found


def _driven(name: str, here: str, there: str, seconds: float) -> dict[str, Any]:
    """How long commands take to the wire, and how long the calls take [ms]."""
    with ExitStack() as stack:
        tap = Tap(here, there, list(PORTS.values()), PORTS["rtde"])
        stack.callback(tap.close)
        rows = _Host(name, "drive", here, seconds).result()["commands"]
        wire, at, calls = [], 0, []
        for begun, ended, q in rows:
            wanted = struct.pack(">d", q)
            calls.append(ended - begun)
            for k in range(at, len(tap.sent)):
                if wanted in tap.sent[k][1]:
                    wire.append(tap.sent[k][0] - begun)
                    at = k
                    break
    return {
        "wire": percentiles(wire, 1e-6),
        "call": percentiles(calls, 1e-6),
        "on the wire": len(wire) / max(1, len(rows)),
    }


def _endured(
    name: str, here: str, there: str, what: str, seconds: float, notes: list[str]
) -> dict[str, float]:
    """What the host says when `what` happens to the connection: after how long it says so and a
    call raises, for how long it gave out a state as if it were new [ms]; and how many commands it
    took after that, the last one after how long [ms]. Empty where it did not end."""
    part = "listen" if what == LISTENING else "endure"
    with ExitStack() as stack:
        tap = Tap(here, there, list(PORTS.values()), PORTS["rtde"])
        stack.callback(tap.close)
        host = _Host(name, part, here, seconds)
        try:
            host.ready()
            time.sleep(HAPPENS_S)
            at = tap.drop() if what == DROPPED else tap.stall()
            seen = host.result()
        except RuntimeError as e:  # it may be a crash of a library, or a call that does not return
            notes.append(f"{name}, {what}: {' '.join(str(e).split())}")
            return {}
    last = seen["changed"][-1]
    end = at + round((seconds - HAPPENS_S) * 1e9)  # and it would have been longer
    first = {}
    for key in ("said", "raised"):
        after = [t for t in seen[key] if t >= last]  # a busy machine is late without any fault
        if not after and seen["at the end"][key]:
            after = [last]  # that state was too old already
        first[key] = max(after[0], at) if after else end
        if not after:
            notes.append(f"{name}, {what}: not {key} before the end, {seconds - HAPPENS_S:g} s")
    went = [t for t in seen.get("went", []) if t >= at]
    return {
        "said": (first["said"] - at) * 1e-6,
        "raised": (first["raised"] - at) * 1e-6,
        "stale": (first["raised"] - last) * 1e-6,
        "commands": float(len(went)),
        "for": (went[-1] - at) * 1e-6 if went else 0.0,
    }


def _numbers(found: dict[str, dict[str, Any]]) -> list[Number]:
    ours, theirs = found[OURS], found.get(THEIRS)
    rate = theirs["rate"] if theirs else RATE_HZ
    than = THEIRS if theirs else f"{RATE_HZ:g} Hz"
    numbers = [Number(f"states a second beside {than}", ours["rate"] / rate, "x", 0.99, False)]
    if theirs:
        for k, p in ((0, "p50"), (2, "p99")):
            times = ours["age"][k] / max(theirs["age"][k], 1e-6)
            numbers.append(
                Number(f"age of the newest state beside {THEIRS}, {p}", times, "x", NO_WORSE)
            )
    numbers.append(Number("a command is on the wire after, p50", ours["wire"][0], "ms", WIRE_MS))
    for what in HAPPENS[:2]:
        target = SAYS_MS if what == DROPPED else None
        # NaN where our host did not come to its end: that meets no target.
        said = max(ours[what].get(key, math.nan) for key in ("said", "raised"))
        numbers.append(Number(f"a {what} connection is said after", said, "ms", target))
        if theirs and theirs[what]:
            stale = theirs[what]["stale"]
            numbers.append(
                Number(f"{THEIRS} gives out old values, {what}, at least", stale * 1e-3, "s")
            )
    return numbers


def _tables(found: dict[str, dict[str, Any]]) -> list[Table]:
    states = tuple((n, (f["rate"], f["age"][0], f["age"][2])) for n, f in found.items())
    commands = tuple(
        (n, (f["wire"][0], f["wire"][2], f["call"][0], f["call"][2], 100.0 * f["on the wire"]))
        for n, f in found.items()
        if "wire" in f
    )
    tables = [
        Table("states", ("a second [1/s]", "age p50 [ms]", "age p99 [ms]"), states, "as said"),
        Table(
            "commands",
            ("wire p50 [ms]", "wire p99 [ms]", "call p50 [ms]", "call p99 [ms]", "found [%]"),
            commands,
            "as said",
        ),
    ]
    keys = ("said", "raised", "stale", "commands", "for")
    rows = tuple(
        (f"{n}, {what}", tuple(f[what][k] for k in keys))
        for what in HAPPENS
        for n, f in found.items()
        if f.get(what)
    )
    columns = (
        "said after [ms]",
        "raises after [ms]",
        "old as new [ms]",
        "commands taken",
        "the last after [ms]",
    )
    return [*tables, Table("a connection that ends or stalls", columns, rows, "as said")]
