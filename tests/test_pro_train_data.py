"""`headway pro train` where the data are not what they were, or are there twice."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("torch", reason="learning needs PyTorch: make torch")

from pro_logs import MAP, write_logs
from test_pro_train import run

from headway import bundle
from headway.learn.pro import fit, heads


def test_corrected_labels_do_not_go_on_from_what_was_kept(tmp_path, monkeypatch):
    logs, mapping = write_logs(tmp_path / "logs", 6)
    rows = [f"run_{i},{4.0 + i / 10}" if i % 3 < 2 else f"run_{i}," for i in range(6)]
    table = tmp_path / "labels.csv"
    mapping.write_text(MAP[: MAP.index("[events]")] + '[labels]\nfile = "labels.csv"\n')

    def label(lines):
        table.write_text("\n".join(["episode,failure_t", *lines]) + "\n")

    real, calls = fit.fit, []

    def stopped(*args, **more):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(fit, "fit", stopped)
    label(rows)
    with pytest.raises(KeyboardInterrupt):
        run(logs, mapping, tmp_path / "head", steps=5)
    label([rows[0].replace("4.0", "2.0"), *rows[1:]])
    run(logs, mapping, tmp_path / "head", steps=5)
    assert len(calls) == 2 + 4  # three folds and the whole: none was taught by these labels
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_copy_of_an_episode_is_in_no_other_fold(tmp_path):
    logs, mapping = write_logs(tmp_path / "logs")
    run(logs, mapping, tmp_path / "head", steps=5)
    for path in sorted(logs.iterdir()):
        shutil.copy(path, logs / f"z_{path.name}")
    code, text = run(logs, mapping, tmp_path / "again", steps=5)
    assert code == 0
    assert "12 episodes are copies of others; they are left out" in text
    once, twice = (bundle.load(tmp_path / name) for name in ("head", "again"))
    assert heads.folds_of(once) == heads.folds_of(twice)
    assert once.onnx.read_bytes() == twice.onnx.read_bytes()
