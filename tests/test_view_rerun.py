"""What Rerun is told; the real package, where it is installed, has what is called."""

import asyncio
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
import rerun_fake
from null_robot import run

from headway.edge.recording import messages, ring
from headway.edge.recording.schema import Channel
from headway.edge.recording.tap import Topic
from headway.errors import DeviceError
from headway.mcaplog import open_recording
from headway.tools.view.rerun import RerunSink, open_rerun
from headway.wire import RowLayout

ROW = np.dtype([("t_ns", "<i8"), ("risk", "<f4"), ("q", "<f8", (6,)), ("features", "<f4", (176,))])
K = [80.0, 0.0, 8.0, 0.0, 80.0, 6.0, 0.0, 0.0, 1.0]


@pytest.fixture
def told():
    """`told(kind, data, topic)`: what the sink logs for one message at 5 s."""

    def told(kind, data, topic="/x", metadata=()):
        rr = rerun_fake.module()
        sink = RerunSink((rr, rr.RecordingStream("test")))
        (n,) = sink.channels([Topic(topic, kind, "", b"", metadata)])
        sink.message(n, 5_000_000_000, data)
        name, time = rr.calls[1]
        assert name == "RecordingStream.set_time"
        assert time == {"timeline": "run", "duration": np.timedelta64(5, "s")}
        logged = [c for name, c in rr.calls if name == "RecordingStream.log"]
        return {c["entity_path"]: c["entity"] for c in logged}

    return told


def test_columns_become_entities_and_wide_ones_are_left_out(told):
    row = np.zeros((), ROW)
    row["risk"], row["q"] = 0.25, np.arange(6)
    data = RowLayout(ROW).encode(row)
    found = told("struct", data, "/pro", tuple(Channel("/pro", dtype=ROW).metadata().items()))
    assert set(found) == {"/pro/risk", "/pro/q"}
    assert found["/pro/risk"][0] == "Scalars"
    assert found["/pro/risk"][1]["scalars"].tolist() == [0.25]
    assert found["/pro/q"][1]["scalars"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("pixels", "name", "extra"),
    [
        (np.arange(36, dtype=np.uint8).reshape(3, 4, 3), "Image", {"color_model": "RGB"}),
        (np.arange(12, dtype=np.uint8).reshape(3, 4), "Image", {"color_model": "L"}),
        (np.arange(12, dtype=np.uint16).reshape(3, 4), "DepthImage", {"meter": 1000.0}),
        (np.arange(12, dtype=np.float32).reshape(3, 4), "DepthImage", {"meter": 1.0}),
    ],
)
def test_images_arrive_pixel_for_pixel(told, pixels, name, extra):
    code = {"u1": 0 if pixels.ndim == 3 else 1, "u2": 2, "f4": 3}[pixels.dtype.str[1:]]
    data = messages.image(5, ring.IMAGE.pack(code, 1, 3, 4) + b"w" + pixels.tobytes())
    kind, found = told("image", data, "/camera/wrist/rgb")["/camera/wrist/rgb"]
    assert kind == name
    assert found["image"].dtype == pixels.dtype
    assert (found.pop("image") == pixels).all()
    assert found == extra


def test_calibration_transform_joints_and_log(told):
    data = messages.calibration(5, ring.CALIBRATION.pack(1, 12, 16, *K) + b"w")
    found = told("calibration", data, "/camera/wrist/calibration")
    kind, pinhole = found["/camera/wrist"]  # the parent of the images
    assert kind == "Pinhole"
    assert pinhole["image_from_camera"].ravel().tolist() == K
    assert pinhole["resolution"] == [16, 12]

    row = np.zeros((), np.dtype([("tcp", "<f8", (7,)), ("q", "<f8", (2,))]))
    row["tcp"], row["q"] = [1, 2, 3, 0.5, 0.1, 0.2, 0.3], [4, 5]
    channel = Channel("/tf", "transform", column="tcp", frame_id="base", child_frame_id="tcp")
    kind, pose = told("transform", messages.transform(5, row, channel), "/tf")["/tf/tcp"]
    assert kind == "Transform3D"
    assert pose == {"translation": [1, 2, 3], "quaternion": [0.1, 0.2, 0.3, 0.5]}  # xyzw

    channel = Channel("/joints", "joints", column="q", names=("a", "b"))
    found = told("joints", messages.joints(5, row, channel), "/joints")
    assert found == {"/joints/position": ("Scalars", {"scalars": [4, 5]})}

    for level, said in ((2, "INFO"), (3, "WARN"), (4, "ERROR"), (5, "CRITICAL")):
        found = told("log", messages.log(5, bytes([level]) + b"hello"), "/log")
        assert found == {"/log": ("TextLog", {"text": "hello", "level": said})}


def test_an_episode_begins_behind_all_of_the_one_before():
    rr = rerun_fake.module()
    sink = RerunSink((rr, rr.RecordingStream("test")))
    for times in ((5, 9, 7), (5, 6)):  # an image comes after younger rows
        (n,) = sink.channels([Topic("/x", "json", "", b"", ())])
        for t_ns in times:
            sink.message(n, t_ns, b"")
    set_at = [c["duration"].astype(int) for name, c in rr.calls if name.endswith("set_time")]
    assert set_at == [5, 9, 7, 10, 11]


def test_a_viewer_is_started_with_analytics_off_and_a_named_one_is_not(monkeypatch):
    rr, commands = rerun_fake.module(), []
    monkeypatch.setitem(sys.modules, "rerun", rr)
    monkeypatch.setattr(subprocess, "run", lambda argv, **options: commands.append(argv))
    _, stream = open_rerun(None, None)
    assert commands == [[sys.executable, "-m", "rerun_cli", "analytics", "disable"]]
    name, options = rr.calls[-1]
    assert name == "spawn"
    assert options["recording"] is stream
    open_rerun("rerun+http://10.0.0.7:9876/proxy", None)
    assert rr.calls[-1] == (
        "RecordingStream.connect_grpc", {"url": "rerun+http://10.0.0.7:9876/proxy"}
    )  # fmt: skip
    assert len(commands) == 1


def test_what_rerun_refuses_is_one_line(monkeypatch):
    rr = rerun_fake.module()

    def spawn(**options):
        raise RuntimeError("no viewer\nlong advice")

    rr.spawn = spawn
    monkeypatch.setitem(sys.modules, "rerun", rr)
    monkeypatch.setattr(subprocess, "run", lambda argv, **options: None)
    with pytest.raises(DeviceError, match="found RuntimeError: no viewer; check --rerun-connect"):
        open_rerun(None, None)


def test_what_rerun_did_not_take_is_known():
    rr = rerun_fake.module()
    stream = rr.RecordingStream("test")

    def flush(timeout_sec):
        raise RuntimeError("timed out")

    stream.flush = flush
    sink = RerunSink((rr, stream))
    asyncio.run(sink.close())
    assert not sink.complete
    assert rr.calls[-1] == ("RecordingStream.disconnect", {})


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The stand-in as an installed package, which the viewer process finds as well."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "rerun.py").write_text(
        "import sys, rerun_fake\nsys.modules[__name__] = rerun_fake.module()\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")


def test_a_run_goes_to_rerun_as_it_is_recorded(write, both, tmp_path, installed, capsys):
    saved = tmp_path / "run.rrd"
    out = tmp_path / "out"
    assert run(write(**both), out, "--episodes", 2, "--rerun-save", saved) == 0
    calls = [(name, found) for name, found in json.loads(saved.read_text())]
    logged = {}
    for name, found in calls:
        if name == "RecordingStream.set_time":
            t_ns = found["duration"]
        elif name == "RecordingStream.log":
            logged.setdefault(found["entity_path"], []).append((t_ns, found["entity"]))
    recordings = [open_recording(out / f"episode_{i}.mcap") for i in (0, 1)]
    times = [r.timed_rows("/pro")[0] for r in recordings]
    risks = [r.rows("/pro")["risk"].tolist() for r in recordings]
    got = [(t, entity[1]["scalars"]) for t, entity in logged["/pro/risk"]]
    assert 0 < len(got) <= sum(map(len, times))
    said = [t for t, _ in got]
    assert said == sorted(said)
    # The second episode, whose time begins anew, lies behind the first one.
    at = dict(zip(times[0].tolist(), risks[0], strict=True))
    early = [(t, value) for t, value in got if t <= times[0][-1]]
    assert all(value == [at[t]] for t, value in early)
    assert early
    late = [value[0] for t, value in got if t > times[0][-1]]
    assert late
    assert set(late) <= set(risks[1])
    assert {"/camera/wrist", "/camera/wrist/rgb", "/camera/wrist/depth", "/log", "/tf/tcp"} <= set(
        logged
    )
    assert [name for name, _ in calls[-2:]] == [
        "RecordingStream.flush", "RecordingStream.disconnect",
    ]  # fmt: skip
    assert "Rerun did not" not in capsys.readouterr().out


def test_an_rrd_file_that_cannot_be_written_ends_the_run_before_it_begins(
    write, tmp_path, monkeypatch, capsys
):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "rerun.py").write_text(
        "class RecordingStream:\n"
        "    def __init__(self, name): ...\n"
        "    def save(self, path): raise RuntimeError('Failed to create file')\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    code = run(write(), tmp_path / "out", "--rerun-save", tmp_path / "no" / "run.rrd")
    assert code == DeviceError.exit_code
    assert "found RuntimeError: Failed to create file; check" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_real_package_has_what_is_called():
    rr = pytest.importorskip("rerun", reason="the extra `rerun` (500 MB) is not installed")
    for name, wanted in rerun_fake.SIGNATURES.items():
        found = rr
        for part in name.split("."):
            found = getattr(found, part)
        assert set(wanted) <= set(inspect.signature(found).parameters), name
