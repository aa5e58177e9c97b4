"""Forward and inverse kinematics of the robots that come with Headway, beside MuJoCo and Pinocchio
on the same URDFs: agreement, time of a call, and how often inverse kinematics finds a pose.

Poses are drawn from all of the joints' ranges. Inverse kinematics starts at other random joints,
once, without another try.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter_ns

import numpy as np

from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.benchmarks._kinematics_peers import Mujoco, Peer, Pinocchio, ik
from headway.benchmarks.parts import timed
from headway.compiled import Impl
from headway.drivers import native
from headway.drivers.kinematics import Chain
from headway.drivers.model import RobotModel, load, shipped
from headway.errors import Missing
from headway.types import Vec

POSES, GOALS, CALLS = 10_000, 400, 20_000
ITERATIONS, TOLERANCE = 100, 2e-5
Solve = Callable[[Vec, Vec, Vec], tuple[Vec, float]]


def measure(effort: float = 1.0) -> Findings:
    models = [load(name, load(name).tool_link) for name in shipped()]
    impls: tuple[Impl, ...] = ("python",) if native.module("auto") is None else ("cpp", "python")
    numbers: list[Number] = []
    notes: list[str] = []
    calls, times, found = [], [], []
    for model in models:
        chains = {impl: replace(model.chain, impl=impl) for impl in impls}
        label = f"{model.name}, {model.n} joints"
        n = max(50, round(CALLS * effort))
        for impl, chain in chains.items():
            row = _fk(chain, model, n)
            calls.append((f"{label}: {impl}", row))
            if impl == "cpp":
                numbers.append(Number(f"fk, {label}: p50", row[0], "us", target=3.0))
        solvers: dict[str, Solve] = {f"Headway, {impls[0]}": _ours(chains[impls[0]])}
        for peer in _peers(model, notes):
            worst = _apart(next(iter(chains.values())), peer, model, max(50, round(POSES * effort)))
            name = peer.name
            calls.append((f"{label}: {name}", _fk_of(peer, model, n)))
            numbers.append(Number(f"fk, {label}: from {name}", worst, "m", target=1e-9))
            solvers[name] = _theirs(peer)
        rows = _solved(solvers, model, max(5, round(GOALS * effort)))
        for name, (share, inside, row) in rows.items():
            found.append((f"{label}: {name}", (100 * share, 100 * inside)))
            times.append((f"{label}: {name}", row))
    tables = [
        Table("fk, time per call", PERCENTILES, tuple(calls), "us"),
        Table("ik, poses found", ("found", "within limits"), tuple(found), "%"),
        Table("ik, time per pose", PERCENTILES, tuple(times), "us"),
    ]
    notes += [
        "fk: a call from Python each; Pinocchio and MuJoCo compute all frames of a robot, we one",
        f"ik: one try of at most {ITERATIONS} steps to {TOLERANCE:g} m and rad; the others' loop "
        "is Python and NumPy around their kinematics, without joint limits",
    ]
    return Findings("Kinematics of arms of five to seven joints", numbers, tables, notes)


def _fk(chain: Chain, model: RobotModel, n: int) -> tuple[float, float, float]:
    R, p = np.empty((3, 3)), np.empty(3)
    return timed(lambda i: chain.fk_into(model.home, R, p), n)


def _fk_of(peer: Peer, model: RobotModel, n: int) -> tuple[float, float, float]:
    return timed(lambda i: peer.fk(model.home), n)


def _peers(model: RobotModel, notes: list[str]) -> list[Peer]:
    found = [_peer(kind, model, notes) for kind in (Mujoco, Pinocchio)]
    return [peer for peer in found if peer is not None]


def _peer(kind: type[Mujoco] | type[Pinocchio], model: RobotModel, notes: list[str]) -> Peer | None:
    try:
        return kind(model)
    except Missing as e:
        if str(e) not in notes:
            notes.append(str(e))
        return None


def _anywhere(model: RobotModel, count: int, seed: int) -> Vec:
    rng = np.random.default_rng(seed)
    return rng.uniform(model.limits.q_min, model.limits.q_max, (count, model.n))


def _apart(chain: Chain, peer: Peer, model: RobotModel, count: int) -> float:
    """The largest distance [m], per axis, between both positions of the tool link."""
    worst = 0.0
    for q in _anywhere(model, count, 1):
        worst = max(worst, float(np.abs(chain.position(q) - peer.fk(q)[1]).max()))
    return worst


def _ours(chain: Chain) -> Solve:
    return lambda R, p, q0: chain.ik(R, p, q0, iterations=ITERATIONS, tol=TOLERANCE)


def _theirs(peer: Peer) -> Solve:
    return lambda R, p, q0: ik(peer, R, p, q0, ITERATIONS, TOLERANCE)


def _solved(
    solvers: dict[str, Solve], model: RobotModel, count: int
) -> dict[str, tuple[float, float, tuple[float, float, float]]]:
    """Per solver: the share of goals found, that found within the joints' limits, and the time of
    a goal [us]."""
    goals, starts = _anywhere(model, count, 2), _anywhere(model, count, 3)
    poses = [model.chain.fk(q) for q in goals]
    rows: dict[str, list[tuple[bool, bool, int]]] = {name: [] for name in solvers}
    for (R, p), q0 in zip(poses, starts, strict=True):
        for name, solve in solvers.items():  # goal by goal in turn
            begun = perf_counter_ns()
            q, left = solve(R, p, q0)
            took = perf_counter_ns() - begun
            there = left < TOLERANCE
            fits = bool(((q >= model.limits.q_min) & (q <= model.limits.q_max)).all())
            rows[name].append((there, there and fits, took))
    out = {}
    for name, made in rows.items():
        found, inside, times = np.array(made, float).T
        out[name] = float(found.mean()), float(inside.mean()), percentiles(times, 1e-3)
    return out
