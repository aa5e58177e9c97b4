"""Inject faults at a given time of an episode, for tests of what follows:
`headway run --inject policy_hang@5s`.

In real time the policy worker's process is really stopped or killed, and the loop really overruns;
in lock-step the same is simulated on the virtual clock. The recording's log says what was injected.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import re
import signal
import time
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from msgspec import structs

from headway.clock import NS, Clock
from headway.edge.control.events import EventKind
from headway.edge.control.log import NullLog
from headway.edge.control.loop import Loop
from headway.edge.control.station import Station
from headway.edge.policy.policy import Ready, Worker
from headway.edge.policy.worker.process import ProcessWorker
from headway.errors import ConfigError, DeviceError, PolicyError, Stale
from headway.types import Health, Info, Observation, Sample, Wrench

T = TypeVar("T")

KINDS = {
    "policy_hang": "the policy gives no answer",
    "policy_kill": "the policy's process is killed",
    "policy_late": "every chunk comes FOR seconds later (0.5)",
    "policy_nan": "chunks of NaN",
    "policy_jump": "chunks that leap by half a radian",
    "policy_error": "inference fails",
    "camera_stall": "no new frame",
    "ft_stall": "no new wrench",
    "ft_stuck": "the same wrench again and again",
    "ft_nan": "a wrench of NaN",
    "arm_stall": "no new joint state",
    "arm_unplugged": "reading the arm fails",
    "overrun": "one tick takes FOR seconds (0.05)",
    "sigterm": "the run is asked to end, as by SIGTERM",
}
_DEVICES = {"arm": "arm", "ft": "F/T sensor", "camera": "camera"}  # whose faults begin with that
_USUAL_S = {"policy_late": 0.5, "overrun": 0.05}
_USUAL = re.compile(r" \([\d.]+\)$")  # the number in KINDS that counts where none was asked for
_FORM = re.compile(r"(?P<kind>\w+)@(?P<at>[\d.]+)s?(:(?P<span>[\d.]+)s?)?")


@dataclass(frozen=True)
class Injection:
    """The fault `kind` (see KINDS), from `at_s` [s] of the episode on, for `for_s` [s]. For
    `policy_late` and `overrun`, `for_s` is the delay that they cause."""

    kind: str
    at_s: float
    for_s: float = math.inf

    def on(self, t_s: float) -> bool:
        """Whether it is time for the fault at `t_s` [s] of the episode."""
        once = self.kind in _USUAL_S  # for these kinds, `for_s` is not a duration
        return t_s >= self.at_s and (once or t_s < self.at_s + self.for_s)

    @property
    def text(self) -> str:
        """What happens, in words."""
        return _USUAL.sub("", KINDS[self.kind]).replace("FOR", f"{self.for_s:g}")


def parse(text: str) -> Injection:
    """The injection that `text` describes as KIND@SECONDS or KIND@SECONDS:FOR, for example
    policy_hang@5s or ft_stall@2:0.3. Raises ConfigError."""
    found = _FORM.fullmatch(text)
    kind = found["kind"] if found else text.partition("@")[0]
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KINDS)}"
        raise ConfigError(f"--inject wanted a fault to inject, found {kind!r}: {hint}")
    one = _injection(found) if found else None
    if one is None:
        raise ConfigError(
            f"--inject wanted KIND@SECONDS or KIND@SECONDS:FOR with times from 0 on, found "
            f"{text!r}: for example policy_hang@5s or ft_stall@2:0.3"
        )
    if one.for_s == 0:
        raise ConfigError(
            f"--inject wanted a fault that lasts, found {text!r} with a duration of 0: leave the "
            "duration out for one until the end, or give more than 0"
        )
    return one


def _injection(found: re.Match[str]) -> Injection | None:
    """The injection of a match of _FORM; None when a time is not a finite number."""
    try:
        at = float(found["at"])
        span = float(found["span"]) if found["span"] else None
    except ValueError:
        return None
    if not math.isfinite(at) or (span is not None and not math.isfinite(span)):
        return None
    usual = _USUAL_S.get(found["kind"], math.inf)
    return Injection(found["kind"], at, usual if span is None else span)


class Faults:
    """The faults `wanted` in every episode of one loop: `install` puts them into the devices,
    `attach` into the worker. `active` gives the fault of a kind that is in effect now, of several
    the one that began last, or None, and logs each when it begins. The object observes the loop, to
    know when episodes begin and end."""

    def __init__(self, wanted: tuple[Injection, ...], clock: Clock) -> None:
        self.wanted, self.clock = wanted, clock
        self._in_time = sorted(wanted, key=lambda one: one.at_s)
        self._begun = clock.now()
        self._said: set[Injection] = set()
        self._log: NullLog | None = None

    def notes(self, limit_s: float) -> list[str]:
        """Warnings about faults that come after the longest episode, `limit_s` [s], has ended."""
        return [
            f"--inject {one.kind}@{one.at_s:g}: this fault will not happen, an episode ends after "
            f"{limit_s:g} s at the latest (task.limit_s): give an earlier time"
            for one in self.wanted
            if one.at_s >= limit_s
        ]

    def begin(self, log: NullLog) -> None:
        self._begun, self._log = self.clock.now(), log
        self._said.clear()

    def end(self) -> None:
        self._log = None

    def active(self, kind: str) -> Injection | None:
        on = self._on(kind)
        for one in on:
            self._say(one)
        return on[-1] if on else None

    def first(self, kind: str) -> Injection | None:
        """Like `active`, but it gives each fault once per episode, in the order of their times: the
        second of a kind is not lost where the first has not ended."""
        for one in self._on(kind):
            if self._say(one):
                return one
        return None

    def _on(self, kind: str) -> list[Injection]:
        """The faults of a kind that are in effect now, in the order of their times."""
        if self._log is None:  # between episodes
            return []
        t = (self.clock.now() - self._begun) / NS
        return [one for one in self._in_time if one.kind == kind and one.on(t)]

    def _say(self, one: Injection) -> bool:
        """Log a fault that begins; whether this is its first time in this episode."""
        if self._log is None or one in self._said:
            return False
        self._said.add(one)
        text = f"inject: {one.text}"
        self._log.event(self.clock.now(), EventKind.INJECTED, "warning", text, one.kind)
        return True

    def install(self, station: Station) -> None:
        """Wrap every device that is to fail in a FaultySource. Call it before the station is
        opened."""
        for name, latest in (("arm", station.arm), ("ft", station.ft)):
            if latest is not None and any(w.kind.startswith(f"{name}_") for w in self.wanted):
                latest.source = FaultySource(latest.source, name, self)
        if any(w.kind == "camera_stall" for w in self.wanted):
            for camera in station.cameras.values():
                camera.source = FaultySource(camera.source, "camera", self)

    def attach(self, loop: Loop) -> None:
        """Wrap the loop's worker, if it has one, in a FaultyWorker, and observe the loop. Raises
        ConfigError for faults of a device or policy that this run does not have; those of the loop
        itself (overrun, sigterm) happen where it asks its policy."""
        if not self.wanted:
            return
        station, worker = loop.station, loop.worker
        there = {"arm": True, "ft": station.ft is not None, "camera": bool(station.cameras)}
        for one in self.wanted:
            subject = one.kind.partition("_")[0]
            if not there.get(subject, worker is not None):
                raise ConfigError(
                    f"--inject {one.kind}: this run has nothing that could fail so, there is no "
                    f"{_DEVICES.get(subject, 'policy')}: leave it out, or configure one"
                )
        if worker is not None:
            loop.worker = FaultyWorker(worker, self, loop)
        loop.observer = self


class FaultySource(Generic[T]):
    """A source that passes on another one, with the faults of `name` ("arm", "ft", "camera")."""

    def __init__(self, source: Any, name: str, faults: Faults) -> None:
        self._source, self._name, self._faults = source, name, faults
        self._stuck: T | None = None
        self.info: Info = source.info
        self.waits: bool = source.waits

    def open(self, timeout_s: float) -> None:
        self._source.open(timeout_s)

    def read(self, timeout_s: float) -> Sample[T]:
        sample: Sample[T] = self._source.read(timeout_s)
        active = self._faults.active
        if active(f"{self._name}_stall"):
            raise Stale("injected: no new sample")
        if self._name == "arm" and active("arm_unplugged"):
            raise DeviceError("injected: the arm is unplugged")
        if self._name == "ft":
            if not active("ft_stuck"):
                self._stuck = sample.value
            elif self._stuck is not None:
                sample = structs.replace(sample, value=self._stuck)
            if active("ft_nan"):
                nan: Any = Wrench(np.full(3, np.nan), np.full(3, np.nan))
                sample = structs.replace(sample, value=nan)
        return sample

    def close(self) -> None:
        self._source.close()

    def health(self) -> Health:
        found: Health = self._source.health()
        return found


class FaultyWorker:
    """A worker that passes on another one, with faults."""

    def __init__(self, worker: Worker, faults: Faults, loop: Loop) -> None:
        self._worker, self._faults, self._loop = worker, faults, loop
        self.about = worker.about
        self._process = worker if isinstance(worker, ProcessWorker) else None
        self._late: list[tuple[int, Ready]] = []
        self._stopped: int | None = None  # the process that `policy_hang` has stopped

    @property
    def trouble(self) -> str:
        return self._worker.trouble

    def reset(self, instruction: str) -> None:
        self._late.clear()
        self._worker.reset(instruction)

    def submit(self, obs: Observation) -> None:
        process = self._process
        for kind, number in (("policy_hang", signal.SIGSTOP), ("policy_kill", signal.SIGKILL)):
            if process is not None and self._faults.first(kind):
                _signal(process.pid, number)
                if number == signal.SIGSTOP:
                    self._stopped = process.pid
            if process is None and self._faults.active(kind):
                return
        self._worker.submit(obs)

    def take(self, now_ns: int) -> Ready | None:
        faults = self._faults
        if self._stopped is not None and not faults.active("policy_hang"):
            if self._process is not None and self._process.pid == self._stopped:
                _signal(self._stopped, signal.SIGCONT)  # else another one was started since
            self._stopped = None
        if faults.first("sigterm"):
            self._loop.stop_requested = True  # as the handler of the signal does
        if one := faults.first("overrun"):
            overrun(faults.clock, one.for_s)
        if faults.active("policy_error"):
            self._worker.take(now_ns)
            raise PolicyError("injected: inference failed")
        ready = self._worker.take(now_ns)
        if ready is not None and (one := faults.active("policy_late")):
            self._late.append((now_ns + round(one.for_s * NS), ready))
            ready = None
        if self._late and self._late[0][0] <= now_ns:
            ready = self._late.pop(0)[1]
        if ready is not None and faults.active("policy_nan"):
            ready = _with_q(ready, np.full_like(ready.joints.q, np.nan))
        if ready is not None and faults.active("policy_jump"):
            ready = _with_q(ready, ready.joints.q + 0.5)
        return ready

    def close(self) -> None:
        self._worker.close()


def _signal(pid: int, number: int) -> None:
    """Send a signal to the policy's process, which another fault may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _with_q(ready: Ready, q: Any) -> Ready:
    return structs.replace(ready, joints=structs.replace(ready.joints, q=q))


def overrun(clock: Clock, seconds: float) -> None:
    """Keep the loop's thread busy for `seconds` [s]."""
    if clock.realtime:
        time.sleep(seconds)
    else:
        clock.sleep_until(clock.now() + round(seconds * NS))
