"""What the bytes of a device mean, without input or output: a decoder is fed whatever arrived, in
pieces of any size, and gives the frames that are whole and right.

A codec knows no port, no clock and no thread, so it can be tested with recorded bytes and with
millions of damaged ones. The emulators in `headway.hil` have codecs of their own, written from the
same manuals by somebody else: one mistake cannot hide in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

Frame_co = TypeVar("Frame_co", covariant=True)


class Decoder(Protocol[Frame_co]):
    """Turns a stream of bytes into frames.

    `errors` counts frames that were dropped because a checksum or a length was wrong, `skipped`
    bytes that belonged to no frame. A damaged frame is never given out, and the second whole frame
    after it always is."""

    errors: int
    skipped: int

    def feed(self, data: bytes) -> Sequence[Frame_co]:
        """The frames that `data` completes, in their order."""

    def reset(self) -> None:
        """Forget a frame that has begun, as after a new connection; the counts stay."""
