"""An emulator in a thread of the test, with a plant whose wrench the test chooses."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import serial

from headway import config, plugins
from headway.hil.journal import Entry, Journal, entries
from headway.hil.plant import PlantState, ServoConfig, ServoPlant

PATIENCE_S = 20.0  # for a machine that does much else


class Steady(ServoPlant):
    """A plant whose wrench is `wrench` (6,) [N, Nm], and nothing but it."""

    def __init__(self, wrench, **keys) -> None:
        super().__init__(ServoConfig(**keys))
        self.wrench = np.array(wrench, np.float64)

    def state(self) -> PlantState:
        now = super().state()
        return PlantState(
            now.t_ns, now.q, now.dq, now.q_ref, now.tau, self.wrench, now.width, now.force,
            now.vacuum, now.protective_stop,
        )  # fmt: skip


class Device:
    """A running emulator at `uri`."""

    def __init__(self, uri: str, journal: Path) -> None:
        self.uri, self._journal = uri, journal

    def journal(self) -> list[Entry]:
        return entries(self._journal)

    def wait_for(self, event: str, why: str = "") -> Entry:
        """The first entry `event`, as soon as it is there."""
        return until(
            lambda: next(
                (e for e in self.journal() if e.event == event and e.why.startswith(why)), None
            )
        )


@contextlib.contextmanager
def served(kind, folder, plant=None, **table) -> Iterator[Device]:
    """Run the emulator `kind` with the keys `table`, its journal in `folder`."""
    module = plugins.load("hil.emulators", kind, ("Config", "serve"))
    cfg = config.decode(table, module.Config, kind)
    path = folder / f"{kind}.jsonl"
    ready: queue.Queue[str] = queue.Queue()
    stop = threading.Event()
    plant = plant or ServoPlant(ServoConfig())
    journal = Journal(path)
    thread = threading.Thread(target=module.serve, args=(cfg, plant, journal, ready.put, stop))
    thread.start()
    try:
        yield Device(ready.get(timeout=PATIENCE_S), path)
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        journal.close()
        assert not thread.is_alive()


@contextlib.contextmanager
def line(device: Device, baud: int) -> Iterator[serial.Serial]:
    """The serial port of `device`, as a host opens it."""
    with serial.Serial(device.uri, baud, timeout=PATIENCE_S) as port:
        yield port


def until(wanted):
    """What `wanted()` gives, as soon as it gives something."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = wanted()
        if found:
            return found
    raise AssertionError("it never came")


def ask(port: serial.Serial, request: bytes, size: int) -> bytes:
    """Send `request`, and read `size` bytes."""
    port.write(request)
    return port.read(size)
