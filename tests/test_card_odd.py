"""Whatever the recordings lack, there is a card that says so, and never a traceback."""

from __future__ import annotations

import sys
from dataclasses import replace

import card_rig as rig
import numpy as np
import pytest

from headway.errors import Missing
from headway.learn.pro.card import baselines, model
from headway.learn.pro.card.card import make_card
from headway.learn.pro.card.page import page
from headway.learn.pro.card.parts import Parts
from headway.learn.pro.examples import Moment


def cut(e, n):
    arrays = ("t", "features", "mask", "time_to_go", "completion", "risk", "unstable", "force")
    return replace(e, **{k: getattr(e, k)[:n] for k in arrays})


def no_labels(e):
    return replace(e, risk=np.full(len(e), np.nan, np.float32))


def no_force(e):
    return replace(e, force=np.full(len(e), np.nan, np.float32), mask=np.zeros_like(e.mask))


ALL = rig.episodes(20)
CASES = {
    "no episode": [],
    "one episode": ALL[:1],
    "two episodes": ALL[:2],
    "successes only": ALL[::2],
    "failures only": ALL[1::2],
    "no labels of risk": [no_labels(e) for e in ALL],
    "nothing known of the robot": [no_force(e) for e in ALL],
    "no outcome and no failure": [
        replace(no_labels(e), success=None, failures=()) for e in rig.episodes(12, outcome=False)
    ],
    "a bad outcome and no failure in the events": [replace(e, failures=()) for e in ALL],
    "an episode without a step": [*ALL, cut(ALL[0], 0)],
    "episodes of one step": [cut(e, 1) for e in ALL],
    "each a session of its own": [replace(e, session=e.name) for e in ALL],
    "sessions of some only": [replace(e, session="x" * (i < 6)) for i, e in enumerate(ALL)],
}


@pytest.mark.parametrize("case", CASES)
def test_there_is_a_card(case):
    examples = CASES[case]
    card = make_card(examples, rig.of(rig.perfect, examples) if examples else [], name="x", folds=2)
    assert model.from_json(card.to_json()) == card
    assert card.verdict.words in page(card)
    if len(examples) < 10 or case in ("no labels of risk", "successes only"):
        assert card.verdict.alarms.state == "cannot judge"
        assert any(word in card.verdict.alarms.decided for word in ("wanted", "no ", "only"))
    if case in ("nothing known of the robot",):
        trees = next(s for s in card.scores if s.name.startswith("trees"))
        assert trees.why == "no raw channel is known"


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_head_that_says_nothing_cannot_be_judged(value):
    signals = [rig.untaught(e) | {"risk": np.full(len(e), value)} for e in ALL]
    card = make_card(ALL, signals, name="x", folds=2)
    assert card.verdict.state == "cannot judge"
    assert card.scores[0].why
    assert card.verdict.words in page(card)


def test_signals_that_are_missing_are_not_judged():
    signals = [{"risk": rig.perfect(e)["risk"]} for e in ALL]
    card = make_card(ALL, signals, name="x", folds=2)
    assert card.verdict.alarms.state == "usable"
    assert card.verdict.reward.state == "cannot judge"


def test_some_steps_without_a_risk_count_as_no_alarm():
    signals = rig.of(rig.perfect, ALL)
    signals[0]["risk"][:5] = np.nan
    card = make_card(ALL, signals, name="x", folds=2)
    assert "no risk at 5 steps" in card.notes[0]
    assert card.scores[0].auroc.value == 1.0


def test_signals_of_another_length_are_refused():
    signals = rig.of(rig.perfect, ALL)
    signals[3]["risk"] = signals[3]["risk"][:-1]
    with pytest.raises(ValueError, match="episode 3: wanted `risk` of shape"):
        make_card(ALL, signals, name="x")
    with pytest.raises(ValueError, match="wanted `signals` of each of 20 episodes, found 19"):
        make_card(ALL, signals[:-1], name="x")


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(Missing, match=r"pip install 'headway\[card\]'"):
        make_card(ALL, rig.of(rig.perfect, ALL), name="x")


def test_progress_ends_at_one():
    seen = []
    make_card(ALL, rig.of(rig.perfect, ALL), name="x", folds=2, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_retry_that_is_the_failure_itself_does_not_foretell_it() -> None:
    e = rig.episode(0, np.random.default_rng(0), failed=True)
    at = e.failures[0].t
    e = replace(e, retries=(Moment(1.0, "retry"), Moment(at, "slip")))
    counted = baselines.retries(e)
    caught = Parts(e).window
    assert caught.any()
    assert (counted[caught] == 1.0).all()
    assert counted[-1] == 2.0
    assert (counted[e.t < 1.0] == 0.0).all()
