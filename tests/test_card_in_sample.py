"""A card says of each number whether the very episodes that it judges have set it."""

from __future__ import annotations

import card_rig as rig
import numpy as np
import pytest
from scipy.special import expit, logit

from headway.learn.pro.calibration import sigmoid
from headway.learn.pro.card.calibration import reliability
from headway.learn.pro.card.card import make_card
from headway.learn.pro.card.page import page
from headway.learn.pro.card.sample import ANEW, fold_in, refitted, sample_of
from headway.learn.pro.card.verdict import alarms_at

HELD = ["held out by fold 0", "held out by fold 1"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (HELD, "in-sample"),
        (["SEEN IN TRAINING"], "in-sample"),
        (["never seen"] * 2, "out of sample"),
        ([*HELD, "never seen"], "partly in-sample"),
        ([*HELD, "unknown: the bundle has no folds"], "not known"),
        (["not said"], "not known"),
        ([], "not known"),
    ],
)
def test_what_is_in_sample(source, says):
    assert sample_of(source) == says


def test_a_fold_is_read_from_the_words():
    assert [fold_in(s) for s in (*HELD, "never seen")] == [0, 1, None]


def labelled(rates, n=2000, seed=0):
    """Labels of one long episode for each of `rates`, the share of 1, and logits that tell them."""
    rng = np.random.default_rng(seed)
    labels = [(rng.uniform(size=n) < r).astype(np.float32) for r in rates]
    return labels, [2.0 * y + rng.normal(0, 1, n) for y in labels]


def test_the_scaling_of_a_fold_is_the_one_that_is_fitted_without_it():
    labels, network = labelled([0.2, 0.4, 0.6])
    slope, shift = sigmoid(np.concatenate(network), np.concatenate(labels).astype(float))
    said = [expit(slope * z + shift) for z in network]
    found = refitted(said, labels, [f"held out by fold {k}" for k in range(3)])
    assert (found.sample, found.how) == ("out of sample", ANEW)
    for k in range(3):
        others = [i for i in range(3) if i != k]
        a, b = sigmoid(
            np.concatenate([network[i] for i in others]),
            np.concatenate([labels[i] for i in others]).astype(float),
        )
        np.testing.assert_allclose(found.said[k], expit(a * network[k] + b), atol=1e-3)
        assert np.abs(found.said[k] - said[k]).max() > 5e-3


def test_an_error_that_scaling_on_all_hides_is_found():
    """Two folds fail at different rates, which one scaling cannot know of either."""
    rng = np.random.default_rng(1)
    labels = [(rng.uniform(size=4000) < r).astype(np.float32) for r in (0.1, 0.5)]
    said = [0.3 + rng.uniform(-1e-3, 1e-3, 4000) for _ in labels]
    as_it_is = reliability("risk", said, labels)
    assert as_it_is.ece == pytest.approx(0.0, abs=0.02)
    found = refitted(said, labels, HELD)
    assert reliability("risk", found.said, labels).ece == pytest.approx(0.4, abs=0.03)


def test_what_was_never_seen_is_judged_as_it_is_said():
    labels, network = labelled([0.2, 0.4, 0.6])
    said = [expit(z) for z in network]
    found = refitted(said, labels, [*HELD, "never seen"])
    assert found.sample == "out of sample"
    assert found.said[2] is said[2]
    assert not np.allclose(found.said[0], said[0])


def test_a_fold_whose_others_lack_a_class_stays_in_sample():
    labels, network = labelled([0.3, 0.0])
    said = [expit(z) for z in network]
    found = refitted(said, labels, HELD)
    assert found.sample == "partly in-sample"  # fold 1 can be scaled by fold 0, and not the reverse
    assert found.said[0] is said[0]
    assert refitted(said[:1], labels[:1], HELD[:1]).sample == "in-sample"


def test_what_was_not_taught_stays_flat():
    labels, _ = labelled([0.2, 0.4])
    said = [np.full(2000, 0.5)] * 2
    assert refitted(said, labels, HELD).said == said


def test_steps_without_a_probability_stay_without_one():
    labels, network = labelled([0.2, 0.4])
    said = [expit(z) for z in network]
    said[0][:5] = np.nan
    said[1][:2] = 0.0, 1.0  # as single precision says it
    found = refitted(said, labels, HELD)
    assert np.isnan(found.said[0]).sum() == 5
    assert np.isfinite(found.said[1]).all()


@pytest.fixture(scope="module")
def examples():
    return rig.episodes(20, session="monday")


@pytest.mark.parametrize(
    ("source", "threshold", "calibration", "how"),
    [
        (HELD, "in-sample", "out of sample", ANEW),
        (["never seen"] * 2, "out of sample", "out of sample", ""),
        (["unknown: the bundle has no folds"] * 2, "not known", "not known", ""),
    ],
)
def test_a_card_and_its_page_say_it(examples, source, threshold, calibration, how):
    """Each half of the episodes has successes and failures."""
    signals = [rig.noisy(e, i, 0.3) for i, e in enumerate(examples)]
    for s in signals:
        s["risk"] = expit(4 * s["risk"] - 2)
    ways = [source[2 * i // len(examples)] for i in range(len(examples))]
    card = make_card(examples, signals, name="x", folds=2, threshold=0.5, source=ways)
    risk = card.scores[0]
    assert alarms_at(risk, None).sample == threshold
    assert {a.sample for a in risk.alarms if a.asked is not None} == {"in-sample"}
    assert (card.reliability[0].sample, card.reliability[0].how) == (calibration, how)
    text = page(card)
    assert f"<td>0.5</td><td>{threshold}</td>" in text
    assert f"<td>{calibration}{': ' if how else ''}{how}</td>" in text
    if how:
        assert not np.allclose(logit(0.5), card.reliability[0].bins[5].said)
