"""The compiled guard decides and sends what the Python one does, to the last bit."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import numpy as np
from guard_rig import (
    CHAIN,
    HOME,
    IDLE,
    LIMITS,
    WIDE,
    N,
    T,
    anything,
    make,
    modes,
    needs_cpp,
    same_finding,
    send,
    states,
    steps,
    wrenches,
)
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from properties import examples

from headway.drivers.model import load
from headway.edge.guard.config import Box, CapsuleConfig, FixedCapsule
from headway.edge.guard.guard import Decision, Guard, GuardConfig
from headway.types import Limits, Signals, Vec

UR5E = load("ur5e")

BARE = dataclasses.replace(CHAIN, body=())


def same(a: Decision, b: Decision) -> None:
    assert a.q.tobytes() == b.q.tobytes()
    assert (a.changed, a.braking) == (b.changed, b.braking)
    same_finding(a.finding, b.finding)


def next_q(kind: str, value: Any, rows: list[Vec], limits: Limits, period: float) -> Any:
    """A command near what the limits allow, after the last outputs (see `guard_rig.steps`)."""
    if kind in ("to", "any"):
        return value
    q, q1, q2 = rows[-1], rows[-2], rows[-3]
    a = q - 2 * q1 + q2
    most = limits.dddq_max * period**3
    step = value * most
    if kind == "run":
        step = np.clip(value * limits.ddq_max * period**2 - a, -most, most) * (1 - 1e-9)
    return q + (q - q1) + a + step


@needs_cpp
@examples(150, suppress_health_check=[HealthCheck.too_slow])
@given(
    mode=modes,
    data=st.lists(st.tuples(steps, st.integers(1, 40), wrenches, states), min_size=1, max_size=10),
    edge=st.sampled_from([10.0, 0.1, 0.01]),
)
def test_any_sequence_gives_the_same(mode: str, data: list[Any], edge: float) -> None:
    box = {"workspace_min": (-edge,) * 3, "workspace_max": (edge, edge, 10.0), "lever_m": 1.0}
    pair = [make(mode=mode, impl=impl, risk_max=0.9, **box) for impl in ("python", "cpp")]
    rows = [np.zeros(N)] * 3
    for (kind, value), times, wrench, state in data:
        for i in range(times):
            q = next_q(kind, value, rows, LIMITS, T)
            now = 0 if i % 11 else int(2e8)
            with_risk = Signals(0.0, 1.0, 0.0, (i % 7) / 6.0, 1.0, 0.0)
            # what the sensors say comes for one tick in five, so that motion lasts
            seen = {"wrench": wrench, "state": state} if i % 5 == 4 else {}
            a, b = (send(g, q, now_ns=now, signals=with_risk, **seen) for g in pair)
            same(a, b)
            rows = [*rows[1:], a.q.copy()]
        if times % 3 == 0:
            for g in pair:
                g.acknowledge()
        if times % 13 == 0:
            for g in pair:
                g.reset(rows[-1])
            rows = [rows[-1]] * 3


def walk_a_real_arm(
    mode: str, seed: int, size: float, fk: Any, cpp: Any = BARE, **more: Any
) -> set[str]:
    """Both guards on one random walk in a box around the TCP; returns what they said."""
    rng = np.random.default_rng(seed)
    tcp = CHAIN.position(HOME)
    cfg = GuardConfig(
        workspace_min=tuple(tcp - size * rng.uniform(0.1, 1, 3)),
        workspace_max=tuple(tcp + size * rng.uniform(0.1, 1, 3)),
        force_max=40.0,
        torque_max=4.0,
        mode=mode,
        **more,
    )
    pair = Guard(cfg, UR5E.limits, T, fk, "python"), Guard(cfg, UR5E.limits, T, cpp, "cpp")
    rows = [HOME] * 3
    for g in pair:
        g.reset(HOME)
    said = set()
    for k in range(300):
        if k % 60 == 0:
            kind = "run" if k == 0 else ("run", "jerk", "to")[rng.integers(3)]
            value = rng.uniform(-0.4, 0.4, 6) + (rows[0] if kind == "to" else 0.0)
        q = next_q(kind, value, rows, UR5E.limits, T)
        a, b = (g.apply(q, **IDLE) for g in pair)
        same(a, b)
        said.add(a.reason.name + (" stop" if a.finding.stopping else ""))
        rows = [*rows[1:], a.q.copy()]
    return said


@needs_cpp
@examples(40)
@given(
    mode=modes,
    seed=st.integers(0, 10**6),
    size=st.sampled_from([0.002, 0.02, 0.2]),
    fk=st.sampled_from([BARE, CHAIN.position, dataclasses.replace(BARE, impl="python")]),
)
def test_the_workspace_of_a_real_arm_is_the_same(
    mode: str, seed: int, size: float, fk: Any
) -> None:
    walk_a_real_arm(mode, seed, size, fk)


@needs_cpp
def test_such_walks_reach_the_workspace() -> None:
    said = set().union(*(walk_a_real_arm("reject", seed, 0.02, BARE) for seed in range(8)))
    assert said >= {"OK", "WORKSPACE", "WORKSPACE stop"}


# At home, the gripper is some 20 mm from each of these.
CAGE: dict[str, Any] = {
    "floor_z": 0.32,
    "boxes": (Box(name="wall", lower=(0.2, 0.29, 0.0), upper=(0.6, 0.35, 0.6)),),
    "fixed_capsules": (
        FixedCapsule(name="pole", a=(0.3, -0.02, 0.3), b=(0.5, -0.02, 0.5), radius=0.02),
    ),
    "capsules": (
        CapsuleConfig(name="hose", frame=5, a=(0.0, 0.1, 0.0), b=(0.0, 0.1, 0.1), radius=0.02),
    ),
}


@needs_cpp
@examples(30)
@given(mode=modes, seed=st.integers(0, 10**6), python=st.sampled_from(["python", "cpp"]))
def test_collisions_are_the_same(mode: str, seed: int, python: Any) -> None:
    chain = dataclasses.replace(CHAIN, impl=python)
    walk_a_real_arm(mode, seed, 2.0, chain, CHAIN, collision_margin=0.01, **CAGE)


@needs_cpp
def test_such_walks_reach_collisions() -> None:
    said = set().union(*(walk_a_real_arm("reject", s, 2.0, CHAIN, CHAIN, **CAGE) for s in range(8)))
    assert said >= {"OK", "COLLISION stop"}


@needs_cpp
@examples(40)
@given(
    v=st.floats(0.05, 20), a=st.floats(0.1, 200), j=st.floats(5, 20_000), mode=modes,
    period=st.sampled_from([0.001, 0.002, 0.01]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_other_arms_and_rates_are_the_same(
    v: float, a: float, j: float, mode: str, period: float, seed: int
) -> None:
    one = np.ones(N)
    limits = Limits(-one, one * 0.7, one * v, one * a, one * j, one)
    pair = [make(limits=limits, mode=mode, period=period, impl=i) for i in ("python", "cpp")]
    rng = np.random.default_rng(seed)
    rows = [np.zeros(N)] * 3
    for k in range(300):
        if k % 60 == 0:
            kind, value = ("run", "jerk", "to")[rng.integers(3)], rng.uniform(-1.2, 1.2, N)
        q = next_q(kind, value, rows, limits, period)
        x, y = (send(g, q) for g in pair)
        same(x, y)
        rows = [*rows[1:], x.q.copy()]


@needs_cpp
@given(st.lists(anything, max_size=8))
def test_alien_commands_get_the_same_answer(data: list[Any]) -> None:
    pair = [make(impl=impl) for impl in ("python", "cpp")]
    for q in data:
        same(*(send(g, q) for g in pair))


@needs_cpp
def test_a_tick_allocates_nothing_that_stays() -> None:
    guard = Guard(GuardConfig(**WIDE, floor_z=0.0, power_max=9.0), UR5E.limits, T, CHAIN, "cpp")
    guard.reset(HOME)

    def go() -> None:
        for _ in range(200):
            guard.apply(HOME, **IDLE)
            guard.apply(None, **IDLE)

    go()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(5):
        go()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1000


@needs_cpp
def test_a_guard_and_its_kinematics_are_freed() -> None:
    import gc
    import weakref

    class Fk:
        def __call__(self, q: Vec) -> Vec:
            return q[:3]

    fk = Fk()
    gone = weakref.ref(fk)
    guard = make(fk=fk, impl="cpp")
    send(guard, np.zeros(N))
    del guard, fk
    gc.collect()
    assert gone() is None
