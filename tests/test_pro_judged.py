"""Recordings of `headway run` as episodes that a PRO head is judged by."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="wants headway[sim]")
pytest.importorskip("onnx", reason="the tiny head is made with onnx: make test installs it")

from pro_head import make_head
from workflow_rig import settings_of

from headway.cli import main
from headway.clock import VirtualClock
from headway.edge.control.build import Built
from headway.edge.control.events import RETRIES
from headway.edge.control.runner import record_episode
from headway.edge.control.station import Station
from headway.learn.execution.judged import recorded
from headway.learn.execution.targets import RISK_S
from headway.learn.pro.card.parts import Parts
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of, result_of

SEEDS = (4, 5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Orders of shoeboxes by the scripted expert, who is pushed off its way, and a damaged file."""
    out = tmp_path_factory.mktemp("runs")
    settings = settings_of("shoebox", lines_max=2)
    settings.policy["disturb"] = 0.3
    clock = VirtualClock(1)
    with Station(settings, clock) as station:
        built = Built(settings, station, clock)
        for seed in SEEDS:
            record_episode(built.loop, seed, out / f"{seed}.mcap", metadata=built.facts)
        built.close()
    (out / "junk.mcap").write_bytes(b"junk")
    return out


def test_an_order_is_judged_line_by_line(runs: Path) -> None:
    found = recorded(sorted(runs.glob("*.mcap")))
    assert [e.name for e in found.examples] == ["4", "5"]
    assert len(found.left_out) == 1
    assert "junk.mcap" in found.left_out[0]
    failed = 0
    for e in found.examples:
        recording = open_recording(runs / f"{e.name}.mcap")
        result = result_of(recording)
        assert result is not None
        assert e.success == result.success
        assert e.hz == 25.0
        closed = [
            (x.t_ns - int(recording.rows("/telemetry")["t_ns"][0])) / 1e9
            for x in events_of(recording)
            if x.kind.value == "line_closed"
        ]
        assert len(closed) == 2
        # Until a line is closed, the time to go is that until its own closing, not the order's.
        for since, until in zip([0.0, *closed], closed, strict=False):
            due = (e.t > since) & (e.t < until) & np.isfinite(e.time_to_go)
            assert due.any()
            np.testing.assert_allclose(e.time_to_go[due], until - e.t[due], atol=1e-3)
            assert (e.completion[due] == 1).all()
        for moment in e.failures:
            near = (e.t <= moment.t) & (e.t > moment.t - RISK_S)
            assert (e.risk[near] == 1).all()
            assert moment.label in {k.value for k in RETRIES}
        failed += len(e.failures)
    assert failed, "an expert that is pushed so often presses in vain"


def test_a_card_of_recordings_wants_no_mapping(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_head(tmp_path / "head", rate_hz=25.0)
    out = tmp_path / "card"
    assert main(["pro", "card", str(tmp_path / "head"), str(runs), "--out", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "judged line by line" in said
    assert "1 recordings left out" in said
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["data"]["episodes"] == len(SEEDS)


def test_a_head_is_judged_by_how_far_it_says_it_looks_ahead(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_head(tmp_path / "far", rate_hz=25.0, risk_s=3.0)
    out = tmp_path / "card"
    assert main(["pro", "card", str(tmp_path / "far"), str(runs), "--out", str(out)]) == 0
    assert "a failure event within 3 s" in " ".join(capsys.readouterr().out.split())
    wanted = sum(int((e.risk == 1).sum()) for e in recorded(_files(runs), risk_s=3.0).examples)
    usual = sum(int((e.risk == 1).sum()) for e in recorded(_files(runs)).examples)
    assert wanted > usual > 0
    (risk,) = [
        r
        for r in json.loads(out.with_suffix(".json").read_text())["reliability"]
        if r["signal"] == "risk"
    ]
    was = sum(b["steps"] * b["was"] for b in risk["bins"] if b["steps"])
    assert was == pytest.approx(wanted)


def _files(runs: Path) -> list[Path]:
    return sorted(runs.glob("*.mcap"))


def test_what_is_no_recording_of_ours_wants_a_mapping(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_head(tmp_path / "head", rate_hz=25.0)
    shutil.copy(runs / "junk.mcap", tmp_path)
    asked = ["pro", "card", str(tmp_path / "head"), str(tmp_path), "--out", str(tmp_path / "c")]
    assert main(asked) == 2
    assert "say with --map what is in them" in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()


def test_the_value_is_to_rise_within_each_line(runs: Path) -> None:
    """The time until the line that is due is closed begins anew with each line."""
    pytest.importorskip("scipy", reason="wants headway[card]")
    from headway.learn.pro.card.calibration import order

    parts = [Parts(e) for e in recorded([runs / f"{s}.mcap" for s in SEEDS]).examples]
    signals = []
    for p in parts:
        assert [p.of.line[x.start] for x in p.stretches][:2] == [0, 1]
        told = p.of.time_to_go.astype(float)
        for x in p.stretches:  # late in an order it is not known: there, until the line's last step
            until = p.of.t[x][-1] - p.of.t[x]
            told[x] = np.where(np.isfinite(told[x]), told[x], until)
        signals.append({"time_to_go": np.nan_to_num(told)})
    said = order(parts, signals, np.random.default_rng(0))
    assert said.tau_successes.value == pytest.approx(1.0)
    assert said.error_s == pytest.approx(0.0, abs=1e-6)
    assert said.clock_error_s is not None
    whole = [Parts(replace(p.of, line=None)) for p in parts]
    assert order(whole, signals, np.random.default_rng(0)).tau_successes.value < 0.7
