"""A fence, for memory that two processes share without a lock.

x86 lets every core see the stores of another one in their order, and does loads in order. arm64
promises neither: a counter that was stored after the numbers it announces may be seen before them.
A fence is an acquire and a release fence in one (C++17, 32.9): all loads and stores before it take
effect before all those after it, with one exception: a store before and a load after it may be
swapped. Nothing here depends on that pair.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable

from headway import compiled
from headway.edge.recording.tick import module

Fence = Callable[[], object]
IN_ORDER = ("x86_64", "amd64", "i386", "i686")  # machines whose own order suffices


def fence_of(impl: compiled.Impl = "auto", machine: str = "") -> Fence:
    """The fence for this process: compiled where that is built. Else, on a `machine` ("": this one)
    that reorders, a system call that gives up the core: the scheduler has a full barrier on its way
    (Linux, kernel/sched/core.c: smp_mb__after_spinlock in __schedule). Raises Missing."""
    native = module(impl)
    if native is not None:
        fence: Fence = native.fence
        return fence
    machine = machine or platform.machine()
    return _nothing if machine.lower() in IN_ORDER else os.sched_yield


def _nothing() -> None:
    """The fence of a machine that needs none."""
