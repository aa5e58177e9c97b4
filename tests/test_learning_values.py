"""What decisions were worth, on executions whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="wants headway[learn]")

import learning_rig as rig
import torch

from headway.errors import ConfigError, RecordingError
from headway.learn.execution import critic, extraction, gate, outcome, process, store, values
from headway.learn.execution.arms import ARMS
from headway.learn.execution.lessons import happened, lesson
from headway.learn.execution.outcome import OutcomeFit
from headway.learn.execution.process import ProcessFit
from headway.learn.execution.recurrent import Schedule, Track, fit
from headway.learn.execution.regression import Regression
from headway.learn.execution.settings import Learning, learning
from headway.learn.execution.targets import RISK_S, UNSTABLE_S, targets
from headway.learn.rollout import DEMONSTRATION, ORACLE, POLICY
from headway.tools.statistics import auroc

QUICK = ProcessFit(steps=40, pieces=12, lr=1e-2)
HOW = Learning(base="", arm=ARMS["1.6"], process=QUICK, baseline=Regression(steps=60))
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made():
    """Lessons, and which of their decisions were good."""
    return rig.lessons(24)


def test_targets_say_what_came_afterwards(made):
    lessons, _ = made
    for x in lessons:
        y = targets(x)
        closed = x.happened.closed
        patience = x.limit_s / x.happened.lines
        for i in (0, len(x.t) // 3, len(x.t) - 1):
            later = closed[closed > x.t[i]]
            over = len(closed) == x.happened.lines and not len(later)
            soon = len(later) > 0 and later[0] - x.t[i] <= patience
            if over or x.t[i] + patience > x.limit_s:
                assert np.isnan(y.closes[i])
            else:
                assert y.closes[i] == soon
            if y.closes[i] == 1.0:
                assert y.to_close[i] == pytest.approx(later[0] - x.t[i], abs=1e-3)
            else:
                assert np.isnan(y.to_close[i])
            for said, events, within_s in (
                (y.risk[i], x.happened.failures, RISK_S),
                (y.unstable[i], x.happened.retries, UNSTABLE_S),
            ):
                comes = ((events >= x.t[i]) & (events - x.t[i] <= within_s)).any()
                cut = not x.success and x.t[i] + within_s > x.end_s
                assert np.isnan(said) if cut and not comes else said == comes


def test_risk_looks_as_far_ahead_as_it_is_asked_to(made):
    for x in made[0]:
        near, far = targets(x), targets(x, 3.0)
        left = np.append(x.happened.failures, np.inf)[
            np.searchsorted(x.happened.failures, x.t, side="left")
        ]
        known = np.isfinite(far.risk)
        np.testing.assert_array_equal(far.risk[known], (left - x.t <= 3.0)[known])
        assert (known | (x.t + 3.0 > x.end_s)).all()
        assert (near.risk[known] <= far.risk[known]).all()
        for name in ("to_close", "closes", "unstable"):
            np.testing.assert_array_equal(getattr(near, name), getattr(far, name))
    assert any((targets(x, 3.0).risk > targets(x).risk).any() for x in made[0])


def test_decisions_are_judged_by_nothing_that_comes_after_them(made):
    for x in made[0]:
        assert (x.t[x.step] <= x.at + 1e-9).all()
        assert (x.at - x.t[x.step] < 1 / rig.PRO_HZ).all()
        assert x.t[0] == 0.0  # as in the loop, which runs the head at its first tick


def test_an_episode_that_is_cut_teaches_nothing_about_what_would_have_come(made):
    x = next(x for x in made[0] if len(x.happened.closed) == 2)
    cut = replace(x, end="interrupted", happened=replace(x.happened, closed=x.happened.closed[:1]))
    patience = cut.limit_s / cut.happened.lines
    after = cut.t > cut.happened.closed[0]
    before = ~after & (cut.happened.closed[0] - cut.t <= patience)
    for end, until in (("interrupted", cut.end_s), ("time limit", cut.limit_s)):
        y = targets(replace(cut, end=end, success=None))
        seen = cut.t + patience <= until
        # What was closed late is not known either: else only what was closed would be.
        assert np.isnan(y.closes[~seen]).all()
        assert (y.closes[after & seen] == 0.0).all()
        assert (y.closes[before & seen] == 1.0).all()
        assert np.isnan(y.risk[-1])
    fault = targets(replace(cut, end="fault", success=False))
    seen = cut.t + patience <= cut.limit_s
    assert (after & seen).any()
    assert (fault.closes[after & seen] == 0.0).all()
    assert fault.risk[-1] == 0.0


def test_of_an_order_of_one_line_what_was_closed_is_known():
    (x,) = rig.lessons(1, skill=0.9)[0]
    one = replace(x, happened=replace(x.happened, lines=1, closed=x.happened.closed[:1]))
    y = targets(one)
    assert (y.closes[one.t < one.happened.closed[0]] == 1.0).all()


def test_what_comes_after_somebody_took_over_is_no_event_of_the_policy(made):
    x = next(x for x in made[0] if len(x.happened.failures) and x.happened.failures[0] > 1.0)
    failure = float(x.happened.failures[0])
    source = np.where(x.at >= failure - 0.5, ORACLE, x.source).astype(np.int8)
    y, taken = targets(replace(x, source=source)), x.at[source == ORACLE][0]
    averted = (x.t > taken - RISK_S + 0.05) & (x.t < taken)
    assert (targets(x).risk[averted & (failure - x.t <= RISK_S)] == 1.0).all()
    assert averted.any()
    assert np.isnan(y.risk[averted]).all()
    assert np.isnan(y.risk[x.t >= taken]).all()
    assert np.isnan(y.unstable[x.t >= taken]).all()


def test_what_somebody_who_took_over_has_achieved_is_no_merit_of_the_policy(made):
    plain = next(x for x in made[0] if x.success)
    first, last = plain.happened.closed
    # Somebody takes over 1 s before the last line is closed, until it is.
    source = np.where((plain.at >= last - 1.0) & (plain.at < last), ORACLE, plain.source)
    x = replace(plain, source=source.astype(np.int8))
    (taken,) = x.takeovers
    assert taken == x.at[source == ORACLE][0]
    assert x.helped_at(np.array([taken - 0.01, taken, last - 0.01])).tolist() == [False, True, True]
    y, before = targets(x), targets(plain)
    mine = x.t < first
    assert np.array_equal(y.closes[mine], before.closes[mine], equal_nan=True)
    rescued = (x.t >= first) & (x.t < taken) & np.isfinite(before.closes)
    assert rescued.any()
    assert (y.closes[rescued] == 0.0).all()
    assert np.isnan(y.to_close[rescued]).all()
    assert np.isnan(y.closes[x.helped_at(x.t)]).all()

    own = outcome.by_itself(x)
    assert (outcome.by_itself(plain) == 1.0).all()
    assert (own[x.at < taken] == 0.0).all()
    assert np.isnan(own[source == ORACLE]).all()
    assert (own[x.at >= last] == 1.0).all()

    phi, nothing = np.arange(len(x.at), dtype=np.float64), np.zeros(len(x.at))
    given_up = np.full(len(x.at), -100.0)
    gain = values.by_itself(x, phi, 0.0, given_up, nothing, HOW.worth)
    k, n = int(np.flatnonzero(source == ORACLE)[0]), values.steps(x, HOW.worth)
    assert gain[k - n - 1] == n
    assert np.allclose(gain[k - n : k], -100.0 - phi[k - n : k])
    assert gain[k] == (n if k + n < len(phi) else -phi[k])
    unhelped = values.by_itself(plain, phi, 0.0, given_up, nothing, HOW.worth)
    assert np.allclose(unhelped, values.gains(phi, 0.0, nothing, n))

    tried = values.attempts(x)
    assert (tried[(x.at >= first) & (x.at < taken)] == 0.0).all()
    assert (tried[source == ORACLE] == 1.0).all()


def test_without_a_station_the_whole_task_is_one_line():
    good, bad = happened((), 0, 9.0, True), happened((), 0, 9.0, False)
    assert (good.lines, good.closed.tolist()) == (1, [9.0])
    assert (bad.lines, bad.closed.tolist()) == (1, [])


def test_gains_telescope():
    rng = np.random.default_rng(0)
    phi, none = rng.normal(0, 1, 50), np.zeros(50)
    assert values.gains(phi, 3.0, none, 1).sum() == pytest.approx(3.0 - phi[0])
    seven = values.gains(phi, 3.0, none, 7)
    assert seven[0] == pytest.approx(phi[7] - phi[0])
    assert seven[-1] == pytest.approx(3.0 - phi[-1])
    paid = values.gains(np.zeros(50), 0.0, np.ones(50), 7)
    assert paid[0] == -7.0
    assert paid[-3:].tolist() == [-3.0, -2.0, -1.0]


def test_a_potential_does_not_pay_for_dawdling(made):
    """With perfect signals, waiting earns exactly what it costs."""
    x = made[0][0]
    price = values.Costs(10.0, 5.0)
    at = np.arange(len(x.at))
    waits = process.Signals(*(np.full(len(at), v, np.float32) for v in (4.0, 1.0, 0.0, 0.0)))
    phi = values.potential(x, waits, price)
    still = x.closed_by(x.at) == 0
    assert np.ptp(phi[still]) == 0.0


def test_pro_ranks_good_decisions_above_bad_ones_and_shuffling_destroys_it(made):
    lessons, good = made
    judged = values.judge(lessons, "pro", HOW, 0)
    assert len(judged.heads) == process.FOLDS
    assert auroc(judged.advantage, good) > 0.57
    gain = np.random.default_rng(3).permutation(judged.advantage)
    shuffled = values.advantages(lessons, gain, HOW.baseline, 0)
    assert abs(auroc(shuffled, good) - 0.5) < 0.05


def test_a_clock_pays_nothing_for_good_decisions(made):
    lessons, good = made
    judged = values.judge(lessons, "clock", HOW, 0)
    assert judged.heads == ()
    assert abs(auroc(judged.advantage, good) - 0.5) < 0.05


def test_credit_for_attempts_is_that_of_the_attempt_that_closed_the_line(made):
    for x in made[0]:
        gain = values.attempts(x)
        for closed in x.happened.closed:
            before = x.happened.failures[x.happened.failures < closed]
            begins = max([*before, *x.happened.closed[x.happened.closed < closed], -np.inf])
            inside = (x.at >= begins) & (x.at < closed)
            assert (gain[inside] == 1.0).all()
        after = x.at >= (x.happened.closed[-1] if len(x.happened.closed) else -np.inf)
        assert (gain[after] == 0.0).all()


def test_the_outcome_is_told_by_what_comes_before_it():
    lessons, _ = rig.lessons(24, first=900, skill=0.56)
    value = outcome.cross_fitted(lessons, OutcomeFit(steps=100), 0, np.full(24, True))
    assert [len(v) for v in value] == [len(x.at) for x in lessons]
    assert all(((v > 0) & (v < 1)).all() for v in value)
    late = [float(v[-3:].mean()) for v in value]
    assert auroc(late, [bool(x.success) for x in lessons]) > 0.7


def test_where_orders_are_few_each_counts_once_however_long_it_took():
    lessons, _ = rig.lessons(8, first=1, skill=0.5)
    assert len({len(x.at) for x in lessons}) > 1
    said = outcome.cross_fitted(lessons, OutcomeFit(), 0, np.full(8, True))
    for k in (0, 1):
        ended = [bool(x.success) for x in lessons[1 - k :: 2]]  # of the other fold
        assert np.unique(said[k]) == pytest.approx((sum(ended) + 1) / (len(ended) + 2))


@pytest.mark.parametrize("credit", ["outcome", "pro"])
def test_demonstrations_need_not_teach_what_decisions_are_worth(credit):
    shown = [lesson(rig.demonstration(seed)[0]) for seed in range(6)]
    failed = [
        replace(x, success=False, happened=replace(x.happened, closed=x.happened.closed[:0]))
        for x in shown
    ]
    own = rig.lessons(12, first=900, skill=0.56)[0]

    def said(some, teach):
        """What is said of the policy's own decisions, beside the demonstrations `some`."""
        teaches = np.array([teach] * len(some) + [True] * len(own))
        if credit == "outcome":
            found = outcome.cross_fitted([*some, *own], OutcomeFit(members=2), 0, teaches)
        else:
            found = [s.closes for s in process.cross_fitted([*some, *own], QUICK, 0, teaches)[0]]
        return np.concatenate(found[len(some) :])

    assert not np.array_equal(said(shown, True), said(failed, True))
    np.testing.assert_array_equal(said(shown, False), said(failed, False))
    how = msgspec.structs.replace(HOW, worth=values.Worth(demonstrations=False))
    with pytest.raises(ConfigError, match="found demonstrations alone"):
        values.judge(shown, credit, how, 0)


def test_a_network_whose_loss_is_no_number_is_refused():
    track = Track(
        (np.full((40, 1), np.nan, np.float32),), np.zeros((40, 1), np.float32), np.arange(0)
    )
    how = Schedule(steps=2, pieces=2, piece_s=2.0, warm_s=0.5)
    with pytest.raises(RecordingError, match="whose loss is a number"):
        fit(torch.nn.Linear(1, 1), [track] * 7, lambda net, parts, y: net(parts[0]).mean(), 10.0,
            how, 0)  # fmt: skip


def test_too_few_episodes_are_refused(made):
    with pytest.raises(ConfigError, match="at least 4 episodes"):
        values.judge(made[0][:3], "outcome", HOW, 0)


def test_the_mix_holds_the_policy_to_demonstrations():
    shown = [rig.taught(rig.demonstration(900 + i)[0]) for i in range(3)]
    shown.append(rig.taught(rig.rollout(7, 0.5, DEMONSTRATION)[0]))  # it runs out of time
    own, _ = rig.lessons(6, help_from=0.7)
    lessons = [*shown, *own]
    source = extraction.of_all(lessons, "source")
    advantage = np.random.default_rng(0).normal(0, 1, len(source)).astype(np.float32)
    mix = extraction.Mix()
    w = extraction.weights(lessons, advantage, mix)
    assert set(w[source == DEMONSTRATION].tolist()) == {0.0, 1.0}  # 0: after the last line
    assert (w[source == ORACLE] == 1.5).all()
    best = w[source == POLICY] > 0
    assert best.mean() == pytest.approx(mix.top, abs=0.01)
    assert w[source == POLICY].sum() <= mix.most * w.sum() + 1e-3
    assert advantage[source == POLICY][best].min() >= advantage[source == POLICY][~best].max()
    alone = extraction.weights(lessons, None, mix)
    assert (alone[source == POLICY] == 0.0).all()
    with pytest.raises(ConfigError, match="found none"):
        extraction.weights(rig.lessons(1)[0], None, mix)


def test_a_critic_ranks_chunks_and_doubts_where_its_members_differ(made):
    lessons, good = made
    taught = critic.teach(
        lessons, np.where(good, 1.0, -1.0).astype(np.float32),
        critic.CriticFit(fit=Regression(steps=300, width=64, weight_decay=1e-2)), 0,
    )  # fmt: skip
    rng = np.random.default_rng(5)
    right = 0
    for _ in range(100):
        code = rng.normal(0, 1, (1, rig.CODE)).astype(np.float32)
        chunk = rng.normal(0, 1, (2, rig.LATENT)).astype(np.float32)
        chunk[:, 0] = np.array([1.0, -1.0]) * np.sign(code[0, 0])
        with torch.no_grad():
            score = taught(torch.from_numpy(code), torch.from_numpy(chunk))
        right += int(score[0] > score[1])
    assert right > 75
    given = torch.cat([torch.from_numpy(code).expand(2, -1), torch.from_numpy(chunk)], 1)
    with torch.no_grad():
        said = taught.members(given)
    better = said[:, 1] - said[:, 0]
    wanted = better.mean() - 1.0 * better.std(unbiased=False)
    assert score.tolist() == pytest.approx([0.0, float(wanted)], abs=1e-5)


def test_a_policy_that_closes_fewer_lines_does_not_pass_the_gate(made):
    lessons, _ = made
    worse, _ = rig.lessons(8, first=500, skill=0.5)
    cfg = gate.Gate(share=0.3)
    assert not gate.kept(worse, lessons, cfg)
    assert gate.kept(lessons, worse, cfg)
    assert gate.kept(lessons[:8], lessons[8:], cfg)
    assert gate.kept([], lessons, cfg)
    strict = gate.Gate(share=0.3, tolerance=0.0)  # of one episode no error is known
    assert gate.kept(lessons[:1], lessons[:1], strict)
    assert not gate.kept(worse, lessons, strict)


def test_a_lesson_is_kept_as_it_is(made, tmp_path):
    x = made[0][0]
    store.save_lesson(tmp_path / "a.npz", x)
    back = store.load_lesson(tmp_path / "a.npz")
    for name in ("t", "features", "mask", "at", "step", "code", "latent", "source"):
        assert np.array_equal(getattr(back, name), getattr(x, name), equal_nan=True)
    assert back.happened.closed.tolist() == x.happened.closed.tolist()
    assert (back.name, back.success, back.end_s) == (x.name, x.success, x.end_s)
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordingError, match="remove the file"):
        store.load_lesson(tmp_path / "a.npz")


def test_settings_of_an_arm_are_checked():
    assert learning("B0", {"base": "x"}, "plan").arm == ARMS["B0"]
    how = learning("1.5", {"base": "x", "candidates": 4, "worth": {"risk": 0.0}}, "plan")
    assert (how.arm.credit, how.arm.candidates, how.worth.risk) == ("outcome", 4, 0.0)
    assert learning("1.6", {"base": "x", "oracle": False}, "plan").arm.oracle is False
    assert learning("1.6", {"base": "x", "oracle": {"share": 0.2}}, "plan").oracle.share == 0.2
    assert learning("1.5", {"base": "x", "clone": {"steps": 7}}, "plan").clone.lr == 2e-3
    with pytest.raises(ConfigError, match="horizon"):
        learning("1.6", {"base": "x", "worth": {"horizn_s": 1.0}}, "plan")
    assert learning("1.6", {"base": "x", "noise": 0.0}, "plan").noise == 0.0
    with pytest.raises(ConfigError, match="4 candidates want noise"):
        learning("1.6-n4", {"base": "x", "noise": 0.0}, "plan")
    with pytest.raises(ConfigError, match=r"did you mean `1\.6`|1\.6"):
        learning("1.7", {"base": "x"}, "plan")


def test_rollouts_whose_ticks_make_no_step_of_the_head_are_refused():
    made, _ = rig.rollout(1)
    head_hz = float(made.facts["pro_hz"])
    for hz in (0.6 * head_hz, 2.5 * head_hz):
        odd = replace(made, facts={**made.facts, "hz": str(hz)})
        with pytest.raises(RecordingError, match="wanted ticks at a multiple of the head's"):
            rig.taught(odd)
    for facts in ({"hz": "nan"}, {"pro_hz": "0"}):
        with pytest.raises(RecordingError, match="wanted `hz` and `pro_hz`"):
            rig.taught(replace(made, facts={**made.facts, **facts}))
    with pytest.raises(RecordingError, match="wanted at least one step of the head"):
        rig.taught(replace(made, rows=made.rows[:1]))


@pytest.mark.parametrize("mix", [{"most": 1.0}, {"top": 1.5}, {"correction": -1.0}])
def test_mixes_that_cannot_be_are_refused_before_anything_is_taught(mix):
    with pytest.raises(ConfigError, match=f"mix.{next(iter(mix))}"):
        learning("1.6", {"base": "x", "mix": mix}, "test")
