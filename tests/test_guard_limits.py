"""The guard at its edges: position limits at speed, the workspace, clamping, start and config."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from guard_rig import BOX, LIMITS, N, T, check_sent, make, ramp, send
from guard_rig import impl as impl

from headway import config
from headway.compiled import Impl
from headway.drivers.kinematics import Chain
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.guard.reasons import Reason
from headway.errors import CommandRejected, ConfigError
from headway.types import Limits, Vec


def test_a_run_into_a_limit_is_refused_while_a_stop_is_still_possible() -> None:
    guard = make()
    rows = ramp(guard, 0, 40, [np.zeros(N)])
    for _ in range(20_000):
        d = send(guard, 2 * rows[-1] - rows[-2])  # cruise on
        rows.append(d.q.copy())
        if d.changed:
            break
    assert d.reason is Reason.POSITION
    assert (d.finding.index, d.finding.stopping, d.finding.limit) == (0, True, LIMITS.q_max[0])
    assert d.finding.found == pytest.approx(LIMITS.q_max[0], abs=2 * (rows[40] - rows[39])[0])
    assert rows[-2][0] < LIMITS.q_max[0]
    for _ in range(500):
        rows.append(send(guard, None).q.copy())
    check_sent(rows)
    # the refusal came at the last moment, not early
    assert 0.0 <= LIMITS.q_max[0] - rows[-1][0] < 2 * (rows[40] - rows[39])[0]


def test_an_approach_that_slows_down_may_touch_the_limit() -> None:
    guard = make()
    s = np.linspace(0.0, 1.0, 1501)[1:]
    path = s**4 * (35 - 84 * s + 70 * s**2 - 20 * s**3)
    for x in path:
        d = send(guard, np.array([x * LIMITS.q_max[0], 0.0, 0.0]))
        assert d.reason is Reason.OK, d.detail
    assert d.q[0] == LIMITS.q_max[0]
    assert send(guard, d.q.copy()).reason is Reason.OK


def box(**kw: Any) -> dict[str, Any]:
    return {"workspace_min": (-1, -1, -1), "workspace_max": (0.1, 1, 1), "lever_m": 1.0, **kw}


def test_the_stop_from_a_command_stays_in_the_workspace() -> None:
    guard = make(**box())  # the TCP of this arm is (q0, q1, q2) [m]
    rows = ramp(guard, 0, 40, [np.zeros(N)])
    while True:
        d = send(guard, 2 * rows[-1] - rows[-2])
        rows.append(d.q.copy())
        if d.changed:
            break
    assert d.reason is Reason.WORKSPACE
    assert (d.finding.index, d.finding.stopping, d.finding.limit) == (0, True, 0.1)
    assert "TCP would stop at x" in d.detail
    for _ in range(500):
        rows.append(send(guard, None).q.copy())
    check_sent(rows)
    assert max(r[0] for r in rows) <= 0.1
    assert rows[-1][0] > 0.1 - 2 * (rows[40] - rows[39])[0]


def test_from_outside_the_workspace_only_the_way_back_is_open() -> None:
    guard = make((0.2, 0.0, 0.0), **box())
    step = np.array([1e-7, 0.0, 0.0])
    start = np.array([0.2, 0.0, 0.0])
    assert send(guard, start).reason is Reason.OK  # to stand still is allowed
    assert send(guard, start + step).reason is Reason.WORKSPACE
    guard.reset(start)
    assert send(guard, start - step).reason is Reason.OK
    assert send(guard, start - 3 * step).reason is Reason.OK


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([np.nan, 0.0, 0.0], "TCP at x = nan"),
        ([0.0, 0.0], "kinematics failed: ValueError"),
        (None, "kinematics failed: TypeError"),
        ("raise", "kinematics failed: RuntimeError('singular')"),
    ],
)
def test_broken_kinematics_refuse(wrong: Any, says: str) -> None:
    def fk(q: Vec) -> Vec:
        if wrong == "raise":
            raise RuntimeError("singular")
        return wrong if wrong is None else np.array(wrong)

    sent = send(make(fk=fk), np.zeros(N))
    assert sent.reason is Reason.WORKSPACE
    assert says in sent.detail


def test_an_interrupt_in_the_kinematics_is_not_swallowed() -> None:
    def fk(q: Vec) -> Vec:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send(make(fk=fk), np.zeros(N))


def test_a_chain_of_another_arm_is_refused() -> None:
    with pytest.raises(ValueError, match="chain of its 3 joints, found one of 1"):
        make(fk=Chain.from_dh(((0.1, 0.0, 0.0),)))


def test_clamp_reaches_a_step_without_overshoot_and_keeps_every_limit() -> None:
    guard = make(mode="clamp")
    target = np.array([0.5, -0.01, -2.0])
    rows = [np.zeros(N)]
    for _ in range(2500):
        d = send(guard, target)
        assert not d.braking
        rows.append(d.q.copy())
    check_sent(rows)
    q = np.array(rows)
    np.testing.assert_allclose(q[-1], target, atol=1e-6)
    assert (np.abs(q) <= np.abs(target) + 4 * LIMITS.dddq_max * T**3).all()
    # and not slowly: within 1.3 x the time of a jerk-limited move between two rests
    v, a, j = LIMITS.dq_max, LIMITS.ddq_max, LIMITS.dddq_max
    best = np.abs(target) / v + v / a + a / j
    arrived = np.array([np.argmax(np.abs(q[:, k] - target[k]) < 1e-3) * T for k in range(N)])
    assert (arrived <= 1.3 * best).all(), (arrived, best)


def test_clamp_follows_a_command_that_is_too_jerky() -> None:
    guard = make(mode="clamp")
    rng = np.random.default_rng(0)
    rows, error, changed = [np.zeros(N)], [], 0
    for k in range(3000):
        t = k * T
        smooth = np.array([0.4, 0.01, 0.3]) * (1 - np.cos(1.5 * t)) / 2
        d = send(guard, smooth + rng.normal(0, 1e-6, N))
        changed += d.changed
        rows.append(d.q.copy())
        error.append(np.abs(d.q - smooth))
    check_sent(rows)
    assert changed > 100
    assert np.max(error) < 2e-3


def test_clamp_goes_to_the_limit_for_a_target_beyond_it() -> None:
    guard = make(mode="clamp")
    rows = [np.zeros(N)]
    for _ in range(3000):
        d = send(guard, np.array([7.0, 1.0, -9.0]))
        rows.append(d.q.copy())
    assert d.reason is Reason.POSITION
    check_sent(rows)
    want = [LIMITS.q_max[0], LIMITS.q_max[1], LIMITS.q_min[2]]
    np.testing.assert_allclose(rows[-1], want, atol=1e-6)


def test_clamp_still_brakes_for_what_is_not_a_joint_limit() -> None:
    guard = make(mode="clamp")
    d = send(guard, [0.5, 0.0, 0.0], state=None)
    assert (d.reason, d.braking) == (Reason.NO_STATE, True)
    assert send(guard, [0.5, np.nan, 0.0]).reason is Reason.NOT_FINITE


def test_start_outside_the_limits_is_refused_and_noise_is_not() -> None:
    guard = make()
    with pytest.raises(CommandRejected, match=r"joint 1 in .* found 0\.0400"):
        guard.reset(np.array([0.0, 0.04, 0.0]))
    with pytest.raises(CommandRejected, match="finite"):
        guard.reset(np.array([0.0, np.nan, 0.0]))
    guard.reset(np.array([0.0, 0.021, 0.0]))
    assert send(guard, None).q[1] == 0.02


def test_a_joint_that_starts_outside_the_guards_limits_may_stay_or_come_back(impl: Impl) -> None:
    """No step at the start: the margin is 0.01 rad, and joint 1 stands in the middle of it."""
    guard = make(position_margin=0.01)
    guard.reset(np.array([0.0, 0.015, 0.0]))
    assert send(guard, None).q[1] == 0.015
    d = send(guard, [0.0, 0.0151, 0.0])  # further out
    assert (d.reason, d.q[1]) == (Reason.POSITION, 0.015)
    for x in np.linspace(0.015, 0.0, 400) ** 2 / 0.015:  # slowly back in
        assert send(guard, [0.0, x, 0.0]).q[1] <= 0.015
    guard.reset(np.zeros(N))  # inside: the limits are the guard's own again
    assert send(guard, [0.0, 0.0101, 0.0]).reason is not Reason.OK


def test_how_far_outside_a_joint_may_start_is_bounded() -> None:
    with pytest.raises(ValueError, match=r"reset_tolerance wants at most 0\.02 rad, found 0\.3"):
        make(reset_tolerance=0.3)


def test_nothing_is_sent_before_reset(impl: Impl) -> None:
    guard = Guard(GuardConfig(**BOX), LIMITS, T, lambda q: q, impl)
    with pytest.raises(CommandRejected, match="reset"):
        send(guard, np.zeros(N))


def test_margin_and_scale_tighten_the_limits() -> None:
    guard = make(position_margin=0.015, dq_scale=0.5)
    assert send(guard, [0.0, 0.006, 0.0]).reason is Reason.POSITION
    assert send(guard, [1.1 * T, 0.0, 0.0]).reason is Reason.VELOCITY  # 2 rad/s is the arm's limit


def test_the_decision_is_refilled_not_reallocated() -> None:
    guard = make()
    first = send(guard, np.zeros(N))
    buffer = first.q
    second = send(guard, None)
    assert second is first
    assert second.q is buffer


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("force_max", 0.0),
        ("dq_scale", 1.5),
        ("position_margin", -0.1),
        ("position_margin", float("nan")),
        ("risk_max", 2.0),
        ("risk_after_s", -1.0),
        ("risk_after_s", 1.0),  # of which limit?
        ("power_max", 0.0),
        ("workspace_margin", 20.0),
        ("mode", "off"),
    ],
)
def test_senseless_configuration_is_named(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key.split("_")[0]):
        config.decode({**BOX, key: value}, GuardConfig, "run.toml [guard]")


def test_senseless_limits_are_named() -> None:
    one = np.ones(N)
    for bad in (
        Limits(one, -one, one, one, one, one),
        Limits(-one, one, one, 0 * one, one, one),
        Limits(-one, one, one, one, one * np.nan, one),
    ):
        with pytest.raises(ValueError, match="wanted finite q_min < q_max"):
            make(limits=bad)
    with pytest.raises(ValueError, match="rounding"):
        make(limits=Limits(-one, one, one, one, one * 1e-4, one), period=1e-3)
