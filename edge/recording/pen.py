"""What the loop does to the rings for every message: find room, copy, note. In Python, the readable
reference, and in C++ (`edge/recording/cpp/tick.cpp`): the same bytes.
"""

from __future__ import annotations

from typing import Any, Protocol

from headway.compiled import Impl
from headway.edge.recording import ring
from headway.edge.recording.ring import NOTE, NOTES, PAYLOAD, Ring
from headway.edge.recording.tick import module


class Pen(Protocol):
    """False where there is no room: then nothing was written. Raises ValueError for a message that
    is larger than all the room."""

    def put(self, channel: int, seq: int, t_ns: int, head: Any, body: Any, /) -> bool:
        """A message of two parts, each with the buffer protocol."""
        ...

    def ask(self, op: int, value: int, /) -> bool:
        """Something else than a message."""
        ...


class PythonPen:
    """Writes into `shared`, whose reader is another process."""

    def __init__(self, shared: Ring) -> None:
        self._words, self._memory = shared.words, shared.memory
        self._capacity = shared.capacity
        self._head = 0  # end of the newest payload
        self._tail = 0  # everything before it is free; lags behind the writer
        self._noted = self._taken = 0  # as `_head` and `_tail`, of notes

    def put(self, channel: int, seq: int, t_ns: int, head: Any, body: Any) -> bool:
        first = memoryview(head).nbytes
        size = first + memoryview(body).nbytes
        if size > self._capacity:
            raise ValueError(
                f"wanted a message of at most {self._capacity} bytes, found {size}: "
                "give Recorder a larger capacity_bytes"
            )
        pos, capacity = self._head, self._capacity
        at = pos % capacity
        if at + size > capacity:  # a payload lies in one piece
            pos += capacity - at
            at = 0
        if not (self._free() and self._room(pos + size, pos)):
            return False
        at += PAYLOAD
        self._memory[at : at + first] = head
        self._memory[at + first : at + size] = body
        self._head = pos + size
        self._note(channel, ring.MESSAGE, seq, size, t_ns, pos)
        return True

    def ask(self, op: int, value: int) -> bool:
        if not self._free():
            return False
        self._note(0, op, 0, value, 0, 0)
        return True

    def _room(self, end: int, pos: int) -> bool:
        if end - self._tail > self._capacity:
            consumed = self._words[ring.CONSUMED]
            self._tail = pos if consumed == self._head else consumed  # empty: also the skipped end
        return end - self._tail <= self._capacity

    def _free(self) -> bool:
        if self._noted - self._taken >= NOTES:
            self._taken = self._words[ring.TAKEN]
        return self._noted - self._taken < NOTES

    def _note(self, channel: int, op: int, seq: int, length: int, t_ns: int, pos: int) -> None:
        at = ring.HEADER + self._noted % NOTES * NOTE.size
        NOTE.pack_into(self._memory, at, channel, op, seq, length, t_ns, pos)
        self._noted = self._words[ring.NOTED] = self._noted + 1


def pen(shared: Ring, impl: Impl = "auto") -> Pen:
    """The one that `impl` stands for; to be dropped before `shared` is closed. Raises Missing."""
    native = module(impl)
    made: Pen = PythonPen(shared) if native is None else native.Pen(shared.memory)
    return made
