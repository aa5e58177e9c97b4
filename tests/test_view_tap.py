"""The writer's tap: what goes down the pipe is what was offered, and a stuck view costs itself."""

import json
import os

import numpy as np
import pytest

from headway.edge.recording import tap
from headway.edge.recording.tap import END, HEAD, MESSAGE, Feed, Tap, Topic, parse_channels

MS = 1_000_000
ROWS = Topic("/rows", "struct", "headway.Rows", b"\x00schema", (("headway.dtype", "[]"),))
LOG = Topic("/log", "log", "foxglove.Log", b"log")


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def records(data):
    out, at = [], 0
    while at < len(data):
        op, channel, size, t_ns = HEAD.unpack_from(data, at)
        at += HEAD.size
        out.append((op, channel, t_ns, data[at : at + size]))
        at += size
    assert at == len(data)
    return out


def read_all(fd):
    data = b""
    while part := os.read(fd, 1 << 20):
        data += part
    return records(data)


def offered(times, hz=50.0, topic=ROWS):
    """The times [ns] that pass."""
    reading, writing = os.pipe()
    t = Tap(Feed(writing, hz))
    t.channels([topic])
    for t_ns in times:
        t.offer(0, int(t_ns), b"x")
    t.finish()
    found = [r[2] for r in read_all(reading) if r[0] == MESSAGE]
    os.close(reading)
    return found


def test_what_was_offered_comes_out_as_it_was(pipe):
    t = Tap(Feed(pipe[1], 1000.0))
    t.channels([ROWS, LOG])
    sent = [(MESSAGE, i % 2, i * MS, bytes([i]) * i) for i in range(100)]
    for _, channel, t_ns, data in sent:
        t.offer(channel, t_ns, data)
    t.flush()
    t.finish()
    first, *rest, last = read_all(pipe[0])
    assert parse_channels(first[3]) == [ROWS, LOG]
    assert rest == sent
    assert (last[0], json.loads(last[3])) == (END, {"dropped": 0})


def test_500_hz_become_50_whatever_the_jitter_and_the_log_is_whole():
    grid = np.arange(5000) * 2 * MS
    assert offered(grid) == list(range(0, 10_000 * MS, 20 * MS))
    jitter = np.random.default_rng(1).integers(-MS // 2, MS // 2, 5000)
    assert 498 <= len(offered(grid + MS + jitter)) <= 501
    as_fast = np.arange(500) * 20 * MS + np.resize([1, 0, 2], 500)
    assert len(offered(as_fast)) >= 499
    assert offered(grid[:1000], topic=LOG) == grid[:1000].tolist()


def test_after_a_pause_the_rate_is_not_made_up_for():
    times = [0, 20 * MS, *range(5000 * MS, 5100 * MS, MS)]
    assert offered(times) == [0, 20 * MS, *range(5000 * MS, 5100 * MS, 20 * MS)]


def test_a_stuck_view_loses_messages_and_nobody_waits(pipe, monkeypatch):
    monkeypatch.setattr(tap, "LIMIT", 200_000)
    t = Tap(Feed(pipe[1], 1e4))
    t.channels([ROWS])
    for i in range(1000):
        t.offer(0, i * MS, i.to_bytes(2, "little") * 1500)
        t.flush()
        assert t._size <= 200_000 + HEAD.size
    # the pipe's 64 KiB and the queue's 200 kB hold about 88 of the thousand
    assert 900 < t.dropped < 950
    kept = 1000 - t.dropped
    os.set_blocking(pipe[0], False)
    data = b""
    while t._queue:
        data += os.read(pipe[0], 1 << 16)
        t.flush()
    t.finish()
    os.set_blocking(pipe[0], True)
    while part := os.read(pipe[0], 1 << 16):
        data += part
    got = records(data)
    assert [r[3] for r in got[1:-1]] == [i.to_bytes(2, "little") * 1500 for i in range(kept)]
    assert json.loads(got[-1][3]) == {"dropped": t.dropped}


def test_a_view_that_is_stuck_at_the_end_is_left(pipe):
    t = Tap(Feed(pipe[1], 1e4))
    t.channels([ROWS])
    t.offer(0, 0, bytes(1 << 20))
    t.finish(wait_s=0.0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe[1])


def test_a_view_that_is_gone_is_forgotten():
    reading, writing = os.pipe()
    t = Tap(Feed(writing, 1e4))
    t.channels([ROWS])
    os.close(reading)
    t.flush()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writing)
    t.offer(0, 0, b"x")
    t.flush()
    t.finish()
    assert t.dropped == 0
    assert not t._queue
