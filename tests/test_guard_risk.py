"""When PRO's risk stops the robot: at once or after it has lasted, and until it is acknowledged."""

from __future__ import annotations

from typing import Any

import numpy as np
from guard_rig import CHAIN, HOME, IDLE, WIDE, N, T, make, send
from guard_rig import impl as impl
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from headway.drivers.kinematics import Impl
from headway.drivers.model import load
from headway.edge.guard.config import RiskLimit
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.guard.reasons import Reason
from headway.types import Signals

UR5E = load("ur5e")


def with_risk(value: float | None) -> Signals | None:
    return None if value is None else Signals(0.0, 1.0, 0.0, value, 1.0, 0.0)


def test_pro_risk_latches_until_acknowledged() -> None:
    guard = make(risk_max=0.5)

    def risky(risk: float | None) -> Reason:
        return send(guard, np.zeros(N), signals=with_risk(risk)).reason

    assert [risky(x) for x in (0.5, None, 0.4, 0.6, 0.1, None)] == [
        Reason.OK, Reason.NO_SIGNALS, Reason.OK, Reason.RISK, Reason.RISK, Reason.RISK,
    ]  # fmt: skip
    guard.reset(np.zeros(N))
    assert risky(0.1) is Reason.RISK
    guard.acknowledge()
    assert risky(0.1) is Reason.OK
    # seen on a tick that another check rejects, and not forgotten
    send(guard, None, signals=Signals(0.0, 1.0, 0.0, 0.9, 1.0, 0.0))
    assert risky(0.1) is Reason.RISK
    guard.acknowledge()
    assert risky(np.nan) is Reason.RISK


class Waiting:
    """What a limit of the risk means, written out a second time: a risk above it counts as the
    limit itself until it has lasted; a risk beyond the limit, or one that is NaN, then latches."""

    def __init__(self, most: float, ticks: int) -> None:
        self.most, self.ticks = most, ticks
        self.above, self.latched = 0, False

    def step(self, risk: float | None) -> Reason:
        if risk is None or not risk > self.most:
            self.above = 0
        else:
            self.above += 1
            if self.above <= self.ticks:
                risk = self.most
        if risk is None:
            return Reason.RISK if self.latched else Reason.NO_SIGNALS
        self.latched = self.latched or not risk <= self.most
        return Reason.RISK if self.latched else Reason.OK


@examples(60)
@given(
    ticks=st.integers(0, 6),
    data=st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.5, np.nextafter(0.5, 1.0), 0.9, np.inf, np.nan, None]),
            st.integers(1, 9),
            st.sampled_from(["", "", "", "reset", "acknowledge", "other check"]),
        ),
        max_size=30,
    ),
    given_by=st.sampled_from(["configuration", "argument"]),
)
def test_a_risk_stops_at_the_tick_at_which_it_has_lasted(
    impl: Impl, ticks: int, data: list[Any], given_by: str
) -> None:
    after_s = ticks * T
    if given_by == "argument":  # it overrides what the configuration says
        cfg = GuardConfig(**WIDE, risk_max=0.05)
        guard = Guard(cfg, UR5E.limits, T, CHAIN, impl, RiskLimit(0.5, after_s))
    else:
        cfg = GuardConfig(**WIDE, risk_max=0.5, risk_after_s=after_s)
        guard = Guard(cfg, UR5E.limits, T, CHAIN, impl)
    guard.reset(HOME)
    model = Waiting(0.5, ticks)
    for risk, times, event in data:
        if event == "reset":
            guard.reset(HOME)
            model.above = 0
        if event == "acknowledge":
            guard.acknowledge()
            model.latched = False
        for _ in range(times):
            want, q = model.step(risk), HOME
            if event == "other check":  # the count goes on, whatever else is refused
                want, q = Reason.NO_COMMAND, None
            assert guard.apply(q, **IDLE, signals=with_risk(risk)).reason is want


def test_a_risk_that_lasts_crosses_drops_and_crosses_again() -> None:
    guard = make(risk_max=0.5, risk_after_s=3 * T)
    risks = [0.6, 0.6, 0.6, 0.5, 0.6, 0.6, 0.6, 0.7, 0.1]
    said = [send(guard, np.zeros(N), signals=with_risk(x)) for x in risks[:-2]]
    assert said[-1].reason is Reason.OK  # three ticks, then a break, then three ticks
    for x in risks[-2:]:
        d = send(guard, np.zeros(N), signals=with_risk(x))
        assert d.reason is Reason.RISK
        assert (d.finding.found, d.finding.limit) == (0.7, 0.5)  # what latched it
        assert "0.700, allowed 0.5" in d.detail
