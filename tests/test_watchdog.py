"""The watchdog outside the loop's process."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loop_rig import Policy, Rig, check_log
from null_robot import null_table

from headway.edge.host.watchdog import LOOKS, Beats, Watchdog
from headway.errors import DeviceError
from headway.mcaplog import open_recording


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_it_acts_exactly_after_so_many_looks_without_a_tick(looks):
    """Each look: did a tick happen since the last one, and is it armed."""
    beats, beat, still = Beats(), 0, -1
    for ticked, armed in looks:
        beat += ticked
        still = still + 1 if armed and not ticked and still >= 0 else 0
        assert beats.look(beat, armed) == (still >= LOOKS)


def loop(body, tmp_path):
    """A process with a watchdog around `body`; its exit code and what it said."""
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from headway.edge.host.watchdog import Watchdog
        dog = Watchdog(0.1, 500.0, {kind!r}, {{"a": 1}}).__enter__()
        print(dog.pid, flush=True)
        dog.arm(Path({path!r}))
        dog.beat()
    """)
    code = script.format(kind="null", path=str(tmp_path / "e.mcap")) + textwrap.dedent(body)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env,
        stdin=subprocess.PIPE if "stdin" not in body else None,
    )  # fmt: skip


def test_a_loop_that_is_stuck_is_killed_and_the_reason_lies_beside_the_recording(tmp_path):
    done = loop("import signal; signal.pause()", tmp_path)
    assert done.returncode == -signal.SIGKILL
    note = (tmp_path / "e.watchdog.txt").read_text()
    assert note.startswith("no tick for 0.1 s, after 1: the arm of kind null has no stop")
    assert "the loop's process was killed" in note
    assert "headway watchdog: no tick" in done.stderr


def test_a_stop_that_needs_no_loop_is_used_first(tmp_path, monkeypatch):
    drivers = tmp_path / "stopping.py"
    drivers.write_text(
        "from pathlib import Path\n"
        "def remote_stop(table):\n"
        f"    Path({str(tmp_path / 'stopped')!r}).write_text(str(table))\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    from headway.edge.host import watchdog

    monkeypatch.setattr(watchdog.plugins, "load", lambda folder, kind: __import__(kind))
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    fd = os.pidfd_open(child.pid)
    said = watchdog.act(fd, {"kind": "stopping", "table": {"ip": "x"}})
    assert said == "the arm was stopped; the loop's process was killed"
    assert (tmp_path / "stopped").read_text() == "{'ip': 'x'}"
    assert child.wait(20) == -signal.SIGKILL
    os.close(fd)


def test_a_stop_that_fails_does_not_save_the_loop(monkeypatch):
    from headway.edge.host import watchdog

    def fails(folder, kind):
        raise OSError("no route to host")

    monkeypatch.setattr(watchdog.plugins, "load", fails)
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    fd = os.pidfd_open(child.pid)
    assert "not stopped (OSError: no route to host)" in watchdog.act(fd, {"kind": "x", "table": {}})
    assert child.wait(20) == -signal.SIGKILL
    os.close(fd)


def test_it_ends_with_the_loop(tmp_path):
    done = loop("dog.disarm(); import os; os._exit(3)", tmp_path)
    assert done.returncode == 3
    pid = int(done.stdout.split()[0])
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(20_000)
    os.close(fd)


def test_leaving_the_block_ends_it():
    with Watchdog(5.0, 500.0, "null", {}) as dog:
        pid = dog.pid
        dog.arm(Path("x.mcap"))
        dog.beat()
    with pytest.raises(ProcessLookupError):
        os.pidfd_open(pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_watchdog_that_does_not_look_is_noticed(how):
    with Watchdog(0.05, 100.0, "null", {}) as dog:
        dog.arm(Path("x.mcap"))
        assert dog.beat()
        os.kill(dog.pid, how)
        os.waitid(os.P_PID, dog.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        dog.arm(Path("x.mcap"))  # a new episode begins to count afresh
        assert [dog.beat() for _ in range(12)] == [True] * 9 + [False] * 3
        if how == signal.SIGSTOP:
            os.kill(dog.pid, signal.SIGCONT)
            while not dog.beat():  # it looks again
                os.sched_yield()


def test_a_loop_that_nobody_watches_stops_the_arm(tmp_path):
    rig = Rig(null_table(), Policy())
    with Watchdog(0.05, 100.0, "null", {}) as dog:
        rig.loop.watchdog = dog
        os.kill(dog.pid, signal.SIGKILL)
        os.waitid(os.P_PID, dog.pid, os.WEXITED | os.WNOWAIT)
        result = rig.run(tmp_path / "e.mcap")
    assert (result.end, result.ticks) == ("fault", 10)
    assert "nobody watches the loop" in result.why
    rig.check_arm()
    check_log(tmp_path / "e.mcap", "error: fault: the watchdog process was killed or hangs")


def test_in_a_real_time_run_a_stuck_loop_is_killed_and_its_recording_closed(write, both, tmp_path):
    """The arm's driver never comes back from a call: the recording holds every tick before."""
    code = textwrap.dedent("""
        import signal, sys
        from headway.__main__ import main
        from headway.drivers.arms.null import NullArm
        usual, calls = NullArm.command, [0]
        def command(self, q, *, deadline_ns):
            calls[0] += 1
            if calls[0] == 100:
                signal.pause()
            return usual(self, q, deadline_ns=deadline_ns)
        NullArm.command = command
        main(sys.argv[1:])
    """)
    table = {**both, "loop": {**null_table()["loop"], "watchdog_s": 0.2}}
    arguments = ["run", "--config", str(write(**table)), "--out", str(tmp_path / "o")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--realtime", "--episodes", "1"],
        capture_output=True, text=True, timeout=100, env=env,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    made = tmp_path / "o" / "episode_0.mcap"
    assert "no tick for 0.2 s" in made.with_suffix(".watchdog.txt").read_text()
    for _ in range(2000):  # its own process closes it now
        if not (recording := open_recording(made)).truncated:
            break
        os.sched_yield()
    assert recording.end["end"] == "the loop's process ended"
    assert len(recording.rows("/telemetry")) == 100


def test_a_watchdog_that_ends_at_once_is_told_and_leaves_nothing_open(monkeypatch):
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("headway.edge.host.watchdog.sys.executable", "/bin/true")
    with pytest.raises(DeviceError, match="ended at once") as told:
        Watchdog(0.1, 500.0, "null", {})
    assert len(os.listdir("/proc/self/fd")) == before
    assert told.traceback  # which still holds the watchdog
