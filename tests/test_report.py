"""Reports: what is in the page, for whole, cut, partial and hostile recordings and arrays."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from damage import chunks, damage
from report_page import Page

from headway import mcapdecode
from headway.__main__ import main
from headway.edge.control.audit import STAGES, TIMING
from headway.edge.control.log import command_dtype
from headway.edge.guard.reasons import Reason
from headway.edge.pro.operator import OUTPUTS, pro_dtype
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import RecordingError
from headway.kernels import telemetry
from headway.tools.report import write_report, write_score_report
from headway.tools.report.series import LIMIT

T0 = 5_000_000_000
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&\u2028'
EMPTY: tuple[str, ...] = ()


def record(
    path: Path,
    n: int = 1500,
    *,
    lacking: tuple[str, ...] = EMPTY,
    pro: bool = True,
    camera: bool = True,
    timing: str = "beside",
    end: bool = True,
    how: str = "done",
    clock: str = "virtual",
    text: str = "put the red item in the tote",
    more: dict[str, str] | None = None,
) -> Path:
    """An episode of `n` ticks at 500 Hz as the loop would record it, made up."""
    channels = [
        Channel("/telemetry", dtype=telemetry.dtype(6)),
        Channel("/command", dtype=command_dtype(6)),
        Channel("/log", kind="log"),
    ]
    if pro:
        channels.append(Channel("/pro", dtype=pro_dtype()))
    if camera:
        channels += [
            Channel(f"/camera/wrist/{k}", kind="image", frame_id="wrist") for k in ("rgb", "depth")
        ]
    if timing == "topic":
        channels.append(Channel("/timing", dtype=TIMING))
    rows = telemetry.empty(6, n)
    s = np.arange(n) / 500
    rows["t_ns"] = T0 + np.arange(n) * 2_000_000
    rows["q"] = np.sin(s)[:, None] * np.arange(1, 7)
    rows["q_ref"] = rows["q"] + 0.01
    rows["dq"] = np.cos(s)[:, None] * np.arange(1, 7)
    rows["wrench"] = 0.1
    rows["wrench"][n // 2] = (3, 4, 12, 0, 0, 1)  # one tick of 13 N
    rows["width"], rows["width_ref"] = 0.085, 0.04
    rows["grip_force"] = 3.0
    rows["tcp"], rows["retries"] = 0.3, 1
    rows["phase"] = np.minimum(s * 8 // max(s[-1], 1e-9), 7) if n > 1 else 0
    for name in lacking:
        rows[name] = np.nan
    durations = np.zeros(n, TIMING)
    durations["t_ns"] = rows["t_ns"]
    for k, stage in enumerate(STAGES):
        durations[stage] = 1000 * (k + 1)
    durations["read"][-1] = 9_000_000
    durations["late"] = 4321
    meta = {"instruction": text, "seed": "7", "hz": "500.0", "clock": clock, "headway": "0.1.0"}
    meta |= more or {}
    with Recorder(path, channels, metadata=meta, lossless=True, chunk_bytes=1 << 16) as log:
        log.log(0, "warning", "wrist: no sample yet")
        for i in range(n):
            t = int(rows["t_ns"][i])
            log.write("/telemetry", t, rows[i])
            command = np.zeros((), command_dtype(6))
            command["t_ns"] = t
            if n // 3 <= i < n // 3 + 40:
                command["reason"], command["changed"] = Reason.FORCE, 1
            log.write("/command", t, command)
            if timing == "topic":
                log.write("/timing", t, durations[i])
            if pro and i % 10 == 0:
                row = np.zeros((), pro_dtype())
                row["t_ns"] = t
                for k, name in enumerate(OUTPUTS):
                    row[name] = (0.2 * k + i / n) % 1
                log.write("/pro", t, row)
            if camera and i % 50 == 0:
                log.image("/camera/wrist/rgb", t, np.full((48, 64, 3), i % 255, np.uint8))
                log.image("/camera/wrist/depth", t, np.full((48, 64), 300 + i % 99, np.uint16))
            if i == n // 2:
                log.log(t, "info", "item held")
        if end:
            result = {"end": how, "success": True, "seconds": 2.998, "ticks": n, "retries": 1}
            result |= {"rejected": 40, "missed": 3, "peak_force": 13.0, "reward": -1.25}
            log.log(int(rows["t_ns"][-1]), "info", "result " + json.dumps(result))
    if timing == "beside":
        np.save(path.with_suffix(".timing.npy"), durations)
    return path


def test_page_says_what_the_episode_was(tmp_path: Path) -> None:
    out = write_report(record(tmp_path / "e.mcap"))
    page = Page(out)
    assert out == tmp_path / "e.html"
    for word in (
        "SUCCESS",
        "put the red item in the tote",
        "done",
        "2.998 s",
        "13 N",
        "40",
        "-1.25",
    ):
        assert word in page.text
    assert list(page.panels) == [
        "PRO", "time-to-go", "reward", "Force on the tool", "Torque on the tool", "Gripper opening",
        "Grip force", "Joint speed", "Tracking error", "TCP position", "Work per tick",
    ]  # fmt: skip
    assert len(page.series("PRO", "risk")) == 150
    assert page.times("PRO")[-1] == pytest.approx(2.98)
    assert page.series("Force on the tool", "|F|").max() == 13
    assert page.series("Tracking error", "j6") == pytest.approx(0.01, abs=1e-6)
    (lane,) = [x for x in page.data["lanes"] if x["label"] == "guard"]
    assert lane["spans"] == [[pytest.approx(1.0), pytest.approx(1.08), "force", "bandbad"]]
    (lane,) = [x for x in page.data["lanes"] if x["label"] == "phase"]
    assert [s[2] for s in lane["spans"]][:3] == ["approach", "descend", "grasp"]
    assert page.data["events"] == [[pytest.approx(1.5), "info", "item held"]]
    assert "no sample yet" in page.text  # an event without a time is in the table only
    assert [len(s) for s in page.data["strips"]] == [24, 24]
    assert page.data["strips"][0][-1] == pytest.approx(2.9)
    images = [a["src"] for tag, a in page.tags if tag == "img"]
    assert len(images) == 48
    assert all(str(src).startswith("data:image/jpeg;base64,") for src in images)


def test_the_phases_are_those_that_the_recording_names(tmp_path: Path) -> None:
    named = {"phases": '["reach_out", "press"]', "task": "press"}
    page = Page(write_report(record(tmp_path / "e.mcap", more=named)))
    (lane,) = [x for x in page.data["lanes"] if x["label"] == "phase"]
    assert [s[2] for s in lane["spans"]][:3] == ["reach out", "press", "phase 2"]
    assert "press" in page.text
    with pytest.raises(RecordingError, match="wanted `phases` in the metadata as a JSON list"):
        write_report(record(tmp_path / "odd.mcap", more={"phases": '{"a": 1}'}))


def test_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    page = Page(write_report(record(tmp_path / "e.mcap", 60)))
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base", "form")
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "@import" not in page.html
    assert "url(" not in page.html
    (policy,) = [a["content"] for tag, a in page.tags if "http-equiv" in a]
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-")


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    path = record(tmp_path / "e.mcap", 60, text=HOSTILE)
    page = Page(write_report(path))
    scripts = [a for tag, a in page.tags if tag == "script"]
    assert len(scripts) == 3
    assert not any("onerror" in a for _, a in page.tags)
    assert HOSTILE.replace("\u2028", "") in page.text.replace("\u2028", "")
    out = tmp_path / "s.html"
    write_score_report(
        out, title=HOSTILE, t_s=np.arange(3.0), signals={HOSTILE: np.ones(3)},
        channels={HOSTILE + "2": np.ones((3, 2))}, masked={HOSTILE: [HOSTILE]}, notes=[HOSTILE],
        events=[(1.0, HOSTILE)],
    )  # fmt: skip
    page = Page(out)
    assert len([1 for tag, _ in page.tags if tag == "script"]) == 3
    assert not any("onerror" in a for _, a in page.tags)
    assert page.data["events"] == [[1.0, "info", HOSTILE]]


def test_latency_of_every_stage(tmp_path: Path) -> None:
    page = Page(write_report(record(tmp_path / "v.mcap", 300)))
    assert re.search(r"read\s+1\s+1\s+1\s+6309\s+9000", page.text)
    assert re.search(r"log\s+7\s+7\s+7\s+7\s+7", page.text)
    assert "v.timing.npy" in page.text
    assert "1 ticks (0.333 %) took longer" in page.text
    assert "lock-step" in page.text
    assert not re.search(r"lateness\s+4", page.text)
    wall = record(tmp_path / "w.mcap", 300, timing="topic", clock="wall")
    page = Page(write_report(wall))
    assert "the /timing topic" in page.text
    assert re.search(r"lateness\s+4.32\s", page.text)


@pytest.mark.parametrize("content", [b"", b"no array", None])
def test_timing_that_cannot_be_read_is_said(tmp_path: Path, content: bytes | None) -> None:
    path = record(tmp_path / "e.mcap", 20)
    beside = tmp_path / "e.timing.npy"
    if content is None:
        np.save(beside, np.zeros(3))
    else:
        beside.write_bytes(content)
    page = Page(write_report(path))
    assert "Not recorded: e.timing.npy" in page.text
    assert "Work per tick" not in page.panels


def test_what_is_missing_is_named_and_not_drawn(tmp_path: Path) -> None:
    lacking = ("wrench", "width", "width_ref", "grip_force", "phase", "tcp")
    path = record(tmp_path / "e.mcap", lacking=lacking, pro=False, camera=False, timing="")
    page = Page(write_report(path))
    assert list(page.panels) == ["Joint speed", "Tracking error"]
    for word in ("PRO", "force/torque", "gripper width", "joint torques", "task phase"):
        assert word in page.text.split("Not in this recording:")[1].split(".")[0]
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_camera_that_cannot_be_shown_does_not_hide_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(tmp_path / "e.mcap", 60)
    monkeypatch.delitem(mcapdecode._PIXELS, "16UC1")  # as for an encoding that nobody knows
    page = Page(write_report(path))
    assert "found '16UC1'" in page.text
    assert [len(s) for s in page.data["strips"]] == [2]


@pytest.mark.parametrize("n", [1, 2])
def test_shortest_episodes(tmp_path: Path, n: int) -> None:
    page = Page(write_report(record(tmp_path / "e.mcap", n)))
    start, end = page.data["range"]
    assert start < end
    assert len(page.series("Joint speed", "j1")) == n


def test_episode_without_a_tick(tmp_path: Path) -> None:
    path = tmp_path / "e.mcap"
    channels = [Channel("/telemetry", dtype=telemetry.dtype(6)), Channel("/log", kind="log")]
    with Recorder(path, channels, lossless=True) as log:
        log.log(9, "error", "the arm does not answer")
    page = Page(write_report(path))
    assert "not one tick" in page.text
    assert "the arm does not answer" in page.text
    assert page.data["panels"] == []


def test_recording_that_was_cut(tmp_path: Path) -> None:
    path = record(tmp_path / "e.mcap")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    page = Page(write_report(path))
    said = re.search(r"This recording is cut\.\s+Read up to (\d\.\d+) s", page.text)
    assert said is not None
    assert 0 < float(said[1]) < 2.9
    assert "ends in the middle" in page.text
    assert "NO RESULT" in page.text


def test_an_end_of_zeros_is_said_and_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = record(tmp_path / "e.mcap")
    assert main(["report", str(path)]) == 0
    path.write_bytes(path.read_bytes()[:-200] + bytes(200))
    assert main(["report", str(path)]) == 1
    assert "ends in the middle" in capsys.readouterr().err


def test_a_damaged_chunk_costs_itself_and_not_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damage(record(tmp_path / "e.mcap", timing="topic", clock="wall"), 2, 3)
    assert main(["report", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'e.html'}\n"
    assert said.err.count("skipped a damaged chunk at byte") == 2
    assert "/telemetry" in said.err
    page = Page(tmp_path / "e.html")
    assert page.text.count("A part of this recording is damaged.") == 2
    assert "SUCCESS" in page.text
    assert str(tmp_path) not in page.text
    (lane,) = [x for x in page.data["lanes"] if x["label"] == "not readable"]
    start, end = lane["spans"][0][0], lane["spans"][-1][1]
    t = page.times("Force on the tool")
    assert end - start > 0.1
    assert not ((t > start + 0.002) & (t < end - 0.002)).any()  # a chunk ends between topics
    assert t[-1] == pytest.approx(2.998)


def test_damage_that_holds_the_result_is_named_for_it(tmp_path: Path) -> None:
    path = record(tmp_path / "e.mcap")
    damage(path, len(chunks(path.read_bytes())) - 1)
    page = Page(write_report(path))
    assert "No result: it may be among what is missing." in " ".join(page.text.split())


def test_cut_before_the_first_row_says_so(tmp_path: Path) -> None:
    path = record(tmp_path / "e.mcap")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RecordingError, match="ends before the first rows"):
        write_report(path)


def test_run_without_result(tmp_path: Path) -> None:
    page = Page(write_report(record(tmp_path / "e.mcap", 600, end=False)))
    assert "No result" in page.text
    assert re.search(r"commands rejected\s+40", page.text)
    assert re.search(r"peak force\s+13 N", page.text)


def test_an_episode_that_was_asked_to_end_has_no_verdict(tmp_path: Path) -> None:
    """Also in recordings of older versions, which hold the station's word."""
    page = Page(write_report(record(tmp_path / "e.mcap", 300, how="interrupted")))
    assert "INTERRUPTED" in page.text
    assert "SUCCESS" not in page.text


def test_recordings_of_others_are_sent_to_score(tmp_path: Path) -> None:
    path = tmp_path / "other.mcap"
    with Recorder(path, [Channel("/log", kind="log")], lossless=True) as log:
        log.log(1, "info", "hello")
    with pytest.raises(RecordingError, match="headway score"):
        write_report(path)


def test_page_is_not_written_over_the_recording_or_into_nowhere(tmp_path: Path) -> None:
    path = record(tmp_path / "e.mcap", 20)
    before = path.read_bytes()
    with pytest.raises(RecordingError, match="give another --out"):
        write_report(path, path)
    with pytest.raises(RecordingError, match="No such file"):
        write_report(path, tmp_path / "no" / "r.html")
    assert path.read_bytes() == before


def test_page_of_a_whole_episode_is_small(tmp_path: Path) -> None:
    out = write_report(record(tmp_path / "e.mcap", 9000))
    assert out.stat().st_size < 2_000_000
    page = Page(out)
    assert len(page.series("Force on the tool", "|F|")) <= LIMIT
    assert page.series("Force on the tool", "|F|").max() == 13
