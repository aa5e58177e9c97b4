"""What a recording holds: its channels, the bytes that travel to the writer, and their schemas.

| kind        | written by               | schema                    |
|-------------|--------------------------|---------------------------|
| struct      | `Recorder.write`         | made from the row's dtype |
| image       | `Recorder.image`         | foxglove.RawImage         |
| calibration | `Recorder.calibration`   | foxglove.CameraCalibration|
| log         | `Recorder.log`           | foxglove.Log              |
| json        | `Recorder.json`          | the channel's JSON Schema |
| transform   | the writer, from `source`| foxglove.FrameTransform   |
| joints      | the writer, from `source`| foxglove.JointStates      |

`transform` and `joints` are views of a struct channel for 3D panels, every `every`-th row of it:
the loop does nothing for them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from headway.wire import RowLayout, dtype_from_json, dtype_to_json

Kind = Literal["struct", "image", "calibration", "log", "json", "transform", "joints"]


@dataclass(frozen=True)
class Channel:
    """One topic. `dtype` and `units` (column -> unit) of a struct; `frame_id` of images;
    `schema_name` and `json_schema` (JSON Schema of an object) of JSON messages.

    transform: `column` of `source` is the pose (7,) of `child_frame_id` in `frame_id`, position
    [m], quaternion wxyz. joints: `column`, "d" + `column` and "tau_ext" of `source`, as far as they
    exist, are position [rad], velocity [rad/s] and effort [Nm] of the joints `names`.
    """

    topic: str
    kind: Kind = "struct"
    dtype: np.dtype[np.void] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    column: str = ""
    every: int = 10
    frame_id: str = ""
    child_frame_id: str = ""
    names: tuple[str, ...] = ()
    schema_name: str = ""
    json_schema: str = ""

    def to_json(self) -> dict[str, Any]:
        """The channel as plain data that JSON can hold; `from_json` is the inverse."""
        plain = {k: v for k, v in self.__dict__.items() if k != "dtype"} | {
            "units": dict(self.units)
        }
        return plain | {"dtype": dtype_to_json(self.dtype) if self.dtype is not None else None}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Channel:
        dtype = dtype_from_json(plain["dtype"]) if plain["dtype"] is not None else None
        return cls(**(plain | {"dtype": dtype, "names": tuple(plain["names"])}))

    def metadata(self) -> dict[str, str]:
        """What the MCAP channel record carries, so that a reader rebuilds the rows as they were."""
        if self.dtype is None:
            return {}
        return {
            "headway.dtype": dtype_to_json(self.dtype),
            "headway.units": json.dumps(dict(self.units)),
        }


def check(channels: list[Channel]) -> None:
    """Raises ValueError for channels that cannot be recorded together."""
    by_topic = {c.topic: c for c in channels}
    if len(by_topic) < len(channels):
        twice = sorted(
            {c.topic for c in channels if [d.topic for d in channels].count(c.topic) > 1}
        )
        raise ValueError(f"wanted one channel per topic, found two of {', '.join(twice)}")
    for c in channels:
        if c.kind == "struct":
            if c.dtype is None:
                raise ValueError(f"channel {c.topic}: a struct channel wants a dtype")
            try:
                RowLayout(c.dtype)
            except ValueError as e:
                raise ValueError(f"channel {c.topic}: {e}") from None
        if c.kind == "json" and not (c.schema_name and c.json_schema):
            raise ValueError(f"channel {c.topic}: a json channel wants schema_name and json_schema")
        if c.kind not in ("transform", "joints"):
            continue
        source = by_topic.get(c.source)
        if source is None or source.dtype is None:
            raise ValueError(
                f"channel {c.topic}: wanted a struct channel as source, found {c.source!r}"
            )
        if c.every < 1:
            raise ValueError(f"channel {c.topic}: wanted every >= 1, found {c.every}")
        want = (7,) if c.kind == "transform" else (len(c.names),)
        found = source.dtype[c.column].shape if c.column in (source.dtype.names or ()) else None
        if found != want:
            raise ValueError(
                f"channel {c.topic}: wanted column {c.column!r} {want} in {c.source}, found {found}"
            )


def message_name(topic: str) -> str:
    """ "/pro/signals" -> "headway.ProSignals"."""
    words = re.findall(r"[A-Za-z0-9]+", topic)
    name = "".join(w[:1].upper() + w[1:] for w in words)
    return f"headway.{name}" if name[:1].isalpha() else f"headway.Row{name}"


def struct_schema(channel: Channel) -> tuple[str, bytes]:
    """Full name and serialised FileDescriptorSet of the messages of a struct channel."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

    assert channel.dtype is not None
    full = message_name(channel.topic)
    files = FileDescriptorSet()
    file = files.file.add(
        name=f"{full.replace('.', '/')}.proto", package="headway", syntax="proto3"
    )
    message = file.message_type.add(name=full.split(".")[1])
    for f in RowLayout(channel.dtype).fields:
        label = (
            FieldDescriptorProto.LABEL_REPEATED if f.shape else FieldDescriptorProto.LABEL_OPTIONAL
        )
        # json_name is set, since the derived ones of `a_b` and `aB` would clash
        message.field.add(name=f.name, number=f.number, type=f.type, label=label, json_name=f.name)
        unit = channel.units.get(f.name)
        if unit:  # shown as the field's comment by tools that print schemas
            file.source_code_info.location.add(
                path=[4, 0, 2, len(message.field) - 1], span=[0, 0, 0], trailing_comments=unit
            )
    return full, files.SerializeToString(deterministic=True)
