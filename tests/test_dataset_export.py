"""`headway dataset export`: what a LeRobotDataset has of recordings, by pyarrow and PyAV alone."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from dataset_rig import EVEN, JOINTS, RESULT, image, info, record, rows_of, table
from null_robot import run

from headway.__main__ import main
from headway.clock import NS
from headway.mcaplog import open_recording
from headway.tools.dataset import layout
from headway.tools.dataset.export import export_command
from headway.tools.score.files import open_source
from headway.tools.score.mapping import load_mapping
from headway.tools.score.telemetry import telemetry_of

pq = pytest.importorskip("pyarrow.parquet", reason="wants the extra lerobot")
av = pytest.importorskip("av", reason="wants the extra lerobot")

FRONT = "observation.images.front"
VIDEO = f"videos/{FRONT}/chunk-000/file-000.mp4"


def export(out, *paths, **options):
    return export_command(paths, out, **options)


def frames(path):
    with av.open(str(path)) as file:
        return [(f.pts * f.time_base, f.to_ndarray(format="rgb24")) for f in file.decode(video=0)]


@pytest.fixture
def one(tmp_path):
    """A data set of one recording with its defaults."""
    record(tmp_path / "in" / "a.mcap")
    assert export(tmp_path / "out", tmp_path / "in") == 0
    return tmp_path / "out"


def test_the_description_is_that_of_version_3(one):
    found = info(one)
    assert found["codebase_version"] == "v3.0"
    assert (found["fps"], found["robot_type"], found["splits"]) == (10, "arm", {"train": "0:1"})
    assert (found["total_episodes"], found["total_frames"], found["total_tasks"]) == (1, 11, 1)
    features = found["features"]
    assert features["observation.state"] == {
        "dtype": "float32", "shape": [4],
        "names": ["q.shoulder", "q.elbow", "q.wrist", "gripper.width"],
    }  # fmt: skip
    assert features["action"]["names"] == [
        "q_ref.shoulder", "q_ref.elbow", "q_ref.wrist", "gripper.width_ref",
    ]  # fmt: skip
    assert (features[FRONT]["dtype"], features[FRONT]["shape"]) == ("video", [24, 32, 3])
    assert features[FRONT]["info"]["video.pix_fmt"] == "yuv420p"
    assert features["telemetry.wrench"]["names"] == ["fx", "fy", "fz", "tx", "ty", "tz"]
    assert features["telemetry.dq"]["names"] == list(JOINTS)
    for name in ("vacuum", "tau_ext", "barcode", "q", "width"):  # not known, or in the state
        assert f"telemetry.{name}" not in features
    assert set(layout.DEFAULTS) <= set(features)
    paths = {p.relative_to(one).as_posix() for p in one.rglob("*") if p.is_file()}
    assert paths == {
        "meta/info.json", "meta/stats.json", "meta/tasks.parquet", VIDEO,
        "meta/episodes/chunk-000/file-000.parquet", "data/chunk-000/file-000.parquet",
    }  # fmt: skip


def test_a_frame_has_the_newest_state_and_the_last_command_before_the_next(one):
    found, k = table(one), np.arange(11)
    rows = rows_of(EVEN)[::10]
    state = np.column_stack([rows["q"], rows["width"]]).astype(np.float32)
    np.testing.assert_array_equal(np.array(found["observation.state"], np.float32), state)
    action = np.array(found["action"])
    # Tick 10 k shows the frame; the tick before the next frame is 10 k + 9, the last of all is 100.
    np.testing.assert_array_equal(action[:, 0], 10 + np.minimum(10 * k + 9, 100))
    jaws = rows_of(EVEN)["width_ref"][np.minimum(10 * k + 10, 100)]
    np.testing.assert_array_equal(action[:, 3], jaws.astype(np.float32))
    np.testing.assert_array_equal(found["timestamp"], (k / 10).astype(np.float32))
    assert found["frame_index"] == found["index"] == k.tolist()
    assert found["next.done"] == found["next.success"] == [False] * 10 + [True]


def test_pros_signals_are_the_newest_ones_and_its_rewards_are_summed(one):
    found = table(one)
    progress = np.linspace(0, 1, 51)[::5]
    np.testing.assert_array_equal(found["pro.progress"], progress.astype(np.float32))
    # Step n of the head, at 50 Hz, earns 1 + n; a frame has those after it, up to the next one.
    earned = [sum(1 + n for n in range(5 * k + 1, min(5 * k + 5, 50) + 1)) for k in range(11)]
    assert found["next.reward"] == earned
    assert sum(earned) + 1 == sum(range(1, 52))  # all but that of the first frame's own step


@pytest.mark.parametrize("fps", [3, 7, 30])
def test_nothing_in_an_observation_is_later_than_its_frame(fps, tmp_path):
    """At uneven ticks and images, frame by frame, with a rate that divides neither."""
    rng = np.random.default_rng(fps)
    ticks = np.cumsum(rng.integers(2_000_000, 15_000_000, 200))
    times = np.sort(rng.integers(ticks[0], ticks[-1], 23)).tolist()
    shown = {"front": [(t, image(i)) for i, t in enumerate(times)]}
    record(tmp_path / "a.mcap", ticks=ticks, shown=shown)
    assert export(tmp_path / "out", tmp_path / "a.mcap", fps=fps) == 0
    found, video = table(tmp_path / "out"), frames(tmp_path / "out" / VIDEO)
    rows, start = rows_of(ticks), max(int(ticks[0]), times[0])
    assert len(video) == len(found["index"]) == (int(ticks[-1]) - start) * fps // NS + 1
    for k, state in enumerate(found["observation.state"]):
        t = start + k * NS // fps
        newest = max(i for i, tick in enumerate(ticks) if tick <= t)
        assert state[0] == np.float32(rows["q"][newest, 0])
        sent = max(i for i, tick in enumerate(ticks) if tick < start + (k + 1) * NS // fps)
        assert found["action"][k][0] == 10 + sent
        picture = image(max(i for i, seen in enumerate(times) if seen <= t))
        assert np.abs(video[k][1].astype(float) - picture).mean() < 4


def test_frames_wait_for_images_that_come_a_little_late(tmp_path):
    """Else a frame would show the image before, a whole frame old, whenever one is late."""
    late = [0, 9, 3, 0, 7, 12, 1, 0, 5, 2]  # [ms]
    shown = {"front": [(k * NS // 10 + ms * 1_000_000, image(k)) for k, ms in enumerate(late)]}
    record(tmp_path / "a.mcap", shown=shown)
    assert export(tmp_path / "out", tmp_path / "a.mcap") == 0
    video = frames(tmp_path / "out" / VIDEO)
    assert len(video) == 10
    for k, (_, pixels) in enumerate(video):
        assert np.abs(pixels.astype(float) - image(k)).mean() < 4
    state = np.array(table(tmp_path / "out")["observation.state"])
    at = np.array([10 * k + 1 for k in range(10)])  # the newest tick at 12 ms is that of 10 ms
    np.testing.assert_array_equal(state[:, 0], rows_of(EVEN)["q"][at, 0].astype(np.float32))


def test_episodes_follow_each_other_in_the_files(tmp_path):
    for i in (9, 10):  # 9 before 10
        shown = {"front": [(k * NS // 10, image(k + i)) for k in range(11)]}
        record(tmp_path / f"e_{i}.mcap", shown=shown, metadata={"instruction": f"do {i % 2}"})
    assert export(tmp_path / "out", tmp_path) == 0
    episodes, video = table(tmp_path / "out", "meta/episodes"), frames(tmp_path / "out" / VIDEO)
    assert episodes["tasks"] == [["do 1"], ["do 0"]]
    assert episodes["dataset_from_index"] == [0, 11]
    assert episodes["dataset_to_index"] == [11, 22]
    assert episodes[f"videos/{FRONT}/from_timestamp"] == [0.0, 1.1]
    assert episodes[f"videos/{FRONT}/to_timestamp"] == [1.1, 2.2]
    assert [float(t * 10) for t, _ in video] == list(range(22))  # exact, no frame is late
    for n, (_, pixels) in enumerate(video):
        assert np.abs(pixels.astype(float) - image(n % 11 + 9 + n // 11)).mean() < 4
    found = table(tmp_path / "out")
    assert found["episode_index"] == [0] * 11 + [1] * 11
    assert found["task_index"] == found["episode_index"]
    assert found["index"] == list(range(22))
    kept = [json.loads(text) for text in episodes["headway.recording"]]
    assert [k["name"] for k in kept] == ["e_9", "e_10"]
    assert kept[0]["result"]["reward"] is None  # JSON has no NaN
    tasks = pq.read_table(tmp_path / "out/meta/tasks.parquet")
    assert tasks.to_pylist() == [
        {"task_index": 0, "task": "do 1"}, {"task_index": 1, "task": "do 0"},
    ]  # fmt: skip
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_full_files_are_followed_by_others(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "DATA_MB", 0)
    monkeypatch.setattr("headway.tools.dataset.video.VIDEO_MB", 0)
    monkeypatch.setattr("headway.tools.dataset.writer._ROWS", 1)
    monkeypatch.setattr(layout, "FILES_PER_CHUNK", 2)
    for i in range(3):
        record(tmp_path / f"e_{i}.mcap")
    assert export(tmp_path / "out", tmp_path) == 0
    episodes = table(tmp_path / "out", "meta/episodes")
    for prefix in ("data/", "meta/episodes/", f"videos/{FRONT}/"):
        assert episodes[f"{prefix}chunk_index"] == [0, 0, 1]
        assert episodes[f"{prefix}file_index"] == [0, 1, 0]
    assert episodes[f"videos/{FRONT}/from_timestamp"] == [0.0] * 3
    for name in ("chunk-000/file-000", "chunk-000/file-001", "chunk-001/file-000"):
        assert len(frames(tmp_path / f"out/videos/{FRONT}/{name}.mp4")) == 11
    assert table(tmp_path / "out")["index"] == list(range(33))


def test_statistics_are_those_of_the_data(tmp_path):
    record(tmp_path / "a.mcap")
    record(tmp_path / "b.mcap", fields={"q": np.linspace(1, 2, 303).reshape(101, 3)})
    assert export(tmp_path / "out", tmp_path) == 0
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    found = table(tmp_path / "out")
    assert set(stats) == set(info(tmp_path / "out")["features"])
    for name in ("observation.state", "action", "pro.progress", "next.done", "timestamp"):
        x = np.array(found[name], float).reshape(22, -1)
        wanted = {"min": x.min(0), "max": x.max(0), "mean": x.mean(0), "std": x.std(0)}
        for key, value in wanted.items():
            np.testing.assert_allclose(stats[name][key], value, rtol=0, atol=1e-6, err_msg=name)
        assert stats[name]["count"] == [22]
        parts = [np.quantile(part, 0.99, axis=0) for part in (x[:11], x[11:])]
        np.testing.assert_allclose(stats[name]["q99"], np.mean(parts, axis=0), atol=1e-6)
    pixels = np.array([image(k) for k in range(11)]) / 255.0
    for key in ("min", "max", "mean", "std"):
        wanted = getattr(pixels, key)(axis=(0, 1, 2)).reshape(3, 1, 1)
        np.testing.assert_allclose(stats[FRONT][key], wanted, atol=1e-6)
    q50 = np.quantile(pixels, 0.5, axis=(0, 1, 2), method="inverted_cdf").reshape(3, 1, 1)
    np.testing.assert_allclose(stats[FRONT]["q50"], q50, atol=1e-6)
    assert stats[FRONT]["count"] == [22]
    episode = table(tmp_path / "out", "meta/episodes")
    assert np.shape(episode[f"stats/{FRONT}/mean"][0]) == (3, 1, 1)
    np.testing.assert_allclose(
        episode["stats/action/max"][0], np.array(found["action"])[:11].max(0)
    )


def test_what_is_not_known_everywhere_is_left_out_and_said(tmp_path, capsys):
    hole = rows_of(EVEN)["wrench"]
    hole[42:60] = np.nan
    record(tmp_path / "a.mcap")
    unknown = msgspec.structs.replace(RESULT, end="interrupted")
    record(tmp_path / "b.mcap", pro=False, fields={"wrench": hole}, result=unknown)
    record(tmp_path / "c.mcap", fields={"width": None, "width_ref": None}, result=None)
    assert export(tmp_path / "out", tmp_path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "b.mcap: wrench left out: not known in every frame" in said
    assert "b.mcap: pro.risk left out" in said
    assert "c.mcap: width left out" in said
    assert "b.mcap, c.mcap: next.success left out" in said
    features = info(tmp_path / "out")["features"]
    for name in ("telemetry.wrench", "pro.risk", "next.reward", "next.success"):
        assert name not in features
    assert features["observation.state"]["names"] == [f"q.{j}" for j in JOINTS]
    assert features["action"]["names"] == [f"q_ref.{j}" for j in JOINTS]
    for name, values in table(tmp_path / "out").items():
        assert np.isfinite(np.array(values, float)).all(), name
    assert table(tmp_path / "out", "meta/episodes")["success"] == [True, None, None]


def test_an_instruction_that_changes_is_another_task_from_then_on(tmp_path):
    record(tmp_path / "a.mcap", instructions=[(450_000_000, "now lift it")])
    assert export(tmp_path / "out", tmp_path / "a.mcap") == 0
    assert table(tmp_path / "out")["task_index"] == [0] * 5 + [1] * 6
    episodes = table(tmp_path / "out", "meta/episodes")
    assert episodes["tasks"] == [["put the item down", "now lift it"]]


def test_only_successes_are_exported_where_they_alone_are_wanted(tmp_path, capsys):
    record(tmp_path / "a.mcap", result=msgspec.structs.replace(RESULT, success=False))
    record(tmp_path / "b.mcap")
    assert export(tmp_path / "out", tmp_path, successes=True) == 0
    assert "a.mcap: left out, since it was no success" in capsys.readouterr().out
    kept = table(tmp_path / "out", "meta/episodes")[layout.RECORDING]
    assert [json.loads(text)["name"] for text in kept] == ["b"]


@pytest.mark.parametrize("how", ["none recorded", "not wanted"])
def test_without_images_there_are_no_videos(how, tmp_path):
    if how == "none recorded":
        record(tmp_path / "a.mcap", shown={})
        assert export(tmp_path / "out", tmp_path / "a.mcap") == 0
    else:
        record(tmp_path / "a.mcap")
        assert export(tmp_path / "out", tmp_path / "a.mcap", images=False) == 0
    found = info(tmp_path / "out")
    assert (found["fps"], found["video_path"], found["total_frames"]) == (50, None, 51)
    assert not (tmp_path / "out/videos").exists()


def test_an_exported_data_set_is_scored_as_it_is(tmp_path, capsys):
    """`headway score` reads data sets, by the names that the export gives."""
    record(tmp_path / "in" / "a.mcap")
    failed = msgspec.structs.replace(RESULT, success=False)
    record(tmp_path / "in" / "b.mcap", result=failed)
    record(tmp_path / "in" / "c.mcap", result=None)
    assert export(tmp_path / "out", tmp_path / "in", fps=50) == 0
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        '[channels.q]\nkey = "observation.state"\n'
        f"names = {[f'q.{j}' for j in JOINTS]}\n"
        '[channels.wrench]\nkey = "telemetry.wrench"\nframe = "tcp"\nforce = "on tool"\n'
        '[outcome]\nkey = "success"\nsuccess = ["True"]\n'
    )
    args = ["score", str(tmp_path / "out"), "--map", str(mapping)]
    assert main([*args, "--out", str(tmp_path / "score")]) == 0
    said = capsys.readouterr().out
    for name in ("0 success", "1 failure", "2 -"):
        assert f"episode_00000{name}" in " ".join(said.split())


def mapped(folder, out):
    """The mapping that `headway map` writes for the data set `folder`."""
    assert main(["map", str(folder), "--out", str(out)]) == 0
    return load_mapping(out)


def test_map_finds_what_an_exported_data_set_holds(one, tmp_path):
    found = mapped(one, tmp_path / "map.toml")
    assert {"q", "dq", "q_ref", "tcp", "wrench"} <= set(found.channels)
    assert found.channels["tcp"].layout == "xyz quat wxyz"  # as its names say
    data = telemetry_of(*open_source(one, found, "episode_000000"))
    want = rows_of(EVEN)
    for name in ("q", "dq", "wrench"):
        np.testing.assert_allclose(data.rows[name][0], want[name][0], atol=1e-6, err_msg=name)


def test_map_gives_up_what_does_not_go_with_the_joints_and_says_why(one, tmp_path):
    about = json.loads((one / "meta/info.json").read_text())
    about["features"]["telemetry.dq"]["names"] = ["a", "b", "c"]
    (one / "meta/info.json").write_text(json.dumps(about))
    found = mapped(one, tmp_path / "map.toml")
    assert {"q", "q_ref", "tcp", "wrench"} <= set(found.channels)
    assert "dq" not in found.channels
    said = (tmp_path / "map.toml").read_text()
    assert said.count("cannot be used as guessed") == 1
    assert "# dq cannot be used as guessed: wanted the same joints everywhere, found a, b" in said


def test_a_run_of_the_loop_is_exported(write, both, tmp_path, capsys):
    """The whole way, on devices that are not there."""
    assert run(write(**both), tmp_path / "in", "--episodes", 2) == 0
    args = ["dataset", "export", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main(args) == 0
    found, log = table(tmp_path / "out"), open_recording(tmp_path / "in" / "episode_0.mcap")
    first = min(t for t, _ in log.images("/camera/wrist/rgb"))
    rows, command = log.rows("/telemetry"), log.rows("/command")
    at = int(np.searchsorted(rows["t_ns"], first, side="right")) - 1
    names = info(tmp_path / "out")["features"]["observation.state"]["names"]
    q = [i for i, n in enumerate(names) if n.startswith("q.")]
    state = np.array(found["observation.state"])[0, q]
    np.testing.assert_array_equal(state, rows["q"][at].astype(np.float32))
    next_frame = first + NS // info(tmp_path / "out")["fps"]
    sent = command["sent"][command["t_ns"] < next_frame][-1]
    np.testing.assert_array_equal(np.array(found["action"])[0, q], sent.astype(np.float32))
    assert max(found["episode_index"]) == 1
