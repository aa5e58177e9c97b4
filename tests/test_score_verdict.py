"""`headway score` says of each file whether there is an alarm, of all of them in one page and one
table, and of what is masked what would unmask it."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs
from pro_head import make_head
from report_page import Page
from rich.console import Console
from score_files import npz

from headway import bundle
from headway.edge.pro.risk import Calibration
from headway.errors import BundleError, ConfigError, SpecMismatch
from headway.kernels import spec
from headway.kernels.telemetry import FIELDS
from headway.learn.pro import dataset
from headway.tools.report import Entry, write_score_index
from headway.tools.score.command import score_command
from headway.tools.score.files import walk
from headway.tools.score.mapping import load_mapping
from headway.tools.score.scoring import Scored, score_file
from headway.tools.score.steps import Head, open_head
from headway.tools.score.unmask import unmask
from headway.tools.score.verdict import Threshold, threshold_of, verdict

MAP = """
robot = "R2"
task = "press"
[time]
key = "t"
[channels.q]
key = "q"
[channels.wrench]
key = "wrench"
frame = "tcp"
force = "on tool"
[outcome]
key = "label"
success = ["good"]
optional = true
[events]
times = "at"
labels = "what"
optional = true
failures = ["slip"]
retries = ["again"]
end_after_s = 0.25
"""


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    path = tmp_path / "map.toml"
    path.write_text(MAP)
    return path


def trial(path: Path, **more: Any) -> Path:
    """Two seconds at 200 Hz, with a slip at 1.5 s after a second try at 1 s."""
    path.parent.mkdir(exist_ok=True)
    marks = {"at": np.array([0.5, 1.0, 1.5]), "what": np.array(["grasp", "again", "slip"])}
    return npz(path, label=np.array("bad"), **{**marks, **more})


def head_with(
    path: Path, n: int | None, thresholds: dict[str, float] | None = None, **changes: Any
) -> Head:
    """A head whose bundle holds a calibration from `n` runs, None for no calibration."""
    made = make_head(path)
    pro = made.manifest.pro
    assert pro is not None
    manifest = structs.replace(made.manifest, pro=structs.replace(pro, thresholds=thresholds or {}))
    files: dict[str, bytes | Path] = {"pro.onnx": made.onnx.read_bytes()}
    if n is not None:
        facts: dict[str, Any] = {
            "kind": "risk", "pro": "tiny", "pro_sha256": made.manifest.files["pro.onnx"].sha256,
            "policy_sha256": "", "peaks": tuple(i / n for i in range(1, n + 1)), "episodes": n + 2,
            "data": "", "date": "", "of": "fault-free parts",
        }  # fmt: skip
        files["risk.json"] = msgspec.json.encode(Calibration(**{**facts, **changes}))
    return open_head(bundle.save(path, manifest, files).path)


def scored(tmp_path: Path, map_file: Path, head: Head | None) -> Scored:
    return score_file(trial(tmp_path / "a.npz"), load_mapping(map_file), head)


def test_the_threshold_is_that_of_the_bundles_calibration(tmp_path: Path) -> None:
    head = head_with(tmp_path / "head", 19, {"risk": 0.33})
    found = threshold_of(head, 0.1)
    assert found.risk == pytest.approx(18 / 19)
    assert found.source == (
        "at most 0.1 of runs alarm before anything goes wrong: from 19 fault-free parts of 21 "
        "episodes"
    )
    few = threshold_of(head, 0.01)
    assert few.risk is None
    assert "alpha = 0.01 wants at least 99 runs with fault-free parts" in few.source


def test_without_a_calibration_it_is_the_metrics_or_none(tmp_path: Path) -> None:
    found = threshold_of(head_with(tmp_path / "a", None, {"risk": 0.33}), 0.1)
    assert found.risk == 0.33
    assert "at which the metrics of head tiny were counted" in found.source
    none = threshold_of(head_with(tmp_path / "b", None), 0.1)
    assert none.risk is None
    assert "`headway pro alarms BUNDLE --recordings FOLDER`" in none.source
    other = threshold_of(head_with(tmp_path / "c", 19, pro_sha256="f" * 64), 0.1)
    assert other.risk is None
    assert "was made for PRO model ffffffffffff" in other.source


def test_an_alarm_begins_where_the_risk_first_rises_above_it(
    tmp_path: Path, map_file: Path
) -> None:
    s = scored(tmp_path, map_file, head_with(tmp_path / "head", None))
    risk, t = s.signals["risk"], s.t
    level = float(np.quantile(risk, 0.8))
    found = verdict(s, Threshold(level, "given"))
    first = int((risk > level).argmax())
    assert found.t == t[first]
    assert found.text == f"alarm at {t[first]:.1f} s"
    assert verdict(s, Threshold(float(risk.max()), "given")).text == "no alarm"
    assert verdict(s, Threshold(None, "who knows")).text == "no threshold: who knows"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"robot": "Baxter"}, "the recordings of robot Baxter; .*a.npz has robot R2 at 200 Hz"),
        ({"task": "open"}, "doing open; .* doing press: calibrate the head"),
        ({"tick_hz": (20.0, 20.0)}, "at 20 Hz; .* at 200 Hz"),
        ({"robot": "r2", "task": "press", "tick_hz": (200.0, 200.0), "groups": ("q", "dq")}, ""),
        ({"groups": ("q", "touch")}, "cannot tell, no touch: wanted touch, .*map channels.touch"),
    ],
)
def test_a_calibration_from_other_recordings_says_nothing_about_a_file(
    tmp_path: Path, map_file: Path, changes: dict[str, Any], says: str
) -> None:
    head = head_with(tmp_path / "head", 19, **changes)
    found = verdict(scored(tmp_path, map_file, head), threshold_of(head, 0.5))
    if not says:
        assert found.threshold.risk == pytest.approx(10 / 19)
        return
    assert found.threshold.risk is None
    assert re.search(says, found.text)


def test_a_head_from_another_robot_scores_no_file(tmp_path: Path, map_file: Path) -> None:
    head = trained(tmp_path / "head", robot="Baxter")
    says = "robot Baxter; .*a.npz has robot R2 at 200 Hz: train a head"
    with pytest.raises(SpecMismatch, match=says):
        scored(tmp_path, map_file, head)


@pytest.mark.parametrize("vacuum", ["not mapped", "not valid"])
def test_a_file_that_lacks_a_group_of_the_heads_training_says_so(
    tmp_path: Path, map_file: Path, vacuum: str
) -> None:
    if vacuum == "not valid":
        map_file.write_text(map_file.read_text() + '[channels.vacuum]\nkey = "vacuum"\n')
    head = trained(tmp_path / "head", robot="R2", groups=("q", "vacuum"))
    path = trial(tmp_path / "a.npz", vacuum=np.full(400, 1e9))  # no measurement
    found = score_file(path, load_mapping(map_file), head)
    assert any(
        n.startswith("check vacuum: masked in this file, known where head tiny was trained")
        for n in found.notes
    )
    said = verdict(found, Threshold(0.99, "given"))
    assert (said.threshold.risk, said.t, said.lacking) == (None, None, ("vacuum",))
    key = "map channels.vacuum" if vacuum == "not mapped" else "no value in channels.vacuum can"
    assert said.text.startswith("cannot tell, no vacuum: wanted vacuum, which the head knew")
    assert key in said.text
    assert "`headway run` refuses" in said.text


def trained(path: Path, folds: bytes | None = None, **changes: Any) -> Head:
    """A head that says what it was trained on."""
    made = make_head(path)
    pro = made.manifest.pro
    assert pro is not None
    manifest = structs.replace(made.manifest, pro=structs.replace(pro, **changes))
    files: dict[str, bytes | Path] = {"pro.onnx": made.onnx.read_bytes()}
    if folds is not None:
        files["folds/folds.json"] = folds
    return open_head(bundle.save(made.path, manifest, files).path)


def test_what_a_head_says_of_lines_and_of_how_far_it_looks_is_told(
    tmp_path: Path, map_file: Path
) -> None:
    path, m = trial(tmp_path / "a.npz"), load_mapping(map_file)
    for about, risk_s in (("line", 3.0), ("episode", None)):
        head = trained(tmp_path / about, about=about, risk_s=risk_s)
        notes = score_file(path, m, head).notes
        assert any("the reward falls" in n for n in notes) == (about == "line")
        assert any("that of a failure within 3 s" in n for n in notes) == (risk_s is not None)


def test_signals_that_a_head_was_not_taught_are_left_out(tmp_path: Path, map_file: Path) -> None:
    head = trained(tmp_path / "head", taught=("completion", "unstable"))
    out = tmp_path / "out"
    console = Console(width=100, file=io.StringIO())
    path = trial(tmp_path / "a.npz")
    assert score_command([path], map_file, head.bundle.path, out, console=console) == 0
    row = summary(out / "summary.csv")[0]
    assert (row["progress"], row["risk_max"]) == ("", "")
    assert row["completion"]
    assert row["stability_min"]
    assert row["verdict"] == "no threshold: head tiny was not taught what a risk is"
    assert "head tiny was not taught progress, risk, time_to_go, reward" in console.file.getvalue()
    labels = {s["label"] for s in Page(out / "a.html").panels["PRO"]["series"]}
    assert labels == {"completion", "stability"}


@pytest.mark.parametrize(("name", "seen"), [("a", True), ("b", False)])
def test_an_episode_of_the_heads_training_is_said(
    tmp_path: Path, map_file: Path, name: str, seen: bool
) -> None:
    folds = msgspec.json.encode({"folds": 1, "of": {name: {"fold": 0, "sha256": "0" * 64}}})
    found = scored(tmp_path, map_file, trained(tmp_path / "head", folds))
    assert any("was in the training of head tiny" in n for n in found.notes) == seen


def test_folds_that_cannot_be_read_are_an_error(tmp_path: Path, map_file: Path) -> None:
    with pytest.raises(BundleError, match=r"folds/folds.json: wanted the episodes of each fold"):
        scored(tmp_path, map_file, trained(tmp_path / "head", b"{}"))


def test_a_head_is_given_what_it_is_taught_with(tmp_path: Path, map_file: Path) -> None:
    """Features and masks of training and of scoring are the same to the bit."""
    path = trial(tmp_path / "a.npz", hz=50.0)
    (example,) = dataset.load([path], map_file)
    found = score_file(path, load_mapping(map_file), open_head(make_head(tmp_path / "head").path))
    n = len(example)
    assert (example.hz, found.telemetry.hz, found.every) == (50.0, 50.0, 1)
    np.testing.assert_array_equal(found.features[:n], example.features)
    np.testing.assert_array_equal(found.mask[:n], example.mask)


def summary(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def test_all_files_are_in_one_table_and_one_page(tmp_path: Path, map_file: Path) -> None:
    head = head_with(tmp_path / "head", 19, {"risk": 0.33})
    files = [trial(tmp_path / "data" / f"run {i} & <b>.npz") for i in range(2)]
    files.append(npz(tmp_path / "data" / "plain.npz", label=np.array("good")))
    bad = tmp_path / "data" / "bad.npz"
    bad.write_bytes(b"no")
    out, console = tmp_path / "out", Console(width=80, file=io.StringIO())
    code = score_command([*files, bad], map_file, head.bundle.path, out, 0.5, console=console)
    assert code == 1
    said = console.file.getvalue()
    assert "threshold risk above 0.526: at most 0.5 of runs alarm" in said
    assert "R2, press: PRO tiny" in said
    rows = summary(out / "summary.csv")
    assert [r["name"] for r in rows] == ["run 0 & <b>", "run 1 & <b>", "plain"]
    assert [r["outcome"] for r in rows] == ["failure", "failure", "success"]
    first = rows[0]
    assert (first["robot"], first["task"], first["rate_hz"]) == ("R2", "press", "200")
    assert (first["failures"], first["retries"]) == ("1.500 slip", "1.000 again")
    assert (first["first_failure_s"], first["judged_until_s"]) == ("1.5", "1.75")
    assert float(first["threshold"]) == pytest.approx(10 / 19, rel=1e-5)
    with np.load(out / "run 0 & <b>.features.npz") as d:
        assert d["success"] == np.False_
    with (out / "run 0 & <b>.signals.csv").open() as f:
        risk = [(float(r["t"]), float(r["risk"])) for r in csv.DictReader(f)]
    above = [t for t, x in risk if x > 10 / 19]
    assert first["verdict"] == (f"alarm at {above[0]:.1f} s" if above else "no alarm")
    assert float(first["risk_max"]) == pytest.approx(max(x for _, x in risk), rel=1e-5)
    html = (out / "index.html").read_text()
    assert "<script" not in html
    assert "run 0 &amp; &lt;b&gt;" in html
    assert 'href="run%200%20%26%20%3Cb%3E.html"' in html
    assert html.count("<svg") == 3
    assert html.count('class="wrong"') == 2
    assert "slip at 1.5 s" in html
    assert "again at 1.0 s" in html
    assert "Not scored:" in html
    assert "bad.npz" in html
    assert (out / "run 0 & <b>.html").is_file()


def test_one_file_has_no_page_about_all(tmp_path: Path, map_file: Path) -> None:
    out, console = tmp_path / "out", Console(file=io.StringIO())
    assert score_command([trial(tmp_path / "a.npz")], map_file, None, out, console=console) == 0
    assert not (out / "index.html").exists()
    row = summary(out / "summary.csv")[0]
    assert (row["verdict"], row["threshold"], row["risk_max"]) == ("", "", "")
    with pytest.raises(ConfigError, match="wanted --alpha between 0 and 1, found 1"):
        score_command([tmp_path / "a.npz"], map_file, None, out, 1.0, console=console)


def test_a_file_called_index_gets_a_page_of_its_own(tmp_path: Path, map_file: Path) -> None:
    files = [trial(tmp_path / "data" / f"{name}.npz") for name in ("index", "b")]
    out = tmp_path / "out"
    assert score_command(files, map_file, None, out, console=Console(file=io.StringIO())) == 0
    assert [r["name"] for r in summary(out / "summary.csv")] == ["data-index", "b"]
    assert "data-index" in (out / "index.html").read_text()


def test_our_own_summary_is_no_telemetry_and_others_are(tmp_path: Path, map_file: Path) -> None:
    score_command(
        [trial(tmp_path / "data" / "a.npz")], map_file, None, tmp_path / "data",
        console=Console(file=io.StringIO()),
    )  # fmt: skip
    assert walk([tmp_path / "data"]) == ([tmp_path / "data" / "a.npz"], [])
    (tmp_path / "data" / "summary.csv").write_text("t,q\n0,1\n")
    assert len(walk([tmp_path / "data"])[0]) == 2


def test_the_report_marks_failures_retries_and_the_threshold(
    tmp_path: Path, map_file: Path
) -> None:
    head = head_with(tmp_path / "head", 19)
    score_command(
        [trial(tmp_path / "a.npz")], map_file, head.bundle.path, tmp_path / "out", 0.5,
        console=Console(file=io.StringIO()),
    )  # fmt: skip
    page = Page(tmp_path / "out" / "a.html")
    assert page.data["events"] == [
        [0.5, "info", "grasp"],
        [1.0, "warning", "retry: again"],
        [1.5, "error", "failure: slip"],
        [1.75, "info", "judged up to here"],
    ]
    level = page.series("PRO", "alarm above")
    np.testing.assert_allclose(level, 10 / 19, rtol=1e-6)
    dashed = {s["label"]: s["dash"] for s in page.panels["PRO"]["series"]}
    assert (dashed["alarm above"], dashed["risk"]) == (True, False)
    assert "runs alarm before anything goes wrong" in page.text
    for fact in ("outcome failure", "robot R2", "task press"):
        assert fact in " ".join(page.text.split())
    assert "map channels.width" in page.text


@pytest.mark.parametrize(
    ("bit", "given", "mapped", "says"),
    [
        ("force", ["q"], (), "map channels.wrench, or channels.force_norm for |F| alone"),
        ("force_norm", ["q"], (), "map channels.wrench, or channels.force_norm for |F| alone"),
        ("force", ["force_norm"], (), "map channels.wrench"),
        ("torque", ["q"], (), "map channels.wrench, or channels.torque_norm for |M| alone"),
        ("dq", ["wrench"], (), "map channels.q"),
        ("speed", [], (), "map channels.tcp, or channels.speed for |v| alone"),
        ("tcp", [], ["tcp"], "channels.tcp is mapped, and not in this file"),
        ("twist", [], ["tcp"], "channels.tcp is mapped, and not in this file"),
        ("vacuum", ["vacuum"], ["vacuum"], "no value in channels.vacuum can be used"),
        ("clock", ["elapsed"], (), "give constants.limit, the time that the task may take [s]"),
        ("safety", ["watchdog"], (), "map channels.protective_stop, ik_failure, clamped"),
        ("rate_100", ["q"], (), "record faster (the samples come at 50 Hz)"),
        ("rate_50", ["q"], (), "give a higher time.rate_hz than 20, or leave it out"),
    ],
)
def test_what_would_unmask_a_group_is_named(
    bit: str, given: list[str], mapped: Any, says: str
) -> None:
    assert unmask(bit, given, mapped, 50.0, 20.0) == says


def test_every_group_has_its_key() -> None:
    for bit in spec.MASKS:
        text = unmask(bit, (), (), 20.0, 20.0)
        named = [f for f in (*FIELDS, "phase") if f in text]
        assert named or "record faster" in text


def test_a_page_without_a_head_has_no_risk(tmp_path: Path) -> None:
    entries = [
        Entry("a", "a.html", "-", 1.0, "", ["1"]),
        Entry("b", "b.html", "success", 2.0, "", ["2"]),
    ]
    path = write_score_index(
        tmp_path / "index.html", title="t", facts=[], columns=["n"], entries=entries
    )
    html = path.read_text()
    assert "risk over time" not in html
    assert "<svg" not in html
    assert 'class="good">success' in html
