"""What `headway pro train` and `headway pro card` find on real recordings. Minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="learning needs PyTorch: make torch")

from headway.learn.pro import train
from headway.learn.pro.card import model
from headway.learn.pro.card.command import card_command
from headway.learn.pro.card.verdict import TREES, alarms_at

ROOT = Path(__file__).resolve().parent.parent
DATA, MAPS = ROOT.parent / "shared/data", ROOT / "examples/score"
pytestmark = pytest.mark.slow


def judged(name: str, tmp_path: Path) -> model.Card:
    data = DATA / name
    if not data.is_dir():
        pytest.skip(f"the recordings of {name} are not here")
    mapping = MAPS / f"{name}.toml"
    assert train.train_command([data], mapping, train.Options(tmp_path / "head")) == 0
    assert card_command(tmp_path / "head", [data], mapping, tmp_path / "card") == 0
    return model.from_json((tmp_path / "card.json").read_bytes())


def test_a_baxters_failures_are_told(tmp_path):
    card = judged("baxter_pick_place", tmp_path)
    risk, trees = (next(s for s in card.scores if s.name == n) for n in ("PRO risk", TREES))
    assert risk.auroc.value >= 0.985
    at = alarms_at(risk, 0.1)
    assert at.false.count <= 0.1 * at.false.of
    assert at.at_failure.count >= 0.85 * at.at_failure.of
    assert at.delay.median <= 0.3
    assert trees.auroc.value > 0.95
    assert "object_slip" in {k.kind for k in at.kinds}
    assert card.verdict.alarms.state == "usable"


def test_years_that_differ_are_no_failures(tmp_path):
    card = judged("hiro_snap_assembly", tmp_path)
    assert card.verdict.state == "not usable"
    assert "recorded together" in card.verdict.alarms.decided
