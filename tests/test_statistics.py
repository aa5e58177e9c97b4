"""The numbers that a run prints, against scipy and published values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from headway.edge.control.result import Result, Trace
from headway.tools.run.summary import EpisodeSummary, episode_line, separation, success_line
from headway.tools.statistics import auroc, wilson
from headway.types import Signals


@given(st.integers(1, 400), st.data())
def test_the_wilson_interval_is_scipys(n, data):
    binomtest = pytest.importorskip("scipy.stats").binomtest
    k = data.draw(st.integers(0, n))
    theirs = binomtest(k, n).proportion_ci(0.95, method="wilson")
    low, high = wilson(k, n)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)
    assert 0.0 <= low <= k / n + 1e-12
    assert k / n - 1e-12 <= high <= 1.0


def test_of_nothing_everything_is_possible():
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60))
def test_auroc_is_the_mann_whitney_statistic(pairs):
    scores, positive = [s for s, _ in pairs], [y for _, y in pairs]
    found = auroc(scores, positive)
    up, down = [s for s, y in pairs if y], [s for s, y in pairs if not y]
    if not up or not down:
        assert math.isnan(found)
        return
    mannwhitneyu = pytest.importorskip("scipy.stats").mannwhitneyu
    assert found == pytest.approx(mannwhitneyu(up, down).statistic / (len(up) * len(down)))


def episode(seed, success, seconds, risk):
    trace = Trace(1000)
    for k in range(int(seconds * 50)):
        trace.add(k / 50, Signals(0, 1, 0.5, risk, 0, 0), force=1.0, retries=seed)
    result = Result(
        end="done", success=success, seconds=seconds, ticks=1, retries=0, rejected=0, missed=0,
        peak_force=0.0, reward=0.0,
    )  # fmt: skip
    return EpisodeSummary(seed, result, trace)


def text(table):
    console = Console(width=100)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def line(has_ft=True, has_pro=True, **fields):
    """What the console shows of an episode with the `fields` of its result."""
    usual = {
        "end": "time limit", "success": None, "seconds": 2.0, "ticks": 1000, "retries": 1,
        "rejected": 0, "missed": 0, "peak_force": 12.4, "reward": -0.5,
    }  # fmt: skip
    console = Console(width=300)
    with console.capture() as capture:
        console.print(episode_line(7, Result(**(usual | fields)), has_ft, has_pro))
    return capture.get().splitlines()


def test_the_line_of_an_episode():
    assert line() == [
        "seed 7: no verdict (time limit, 2.0 s, 1 retries, peak 12 N, 0 rejected, 0 missed, "
        "reward -0.50)"
    ]
    assert line(False, False, success=True, numbers={"distance_m": 0.25, "angle_rad": None}) == [
        "seed 7: success (time limit, 2.0 s, 1 retries, 0 rejected, 0 missed, distance_m 0.25, "
        "angle_rad -)"
    ]


def test_the_line_names_what_the_guard_refused_most():
    (said,) = line(rejected=12, clamped=3, refused={"VELOCITY": 2, "JERK": 10})
    assert ", 12 rejected (JERK), 3 clamped, 0 missed" in said


def test_the_line_says_how_the_policy_failed():
    failed = "the policy failed: [Errno 2] no cable"
    assert line(policy_failed=failed)[1:] == [f"  {failed}"]
    assert line(end="fault", why=f"no chunk yet; {failed}", policy_failed=failed)[1:] == [
        f"  no chunk yet; {failed}"
    ]
    assert line(end="fault", why="guard: RISK: x", policy_failed=failed)[1:] == [
        "  guard: RISK: x",
        f"  {failed}",
    ]


def test_the_summary_separates_by_risk_and_not_by_the_clock_at_a_common_time():
    good = [episode(1, True, 5.0 + i / 10, 0.1 + i / 100) for i in range(6)]
    episodes = [*good, *(episode(1, False, 9.0, 0.9 - i / 100) for i in range(5))]
    rows = {
        line.split("│")[1].strip(): [float(x) for x in line.split("│")[2:4]]
        for line in text(separation(episodes)).splitlines()
        if line.startswith("│")
    }
    assert rows["PRO risk"] == [1.0, 1.0]
    assert rows["elapsed time only"] == [1.0, 0.5]  # the failure is the one that lasts
    assert rows["retry count only"] == rows["last wrench only (|F|)"] == [0.5, 0.5]
    assert success_line([e.result for e in episodes]).startswith(
        "success 6/11 = 54.5%, 95 % Wilson"
    )


@pytest.mark.parametrize(("failures", "successes"), [(1, 2), (0, 3), (4, 60), (60, 4), (2, 0)])
def test_too_few_of_a_kind_are_counted_and_not_separated(failures, successes):
    episodes = [episode(1, i >= failures, 5.0, 0.1) for i in range(failures + successes)]
    said = separation(episodes)
    assert isinstance(said, str)
    assert "at least 5 failures and 5 successes" in said
    assert f"found {failures} and {successes}" in said


def test_where_nobody_judges_nothing_is_said():
    assert separation([]) is None
    assert separation([episode(1, None, 5.0, 0.1)]) is None
    assert success_line([episode(1, None, 5.0, 0.1).result]) == ""


def test_a_trace_keeps_to_its_size_and_finds_its_entries():
    trace = Trace(3)
    for k in range(5):
        trace.add(k * 0.02, Signals(0, 1, 0.5, k / 10, 0, 0), 0.0, 0)
    np.testing.assert_allclose(trace.t, [0.0, 0.02, 0.04])
    assert [trace.index(t) for t in (-1.0, 0.0, 0.019, 0.02, 0.1)] == [0, 0, 0, 1, 2]
