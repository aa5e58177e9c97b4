"""Payloads from the ring as foxglove messages (github.com/foxglove/foxglove-sdk, schemas)."""

from __future__ import annotations

from typing import Any

import numpy as np
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.JointStates_pb2 import JointStates
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage

from headway.edge.recording.ring import CALIBRATION, ENCODINGS, IMAGE
from headway.edge.recording.schema import Channel
from headway.wire import Rows

CLASSES: dict[str, Any] = {
    "image": RawImage,
    "calibration": CameraCalibration,
    "log": Log,
    "transform": FrameTransform,
    "joints": JointStates,
}
_PIXEL = {"rgb8": 3, "mono8": 1, "16UC1": 2, "32FC1": 4}


def _stamp(message: Any, t_ns: int) -> None:
    message.timestamp.seconds, message.timestamp.nanos = divmod(t_ns, 1_000_000_000)


def image(t_ns: int, payload: bytes) -> bytes:
    """A RawImage from the payload of an image: the header IMAGE, the frame id and the pixels."""
    code, n, height, width = IMAGE.unpack_from(payload)
    encoding, start = ENCODINGS[code], IMAGE.size + n
    m = RawImage(
        frame_id=payload[IMAGE.size : start].decode(),
        width=width,
        height=height,
        encoding=encoding,
        step=width * _PIXEL[encoding],
        data=payload[start:],
    )
    _stamp(m, t_ns)
    return bytes(m.SerializeToString())


def calibration(t_ns: int, payload: bytes) -> bytes:
    """A CameraCalibration from the payload of one: the header CALIBRATION and the frame id. The
    image is taken to be rectified, so there is no distortion."""
    n, height, width, *k = CALIBRATION.unpack_from(payload)
    m = CameraCalibration(
        frame_id=payload[CALIBRATION.size : CALIBRATION.size + n].decode(),
        width=width,
        height=height,
        K=k,
        R=np.eye(3).ravel(),
        P=np.hstack([np.reshape(k, (3, 3)), np.zeros((3, 1))]).ravel(),
    )
    _stamp(m, t_ns)
    return bytes(m.SerializeToString())


def log(t_ns: int, payload: bytes) -> bytes:
    """A Log from the payload of a line: one byte for the level, then the text."""
    level: Any = payload[0]
    m = Log(level=level, message=payload[1:].decode(), name="headway")
    _stamp(m, t_ns)
    return bytes(m.SerializeToString())


def transform(t_ns: int, row: Rows, channel: Channel) -> bytes | None:
    """None where the pose is not known."""
    pose = row[channel.column]
    if not np.isfinite(pose).all():
        return None
    m = FrameTransform(parent_frame_id=channel.frame_id, child_frame_id=channel.child_frame_id)
    m.translation.x, m.translation.y, m.translation.z = pose[:3].tolist()
    m.rotation.w, m.rotation.x, m.rotation.y, m.rotation.z = pose[3:].tolist()
    _stamp(m, t_ns)
    return bytes(m.SerializeToString())


def joints(t_ns: int, row: Rows, channel: Channel) -> bytes | None:
    """None where the positions are not known."""
    parts = {"position": channel.column, "velocity": f"d{channel.column}", "effort": "tau_ext"}
    values = {k: row[f] for k, f in parts.items() if f in (row.dtype.names or ())}
    if not np.isfinite(values["position"]).all():
        return None
    m = JointStates()
    for i, name in enumerate(channel.names):
        m.joints.add(name=name, **{k: float(v[i]) for k, v in values.items() if np.isfinite(v[i])})
    _stamp(m, t_ns)
    return bytes(m.SerializeToString())


def as_given(t_ns: int, payload: bytes) -> bytes:
    """JSON is recorded as it comes."""
    return payload


ENCODERS = {"image": image, "calibration": calibration, "log": log, "json": as_given}
VIEWS = {"transform": transform, "joints": joints}
