"""The guard's promise, against a reference checker that shares no code with it: whatever comes in,
what goes out is finite, inside the joint limits, and within velocity, acceleration and jerk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from guard_rig import (
    CHAIN,
    HOME,
    IDLE,
    LIMITS,
    WIDE,
    N,
    T,
    anything,
    arm,
    check_sent,
    make,
    modes,
    ramp,
    send,
    states,
    steps,
    wrenches,
)  # fmt: skip
from guard_rig import impl as impl
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from msgspec import structs
from properties import examples

from headway.compiled import Impl
from headway.drivers.model import load
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.guard.reasons import Reason
from headway.types import Limits, Pose, Signals, Vec, Wrench

UR5E = load("ur5e")


@examples(120, suppress_health_check=[HealthCheck.too_slow])
@given(mode=modes, data=st.lists(st.tuples(steps, st.integers(1, 40)), min_size=1, max_size=12))
def test_nothing_gets_an_unsafe_command_through(mode: str, data: list[Any]) -> None:
    guard = make(mode=mode)
    rows = [np.zeros(N)]
    for (kind, value), times in data:
        for _ in range(times):
            h = [rows[0]] * 3 + rows
            a = h[-1] - 2 * h[-2] + h[-3]
            if kind == "jerk":  # up to 1.3 x the jerk limit, forever
                q: Any = h[-1] + (h[-1] - h[-2]) + a + value * LIMITS.dddq_max * T**3
            elif kind == "run":  # up to full acceleration, jerk limit kept
                want = value * LIMITS.ddq_max * T**2
                step = np.clip(want - a, -LIMITS.dddq_max * T**3, LIMITS.dddq_max * T**3)
                q = h[-1] + (h[-1] - h[-2]) + a + step * (1 - 1e-9)
            else:
                q = value
            before = q.copy() if isinstance(q, np.ndarray) else None
            d = send(guard, q)
            if before is not None:
                np.testing.assert_array_equal(q, before)
            if not d.changed:
                np.testing.assert_array_equal(d.q, np.asarray(q, float))
            assert d.changed == (d.reason is not Reason.OK)
            assert isinstance(d.detail, str)
            rows.append(d.q.copy())
    check_sent(rows)
    check_sent(come_to_rest(guard, rows, 2000))


def come_to_rest(guard: Guard, rows: list[Any], most: int) -> list[Any]:
    """`rows` and what is sent without a command, until it has been the same 100 times: whatever
    went before, a stop ends within `most` ticks, and remains."""
    rows, same = list(rows), 0
    while same < 100:
        assert most > 0, "it does not come to rest"
        rows.append(send(guard, None).q.copy())
        same = same + 1 if np.array_equal(rows[-1], rows[-2]) else 0
        most -= 1
    return rows


@examples(100)
@given(
    mode=modes,
    data=st.lists(
        st.tuples(anything, states, wrenches, st.integers(-(10**12), 10**12)), max_size=30
    ),
    risk=st.floats(),
)
def test_no_mix_of_inputs_makes_it_raise_or_leave_the_limits(
    mode: str, data: list[Any], risk: float
) -> None:
    guard = make(mode=mode, risk_max=0.9)
    rows = [np.zeros(N)]
    signals = Signals(0.0, 1.0, 0.0, risk, 1.0, 0.0)
    for i, (q, state, wrench, t) in enumerate(data):
        d = send(guard, q, state=state, wrench=wrench, command_t_ns=t, signals=signals)
        assert d.detail or not d.changed
        rows.append(d.q.copy())
        if i % 7 == 6:
            guard.acknowledge()
    check_sent(rows)


signals = st.one_of(
    st.none(), st.builds(Signals, *[st.just(0.5)] * 3, st.floats(), *[st.just(0.0)] * 2)
)


@examples(60)
@given(
    mode=modes,
    data=st.lists(
        st.tuples(
            st.one_of(anything, hnp.arrays(np.float64, 6, elements=st.floats(-3, 3))),
            hnp.arrays(np.float64, 6, elements=st.floats(-1.5, 1.5)),
            wrenches,
            states,
            signals,
        ),
        max_size=12,
    ),
)
def test_no_mix_of_inputs_moves_a_real_arm_outside_its_limits(
    impl: Impl, mode: str, data: list[Any]
) -> None:
    """With everything on: kinematics, collisions, power and risk; half of the ticks push the arm
    at up to one and a half times its jerk limit."""
    cfg = GuardConfig(**{**WIDE, "floor_z": 0.0, "power_max": 5.0, "risk_max": 0.9, "mode": mode})
    guard = Guard(cfg, UR5E.limits, T, CHAIN, impl)
    guard.reset(HOME)
    rows = [HOME]
    for odd, push, wrench, state, risk in data:
        for k in range(20):
            h = [rows[0]] * 3 + rows
            q = 3 * h[-1] - 3 * h[-2] + h[-3] + push * UR5E.limits.dddq_max * T**3
            given_ = {**IDLE, "signals": Signals(0.0, 1.0, 0.0, 0.1, 1.0, 0.0)}
            if k == 19:
                q, given_ = odd, {**IDLE, "wrench": wrench, "state": state, "signals": risk}
            rows.append(guard.apply(q, **given_).q.copy())
        guard.acknowledge()
    rows += [guard.apply(None, **IDLE).q.copy() for _ in range(600)]
    check_sent(rows, UR5E.limits)
    np.testing.assert_array_equal(rows[-1], rows[-2])


@examples(40)
@given(
    v=st.floats(0.05, 20), a=st.floats(0.1, 200), j=st.floats(5, 20_000), mode=modes,
    period=st.sampled_from([0.001, 0.002, 0.01]), data=st.data(),
)  # fmt: skip
def test_it_holds_for_other_arms_and_rates(
    v: float, a: float, j: float, mode: str, period: float, data: st.DataObject
) -> None:
    one = np.ones(N)
    limits = Limits(-one, one * 0.7, one * v, one * a, one * j, one)
    guard = make(limits=limits, mode=mode, period=period)
    rows = [np.zeros(N)]
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    target = one * 0.0
    for k in range(320):
        if k % 80 == 0:
            target = rng.uniform(-1.2, 1.2, N)
        h = [rows[0]] * 3 + rows
        acc = h[-1] - 2 * h[-2] + h[-3]
        push = np.clip(np.sign(target) * a * period**2 - acc, -j * period**3, j * period**3)
        q = target if k % 160 > 80 else 2 * h[-1] - h[-2] + acc + push * (1 - 1e-9)
        rows.append(send(guard, q).q.copy())
    check_sent(rows, limits, period)


def test_good_commands_pass_bit_for_bit_and_a_bad_one_becomes_a_stop() -> None:
    guard = make()
    rows = ramp(guard, 0, 60, [np.zeros(N)])
    speed = (rows[-1] - rows[-2])[0] / T
    assert speed > 0.05
    d = send(guard, np.full(N, np.nan))
    assert (d.reason, d.changed, d.braking) == (Reason.NOT_FINITE, True, True)
    assert d.q[0] > rows[-1][0]  # a stop goes on moving; it does not freeze
    rows.append(d.q.copy())
    for _ in range(200):
        rows.append(send(guard, None).q.copy())
    check_sent(rows)
    np.testing.assert_array_equal(rows[-1], rows[-2])
    assert send(guard, rows[-1]).reason is Reason.OK  # holding may be taken over from


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (None, Reason.NO_COMMAND),
        ("0 0 0", Reason.NOT_NUMBERS),
        ([True] * N, Reason.NOT_NUMBERS),
        ([1j] * N, Reason.NOT_NUMBERS),
        ([[0.0], [0.0, 1.0]], Reason.NOT_NUMBERS),
        (object(), Reason.NOT_NUMBERS),
        ([10**400] * N, Reason.NOT_NUMBERS),
        ([np.inf, 0.0, 0.0], Reason.NOT_FINITE),
        ([0.0] * (N + 1), Reason.SHAPE),
        (np.zeros((N, 1)), Reason.SHAPE),
        (0.0, Reason.SHAPE),
        ([0.0, 0.03, 0.0], Reason.POSITION),
        ([1e308, 0.0, 0.0], Reason.POSITION),
        ([0.01, 0.0, 0.0], Reason.VELOCITY),
        ([1e-3, 0.0, 0.0], Reason.ACCELERATION),
        ([1e-5, 0.0, 0.0], Reason.JERK),
    ],
)
def test_each_fault_has_its_reason(bad: Any, reason: Reason) -> None:
    d = send(make(), bad)
    assert d.reason is reason, d.detail
    assert d.braking
    assert d.changed
    assert len(d.detail) > 5
    np.testing.assert_array_equal(d.q, np.zeros(N))


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"now_ns": 200_000_000}, Reason.LATE),
        ({"command_t_ns": 200_000_000}, Reason.EARLY),
        ({"wrench": None}, Reason.NO_WRENCH),
        ({"wrench": Wrench(np.array([0, np.nan, 0]), np.zeros(3))}, Reason.BAD_WRENCH),
        ({"wrench": Wrench(np.zeros(2), np.zeros(3))}, Reason.BAD_WRENCH),
        ({"wrench": Wrench(np.array([0, 0, 41.0]), np.zeros(3))}, Reason.FORCE),
        ({"wrench": Wrench(np.zeros(3), np.array([4.1, 0, 0]))}, Reason.FORCE),
        ({"state": None}, Reason.NO_STATE),
        ({"state": arm(np.array([0, np.nan, 0]))}, Reason.BAD_STATE),
        ({"state": arm(powered=False)}, Reason.NOT_POWERED),
        ({"state": arm(protective_stop=True)}, Reason.PROTECTIVE_STOP),
        ({"signals": None}, Reason.NO_SIGNALS),
        ({"signals": Signals(0, 1, 0, 0.95, 0, 0)}, Reason.RISK),
        ({"signals": Signals(0, 1, 0, np.nan, 0, 0)}, Reason.RISK),
        # the first check in the documented order is the one that is named
        ({"now_ns": 200_000_000, "wrench": None, "state": None}, Reason.LATE),
        # without the arm's state the wrench at the tool is not known either
        ({"wrench": None, "state": None}, Reason.NO_STATE),
    ],
)
def test_each_missing_or_bad_input_has_its_reason(inputs: Any, reason: Reason) -> None:
    fine = {"signals": Signals(0.0, 1.0, 0.0, 0.1, 1.0, 0.0)}
    guard = make(risk_max=0.9)
    assert send(guard, np.zeros(N), **fine).reason is Reason.OK
    d = send(guard, np.zeros(N), **{**fine, **inputs})
    assert d.reason is reason
    assert d.braking
    assert len(d.detail) > 5


def test_missing_wrench_passes_where_the_arm_has_none() -> None:
    assert send(make(require_wrench=False), np.zeros(N), wrench=None).reason is Reason.OK


def test_force_trip_latches_until_well_below() -> None:
    guard = make(require_wrench=False)

    def push(newton: float | None) -> Reason:
        w = None if newton is None else Wrench(np.array([0.0, 0.0, newton]), np.zeros(3))
        return send(guard, np.zeros(N), wrench=w).reason

    assert [push(x) for x in (39.0, 41.0, 30.0, None, 21.0, 19.0, 39.0)] == [
        Reason.OK, Reason.FORCE, Reason.FORCE, Reason.FORCE, Reason.FORCE, Reason.OK, Reason.OK,
    ]  # fmt: skip
    # a spike during a tick that another check rejects is not forgotten
    assert send(guard, None, wrench=Wrench(np.full(3, 99.0), np.zeros(3))).reason is (
        Reason.NO_COMMAND
    )
    assert push(30.0) is Reason.FORCE


def test_protective_stop_latches_until_acknowledged() -> None:
    guard = make()
    send(guard, None, state=arm(protective_stop=True))
    assert send(guard, np.zeros(N)).reason is Reason.PROTECTIVE_STOP
    guard.reset(np.zeros(N))
    assert send(guard, np.zeros(N)).reason is Reason.PROTECTIVE_STOP
    guard.acknowledge()
    assert send(guard, np.zeros(N)).reason is Reason.OK
    guard.acknowledge()
    held = send(guard, np.zeros(N), state=arm(protective_stop=True))
    assert held.reason is Reason.PROTECTIVE_STOP


def test_contact_power_trips_and_latches_like_force() -> None:
    guard = make(power_max=5.0)
    half = np.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])  # the TCP's x is the base's y

    def push(newton: float, speed: float, frame: str = "tcp", quat: Vec = half) -> Reason:
        twist = np.array([0.0, speed, 0.0, 0.0, 0.0, 0.0])
        state = structs.replace(arm(), twist=twist, tcp=Pose(np.zeros(3), quat))
        wrench = Wrench(np.array([newton, 0.0, 0.0]), np.zeros(3), frame)
        return send(guard, np.zeros(N), state=state, wrench=wrench).reason

    assert push(30.0, 0.1) is Reason.OK  # 3 W
    assert push(30.0, -0.2) is Reason.POWER  # 6 W, whichever way it flows
    assert push(30.0, 0.0) is Reason.POWER  # the force is above half of what trips
    assert push(19.0, 0.2) is Reason.POWER  # 3.8 W: above half of the power
    assert push(19.0, 0.1) is Reason.OK
    assert push(30.0, 0.2, "base") is Reason.OK  # across the motion, in the base frame
    assert push(41.0, 0.0) is Reason.FORCE
    guard = make(power_max=5.0)
    assert push(1.0, np.nan) is Reason.POWER  # not known to be small
    assert push(1.0, 0.0) is Reason.OK
    assert push(1.0, 0.0, "tcp", np.zeros(2)) is Reason.POWER
