"""The memory between the loop and the writer process: a header, a ring of notes that say what was
written, and a ring of payloads.

It is an anonymous memfd: nothing is left behind under any name when both are killed. Positions
count bytes for ever; a payload lies in one piece at `pos % capacity`. The loop owns the head and
`noted`, the writer `consumed` and `taken`. A loop with deadlines makes no system call per message:
waking another process costs it more than the copy. So the writer looks by itself, and takes what
was noted before it last slept: by then also a CPU that reorders stores has made the payload
visible. A byte through the doorbell pipe is a system call of both sides, and orders it at once.
"""

from __future__ import annotations

import mmap
import os
import struct

HEADER = 4096
_TEXT = 64

# channel, op, sequence of the channel, length, time, position
NOTE = struct.Struct("<HHIIxxxxQQ")
NOTES = 1 << 14
PAYLOAD = HEADER + NOTES * NOTE.size  # where the payloads begin
MESSAGE, FLUSH, CLOSE = 0, 1, 2
SOON, NOW = b".", b"!"  # what goes through the doorbell

STARTING, READY, FAILED, DONE = 0, 1, 2, 3

IMAGE = struct.Struct("<BxHII")  # encoding, bytes of the frame id, height, width
ENCODINGS = ("rgb8", "mono8", "16UC1", "32FC1")
CALIBRATION = struct.Struct("<HxxII9d")  # bytes of the frame id, height, width, K row by row


class Ring:
    """A mapping of `fd`. Words of the header: consumed, acknowledged, state, length of the text,
    length of the setup, noted, taken."""

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        self.capacity = size - PAYLOAD
        self.memory = mmap.mmap(fd, size)
        self._header = memoryview(self.memory)
        self.words = self._header[:_TEXT].cast("Q")

    @property
    def consumed(self) -> int:
        return self.words[0]

    @consumed.setter
    def consumed(self, pos: int) -> None:
        self.words[0] = pos

    @property
    def acknowledged(self) -> int:
        return self.words[1]

    @acknowledged.setter
    def acknowledged(self, n: int) -> None:
        self.words[1] = n

    @property
    def noted(self) -> int:
        return self.words[5]

    @noted.setter
    def noted(self, n: int) -> None:
        self.words[5] = n

    @property
    def taken(self) -> int:
        return self.words[6]

    @taken.setter
    def taken(self, n: int) -> None:
        self.words[6] = n

    @property
    def state(self) -> int:
        return self.words[2]

    @state.setter
    def state(self, state: int) -> None:
        self.words[2] = state

    @property
    def error(self) -> str:
        return bytes(self.memory[_TEXT : _TEXT + self.words[3]]).decode(errors="replace")

    def fail(self, text: str) -> None:
        data = text.encode()[: HEADER - _TEXT]
        self.memory[_TEXT : _TEXT + len(data)] = data
        self.words[3] = len(data)
        self.state = FAILED

    def close(self) -> None:
        self.words.release()
        self._header.release()
        self.memory.close()
