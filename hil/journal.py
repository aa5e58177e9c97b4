"""What happened at a device, written by its emulator: one JSON object per line, on disk at once, so
that what the device did after its host was killed can be read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """At `t_ns` [ns] of CLOCK_MONOTONIC, `event` happened: `connected`, `disconnected`,
    `activated`, `stopped` (by the device itself: `why` tells by which promise), `held` (what it
    does without a watchdog, when its host falls silent), `fault`, `command` (the first of a
    motion). `numbers` has values by name."""

    t_ns: int
    event: str
    why: str = ""
    numbers: dict[str, float] = {}


class Journal:
    """Appends to the file `path`; None: nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._fd = -1
        if path is not None:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, event: str, why: str = "", **numbers: float) -> None:
        """Note that `event` happens now."""
        if self._fd >= 0:
            entry = Entry(time.monotonic_ns(), event, why, numbers)
            os.write(self._fd, msgspec.json.encode(entry) + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def entries(path: Path) -> list[Entry]:
    """What is in the journal `path` so far."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Entry) for line in lines]
