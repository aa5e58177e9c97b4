"""Does memory grow while the loop runs?

The whole loop with a null robot on a virtual clock, with the garbage collector off as it always is
inside: a cycle per tick, or a list that is never emptied, shows as Python blocks that grow;
anything that C code keeps shows in the heap's bytes in use.
"""

from __future__ import annotations

import ctypes
import sys

import numpy as np

from headway.benchmarks._findings import Findings, Number
from headway.benchmarks._robot import null_settings, robot
from headway.clock import Tick, VirtualClock
from headway.edge.control.log import NullLog

TICKS = 100_000
_EVERY = 500
_HZ = 500.0


class _Mallinfo2(ctypes.Structure):
    """mallinfo2(3) of glibc 2.33: the fields in order, each size_t."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


class Growth(NullLog):
    """Blocks, heap bytes in use and resident bytes, every `_EVERY` ticks."""

    def __init__(self, ticks: int) -> None:
        super().__init__()
        libc = ctypes.CDLL(None)
        self._heap = getattr(libc, "mallinfo2", None)  # absent: an older C library, or musl
        if self._heap is not None:
            self._heap.restype = _Mallinfo2
        self.data = np.zeros((ticks // _EVERY + 2, 3))
        self.n = 0

    def timing(self, t_ns: int, tick: Tick) -> None:
        if not tick.index:  # now, since the collector empties the lists before the first tick
            fill_free_lists()
        if tick.index % _EVERY == 0 and self.n < len(self.data):
            heap = 0.0
            if self._heap is not None:
                info = self._heap()
                heap = float(info.uordblks + info.hblkhd)
            self.data[self.n] = sys.getallocatedblocks(), heap, _resident()
            self.n += 1


def fill_free_lists() -> None:
    """Fill CPython's lists of freed tuples, 2000 of each size below 20, which would else be filled
    over the first 100,000 ticks, and look like tuples that are kept."""
    for size in range(1, 20):
        kept = [tuple(range(1000, 1000 + size)) for _ in range(2000)]
        kept.clear()


def _resident() -> float:
    """Of this process [bytes]."""
    with open("/proc/self/status") as f:
        return next(1024.0 * float(line.split()[1]) for line in f if line.startswith("VmRSS"))


def measure(effort: float = 1.0) -> Findings:
    ticks = max(4 * _EVERY, round(TICKS * effort))
    log = Growth(ticks)
    with robot(null_settings(_HZ, ticks / _HZ), VirtualClock(1)) as (loop, what):
        loop.episode(None, log)
    data = log.data[: log.n]
    warm = data[log.n // 10 :]  # the first tenth fills caches and buffers that stay
    # Medians of both ends: a chunk more or less is alive at any moment.
    k = max(1, len(warm) // 10)
    grown = np.median(warm[-k:], axis=0) - np.median(warm[:k], axis=0)
    span = (len(warm) - k) * _EVERY
    return Findings(
        f"Memory over {ticks:,} ticks, null robot, collector off",
        [
            Number("Python blocks grown per 1000 ticks", float(1000 * grown[0] / span), "", 1.0),
            Number("C heap grown per tick", float(grown[1] / span), "B", 1.0),
            Number("resident memory grown", float(grown[2] / 1e6), "MB", 1.0),
            Number("Python blocks in use at the end", float(data[-1, 0])),
            Number("resident memory at the end", float(data[-1, 2] / 1e6), "MB"),
        ],
        notes=[
            what,
            "targets stand for none: far less than one block or byte per tick",
            "buffers made before the first tick become resident as they are filled",
        ],
    )
