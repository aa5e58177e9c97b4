"""The check of a whole chunk: what it refuses, and that it leaves the guard as it was."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from guard_rig import CHAIN, HOME, IDLE, WIDE, T, make, needs_cpp, same_finding, send
from guard_rig import impl as impl
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from properties import examples

from headway.compiled import Impl
from headway.drivers.model import load
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.guard.reasons import Reason
from headway.types import Vec

UR5E = load("ur5e")

DT = 0.1


def chunk(h: int = 8, **moves: float) -> Vec:
    """Waypoints of the rig's three joints, each `moves`[qK] [rad] per step."""
    q = np.zeros((h, 3))
    for name, step in moves.items():
        q[:, int(name[1])] = step * np.arange(h)
    return q


def test_a_slow_chunk_is_fine_and_changes_nothing(impl: Impl) -> None:
    g = make()
    assert send(g, np.zeros(3)).reason is Reason.OK
    before = g._out.q.copy()
    assert g.check_chunk(chunk(q0=0.05), DT).reason is Reason.OK
    assert g.check_chunk(chunk(q1=0.05), DT).reason is Reason.POSITION
    assert g.check_chunk(np.zeros((0, 3)), DT).reason is Reason.OK
    np.testing.assert_array_equal(g._out.q, before)
    assert send(g, np.array([1e-6, 0, 0])).reason is Reason.OK


@pytest.mark.parametrize(
    ("row", "joint", "value", "reason"),
    [
        (3, 1, np.nan, Reason.NOT_FINITE),
        (0, 0, np.inf, Reason.NOT_FINITE),
        (4, 1, 0.03, Reason.POSITION),
        (0, 1, -0.03, Reason.POSITION),
        (5, 2, -0.4, Reason.VELOCITY),  # 3 rad/s
        (5, 0, 0.16, Reason.ACCELERATION),  # 15 rad/s^2
    ],
)
def test_the_first_bad_row_is_named(
    impl: Impl, row: int, joint: int, value: float, reason: Reason
) -> None:
    q = chunk()
    q[row, joint] = value
    verdict = make().check_chunk(q, DT)
    assert (verdict.reason, verdict.row) == (reason, row)
    assert f"joint {joint}" in verdict.detail


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.zeros((4, 2)), Reason.SHAPE),
        (np.zeros(3), Reason.SHAPE),
        ([["a"] * 3], Reason.NOT_NUMBERS),
        (None, Reason.NOT_NUMBERS),
        (np.zeros((2, 3), complex), Reason.NOT_NUMBERS),
    ],
)
def test_what_is_no_chunk_is_refused(impl: Impl, bad: Any, reason: Reason) -> None:
    verdict = make().check_chunk(bad, DT)
    assert verdict.reason is reason
    assert verdict.detail


@pytest.mark.parametrize("dt", [0.0, -1.0, float("nan")])
def test_waypoints_want_time_between_them(impl: Impl, dt: float) -> None:
    with pytest.raises(ValueError, match="dt > 0"):
        make().check_chunk(chunk(), dt)


def test_a_chunk_must_stay_in_the_workspace_or_come_back(impl: Impl) -> None:
    g = make(workspace_min=(-1, -1, -1), workspace_max=(0.1, 1, 1))  # the TCP is (q0, q1, q2)
    verdict = g.check_chunk(chunk(q0=0.03), DT)
    assert (verdict.reason, verdict.row) == (Reason.WORKSPACE, 4)
    assert "TCP at x = 0.1200 m" in verdict.detail
    outside = chunk(q0=0.0)
    outside[:, 0] = 0.25 - 0.02 * np.arange(8)
    assert g.check_chunk(outside, DT).reason is Reason.OK
    assert g.check_chunk(outside[::-1], DT).reason is Reason.WORKSPACE

    def broken(q: Vec) -> Vec:
        raise RuntimeError("no kinematics")

    verdict = make(fk=broken).check_chunk(chunk(), DT)
    assert verdict.reason is Reason.WORKSPACE
    assert "no kinematics" in verdict.detail


def test_a_chunk_that_is_checked_within_a_tick_is_not_taken_for_its_command(impl: Impl) -> None:
    """Another thread may come in while kinematics in Python compute."""
    calls: list[Reason | None] = []

    def fk(q: Vec) -> Vec:
        calls.append(None)
        if len(calls) == 2:  # of the command; the first one is of where the arm is
            calls[1] = g.check_chunk(chunk(q0=0.05), DT).reason
        return q[:3].copy()

    g = make(fk=fk, workspace_max=(0.2, 1.0, 1.0))
    assert send(g, np.zeros(3)).reason is Reason.OK
    assert calls[1] is Reason.WORKSPACE
    assert send(g, np.zeros(3)).reason is Reason.OK


def test_a_chunk_that_folds_the_arm_into_itself_is_refused(impl: Impl) -> None:
    g = Guard(GuardConfig(**WIDE), UR5E.limits, T, CHAIN, impl)
    q = np.repeat(HOME[None], 20, axis=0)
    q[:, 2] += 0.1 * np.arange(20)
    verdict = g.check_chunk(q, DT)
    assert verdict.reason is Reason.COLLISION
    assert "gripper and shoulder are" in verdict.detail
    assert g.check_chunk(q[: verdict.row], DT).reason is Reason.OK
    assert g.check_chunk(q[verdict.row :: -1], DT).reason is Reason.OK  # the way out


@needs_cpp
@examples(150)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 6), st.just(3)), elements=st.floats()),
    st.floats(1e-3, 10.0),
)
def test_any_chunk_gets_the_same_verdict(q: Vec, dt: float) -> None:
    a, b = (make(impl=i).check_chunk(q, dt) for i in ("python", "cpp"))
    assert a.row == b.row
    same_finding(a.finding, b.finding)


@needs_cpp
@examples(60)
@given(st.integers(0, 10**6), st.floats(0.005, 0.3))
def test_chunks_of_a_real_arm_get_the_same_verdict(seed: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    q = rng.uniform(-2.5, 2.5, 6) + np.cumsum(rng.normal(0, step, (12, 6)), axis=0)
    cfg = GuardConfig(**{**WIDE, "workspace_min": (-0.7,) * 3, "floor_z": 0.0})
    a, b = (Guard(cfg, UR5E.limits, T, CHAIN, i).check_chunk(q, 0.3) for i in ("python", "cpp"))
    assert a.row == b.row
    same_finding(a.finding, b.finding)


@needs_cpp
def test_another_thread_may_check_while_the_loop_runs() -> None:
    g = Guard(GuardConfig(**WIDE), UR5E.limits, T, CHAIN, "cpp")
    g.reset(HOME)
    q = np.repeat(HOME[None], 50, axis=0)
    verdicts: list[Reason] = []

    def check() -> None:
        verdicts.extend(g.check_chunk(q, DT).reason for _ in range(200))

    thread = threading.Thread(target=check)
    thread.start()
    sent = {g.apply(HOME, **IDLE).reason for _ in range(500)}
    thread.join()
    assert sent == {Reason.OK}
    assert verdicts == [Reason.OK] * 200
