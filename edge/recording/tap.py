"""The writer process's tap for a live view: what it writes to the file also goes down a pipe.

A view may be slow, stuck or gone; the recorder never waits for it. What the pipe does not take is
kept up to `LIMIT` bytes, then dropped and counted.
"""

from __future__ import annotations

import base64
import json
import os
import select
import struct
import time
from collections import deque
from itertools import islice
from typing import NamedTuple

from headway.clock import NS

HEAD = struct.Struct("<BxHIQ")  # op, channel, length of what follows, time [ns]
CHANNELS, MESSAGE, END = 0, 1, 2
LIMIT = 16 << 20
# Kinds of channel whose messages are rare: all of them are passed on.
EVERY_ONE = ("log", "json", "calibration")
_IOV = 64


class Feed(NamedTuple):
    """Where to: the writing end of the pipe, and how often [Hz, recorded time] per channel."""

    fd: int
    hz: float


class Topic(NamedTuple):
    """A channel as MCAP and the Foxglove protocol know it. Messages and schema are protobuf, those
    of kind `json` are JSON and JSON Schema."""

    topic: str
    kind: str
    schema_name: str
    schema: bytes
    metadata: tuple[tuple[str, str], ...] = ()


class Tap:
    """`offer` never waits and never raises. `dropped` counts what a slow view cost itself."""

    def __init__(self, feed: Feed) -> None:
        os.set_blocking(feed.fd, False)
        self._fd = feed.fd
        self._period = round(NS / feed.hz)
        self._due: list[int | None] = []  # None: every message
        self._queue: deque[bytes | memoryview] = deque()
        self._size = 0
        self.dropped = 0

    def channels(self, topics: list[Topic]) -> None:
        """Before the first message; `offer` numbers them from 0."""
        self._due = [None if t.kind in EVERY_ONE else 0 for t in topics]
        plain = [
            [t.topic, t.kind, t.schema_name, base64.b64encode(t.schema).decode(), t.metadata]
            for t in topics
        ]
        self._put(CHANNELS, 0, 0, json.dumps(plain).encode())

    def offer(self, channel: int, t_ns: int, data: bytes) -> None:
        """Give the view the message `data` of `channel` at `t_ns` [ns]. It is left out where it
        comes too soon after the one before, and dropped where too much is waiting already."""
        due = self._due[channel]
        if due is not None:
            if t_ns < due:
                return
            # On the grid, so that jitter does not lower the rate; anew after a pause.
            late = t_ns - due >= self._period
            self._due[channel] = (t_ns if late else due) + self._period
        if self._fd < 0:
            return
        if self._size + len(data) > LIMIT:
            self.flush()
            if self._size + len(data) > LIMIT:
                self.dropped += 1
                return
        self._put(MESSAGE, channel, t_ns, data)

    def _put(self, op: int, channel: int, t_ns: int, data: bytes) -> None:
        self._queue += (HEAD.pack(op, channel, len(data), t_ns), data)
        self._size += HEAD.size + len(data)

    def flush(self) -> None:
        """As much as the pipe takes now."""
        while self._queue and self._fd >= 0:
            try:
                n = os.writev(self._fd, list(islice(self._queue, _IOV)))
            except BlockingIOError:
                return
            except OSError:  # nobody reads any more
                self._close()
                return
            self._size -= n
            while self._queue and n >= len(self._queue[0]):
                n -= len(self._queue.popleft())
            if n:
                self._queue[0] = memoryview(self._queue[0])[n:]

    def finish(self, wait_s: float = 0.5) -> None:
        """The rest, as far as the view takes it within `wait_s`; then the pipe is closed."""
        if self._fd < 0:
            return
        self._put(END, 0, 0, json.dumps({"dropped": self.dropped}).encode())
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        end = time.monotonic() + wait_s
        self.flush()
        while self._queue and (rest := end - time.monotonic()) > 0:
            poll.poll(rest * 1000)
            self.flush()
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._queue.clear()
        self._size = 0


def parse_channels(data: bytes) -> list[Topic]:
    """What `Tap.channels` sent."""
    return [
        Topic(topic, kind, name, base64.b64decode(schema), tuple((k, v) for k, v in metadata))
        for topic, kind, name, schema, metadata in json.loads(data)
    ]
