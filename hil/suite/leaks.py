"""The promise that opening and closing a device leaves nothing behind."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

from headway.clock import NS
from headway.hil.suite.results import Bounds, Found
from headway.hil.suite.subject import Subject

_WARM = 5  # cycles before it is counted: imports, caches
_MOST_THREADS = 2  # that may still be ending
_PAGE = os.sysconf("SC_PAGE_SIZE")


def leaks(subject: Subject, bounds: Bounds) -> Found:
    """File descriptors, threads and memory stay as they are over many cycles of opening, reading
    and closing."""
    found, clock = Found(), subject.clock
    device = subject.device()
    sizes: list[float] = []
    with subject.locked(device):
        for _ in range(_WARM):
            _cycle(subject)
        gc.collect()
        files, threads, memory = _files(), threading.active_count(), _memory()
        begin, cycles = clock.now(), 0
        while cycles < bounds.cycles and clock.now() - begin < bounds.cycles_s * NS:
            _cycle(subject)
            cycles += 1
            if cycles % max(1, bounds.cycles // 100) == 0:
                sizes.append((_memory() - memory) / 1e6)
        gc.collect()
        opened = _files() - files
        more = threading.active_count() - threads
        grown = (_memory() - memory) / 1e6
    found.numbers |= {
        "cycles": float(cycles),
        "descriptors": float(opened),
        "threads": float(more),
        "grown_mb": grown,
    }
    found.series["MB more than at first"] = sizes
    found.want(opened <= 0, f"{opened} file descriptors stay open after {cycles} cycles")
    found.want(more <= _MOST_THREADS, f"{more} threads stay after {cycles} cycles")
    found.want(grown <= bounds.grown_mb, f"{grown:.1f} MB more after {cycles} cycles")
    if cycles < bounds.cycles:
        found.said.append(f"{cycles} of {bounds.cycles} cycles in {bounds.cycles_s:g} s")
    return found


def _cycle(subject: Subject) -> None:
    device = subject.device()
    try:
        device.open(10.0)
        device.read(1.0)
    finally:
        device.close()


def _files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _memory() -> int:
    """Resident memory of this process [bytes]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
