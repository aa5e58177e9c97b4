"""Recordings of PRO spec 2, whose telemetry has fewer fields, are still scored and learned from; a
replay, which cannot compare other features, says so."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from kernels_rows import scale, wild

from headway import kernels
from headway.edge.control.log import json_channel
from headway.edge.control.result import Result
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import RecordingError, SpecMismatch
from headway.kernels import spec, telemetry
from headway.learn.pro import recordings
from headway.mcaplog import open_recording
from headway.tools.replay.replay import replay
from headway.tools.score.scoring import score_file

# as it was recorded, in this order; this list never changes
SPEC_2 = (
    *((name, 6) for name in ("q", "dq", "q_ref", "dq_ref", "tau_ext")),
    ("tcp", 7), ("twist", 6), ("wrench", 6),
    *((name, 0) for name in (
        "width", "width_ref", "grip_force", "vacuum", "phase", "elapsed", "limit", "retries",
        "recovery", "protective_stop", "ik_failure", "clamped", "watchdog", "seam_jump",
        "chunk_disagreement", "comms_jitter", "task", "place_confirm", "barcode", "scale_match",
        "operator",
    )),
)  # fmt: skip
ROW = np.dtype([("t_ns", "<i8"), *((n, "<f8", (w,) if w else ()) for n, w in SPEC_2)])
PRO = np.dtype(
    [("t_ns", "<i8"), *((n, "<f8") for n in ("progress", "stability", "completion", "risk")),
     ("time_to_go", "<f8"), ("reward", "<f8"), ("features", "<f4", (176,)), ("mask", "<f4", (16,))]
)  # fmt: skip
RESULT = Result(
    end="placed", success=True, seconds=1.2, ticks=600, retries=0, rejected=0, missed=0,
    peak_force=12.5, reward=0.0,
)  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A recording as version 0.1 wrote it, of an arm that knows all but the vacuum."""
    rows = wild(600, 3)
    rows["t_ns"] = 1 + np.arange(600) * 2_000_000
    rows["vacuum"], rows["task"] = np.nan, 0.0
    facts = {
        "scale": scale().to_json(), "hz": "500.0", "pro_hz": "50.0", "seed": "7",
        "headway": "0.1.0",
    }  # fmt: skip
    channels = [
        Channel("/telemetry", dtype=ROW),
        Channel("/pro", dtype=PRO),
        Channel("/result", **json_channel(Result)),
    ]
    with Recorder(tmp_path / "old.mcap", channels, lossless=True, metadata=facts) as log:
        for row in rows:
            kept = np.zeros((), ROW)
            for name in ROW.names or ():
                kept[name] = row[name]
            log.write("/telemetry", int(row["t_ns"]), kept)
        log.write("/pro", 1, np.zeros((), PRO))
        log.json("/result", int(rows["t_ns"][-1]), msgspec.json.encode(RESULT))
    return tmp_path / "old.mcap"


def test_fields_that_it_lacks_are_not_known(old: Path) -> None:
    kept = open_recording(old).rows("/telemetry")
    rows = telemetry.of_recording(kept)
    assert rows.dtype == telemetry.dtype(6)
    assert {n for n in telemetry.FIELDS if np.isnan(rows[n]).all()} == {
        "vacuum", "force_norm", "torque_norm", "touch", "speed", "spin",
    }  # fmt: skip
    for name in ROW.names or ():
        np.testing.assert_array_equal(rows[name], kept[name])
    assert telemetry.of_recording(rows) is rows


def test_its_features_are_those_of_the_same_robot_today(old: Path) -> None:
    rows = wild(600, 3)
    for name in ("vacuum", "force_norm", "torque_norm", "touch", "speed", "spin"):
        rows[name] = np.nan
    rows["task"] = 1.0
    recording = open_recording(old)
    features, mask, at = recordings.features_of(recording, 10, ("other", "pick"))
    assert at.tolist() == list(range(0, 600, 10))
    rows["task"] = 0.0  # a recording that does not name its task is of the first
    want = kernels.feature_stream("auto", scale(), 6, 500.0)
    for i, row in enumerate(rows):
        want.push(row)
        if i % 10 == 0:
            f, m = want.features()
            np.testing.assert_array_equal(features[i // 10], f)
            np.testing.assert_array_equal(mask[i // 10], m)
    assert features[-1, spec.INDEX["task_0"]] == 1
    _, unknown, _ = recordings.features_of(recording, 10)
    assert not unknown[:, spec.MASKS.index("task")].any()


def test_it_is_learned_from(old: Path) -> None:
    (item,) = recordings.load(old.parent, 50.0, ("pick_place",))
    assert item.features.shape == (60, spec.N_FEATURES)
    assert item.success
    force = np.linalg.norm(open_recording(old).rows("/telemetry")["wrench"][::10, :3], axis=1)
    np.testing.assert_allclose(item.force, force, rtol=1e-6)
    with pytest.raises(
        RecordingError, match="wanted ticks at a multiple of the head's 2000 Hz, found 500 Hz"
    ):
        recordings.load(old.parent, 2000.0, ("pick_place",))


def test_it_is_scored_by_the_names_of_its_fields(old: Path) -> None:
    scored = score_file(old, None, None)
    assert list(scored.masked) == ["touch", "vacuum"]
    assert scored.feature("Fx.min").any()
    assert scored.feature("F.max").any()


def test_it_is_not_replayed(old: Path) -> None:
    with pytest.raises(
        SpecMismatch,
        match=rf"{spec.N_FEATURES} features and {spec.N_MASKS} mask bits.*\(176,\).*headway 0\.1",
    ):
        replay(old, None)


def test_rows_that_are_no_telemetry_are_refused() -> None:
    with pytest.raises(RecordingError, match="wanted rows of telemetry with `q`, found t_ns, x"):
        telemetry.of_recording(np.zeros(2, [("t_ns", "<i8"), ("x", "<f8")]))
    odd = np.zeros(2, [("t_ns", "<i8"), ("q", "<f8", (6,)), ("tcp", "<f8", (6,))])
    with pytest.raises(RecordingError, match=r"`tcp` of shape \(7,\), found \(6,\)"):
        telemetry.of_recording(odd)
