"""Frames of one length, with a header and a checksum: what F/T sensors at serial ports stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

F = TypeVar("F")


class FixedFrames(Generic[F]):
    """A decoder of frames of `size` bytes that begin with `header`. `intact` says whether the
    checksum of such bytes is right, `unpack` makes a frame of them.

    A payload may contain the header, so bytes are a frame only if the checksum agrees; where it
    does not, one byte is dropped and the search goes on. While frames follow each other without a
    gap, one that is broken counts in `errors`; what fails during the search, as after a start in
    the middle of a frame, is counted in `skipped` alone.

    A checksum of 16 bits agrees with any bytes once in 65 536 times, and a search tries many. So
    what is not a whole number of frames behind the last good one is believed only when a second
    frame follows it at once; both are given then."""

    def __init__(
        self,
        header: bytes,
        size: int,
        intact: Callable[[bytes], bool],
        unpack: Callable[[bytes], F],
    ) -> None:
        self.header, self.size = header, size
        self._intact, self._unpack = intact, unpack
        self._rest = b""
        self._in_step = False  # the byte after the last frame is expected to begin the next one
        self._gap = 0  # bytes that were skipped since the last good frame, or since the beginning
        self.errors = self.skipped = 0

    def feed(self, data: bytes) -> list[F]:
        """The frames that `data` completes, in their order."""
        rest = self._rest + data
        frames, at, size = [], 0, self.size
        while len(rest) - at >= size:
            good = self._whole(rest, at)
            if good and self._gap % size:
                if len(rest) - at < 2 * size:
                    break
                good = self._whole(rest, at + size)
            if good:
                frames.append(self._unpack(rest[at : at + size]))
                at += size
                self._in_step, self._gap = True, 0
                continue
            self.errors += self._in_step
            self._in_step = False
            found = rest.find(self.header, at + 1)
            if found < 0:  # the header may have begun in the last bytes
                found = max(at + 1, len(rest) - len(self.header) + 1)
            self.skipped += found - at
            self._gap += found - at
            at = found
        self._rest = rest[at:]
        return frames

    def reset(self) -> None:
        """Forget a frame that has begun, as after a new connection; the counts stay."""
        self._rest, self._in_step, self._gap = b"", False, 0

    def _whole(self, data: bytes, at: int) -> bool:
        """Whether a frame begins at `at`."""
        piece = data[at : at + self.size]
        return piece.startswith(self.header) and self._intact(piece)
