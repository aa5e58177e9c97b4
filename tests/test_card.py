"""A card gives the answers that are known beforehand, and a verdict that follows from them."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import card_rig as rig
import numpy as np
import pytest

from headway.learn.pro.card import model
from headway.learn.pro.card.alarms import rate_threshold
from headway.learn.pro.card.card import make_card
from headway.learn.pro.card.page import page
from headway.learn.pro.card.parts import Parts
from headway.learn.pro.card.verdict import TREES, alarms_at
from headway.learn.pro.examples import Moment


def made(examples, signals, **kwargs):
    return make_card(examples, signals, name="tiny", folds=2, **kwargs)


def score(card, name="PRO risk"):
    return next(s for s in card.scores if s.name == name)


def control(card, name):
    return next(c for c in card.controls if c.name == name)


@pytest.fixture(scope="module")
def examples():
    return rig.episodes(40, session="monday")


@pytest.fixture(scope="module")
def best(examples):
    return made(examples, rig.of(rig.perfect, examples))


def test_a_perfect_head_is_usable_for_both(best):
    assert best.verdict.state == "usable"
    assert best.verdict.words == "Usable for alarms and for reward."
    risk = score(best)
    assert risk.auroc.value == 1.0
    assert (risk.auroc.positives, risk.auroc.negatives) == (20, 40)
    at = alarms_at(risk, 0.1)
    assert (at.caught.count, at.caught.of) == (20, 20)
    assert (at.false.count, at.false.of) == (0, 40)  # all fault-free parts have the same peak
    assert best.order.tau_successes.value == pytest.approx(1.0)
    assert best.order.error_s == pytest.approx(0.0, abs=1e-6)
    assert best.order.clock_error_s > 0.1
    assert [x.auroc.value for x in score(best, "PRO 1 - completion").by_share] == [1.0] * 4


def of_outcome_alone(e):
    """The episode as it is where nothing says when it failed: at its end, and unknown before."""
    if e.success is not False:
        return e
    risk = np.full(len(e), np.nan, np.float32)
    risk[e.t >= e.t[-1] - 0.25] = 1.0
    return replace(e, risk=risk, failures=(Moment(float(e.t[-1]), "failure"),))


def test_without_sessions_nothing_between_episodes_is_trusted(examples):
    without = [replace(e, session="") for e in examples]
    card = made(without, rig.of(rig.perfect, without))
    assert card.verdict.alarms.state == "usable"  # within an episode the session is the same
    assert card.verdict.reward.state == "not usable"
    assert "which were recorded together" in card.verdict.reward.decided
    ended = [of_outcome_alone(e) for e in without]
    card = made(ended, rig.of(rig.perfect, ended))
    assert card.data.calm_before == 0
    assert card.verdict.alarms.state == "not usable"
    assert "failures are told from other runs alone" in card.verdict.alarms.decided


def test_an_alarm_long_before_a_bad_end_is_no_false_one(examples):
    """Where an outcome alone says that an episode failed, it may have failed at any time."""
    ended = [of_outcome_alone(e) for e in examples]
    signals = rig.of(rig.perfect, ended)
    for e, s in zip(ended, signals, strict=True):
        s["risk"] = np.where((e.t >= 1.0) & (e.success is False), 0.9, 0.1)
    card = made(ended, signals)
    at = alarms_at(score(card), 0.1)
    assert (at.caught.count, at.caught.of) == (20, 20)
    assert at.false.of == 20  # successes alone have a fault-free part
    lengths = [e.t[-1] for e in ended if e.success is False]
    assert at.delay.median == pytest.approx(1.0 - np.median(lengths), abs=0.2)
    assert card.verdict.alarms.state == "usable"


def test_of_a_head_that_guesses_nothing_is_left(examples):
    card = made(examples, [rig.guessing(e, i) for i, e in enumerate(examples)])
    assert card.verdict.state == "not usable"
    assert any("AUROC of the risk" in r for r in card.verdict.alarms.reasons)
    risk = score(card)
    assert risk.auroc.low < 0.5 < risk.auroc.high
    assert abs(card.order.tau_successes.value) < 0.1
    assert "rises too little" in " ".join(card.verdict.reward.reasons)


def test_a_clock_is_found_out(examples):
    """It has a good order on successes, and the same on failures."""
    card = made(examples, rig.of(rig.clock, examples))
    assert card.verdict.state == "not usable"
    assert any("elapsed time" in r for r in card.verdict.alarms.reasons)
    assert any("as a clock's" in r for r in card.verdict.reward.reasons)
    assert card.order.tau_successes.value > 0.95
    assert card.order.voc_failures.value > 0.95
    risk = score(card)
    assert risk.auroc.value == pytest.approx(score(card, "elapsed time").auroc.value)
    assert risk.same_time.value == pytest.approx(0.5, abs=0.15)
    assert risk.auroc.value > risk.same_time.value + 0.1


def test_an_auroc_that_is_known_comes_out(examples):
    sigma = 1.0
    card = made(examples, [rig.noisy(e, i, sigma) for i, e in enumerate(examples)])
    want = NormalDist().cdf(1 / (sigma * math.sqrt(2)))
    found = score(card).auroc
    assert found.value == pytest.approx(want, abs=0.05)
    assert found.low < want < found.high
    assert found.high - found.low < 0.2


def test_trees_find_what_is_in_the_channels_and_nothing_in_shuffled_labels(best):
    trees = score(best, TREES)
    assert trees.auroc.value > 0.9
    assert control(best, "shuffled labels").passed
    assert score(best, "retries so far").why == "no retry is known"


def test_a_head_that_knows_the_session_is_not_usable():
    """Its risk is perfect, but for what it adds for one of the sessions."""
    rng = np.random.default_rng(1)
    examples = [
        rig.episode(i, rng, failed=bool(i % 2), session="ab"[i // 2 % 2]) for i in range(40)
    ]
    signals = [
        s | {"risk": s["risk"] + 0.2 * (e.session == "b")}
        for e, s in zip(examples, rig.of(rig.perfect, examples), strict=True)
    ]
    card = made(examples, signals)
    assert card.verdict.alarms.state == "not usable"
    assert "tell the session" in card.verdict.alarms.decided
    found = control(card, "session from signals of alarms")
    assert (found.passed, found.groups) == (False, ("a", "b"))
    assert found.estimate.value > 0.95
    assert control(card, "session and outcome").passed is True
    assert score(card).within_session.value == 1.0


def test_sessions_that_a_head_does_not_tell_are_no_fault():
    rng = np.random.default_rng(2)
    examples = [
        rig.episode(i, rng, failed=bool(i % 2), session="ab"[i // 2 % 2]) for i in range(40)
    ]
    signals = [
        s | {"risk": s["risk"] + rng.normal(0, 0.01, len(s["risk"]))}
        for s in rig.of(rig.perfect, examples)
    ]
    card = made(examples, signals)
    assert card.verdict.alarms.state == "usable"
    assert control(card, "session from signals of alarms").passed


def test_sessions_that_coincide_with_the_outcome_cannot_show_anything():
    rng = np.random.default_rng(3)
    examples = [
        rig.episode(i, rng, failed=bool(i % 2), session=["2014", "2016"][i % 2]) for i in range(24)
    ]
    card = made(examples, rig.of(rig.perfect, examples))
    assert card.verdict.state == "not usable"
    for use in (card.verdict.alarms, card.verdict.reward):
        assert use.decided.startswith("session and outcome coincide")


def test_features_that_tell_a_session_that_tells_failures_rule_the_head_out():
    """Nine of ten failures come from a cell whose force sensor has a bias."""
    rng = np.random.default_rng(4)
    cells = [("b" if (i % 20 < 18) == bool(i % 2) else "a") for i in range(60)]
    examples = [
        rig.episode(i, rng, failed=bool(i % 2), session=c, bias=3.0 * (c == "b"))
        for i, c in enumerate(cells)
    ]
    signals = [
        s | {"risk": s["risk"] + rng.normal(0, 0.01, len(s["risk"]))}
        for s in rig.of(rig.perfect, examples)
    ]
    card = made(examples, signals)
    assert control(card, "session and outcome").estimate.value > 0.65
    assert control(card, "session from features").estimate.value > 0.95
    assert "the features tell the session" in card.verdict.alarms.decided


def test_files_of_another_kind_are_found_out(examples):
    """Failures that lack a channel are told by that alone."""
    some = []
    for e in examples:
        mask = e.mask.copy()
        if e.failures:
            mask[:, rig.spec.MASKS.index("torque_norm")] = 0.0
        some.append(replace(e, mask=mask))
    card = made(some, rig.of(rig.perfect, some))
    assert card.verdict.alarms.decided.startswith("file kind and outcome coincide")


def test_without_outcomes_alarms_are_judged_and_reward_is_not():
    examples = rig.episodes(30, outcome=False)
    signals = [rig.untaught(e) | {"risk": rig.perfect(e)["risk"]} for e in examples]
    card = made(examples, signals)
    assert card.verdict.words.startswith("Usable for alarms. For reward it cannot be judged")
    assert "no outcome is known" in card.order.why
    assert score(card, "PRO 1 - completion").why.endswith("it was not taught")
    assert card.reliability[1].why == "no step has a label of completion"


def test_episodes_seen_in_training_are_left_out_and_said(examples, best):
    signals = rig.of(rig.perfect, examples)
    source = ["SEEN IN TRAINING"] * 10 + ["never seen"] * 30
    card = made(examples, signals, source=source)
    assert (card.data.episodes, card.data.seen, card.data.left_out) == (30, 10, 10)
    assert "SEEN IN TRAINING" in card.notes[0]
    all_seen = made(examples, signals, source=["SEEN IN TRAINING"] * 40)
    assert all_seen.verdict.state == "cannot judge"
    assert "trained on all 40" in all_seen.verdict.words
    assert score(all_seen).auroc == score(best).auroc
    assert "SEEN IN TRAINING" in page(all_seen)


def test_each_episode_is_listed_with_its_alarm(best, examples):
    assert [e.name for e in best.episodes] == [e.name for e in examples]
    assert {e.alarm for e in best.episodes[::2]} == {"none"}
    failed = best.episodes[1]
    assert (failed.kind, failed.alarm, failed.success) == ("slip", "caught before", False)
    assert failed.failure_t == examples[1].failures[0].t
    assert -0.25 <= failed.delay <= -0.15


def test_copies_are_judged_once(examples):
    some = [replace(e, sha256=str(i // 2)) for i, e in enumerate(examples)]
    card = made(some, rig.of(rig.perfect, some))
    assert (card.data.episodes, card.data.copies) == (20, 20)
    assert card.notes == ("20 episodes are copies of others; they are left out",)


def test_alarms_at_a_threshold_from_the_bundle(examples):
    card = made(examples, rig.of(rig.perfect, examples), threshold=0.5)
    at = alarms_at(score(card), None)
    assert (at.threshold, at.caught.count, at.false.count) == (0.5, 20, 0)
    assert at.delay.median == pytest.approx(-0.2, abs=0.06)  # the first step of the window
    assert [k.kind for k in at.kinds] == ["slip"]


def test_an_alarm_in_the_fault_free_part_is_false_and_the_failure_missed(examples):
    signals = rig.of(rig.perfect, examples)
    signals[1]["risk"] = np.ones(len(examples[1]))  # it failed
    at = alarms_at(score(made(examples, signals, threshold=0.5)), None)
    assert (at.caught.count, at.at_failure.count, at.false.count) == (19, 20, 1)


def test_exactly_the_stated_share_of_episodes_alarms_falsely(examples):
    parts = [Parts(e) for e in examples]
    rng = np.random.default_rng(0)
    scores = [rng.uniform(0, 1, len(e)) for e in examples]
    for rate in (0.05, 0.1, 0.2):
        at = rate_threshold(parts, scores, rate)
        over = [(s[p.fault_free] > at).any() for s, p in zip(scores, parts, strict=True)]
        assert sum(over) == round(rate * 40)


def test_steps_are_judged_by_their_place(examples):
    """The last second before a failure is neither fault-free nor in the window but for its end."""
    p = Parts(examples[1])
    f = p.first.t
    assert p.of.t[p.fault_free].max() < f - 1.0
    window = p.of.t[p.window]
    assert f - 0.25 <= window.min() < f - 0.1
    assert f + 0.4 < window.max() <= f + 0.5
    early = replace(examples[1], risk=np.where(p.of.t > f - 3.0, 1.0, 0.0).astype(np.float32))
    assert Parts(early).of.t[Parts(early).window].min() == pytest.approx(f - 3.0, abs=0.11)


def test_each_kind_of_failure_is_listed_by_itself():
    rng = np.random.default_rng(5)
    examples = [
        rig.episode(i, rng, failed=bool(i % 2), kind=["object_slip", "wall"][i // 2 % 2])
        for i in range(40)
    ]
    signals = [
        rig.perfect(e)
        | ({"risk": rig.perfect(replace(e, risk=0 * e.risk))["risk"]} if slip else {})
        for e in examples
        for slip in [bool(e.failures) and e.failures[0].label == "object_slip"]
    ]
    found = {k.kind: k.auroc for k in score(made(examples, signals)).by_kind}
    assert set(found) == {"object_slip", "wall"}
    assert found["object_slip"].value == pytest.approx(0.5, abs=0.1)
    assert found["wall"].value == 1.0


def test_a_second_failure_of_another_kind_keeps_its_name(examples):
    e = examples[1]
    first = e.failures[0].t
    both = replace(e, failures=(Moment(first, "slip"), Moment(first + 1.0, "drop")))
    risk = np.where((np.abs(e.t - first) < 0.3) | (np.abs(e.t - first - 1) < 0.3), 1.0, 0.0)
    p = Parts(replace(both, risk=risk.astype(np.float32)))
    assert p.of.t[p.of_kind("drop")] == pytest.approx(e.t[np.abs(e.t - first - 1) < 0.3])


def test_the_same_arguments_give_the_same_card_and_json_brings_it_back(examples, best):
    again = made(examples, rig.of(rig.perfect, examples))
    assert again.to_json() == best.to_json()
    assert model.from_json(best.to_json()) == best
    assert b"NaN" not in best.to_json()


def test_the_page_says_the_verdict_first(best):
    text = page(best)
    assert text.index("Usable for alarms and for reward.") < text.index("Steps near a failure")
    assert "<svg" in text
    for s in best.scores:
        assert s.name in text


def test_names_in_the_page_are_escaped(examples):
    some = [replace(e, session="<script>x</script>") for e in examples[:2]]
    text = page(make_card(some, rig.of(rig.perfect, some), name="<b>head</b>", folds=2))
    assert "<script>x" not in text
    assert "<b>head" not in text
