"""What is recorded comes back bit for bit, through our reader and through one that is not ours."""

import collections
import fcntl
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from properties import examples

from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel, message_name, struct_schema
from headway.errors import Busy, RecordingError
from headway.kernels import telemetry
from headway.mcaplog import open_recording
from headway.wire import RowLayout, dtype_from_json, dtype_to_json

MS = 1_000_000
JOINTS = tuple(f"j{i}" for i in range(6))
CHANNELS = [
    Channel("/telemetry", dtype=telemetry.dtype(6), units={"q": "rad", "width": "m"}),
    Channel("/pro", dtype=np.dtype([("t_ns", "<i8"), ("features", "<f4", (176,))])),
    Channel("/camera", "image", frame_id="wrist"),
    Channel("/camera/depth", "image", frame_id="wrist"),
    Channel("/camera/calibration", "calibration", frame_id="wrist"),
    Channel("/log", "log"),
    Channel(
        "/tf",
        "transform",
        source="/telemetry",
        column="tcp",
        every=10,
        frame_id="base",
        child_frame_id="tcp",
    ),
    Channel("/joints", "joints", source="/telemetry", column="q", every=10, names=JOINTS),
]
K = np.array([[80.5, 0, 48], [0, 80.5, 48], [0, 0, 1.0]])


def episode(n):
    """Rows, features, images of a made-up run."""
    rng = np.random.default_rng(7)
    rows = telemetry.empty(6, n)
    rows["t_ns"] = np.arange(n) * 2 * MS
    for name in ("q", "dq", "wrench", "tcp", "width"):
        rows[name] = rng.normal(size=rows[name].shape)
    pro = np.zeros(n, CHANNELS[1].dtype)
    pro["features"] = rng.normal(size=(n, 176))
    images = rng.integers(0, 256, (n // 50 + 1, 24, 32, 3), dtype=np.uint8)
    return rows, pro, images


def record(path, n=600, **options):
    rows, pro, images = episode(n)
    options = {"lossless": True, "metadata": {"seed": "7"}} | options
    with Recorder(path, CHANNELS, **options) as log:
        log.calibration("/camera/calibration", 0, K, 24, 32)
        for i in range(n):
            log.write("/telemetry", int(rows["t_ns"][i]), rows[i])
            log.write(1, int(rows["t_ns"][i]), pro[i])
            if i % 50 == 0:
                log.image("/camera", i * 2 * MS, images[i // 50])
                log.image("/camera/depth", i * 2 * MS, np.full((24, 32), i, np.uint16))
        log.log(n * 2 * MS, "warning", "späte Aktion")
    assert log.acknowledged == log.written == 2 * n + 2 * -(-n // 50) + 2
    assert log.dropped == 0
    return rows, pro, images


def test_everything_comes_back_bit_for_bit(tmp_path):
    rows, pro, images = record(tmp_path / "a.mcap")
    log = open_recording(tmp_path / "a.mcap")
    assert not log.truncated
    assert log.metadata == {"seed": "7"}
    assert log.end == {"end": "closed", "messages": "1226", "dropped": "0"}
    assert log.topics == tuple(c.topic for c in CHANNELS)
    assert log.rows("/telemetry").dtype == rows.dtype
    assert log.rows("/telemetry").tobytes() == rows.tobytes()
    assert log.rows("/pro").tobytes() == pro.tobytes()
    t_ns, _ = log.timed_rows("/pro")
    assert (t_ns == rows["t_ns"]).all()
    assert log.units("/telemetry") == {"q": "rad", "width": "m"}
    got = list(log.images("/camera"))
    assert [t for t, _ in got] == [i * 100 * MS for i in range(12)]
    assert all((image == images[i]).all() for i, (_, image) in enumerate(got))
    depth = [d for _, d in log.images("/camera/depth")]
    assert depth[3].dtype == np.uint16
    assert (depth[3] == 150).all()
    k = log.calibration("/camera/calibration")
    assert (k.intrinsics == K).all()
    assert (k.height, k.width, k.frame_id) == (24, 32, "wrist")
    assert log.logs() == [(1200 * MS, "warning", "späte Aktion")]


def test_an_independent_reader_decodes_every_message(tmp_path):
    rows, _, images = record(tmp_path / "a.mcap")
    counts, first = collections.Counter(), {}
    with open(tmp_path / "a.mcap", "rb") as f:
        reader = make_reader(f, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for schema, channel, message, decoded in reader.iter_decoded_messages():
            counts[channel.topic, schema.name] += 1
            first.setdefault(channel.topic, (message, decoded))
        metadata = {m.name: m.metadata for m in reader.iter_metadata()}
    assert counts == {
        ("/telemetry", "headway.Telemetry"): 600,
        ("/pro", "headway.Pro"): 600,
        ("/camera", "foxglove.RawImage"): 12,
        ("/camera/depth", "foxglove.RawImage"): 12,
        ("/camera/calibration", "foxglove.CameraCalibration"): 1,
        ("/log", "foxglove.Log"): 1,
        ("/tf", "foxglove.FrameTransform"): 60,
        ("/joints", "foxglove.JointStates"): 60,
    }
    assert metadata["headway"] == {"seed": "7"}
    row = first["/telemetry"][1]
    assert list(row.q) == rows["q"][0].tolist()
    assert np.isnan(row.vacuum)
    image = first["/camera"][1]
    assert (image.encoding, image.width, image.height, image.step) == ("rgb8", 32, 24, 96)
    assert image.data == images[0].tobytes()
    assert first["/camera/depth"][1].encoding == "16UC1"
    tf = first["/tf"][1]
    assert (tf.parent_frame_id, tf.child_frame_id) == ("base", "tcp")
    t, r = tf.translation, tf.rotation
    assert [t.x, t.y, t.z, r.w, r.x, r.y, r.z] == rows["tcp"][0].tolist()
    joint = first["/joints"][1].joints[2]
    assert (joint.name, joint.position, joint.velocity) == ("j2", rows["q"][0, 2], rows["dq"][0, 2])
    assert not joint.HasField("effort")  # this robot has none: NaN in the row


def test_equal_input_gives_equal_files(tmp_path):
    record(tmp_path / "a.mcap", chunk_bytes=50_000)
    record(tmp_path / "b.mcap", chunk_bytes=50_000)
    assert (tmp_path / "a.mcap").read_bytes() == (tmp_path / "b.mcap").read_bytes()


SCALARS = [
    "<f8",
    "<f4",
    "<i8",
    "<i4",
    "<i2",
    "|i1",
    "<u8",
    "<u4",
    "<u2",
    "|u1",
    "|b1",
    ">f8",
    ">i4",
]
columns = st.lists(
    st.tuples(st.sampled_from(SCALARS), st.sampled_from([(), (1,), (3,), (2, 3), (0,), (200,)])),
    min_size=1,
    max_size=20,
)


@st.composite
def tables(draw):
    """A dtype and rows of arbitrary bits: NaN payloads, infinities, denormals, extremes."""
    dtype = np.dtype([("t_ns", "<i8")] + [(f"c{i}", *c) for i, c in enumerate(draw(columns))])
    n = draw(st.integers(0, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = np.frombuffer(rng.bytes(n * dtype.itemsize), dtype).copy() if n else np.zeros(0, dtype)
    special = draw(st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.4e-45]))
    for name in dtype.names:
        if dtype[name].base.kind == "b":
            rows[name] = rng.random(rows[name].shape) < 0.5
        elif dtype[name].base.kind == "f" and draw(st.booleans()):
            rows[name] = special
    return dtype, rows


@examples(80)
@given(tables())
def test_rows_survive_the_wire_and_are_protobuf(table):
    dtype, rows = table
    assert dtype_from_json(dtype_to_json(dtype)) == dtype
    layout = RowLayout(dtype)
    messages = [layout.encode(row) for row in rows]
    back = layout.decode(messages)
    assert back.dtype == dtype
    assert back.tobytes() == rows.tobytes()
    name, schema = struct_schema(Channel("/t", dtype=dtype))
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(schema).file:
        pool.Add(file)
    kind = GetMessageClass(pool.FindMessageTypeByName(name))
    for row, message in zip(rows, messages, strict=True):
        decoded = kind.FromString(message)
        for column in dtype.names:
            found = np.ravel(np.array(getattr(decoded, column)))
            np.testing.assert_array_equal(found, np.ravel(row[column]))


def test_signalling_nans_survive_a_file(tmp_path):
    dtype = np.dtype([("t_ns", "<i8"), ("x", "<f4", (2,)), ("y", "<f8")])
    rows = np.zeros(1, dtype)
    rows["x"] = np.frombuffer(struct.pack("<II", 0x7F800001, 0xFFC12345), "<f4")
    rows["y"] = np.frombuffer(struct.pack("<Q", 0x7FF0000000000001), "<f8")
    with Recorder(tmp_path / "a.mcap", [Channel("/x", dtype=dtype)], lossless=True) as log:
        log.write("/x", 0, rows[0])
    assert open_recording(tmp_path / "a.mcap").rows("/x").tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("channels", "says"),
    [
        ([Channel("/a", "log"), Channel("/a", "log")], "two of /a"),
        ([Channel("/a")], "wants a dtype"),
        ([Channel("/a", dtype=np.dtype([("x", "O")]))], "'x'"),
        ([Channel("/a", dtype=np.dtype([("x y", "f8")]))], "'x y'"),
        ([Channel("/a", dtype=np.dtype([("x", "i1"), ("y", "f8")], align=True))], "align"),
        ([Channel("/a", dtype=np.dtype("f8"))], "named columns"),
        ([Channel("/a", dtype=np.dtype([("x", "f8", (0,))]))], "named columns"),
        ([Channel("/a", "transform", source="/b", column="tcp")], "source"),
        ([CHANNELS[0], Channel("/a", "transform", source="/telemetry", column="q")], "column 'q'"),
    ],
)
def test_channels_that_cannot_be_recorded(tmp_path, channels, says):
    with pytest.raises(ValueError, match=says):
        Recorder(tmp_path / "a.mcap", channels, lossless=True)
    assert not (tmp_path / "a.mcap").exists()


def test_wrong_calls_are_refused_and_leave_the_recording_whole(tmp_path):
    rows, pro, _ = episode(3)
    with Recorder(tmp_path / "a.mcap", CHANNELS, lossless=True, capacity_bytes=20_000) as log:
        log.write("/telemetry", 0, rows[0])
        with pytest.raises(ValueError, match="wanted one row"):
            log.write("/telemetry", 0, pro[0])
        with pytest.raises(ValueError, match="wanted one row"):
            log.write("/telemetry", 0, rows)
        with pytest.raises(ValueError, match="kind struct, found '/telemetri': there are"):
            log.write("/telemetri", 0, rows[0])
        with pytest.raises(ValueError, match="t_ns"):
            log.write("/telemetry", -1, rows[1])
        with pytest.raises(ValueError, match="capacity_bytes"):
            log.image("/camera", 0, np.zeros((200, 200, 3), np.uint8))
        with pytest.raises(ValueError, match="float64"):
            log.image("/camera", 0, np.zeros((4, 4)))
        with pytest.raises(ValueError, match="kind image"):
            log.image("/telemetry", 0, np.zeros((4, 4), np.uint8))
        log.write("/telemetry", 2, rows[2])
        log.flush()
        assert log.acknowledged == 2
        running = open_recording(tmp_path / "a.mcap")
        assert len(running.rows("/telemetry")) == 2
        assert "still being written" in running.note
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.write("/telemetry", 0, rows[0])
    found = open_recording(tmp_path / "a.mcap").rows("/telemetry")
    assert found.tobytes() == rows[[0, 2]].tobytes()


def test_paths_that_cannot_be_recorded_to(tmp_path):
    channels = [Channel("/log", "log")]
    with pytest.raises(RecordingError, match="No such file"):
        Recorder(tmp_path / "none" / "a.mcap", channels, lossless=True)
    with pytest.raises(RecordingError, match="directory"):
        Recorder(tmp_path, channels, lossless=True)
    with pytest.raises(RecordingError, match="/dev/full"):
        Recorder("/dev/full", channels, lossless=True)
    Recorder(tmp_path / "a.mcap", channels, lossless=True).close()
    before = (tmp_path / "a.mcap").read_bytes()
    with pytest.raises(RecordingError, match="another name"):
        Recorder(tmp_path / "a.mcap", channels, lossless=True)
    assert (tmp_path / "a.mcap").read_bytes() == before
    Recorder(tmp_path / "a.mcap", channels, lossless=True, overwrite=True).close()
    assert (tmp_path / "a.mcap").read_bytes() == before


def test_a_second_run_on_the_same_path_is_busy(tmp_path):
    channels = [Channel("/log", "log")]
    with Recorder(tmp_path / "a.mcap", channels, lossless=True) as log:
        for overwrite in (False, True):
            with pytest.raises(Busy, match="another run"):
                Recorder(tmp_path / "a.mcap", channels, lossless=True, overwrite=overwrite)
        log.log(5, "info", "still here")
    fd = os.open(tmp_path / "a.mcap", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # close() waited for the writer
    os.close(fd)
    assert open_recording(tmp_path / "a.mcap").logs() == [(5, "info", "still here")]


def test_the_writer_is_light():
    code = (
        "import sys, headway.edge.recording.writer as w; w.messages; "
        "heavy = {'mujoco', 'onnxruntime', 'torch', 'ruckig', 'PIL', 'websockets', 'asyncio'}; "
        "print(*sorted(heavy & set(sys.modules)))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert out.stdout.split() == []


def test_message_names():
    assert message_name("/pro/signals") == "headway.ProSignals"
    assert message_name("/3d-view") == "headway.Row3dView"
