"""Recordings that were cut, altered, or made by others."""

import json
import struct
import tracemalloc

import lz4.frame
import numpy as np
import pytest
import zstandard
from damage import chunks, damage
from hypothesis import given
from hypothesis import strategies as st
from mcap.opcode import Opcode
from mcap.writer import CompressionType, Writer
from mcap_ros2.writer import Writer as Ros2Writer
from properties import examples

from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import RecordingError, Truncated
from headway.mcaplog import open_recording

MS = 1_000_000
MAGIC = b"\x89MCAP0\r\n"
ROW = np.dtype([("t_ns", "<i8"), ("x", "<f8", (4,))])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small recording of several chunks, as bytes, and its rows."""
    path = tmp_path_factory.mktemp("whole") / "a.mcap"
    rows = np.zeros(300, ROW)
    rows["x"] = np.random.default_rng(0).normal(size=(300, 4))
    rows["t_ns"] = np.arange(300) * 10 * MS
    channels = [Channel("/x", dtype=ROW), Channel("/camera", "image"), Channel("/log", "log")]
    with Recorder(path, channels, lossless=True, metadata={"seed": "0"}) as log:
        for i, row in enumerate(rows):
            log.write("/x", i * 10 * MS, row)
            if i % 100 == 0:
                log.image("/camera", i * 10 * MS, np.full((4, 4, 3), i % 256, np.uint8))
                log.log(i * 10 * MS, "info", f"row {i}")
    return path.read_bytes(), rows


def read_all(path):
    """Everything in the file, by every way there is; RecordingError only."""
    log = open_recording(path)
    found = {}
    for topic in log.topics:
        found[topic] = [m.data for m in log.messages(topic)]
        list(log.decoded(topic))
    if "/camera" in log.topics:
        list(log.images("/camera"))
    log.logs()
    return log, found, log.rows("/x") if "/x" in log.topics else np.zeros(0, ROW)


def test_a_cut_file_is_read_up_to_the_cut(whole, tmp_path):
    data, rows = whole
    path = tmp_path / "cut.mcap"
    counts = []
    for cut in [*range(0, len(data), 97), *range(len(data) - 20, len(data))]:
        path.write_bytes(data[:cut])
        if cut < 8:
            with pytest.raises(RecordingError, match="wanted an MCAP"):
                open_recording(path)
            continue
        log, _, found = read_all(path)
        assert log.truncated
        assert "ends in the middle" in log.note or "summary at its end is damaged" in log.note
        assert found.tobytes() == rows[: len(found)].tobytes()
        counts.append(len(found))
        with pytest.raises(Truncated):
            log.require_complete()
    assert counts == sorted(counts)
    assert {0, 50, 100, 150, 200, 250, 300} <= set(counts)


ALTERED = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4)


@examples(150)
@given(altered=ALTERED, cut=st.none() | st.integers(0, 1 << 20))
def test_altered_bytes_never_crash_the_reader(whole, tmp_path_factory, altered, cut):
    raw = bytearray(whole[0])
    for at, value in altered:
        raw[at % len(raw)] = value
    path = tmp_path_factory.mktemp("x") / "bad.mcap"
    path.write_bytes(raw if cut is None else raw[: cut % len(raw)])
    try:
        log, _, found = read_all(path)
    except RecordingError:
        return
    at = found["t_ns"] // (10 * MS)
    assert (np.diff(at) > 0).all()
    assert found.tobytes() == whole[1][at].tobytes()  # checksums leave no wrong number
    assert len(found) == len(whole[1]) or log.notes  # and nothing is lost in silence


@pytest.mark.parametrize("summary", [True, False])
def test_a_damaged_chunk_is_skipped_and_what_is_missing_is_said(whole, tmp_path, summary):
    """Also in a file that was cut afterwards."""
    data, rows = whole
    raw = bytearray(data if summary else data[:-40])
    at = chunks(data)
    raw[(at[2] + at[3]) // 2] ^= 1
    (tmp_path / "bad.mcap").write_bytes(raw)
    log = open_recording(tmp_path / "bad.mcap")
    assert log.truncated is not summary
    found = log.rows("/x")
    assert found.tobytes() == np.delete(rows, np.arange(100, 150)).tobytes()
    assert log.sequence("/x").tolist() == [*range(100), *range(150, 300)]
    (one,) = log.damage
    assert one.offset == at[2] + 9
    assert one.messages == {"/x": 50, "/camera": 1, "/log": 1}
    assert (one.start_ns, one.end_ns) == (1000 * MS, 1490 * MS)
    for text in ("bad.mcap: skipped a damaged chunk at byte", "52 messages are missing (50 of /x",
                 "over 0.490 s", "copy the file again"):  # fmt: skip
        assert text in one.text
    assert [t for t, _ in log.images("/camera")] == [0, 2000 * MS]
    assert len(log.damage) == 1  # of each chunk once, whichever topic is read
    with pytest.raises(RecordingError, match=r"ends in the middle|skipped a damaged chunk"):
        log.require_complete()


def test_damage_of_topics_that_are_not_asked_for_is_found_by_verify(tmp_path):
    path = tmp_path / "a.mcap"
    with Recorder(path, [Channel("/x", dtype=ROW), Channel("/log", "log")], lossless=True) as r:
        r.log(0, "info", "the only line")
        for i in range(200):
            r.write("/x", i * 10 * MS, np.zeros((), ROW))
    damage(path, 3)
    log = open_recording(path)
    assert [line.text for line in log.logs()] == ["the only line"]
    assert log.damage == ()
    (found,) = log.verify()
    assert found.messages == {"/x": 50}
    assert log.damage == (found,)


def test_who_cannot_do_with_a_part_is_told(whole, tmp_path):
    """Training data, and devices that play a recording back."""
    path = tmp_path / "bad.mcap"
    path.write_bytes(whole[0])
    damage(path, 2)
    with pytest.raises(RecordingError, match=r"wanted a chunk at byte \d+, found damage"):
        open_recording(path, strict=True).rows("/x")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RecordingError, match=r"wanted a chunk at byte \d+, found damage"):
        open_recording(path, strict=True)


@pytest.mark.parametrize("part", ["opcode", "length", "much too long", "zeros"])
def test_a_chunk_whose_frame_is_damaged_costs_at_most_itself(whole, tmp_path, part):
    """The summary says where each chunk begins."""
    data, rows = whole
    raw, at = bytearray(data), chunks(data)[3]
    if part == "opcode":
        raw[at] = 0x60
    elif part == "length":
        raw[at + 1] ^= 0x15
    elif part == "much too long":
        raw[at + 5] = 0x70
    else:
        raw[at : at + 100] = bytes(100)
    (tmp_path / "bad.mcap").write_bytes(raw)
    log, _, found = read_all(tmp_path / "bad.mcap")
    assert not log.truncated
    assert log.end["end"] == "closed"
    assert log.metadata == {"seed": "0"}
    if part == "zeros":
        assert found.tobytes() == np.delete(rows, np.arange(150, 200)).tobytes()
        assert [d.messages["/x"] for d in log.damage] == [50]
    else:
        assert found.tobytes() == rows.tobytes()
        log.require_complete()


@pytest.mark.parametrize("part", ["summary", "footer"])
def test_nothing_is_lost_in_silence(whole, tmp_path, part):
    """A summary that lies about topics, columns or chunks."""
    data, rows = whole
    raw = bytearray(data)
    if part == "summary":
        at = data.rindex(b"<f8")
        raw[at : at + 3] = b"<i8"
    else:
        raw[-20] ^= 1
    (tmp_path / "bad.mcap").write_bytes(raw)
    log = open_recording(tmp_path / "bad.mcap")
    assert log.truncated
    assert "the summary at its end is damaged" in log.note
    found = log.rows("/x")
    assert found.dtype == ROW
    assert found.tobytes() == rows.tobytes()


def indices(data):
    """Offsets of the chunk indexes in the summary of a recording."""
    at = struct.unpack_from("<Q", data, len(data) - 8 - 20)[0]
    while at < len(data) - 37:
        op, n = struct.unpack_from("<BQ", data, at)
        if op == Opcode.CHUNK_INDEX:
            yield at
        at += 9 + n


@pytest.mark.parametrize("first", [True, False])  # whether the walk is stopped at the beginning
def test_a_summary_that_begins_behind_its_end_is_not_used(whole, tmp_path, first):
    data, rows = bytearray(whole[0]), whole[1]
    struct.pack_into("<Q", data, len(data) - 8 - 20, len(data) + 1000)
    if first:
        data[8] = 0x7F  # an opcode that there is not
    (tmp_path / "a.mcap").write_bytes(data)
    log, _, found = read_all(tmp_path / "a.mcap")
    assert "summary at its end is damaged" in log.note
    assert found.tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("start", "length"),
    [(None, 3), (None, 1 << 63), (None, 1 << 40), (1 << 63, 100), ((1 << 63) - 20, 100)],
)
def test_chunks_that_lie_outside_the_file_are_no_chunks(whole, tmp_path, start, length):
    data, rows = bytearray(whole[0]), whole[1]
    for at in indices(whole[0]):
        if start is not None:
            struct.pack_into("<Q", data, at + 9 + 16, start)
        struct.pack_into("<Q", data, at + 9 + 24, length)
    struct.pack_into("<I", data, len(data) - 8 - 4, 0)  # no checksum of the summary
    (tmp_path / "a.mcap").write_bytes(data)
    log, _, found = read_all(tmp_path / "a.mcap")
    assert "summary at its end is damaged" in log.note
    assert found.tobytes() == rows.tobytes()


def test_what_is_no_recording(tmp_path):
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "text.mcap").write_text("q,dq\n1,2\n")
    for name, says in (("empty.mcap", "an empty file"), ("text.mcap", "q,dq"), ("none", "No such")):
        with pytest.raises(RecordingError, match=says):
            open_recording(tmp_path / name)
    with pytest.raises(RecordingError, match="directory"):
        open_recording(tmp_path)


def test_wrong_topics_and_kinds_are_named(whole, tmp_path):
    (tmp_path / "a.mcap").write_bytes(whole[0])
    log = open_recording(tmp_path / "a.mcap")
    with pytest.raises(RecordingError, match="'/y', found /x, /camera, /log"):
        log.rows("/y")
    with pytest.raises(RecordingError, match=r"foxglove\.RawImage of another program"):
        log.rows("/camera")
    with pytest.raises(RecordingError, match=r"wanted foxglove\.RawImage, found headway\.X"):
        next(log.images("/x"))


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("chunks", [True, False])
def test_json_of_another_program(tmp_path, compression, chunks):
    path = tmp_path / "j.mcap"
    with path.open("wb") as f:
        w = Writer(f, compression=compression, use_chunking=chunks, repeat_channels=False)
        w.start()
        schema = w.register_schema("force", "jsonschema", b"{}")
        topic = w.register_channel("/force", "json", schema)
        odd = w.register_channel("/odd", "msgpack", 0)
        for i in range(5):
            w.add_message(topic, i, json.dumps({"z": i}).encode(), i)
        w.add_message(topic, 9, b"{", 9)
        w.add_message(odd, 10, b"\x80", 10)
        w.finish()
    log = open_recording(path)
    assert not log.truncated
    got = log.decoded("/force")
    assert [next(got) for _ in range(5)] == [(i, {"z": i}) for i in range(5)]
    with pytest.raises(RecordingError, match="does not fit its schema"):
        next(got)
    with pytest.raises(RecordingError, match="found 'msgpack'"):
        next(log.decoded("/odd"))


def test_ros2_of_another_program(tmp_path):
    path = tmp_path / "r.mcap"
    with path.open("wb") as f:
        w = Ros2Writer(f)
        schema = w.register_msgdef("test/Wrench", "float64[3] force\nstring frame")
        for i in range(3):
            w.write_message("/ft", schema, {"force": [i, 2.0, 3.0], "frame": "tool"}, i, i)
        w.finish()
    log = open_recording(path)
    got = list(log.decoded("/ft"))
    assert [t for t, _ in got] == [0, 1, 2]
    assert list(got[2][1].force) == [2.0, 2.0, 3.0]
    assert got[2][1].frame == "tool"
    with pytest.raises(RecordingError, match="another program"):
        log.rows("/ft")


def bomb(compression: str) -> bytes:
    """A recording with one chunk that says it holds 1000 bytes, and holds 64 MB of zeros."""
    zeros = bytes(64_000_000)
    packed = (
        zstandard.ZstdCompressor().compress(zeros)
        if compression == "zstd"
        else lz4.frame.compress(zeros)
    )

    def text(word: str) -> bytes:
        return struct.pack("<I", len(word)) + word.encode()

    def record(op: int, body: bytes) -> bytes:
        return struct.pack("<BQ", op, len(body)) + body

    chunk = struct.pack("<QQQI", 0, 1, 1000, 0) + text(compression)
    parts = (
        record(Opcode.HEADER, text("") + text("test")),
        record(Opcode.CHUNK, chunk + struct.pack("<Q", len(packed)) + packed),
        record(Opcode.DATA_END, struct.pack("<I", 0)),
        record(Opcode.FOOTER, struct.pack("<QQI", 0, 0, 0)),
    )
    return MAGIC + b"".join(parts) + MAGIC


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_chunk_that_holds_more_than_it_says_takes_no_memory(tmp_path, compression):
    path = tmp_path / "bomb.mcap"
    path.write_bytes(bomb(compression))
    tracemalloc.start()
    try:
        log = open_recording(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not log.topics
    assert "(0 chunks, 0 topics); the rest is lost" in log.note
    assert peak < 8_000_000


@pytest.mark.parametrize("op", [Opcode.CHUNK, Opcode.METADATA])
def test_a_file_with_a_hole_takes_no_memory(tmp_path, op):
    path, n = tmp_path / "a.mcap", 1 << 34
    with path.open("wb") as f:
        f.write(MAGIC + struct.pack("<BQ", op, n))
        f.truncate(n + 1000)  # takes no room
    tracemalloc.start()
    log = open_recording(path)
    assert log.truncated
    assert log.verify() == ()
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
