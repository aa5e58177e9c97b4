"""Guards of both implementations, what is sent to them, and what they may send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from msgspec import structs

from headway.compiled import Impl
from headway.drivers.sim.arm_model import with_gripper
from headway.edge.guard import native as guard_native
from headway.edge.guard.core import Fk
from headway.edge.guard.guard import Decision, Guard, GuardConfig
from headway.edge.guard.reasons import Finding, Reason
from headway.types import ArmState, Limits, Pose, Vec, Wrench

N = 3
T = 0.002
BOX: dict[str, Any] = {
    "workspace_min": (-10.0, -10.0, -10.0),
    "workspace_max": (10.0, 10.0, 10.0),
    "force_max": 40.0,
    "torque_max": 4.0,
}
LIMITS = Limits(
    q_min=np.array([-1.0, -0.02, -3.0]),
    q_max=np.array([1.0, 0.02, 0.5]),
    dq_max=np.array([2.0, 1.0, 3.0]),
    ddq_max=np.array([15.0, 5.0, 40.0]),
    dddq_max=np.array([500.0, 1000.0, 4000.0]),
    tau_max=np.full(N, 100.0),
)
JOINT_LIMITS = (Reason.POSITION, Reason.VELOCITY, Reason.ACCELERATION, Reason.JERK)
needs_cpp = pytest.mark.skipif(guard_native.module("auto") is None, reason="C++ guard not built")
_chosen: list[Impl] = ["python"]


@pytest.fixture(
    scope="module", autouse=True, params=["python", pytest.param("cpp", marks=needs_cpp)]
)
def impl(request: pytest.FixtureRequest) -> Iterator[Impl]:
    """A module that imports this runs all its tests once per implementation."""
    _chosen[0] = request.param
    yield request.param
    _chosen[0] = "python"


QUIET = Wrench(np.zeros(3), np.zeros(3))


# A real arm with its gripper, at rest in front of it, and a box that it cannot leave.
CHAIN = with_gripper("ur5e").robot.chain
HOME = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])
WIDE: dict[str, Any] = {
    **BOX,
    "workspace_min": (-3.0, -3.0, -3.0),
    "workspace_max": (3.0, 3.0, 3.0),
}
IDLE: dict[str, Any] = {
    "state": ArmState(
        HOME, np.zeros(6), HOME, Pose(CHAIN.position(HOME), np.array([1.0, 0, 0, 0])), np.zeros(6)
    ),
    "wrench": QUIET,
    "now_ns": 0,
    "command_t_ns": 0,
}


def arm(q: Vec | None = None, **changes: Any) -> ArmState:
    z = np.zeros(N) if q is None else q
    pose = Pose(np.zeros(3), np.array([1.0, 0, 0, 0]))
    return structs.replace(ArmState(z, np.zeros(N), z, pose, np.zeros(6)), **changes)


def make(
    q0: Any = (0.0, 0.0, 0.0),
    limits: Limits = LIMITS,
    period: float = T,
    fk: Fk = lambda q: q[:3].copy(),
    impl: Impl | None = None,
    **cfg: Any,
) -> Guard:
    """A guard at rest at `q0`; computed as the fixture `impl` says, unless told."""
    guard = Guard(GuardConfig(**{**BOX, **cfg}), limits, period, fk, impl or _chosen[0])
    guard.reset(np.array(q0, dtype=float))
    return guard


def send(guard: Guard, q: Any, **kw: Any) -> Decision:
    ok: dict[str, Any] = {"state": arm(), "wrench": QUIET, "now_ns": 0, "command_t_ns": 0}
    return guard.apply(q, **{**ok, **kw})


def same_finding(a: Finding, b: Finding) -> None:
    """Member by member; `repr` tells every float from every other, and is the same for NaN."""
    assert type(a) is type(b) is Finding
    for name in Finding.__struct_fields__:
        x, y = getattr(a, name), getattr(b, name)
        assert type(x) is type(y), name
        assert repr(x) == repr(y), name
    assert a.detail == b.detail
    check_finding(a)


def check_finding(f: Finding) -> None:
    """What holds for every finding of the compiled core: the value lies beyond the limit."""
    if f.reason is Reason.WORKSPACE and f.index < 0:
        assert isinstance(f.cause, Exception)
    elif f.reason in (*JOINT_LIMITS, Reason.WORKSPACE, Reason.COLLISION):
        # a stop must end a nanometre inside the position limits
        rounding = 2e-9 if f.stopping and f.reason is Reason.POSITION else 0.0
        assert not f.least + rounding <= f.found <= f.most - rounding
        assert f.limit in (f.least, f.most)
        assert (f.motion is not None) == (f.reason in JOINT_LIMITS)


def check_sent(rows: list[Vec], limits: Limits = LIMITS, period: float = T) -> None:
    """`rows[0]` is where the arm rested; then the outputs, one per period."""
    q = np.array([rows[0]] * 3 + rows)
    assert q.dtype == np.float64
    assert np.isfinite(q).all()
    assert (q >= limits.q_min).all()
    assert (q <= limits.q_max).all()
    for name in ("dq_max", "ddq_max", "dddq_max"):
        x = np.diff(q, axis=0)
        assert x.size
        q = x / period
        worst = np.abs(q).max(axis=0) / getattr(limits, name)
        assert (worst <= 1 + 1e-9).all(), (name, worst)


def ramp(guard: Guard, joint: int, ticks: int, rows: list[Vec]) -> list[Vec]:
    """Speed up one joint at a third of its jerk limit, then cruise; all accepted."""
    k = LIMITS.dddq_max[joint] * T**3 / 3
    for i in range(ticks):
        h = [rows[0]] * 3 + rows
        q = 2 * h[-1] - h[-2]
        if i < 10:
            q[joint] = (h[-1] + (h[-1] - h[-2]) + (h[-1] - 2 * h[-2] + h[-3]))[joint] + k
        elif i < 20:
            q[joint] = (h[-1] + (h[-1] - h[-2]) + (h[-1] - 2 * h[-2] + h[-3]))[joint] - k
        d = send(guard, q)
        assert d.reason is Reason.OK, d.detail
        np.testing.assert_array_equal(d.q, q)
        rows.append(d.q.copy())
    return rows


anything = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.booleans(),
    st.integers(),
    st.complex_numbers(),
    st.just(object()),
    st.lists(st.floats(), max_size=5),
    st.lists(st.lists(st.floats(), max_size=2), max_size=3),
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=2, max_side=4)),
    hnp.arrays(np.float64, N, elements=st.floats()),
    hnp.arrays(np.float64, N, elements=st.floats(-1.0, 1.0)),
)
wrenches = st.one_of(
    st.none(),
    st.just(QUIET),
    st.builds(
        Wrench,
        hnp.arrays(np.float64, st.sampled_from([3, 2]), elements=st.floats()),
        hnp.arrays(np.float64, 3, elements=st.floats(-5, 5)),
    ),
)
states = st.sampled_from(
    [
        None,
        arm(),
        arm(protective_stop=True),
        arm(powered=False),
        arm(np.full(N, np.nan)),
        arm(np.zeros(2)),
    ]
)
modes = st.sampled_from(["reject", "clamp"])
# One step of a stateful run: small steps relative to the last output (within reach of every limit,
# so that acceptance and rejection alternate at speed), absolute targets, or anything at all.
steps = st.one_of(
    st.tuples(st.just("jerk"), hnp.arrays(np.float64, N, elements=st.floats(-1.3, 1.3))),
    st.tuples(st.just("run"), hnp.arrays(np.float64, N, elements=st.floats(-1.0, 1.0))),
    st.tuples(st.just("to"), hnp.arrays(np.float64, N, elements=st.floats(-1.5, 1.5))),
    st.tuples(st.just("any"), anything),
)
