"""A failure counts as caught by what was said before it, and is compared with its own time."""

from __future__ import annotations

from dataclasses import replace

import card_rig as rig
import numpy as np
import pytest

from headway.learn.pro.card.alarms import raised
from headway.learn.pro.card.card import make_card
from headway.learn.pro.card.page import page
from headway.learn.pro.card.parts import Parts
from headway.learn.pro.card.separation import LEAD_FEWEST, LEADS_S, Judge
from headway.learn.pro.card.verdict import TREES, alarms_at
from headway.learn.pro.examples import Moment


def made(examples, signals, **kwargs):
    return make_card(examples, signals, name="tiny", folds=2, **kwargs)


def score(card, name="PRO risk"):
    return next(s for s in card.scores if s.name == name)


@pytest.fixture(scope="module")
def examples():
    return rig.episodes(40, session="monday")


def told_of_it(e):
    """A head that rises a little before a failure, as it does once in every episode, and is sure
    from the step on at which the failure is an event of its inputs."""
    risk = np.where(rig.near(e), 0.4, 0.02)
    risk[10] = 0.5
    for f in e.failures:
        risk[(e.t >= f.t) & (e.t <= f.t + 0.5)] = 0.95
    return rig.perfect(e) | {"risk": risk}


@pytest.fixture(scope="module")
def late(examples):
    return made(examples, rig.of(told_of_it, examples))


def test_a_head_that_is_told_of_the_failure_has_not_foretold_it(late):
    at = alarms_at(score(late), 0.1)
    assert score(late).auroc.value > 0.95
    assert (at.caught_before.count, at.caught.count, at.caught.of) == (0, 20, 20)
    assert (at.at_failure_before.count, at.at_failure.count) == (0, 20)
    assert at.lead.median is None
    assert 0.0 <= at.delay.median < 0.1
    assert late.verdict.alarms.state == "not usable"
    assert late.verdict.alarms.decided.startswith("0 of 20 failures caught before they happened")
    assert "20 by 0.5 s after" in late.verdict.alarms.decided


def test_baselines_are_counted_in_the_same_way(late):
    force, trees = (score(late, n) for n in ("|F|", TREES))
    for s in (force, trees):
        at = alarms_at(s, 0.1)
        assert 0 < at.caught_before.count <= at.caught.count
        assert at.caught_before.count <= at.at_failure_before.count <= at.at_failure.count
        assert at.lead.median > 0
    assert force.ahead_caught_before.value < 0 <= force.ahead_caught.value
    assert "the risk catches less than |F| alone: 0 against" in " ".join(
        late.verdict.alarms.reasons
    )


def test_both_counts_are_told_of_every_kind_episode_and_row(late):
    (slip,) = alarms_at(score(late), 0.1).kinds
    assert (slip.caught_before.count, slip.caught.count) == (0, 20)
    assert {e.alarm for e in late.episodes} == {"caught after", "none"}
    text = page(late)
    for words in (
        "<td>0 / 20 of 20</td>",  # whatever came earlier
        "<td>0 of 20, 0% (0%-16%)</td>",
        "<td>20 of 20, 100% (84%-100%)</td>",
        "<td>caught after</td>",
    ):
        assert words in text


@pytest.mark.parametrize(("steps", "before"), [((0,), False), ((-1,), True), ((-1, 0), True)])
def test_the_step_of_the_failure_itself_is_not_before_it(examples, steps, before):
    """Of all steps, this one alone has the event in its inputs and is not later than it."""
    e = examples[1]
    at = 60
    e = replace(e, risk=np.where(e.t < 4.0, 0.0, 1.0).astype(np.float32))
    e = replace(e, failures=(Moment(float(e.t[at]), "slip"),))
    risk = np.zeros(len(e))
    risk[[at + k for k in steps]] = 1.0
    found = raised([Parts(e)], [risk], 0.5)
    assert found.caught.all()
    assert bool(found.caught_before[0]) is before
    assert bool(found.hit_before[0]) is before


def test_the_lead_is_the_time_from_the_alarm_to_the_failure(examples):
    card = made(examples, rig.of(rig.perfect, examples))
    at = alarms_at(score(card), 0.1)
    assert at.caught_before.count == 20
    assert at.lead.median == pytest.approx(-at.delay.median)
    assert 0.15 <= at.lead.q25 <= at.lead.q75 <= 0.25
    assert card.episodes[1].alarm == "caught before"
    assert f"by {at.lead.median:.2f} s in the median" in " ".join(card.verdict.alarms.reasons)


def by_lead(examples, scores):
    judge = Judge([Parts(e) for e in examples], np.random.default_rng(0))
    return judge.by_lead(scores)


def test_a_clock_tells_no_lead_from_its_controls(examples):
    """Against fault-free steps of any time, it would be below 0.5 at long leads."""
    found = by_lead(examples, [e.t for e in examples])
    assert [x.at for x in found] == list(LEADS_S)
    for x in found:
        assert x.auroc.value == pytest.approx(0.5, abs=0.12)
        assert x.auroc.low < 0.5 < x.auroc.high


def test_what_is_seen_for_a_second_shows_at_a_second_and_not_before(examples):
    risk = [
        np.where([any(f.t - 1.05 < t <= f.t for f in e.failures) for t in e.t], 1.0, 0.0)
        for e in examples
    ]
    found = {x.at: x.auroc for x in by_lead(examples, risk)}
    assert {lead: e.value for lead, e in found.items() if lead < 1.0} == {0.25: 1.0, 0.5: 1.0}
    assert found[2.0].value == found[4.0].value == 0.5
    assert found[2.0].positives == 20
    assert found[2.0].negatives >= 20  # all successes, and what fails much later


def test_a_failure_at_a_time_of_its_own_is_not_counted(examples):
    e = examples[1]
    e = replace(e, t=e.t + 100.0, failures=(Moment(e.failures[0].t + 100.0, "slip"),))
    some = [e if i == 1 else x for i, x in enumerate(examples)]
    for x in by_lead(some, [x.t for x in some]):
        assert x.auroc.positives == 19
        assert x.auroc.low <= x.auroc.value <= x.auroc.high


def test_a_lead_with_few_failures_is_left_out():
    few = rig.episodes(2 * LEAD_FEWEST - 1)
    card = made(few, rig.of(rig.perfect, few))
    for x in score(card).by_lead:
        assert x.auroc.value is None
        assert x.auroc.positives == LEAD_FEWEST - 1
        assert f"wanted at least {LEAD_FEWEST}" in x.auroc.why
    text = page(card)
    assert "<td>left out</td>" in text
    assert "AUROC so long before a failure</h3>" not in text  # no empty figure
