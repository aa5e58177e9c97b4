"""Units of a study on several processes: killed, failed, without room, twice at once."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from study_fake import write_plan

from headway.errors import Busy, OutputError, PolicyError, RecordingError
from headway.learn import files
from headway.learn.executors import processes
from headway.learn.executors.executor import Done, Lost, scatter
from headway.learn.study import plan, results
from headway.learn.study.run import LOSSES, Progress, Show, State, run

TESTS = Path(__file__).parent


class Lines(Show):
    def __init__(self):
        self.lines, self.states = [], []

    def line(self, text):
        self.lines.append(text)

    def state(self, state):
        self.states.append((len(state.done), dict(state.running), state.left_s))


def go(folder, learn="", seeds=1, slots=2, show=None, keep=None):
    """Run the units of a small plan, those that `keep` names."""
    path = write_plan(folder, seeds, learn=learn)
    made = [u for u in plan.units(plan.load(path)) if keep is None or u.name in keep]
    with processes.connect(slots) as executor:
        state = run(
            made, runner="study_fake:fake", study="fake", registration="5ha",
            out=folder / "results", work=folder / "work", executor=executor, show=show or Show(),
        )  # fmt: skip
    return made, state


def worked(folder, name):
    """Which rounds a unit worked on, in their order."""
    return (folder / "work" / name / "worked.txt").read_text().split()


TWO = ("B0_pick_place_1", "1.5_pick_place_1")


def test_units_run_and_leave_a_file_each_and_nothing_is_run_again(tmp_path):
    show = Lines()
    made, state = go(tmp_path, keep=TWO, show=show)
    assert set(state.done) == {u.key for u in made}
    assert (state.failed, state.running) == ({}, {})
    assert [p.name for p in (tmp_path / "work" / "shared").iterdir()] == ["pick_place_1"]
    again = results.finished(tmp_path / "results", "5ha", made)
    assert {k: len(v.orders) for k, v in again.items()} == {u.key: 140 for u in made}
    assert [n for n, _, _ in show.states][-1] == 2
    # Finished by another machine: its file is all that is known of it.
    subprocess.run(["rm", "-r", tmp_path / "work"], check=True)
    _, state = go(tmp_path, keep=TWO)
    assert (len(state.done), state.found) == (2, 2)
    assert not (tmp_path / "work").exists()


def test_a_killed_unit_goes_on_from_where_it_was_and_counts_once(tmp_path):
    show = Lines()
    trouble = f'trouble = [["kill", "{TWO[0]}", 1], ["kill", "{TWO[0]}", 2]]'
    made, state = go(tmp_path, trouble, keep=TWO, show=show)
    assert set(state.done) == {u.key for u in made}
    lost = [line for line in show.lines if "lost" in line]
    assert len(lost) == 2
    assert all("SIGKILL" in line and TWO[0] in line for line in lost)
    assert worked(tmp_path, TWO[0]) == ["0", "1", "1", "2", "2"]
    assert worked(tmp_path, TWO[1]) == ["0", "1", "2"]


def test_a_unit_that_dies_again_and_again_is_given_up_and_the_others_finish(tmp_path):
    kills = ", ".join(f'["kill", "{TWO[0]}", 1]' for _ in range(LOSSES + 2))
    _, state = go(tmp_path, f"trouble = [{kills}]", keep=TWO)
    assert list(state.failed) == [TWO[0]]
    assert f"lost {LOSSES + 1} times" in state.failed[TWO[0]]
    assert [key[0] for key in state.done] == ["1.5"]


def test_a_unit_that_raises_does_not_stop_the_others(tmp_path):
    show = Lines()
    _, state = go(tmp_path, f'trouble = [["fail", "{TWO[0]}", 1]]', keep=TWO, show=show)
    assert state.failed == {TWO[0]: "ValueError: this unit does not work"}
    assert (
        "ValueError: this unit does not work"
        in (tmp_path / "work" / TWO[0] / "log.txt").read_text()
    )
    assert [key[0] for key in state.done] == ["1.5"]
    # Mended, it goes on from its first round.
    _, state = go(tmp_path, keep=TWO)
    assert len(state.done) == 2
    assert worked(tmp_path, TWO[0]) == ["0", "1", "1", "2"]


def test_a_full_disk_ends_the_study_and_it_goes_on_afterwards(tmp_path):
    trouble = f'trouble = [["full", "{TWO[1]}", 2]]'
    with pytest.raises(OutputError, match=r"disk is full.*make room.*same command"):
        go(tmp_path, trouble, keep=TWO, slots=1)
    assert [p.stem for p in (tmp_path / "results").glob("*.csv")] == [TWO[0]]
    _, state = go(tmp_path, trouble, keep=TWO)
    assert (len(state.done), state.found) == (2, 1)
    assert worked(tmp_path, TWO[1]) == ["0", "1", "2", "2"]


def test_damaged_results_stop_the_study(tmp_path):
    go(tmp_path, keep=TWO[:1])
    file = tmp_path / "results" / f"{TWO[0]}.csv"
    file.write_text(file.read_text()[:-10])
    with pytest.raises(RecordingError, match=TWO[0]):
        go(tmp_path, keep=TWO)


def test_a_folder_belongs_to_one_at_a_time(tmp_path):
    with files.alone(tmp_path / "a", "the folder"):
        with pytest.raises(Busy, match=rf"process {os.getpid()} on .* works there"):
            files.alone(tmp_path / "a", "the folder").__enter__()
        with files.alone(tmp_path / "b", "the folder"):
            pass
    with files.alone(tmp_path / "a", "the folder"):
        pass


def test_the_time_left_counts_only_what_was_done_since_the_start():
    state = State(total=5, done={1: None, 2: None}, found=1, seconds=100.0)
    state.shares = {"finished here": 0.5, "running": 0.25}
    state.running = {"running": Progress(round=1, doing="", share=0.75)}
    # Half a unit each by the two that ran: 100 s a unit. 3 are open, one of them for a quarter.
    assert state.left_s == pytest.approx(225.0)
    assert State(total=5, done={}, found=0, seconds=100.0).left_s is None


class TestProcesses:
    def test_what_runs_ends_with_the_executor(self):
        with processes.connect(1) as executor:
            executor.start("a", _Pids())
            news = []
            while not news:
                news = executor.wait(10.0)
            child, grandchild = news[0].note
        assert _gone(child)
        assert _gone(grandchild)

    def test_a_killed_process_is_lost_with_all_that_it_started(self):
        with processes.connect(1) as executor:
            executor.start("a", _Pids())
            news = []
            while not news:
                news = executor.wait(10.0)
            child, grandchild = news[0].note
            os.kill(child, signal.SIGKILL)
            while not (news := executor.wait(10.0)):
                pass
        assert news == [Lost("a", "its process was ended by SIGKILL")]
        assert _gone(grandchild)

    def test_a_process_ends_with_its_parent(self):
        code = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from test_study_run import _Pids, processes\n"
            "if __name__ == '__main__':\n"
            "    e = processes.connect(1); e.start('a', _Pids())\n"
            "    n = []\n"
            "    while not n: n = e.wait(10.0)\n"
            "    print(*n[0].note, flush=True); import os; os.kill(os.getpid(), 9)\n"
        )
        made = subprocess.run(
            [sys.executable, "-c", code, str(TESTS)], capture_output=True, text=True, check=False
        )
        child, grandchild = map(int, made.stdout.split())
        assert _gone(child)
        assert _gone(grandchild)

    def test_parts_come_once_each_and_lost_ones_again(self, tmp_path):
        with processes.connect(2) as executor:
            found = dict(scatter(executor, _Square(str(tmp_path)), [1, 2, 3, 4, 5]))
            assert found == {0: 1, 1: 4, 2: 9, 3: 16, 4: 25}
            assert (tmp_path / "killed").exists()
            with pytest.raises(PolicyError, match=r"part 1 of 2 failed: TypeError"):
                list(scatter(executor, _Square(""), [1, None]))

    def test_linear_algebra_has_one_thread_there_and_as_many_as_before_here(self, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        with processes.connect(1) as executor:
            executor.start("a", _threads)
            while not (news := executor.wait(10.0)):
                pass
        assert news == [Done("a", "1")]
        assert os.environ["OMP_NUM_THREADS"] == "7"


def _threads(tell):
    return os.environ["OMP_NUM_THREADS"]


def _gone(pid):
    """Whether the process has ended, or does within a minute."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(fd):
        return bool(select.select([fd], [], [], 60.0)[0])


class _Pids:
    """Tells its process and one that it starts, and waits for ever."""

    def __call__(self, tell):
        child = subprocess.Popen(["sleep", "1000"])
        tell((os.getpid(), child.pid))
        signal.pause()


class _Square:
    """The square; the process of the first 3 is killed."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, x):
        if x == 3 and not (mark := Path(self.folder) / "killed").exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return x**2
