"""What a controller counts in the tick of its own failure events is not learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="learning needs PyTorch: make torch")

from pro_logs import MAP, write_log
from test_pro_train import run

from headway import bundle
from headway.kernels import spec
from headway.learn.pro import dataset, fit, heads, tune
from headway.tools.score.mapping import load_mapping

COUNTS = """
[channels.retries]
key = "retries"
[channels.recovery]
key = "recovery"
"""
TABLE = '[labels]\nfile = "labels.csv"\n'


@pytest.fixture
def counted(tmp_path):
    """Nine logs whose controller counts each bump as it tells it, and their mapping."""
    for i in range(9):
        bump = None if i % 3 == 2 else 3.0 + 0.4 * i
        t = np.arange(0.0, 8.0, 0.05)
        after = np.zeros(len(t)) if bump is None else (t >= bump).astype(float)
        write_log(tmp_path / f"logs/run_{i}.npz", i, bump, retries=after, recovery=after)
    mapping = tmp_path / "map.toml"
    mapping.write_text(MAP + COUNTS)
    return tmp_path / "logs", mapping


def test_the_features_that_are_counted_are_those_of_retries():
    assert fit.COUNTED == ("retries", "retries_phase", "retry_age", "retry_ewma", "recovery")


def test_a_head_cannot_read_what_counts_its_labels(counted, tmp_path):
    code, text = run(*counted, tmp_path / "head", steps=30)
    assert code == 0
    assert (
        "counts them in the same tick: retries, retries_phase, retry_age, retry_ewma, rec" in text
    )
    made = bundle.load(tmp_path / "head")
    assert made.manifest.pro.groups == ("speed", "force_norm")  # `retries` is not asked of a run
    places = {spec.INDEX[n] for n in fit.COUNTED}
    assert places.isdisjoint(tune.opened(made).reader.features.tolist())
    examples = dataset.load([counted[0]], counted[1])
    other = next(e for e in examples if e.failures)
    for name in ("retries", "retry_age", "retry_ewma", "recovery"):  # they would have told it
        assert np.ptp(other.features[:, spec.INDEX[name]]) > 0
    said = heads.signals(made, [other])[0]["risk"]
    other.features[:, sorted(places)] = 7.0
    other.mask[:, spec.MASKS.index("retries")] = 0.0
    np.testing.assert_array_equal(heads.signals(made, [other])[0]["risk"], said)


def test_keep_takes_one_in(counted):
    *_, names = fit.left_out(True, ("retry_age",)).values()
    assert names == ["retries", "retries_phase", "retry_ewma", "recovery"]
    examples = dataset.load([counted[0]], counted[1])
    names = [spec.NAMES[i] for i in fit.choose(examples, ("retry_age",), True)]
    assert "retry_age" in names
    assert "retry_ewma" not in names


@pytest.mark.parametrize(
    ("text", "is_counted"),
    [
        (MAP + COUNTS, True),
        (MAP, False),  # nothing counts
        (MAP.replace("failures", "retries") + COUNTS, False),  # before a retry, not after it
        (MAP[: MAP.index("[events]")] + COUNTS + TABLE, False),  # a person said so
        (
            MAP[: MAP.index("[events]")] + COUNTS + "[outcome]\nkey = 'end'\nsuccess = ['ok']\n",
            False,
        ),
    ],
)
def test_the_mapping_says_whether_failures_are_counted(tmp_path, text, is_counted):
    (tmp_path / "labels.csv").write_text("episode,failure_t\nrun_0,3.0\n")
    file = tmp_path / "map.toml"
    file.write_text(text)
    assert dataset.tells(load_mapping(file)).counted == is_counted


def test_our_own_recordings_are_such_ones():
    ours = Path(__file__).parents[1] / "examples/score/headway.toml"
    assert dataset.tells(load_mapping(ours)).counted


def test_a_recurrent_head_that_is_tuned_is_not_let_in_on_them(counted):
    examples = dataset.load([counted[0]], counted[1])
    for is_counted in (False, True):
        net = tune.ProHead(18.0, 5.0)
        net.std[:] = np.inf
        tune._let_in(net, examples, is_counted)
        known = np.isfinite(net.std.numpy())
        assert known[spec.INDEX["F.max"]]
        assert known[spec.INDEX["retry_ewma"]] != is_counted
