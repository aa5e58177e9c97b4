"""What every tick writes down about itself, so that a late one can be explained afterwards.

Durations of the stages, how old the samples were when they were used, and counters of the loop's
thread: page faults, context switches, collections, the core. Counters are absolute; they are read
when a tick begins, so the difference to the row before covers the work of the tick before and the
wait since. `python -m headway.benchmarks --only parts` says what they cost.
"""

from __future__ import annotations

import ctypes
import gc
import struct
from collections.abc import Callable
from operator import sub
from resource import RUSAGE_THREAD, getrusage
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from headway.clock import Tick
from headway.compiled import Computed, Impl
from headway.edge.recording.tick import twin
from headway.types import Stamp

STAGES = ("read", "telemetry", "pro", "policy", "guard", "command", "log")
SAMPLES = ("arm", "F/T sensor", "gripper")  # names of the sources whose samples a tick uses
AGES = ("arm_age", "ft_age", "gripper_age")
COUNTERS = ("minor_faults", "major_faults", "waits", "preemptions", "gc_ns", "cpu")
UNITS = dict.fromkeys(("late", *STAGES, "begun", *AGES, "gc_ns"), "ns")
# `begun` is CLOCK_MONOTONIC. `waits` are voluntary context switches, `preemptions` involuntary
# ones. An age, or the core, that is not known is -1. Recordings of version 0.1 also have `spare`.
TIMING = np.dtype(
    [(n, np.int64) for n in ("t_ns", "late", *STAGES, "missed", "begun", *AGES, *COUNTERS)]
)
_UNKNOWN = (-1,) * len(SAMPLES)
_FRAMES = 64  # observations that a chunk may still come from


class PythonTally:
    """Fills `out`, the numbers of one row of `TIMING`; in C++ in `edge/recording/cpp/tick.cpp`."""

    def __init__(self, out: NDArray[np.int64], stages: int, ages: int) -> None:
        self._bytes = out.view(np.uint8).data
        self._front = struct.Struct(f"={4 + stages + ages}q")  # cheaper than storing each
        self._back = struct.Struct(f"={len(COUNTERS)}q")
        # PyDLL: a call through CDLL would offer Python's lock to other threads, every tick.
        self._core: Callable[[], int] = getattr(ctypes.PyDLL(None), "sched_getcpu", lambda: -1)

    def begin(self, gc_ns: int) -> None:
        """The counters as they are now."""
        usage = getrusage(RUSAGE_THREAD)
        self._back.pack_into(
            self._bytes, self._front.size, usage.ru_minflt, usage.ru_majflt, usage.ru_nvcsw,
            usage.ru_nivcsw, gc_ns, self._core(),
        )  # fmt: skip

    def finish(
        self,
        t_ns: int,
        late_ns: int,
        missed: int,
        stamps: list[int],
        sampled: list[int],
        at: int,
    ) -> None:
        """The rest: `stamps` (stages + 1), and of every source when it was `sampled`, -1 where that
        is not known; its age is that at `at`."""
        self._front.pack_into(
            self._bytes, 0, t_ns, late_ns, *map(sub, stamps[1:], stamps), missed, stamps[0],
            *[at - t if t >= 0 else -1 for t in sampled],
        )  # fmt: skip


class Audit:
    """One row of `TIMING` per tick: `begin` first, `sampled` for what was read, `finish` last."""

    def __init__(self, realtime: bool, impl: Impl = "auto") -> None:
        self._realtime = realtime
        self.rows = np.zeros(1, TIMING)
        tally = twin("Tally", PythonTally, impl)
        self._tally = tally(self.rows.view(np.int64), len(STAGES), len(SAMPLES))
        self.computed_by: Computed = "python" if isinstance(self._tally, PythonTally) else "cpp"
        self._sampled = list(_UNKNOWN)  # when each was taken; until `finish`
        self._place = {name: i for i, name in enumerate(SAMPLES)}
        self._frame: Stamp | None = None  # the oldest that this tick's observation holds
        self._frames: dict[int, Stamp] = {}
        self._gc_ns = self._gc_begun = 0
        gc.callbacks.append(self._collected)

    def close(self) -> None:
        """Stop counting the time of garbage collections."""
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)

    def begin(self) -> None:
        """A tick begins: read the counters of the loop's thread."""
        self._tally.begin(self._gc_ns)

    def sampled(self, source: str, stamp: Stamp) -> None:
        """`source`: one of SAMPLES, or a camera."""
        place = self._place.get(source, -1)
        if place >= 0:
            self._sampled[place] = stamp.t_ns
        elif self._frame is None or stamp.t_ns < self._frame.t_ns:
            self._frame = stamp

    def frame(self, t_ns: int, now_ns: int) -> Stamp | None:
        """Of the oldest image in the observation of tick `t_ns`, asked in tick `now_ns`, which may
        be the same one: a policy can answer at once."""
        return self._frame if t_ns == now_ns else self._frames.get(t_ns)

    def finish(self, t_ns: int, tick: Tick, stamps: list[int]) -> None:
        """`stamps`: the beginning of every stage and the end of the last one."""
        at = stamps[1] if self._realtime else t_ns
        self._tally.finish(t_ns, tick.late_ns, tick.missed, stamps, self._sampled, at)
        self._sampled[:] = _UNKNOWN
        if self._frame is not None:
            if len(self._frames) >= _FRAMES:
                del self._frames[next(iter(self._frames))]
            self._frames[t_ns] = self._frame
            self._frame = None

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_begun = perf_counter_ns()
        else:
            self._gc_ns += perf_counter_ns() - self._gc_begun
