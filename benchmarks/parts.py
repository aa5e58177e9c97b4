"""What one call costs of each part of a tick: guard, kinematics, features, PRO head, recorder.

Every call is timed by itself, with the 0.1 us that reading the clock costs in it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from operator import sub
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

import numpy as np

from headway import bundle, kernels
from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.benchmarks._head import untrained_head
from headway.benchmarks._robot import PRO_BUNDLE
from headway.clock import Tick
from headway.compiled import Impl
from headway.drivers import native
from headway.drivers.kinematics import Chain
from headway.drivers.model import RobotModel, load
from headway.drivers.sim.arm_model import with_gripper
from headway.edge.control.audit import SAMPLES, STAGES, Audit
from headway.edge.engines.engine import open_engine
from headway.edge.guard import native as guard_native
from headway.edge.guard.core import Fk
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.pro.operator import pro_dtype
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import Missing
from headway.kernels import telemetry
from headway.kernels.telemetry import Scale
from headway.types import ArmState, Pose, Stamp, Vec, Wrench

UR5E = load("ur5e")

CALLS = 20_000
OTHERS = {5: "so101", 7: "franka"}  # arms of other than six joints
IMPLS: tuple[kernels.Impl, ...] = ("cpp", "numpy")
_HZ = 500.0
_AT_ONCE = 2000  # rows that the recorder's ring takes however slow the writer's process is
_CHAIN = with_gripper("ur5e").robot.chain
_HOME = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])
Row = tuple[str, tuple[float, ...]]


def timed(call: Callable[[int], Any], n: int, warm: int = 200) -> tuple[float, float, float]:
    """p50, p95, p99 [us] of `call(i)` for i = 0..n-1, after `warm` calls with i < 0."""
    return percentiles(each(call, n, warm))


def each(call: Callable[[int], Any], n: int, warm: int = 200) -> Vec:
    """(n,): what each of these calls took [us]."""
    for i in range(-warm, 0):
        call(i)
    took = np.zeros(n)
    for i in range(n):
        begun = perf_counter_ns()
        call(i)
        took[i] = perf_counter_ns() - begun
    return took / 1e3


def guard(n: int) -> list[Row]:
    """Commands of a slow motion in all joints, all accepted: compiled and Python, with the arm's
    chain, its body and a floor, and, for what is left without them, with a TCP that never moves."""
    origin = np.zeros(3)

    def nowhere(q: Vec) -> Vec:
        return origin

    rows: list[Row] = [
        (f"guard.apply {impl}, {name}", _guarded(n, with_gripper("ur5e").robot, fk, impl))
        for impl in _built()
        for name, fk in (("chain", replace(_CHAIN, impl=impl)), ("no chain", nowhere))
    ]
    for joints, name in OTHERS.items():
        model = load(name)
        fk = replace(model.chain, impl=_built()[0])
        rows.append((f"guard.apply, {joints} joints", _guarded(n, model, fk, _built()[0])))
    return rows


def _built() -> tuple[Impl, ...]:
    """Whose guard and kinematics there are here."""
    both = guard_native.module("auto") is not None and native.module("auto") is not None
    return ("cpp", "python") if both else ("python",)


def _guarded(n: int, model: RobotModel, fk: Fk, impl: Impl) -> tuple[float, float, float]:
    cfg = GuardConfig(
        workspace_min=(-1.5, -1.5, -0.1),
        workspace_max=(1.5, 1.5, 1.5),
        force_max=80.0,
        torque_max=15.0,
        power_max=50.0,
        floor_z=0.0 if isinstance(fk, Chain) else None,
    )
    guard = Guard(cfg, model.limits, 1 / _HZ, fk, impl)
    home = model.home
    guard.reset(home)
    zero, still = np.zeros(6), np.zeros(model.n)
    state = ArmState(home, still, home, Pose(zero[:3], np.array([1.0, 0, 0, 0])), zero)
    wrench = Wrench(zero[:3], zero[3:])
    period = round(1e9 / _HZ)
    t = np.arange(n + 200)[:, None] / _HZ
    path = home - 0.05 * (1 - np.cos(0.5 * t))
    refused = 0

    def call(i: int) -> None:
        nonlocal refused
        k = i + 200
        sent = guard.apply(
            path[k], state=state, wrench=wrench, now_ns=k * period, command_t_ns=k * period
        )
        refused += sent.changed

    row = timed(call, n)
    if refused:
        raise RuntimeError(f"wanted commands that the guard accepts, it refused {refused}")
    return row


def kinematics(n: int) -> list[Row]:
    """Forward kinematics, and inverse kinematics of a chunk of 50 poses 2 mm apart."""
    out: list[Row] = []
    actions = np.zeros((50, 7))
    actions[:, 0] = np.linspace(0.002, 0.1, 50)
    for impl in _built():
        chain = replace(_CHAIN, impl=impl)
        R, p, J = chain.state(_HOME)

        def fk(i: int, c: Chain = chain, R: Vec = R, p: Vec = p) -> None:
            c.fk_into(_HOME, R, p)

        def state(i: int, c: Chain = chain, R: Vec = R, p: Vec = p, J: Vec = J) -> None:
            c.state_into(_HOME, R, p, J)

        def chunk(i: int, c: Chain = chain, base: tuple[Vec, Vec] = chain.fk(_HOME)) -> None:
            c.ik_chunk(*base, actions, _HOME)

        few = max(5, n // (20 if impl == "cpp" else 1000))
        out.append((f"kinematics {impl}: fk", timed(fk, n)))
        out.append((f"kinematics {impl}: fk and Jacobian", timed(state, n)))
        out.append((f"kinematics {impl}: ik of 50 poses", timed(chunk, few, min(few, 20))))
    return out


def features(n: int) -> list[Row]:
    """Push and features of every implementation that is here, on made-up telemetry."""
    rng = np.random.default_rng(0)
    rows = telemetry.empty(6, 1)
    for name in telemetry.FIELDS:
        rows[name] = rng.normal(0, 0.1, rows[name].shape)
    lim = UR5E.limits
    scale = Scale(lim.q_min, lim.q_max, lim.dq_max, lim.tau_max)
    vector, mask = (
        np.empty(kernels.spec.N_FEATURES, np.float32),
        np.empty(len(kernels.spec.MASKS), np.float32),
    )
    row = rows[0]
    out: list[Row] = []
    for impl in IMPLS:
        try:
            stream = kernels.feature_stream(impl, scale, 6, _HZ)
        except Missing:
            continue
        few = n if impl == "cpp" else max(10, n // 10)

        def push(i: int, s: kernels.FeatureStream = stream) -> None:
            s.push(row)  # the loop's row, too, is one and the same

        def compute(i: int, s: kernels.FeatureStream = stream) -> None:
            s.features(vector, mask)

        out.append((f"features {impl}: push", timed(push, few)))
        few = max(10, few // 10)
        out.append((f"features {impl}: features", timed(compute, few, min(200, few))))
    return out


def head(n: int) -> Row | None:
    """One step of the shipped PRO head, else of one of its size; None without either."""
    with TemporaryDirectory() as folder:
        if (PRO_BUNDLE / bundle.MANIFEST).is_file():
            made = bundle.load(PRO_BUNDLE)
        else:
            try:
                made = untrained_head(Path(folder) / "pro")
            except Missing:
                return None
        engine = open_engine("auto", made.onnx)
    row = timed(lambda i: engine.run(), n)
    engine.close()
    return f"PRO head on {engine.kind}", row


def recorder(n: int) -> list[Row]:
    """Telemetry and PRO rows into a recording, as a robot does it: never waiting."""
    telemetry_row, pro_row = telemetry.empty(6, 1)[0], np.zeros(1, pro_dtype())[0]
    channels = [
        Channel("/telemetry", dtype=telemetry.dtype(6)),
        Channel("/pro", dtype=pro_dtype()),
    ]
    out: list[Row] = []
    with (
        TemporaryDirectory() as folder,
        Recorder(Path(folder) / "a.mcap", channels, lossless=False) as log,
    ):
        for topic, row in (("/telemetry", telemetry_row), ("/pro", pro_row)):

            def call(i: int, topic: str = topic, row: np.void = row) -> None:
                log.write(topic, i + 1000, row)

            took = []
            for _ in range(0, n, _AT_ONCE):
                took.append(each(call, min(n, _AT_ONCE)))
                log.flush()
            out.append((f"recorder.write {topic}", percentiles(np.concatenate(took))))
        if log.dropped:  # the ring was full, and what was timed did not write
            raise RuntimeError(f"wanted rows that are recorded, {log.dropped} were dropped")
    return out


def audit(n: int) -> list[Row]:
    """What a tick writes down about itself, and that of it which every log writes anyway."""
    stamps = [0] * (len(STAGES) + 1)
    tick, stamp = Tick(), Stamp(1, 1)
    pack, row = struct.Struct(f"={2 + len(STAGES)}q"), bytearray(8 * (2 + len(STAGES)))
    kept = Audit(realtime=True)

    def whole(i: int) -> None:
        kept.begin()
        for source in SAMPLES:
            kept.sampled(source, stamp)
        kept.finish(i, tick, stamps)

    def durations(i: int) -> None:
        pack.pack_into(row, 0, i, tick.late_ns, *map(sub, stamps[1:], stamps))

    try:
        return [("audit", timed(whole, n)), ("audit: durations alone", timed(durations, n))]
    finally:
        kept.close()


def measure(effort: float = 1.0) -> Findings:
    n = max(50, round(CALLS * effort))
    rows = [*guard(n), *kinematics(n), *features(n), head(n), *recorder(n), *audit(n)]
    found = [r for r in rows if r is not None]
    by_name = dict(found)
    numbers = []
    if ours := by_name.get("guard.apply cpp, chain"):
        numbers.append(Number("guard.apply, all checks: p50", ours[0], "us", target=10.0))
        for joints in OTHERS:
            one = by_name[f"guard.apply, {joints} joints"]
            numbers.append(Number(f"the same, {joints} joints: p50", one[0], "us", target=10.0))
    extra = by_name["audit"][0] - by_name["audit: durations alone"][0]
    numbers.append(Number("audit per tick, beyond the durations: p50", extra, "us", target=3.0))
    for what, fast, slow in (
        ("guard.apply", "guard.apply cpp, chain", "guard.apply python, chain"),
        ("fk", "kinematics cpp: fk", "kinematics python: fk"),
        ("ik of 50 poses", "kinematics cpp: ik of 50 poses", "kinematics python: ik of 50 poses"),
        ("push", "features cpp: push", "features numpy: push"),
        ("features", "features cpp: features", "features numpy: features"),
    ):
        if fast in by_name and slow in by_name:
            other = slow.split()[1].strip(",:")
            numbers.append(
                Number(f"{what}: {other} / cpp", by_name[slow][0] / by_name[fast][0], "x")
            )
    return Findings(
        "One call of each part", numbers, [Table("time per call", PERCENTILES, tuple(found), "us")]
    )
