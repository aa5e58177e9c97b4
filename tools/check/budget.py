"""What a run takes on this computer now, measured: the policy in its own process beside the loop,
which runs in real time on devices that are not there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic_ns

import numpy as np

from headway.clock import NS, Tick
from headway.edge.control import pace
from headway.edge.control import settings as run_settings
from headway.edge.control.build import Built
from headway.edge.control.log import NullLog
from headway.edge.control.loop import Loop
from headway.edge.control.settings import Settings
from headway.edge.host.realtime import realtime
from headway.edge.policy.policy import About, Ready, Worker
from headway.errors import PolicyError
from headway.tools.check import memory
from headway.tools.check.lines import Line, amiss, kept, refused, unasked
from headway.types import Observation

GROUP = "latency"
EPISODES = 100  # at most, of tasks that end at once
PATIENCE_S = 5.0  # for a first chunk, beside `hang_s` [s]


class TimedWorker:
    """`worker`, with the times of its answers: how long each inference took, `inference_ns`, and
    each way from the observation to the loop, `answer_ns` [ns]. `failed`: how the policy failed
    last, "" where it did not."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self.about = worker, worker.about
        self.inference_ns: list[int] = []
        self.answer_ns: list[int] = []
        self.failed = ""

    @property
    def trouble(self) -> str:
        return self._worker.trouble

    def reset(self, instruction: str) -> None:
        self._worker.reset(instruction)

    def submit(self, obs: Observation) -> None:
        self._worker.submit(obs)

    def take(self, now_ns: int) -> Ready | None:
        try:
            ready = self._worker.take(now_ns)
        except PolicyError as e:
            self.failed = str(e)
            raise
        if ready is not None:
            self.inference_ns.append(ready.done_ns - ready.started_ns)
            self.answer_ns.append(monotonic_ns() - ready.submitted_ns)
        return ready

    def close(self) -> None:
        self._worker.close()


class Stopwatch(NullLog):
    """Times of the ticks of several episodes: `busy_ns` [ns], how long each worked, and `missed`
    deadlines. It asks `loop` to stop once `seconds` [s] have passed since the first tick and
    `worker`, if there is one, has answered, for which it waits `patience_s` [s] longer at most."""

    def __init__(
        self, loop: Loop, worker: TimedWorker | None, seconds: float, patience_s: float
    ) -> None:
        super().__init__()
        self._loop, self._worker = loop, worker
        self._long_ns, self._patience_ns = round(seconds * NS), round(patience_s * NS)
        self._begin_ns: int | None = None
        self.busy_ns: list[int] = []
        self.missed = 0

    def timing(self, t_ns: int, tick: Tick) -> None:
        """Take down the tick that has just ended."""
        self.busy_ns.append(self.stamps[-1] - self.stamps[0])
        self.missed += tick.missed
        if self._begin_ns is None:
            self._begin_ns = t_ns
        waiting = self._worker is not None and not self._worker.inference_ns
        if t_ns - self._begin_ns >= self._long_ns + (self._patience_ns if waiting else 0):
            self._loop.stop_requested = True


@dataclass(frozen=True)
class Measured:
    """Times [s] of the loop's ticks, of the policy's inferences and of its answers; deadlines that
    were missed; the inferences before the run, the first of which allocates; how the policy failed
    last; and what of the real-time setup was granted."""

    ticks_s: Sequence[float]
    missed: int
    inference_s: Sequence[float] = ()
    answer_s: Sequence[float] = ()
    warm_up_s: Sequence[float] = ()
    failed: str = ""
    setup: tuple[str, ...] = ()


def measure(built: Built, settings: Settings, seconds: float) -> Measured:
    """Run the loop of `built`, whose station is open and moves nothing, for `seconds` [s] of the
    wall clock, in as many episodes as that takes. Raises what an episode raises."""
    loop = built.loop
    worker = None if built.worker is None else TimedWorker(built.worker)
    warm_up = tuple(getattr(built.worker, "warm_up_ns", ()))
    loop.worker = worker
    cfg = run_settings.policy(settings)
    watch = Stopwatch(loop, worker, seconds, PATIENCE_S + (cfg.hang_s if cfg else 0.0))
    with realtime(settings.realtime) as setup, setup.pinned():
        for seed in range(EPISODES):
            if loop.stop_requested:
                break
            instruction = loop.station.reset(seed)
            loop.episode(instruction, watch)
    return Measured(
        _seconds(watch.busy_ns), watch.missed,
        _seconds(worker.inference_ns) if worker else (),
        _seconds(worker.answer_ns) if worker else (),
        _seconds(warm_up), worker.failed if worker else "", tuple(setup.lines),
    )  # fmt: skip


def _seconds(ns: Sequence[int]) -> tuple[float, ...]:
    return tuple(n / NS for n in ns)


def latency_lines(settings: Settings, about: About | None, found: Measured) -> list[Line]:
    """What was measured against what the run configuration leaves time for. `about` is the
    policy, None without one."""
    period_s = 1.0 / settings.loop.hz
    p50, p99 = _percentiles(found.ticks_s)
    late = f"{found.missed} of {len(found.ticks_s) + found.missed} deadlines missed"
    lines = [
        _within(
            "tick of the loop", f"at most {_ms(period_s)}, a tick of {settings.loop.hz:g} Hz", p99,
            period_s, f"p50 {_ms(p50)}, p99 {_ms(p99)}; {late}",
            "set a lower loop.hz, or see `headway doctor --rt`",
        )
    ]  # fmt: skip
    if about is None:
        return [*lines, unasked(GROUP, "inference", "there is no policy to measure")]
    at = pace.pace(settings.loop, about, 0.0)
    ask_s = at.every / settings.loop.hz
    want = f"at most {_ms(ask_s)}, asked {at.hz:.4g} times a second"
    if not found.inference_s:
        why = found.failed or "it gave no chunk while it was measured"
        return [*lines, refused(GROUP, "inference", want, PolicyError(why))]
    p50, p99 = _percentiles(found.inference_s)
    first = f"; first of the warm-up {_ms(found.warm_up_s[0])}" if found.warm_up_s else ""
    lines.append(
        _within(
            "inference", want, p99, ask_s,
            f"p50 {_ms(p50)}, p99 {_ms(p99)} of {len(found.inference_s)} in its process{first}",
            "a faster engine or computer, or a policy that is made for a lower rate",
        )
    )  # fmt: skip
    return [*lines, chunk_line(settings, about, found.answer_s)]


def chunk_line(settings: Settings, about: About, answer_s: Sequence[float]) -> Line:
    """Whether a chunk lasts until the next one is there. `answer_s` [s]: measured times from an
    observation to its chunk; without any, what `[policy]` says is taken."""
    loop = settings.loop
    at = pace.pace(loop, about, 0.0)
    lasts, limit = pace.lasting(loop, about)
    ask_s = at.every / loop.hz
    if answer_s:
        p50, p99 = _percentiles(answer_s)
        said = f"from observation to chunk p50 {_ms(p50)}, p99 {_ms(p99)}"
    else:
        p99 = float((settings.policy or {}).get("latency_s", 0.02))
        said = f"latency_s = {p99:g} of [policy], not measured"
    left_s = lasts - ask_s
    want = f"{limit} {_ms(lasts)}: asked every {_ms(ask_s)}, at most {_ms(left_s)} are left"
    misfit = pace.chunks_meet(loop, about, ask_s, p99)
    if not misfit:
        return kept(GROUP, "chunk outlasts", want, said)
    then = "a faster engine or computer, or a policy with longer chunks"
    return amiss(GROUP, "chunk outlasts", want, f"{said}: {misfit}", then)


def memory_line(pid: int | None, there: int | None, files: int) -> Line:
    """Whether the memory that was `there` [bytes] before anything was opened is enough for this
    process and the policy's own, `pid`, at their largest so far. Without a process of the policy,
    the `files` [bytes] of the bundles are wanted at least."""
    own = memory.peak(os.getpid()) or 0
    policy = None if pid is None else memory.peak(pid)
    wanted = own + (files if policy is None else policy)
    said = f"{_mib(wanted)}: {_mib(own)} for the loop's process"
    said += f", {_mib(files)} of models" if policy is None else f", {_mib(policy)} for the policy's"
    if there is None:
        return unasked("memory", "free", f"wanted {said}; this system does not say what is free")
    found = f"{_mib(there)} free"
    if wanted <= there:
        return kept("memory", "free", said, found)
    then = "end other programs, or take a smaller model"
    return amiss("memory", "free", said, found, then)


def _within(name: str, want: str, value: float, most: float, found: str, then: str) -> Line:
    if value <= most:
        return kept(GROUP, name, want, found)
    return amiss(GROUP, name, want, found, then)


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    p50, p99 = np.percentile(np.asarray(values), (50, 99))
    return float(p50), float(p99)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _mib(size: int) -> str:
    return f"{size / memory.MIB:.0f} MiB"
