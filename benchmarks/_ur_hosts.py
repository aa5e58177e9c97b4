"""The hosts of `rtde_link`, each a process of its own: our driver, and ur-rtde, which runs with the
Python that has it and finds no Headway there.

    python -m headway.benchmarks._ur_hosts ours PART HOST SECONDS
    OTHER_PYTHON -I _ur_hosts.py ur-rtde PART HOST SECONDS

The last line that it prints is JSON. All times are in ns of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

POLL_S = 0.0005
CYCLE_S = 0.002  # of commands
STEP_RAD = 0.0005  # of the last joint, per command
_OPEN_S = 20.0
_FRESH_NS = 6_000_000


class Ours:
    """Our driver and its reader thread, as a run has them. Its watchdog is slow, since this is not
    what is measured and the machine may be busy; ur-rtde has none unless it is asked for."""

    def __init__(self, host: str) -> None:
        from headway.clock import WallClock
        from headway.drivers import Context
        from headway.drivers.arms import ur
        from headway.drivers.latest import Latest

        clock = WallClock(spin_ns=0)
        self._arm = ur.connect(
            ur.Config(host=host, watchdog_hz=1.0, take_over=True), Context(clock)
        )
        self._latest = Latest(self._arm, clock)
        self.start()

    def start(self) -> None:
        """Connect, and begin to read."""
        self._latest.start(_OPEN_S)

    def newest(self) -> float:
        """The controller's time of the newest state [s]."""
        sample = self._latest.last
        assert sample is not None  # `start` has waited for one
        return (sample.stamp.device_ns or 0) * 1e-9

    def raises(self) -> bool:
        """Whether it gives out no state any more, where one of three periods is asked for."""
        from headway.errors import Stale

        try:
            self._latest.latest(_FRESH_NS)
        except Stale:
            return True
        return False

    def lost(self) -> bool:
        """Whether it says that there are no states any more."""
        return self._arm.health().state != "ok"

    def begin(self) -> list[float]:
        """Make the arm obey. Returns where it is."""
        self._arm.activate()
        q: list[float] = self._arm.read(1.0).value.q_ref.tolist()
        return q

    def command(self, q: list[float]) -> bool:
        """Send it to `q`; whether it says that this was done."""
        import numpy as np

        from headway.errors import DeviceError

        try:
            self._arm.command(np.array(q), deadline_ns=0)
        except DeviceError:
            return False
        return True

    def end(self) -> None:
        """Leave the arm."""
        self._latest.close()


class OurLink(Ours):
    """Our driver as far as its connection's own thread: what the reader thread costs is the
    difference."""

    def start(self) -> None:
        self._arm.open(_OPEN_S)
        self._arm.read(_OPEN_S)

    def newest(self) -> float:
        heard = self._arm.link.newest
        assert heard is not None  # it is connected
        return heard.state.timestamp

    def end(self) -> None:
        self._arm.close()


class UrRtde:
    """ur-rtde, as its documentation has it: an interface to receive, and one to control."""

    def __init__(self, host: str) -> None:
        import rtde_receive

        self._host, self._control = host, None
        self._receive: Any = rtde_receive.RTDEReceiveInterface(host)

    def newest(self) -> float:
        return float(self._receive.getTimestamp())

    def raises(self) -> bool:
        try:
            self._receive.getActualQ()
        except Exception:  # whatever it is, it says so
            return True
        return False

    def lost(self) -> bool:
        try:
            return not self._receive.isConnected()
        except Exception:  # whatever it is, it says so
            return True

    def begin(self) -> list[float]:
        import rtde_control

        self._control = rtde_control.RTDEControlInterface(self._host)
        return list(self._receive.getTargetQ())

    def command(self, q: list[float]) -> bool:
        control: Any = self._control
        try:
            return bool(control.servoJ(q, 0, 0, CYCLE_S, 0.1, 300))
        except Exception:
            return False

    def end(self) -> None:
        control: Any = self._control
        if control is not None:
            control.servoStop()
            control.stopScript()


Host = Any  # Ours or UrRtde: which of them has its imports depends on the Python


def paced(seconds: float, period_s: float) -> Iterator[int]:
    """For `seconds`, the time each `period_s` [s], later where the machine was busy."""
    now = time.monotonic_ns()
    end, due, period = now + round(seconds * 1e9), now, round(period_s * 1e9)
    while now < end:
        yield now
        due = max(due + period, time.monotonic_ns() - period)
        time.sleep(max(0.0, (due - time.monotonic_ns()) * 1e-9))
        now = time.monotonic_ns()


def watch(host: Host, seconds: float) -> dict[str, Any]:
    """Look at the newest state again and again: how much later each was than the controller's
    time of it (`late`), and how many there were in how many seconds of the controller."""
    late, stamps = [], []
    for _ in paced(seconds, POLL_S):
        stamp = host.newest()
        late.append(time.monotonic_ns() - round(stamp * 1e9))
        stamps.append(stamp)
    host.end()
    return {"late": late, "states": len(set(stamps)) - 1, "seconds": stamps[-1] - stamps[0]}


def drive(host: Host, seconds: float) -> dict[str, Any]:
    """Command the last joint: when each call began and ended, and to where."""
    q = host.begin()
    rows, refused = [], 0
    for begun in paced(seconds, CYCLE_S):
        q[5] += STEP_RAD
        sent = host.command(q)
        rows.append((begun, time.monotonic_ns(), q[5]))
        refused += not sent
    host.end()
    return {"commands": rows, "refused": refused}


def listen(host: Host, seconds: float) -> dict[str, Any]:
    """Watch while something happens to the connection: when there was a newer state, when the host
    began to say that it has lost it, when asking for a state began to raise, and whether it was so
    at the end."""
    print("ready", flush=True)
    changed: list[int] = []
    said: dict[str, list[int]] = {"said": [], "raised": []}
    was = {"said": False, "raised": False}
    last = 0.0
    for now in paced(seconds, POLL_S):
        present = {"said": host.lost(), "raised": host.raises()}
        newest = host.newest()
        if newest > last:
            last = newest
            changed.append(now)
        for key, is_so in present.items():
            if is_so and not was[key]:
                said[key].append(now)
        was = present
    return {**said, "changed": changed, "at the end": was}


def endure(host: Host, seconds: float) -> dict[str, Any]:
    """As `listen`, and command meanwhile: when commands went out, or so it said, and when not. A
    thread gives them, so that one that does not return ends nothing else."""
    q = host.begin()
    went: list[int] = []
    refused: list[int] = []

    def command() -> None:
        for now in paced(seconds, CYCLE_S):
            q[5] += STEP_RAD
            (went if host.command(q) else refused).append(now)

    threading.Thread(target=command, daemon=True).start()
    return {**listen(host, seconds), "went": [*went], "refused": [*refused]}


HOSTS: dict[str, Callable[[str], Host]] = {"ours": Ours, "link": OurLink, "ur-rtde": UrRtde}
PARTS: dict[str, Callable[[Host, float], dict[str, Any]]] = {
    "watch": watch,
    "drive": drive,
    "listen": listen,
    "endure": endure,
}


def main(argv: list[str]) -> None:
    """Run what `argv` says, and end without waiting for any thread."""
    name, part, host, seconds = argv
    found = PARTS[part](HOSTS[name](host), float(seconds))
    print("\n" + json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
