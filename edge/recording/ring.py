"""The memory between the loop and the writer process: a header, a ring of notes that say what was
written, and a ring of payloads.

It is an anonymous memfd: nothing is left behind under any name when both are killed. Positions
count bytes for ever; a payload lies in one piece at `pos % capacity`. The loop owns the head and
`noted`, the writer `consumed` and `taken`. A loop with deadlines makes no system call per message:
waking another process costs it more than the copy. So the writer polls, and processes only the
notes that it already saw when it polled before: a CPU that reorders stores has published their
payload by then. A byte through the doorbell pipe makes it process everything at once: the system
calls on both sides order the memory accesses.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct

from headway.edge.recording.fence import fence_of

HEADER = 4096
_TEXT = 64
_MADV_POPULATE_WRITE = 23  # Linux 5.14; Python has no name for it

# channel, op, sequence of the channel, length, time, position
NOTE = struct.Struct("<HHIIxxxxQQ")
NOTES = 1 << 14
PAYLOAD = HEADER + NOTES * NOTE.size  # where the payloads begin
MESSAGE, FLUSH, CLOSE = 0, 1, 2
SOON, NOW = b".", b"!"  # what goes through the doorbell

# Words of the header: positions and counters, and the lengths of the error and of the setup.
CONSUMED, ACKNOWLEDGED, STATE, ERROR, SETUP, NOTED, TAKEN = range(7)
STARTING, READY, FAILED, DONE = 0, 1, 2, 3

IMAGE = struct.Struct("<BxHII")  # encoding, bytes of the frame id, height, width
ENCODINGS = ("rgb8", "mono8", "16UC1", "32FC1")
CALIBRATION = struct.Struct("<HxxII9d")  # bytes of the frame id, height, width, K row by row


class Ring:
    """A mapping of `fd`. `words` of the header: CONSUMED and the rest."""

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        self.capacity = size - PAYLOAD
        self.memory = mmap.mmap(fd, size)
        self._header = memoryview(self.memory)
        self.words = self._header[:_TEXT].cast("Q")
        self.fence = fence_of()

    def populate(self) -> None:
        """Make every page resident and writable. The first touch of one is a page fault, 25 to 45
        us in a tick that has slept; locking memory does not spare it where it is shared."""
        try:
            self.memory.madvise(_MADV_POPULATE_WRITE)
        except OSError as e:
            if e.errno != errno.EINVAL:
                return  # too little memory: page by page then, as it is used
            for at in range(0, len(self.memory), mmap.PAGESIZE):
                self.memory[at] = self.memory[at]

    @property
    def error(self) -> str:
        """Why the writer has failed, as it said by `fail`. To be read once STATE is FAILED."""
        self.fence()
        return bytes(self.memory[_TEXT : _TEXT + self.words[ERROR]]).decode(errors="replace")

    def fail(self, text: str) -> None:
        """The writer's side: it has failed, for the reason `text`, which is cut to the room in the
        header."""
        data = text.encode()[: HEADER - _TEXT]
        self.memory[_TEXT : _TEXT + len(data)] = data
        self.words[ERROR] = len(data)
        self.become(FAILED)

    def become(self, state: int) -> None:
        """The writer's side: from now on its STATE is `state`. Who sees that also sees everything
        that was written to the header before."""
        self.fence()
        self.words[STATE] = state

    def close(self) -> None:
        """Unmap the memory. Raises BufferError while somebody still holds a view of it."""
        self.words.release()
        self._header.release()
        self.memory.close()
