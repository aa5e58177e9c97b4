"""The viewer process: it reads the feeds of the recorder's writer processes and passes them on.

`Viewer` starts it, with the number of its control socket and its options as arguments. It ends once
the run's process has closed the control socket, or is gone, and every feed has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from headway.child import outlive
from headway.edge.recording import tap
from headway.edge.recording.tap import Topic
from headway.errors import HeadwayError


class Sink(Protocol):
    """A receiver of messages. `channels` and `message` never wait for a client. `message` gives a
    recorded message of `channel`, a number from `channels`, with its time [ns]."""

    def channels(self, topics: Sequence[Topic]) -> list[int]:
        """Announce the channels of the next episode. Returns their numbers in this sink."""
        ...

    def message(self, channel: int, t_ns: int, data: bytes) -> None: ...

    async def close(self) -> None:
        """Give receivers a few seconds at most to take what is waiting, then close."""


class Feeds:
    """Reads the feeds to their ends, one after the other, and gives their messages to `sinks`."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = sinks
        self.messages = self.dropped = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def add(self, fd: int) -> None:
        """Read the feed from the pipe `fd`, after those that were added before; it is closed at its
        end."""
        task = asyncio.get_running_loop().create_task(self._read(fd))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Wait until all feeds have ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _read(self, fd: int) -> None:
        reader = asyncio.StreamReader(limit=1 << 20)
        with os.fdopen(fd, "rb", buffering=0) as pipe:
            async with self._turn:
                transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                    lambda: asyncio.StreamReaderProtocol(reader), pipe
                )
                with contextlib.suppress(asyncio.IncompleteReadError):  # the writer has ended
                    await self._pass_on(reader)
                transport.close()

    async def _pass_on(self, reader: asyncio.StreamReader) -> None:
        ids: list[list[int]] = []
        while True:
            op, channel, size, t_ns = tap.HEAD.unpack(await reader.readexactly(tap.HEAD.size))
            data = await reader.readexactly(size)
            if op == tap.MESSAGE:
                self.messages += 1
                for sink, numbers in zip(self.sinks, ids, strict=True):
                    sink.message(numbers[channel], t_ns, data)
            elif op == tap.CHANNELS:
                topics = tap.parse_channels(data)
                ids = [sink.channels(topics) for sink in self.sinks]
            else:
                self.dropped += json.loads(data)["dropped"]


async def _run(control: socket.socket, options: dict[str, Any]) -> dict[str, int]:
    server = rerun = None
    sinks: list[Sink] = []
    if options["listening"] >= 0:
        from headway.tools.view.foxglove import FoxgloveServer

        server = FoxgloveServer("Headway")
        await server.start(socket.socket(fileno=options["listening"]))
        sinks.append(server)
    if options["rerun"] is not None:
        from headway.tools.view.rerun import RerunSink, open_rerun

        rerun = RerunSink(open_rerun(**options["rerun"]))
        sinks.append(rerun)
    feeds = Feeds(sinks)
    closed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        try:
            text, fds, _, _ = socket.recv_fds(control, 16, 1)
        except OSError:  # connection reset: the run's process is gone
            text, fds = b"", []
        for fd in fds:
            feeds.add(fd)
        if not text:
            loop.remove_reader(control)
            closed.set()

    loop.add_reader(control, told)
    control.send(b"{}")
    await closed.wait()
    await feeds.end()
    for sink in sinks:
        await sink.close()
    found = {"messages": feeds.messages, "dropped": feeds.dropped}
    if server is not None:
        found |= {"clients": server.connected, "sent": server.sent, "lost": server.dropped}
    if rerun is not None:
        found["rerun"] = rerun.complete
    return found


def main(argv: list[str]) -> int:
    """Run the viewer process. `argv`: the file descriptor of the socket to the run, and the options
    as JSON. Returns the exit code."""
    outlive()
    with contextlib.suppress(OSError):  # give up an inherited real-time priority
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.nice(10)
    control = socket.socket(fileno=int(argv[0]))
    try:
        answer: dict[str, Any] = asyncio.run(_run(control, json.loads(argv[1])))
    except HeadwayError as e:
        answer = {"kind": type(e).__name__, "error": str(e)}
    with contextlib.suppress(OSError):  # the run no longer waits for it
        control.send(json.dumps(answer).encode())
    return int("error" in answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
