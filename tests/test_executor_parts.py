"""Rollouts and their labels as parts of a larger computation."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from null_robot import null_table

from headway import bundle, config
from headway.edge.control.settings import Settings
from headway.errors import BundleError
from headway.kernels import spec
from headway.learn import rollout
from headway.learn.executors import parts, processes
from headway.learn.executors.executor import scatter
from headway.learn.rollout import Runner


@pytest.fixture
def settings(bundles):
    table = null_table(policy={"bundle": str(bundles / "policy")})
    made = config.decode(table, Settings, "test")
    return msgspec.structs.replace(made, pro=None)


def test_features_are_at_the_rate_that_is_asked_for(settings):
    with Runner(settings) as runner:
        made = runner.episode(3)
    hz = float(made.facts["hz"])
    for every in (1, 5):
        x, mask, at = parts.features(made, hz / every)
        assert at.tolist() == list(range(0, len(made.rows), every))  # as in the loop
        assert x.shape == (len(at), spec.N_FEATURES)
        assert len(mask) == len(x)
    assert np.array_equal(x, parts.features(made, hz)[0][::5])


def test_a_head_says_something_at_each_of_its_steps(settings, bundles):
    with Runner(settings) as runner:
        made = [runner.episode(seed) for seed in (3, 4)]
    head = bundle.load(bundles / "pro")
    said = parts.label(head, made)
    rate = head.manifest.pro.rate_hz
    for signals, one in zip(said, made, strict=True):
        steps = len(one.rows) * rate / float(one.facts["hz"])
        assert abs(len(signals["risk"]) - steps) < 1
        assert ((signals["risk"] >= 0) & (signals["risk"] <= 1)).all()
    with pytest.raises(BundleError, match="kind pro"):
        parts.label(bundle.load(bundles / "policy"), made)


@pytest.mark.slow
def test_they_run_in_processes_and_each_seed_comes_once(settings, bundles, tmp_path):
    with processes.connect(2) as executor:
        roll_out = parts.RollOut(settings, str(tmp_path))
        files = dict(scatter(executor, roll_out, [(3, 4), (5,)]))
        label = parts.Label(str(bundles / "pro"))
        labels = dict(scatter(executor, label, [files[0], files[1]]))
    assert [r.seed for i in (0, 1) for r in rollout.load(tmp_path / files[i])] == [3, 4, 5]
    with np.load(labels[0]) as found:
        assert {"0.risk", "1.risk", "0.time_to_go"} <= set(found.files)
    with Runner(settings) as runner:
        again = runner.episode(5)
    assert again.rows.tobytes() == rollout.load(tmp_path / files[1])[0].rows.tobytes()
