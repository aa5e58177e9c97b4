"""Speed by PRO's risk: conformal thresholds, the scale and the clock of what is played."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from headway import config
from headway.edge.motion.play_clock import PlayClock
from headway.edge.pro import risk
from headway.edge.pro.risk import Calibration, RiskConfig, RiskControl, SpeedScale
from headway.errors import ConfigError, SpecMismatch
from headway.types import Signals

T = 0.002
SHA = "a" * 64


def made(peaks: Any, **changes: Any) -> Calibration:
    given_: dict[str, Any] = {
        "kind": "risk", "pro": "head", "pro_sha256": SHA, "policy_sha256": "", "data": "",
        "peaks": tuple(sorted(peaks)), "episodes": 1000, "date": "2026-01-01",
    }  # fmt: skip
    return Calibration(**{**given_, **changes})


def signals(value: float) -> Signals:
    return Signals(0.0, 1.0, 0.0, value, 1.0, 0.0)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.floats(0.03, 0.9))
def test_of_exchangeable_successes_at_most_alpha_exceed(peaks: list[float], alpha: float) -> None:
    """Whichever one is the new one: over all choices the guarantee is exact, not statistical."""
    n = len(peaks) - 1
    if n < risk.fewest_successes(alpha):
        wanted = f"wants at least {risk.fewest_successes(alpha)} successful"
        with pytest.raises(ConfigError, match=wanted):
            made(peaks[1:]).threshold(alpha)
        return
    over = sum(x > made(peaks[:i] + peaks[i + 1 :]).threshold(alpha) for i, x in enumerate(peaks))
    assert over <= alpha * (n + 1) + 1e-9


def test_the_threshold_is_the_documented_rank() -> None:
    peaks = np.arange(1, 100) / 100  # 99 of them
    assert made(peaks).threshold(0.1) == pytest.approx(0.90)
    assert made(peaks).threshold(0.01) == pytest.approx(0.99)
    assert risk.fewest_successes(0.01) == 99
    with pytest.raises(ConfigError, match="at least 199"):
        made(peaks).threshold(0.005)


def test_a_calibration_is_bound_to_its_pro_model(tmp_path: Path) -> None:
    path = tmp_path / "risk.json"
    path.write_bytes(msgspec.json.encode(made([0.1, 0.2])))
    assert risk.load(path, SHA).peaks == (0.1, 0.2)
    with pytest.raises(SpecMismatch, match=r"model a{12} \(head\), this run has bbb"):
        risk.load(path, "b" * 64)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "headway pro alarms"),
        (b"{", "headway pro alarms"),
        (b"[]", "risk.json"),
        (b'{"kind": "risk"}', "pro"),
        (msgspec.json.encode({**msgspec.to_builtins(made([0.1])), "peaks": [0.2, 0.1]}), "rising"),
        (
            msgspec.json.encode({**msgspec.to_builtins(made([0.1])), "peaks": [1.2]}),
            "<= 1, found 1.2",
        ),
        (msgspec.json.encode({**msgspec.to_builtins(made([0.1])), "episodes": 0}), "1 successes"),
        (msgspec.json.encode({**msgspec.to_builtins(made([0.1])), "peak": 1}), "unknown key"),
    ],
)
def test_what_is_no_calibration_is_an_error_that_says_so(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "risk.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        risk.load(path, SHA)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"slow_alpha": 0.0}, "slow_alpha"),
        ({"abort_alpha": 0.4}, "abort_alpha wants at most .* slow down first"),
        ({"full_alpha": 0.4}, "full_alpha wants at most .* slow down first"),
        ({"slowest": 0.0}, "slowest"),
        ({"abort_after_s": -1.0}, "abort_after_s"),
        ({"rise_per_s": -1.0}, "rise_per_s"),
    ],
)
def test_a_senseless_section_is_named(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config.decode({"calibration": "x", **table}, RiskConfig, "run.toml [risk]")


@given(
    st.lists(st.one_of(st.none(), st.floats()), max_size=60),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.05, 1.0),
    st.floats(0.1, 500.0),
    st.floats(0.1, 500.0),
)
def test_the_scale_is_bounded_and_changes_no_faster_than_it_may(
    risks: list[float | None], slow: float, full: float, slowest: float, fall: float, rise: float
) -> None:
    cfg = RiskConfig(calibration="", slowest=slowest, fall_per_s=fall, rise_per_s=rise)
    scale = SpeedScale(cfg, slow, full, T)
    before = 1.0
    for x in risks:
        now = scale.step(None if x is None else signals(x))
        assert slowest <= now <= 1.0
        assert -fall * T - 1e-12 <= now - before <= rise * T + 1e-12
        if x is None or math.isnan(x):
            assert now <= before
        before = now
    for _ in range(5):
        scale.reset()
        assert scale.step(signals(0.0)) == 1.0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_more_risk_is_never_faster(a: float, b: float, slow: float, full: float) -> None:
    scale = SpeedScale(RiskConfig(calibration=""), slow, full, T)
    low, high = sorted((a, b))
    assert scale.wanted(low) >= scale.wanted(high)
    assert scale.wanted(low) == 1.0 or low > slow


def test_the_scale_falls_rises_and_is_linear_between() -> None:
    cfg = RiskConfig(calibration="", slowest=0.4, fall_per_s=5.0, rise_per_s=0.5)
    scale = SpeedScale(cfg, 0.2, 0.6, T)
    assert scale.wanted(0.4) == pytest.approx(0.7)
    steps = [scale.step(signals(0.9)) for _ in range(100)]
    assert steps[9] == pytest.approx(0.9)
    assert steps[-1] == 0.4
    back = [scale.step(signals(0.0)) for _ in range(700)]
    assert back[99] == pytest.approx(0.5)
    assert back[-1] == 1.0


def test_a_run_takes_its_thresholds_from_the_calibration() -> None:
    peaks = np.arange(1, 100) / 100
    twenty = RiskConfig(calibration="", slow_alpha=0.2, full_alpha=0.1)
    control = RiskControl(structs.replace(twenty, abort_alpha=0.05), made(peaks), T)
    assert control.slow == pytest.approx(0.8)
    assert control.limit == (pytest.approx(0.95), twenty.abort_after_s)
    assert control.step(signals(0.95)) < 1.0
    control.reset()
    assert control.step(signals(0.8)) == 1.0
    control = RiskControl(twenty, made(peaks), T)
    assert control.limit is None
    steps = [control.step(signals(0.9)) for _ in range(200)]
    assert steps[-1] == twenty.slowest  # as far as it goes at the second
    with pytest.raises(ConfigError, match="wants at least 19 successful"):
        RiskControl(structs.replace(twenty, full_alpha=0.05), made(peaks[:18]), T)


@given(st.lists(st.tuples(st.floats(0.1, 1.0), st.booleans()), max_size=200))
def test_the_played_clock_never_runs_backwards_or_ahead(ticks: list[tuple[float, bool]]) -> None:
    clock, dt = PlayClock(2_000_000), 2_000_000
    played = clock.now(0)
    marks: list[tuple[int, int]] = []
    for k, (scale, mark) in enumerate(ticks, 1):
        t = k * dt
        clock.advance(scale)
        step = clock.now(t) - played
        assert abs(step - scale * dt) <= 1
        assert 0 < step <= dt
        played = clock.now(t)
        if mark:
            clock.mark(t)
            marks.append((t, played))
    for t, then in marks[-64:]:
        assert clock.played(t) == then


def test_without_slowing_both_clocks_are_one() -> None:
    clock = PlayClock(2_000_000)
    for k in range(5):
        clock.advance(1.0)
        clock.mark(k)
    assert [clock.now(7), clock.played(3), clock.played(-1)] == [7, 3, -1]
    clock.advance(0.5)
    assert clock.played(100) == 100  # an observation of before the slowing
    assert PlayClock(10).played(5) == 5
    clock.reset()
    assert clock.now(9) == 9
