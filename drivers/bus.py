"""One thread that owns a port: the devices at it share what it reads, and what they command is sent
by it.

Half-duplex lines carry one exchange at a time, and a write may block. So the control loop never
touches the port: it leaves its newest command here and goes on. A command that was not sent when a
newer one comes is never sent, and what has been read is replaced by what is read next.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from headway.clock import NS, Clock
from headway.errors import DeviceError, HeadwayError, Stale

C = TypeVar("C")  # a command
S = TypeVar("S")  # what an exchange reads

_JOIN_S = 2.0


class Bus(Generic[C, S]):
    """`exchange(command)` is called `rate_hz` [Hz] times a second in the bus's own thread, between
    `start` and `close`, with the newest command or None where there is no new one, and returns what
    it read, which `newest` gives. `name` is for messages. `clock` is CLOCK_MONOTONIC.

    An exchange that raises DeviceError is tried again, `retries` times in a row; the values of
    before are not given out anew meanwhile. Then the bus is in fault: it sends nothing, `command`
    raises, and only `reset`, which a device's `activate` calls, leaves that state. The port itself
    is opened and closed by whoever owns the bus."""

    def __init__(
        self,
        name: str,
        exchange: Callable[[C | None], S],
        clock: Clock,
        rate_hz: float,
        retries: int = 2,
    ) -> None:
        self.name, self.clock, self.rate_hz, self.retries = name, clock, rate_hz, retries
        self._exchange = exchange
        self._new = threading.Condition()
        # At most one, the newest. Each of a deque's operations is whole, so neither thread can lose
        # or bring back what the other one changes.
        self._commands: deque[C] = deque(maxlen=1)
        self._unsent: C | None = None  # whose exchange failed, so it may not have been sent
        self._value: S | None = None
        self._number = 0  # of exchanges that went well
        self._read_ns = 0  # when the last one ended
        self._fault = ""
        self._stop, self._paused = True, False
        self._thread: threading.Thread | None = None
        self.failed = 0  # exchanges, since the bus was made
        self.late = 0  # exchanges that began a period or more after they were due

    def start(self) -> None:
        """Begin to exchange. Does nothing when running."""
        if self._thread is not None:
            return
        self._stop, self._paused, self._value, self._fault = False, False, None, ""
        self._forget()
        self._thread = threading.Thread(target=self._run, name=f"bus-{self.name}", daemon=True)
        self._thread.start()

    @property
    def fault(self) -> str:
        """Why the bus is in fault, "" where it is not."""
        return self._fault

    def command(self, command: C) -> None:
        """Leave `command` to be sent by the next exchange, in place of one that was not sent yet.
        Never waits for the port. Raises DeviceError in fault, and when the bus does not run."""
        if self._fault:
            raise DeviceError(f"{self.name} is in fault: {self._fault}: activate() it again")
        if self._thread is None:
            raise DeviceError(f"{self.name} is closed: open it first")
        self._commands.append(command)

    def newest(self, after: int, timeout_s: float) -> tuple[int, int, S]:
        """Number, time of arrival [ns] and value of the newest exchange, if its number is above
        `after`; else of the next one, which is waited for at most `timeout_s` [s]. Raises Stale
        without one, and DeviceError in fault."""
        with self._new:
            self._new.wait_for(
                lambda: self._is_new(after) or self._fault or (self._stop and not self._paused),
                timeout_s,
            )
            if self._fault:
                raise DeviceError(f"{self.name} is in fault: {self._fault}")
            if not self._is_new(after) or self._value is None:
                raise Stale(
                    f"wanted an answer of {self.name} within {timeout_s:g} s, found none: is it "
                    "powered and connected?"
                )
            return self._number, self._read_ns, self._value

    def _is_new(self, after: int) -> bool:
        """Whether there is a value, of a number above `after`: not so when it was started anew."""
        return self._number > after and self._value is not None

    def reset(self) -> None:
        """Leave the state of fault; commands of before are forgotten."""
        with self._new:
            self._forget()
            self._fault = ""
            self._new.notify_all()

    def pause(self) -> None:
        """End the thread as `close` does, until `start`: the port is the caller's meanwhile. Who
        waits for a value goes on waiting: a reader that is told that there is none would ask again
        at once, and again, and take the time of whoever uses the port."""
        self._end(paused=True)

    def close(self) -> None:
        """End the thread. Waits at most 2 s for an exchange that hangs, and leaves it behind
        then: what that exchange brings later is thrown away, and its thread ends."""
        self._end(paused=False)

    def _end(self, *, paused: bool) -> None:
        with self._new:
            self._stop, self._paused = True, paused
            thread, self._thread = self._thread, None
            self._new.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)

    def _run(self) -> None:
        period = round(NS / self.rate_hz)
        due, failures = self.clock.now(), 0
        while self._is_mine():
            if self._fault:
                with self._new:
                    self._new.wait_for(lambda: not self._fault or not self._is_mine(), 1.0)
                due, failures = self.clock.now(), 0
                continue
            command = self._next()
            try:
                value = self._exchange(command)
            except Exception as e:  # DeviceError, or an error of a library
                failures += 1
                self._failed(
                    command,
                    str(e) if isinstance(e, HeadwayError) else f"{type(e).__name__}: {e}",
                    failures,
                )
            else:
                failures = 0
                self._went_well(value)
            due += period
            now = self.clock.now()
            if now - due >= period:
                self.late += 1
                due = now  # no burst to catch up
            self.clock.sleep_until(due)

    def _is_mine(self) -> bool:
        """Whether the bus belongs to the calling thread: no longer so once `_end` was called, also
        where a new thread was started while an exchange of the old one still hung."""
        return self._thread is threading.current_thread()

    def _went_well(self, value: S) -> None:
        with self._new:
            if self._is_mine():
                self._value, self._number = value, self._number + 1
                self._read_ns = self.clock.now()
                self._new.notify_all()

    def _failed(self, command: C | None, why: str, failures: int) -> None:
        """Note that the exchange with `command` failed, the last of so many `failures` in a row."""
        with self._new:
            if not self._is_mine():
                return
            self.failed += 1
            self._unsent = command
            if failures > self.retries:
                self._fault = why
                self._forget()
                self._new.notify_all()

    def _next(self) -> C | None:
        """The command to send now: a new one, else one that may not have been sent."""
        unsent, self._unsent = self._unsent, None
        try:
            return self._commands.pop()
        except IndexError:
            return unsent

    def _forget(self) -> None:
        self._commands.clear()
        self._unsent = None
