"""Rollouts from several processes: each seed once, whatever happens to a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headway import shipped
from headway.edge.control import settings
from headway.edge.control.result import Result
from headway.edge.control.settings import Settings
from headway.errors import ConfigError, DeviceError, PolicyError
from headway.kernels import telemetry
from headway.learn.rollout import Decisions, Rollout, Runner
from headway.learn.rollout_pool import ATTEMPTS, rollouts

SETTINGS = settings.load(shipped.CONFIG)
NONE = Decisions(
    np.zeros(0, np.int64), np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32),
    np.zeros(0, np.int8), np.zeros(0, np.int16),
)  # fmt: skip


class Runs:
    """Episodes of nothing, of a process that writes into `folder` which seeds it has begun."""

    def __init__(self, folder: Path, _: Settings) -> None:
        self.folder, self.begun = folder, 0

    def episode(self, seed: int) -> Rollout:
        self.begun += 1
        tries = len(list(self.folder.glob(f"{seed}-*")))
        (self.folder / f"{seed}-{os.getpid()}").touch()
        self.act(seed, tries)
        result = Result(
            end="done", success=True, seconds=1.0, ticks=3, retries=0, rejected=0, missed=0,
            peak_force=0.0, reward=0.0,
        )  # fmt: skip
        facts = {"pid": str(os.getpid()), "begun": str(self.begun)}
        return Rollout("none", seed, result, (), telemetry.empty(6, 3), NONE, facts)

    def act(self, seed: int, tries: int) -> None: ...

    def close(self) -> None:
        (self.folder / f"closed-{os.getpid()}").touch()


class Killed(Runs):
    """Is killed in the middle of seed 3, the first time."""

    def act(self, seed: int, tries: int) -> None:
        if seed == 3 and tries == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Doomed(Runs):
    """Is killed by seed 3 whenever it runs."""

    def act(self, seed: int, tries: int) -> None:
        if seed == 3:
            os.kill(os.getpid(), signal.SIGKILL)


class Broken(Runs):
    def act(self, seed: int, tries: int) -> None:
        raise DeviceError("the arm is unplugged") if seed == 1 else ZeroDivisionError("a bug")


def test_each_seed_is_run_once_by_processes_that_stay(tmp_path: Path) -> None:
    found = list(rollouts(SETTINGS, range(6), 2, partial(Runs, tmp_path)))
    assert sorted(r.seed for r in found) == list(range(6))
    pids = {r.facts["pid"] for r in found}
    assert 1 <= len(pids) <= 2
    assert str(os.getpid()) not in pids
    assert len(list(tmp_path.glob("closed-*"))) == 2
    assert found[0].rows.tobytes() == telemetry.empty(6, 3).tobytes()


def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path: Path) -> None:
    found = list(rollouts(SETTINGS, range(6), 1, partial(Killed, tmp_path)))
    assert [r.seed for r in found] == list(range(6))  # one worker keeps the order
    assert len(list(tmp_path.glob("3-*"))) == 2
    assert len({r.facts["pid"] for r in found}) == 2


@pytest.mark.slow
def test_a_seed_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    made = rollouts(SETTINGS, [3], 1, partial(Doomed, tmp_path))
    with pytest.raises(PolicyError, match=f"seed 3 died {ATTEMPTS} times"):
        list(made)
    assert len(list(tmp_path.glob("3-*"))) == ATTEMPTS


@pytest.mark.parametrize(
    ("seed", "kind", "text"),
    [
        (1, DeviceError, "the arm is unplugged"),
        pytest.param(2, PolicyError, "ZeroDivisionError: a bug", marks=pytest.mark.slow),
    ],
)
def test_an_error_in_a_worker_is_raised_here(
    tmp_path: Path, seed: int, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        list(rollouts(SETTINGS, [seed], 1, partial(Broken, tmp_path)))
    assert len(list(tmp_path.glob("closed-*"))) == 1


def test_closing_early_ends_the_workers(tmp_path: Path) -> None:
    made = rollouts(SETTINGS, range(100), 2, partial(Runs, tmp_path))
    first = next(made)
    made.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(int(first.facts["pid"]), 0)


ENDLESS = """
import sys
from functools import partial
from pathlib import Path
from test_rollout_pool import SETTINGS, Runs
from headway.learn.rollout_pool import rollouts

if __name__ == "__main__":
    for found in rollouts(SETTINGS, range(100_000), 2, partial(Runs, Path(sys.argv[1]))):
        print(found.seed, flush=True)
"""


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_without_a_word_of_theirs(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all of them get it
        _, said = process.communicate(timeout=60)
    assert said.count("Traceback") == 1
    assert said.rstrip().endswith("KeyboardInterrupt")
    for path in tmp_path.glob("closed-*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name.partition("-")[2]), 0)


@pytest.mark.slow
def test_the_real_loop_gives_the_same_in_a_worker() -> None:
    pytest.importorskip("mujoco", reason="the cell needs mujoco: make test installs it")
    loop = msgspec.structs.replace(SETTINGS.loop, hz=125.0, policy_hz=None, pro_hz=25.0)
    driver = {"kind": "expert", "expert": "pick_place"}
    chosen = msgspec.structs.replace(SETTINGS, pro=None, camera=(), policy=driver, loop=loop)
    found = {r.seed: r for r in rollouts(chosen, (5, 6), 2)}
    with Runner(chosen) as runner:
        for seed in (6, 5):
            here = runner.episode(seed)
            assert here.rows.tobytes() == found[seed].rows.tobytes()
            assert (here.result, here.events) == (found[seed].result, found[seed].events)
            np.testing.assert_array_equal(here.decisions.t_ns, found[seed].decisions.t_ns)


def test_no_seeds_start_no_process(tmp_path: Path) -> None:
    assert list(rollouts(SETTINGS, [], 4, partial(Runs, tmp_path))) == []
    assert list(tmp_path.iterdir()) == []


def test_no_worker_at_all_is_refused():
    with pytest.raises(ConfigError, match="wanted at least one worker, found 0"):
        next(rollouts(SETTINGS, [1], 0))
