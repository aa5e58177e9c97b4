"""The system calls behind `edge.host.realtime`, in one class that a test can replace. All raise
OSError when the system refuses them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from headway.edge.host.environment import read

# Options of mallopt(3): M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX; MALLOC_DEFAULTS are glibc's.
_TRIM, _PAD, _MMAPS = -1, -2, -4
MALLOC_KEEP = ((_TRIM, (1 << 31) - 1), (_PAD, 16 << 20), (_MMAPS, 0))
MALLOC_DEFAULTS = ((_TRIM, 128 << 10), (_PAD, 128 << 10), (_MMAPS, 65536))
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_PR_SET_THP_DISABLE = 41
_CAP_IPC_LOCK = 14


class System:
    """The operating system; `root` is the folder below which its files are read."""

    root = Path("/")

    def scheduler(self) -> tuple[int, int]:
        """Policy and priority of the calling thread."""
        return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority

    def set_scheduler(self, policy: int, priority: int) -> None:
        """Give the calling thread the scheduling policy `policy`, such as os.SCHED_FIFO, and
        `priority`."""
        os.sched_setscheduler(0, policy, os.sched_param(priority))

    def affinity(self, tid: int) -> set[int]:
        """The cores that the thread `tid` may run on; 0: the calling thread. Empty for a thread
        that is gone."""
        with contextlib.suppress(ProcessLookupError):
            return os.sched_getaffinity(tid)
        return set()

    def set_affinity(self, tid: int, cores: set[int]) -> None:
        """Let the thread `tid` run on `cores` only; 0: the calling thread. Another thread that is
        gone, or must not be changed, is left as it is."""
        if tid == 0:
            os.sched_setaffinity(0, cores)
        elif cores:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(tid, cores)

    def helpers(self) -> list[int]:
        """The threads of this process's children."""
        own = os.getpid()
        children = [int(c) for t in self._threads(own) for c in self._children(own, t)]
        return [t for c in children for t in self._threads(c)]

    def _threads(self, pid: int) -> Iterator[int]:
        with contextlib.suppress(OSError):
            yield from (int(t) for t in os.listdir(self.root / f"proc/{pid}/task"))

    def _children(self, pid: int, tid: int) -> list[str]:
        return read(self.root / f"proc/{pid}/task/{tid}/children").split()

    def lock_limit(self) -> int | None:
        """How many bytes of memory may be locked, None for any number."""
        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        if limit == resource.RLIM_INFINITY:
            return None
        status = (self.root / "proc/self/status").read_text().splitlines()
        caps = next((int(x.split()[1], 16) for x in status if x.startswith("CapEff")), 0)
        return None if caps >> _CAP_IPC_LOCK & 1 else limit

    def mlockall(self) -> None:
        """Lock the memory of the process, now and later. Pages stay resident once they were
        touched (MCL_ONFAULT), so libraries are not read in as a whole."""
        _call("mlockall", _MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)

    def munlockall(self) -> None:
        """Undo `mlockall`."""
        _call("munlockall")

    def mallopt(self, option: int, value: int) -> None:
        """Set the `option` of malloc, see mallopt(3), to `value`."""
        if _function("mallopt")(option, value) != 1:
            raise OSError(0, f"mallopt({option}, {value}) was refused")

    def huge_pages(self, on: bool) -> None:
        """Allow (`on`) or forbid transparent huge pages for the memory of this process."""
        _call("prctl", _PR_SET_THP_DISABLE, *(ctypes.c_ulong(x) for x in (not on, 0, 0, 0)))

    def hold_latency(self, us: int) -> Callable[[], None]:
        """Ask for cores that wake from idle within `us` [us]. Returns a function that ends this."""
        fd = os.open(self.root / "dev/cpu_dma_latency", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, struct.pack("i", us))
        except BaseException:
            os.close(fd)
            raise
        return lambda: os.close(fd)


def _function(name: str) -> Callable[..., int]:
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None, use_errno=True), name)
    except AttributeError:
        raise OSError(0, f"this C library has no {name}") from None
    return found


def _call(name: str, *arguments: object) -> None:
    if _function(name)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
