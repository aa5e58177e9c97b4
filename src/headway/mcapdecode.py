"""Decoders for the messages of MCAP channels: protobuf, ROS 2 (CDR) and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcap import records

from headway.errors import RecordingError


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
