"""MP4 files of a data set: episodes one after the other, each frame at a whole multiple of 1 / fps.

Frames are H.264 in yuv420p, every second one a key frame, so that a frame anywhere is found fast.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import Missing, RecordingError
from headway.tools.dataset.layout import VIDEO_MB
from headway.tools.dataset.packages import need

CODECS = ("libx264", "libsvtav1")  # the first one that PyAV has
# No frame is predicted from a later one: then the order of frames in the file is that of time.
_OPTIONS = {
    "libx264": {"crf": "23", "g": "2", "bf": "0"},
    "libsvtav1": {"crf": "30", "g": "2", "preset": "12"},
}
# LeRobot compares times in float32 to 0.1 ms, which are that fine up to 1024 s.
LONGEST_S = 900.0

Image = NDArray[np.uint8]  # (h, w, 3), RGB


def codec() -> str:
    """The encoder to use. Raises Missing where PyAV has none."""
    av = need("av")
    for name in CODECS:
        if name in av.codecs_available:
            return name
    raise Missing(f"wanted PyAV with one of {', '.join(CODECS)}, found none: pip install av")


def check_size(height: int, width: int, where: str) -> None:
    """Raises RecordingError for images that yuv420p cannot hold; `where` they were found."""
    if height % 2 or width % 2 or not height or not width:
        raise RecordingError(
            f"{where}: wanted images of an even height and width for video, found {height} x "
            f"{width}: record them in another size, or leave the camera out by --no-images"
        )


class VideoWriter:
    """Writes one file of `height` x `width` pixels. `frames` of it are written so far."""

    def __init__(self, path: Path, fps: int, height: int, width: int) -> None:
        """Raises Missing, OSError."""
        self.path, self.fps, self.frames = path, fps, 0
        av, name = need("av"), codec()
        self._av = av
        self._file = av.open(str(path), "w")
        self._stream = self._file.add_stream(name, fps, options=_OPTIONS[name])
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self.about = {
            "video.height": height,
            "video.width": width,
            "video.codec": {"libx264": "h264", "libsvtav1": "av1"}[name],
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        }

    def add(self, image: Image) -> None:
        """Append a frame. Raises OSError."""
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = self.frames, Fraction(1, self.fps)
        with self._as_os_error(), _own_scheduling():
            self._file.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder still holds, and the index; no file is left of no frames. Raises
        OSError."""
        if not self.frames:
            self.abandon()
            self.path.unlink(missing_ok=True)
            return
        with self._as_os_error():
            self._file.mux(self._stream.encode())
            self._file.close()
            with self._av.open(str(self.path)) as made:  # a full disk is not always said
                found = made.streams.video[0].frames
        if found != self.frames:
            raise OSError(
                0, f"{self.path.name} has {found} of {self.frames} frames, is the disk full?"
            )

    def abandon(self) -> None:
        """Close the file, which then lacks the last frames."""
        with contextlib.suppress(OSError), self._as_os_error():
            self._file.close()

    @contextlib.contextmanager
    def _as_os_error(self) -> Iterator[None]:
        """PyAV's errors are not all OSError."""
        try:
            yield
        except self._av.error.FFmpegError as e:
            raise OSError(e.errno, f"{self.path.name}: {e.strerror}") from e

    @property
    def full(self) -> bool:
        """Whether the next episode goes into another file."""
        if not self.frames:
            return False
        size = self.path.stat().st_size if self.path.exists() else 0  # the encoder may hold all
        return size >= VIDEO_MB << 20 or self.frames >= LONGEST_S * self.fps


@contextlib.contextmanager
def _own_scheduling() -> Iterator[None]:
    """SVT-AV1 makes the thread that opens it a real-time one, where it may: put that back."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != before[0]:
            os.sched_setscheduler(0, *before)


def frames_at(path: Path, times: Sequence[float], fps: float) -> Iterator[Image]:
    """The frame of the video at `path` for each of `times` [s, in order], which may be half a
    period of `fps` away at most. Raises RecordingError."""
    av = need("av")
    half = 0.5 / fps
    try:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            start = max(times[0] - half, 0.0)
            file.seek(int(start / stream.time_base), stream=stream)
            decoded = file.decode(stream)
            now: Any = next(decoded, None)
            later: Any = next(decoded, None)
            for t in times:
                while later is not None and abs(later.time - t) <= abs(now.time - t):
                    now, later = later, next(decoded, None)
                if now is None or abs(now.time - t) > half:
                    found = "none" if now is None else f"the nearest at {now.time:.4f} s"
                    raise RecordingError(
                        f"{path}: wanted a frame at {t:.4f} s, found {found}: the video does not "
                        "fit the data set's table: export it again"
                    )
                yield now.to_ndarray(format="rgb24")
    except (av.error.FFmpegError, IndexError) as e:
        raise RecordingError(
            f"{path}: wanted a video, cannot read it ({e}): copy it again"
        ) from None
