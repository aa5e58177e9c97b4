"""Episodes dealt into folds by session, and telemetry as other sessions would have recorded it."""

from __future__ import annotations

import numpy as np
from pro_logs import MAP, write_logs

from headway.learn.pro import augment, dataset
from headway.learn.pro.folds import folds_by
from headway.tools.score.mapping import load_mapping


def test_folds_keep_sessions_together_and_classes_apart(tmp_path):
    logs, mapping = write_logs(tmp_path / "logs", 9)
    examples = dataset.load([logs], mapping)
    of = folds_by(examples, 3, "auto", seed=0)
    for k in range(3):
        kinds = [bool(e.failures) for e, f in zip(examples, of, strict=True) if f == k]
        assert sorted(kinds) == [False, True, True]
    for i, path in enumerate(sorted(logs.iterdir())):
        day = logs / f"day{i % 4}"
        day.mkdir(exist_ok=True)
        path.rename(day / path.name)
    mapping.write_text(MAP + "[session]\nfolder = true\n")
    examples = dataset.load([logs], mapping)
    of = folds_by(examples, 3, "auto", seed=0)
    by_session = {e.session: set() for e in examples}
    for e, fold in zip(examples, of, strict=True):
        by_session[e.session].add(fold)
    assert len(by_session) == 4
    assert all(len(found) == 1 for found in by_session.values())
    assert set(of) == {0, 1, 2}
    assert len(set(folds_by(examples, 9, "episode", seed=0))) == 9


def test_changed_telemetry_is_another_session_of_the_same_episode(tmp_path):
    logs, mapping = write_logs(tmp_path / "logs", 1)
    log = dataset.logs([logs / "run_0.npz"], load_mapping(mapping)).logs[0]
    rows = log.rows()
    a = augment.changed(rows, np.random.default_rng(1))
    b = augment.changed(rows, np.random.default_rng(1))
    c = augment.changed(rows, np.random.default_rng(2))
    np.testing.assert_array_equal(a["force_norm"], b["force_norm"])
    assert not np.array_equal(a["force_norm"], c["force_norm"])
    assert (a["force_norm"] >= 0).all()
    assert np.isnan(a["q"]).all()
    ratio = np.median(c["speed"] / rows["speed"])
    assert 0.7 < ratio < 1.4
    first, changed = log.example(), log.example(a)
    np.testing.assert_array_equal(first.risk, changed.risk)
    np.testing.assert_array_equal(first.mask, changed.mask)
    assert not np.array_equal(first.features, changed.features)
