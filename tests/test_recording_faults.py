"""Killed processes, full disks, slow writers: what was acknowledged is in the file."""

import contextlib
import errno
import fcntl
import gc
import os
import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from mcap.reader import make_reader

from headway.edge.recording import link
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import RecordingError
from headway.mcaplog import open_recording

MS = 1_000_000
ROW = np.dtype([("t_ns", "<i8"), ("x", "<f8", (120,))])  # 968 bytes
CHANNELS = [Channel("/x", dtype=ROW)]


def rows_of(n, seed=3):
    rows = np.zeros(n, ROW)
    rows["t_ns"] = np.arange(n) * 2 * MS
    rows["x"] = np.random.default_rng(seed).normal(size=(n, 120))  # does not compress
    return rows


@contextlib.contextmanager
def deadline(seconds):
    """A hang is a failure, not a stuck suite."""

    def late(*_):
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def wait_for_writer(path):
    """The writer holds the file's lock as long as it lives."""
    fd = os.open(path, os.O_RDONLY)
    try:
        with deadline(30):
            fcntl.flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


PRODUCER = textwrap.dedent(
    """
    import os, sys
    import numpy as np
    from headway.edge.recording.recorder import Recorder
    from headway.edge.recording.schema import Channel
    row = np.zeros(1, np.dtype([("t_ns", "<i8"), ("x", "<f8", (120,))]))
    log = Recorder(sys.argv[1], [Channel("/x", dtype=row.dtype)], lossless=sys.argv[2] == "1")
    if sys.argv[3] == "fork" and os.fork() == 0:
        sys.stdin.read()  # a child that keeps every descriptor open
        os._exit(0)
    i = 0
    while True:
        row["t_ns"], row["x"] = i * 2_000_000, i
        log.write(0, i * 2_000_000, row[0])
        i += 1
        os.write(1, i.to_bytes(4, "little"))
    """
)


@pytest.mark.parametrize(("lossless", "fork"), [("1", ""), ("0", ""), ("1", "fork")])
def test_what_was_written_before_the_loop_was_killed_is_recorded(tmp_path, lossless, fork):
    path = tmp_path / "a.mcap"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PRODUCER, str(path), lossless, fork]
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as producer:
        with deadline(60):
            producer.stdout.read(4 * 1000)  # a thousand rows at least
        producer.kill()
        with deadline(30):
            os.waitid(os.P_PID, producer.pid, os.WEXITED | os.WNOWAIT)
        wait_for_writer(path)  # while the forked child still lives
        producer.stdin.close()
        told = 1000 + len(producer.stdout.read()) // 4
    log = open_recording(path)
    assert not log.truncated
    assert log.end["end"] == "the loop's process ended"
    found = log.rows("/x")
    assert len(found) in (told, told + 1)  # killed between the write and telling us
    assert (found["t_ns"] == np.arange(len(found)) * 2 * MS).all()
    assert (found["x"] == np.arange(len(found))[:, None]).all()
    with open(path, "rb") as f:
        assert make_reader(f).get_summary().statistics.message_count == len(found)


def test_what_was_acknowledged_before_the_writer_was_killed_is_in_the_file(tmp_path):
    rows = rows_of(800)
    log = Recorder(tmp_path / "a.mcap", CHANNELS, lossless=True)
    for i in range(500):
        log.write(0, int(rows["t_ns"][i]), rows[i])
    log.flush()
    assert log.acknowledged == 500
    for i in range(500, 800):
        log.write(0, int(rows["t_ns"][i]), rows[i])
    os.kill(log.writer_pid, signal.SIGKILL)
    os.waitid(os.P_PID, log.writer_pid, os.WEXITED | os.WNOWAIT)
    kept = log.acknowledged
    assert kept >= 500
    with pytest.raises(RecordingError, match=f"signal 9; the first {kept} of 800"):
        log.check()
    with pytest.raises(RecordingError, match="signal 9"):
        log.write(0, 0, rows[0])  # lossless: it must not seem to work
    with pytest.raises(RecordingError, match="signal 9"):
        log.close()
    log.close()
    assert log.acknowledged == kept
    found = open_recording(tmp_path / "a.mcap")
    assert found.truncated
    got = found.rows("/x")
    assert len(got) >= kept
    assert got.tobytes() == rows[: len(got)].tobytes()


def test_a_killed_writer_does_not_stop_a_loop_in_real_time(tmp_path):
    rows = rows_of(1)
    log = Recorder(tmp_path / "a.mcap", CHANNELS, lossless=False, capacity_bytes=100_000)
    os.kill(log.writer_pid, signal.SIGKILL)
    os.waitid(os.P_PID, log.writer_pid, os.WEXITED | os.WNOWAIT)
    for i in range(300):
        log.write(0, i, rows[0])
    fits = 100_000 // ROW.itemsize  # it is told by `check`, not by each message
    assert (log.written, log.dropped, log.acknowledged) == (fits, 300 - fits, 0)
    with pytest.raises(RecordingError, match="signal 9"):
        log.check()
    with pytest.raises(RecordingError, match="signal 9"):
        log.flush()
    with pytest.raises(RecordingError, match="signal 9"):
        log.close()


def test_ctrl_c_and_terminate_do_not_end_the_writer(tmp_path):
    rows = rows_of(2)
    with Recorder(tmp_path / "a.mcap", CHANNELS, lossless=True) as log:
        log.write(0, 0, rows[0])
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(log.writer_pid, s)
        log.write(0, 2, rows[1])
    assert len(open_recording(tmp_path / "a.mcap").rows("/x")) == 2


@pytest.mark.parametrize("lossless", [True, False])
def test_a_full_disk_is_reported_and_leaves_what_was_acknowledged(tmp_path, lossless):
    rows = rows_of(3000)
    log = Recorder(tmp_path / "a.mcap", CHANNELS, lossless=lossless, chunk_bytes=100_000)
    resource.prlimit(log.writer_pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    full = pytest.raises(RecordingError, match=r"File too large.*free space")
    with deadline(60), full:  # in lossless mode `write` says it, else `flush`
        for i in range(3000):
            log.write(0, int(rows["t_ns"][i]), rows[i])
        log.flush()
    with pytest.raises(RecordingError, match="File too large"):
        log.close()
    assert log.acknowledged > 500
    found = open_recording(tmp_path / "a.mcap")
    assert found.truncated
    assert found.rows("/x").tobytes() == rows[: log.acknowledged].tobytes()


def test_lossless_waits_for_a_slow_writer(tmp_path):
    rows = rows_of(3000)
    with (
        deadline(60),
        Recorder(tmp_path / "a.mcap", CHANNELS, lossless=True, capacity_bytes=5000) as log,
    ):
        for i in range(3000):
            log.write(0, int(rows["t_ns"][i]), rows[i])
    assert (log.written, log.dropped) == (3000, 0)
    assert open_recording(tmp_path / "a.mcap").rows("/x").tobytes() == rows.tobytes()


@pytest.mark.parametrize("capacity", [5000, 200 << 20])
def test_real_time_never_waits_and_counts_what_it_drops(tmp_path, capacity):
    """The writer stands still; first the ring runs full, then, with a large one, that of notes."""
    rows = rows_of(10)
    n = 40_000 if capacity > 5000 else 100
    log = Recorder(tmp_path / "a.mcap", CHANNELS, lossless=False, capacity_bytes=capacity)
    os.kill(log.writer_pid, signal.SIGSTOP)
    os.waitid(os.P_PID, log.writer_pid, os.WSTOPPED | os.WNOWAIT)
    with deadline(60):
        for i in range(n):
            log.write(0, i, rows[i % 10])
    written = log.written
    assert 0 < written < n
    assert log.dropped == n - written
    os.kill(log.writer_pid, signal.SIGCONT)
    log.flush()
    log.write(0, n, rows[0])
    log.close()
    found = open_recording(tmp_path / "a.mcap")
    messages = list(found.messages("/x"))
    assert [m.seq for m in messages] == [*range(written), n]  # the gap shows the loss
    first = min(10, written)
    assert found.rows("/x")[:first].tobytes() == rows[:first].tobytes()
    assert found.end["dropped"] == str(n - written)


@contextlib.contextmanager
def standing_still(log):
    os.kill(log.writer_pid, signal.SIGSTOP)
    os.waitid(os.P_PID, log.writer_pid, os.WSTOPPED | os.WNOWAIT)
    try:
        with deadline(60):
            yield
    finally:
        os.kill(log.writer_pid, signal.SIGCONT)


def always(check):
    while True:
        check()


def test_in_real_time_a_writer_that_hangs_is_told(tmp_path, monkeypatch):
    """As on a network drive that is gone: the process lives, and takes nothing any more."""
    monkeypatch.setattr(link, "SILENT_S", 0.1)
    rows = rows_of(10)
    log = Recorder(tmp_path / "a.mcap", CHANNELS, lossless=False)
    log.write(0, 0, rows[0])
    log.flush()
    log.check()
    with standing_still(log):
        log.write(0, 1, rows[1])
        with pytest.raises(RecordingError, match=r"taken nothing for 0\.1 s; the first 1 of 2 "):
            always(log.check)
    log.close()
    assert len(open_recording(tmp_path / "a.mcap").rows("/x")) == 2


def test_closing_does_not_wait_for_ever_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(link, "SILENT_S", 0.1)
    rows = rows_of(10)
    log = Recorder(tmp_path / "a.mcap", CHANNELS, lossless=False)
    log.write(0, 0, rows[0])
    with standing_still(log), pytest.raises(RecordingError, match=r"closes the file once it no"):
        log.close()
    wait_for_writer(tmp_path / "a.mcap")  # the disk is back
    assert len(open_recording(tmp_path / "a.mcap").rows("/x")) == 1


def test_an_exception_in_the_run_is_not_hidden_by_the_recorder(tmp_path):
    def run():
        with Recorder(tmp_path / "a.mcap", CHANNELS, lossless=True) as log:
            os.kill(log.writer_pid, signal.SIGKILL)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()


def test_a_writer_that_cannot_be_started_is_a_recording_error(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    gc.collect()
    before = _open()
    monkeypatch.setattr(link.subprocess, "Popen", refused)
    with pytest.raises(RecordingError, match=r"none can be started \(Resource temporarily"):
        Recorder(tmp_path / "a.mcap", CHANNELS, lossless=True)
    assert _open() <= before


def test_nothing_is_left_behind(tmp_path):
    gc.collect()  # what earlier tests dropped is closed now; their threads may still close more
    before = _open(), set(os.listdir("/dev/shm"))
    Recorder(tmp_path / "a.mcap", CHANNELS, lossless=True).close()
    log = Recorder(tmp_path / "b.mcap", CHANNELS, lossless=True)
    os.kill(log.writer_pid, signal.SIGKILL)
    with pytest.raises(RecordingError):
        log.close()
    with pytest.raises(RecordingError):
        Recorder(tmp_path / "a.mcap", CHANNELS, lossless=True)
    assert _open() <= before[0]
    assert set(os.listdir("/dev/shm")) <= before[1]


def _open():
    """Descriptors of this process with what they lead to: a number taken again is another one."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists the folder
            found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
    return found
