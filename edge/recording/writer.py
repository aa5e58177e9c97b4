"""The recorder process: takes messages from the ring and writes them as chunks of an MCAP file.

Started by `Recorder` with the numbers of the descriptors it inherits. It outlives the loop's
process for as long as it takes to write what was noted: the end of the loop, whether by `close`, an
exception or SIGKILL, is seen on the doorbell pipe and on a pidfd, and the file gets its footer.

Chunks end when they are large enough or span `AGE_NS` of *recorded* time, never by the wall clock:
equal input gives equal bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from mcap.writer import Writer

from headway.child import outlive
from headway.edge.recording import messages, ring
from headway.edge.recording.ring import NOTE, Ring
from headway.edge.recording.schema import Channel, struct_schema
from headway.edge.recording.tap import Feed, Tap, Topic
from headway.mcapfile import RUN
from headway.wire import RowLayout

AGE_NS = 500_000_000
GATHER_MS = 5  # take messages in batches rather than wake up for each
BATCH = 1024


class File:
    """Unbuffered: what `write` returned from is with the operating system."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.at = 0

    def write(self, data: bytes) -> int:
        """Write all of `data`, and return its length. Raises OSError."""
        view = memoryview(data)
        while view:
            n = os.write(self.fd, view)
            self.at += n
            view = view[n:]
        return len(data)

    def tell(self) -> int:
        return self.at

    def flush(self) -> None:
        """Does nothing: there is no buffer."""


@dataclass
class _Out:
    """An MCAP channel: rows of `layout`, and the views drawn from them."""

    id: int
    index: int
    channel: Channel
    layout: RowLayout | None
    views: list[_Out]
    rows: int = 0


class Log:
    """The MCAP file. `acknowledged` counts the messages of `add` that are in it. `tap`, if any,
    sees the messages before they are."""

    def __init__(self, fd: int, setup: dict[str, Any], tap: Tap | None) -> None:
        self.tap = tap
        self.file = File(fd)
        self.mcap: Any = Writer(self.file, chunk_size=1 << 62)  # type: ignore[arg-type]
        self.mcap.start(library=setup["library"])
        self.mcap.add_metadata("headway", setup["metadata"])
        if setup["run"]:
            self.mcap.add_metadata(RUN, setup["run"])
        self.chunk_bytes = int(setup["chunk_bytes"])
        channels = [Channel.from_json(c) for c in setup["channels"]]
        topics: list[Topic] = []
        self.outs = [self._register(c, topics) for c in channels]
        if tap is not None:
            tap.channels(topics)
        for out in self.outs:
            out.views = [o for o in self.outs if o.channel.source == out.channel.topic]
        self.added = self.acknowledged = self._size = self._t0 = 0
        self.good = self.file.at  # the file is whole up to here

    def _register(self, c: Channel, topics: list[Topic]) -> _Out:
        encodings = "protobuf", "protobuf"  # of the messages and of their schema
        if c.kind == "struct":
            name, schema = struct_schema(c)
        elif c.kind == "json":
            name, schema = c.schema_name, c.json_schema.encode()
            encodings = "json", "jsonschema"
        else:
            from mcap_protobuf.schema import build_file_descriptor_set

            name = messages.CLASSES[c.kind].DESCRIPTOR.full_name
            schema = build_file_descriptor_set(messages.CLASSES[c.kind]).SerializeToString()
        schema_id = self.mcap.register_schema(name, encodings[1], schema)
        n = self.mcap.register_channel(c.topic, encodings[0], schema_id, c.metadata())
        topics.append(Topic(c.topic, c.kind, name, schema, tuple(c.metadata().items())))
        return _Out(n, len(topics) - 1, c, RowLayout(c.dtype) if c.dtype is not None else None, [])

    def add(self, channel: int, t_ns: int, seq: int, payload: bytes) -> None:
        """Raises OSError when a chunk cannot be written."""
        if self._size and t_ns - self._t0 >= AGE_NS:
            self.flush()
        if not self._size:
            self._t0 = t_ns
        out = self.outs[channel]
        if out.layout is None:
            self._put(out, t_ns, seq, messages.ENCODERS[out.channel.kind](t_ns, payload))
        else:
            self._put(out, t_ns, seq, out.layout.encode_bytes(payload))
            for view in out.views:
                if out.rows % view.channel.every == 0:
                    row = np.frombuffer(payload, out.layout.dtype, 1)[0]
                    data = messages.VIEWS[view.channel.kind](t_ns, row, view.channel)
                    if data is not None:
                        self._put(view, t_ns, out.rows // view.channel.every, data)
        out.rows += 1
        self.added += 1
        if self._size >= self.chunk_bytes:
            self.flush()

    def _put(self, out: _Out, t_ns: int, seq: int, data: bytes) -> None:
        self.mcap.add_message(out.id, t_ns, data, t_ns, seq)
        if self.tap is not None:
            self.tap.offer(out.index, t_ns, data)
        self._size += len(data) + 31

    def flush(self) -> None:
        """Write the chunk to the file and acknowledge its messages. Raises OSError."""
        self.mcap.flush()
        self.good, self.acknowledged, self._size = self.file.at, self.added, 0

    def finish(self, how: str, dropped: int | None) -> None:
        """Write what is left, how the recording ended (`how`), and the footer. `dropped`: how many
        messages found no room, None where the loop can no longer say. Raises OSError."""
        self.flush()
        end = {"end": how, "messages": str(self.added)}
        if dropped is not None:
            end["dropped"] = str(dropped)
        self.mcap.add_metadata("headway.end", end)
        self.mcap.finish()


def _serve(log: Log, shared: Ring, bell: int, status: int, parent: int) -> None:
    """Until the loop closes, or is gone."""
    words, memory = shared.words, shared.memory
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    gone = -1
    with contextlib.suppress(OSError, AttributeError):  # Linux < 5.3: the pipe alone tells
        gone = os.pidfd_open(parent)
        poll.register(gone, select.POLLIN)
    taken = seen = 0
    while True:
        died = woken = False
        for fd, _ in poll.poll(GATHER_MS):
            knocks = os.read(bell, 1 << 16) if fd == bell else b""
            if not knocks:
                died = True
            elif ring.NOW not in knocks:
                time.sleep(GATHER_MS / 1000)
            woken = True
        noted = words[ring.NOTED]
        upto = noted if died or woken else seen  # see `ring`
        seen = noted
        while taken < upto:
            at = ring.HEADER + taken % ring.NOTES * NOTE.size
            channel, op, seq, length, t_ns, pos = NOTE.unpack_from(memory, at)
            if op == ring.CLOSE:
                return log.finish("closed", length)
            if op == ring.FLUSH:
                log.flush()
            else:
                at = ring.PAYLOAD + pos % shared.capacity
                log.add(channel, t_ns, seq, memory[at : at + length])
                shared.fence()  # the payload was read before the loop may overwrite it
                words[ring.CONSUMED] = pos + length
            words[ring.ACKNOWLEDGED] = log.acknowledged
            taken += 1
            shared.fence()  # and so was the note
            words[ring.TAKEN] = taken
            if taken % BATCH == 0:  # somebody may wait for room
                _wake(status)
        _wake(status)
        if log.tap is not None:
            log.tap.flush()
        if died:
            return log.finish("the loop's process ended", None)


def _wake(status: int) -> None:
    # full: the loop has wakes to read; broken: it is gone, which the doorbell tells
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(status, b".")


def main(argv: list[str]) -> int:
    """Run the writer process. `argv`: the file descriptors of the shared memory, the doorbell, the
    status pipe and the file, then the id of the loop's process; with a live view also the
    descriptor and the rate [Hz] of its feed. Returns the exit code."""
    memory, bell, status, fd, parent = (int(a) for a in argv[:5])
    tap = Tap(Feed(int(argv[5]), float(argv[6]))) if argv[5:] else None
    outlive()
    with contextlib.suppress(OSError):  # never at the loop's real-time priority
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    shared = Ring(memory)
    log: Log | None = None
    try:
        size = shared.words[ring.SETUP]
        setup = json.loads(shared.memory[ring.PAYLOAD : ring.PAYLOAD + size])
        log = Log(fd, setup, tap)
        shared.become(ring.READY)
        _wake(status)
        _serve(log, shared, bell, status, parent)
        shared.words[ring.ACKNOWLEDGED] = log.acknowledged
        shared.become(ring.DONE)
    except Exception as e:
        if log is not None:  # half a chunk is of no use to anybody, and a full disk gets it back
            with contextlib.suppress(OSError):
                os.ftruncate(fd, log.good)
        text = e.strerror or str(e) if isinstance(e, OSError) else f"{type(e).__name__}: {e}"
        shared.fail(text)
        return 1
    finally:
        _wake(status)
        if tap is not None:
            tap.finish()
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # the loop waits for this: nothing is left that an orderly end would do
