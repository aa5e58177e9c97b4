"""The base class of devices that send samples by themselves, over a connection of their own: most
force/torque sensors."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Generic, TypeVar

from headway.clock import NS, Clock
from headway.drivers.codecs import Decoder
from headway.drivers.counts import Counts
from headway.drivers.transports import Transport
from headway.errors import DeviceError, Stale
from headway.types import Health, Info, Sample

F = TypeVar("F")  # a frame of the codec
T = TypeVar("T")  # what the device measures

_READ = 4096  # bytes at once: of what has piled up, the newest counts
_BEHIND_S, _FEWEST = 0.1, 8  # that may pile up: a busy computer stalls a reader for some 10 ms
_READS = 1000  # at once, so that a flood ends


class StreamSource(Generic[F, T]):
    """A device that `transport` leads to, whose bytes `decoder` understands, with samples at
    `rate_hz` [Hz]. `info` says what is known of it before it is opened.

    Subclasses implement `greet`, which makes the device stream and may find out who it is, and
    `sample`, which makes a sample of a frame; `part` when there is something to say before the
    connection ends. `read` gives each frame once, in order; when more have piled up than
    `most_behind`, those of the last 0.1 s, the oldest are dropped and counted as lost, so that
    nobody works through a backlog.

    `behind` is, while `sample` is called, how many frames came after this one in the same read: so
    many periods earlier it was measured. A subclass whose `sample` finds gaps by sequence numbers
    sets `numbered`; what is dropped here would be counted twice otherwise.

    Silence for three periods is for the reader to see: `read` raises Stale. Silence for `dead_s`
    [s] is a fault: `read` raises DeviceError, and whoever reads opens the device again."""

    waits = True
    numbered = False

    def __init__(
        self,
        clock: Clock,
        info: Info,
        transport: Transport,
        decoder: Decoder[F],
        rate_hz: float,
        dead_s: float = 1.0,
    ) -> None:
        self.clock, self.info, self.transport, self.decoder = clock, info, transport, decoder
        self.rate_hz, self.dead_ns = rate_hz, round(dead_s * NS)
        self.counts = Counts(clock, round(NS / rate_hz))
        self.most_behind = max(_FEWEST, round(_BEHIND_S * rate_hz))
        # With their arrival [ns], and how many came after them in the same read.
        self._frames: deque[tuple[F, int, int]] = deque()
        self._heard_ns = 0  # when the last frame came
        self.behind = 0

    def greet(self, timeout_s: float) -> None:
        """Make the device stream within `timeout_s` [s], and set `info` to what it says about
        itself. The transport is open. Raises DeviceError for no answer, another device, or one that
        is not what the configuration expects."""
        raise NotImplementedError

    def sample(self, frame: F, arrival_ns: int) -> Sample[T] | None:
        """The sample that `frame` holds; None for a frame that is none, as an answer to a
        command."""
        raise NotImplementedError

    def part(self) -> None:
        """Say goodbye, as by a command to stop streaming. May raise DeviceError."""

    def open(self, timeout_s: float) -> None:
        if self.counts.state == "ok":
            return
        self.transport.open(timeout_s)
        self.decoder.reset()
        self._frames.clear()
        try:
            self.greet(timeout_s)
        except BaseException:
            self.transport.close()
            raise
        self._heard_ns = self.clock.now()
        self.counts.opened()

    def read(self, timeout_s: float) -> Sample[T]:
        if self.counts.state == "closed":
            raise DeviceError(f"the {self.info.model} is closed: open it before reading")
        until = self.clock.now() + round(timeout_s * NS)
        while True:
            while self._frames:
                frame, arrival, self.behind = self._frames.popleft()
                made = self.sample(frame, arrival)
                if made is not None:
                    return made
            left = (until - self.clock.now()) / NS
            if not self._listen(max(0.0, min(left, 3.0 / self.rate_hz))) and left <= 0.0:
                self.counts.timeouts += 1
                raise Stale(
                    f"wanted a sample of the {self.info.model} within {timeout_s:g} s, found "
                    f"{'none' if not self.counts.received else 'silence'}: is it powered and "
                    "connected?"
                )

    def _listen(self, timeout_s: float) -> bool:
        """Read what arrives within `timeout_s` [s]; whether there was a frame. Raises DeviceError
        after `dead_s` without one, and when the connection is lost."""
        try:
            data = self.transport.read(_READ, timeout_s)
        except DeviceError:
            self.counts.state = "fault"
            raise
        now = self.clock.now()
        came: list[F] = []
        with contextlib.suppress(DeviceError):  # the next call meets it; what came before counts
            for _ in range(_READS):
                if not data:
                    break
                came.extend(self.decoder.feed(data))
                data = self.transport.read(_READ, 0.0)  # datagrams come one by one
        self._frames.extend((frame, now, len(came) - 1 - i) for i, frame in enumerate(came))
        self.counts.crc_errors = self.decoder.errors
        if self._frames:
            self._heard_ns = now
            while len(self._frames) > self.most_behind:
                self._frames.popleft()
                self.counts.lost += not self.numbered
            return True
        if now - self._heard_ns > self.dead_ns:
            self.counts.state = "fault"
            raise DeviceError(
                f"wanted the {self.info.model} at {self.transport.uri} to stream at "
                f"{self.rate_hz:g} Hz, found no whole frame for {self.dead_ns / NS:g} s: check its "
                "cable and power, and the baud rate"
            )
        return False

    def close(self) -> None:
        if self.counts.state == "ok":
            with contextlib.suppress(DeviceError):  # it is gone already
                self.part()
        self.transport.close()
        self._frames.clear()
        if self.counts.state == "ok":
            self.counts.state = "closed"

    def health(self) -> Health:
        return self.counts.health()
