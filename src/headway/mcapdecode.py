"""Decoders for the messages of MCAP channels: protobuf, ROS 2 (CDR) and JSON; and what is read of
Foxglove's images, calibrations and log lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mcap import records
from numpy.typing import NDArray

from headway.errors import RecordingError

_PIXELS = {"rgb8": ("u1", 3), "mono8": ("u1", 0), "16UC1": ("<u2", 0), "32FC1": ("<f4", 0)}
_LEVELS = ("unknown", "debug", "info", "warning", "error", "fatal")


class CameraCalibration(NamedTuple):
    """Pinhole matrix (3, 3) [px] and image size [px] of the camera `frame_id`."""

    intrinsics: NDArray[np.float64]
    height: int
    width: int
    frame_id: str


def calibration_of(m: Any) -> CameraCalibration | None:
    """The foxglove.CameraCalibration `m`, None where it lacks the nine numbers of K."""
    k = np.array(m.K, np.float64)
    if k.size != 9:
        return None
    return CameraCalibration(k.reshape(3, 3), m.height, m.width, m.frame_id)


def line_of(m: Any) -> tuple[str, str]:
    """Level and text of the foxglove.Log `m`."""
    return _LEVELS[m.level if 0 <= m.level < 6 else 0], m.message


def image_of(m: Any) -> NDArray[Any]:
    """The pixels of the foxglove.RawImage `m`: (h, w, 3) uint8, or (h, w) uint8, uint16 or float32.
    Raises ValueError for another encoding or number of bytes."""
    if m.encoding not in _PIXELS:
        raise ValueError(f"wanted pixels as {', '.join(_PIXELS)}, found {m.encoding!r}")
    kind, depth = _PIXELS[m.encoding]
    shape = (m.height, m.width, depth) if depth else (m.height, m.width)
    try:
        return np.frombuffer(m.data, kind).reshape(shape)
    except ValueError as e:
        raise ValueError(
            f"wanted {m.height} x {m.width} pixels of {m.encoding}, found {len(m.data)} bytes: {e}"
        ) from None


def decoder(
    path: Path, channel: records.Channel, schema: records.Schema | None
) -> Callable[[bytes], Any]:
    """A function that turns the bytes of a message of `channel` into a message: an object with
    attributes for protobuf and ROS 2, a dict for JSON. `path` is for errors. Raises RecordingError
    for other encodings, and for a `schema` that cannot be read."""
    topic = channel.topic
    if channel.message_encoding == "json":
        return json.loads
    from mcap_protobuf.decoder import DecoderFactory as Protobuf
    from mcap_ros2.decoder import DecoderFactory as Ros2

    try:
        for factory in (Protobuf(), Ros2()):
            decode = factory.decoder_for(channel.message_encoding, schema)
            if decode is not None:
                return decode  # type: ignore[no-any-return]
    except Exception as e:
        raise RecordingError(
            f"{path}: {topic}: wanted a schema that can be read, found "
            f"{schema.name if schema else ''!r} with {type(e).__name__}: {e}: leave the topic out, "
            "or record it again"
        ) from None
    raise RecordingError(
        f"{path}: {topic}: wanted protobuf, ROS 2 cdr or json messages, found "
        f"{channel.message_encoding!r} with schema {schema.encoding if schema else None!r}: "
        "leave the topic out, or record it in one of these"
    )
