"""A run that is asked to end: the arm is stopped, the recording closed, whatever asked and when.

Each run is a process on the wall clock, on null devices, with a policy in a process of its own. The
arm tells through a pipe what it is told: "c" for a command, "S" for a stop.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import textwrap
from pathlib import Path

import pytest
from null_robot import NO_REALTIME, null_table

from headway.edge.control.ending import EXIT_INTERRUPTED
from headway.edge.control.result import Result, success_of
from headway.mcaplog import open_recording
from headway.tools.recorded import result_of
from headway.tools.run.summary import success_line

PRELUDE = """
import os, signal, sys, time
from headway.drivers.arms.null import NullArm
TOLD, calls = int(sys.argv.pop(1)), [0]
command, stop = NullArm.command, NullArm.stop
def told_command(self, q, *, deadline_ns):
    calls[0] += 1
    os.write(TOLD, b"c")
    at(calls[0])
    return command(self, q, deadline_ns=deadline_ns)
def told_stop(self, category=2):
    os.write(TOLD, b"S")
    return stop(self, category)
def at(n):
    pass
NullArm.command, NullArm.stop = told_command, told_stop
"""
RUN = """
from headway.__main__ import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""
MOVING = 60  # commands after which the arm is under way


class Started:
    """`headway run` as a process; `begun` when the arm has had MOVING commands."""

    def __init__(self, config, out, *args, extra="", episodes=1, realtime=True, **popen):
        self.out = out
        reading, writing = os.pipe()
        arguments = ["run", "--config", config, "--out", out, "--episodes", episodes, *args]
        arguments += ["--realtime"] if realtime else []
        script = PRELUDE + textwrap.dedent(extra) + RUN
        popen = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **popen}
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(writing), *map(str, arguments)],
            pass_fds=(writing,), stderr=subprocess.PIPE, start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}, **popen,
        )  # fmt: skip
        os.close(writing)
        self._told, self.told = reading, b""

    def until(self, n):
        """Read what the arm is told until it had `n` words."""
        while len(self.told) < n:
            data = os.read(self._told, 1 << 12)
            assert data, self.process.communicate(timeout=60)
            self.told += data
        return self

    def end(self):
        """Exit code, and all that was printed."""
        said, error = self.process.communicate(timeout=120)
        while data := os.read(self._told, 1 << 12):
            self.told += data
        os.close(self._told)
        return self.process.returncode, (said or b"").decode() + error.decode()

    def processes(self):
        """The run's process and all that it started."""
        parents = {}
        for p in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # one that ended meanwhile
                parents[int(p.name)] = int((p / "stat").read_text().rpartition(")")[2].split()[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def check(self, episode=0):
        """The arm was stopped last; the recording is closed and its episode has no outcome."""
        assert self.told.endswith(b"cS")
        log = open_recording(self.out / f"episode_{episode}.mcap")
        assert not log.truncated
        assert log.end["end"] == "closed"
        result = result_of(log)
        assert (result.end, result.success) == ("interrupted", None)
        assert success_line([result]) == ""
        assert len(log.rows("/telemetry")) >= MOVING
        assert not (self.out / f"episode_{episode}.watchdog.txt").exists()


@pytest.fixture
def robot(write, both):
    """A configuration whose episodes are longer than any test."""
    loop = {"tare_s": 0.01, "max_age_s": 5.0, "camera_max_age_s": 5.0, "chunk_max_age_s": 5.0}
    task = null_table()["task"] | {"limit_s": 300.0}
    return lambda **loop_too: write(
        task=task, loop=loop | {"watchdog_s": 10.0} | loop_too, realtime=NO_REALTIME, **both
    )


def test_which_episodes_count():
    """Only those that were asked to end have no outcome."""

    def one(end, success):
        return Result(
            end=end, success=success, seconds=1.0, ticks=500, retries=0, rejected=0, missed=0,
            peak_force=0.0, reward=0.0,
        )  # fmt: skip

    ends = ("done", "time limit", "protective stop", "fault")
    for end in ends:
        for said in (True, False, None):
            assert success_of(end, said) is said
    for said in (True, False, None):
        assert success_of("interrupted", said) is None
    asked = [one("interrupted", True), one("interrupted", False)]
    assert success_line(asked) == ""
    assert success_line([*asked, one("fault", False), one("done", True)]).startswith("success 1/2")


SLOW = pytest.mark.slow  # of several of one kind, most run with `make test-slow`
ASKS = (pytest.param("SIGINT", marks=SLOW), "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP")


@pytest.mark.parametrize("name", ASKS)
def test_a_signal_to_the_runs_group_stops_the_arm_and_closes_the_recording(robot, tmp_path, name):
    run = Started(robot(), tmp_path / "o", episodes=3).until(MOVING)
    os.killpg(run.process.pid, getattr(signal, name))
    code, said = run.end()
    assert code == EXIT_INTERRUPTED, said
    run.check()
    assert f"interrupted by {name}: what was recorded is complete and closed" in said
    assert "Traceback" not in said
    assert not (tmp_path / "o" / "episode_1.mcap").exists()


@pytest.mark.parametrize("name", [pytest.param("SIGTERM", marks=SLOW), "SIGQUIT"])
def test_so_does_one_to_every_process_of_the_run(robot, tmp_path, name):
    """As a service manager sends it: recorder, policy, view and watchdog outlive the loop."""
    run = Started(robot(), tmp_path / "o", "--view", "--view-port", 0).until(MOVING)
    everybody = run.processes()
    assert len(everybody) >= 5
    for pid in reversed(everybody):
        os.kill(pid, getattr(signal, name))
    code, said = run.end()
    assert code == EXIT_INTERRUPTED, said
    run.check()


def test_on_a_virtual_clock_too(robot, tmp_path):
    run = Started(robot(), tmp_path / "o", realtime=False).until(MOVING)
    os.killpg(run.process.pid, signal.SIGHUP)
    assert run.end()[0] == EXIT_INTERRUPTED
    run.check()


def test_before_the_first_episode_what_was_begun_is_given_up(robot, tmp_path):
    """While models are opened, for one."""
    extra = """
        from headway.edge.control import build
        def load(path, trust):
            os.write(TOLD, b"b")
            time.sleep(100)
        build.bundle.load = load
    """
    for name in ("SIGHUP", "SIGTERM"):
        run = Started(robot(), tmp_path / "o", extra=extra).until(1)
        os.killpg(run.process.pid, getattr(signal, name))
        code, said = run.end()
        assert code == EXIT_INTERRUPTED, said
        assert f"interrupted by {name} before the first episode" in said
        assert not list((tmp_path / "o").glob("*"))


def test_a_second_signal_ends_a_loop_that_is_stuck_and_the_arm_is_told_to_stop(robot, tmp_path):
    """The driver never comes back from a call; the watchdog is far away."""
    extra = """
        from headway.edge.control import ending
        from headway.edge.control.ending import Ending
        ending.AGAIN_S = 0.0
        def at(n):
            if n == 100:
                while True:
                    time.sleep(100)
        ask = Ending.ask
        def told_ask(self, why):
            ask(self, why)
            os.write(TOLD, b"A")
        Ending.ask = told_ask
    """
    run = Started(robot(), tmp_path / "o", extra=extra).until(100)
    os.kill(run.process.pid, signal.SIGTERM)
    run.until(101)  # asked once; nothing comes of it
    os.kill(run.process.pid, signal.SIGQUIT)
    code, said = run.end()
    assert code == -signal.SIGQUIT, said
    assert run.told.endswith(b"cAS")
    path = tmp_path / "o" / "episode_0.mcap"
    for _ in range(200_000):  # its own process closes it now
        if not (log := open_recording(path)).truncated:
            break
        os.sched_yield()
    assert log.end["end"] == "the loop's process ended"
    assert len(log.rows("/telemetry")) == 100


def test_what_asks_once_and_sends_twice_asks_once(robot, tmp_path):
    """SIGHUP by the kernel and by the shell; `timeout` to a process and to its group."""
    extra = """
        from headway.edge.control import ending
        ending.AGAIN_S = 100.0
    """
    run = Started(robot(), tmp_path / "o", extra=extra).until(MOVING)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(run.process.pid, number)
        os.killpg(run.process.pid, number)
    assert run.end()[0] == EXIT_INTERRUPTED
    run.check()


def test_a_hangup_is_no_second_request(robot, tmp_path):
    extra = """
        from headway.edge.control import ending
        ending.AGAIN_S = 0.0
    """
    run = Started(robot(), tmp_path / "o", extra=extra).until(MOVING)
    for _ in range(3):
        os.kill(run.process.pid, signal.SIGHUP)
        os.killpg(run.process.pid, signal.SIGHUP)
    assert run.end()[0] == EXIT_INTERRUPTED
    run.check()


def test_a_signal_that_was_ignored_stays_ignored(write, both, tmp_path):
    """`nohup headway run ... &`."""
    task = null_table()["task"] | {"limit_s": 0.4}
    loop = {"tare_s": 0.01, "max_age_s": 5.0, "camera_max_age_s": 5.0}
    config = write(task=task, loop=loop, realtime=NO_REALTIME, **both)
    extra = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    run = Started(config, tmp_path / "o", extra=extra).until(MOVING)
    os.killpg(run.process.pid, signal.SIGHUP)
    code, said = run.end()
    assert code == 0, said
    assert "time limit" in said


class Terminal:
    """A terminal that the run has for its own, as over ssh."""

    def __init__(self):
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, b"\x18\x00\x50\x00\x00\x00\x00\x00")

    def start(self, *args, **kwargs):
        own = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        run = Started(
            *args, extra=own + textwrap.dedent(kwargs.pop("extra", "")), stdin=self.theirs,
            stdout=self.theirs, **kwargs,
        )  # fmt: skip
        os.close(self.theirs)
        return run

    def close(self):
        os.close(self.ours)


@pytest.mark.parametrize("panel", [(), pytest.param(("--panel",), marks=SLOW)])
def test_a_terminal_that_is_closed(robot, tmp_path, panel):
    """SIGHUP comes, and all that is printed from then on fails."""
    terminal = Terminal()
    run = terminal.start(robot(), tmp_path / "o", *panel, episodes=3).until(MOVING)
    terminal.close()
    code, said = run.end()
    assert code == EXIT_INTERRUPTED, said
    run.check()
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("key", "name"), [pytest.param(b"\x1c", "SIGQUIT", marks=SLOW), (b"\x1a", "SIGTSTP")]
)
def test_keys(robot, tmp_path, key, name):
    """Ctrl-\\, and Ctrl-Z, which would leave a moving arm to itself."""
    terminal = Terminal()
    run = terminal.start(robot(), tmp_path / "o", episodes=3).until(MOVING)
    os.write(terminal.ours, key)
    code, said = run.end()
    shown = os.read(terminal.ours, 1 << 16).decode()
    terminal.close()
    assert code == EXIT_INTERRUPTED, said
    run.check()
    assert f"interrupted by {name}" in shown


def test_output_that_nobody_takes_any_more(robot, tmp_path):
    """`headway run | head -1`: there is no signal; the bar is drawn all the time."""
    reading, writing = os.pipe()
    extra = """
        import rich.console
        rich.console.Console.is_terminal = property(lambda self: True)
    """
    run = Started(robot(), tmp_path / "o", extra=extra, stdout=writing).until(MOVING)
    os.close(writing)
    os.close(reading)
    code, said = run.end()
    assert code not in (0, -signal.SIGKILL), said
    run.check()


def test_a_loop_whose_process_is_gone_cannot_stop_the_arm_so_the_watchdog_tries(robot, tmp_path):
    run = Started(robot(), tmp_path / "o").until(MOVING)
    run.process.kill()
    code, said = run.end()
    assert code == -signal.SIGKILL
    note = tmp_path / "o" / "episode_0.watchdog.txt"
    assert "headway watchdog: the loop's process ended, after tick" in said
    assert "the arm of kind null has no stop but through the loop" in note.read_text()
