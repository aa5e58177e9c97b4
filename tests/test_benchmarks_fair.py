"""Benchmarks give all contenders the same, say what went wrong, and leave nothing behind."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headway.benchmarks import __main__ as cli
from headway.benchmarks import (
    _child,
    _libraries,
    candidates,
    guard,
    kinematics,
    lerobot_act,
    parts,
    rtde_link,
)
from headway.benchmarks._findings import Findings, Number, lateness
from headway.benchmarks._kinematics_peers import Mujoco, Pinocchio
from headway.benchmarks.loop_overhead import BURN
from headway.drivers.model import load
from headway.drivers.rotations import rotvec_to_mat
from headway.errors import Missing


def _command(monkeypatch: pytest.MonkeyPatch, **measures: Callable[[float], Findings]) -> int:
    modules = {name: SimpleNamespace(measure=m) for name, m in measures.items()}
    monkeypatch.setattr(cli.plugins, "load", lambda folder, name: modules[name])
    return cli.benchmarks(tuple(modules))


def test_nothing_runs_beside_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    beside: list[threading.Thread] = []

    def measure(effort: float) -> Findings:
        beside.extend(set(threading.enumerate()) - before)
        return Findings("a", (Number("b", 1.0),))

    assert _command(monkeypatch, a=measure) == 0
    assert not beside


def test_a_benchmark_that_fails_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(effort: float) -> Findings:
        raise RuntimeError("no such host")

    def works(effort: float) -> Findings:
        return Findings("works", skipped="pip install 'headway[sim]'")

    assert _command(monkeypatch, fails=fails, works=works) == 1
    said = capsys.readouterr()
    assert "failed: RuntimeError: no such host" in said.out
    assert said.out.rstrip().endswith("failed: fails")
    assert "headway[sim]" in said.out  # in brackets, which `rich` takes for a tag
    assert "Traceback" in said.err


def test_the_versions_of_what_is_compared_are_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "PACKAGES", ("numpy", "no-such-package-of-headway"))
    about = cli.machine()
    assert about["numpy"] == np.__version__
    assert "no-such-package-of-headway" not in about


def test_processor_time_of_a_process_is_that_of_its_own_clock() -> None:
    before = time.process_time()
    used = _child.used_by(os.getpid())
    assert before <= used <= time.process_time()


def test_every_tick_that_was_due_has_a_lateness() -> None:
    late = lateness([1.0, 2.0, 0.5], [0, 3, 1], 10.0)
    assert late.tolist() == [1.0, 32.0, 22.0, 12.0, 2.0, 10.5, 0.5]
    assert lateness([], [], 10.0).size == 0


def test_all_libraries_are_given_the_same_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, list[int]] = {}

    def library(name: str) -> Callable[[Any, float], Any]:
        def run(x: Any, rate: float) -> Any:
            given.setdefault(name, []).append(len(x))
            return 1, 1.0, len(x)

        return run

    monkeypatch.setattr(_libraries, "LIBRARIES", {n: library(n) for n in _libraries.LIBRARIES})
    found = _libraries.measured(np.zeros((20, 8)), 500.0)
    assert {n: f[2] for n, f in found.items() if not isinstance(f, str)} == dict.fromkeys(given, 20)
    assert list(given.values()) == [[1, 20, 20]] * 3


def test_guards_take_turns() -> None:
    asked: list[str] = []

    def ask(name: str) -> Callable[[Any], bool]:
        return lambda chunk: not asked.append(name)

    names = ("ours", guard.PYTHON, "theirs")
    took = guard.taken({name: ask(name) for name in names}, np.zeros((50, 6)), 400)
    assert [len(took[name]) for name in names] == [400, guard.TURNS, 400]
    first = [i for i, name in enumerate(asked) if name == "ours"]
    assert first[-1] > asked.index("theirs")


def test_solvers_of_inverse_kinematics_take_turns() -> None:
    model = load("ur5e")
    asked: list[str] = []

    def solver(name: str, left: float) -> Any:
        def solve(R: Any, p: Any, q0: Any) -> tuple[Any, float]:
            asked.append(name)
            return q0, left

        return solve

    solvers = {"a": solver("a", 0.0), "b": solver("b", 1.0)}
    found = kinematics._solved(solvers, model, 3)
    assert asked == ["a", "b"] * 3
    assert [row[:2] for row in found.values()] == [(1.0, 1.0), (0.0, 0.0)]


@pytest.mark.parametrize("kind", [Mujoco, Pinocchio])
def test_peers_give_the_rotation_vector_that_ours_is(kind: type[Mujoco] | type[Pinocchio]) -> None:
    try:
        peer = kind(load("ur5e", load("ur5e").tool_link))
    except Missing as e:
        pytest.skip(str(e))
    for w in ([0.3, -1.2, 0.5], [1e-6, 0.0, 2e-6], [0.0, 0.0, 0.0], [2.9, 0.4, -0.8]):
        R = rotvec_to_mat(np.array(w))
        np.testing.assert_allclose(peer.rotvec(R), w, atol=1e-9)


def test_what_keeps_a_core_busy_ends_when_its_parent_is_gone() -> None:
    core = min(os.sched_getaffinity(0))
    stranger = "0"  # no process has this number
    subprocess.run([sys.executable, "-c", BURN, str(core), stranger], check=True, timeout=60)


def test_the_threads_of_lerobot_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert "OPENBLAS_NUM_THREADS" not in lerobot_act._environment("folder")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    found = lerobot_act._environment("folder")
    assert (found["OPENBLAS_NUM_THREADS"], found["PYTHONPATH"]) == ("2", "folder")


def test_of_few_calls_the_slowest_is_named_and_no_percentile() -> None:
    few = lerobot_act._table("full", {"a": np.arange(1.0, 11.0) * 1e3})
    assert few.columns == ("p50", "slowest")
    assert few.rows == (("a", (5.5, 10.0)),)
    many = lerobot_act._table("small", {"a": np.full(lerobot_act.ENOUGH, 1e3)})
    assert many.columns == ("p50", "p95", "p99")


def test_a_host_that_crashed_when_the_connection_ended_misses_the_target() -> None:
    said = {"said": 1.0, "raised": 2.0}
    ours: dict[str, Any] = {"rate": 500.0, "age": (1.0, 1.0, 1.0), "wire": (0.1, 0.1, 0.1)}
    for dropped, met in ((said, True), ({}, False)):
        found = {rtde_link.OURS: {**ours, rtde_link.DROPPED: dropped, rtde_link.LISTENING: said}}
        (number,) = [n for n in rtde_link._numbers(found) if "dropped" in n.name]
        assert number.met is met
        assert math.isnan(number.value) != met


def test_a_recorder_that_drops_rows_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        dropped = 7

        def __init__(self, *_: object, **__: object) -> None: ...
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None: ...
        def write(self, *_: object) -> None: ...
        def flush(self) -> None: ...

    monkeypatch.setattr(parts, "Recorder", Full)
    with pytest.raises(RuntimeError, match="7 were dropped"):
        parts.recorder(3)


def test_policies_that_were_compared_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="the policies are made with onnx")
    opened, closed = [], []
    original = candidates.open_policy

    def open_policy(*arguments: Any) -> Any:
        policy = original(*arguments)
        opened.append(policy)
        end = policy.close
        policy.close = lambda: (closed.append(policy), end())
        return policy

    monkeypatch.setattr(candidates, "open_policy", open_policy)
    candidates.measure(0.004)
    assert len(opened) == 4
    assert {*map(id, opened)} == {*map(id, closed)}
