"""What the loop asks of the operating system in real time: `with realtime(cfg) as setup:`.

Each step is tried by itself. The run goes on without a step that is refused; `Setup.granted` then
says why, and how to allow it. All steps are taken back at the end, except that malloc keeps the
memory that it has.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from headway import config
from headway.edge.host.environment import cores_of, ranges, read
from headway.edge.host.system import MALLOC_DEFAULTS, MALLOC_KEEP, System

_LIMITS = (
    "add `@realtime - {} {}` to /etc/security/limits.d/99-realtime.conf, join that group, log in "
    "again; in a container: {}"
)


class RealtimeConfig(config.Struct, frozen=True):
    """The `[realtime]` section, which only `headway run --realtime` uses."""

    fifo: bool = True  # SCHED_FIFO: the loop's thread runs before all ordinary threads
    # with fifo: above ordinary threads; the kernel's interrupt threads have 50 by default
    priority: Annotated[int, Meta(ge=1, le=99)] = 50
    pin: bool = True  # the loop gets a core of its own; the other processes get the others
    # the loop's core; -1: an isolated one where there is one, else the last
    core: Annotated[int, Meta(ge=-1, le=65_535)] = -1
    lock_memory: bool = True  # memory that was touched stays resident
    keep_memory: bool = True  # malloc gives no memory back to the kernel, nor asks for it again
    # with keep_memory: how much malloc has at hand from the start
    prefault_mib: Annotated[int, Meta(ge=0, le=4096)] = 32
    no_huge_pages: bool = True  # the kernel does not merge or split pages of the process
    # after this long another Python thread has to let the loop go on; 0: Python's default
    switch_interval_s: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0002
    no_idle_states: bool = True  # cores wake at once (/dev/cpu_dma_latency)


@dataclass(frozen=True)
class Granted:
    """The outcome of the step `name`. `text`: what was granted, or why the step was refused and how
    to allow it."""

    name: str
    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {'granted' if self.ok else 'refused'}{self.text and ': '}{self.text}"


Undo = Callable[[], object]
Step = Callable[[RealtimeConfig, System], tuple[str, Undo]]  # raises OSError


class Setup:
    """What was `granted`. `core`: the loop's core, None where it has none of its own; `others`: the
    cores of the other processes of the run."""

    def __init__(
        self,
        granted: tuple[Granted, ...],
        core: int | None,
        others: tuple[int, ...],
        system: System,
    ) -> None:
        self.granted, self.core, self.others, self._system = granted, core, others, system

    @property
    def lines(self) -> list[str]:
        """What was granted or refused, for people: one line per step."""
        return [str(g) for g in self.granted]

    @property
    def facts(self) -> dict[str, str]:
        """What was granted and refused, as metadata of a recording; the names begin with "env."."""
        ok = ", ".join(g.name for g in self.granted if g.ok)
        refused = ", ".join(g.name for g in self.granted if not g.ok)
        core = "" if self.core is None else str(self.core)
        named = {"env.rt_granted": ok, "env.rt_refused": refused, "env.loop_core": core}
        return {k: v for k, v in named.items() if v}

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Inside the block the calling thread runs on the loop's core, and the process's children
        on the other cores. A thread or process that is started inside inherits the loop's core, so
        start it before.

        The other threads of this process, which read devices, may still run on any core. They share
        Python's lock with the loop: one that had to wait for a busy core would make the loop wait.
        """
        if self.core is None:
            yield
            return
        system = self._system
        before = {tid: system.affinity(tid) for tid in (*system.helpers(), 0)}
        wanted = {tid: set(self.others) for tid in before} | {0: {self.core}}
        try:
            for tid, cores in wanted.items():
                system.set_affinity(tid, cores)
            yield
        finally:
            for tid, cores in before.items():
                system.set_affinity(tid, cores)


@contextmanager
def realtime(cfg: RealtimeConfig | None = None, system: System | None = None) -> Iterator[Setup]:
    """Ask for everything that `cfg` says, for the length of the block. To be entered by the loop's
    thread. A test gives another `system`."""
    cfg, system = cfg or RealtimeConfig(), system or System()
    granted = []
    with ExitStack() as undo:
        for name, wanted, step in _steps(cfg):
            if not wanted:
                continue
            try:
                text, back = step(cfg, system)
            except OSError as e:
                granted.append(Granted(name, False, e.strerror or str(e)))
            else:
                undo.callback(back)
                granted.append(Granted(name, True, text))
        core, others = split(cfg, system)
        pinned = any(g.ok and g.name == "core" for g in granted)
        if not pinned:
            core, others = None, ()
        yield Setup(tuple(granted), core, others, system)


def split(cfg: RealtimeConfig, system: System | None = None) -> tuple[int | None, tuple[int, ...]]:
    """The loop's core, and the cores of the other processes of the run; (None, ()) where `cfg.pin`
    is False or there is only one core."""
    system = system or System()
    allowed = system.affinity(0)
    if not cfg.pin:
        return None, ()
    try:
        isolated = cores_of(read(system.root / "sys/devices/system/cpu/isolated"))
    except ValueError:
        isolated = set()
    core = cfg.core if cfg.core >= 0 else min(isolated, default=max(allowed))
    others = tuple(sorted(allowed - {core} - isolated)) or tuple(sorted(allowed - {core}))
    return (core, others) if others else (None, ())


def _steps(cfg: RealtimeConfig) -> list[tuple[str, bool, Step]]:
    """The steps as (name, wanted, step). Their order matters: memory is taken before it is locked,
    and SCHED_FIFO comes last, after all ordinary work."""
    return [
        ("malloc", cfg.keep_memory, _keep_memory),
        ("huge pages off", cfg.no_huge_pages, _no_huge_pages),
        ("locked memory", cfg.lock_memory, _lock_memory),
        ("thread switching", cfg.switch_interval_s > 0, _switch_interval),
        ("idle states off", cfg.no_idle_states, _no_idle_states),
        ("core", cfg.pin, _pin),
        ("SCHED_FIFO", cfg.fifo, _fifo),
    ]


def _keep_memory(cfg: RealtimeConfig, system: System) -> tuple[str, Undo]:
    for option, value in MALLOC_KEEP:
        system.mallopt(option, value)
    bytearray(cfg.prefault_mib << 20)  # filled with zeros, then freed: malloc keeps it

    def back() -> None:
        for option, value in MALLOC_DEFAULTS:
            system.mallopt(option, value)

    return f"gives nothing back, {cfg.prefault_mib} MiB at hand", back


def _no_huge_pages(cfg: RealtimeConfig, system: System) -> tuple[str, Undo]:
    system.huge_pages(False)
    return "", lambda: system.huge_pages(True)


def _lock_memory(cfg: RealtimeConfig, system: System) -> tuple[str, Undo]:
    """Refused with a finite limit and no privilege: locking might be granted now, and every
    allocation beyond the limit would fail later."""
    how = _LIMITS.format("memlock", "unlimited", "--ulimit memlock=-1")
    limit = system.lock_limit()
    if limit is not None:
        raise OSError(0, f"the limit is {limit >> 20} MiB; {how}")
    try:
        system.mlockall()
    except OSError as e:
        raise OSError(e.errno, f"{e.strerror}; {how}") from None
    return "what was touched, and what is to come", system.munlockall


def _switch_interval(cfg: RealtimeConfig, system: System) -> tuple[str, Undo]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(cfg.switch_interval_s)
    return f"{cfg.switch_interval_s * 1e6:.0f} us", lambda: sys.setswitchinterval(before)


def _no_idle_states(cfg: RealtimeConfig, system: System) -> tuple[str, Undo]:
    try:
        held = system.hold_latency(0)
    except OSError as e:
        how = "as root: chmod g+rw /dev/cpu_dma_latency for a group of yours"
        raise OSError(e.errno, f"{e.strerror}; {how}") from None
    return "", held


def _pin(cfg: RealtimeConfig, system: System) -> tuple[str, Undo]:
    core, others = split(cfg, system)
    if core is None:
        raise OSError(0, "there is one core only; the loop wants one and all else another")
    before = system.affinity(0)
    try:
        system.set_affinity(0, {core})  # only tries whether this is allowed
    except OSError as e:
        raise OSError(e.errno, f"{core}: {e.strerror}; set `realtime.core`") from None
    system.set_affinity(0, before)
    return f"{core} for the loop, {ranges(set(others))} for all else", lambda: None


def _fifo(cfg: RealtimeConfig, system: System) -> tuple[str, Undo]:
    """SCHED_FIFO for the loop's thread; threads and processes that it starts do not inherit it."""
    before = system.scheduler()
    try:
        system.set_scheduler(os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, cfg.priority)
    except OSError as e:
        how = _LIMITS.format("rtprio", 95, "--cap-add SYS_NICE --ulimit rtprio=95")
        raise OSError(e.errno, f"{e.strerror}; {how}") from None
    return f"priority {cfg.priority}", lambda: system.set_scheduler(*before)
