"""`headway dataset import`: recordings from data sets, Headway's own and those of others."""

from __future__ import annotations

import io
import json
import os
import shutil

import msgspec
import numpy as np
import pytest
from dataset_rig import EVEN, HZ, INTRINSICS, JOINTS, RESULT, START, image, info, record, rows_of
from PIL import Image

from headway.__main__ import main
from headway.clock import NS
from headway.edge.control.events import EventKind
from headway.errors import ConfigError
from headway.learn.pro.recordings import sequence
from headway.mcaplog import open_recording
from headway.tools import flags
from headway.tools.dataset.export import export_command
from headway.tools.dataset.importer import import_command
from headway.tools.dataset.layout import Feature
from headway.tools.dataset.writer import DatasetWriter
from headway.tools.recorded import events_of, joints_of, result_of

pa = pytest.importorskip("pyarrow", reason="wants the extra lerobot")
pytest.importorskip("av", reason="wants the extra lerobot")
import pyarrow.parquet as pq  # noqa: E402

FIRST, SECOND = "episode_000000.mcap", "episode_000001.mcap"
ARM = ("shoulder_pan.pos", "elbow.pos", "gripper.pos")  # as LeRobot names an SO-101's
STATE = np.column_stack([np.linspace(0, 90, 12), np.linspace(10, -30, 12), np.linspace(0, 100, 12)])
FRONT = "observation.images.front"
FEATURES = {
    "observation.state": Feature("float32", (3,), ARM),
    "action": Feature("float32", (3,), ARM),
    FRONT: Feature("video", (24, 32, 3), ("height", "width", "channels")),
    "next.done": Feature("bool"),
}


def import_(folder, out, **options):
    return import_command(folder, out, **options)


@pytest.fixture
def ours(tmp_path):
    """A data set of two recordings, at 20 Hz."""
    record(tmp_path / "in" / "a.mcap", instructions=[(NS // 2, "now lift it")])
    record(tmp_path / "in" / "b.mcap", result=None, pro=True)
    assert export_command([tmp_path / "in"], tmp_path / "ours", fps=20) == 0
    return tmp_path / "ours"


@pytest.fixture
def others(tmp_path):
    """A data set of two episodes as LeRobot records an SO-101, in degrees and per cent."""
    folder = tmp_path / "others"
    writer = DatasetWriter(folder, FEATURES, 30, "so101_follower")
    for e in range(2):
        columns = {
            "observation.state": (STATE + e).astype(np.float32),
            "action": (STATE + e + 1).astype(np.float32),
            "next.done": np.arange(12) == 11,
        }
        tasks = ["grab"] * 8 + ["drop"] * 4
        writer.add(columns, tasks, {FRONT: [image(k + e) for k in range(12)]}, None, {})
    writer.finish()
    return folder


def test_what_was_exported_comes_back(ours, tmp_path, capsys):
    assert import_(ours, tmp_path / "back") == 0
    log = open_recording(tmp_path / "back" / FIRST, strict=True)
    rows, wanted = log.rows("/telemetry"), rows_of(EVEN)[::5]
    np.testing.assert_array_equal(rows["t_ns"], wanted["t_ns"])  # the clock is the recording's
    known = ("q", "dq", "q_ref", "tcp", "wrench", "width", "width_ref", "elapsed", "retries")
    assert rows.dtype.names == ("t_ns", *known)  # what nobody knew is not there
    for name in known:
        np.testing.assert_array_equal(rows[name], wanted[name].astype(np.float32), err_msg=name)
    pro = log.rows("/pro")
    assert pro.dtype.names == ("t_ns", "progress", "stability", "completion", "risk", "time_to_go")
    assert pro["progress"][-1] == 1.0
    found = list(log.images("/camera/front/rgb"))
    assert [t for t, _ in found] == wanted["t_ns"].tolist()
    for k, (_, pixels) in enumerate(found):  # ten images a second, so each is in two frames
        assert np.abs(pixels.astype(float) - image(k // 2)).mean() < 4
    np.testing.assert_array_equal(
        log.calibration("/camera/front/calibration").intrinsics, INTRINSICS
    )
    assert log.schema("/tf") == "foxglove.FrameTransform"
    said = capsys.readouterr().out
    assert "/telemetry lacks, since the data set does: dq_ref, tau_ext, twist" in said


def test_events_result_and_metadata_come_back(ours, tmp_path):
    assert import_(ours, tmp_path / "back") == 0
    before = open_recording(tmp_path / "in" / "a.mcap")
    after = open_recording(tmp_path / "back" / FIRST)
    assert events_of(after) == events_of(before)
    assert [line.text for line in after.logs()] == ["now lift it", "closed on nothing"]
    found = result_of(after)
    assert np.isnan(found.reward)
    assert msgspec.structs.replace(found, reward=0.0) == msgspec.structs.replace(RESULT, reward=0.0)
    assert joints_of(after) == JOINTS
    assert after.run == before.run
    assert (
        after.metadata.items() >= (before.metadata | {"hz": "20.0", "start_ns": str(START)}).items()
    )
    assert after.metadata["recorded_hz"] == repr(float(HZ))
    assert "/result" not in open_recording(tmp_path / "back" / SECOND).topics  # it never had one


def test_actions_are_kept_as_they_are(ours, tmp_path):
    """They are no /command, which also says what the guard did."""
    assert import_(ours, tmp_path / "back") == 0
    log = open_recording(tmp_path / "back" / FIRST)
    assert "/command" not in log.topics
    action = log.rows("/dataset/action")
    table = pq.read_table(ours / "data/chunk-000/file-000.parquet")
    stored = np.array(table["action"].to_pylist()[: len(action)])
    for i, name in enumerate((*(f"q_ref_{j}" for j in JOINTS), "gripper_width_ref")):
        np.testing.assert_array_equal(action[name], stored[:, i])


def test_pro_learns_from_what_came_back(ours, tmp_path):
    """Labels are those of the recording that was exported."""
    assert import_(ours, tmp_path / "back") == 0
    path = tmp_path / "back" / FIRST
    found = sequence(open_recording(path, strict=True), path, 20.0, ("place",))
    assert (found.success, found.retries, found.seed) == (True, 1, 7)
    assert found.risk[:13].tolist() == [1.0] * 13  # until the closing on nothing at 0.6 s
    assert found.risk[13:].tolist() == [0.0] * 8


@pytest.mark.parametrize("unit", ["deg", "rad"])
def test_joints_of_others_are_known_where_their_unit_is_said(unit, others, tmp_path):
    assert import_(others, tmp_path / "back", joint_unit=unit) == 0
    log = open_recording(tmp_path / "back" / SECOND)
    rows = log.rows("/telemetry")
    factor = np.pi / 180 if unit == "deg" else 1.0
    q = (STATE[:, :2] + 1) * factor
    assert rows.dtype.names == ("t_ns", "q", "q_ref", "elapsed")
    np.testing.assert_allclose(rows["q"], q, atol=1e-5)
    # A row has the command of the frame before: a loop knows no more at that time.
    np.testing.assert_allclose(rows["q_ref"][1:], q[:-1] + factor, atol=1e-5)
    assert np.isnan(rows["q_ref"][0]).all()
    assert joints_of(log) == ("shoulder_pan", "elbow")
    np.testing.assert_array_equal(rows["t_ns"], np.arange(12) * NS // 30)
    state = log.rows("/dataset/observation/state")  # the jaws too, whose unit nobody said
    np.testing.assert_allclose(state["gripper_pos"], STATE[:, 2] + 1, atol=1e-5)
    (event,) = events_of(log)
    assert (event.kind, event.text, event.t_ns) == (EventKind.INSTRUCTION, "drop", 8 * NS // 30)
    assert log.metadata["instruction"] == "grab"
    assert log.metadata["robot"] == "so101_follower"
    assert result_of(log) is None  # nothing says how it ended


def test_without_a_unit_features_are_only_kept_as_they_are(others, tmp_path, capsys):
    assert import_(others, tmp_path / "back") == 0
    assert "does not say in which unit joints are: give --joint-unit" in capsys.readouterr().out
    log = open_recording(tmp_path / "back" / FIRST)
    assert "/telemetry" not in log.topics
    state = log.rows("/dataset/observation/state")
    assert state.dtype.names == ("t_ns", "shoulder_pan_pos", "elbow_pos", "gripper_pos")
    np.testing.assert_array_equal(state["elbow_pos"], STATE[:, 1].astype(np.float32))
    assert log.rows("/dataset/next/done")["value"].tolist() == [False] * 11 + [True]


def test_scores_and_reports_read_what_came_back(ours, others, tmp_path, capsys):
    assert import_(ours, tmp_path / "a") == 0
    assert import_(others, tmp_path / "b", joint_unit="deg") == 0
    files = [str(tmp_path / "a" / FIRST), str(tmp_path / "b" / SECOND)]
    assert main(["score", *files, "--out", str(tmp_path / "score")]) == 0
    assert "2 of 2" not in capsys.readouterr().err
    for name, joints in ((FIRST, 3), (SECOND, 2)):
        with np.load(tmp_path / "score" / name.replace(".mcap", ".features.npz")) as found:
            assert len(found["t"]) > 10, joints
    for file in files:
        assert main(["report", file]) == 0


def test_scoring_by_a_mapping_needs_no_unit_from_import(others, tmp_path):
    assert import_(others, tmp_path / "back") == 0
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        '[channels.q]\ntopic = "/dataset/observation/state"\nunit = "deg"\n'
        'key = ["shoulder_pan_pos", "elbow_pos"]\n'
    )
    args = ["score", str(tmp_path / "back" / FIRST), "--map", str(mapping)]
    assert main([*args, "--out", str(tmp_path / "score")]) == 0


class TestOlderVersions:
    @pytest.fixture
    def v21(self, others, tmp_path):
        """The same data set in the layout of version 2.1: files and lines per episode."""
        old = tmp_path / "v21"
        table = pq.read_table(others / "data/chunk-000/file-000.parquet")
        for e in range(2):
            part = table.filter(pa.compute.equal(table["episode_index"], e))
            path = old / f"data/chunk-000/episode_{e:06d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(part, path)
            writer = DatasetWriter(tmp_path / f"part{e}", {FRONT: FEATURES[FRONT]}, 30, "")
            writer.add({}, ["grab"] * 12, {FRONT: [image(k + e) for k in range(12)]}, None, {})
            writer.finish()
            video = old / f"videos/chunk-000/{FRONT}/episode_{e:06d}.mp4"
            video.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f"part{e}/videos/{FRONT}/chunk-000/file-000.mp4").rename(video)
        info = json.loads((others / "meta/info.json").read_text())
        info["codebase_version"] = "v2.1"
        info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        info["video_path"] = (
            "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
        )
        info["features"]["observation.state"]["names"] = {"motors": list(ARM)}
        (old / "meta").mkdir()
        (old / "meta/info.json").write_text(json.dumps(info))
        for name, rows in {
            "episodes": [{"episode_index": e, "tasks": ["grab"], "length": 12} for e in range(2)],
            "tasks": [{"task_index": 0, "task": "grab"}, {"task_index": 1, "task": "drop"}],
        }.items():
            (old / f"meta/{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return old

    def test_version_2_1_gives_the_same_recordings(self, v21, others, tmp_path):
        assert import_(v21, tmp_path / "old", joint_unit="deg") == 0
        assert import_(others, tmp_path / "new", joint_unit="deg") == 0
        for name in (FIRST, SECOND):
            old, new = (open_recording(tmp_path / d / name) for d in ("old", "new"))
            for topic in ("/telemetry", "/dataset/action"):
                assert old.rows(topic).tobytes() == new.rows(topic).tobytes()
            assert events_of(old) == events_of(new)
            pairs = zip(
                old.images("/camera/front/rgb"), new.images("/camera/front/rgb"), strict=True
            )
            for k, ((t, a), (u, b)) in enumerate(pairs):
                assert t == u
                assert np.abs(a.astype(float) - b).mean() < 4, k


def test_pictures_in_the_table_are_read(others, tmp_path):
    """LeRobot's data sets without videos hold PNG files in their tables."""
    path = others / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    stored = []
    for k in range(24):
        file = io.BytesIO()
        Image.fromarray(image(k)).save(file, "PNG")
        stored.append({"bytes": file.getvalue(), "path": None})
    pq.write_table(table.append_column(FRONT, pa.array(stored)), path)
    info = json.loads((others / "meta/info.json").read_text())
    info["features"][FRONT]["dtype"] = "image"
    (others / "meta/info.json").write_text(json.dumps(info))
    shutil.rmtree(others / "videos")
    assert import_(others, tmp_path / "back") == 0
    log = open_recording(tmp_path / "back" / SECOND)
    for k, (_, pixels) in enumerate(log.images("/camera/front/rgb")):
        np.testing.assert_array_equal(pixels, image(12 + k))
    assert k == 11


def test_videos_in_av1_are_written_and_read(tmp_path, monkeypatch):
    """LeRobot's own codec, and what is written where PyAV has no H.264."""
    if "libsvtav1" not in pytest.importorskip("av").codecs_available:
        pytest.skip("this PyAV comes without an AV1 encoder")
    monkeypatch.setattr("headway.tools.dataset.video.CODECS", ("libsvtav1",))
    shown = {"front": [(k * NS // 10, image(k, 64, 96)) for k in range(11)]}
    record(tmp_path / "in" / "a.mcap", shown=shown)
    record(tmp_path / "in" / "b.mcap", shown=shown)
    scheduling = os.sched_getscheduler(0)
    assert export_command([tmp_path / "in"], tmp_path / "out") == 0
    assert os.sched_getscheduler(0) == scheduling  # which the encoder would change for root
    about = info(tmp_path / "out")["features"][FRONT]["info"]
    assert about["video.codec"] == "av1"
    assert import_(tmp_path / "out", tmp_path / "back") == 0
    for name in (FIRST, SECOND):
        found = list(open_recording(tmp_path / "back" / name).images("/camera/front/rgb"))
        assert len(found) == 11
        for k, (_, pixels) in enumerate(found):
            assert np.abs(pixels.astype(float) - image(k, 64, 96)).mean() < 6


class TestOut:
    def test_an_import_that_was_interrupted_goes_on(self, others, tmp_path, monkeypatch):
        out = tmp_path / "back"
        from headway.tools.dataset import importer

        real, todo = importer.restore, [True, False]

        def broken(*args, **options):
            if not todo.pop(0):
                raise KeyboardInterrupt
            real(*args, **options)

        monkeypatch.setattr(importer, "restore", broken)
        with pytest.raises(KeyboardInterrupt):
            import_(others, out)
        assert [p.name for p in out.iterdir()] == [FIRST]
        first = (out / FIRST).stat()
        monkeypatch.setattr(importer, "restore", real)
        assert import_(others, out) == 0
        assert sorted(p.name for p in out.iterdir()) == [FIRST, SECOND]
        kept = (out / FIRST).stat()
        assert (kept.st_ino, kept.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)

    def test_another_recording_is_not_replaced_unless_that_is_said(
        self, ours, others, tmp_path, capsys
    ):
        out = tmp_path / "back"
        assert import_(ours, out) == 0
        args = ["dataset", "import", str(others), "--out", str(out)]
        assert main(args) == 2
        assert f"found another file at {out / FIRST}" in capsys.readouterr().err
        flags.add(out / FIRST, (flags.Flag(0.1, "slipped"),))
        assert main([*args, "--overwrite"]) == 0
        assert open_recording(out / FIRST).metadata["robot"] == "so101_follower"
        assert flags.flags_of(out / FIRST) == ()  # they were about what was there before
        assert f"removed {FIRST}.flags.json" in capsys.readouterr().out

    def test_images_can_be_left_out(self, others, tmp_path, capsys):
        assert import_(others, tmp_path / "back", images=False) == 0
        assert "left out by --no-images: front" in capsys.readouterr().out
        assert "/camera/front/rgb" not in open_recording(tmp_path / "back" / FIRST).topics


@pytest.mark.parametrize("then", [{"joint_unit": "deg"}, {"joint_unit": "rad", "images": False}])
def test_recordings_that_were_imported_otherwise_are_not_taken_for_what_is_asked(
    then, others, tmp_path
):
    first = {} if "images" not in then else {"joint_unit": "rad"}
    assert import_(others, tmp_path / "back", **first) == 0
    assert import_(others, tmp_path / "back", **first) == 0  # as before: they are kept
    with pytest.raises(ConfigError, match="the same episode, imported with other options"):
        import_(others, tmp_path / "back", **then)
    assert import_(others, tmp_path / "back", **then, overwrite=True) == 0
    log = open_recording(tmp_path / "back" / FIRST)
    assert "/telemetry" in log.topics
    assert ("/camera/front/rgb" in log.topics) == ("images" not in then)


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "text", "says"),
        [
            ("meta/info.json", None, "wanted a data set with meta/info.json, found none"),
            ("meta/info.json", "{", "wanted JSON"),
            ("meta/info.json", '{"codebase_version": "v3.0"}', "wanted `fps` and `features`"),
            ("meta/tasks.parquet", "x", "wanted a Parquet file"),
            ("meta/episodes/chunk-000/file-000.parquet", "x", "wanted a Parquet file"),
        ],
    )
    def test_a_folder_that_is_no_data_set(self, name, text, says, others, tmp_path, capsys):
        if text is None:
            (others / name).unlink()
        else:
            (others / name).write_text(text)
        assert main(["dataset", "import", str(others), "--out", str(tmp_path / "o")]) == 4
        assert says in capsys.readouterr().err

    def test_another_version(self, others, tmp_path, capsys):
        info = (others / "meta/info.json").read_text()
        (others / "meta/info.json").write_text(info.replace('"v3.0"', '"v1.6"'))
        assert main(["dataset", "import", str(others), "--out", str(tmp_path / "o")]) == 2
        assert "wanted a LeRobotDataset of version 2 or 3, found v1.6" in capsys.readouterr().err

    def test_an_episode_that_cannot_be_read_does_not_cost_the_others(
        self, others, tmp_path, capsys
    ):
        path = others / "meta/episodes/chunk-000/file-000.parquet"
        table = pq.read_table(path)
        at = table.column_names.index(f"videos/{FRONT}/from_timestamp")
        late = pa.array([0.0, 7.0])
        pq.write_table(table.set_column(at, f"videos/{FRONT}/from_timestamp", late), path)
        assert import_(others, tmp_path / "back") == 1
        said = " ".join(capsys.readouterr().out.split())
        assert "not imported episode 1:" in said
        assert "wanted a frame at 7.0000 s" in said
        assert "1 of 2 episodes" in said
        assert [p.name for p in (tmp_path / "back").iterdir()] == [FIRST]

    def test_a_unit_for_a_data_set_that_says_its_own(self, ours, tmp_path, capsys):
        args = ["dataset", "import", str(ours), "--out", str(tmp_path / "o")]
        assert main([*args, "--joint-unit", "deg"]) == 2
        assert "its joints are in rad, leave it out" in capsys.readouterr().err
