"""The numbers of a study on made-up data whose true values are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from study_fake import TRUE, result, write_plan

from headway.learn.study import bootstrap, measures, plan
from headway.learn.study.measures import MEASURES, PRIMARY, Reached
from headway.learn.study.summary import summarise
from headway.learn.study.units import Order, Round, UnitResult


def simulated(rng, seeds, n, spread, gain=0.08, rounds=2):
    """Two arms whose mean successes differ by `gain`, over seeds by `spread`; orders have a
    difficulty that both share. Returns parts (2, S, R, 2, n)."""
    base = rng.uniform(0.3, 0.6, seeds)
    chance = np.stack((base + gain + rng.normal(0.0, spread, seeds), base))
    shared = rng.uniform(size=(1, seeds, 1, n))
    own = rng.uniform(size=(2, seeds, rounds, n))
    luck = np.where(rng.uniform(size=shared.shape) < 0.5, shared, own)
    success = (luck < chance[:, :, None, None]).astype(float)
    return np.stack((success, np.ones_like(success)), axis=3)


def compared(parts, rng, draws=300):
    units, drawn = bootstrap.values(parts), bootstrap.draw(parts, draws, rng)
    return bootstrap.estimate(units[0] - units[1], drawn.arm(0).less(drawn.arm(1)))


class TestBootstrap:
    @pytest.mark.parametrize(
        ("seeds", "spread"),
        [
            (3, 0.13),
            *(
                pytest.param(n, x, marks=pytest.mark.slow)
                for n, x in ((8, 0.0), (8, 0.13), (3, 0.0))
            ),
        ],
    )
    def test_intervals_hold_the_truth_at_least_as_often_as_they_say(self, seeds, spread):
        rng = np.random.default_rng(5)
        held, widths = 0, []
        for _ in range(100):
            found = compared(simulated(rng, seeds, 50, spread), rng, 200)
            held += found.low <= 0.08 <= found.high
            widths.append(found.high - found.low)
        assert held >= 92  # two standard errors of a coverage of 0.95 are 4.4
        # ... and not because they say nothing: not much wider than where the spread is known.
        inner = 2 * 0.24 * 0.75 / 50
        known = 2 * bootstrap.student(seeds) * math.sqrt((spread**2 + inner) / seeds)
        assert np.mean(widths) < 1.3 * known

    def test_the_same_seed_gives_the_same_draws_and_none_hangs_on_another_arm(self):
        parts = simulated(np.random.default_rng(1), 4, 30, 0.1)
        both = bootstrap.draw(parts, 700, np.random.default_rng(2))
        again = bootstrap.draw(parts, 700, np.random.default_rng(2))
        one = bootstrap.draw(parts[1:], 700, np.random.default_rng(2))
        for x, y, z in zip(both, again, one, strict=True):
            assert np.array_equal(x, y)
            assert np.allclose(x[..., 1:], z)
        assert both.both.shape == (700, 4, 2)

    def test_draws_are_about_the_estimate_with_the_variance_of_both_levels(self):
        rng = np.random.default_rng(3)
        parts = simulated(rng, 6, 80, 0.1, rounds=1)
        drawn = bootstrap.draw(parts, 8000, rng).both.mean(axis=1)[:, 0]
        own = bootstrap.values(parts)[0]
        assert drawn.mean() == pytest.approx(own.mean(), abs=0.003)
        between, inside = own.var() / 6, np.mean(own * (1 - own)) / 80 / 6
        assert drawn.var() == pytest.approx(between + inside, rel=0.08)

    def test_pairing_order_by_order_makes_the_interval_narrower(self):
        rng = np.random.default_rng(4)
        paired, apart = [], []
        for _ in range(12):
            parts = simulated(rng, 8, 100, 0.0, rounds=1)
            mixed = parts.copy()
            mixed[1] = parts[1][..., rng.permutation(100)]
            for into, data in ((paired, parts), (apart, mixed)):
                found = compared(data, rng)
                into.append(found.high - found.low)
        assert np.mean(paired) < 0.9 * np.mean(apart)

    def test_quotients_are_of_sums_and_orders_not_tested_do_not_count(self):
        parts = np.full((1, 2, 2, 2, 4), np.nan)
        parts[0, :, 0] = [[1.0, 0.0, 3.0, 0.0], [1.0, 1.0, 2.0, 0.0]]
        parts[0, :, 1, :, :2] = [[1.0, 0.0], [1.0, 1.0]]  # fewer orders after this round
        assert bootstrap.values(parts)[0] == pytest.approx([(4 / 4 + 1 / 2) / 2] * 2)
        drawn = bootstrap.draw(parts, 500, np.random.default_rng(0))
        assert np.isnan(drawn.both).any()  # draws without the two that were tested twice
        found = bootstrap.estimate(bootstrap.values(parts)[0], drawn.arm(0), (0.0, 1.0))
        assert found.value == pytest.approx(0.75)
        assert 0.0 <= found.low <= 0.75 <= found.high

    def test_one_seed_has_no_interval_and_none_no_number(self):
        parts = simulated(np.random.default_rng(1), 1, 30, 0.1)
        found = compared(parts, np.random.default_rng(2))
        assert found.n == 1
        assert math.isnan(found.low)
        assert math.isfinite(found.value)
        nothing = bootstrap.of_units(np.array([]), 10, np.random.default_rng(2))
        assert nothing.n == 0
        assert math.isnan(nothing.value)

    def test_a_seed_without_a_value_is_left_out(self):
        own = np.array([0.2, np.nan, 0.4])
        found = bootstrap.of_units(own, 2000, np.random.default_rng(0))
        assert (found.n, found.value) == (2, pytest.approx(0.3))
        assert found.low < 0.2 < 0.4 < found.high  # of two seeds: next to nothing is known


def order(seed, success, failed=0, r=2, suite="main", **more):
    numbers = {"lines": 2, "closed": 2 * success, "injected": False, "peak_n": 5.0, "seconds": 30.0}
    return Order(
        round=r, suite=suite, seed=seed, success=bool(success), failed=failed, **numbers | more
    )


def unit_of(successes, minutes=15.0, n=10):
    """A unit with the share of successes after each round."""
    made = [order(s, s < round(p * n), r=r) for r, p in enumerate(successes) for s in range(n)]
    rounds = [
        Round(
            round=r, robot_s=60 * minutes, operator_s=10.0, episodes=9, interventions=2,
            success=0.5, accepted=True,
        )
        for r in range(1, len(successes))
    ]  # fmt: skip
    return UnitResult(tuple(rounds), tuple(made))


class TestMeasures:
    def test_each_is_what_it_says(self):
        orders = (
            order(3, True),
            order(1, True, 2, seconds=50.0, peak_n=25.0),
            order(2, False, 3, closed=1, seconds=60.0),
            order(9, True, 1, suite="injected", injected=True),
            order(10, False, 1, suite="injected", injected=True),
            order(11, False, 0, suite="injected"),  # it ended before the failure came
        )
        found = {}
        for m in MEASURES:
            rounds = (2,)
            found[m.name] = bootstrap.values(
                measures.parts(m, [UnitResult((), orders)], rounds)[None]
            )[0, 0]
        assert found == pytest.approx(
            {
                "success": 2 / 3, "final": 2 / 3, "recovery": 1 / 2, "injected": 1 / 2,
                "attempts": 5 / 5, "force": 35 / 3, "cycle": 80 / 4,
            }
        )  # fmt: skip

    def test_without_a_failure_there_is_no_recovery_rather_than_a_perfect_one(self):
        m = next(m for m in MEASURES if m.name == "recovery")
        parts = measures.parts(m, [UnitResult((), (order(1, True), order(2, True)))], (2,))
        assert np.isnan(bootstrap.values(parts[None])).all()

    def test_orders_are_in_the_order_of_their_seeds(self):
        mixed = UnitResult((), (order(5, True), order(2, False), order(9, True, r=1)))
        parts = measures.parts(PRIMARY, [mixed], (1, 2))
        assert parts[0, 0, 0, 0] == 1.0
        assert np.isnan(parts[0, 0, :, 1]).all()
        assert list(parts[0, 1, 0]) == [0.0, 1.0]


class TestTimeToLevel:
    def test_it_is_the_robot_time_before_the_first_of_the_rounds_that_hold(self):
        found = unit_of([0.2, 0.6, 0.4, 0.6, 0.7, 0.5])
        assert measures.reached(found, 0.5, 2) == Reached(45.0, False)
        assert measures.reached(found, 0.5, 1) == Reached(15.0, False)
        assert measures.reached(found, 0.2, 2) == Reached(0.0, False)

    def test_never_or_too_late_to_hold_is_censored_at_the_end(self):
        assert measures.reached(unit_of([0.2, 0.3, 0.3]), 0.5, 2) == Reached(30.0, True)
        late = measures.reached(unit_of([0.2, 0.3, 0.6]), 0.5, 2)
        assert late == Reached(30.0, True)
        assert str(late) == ">=30"

    def test_only_tested_rounds_count(self):
        found = unit_of([0.2, 0.6, 0.1, 0.6])
        without = UnitResult(found.rounds, tuple(o for o in found.orders if o.round != 2))
        assert measures.reached(without, 0.5, 2) == Reached(15.0, False)

    def test_a_median_is_censored_where_a_censored_time_counts_for_it(self):
        seen, not_seen = [Reached(m, False) for m in (15.0, 30.0)], Reached(75.0, True)
        assert measures.median([*seen, not_seen]) == Reached(30.0, False)
        assert measures.median([seen[0], not_seen, not_seen]) == not_seen
        assert measures.median([*seen, not_seen, not_seen]) == Reached(52.5, True)
        assert measures.median([]) is None


@pytest.fixture
def study(tmp_path):
    """A plan with three seeds, and the results of all its units."""
    found = plan.load(write_plan(tmp_path, seeds=3))
    return found, {u.key: result(u) for u in plan.units(found)}


class TestSummary:
    def test_it_finds_what_was_put_in(self, study):
        found, results = study
        summary = summarise(found, "5ha", len(results), results)
        assert (summary.done, summary.total) == (19, 19)
        for workflow in summary.workflows:
            for arm in workflow.arms:
                truth = np.mean(TRUE[arm.name][1:])
                number = arm.numbers["success"]
                assert number.value == pytest.approx(np.mean(arm.by_seed))
                assert number.n == len(arm.seeds)
                if number.n == 3:
                    assert number.low <= truth <= number.high
                assert arm.final[1] == 40 * len(arm.seeds)
            best = {v.second: v for v in workflow.versus}
            gain = best["B0"].numbers["success"]
            assert gain.low < 0.65 - 0.465 < gain.high
            assert gain.value == pytest.approx(
                np.mean(np.subtract(*(_by_seed(workflow, n) for n in ("1.6", "B0"))))
            )

    def test_part_of_the_results_is_compared_on_the_seeds_that_both_have(self, study):
        found, results = study
        some = {k: v for k, v in results.items() if k[0] != "1.5" or k[2] == 2}
        summary = summarise(found, "5ha", 19, some)
        arms = {a.name: a for a in summary.workflows[0].arms}
        assert arms["1.5"].seeds == (2,)
        assert arms["1.6"].seeds == (1, 2, 3)
        versus = {v.second: v for v in summary.workflows[0].versus}
        assert versus["1.5"].numbers["success"].n == 1
        assert versus["1.5"].numbers["success"].value == pytest.approx(
            arms["1.6"].by_seed[1] - arms["1.5"].by_seed[0]
        )
        assert versus["B0"].numbers["success"].n == 3
        nothing = summarise(found, "5ha", 19, {})
        assert all(not a.seeds for w in nothing.workflows for a in w.arms)
        assert all(not w.versus for w in nothing.workflows)

    def test_the_curve_has_the_rounds_that_were_tested(self, study):
        found, results = study
        arm = summarise(found, "5ha", 19, results).workflows[0].arms[0]
        assert [p.round for p in arm.curve] == [0, 1, 2]
        assert [p.minutes for p in arm.curve] == pytest.approx([0.0, 905.5 / 60, 2 * 905.5 / 60])

    def test_sooner_and_later_are_counted_seed_by_seed(self, study):
        found, _ = study
        fast, slow, never = ([0.4, 0.6, 0.6], [0.4, 0.4, 0.4], [0.4, 0.4, 0.6])
        made = {("1.6", "shoebox", s): unit_of(fast) for s in (1, 2)}
        made |= {("1.5", "shoebox", 1): unit_of(slow), ("1.5", "shoebox", 2): unit_of(fast, 15.2)}
        made |= {("B0", "shoebox", s): unit_of(never) for s in (1, 2)}
        versus = {v.second: v for v in summarise(found, "x", 19, made).workflows[1].versus}
        assert versus["1.5"].faster == (1, 0, 1)
        assert versus["B0"].faster == (2, 0, 0)
        assert versus["B0"].numbers["minutes"].value == pytest.approx(-15.0)


def _by_seed(workflow, name):
    return next(a.by_seed for a in workflow.arms if a.name == name)


class TestGain:
    def test_it_is_beside_the_clone_on_the_orders_that_both_had(self):
        orders = [order(s, s < 4, r=0) for s in range(8)]
        orders += [order(s, s < 5, r=1) for s in range(4)]  # the clone did all of these
        orders += [order(s, s < 8, r=2) for s in range(20)]
        found = UnitResult((), tuple(orders))
        assert measures.gain(found, (1,)) == 0.0
        assert measures.gain(found, (2,)) == 0.5
        assert measures.gain(found, (1, 2)) == 0.25

    def test_without_orders_in_common_there_is_none(self):
        assert np.isnan(measures.gain(unit_of([0.5]), (1,)))
