"""Send recorded messages to Rerun (rerun.io) with its Python SDK.

Rows become one entity per column (`/pro/risk`), except columns with more than `WIDEST` numbers.
Cameras become images under a pinhole, and the log becomes a text log. The timeline is called `run`
and is the run's clock, as a duration.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from foxglove_schemas_protobuf.Log_pb2 import Log

from headway.edge.recording import messages
from headway.edge.recording.tap import Topic
from headway.errors import DeviceError
from headway.wire import RowLayout, dtype_from_json

WIDEST = 16  # most numbers of a column that is shown
_PIXELS = {"rgb8": np.uint8, "mono8": np.uint8, "16UC1": np.uint16, "32FC1": np.float32}
_PER_METRE = {"16UC1": 1000.0, "32FC1": 1.0}
_LEVELS = {"WARNING": "WARN", "FATAL": "CRITICAL"}


def open_rerun(connect: str | None, save: str | None) -> tuple[Any, Any]:
    """The module `rerun` and a recording stream to the file `save`, or to the viewer at the URL
    `connect`, or, if both are None, to a viewer that is started, with Rerun's analytics turned off.
    Raises DeviceError."""
    import rerun as rr

    stream = rr.RecordingStream("headway")
    try:
        if save is not None:
            stream.save(save)
        elif connect is not None:
            stream.connect_grpc(connect)
        else:
            off = [sys.executable, "-m", "rerun_cli", "analytics", "disable"]
            subprocess.run(off, check=True, capture_output=True)
            # Prefer the viewer installed with the SDK, also when its environment is not activated.
            beside = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))
            executable = shutil.which("rerun", path=beside)
            rr.spawn(recording=stream, hide_welcome_screen=True, executable_path=executable)
    except Exception as e:
        why = (str(e).splitlines() or [""])[0]
        raise DeviceError(
            f"wanted Rerun to take the run, found {type(e).__name__}: {why}; check --rerun-connect "
            "and --rerun-save"
        ) from None
    return rr, stream


class RerunSink:
    """A `Sink` (`tools.view.process`) for Rerun; `opened` is the result of `open_rerun`."""

    def __init__(self, opened: tuple[Any, Any]) -> None:
        self._rr, self._stream = opened
        self._logs: list[Any] = []  # one per channel, of this and all earlier episodes
        # In lock-step the clock restarts for each episode, but Rerun has one timeline for all
        # messages. So later episodes are shifted behind the earlier ones.
        self._shift_ns = self._last_ns = 0
        self._first = True  # whether the next message is the first of its episode
        self.complete = True  # whether Rerun took everything; known after `close`

    def channels(self, topics: Sequence[Topic]) -> list[int]:
        first, self._first = len(self._logs), True
        for t in topics:
            if t.kind == "struct":
                layout = RowLayout(dtype_from_json(dict(t.metadata)["headway.dtype"]))
                self._logs.append(partial(self._struct, t.topic, layout))
            else:
                self._logs.append(partial(getattr(self, f"_{t.kind}"), t.topic))
        return list(range(first, len(self._logs)))

    def message(self, channel: int, t_ns: int, data: bytes) -> None:
        if self._first:
            behind = self._last_ns + 1 if self._last_ns else 0
            self._first, self._shift_ns = False, max(0, behind - t_ns)
        now = t_ns + self._shift_ns
        self._last_ns = max(self._last_ns, now)  # an image comes after younger rows
        self._stream.set_time("run", duration=np.timedelta64(now, "ns"))
        self._logs[channel](data)

    async def close(self) -> None:
        try:
            await asyncio.to_thread(self._stream.flush, timeout_sec=5.0)
        except Exception:  # the error's class differs between versions of Rerun
            self.complete = False
        self._stream.disconnect()

    def _json(self, topic: str, data: bytes) -> None:
        """JSON events are not sent: /log has their texts."""

    def _struct(self, topic: str, layout: RowLayout, data: bytes) -> None:
        row = layout.decode([data])[0]
        for name in layout.dtype.names or ():
            values = np.ravel(row[name])
            if name != "t_ns" and 0 < len(values) <= WIDEST:
                self._stream.log(f"{topic}/{name}", self._rr.Scalars(values.astype(np.float64)))

    def _image(self, topic: str, data: bytes) -> None:
        m = messages.CLASSES["image"].FromString(data)
        colour = (3,) if m.encoding == "rgb8" else ()
        shape = (m.height, m.width, *colour)
        pixels = np.frombuffer(m.data, _PIXELS[m.encoding]).reshape(shape)
        if m.encoding in _PER_METRE:
            image = self._rr.DepthImage(pixels, meter=_PER_METRE[m.encoding])
        else:
            image = self._rr.Image(pixels, color_model="RGB" if colour else "L")
        self._stream.log(topic, image)

    def _calibration(self, topic: str, data: bytes) -> None:
        m = messages.CLASSES["calibration"].FromString(data)
        k = np.reshape(m.K, (3, 3))
        pinhole = self._rr.Pinhole(image_from_camera=k, resolution=[m.width, m.height])
        self._stream.log(topic.rsplit("/", 1)[0], pinhole)

    def _transform(self, topic: str, data: bytes) -> None:
        m = messages.CLASSES["transform"].FromString(data)
        t, r = m.translation, m.rotation
        self._stream.log(
            f"{topic}/{m.child_frame_id}",
            self._rr.Transform3D(translation=[t.x, t.y, t.z], quaternion=[r.x, r.y, r.z, r.w]),
        )

    def _joints(self, topic: str, data: bytes) -> None:
        m = messages.CLASSES["joints"].FromString(data)
        positions = [joint.position for joint in m.joints]
        self._stream.log(f"{topic}/position", self._rr.Scalars(positions))

    def _log(self, topic: str, data: bytes) -> None:
        m = messages.CLASSES["log"].FromString(data)
        level = Log.Level.Name(m.level)
        self._stream.log(topic, self._rr.TextLog(m.message, level=_LEVELS.get(level, level)))
