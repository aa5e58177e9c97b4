"""Recordings of other programs that use Headway's and Foxglove's names in their own way."""

import pytest
from mcap.writer import Writer

from headway.errors import RecordingError
from headway.mcaplog import open_recording


def foreign(path, schema, data=b"{}", t_ns=1, metadata=None):
    """A recording of another program, with one JSON message on /x."""
    with path.open("wb") as f:
        w = Writer(f)
        w.start()
        number = w.register_schema(schema, "jsonschema", b"{}")
        channel = w.register_channel("/x", "json", number, metadata or {})
        w.add_message(channel, t_ns, data, t_ns)
        w.finish()
    return open_recording(path)


def test_messages_that_only_have_the_name_of_foxgloves(tmp_path):
    path = tmp_path / "j.mcap"
    words = r"wanted foxglove\.\w+ in protobuf, found a message at 1 ns that cannot be read as one"
    line = b'{"level": 2, "message": "hello"}'
    with pytest.raises(RecordingError, match=words):
        foreign(path, "foxglove.Log", line).logs("/x")
    with pytest.raises(RecordingError, match=words):
        next(foreign(path, "foxglove.RawImage", b'{"height": 2}').images("/x"))
    with pytest.raises(RecordingError, match=words):
        foreign(path, "foxglove.CameraCalibration").calibration("/x")


@pytest.mark.parametrize(
    "dtype",
    [
        "[" * 100_000,
        '[["a", "<f8", [Infinity]]]',
        '[["a", "<f8", [200000000]]]',  # rows of 1.6 GB: places of their bytes would take 13 GB
    ],
)
def test_rows_that_nobody_can_hold_are_refused(tmp_path, dtype):
    log = foreign(tmp_path / "j.mcap", "headway.x", metadata={"headway.dtype": dtype})
    with pytest.raises(RecordingError, match="wanted rows that Headway wrote"):
        log.rows("/x")


@pytest.mark.parametrize("units", ["x", "[1]", "1", "[" * 100_000])
def test_units_that_are_none(tmp_path, units):
    log = foreign(tmp_path / "j.mcap", "headway.x", metadata={"headway.units": units})
    with pytest.raises(RecordingError, match="wanted the units of its columns"):
        log.units("/x")


def test_a_time_that_no_clock_shows_is_refused_of_rows(tmp_path):
    dtype = {"headway.dtype": '[["a", "<f8", [1]]]'}
    log = foreign(tmp_path / "j.mcap", "headway.x", t_ns=(1 << 64) - 1, metadata=dtype)
    assert len(list(log.messages("/x"))) == 1  # whoever reads others' files leaves it out
    with pytest.raises(RecordingError, match="wanted times before the year 2262"):
        log.rows("/x")
