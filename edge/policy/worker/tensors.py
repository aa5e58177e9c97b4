"""Named arrays of fixed shapes in memory that two processes share: nothing is pickled.

`slots` copies of all arrays lie one after the other. One process writes slots in rotation and tells
the other which one is new (over a socket: the system call orders the stores before it, also on CPUs
that reorder them). Each slot has two counters, written before and after its arrays (a sequence
lock, Lameter 2005): a reader that was overtaken by the writer sees that they differ.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fields = Mapping[str, tuple[str, tuple[int, ...]]]  # name -> dtype, shape

_ALIGN = 64
_HEADER = 4096


class Tensors:
    """A mapping of the memfd `fd`, or of a new one (`self.fd`, which the caller closes).

    `news` is one word that the writer may count up, so that the reader need not ask the kernel
    whether there is anything.
    """

    def __init__(self, fields: Fields, slots: int, fd: int = -1) -> None:
        self.slots = slots
        at, places = 0, []
        for name, (dtype, shape) in fields.items():
            size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            places.append((name, np.dtype(dtype), shape, at))
            at += -(-size // _ALIGN) * _ALIGN
        total = _HEADER + slots * at
        if fd < 0:
            fd = os.memfd_create("headway-tensors", os.MFD_CLOEXEC)
            os.ftruncate(fd, total)
        elif os.fstat(fd).st_size != total:
            raise ValueError(f"wanted {total} shared bytes, found {os.fstat(fd).st_size}")
        self.fd = fd
        self._memory = mmap.mmap(fd, total)
        self._words = np.frombuffer(self._memory, np.uint64, 1 + 2 * slots)
        self.views: list[dict[str, NDArray[Any]]] = [
            {
                name: np.frombuffer(
                    self._memory, dtype, int(np.prod(shape, dtype=np.int64)), _HEADER + i * at + o
                ).reshape(shape)
                for name, dtype, shape, o in places
            }
            for i in range(slots)
        ]

    @property
    def news(self) -> int:
        return int(self._words[0])

    @news.setter
    def news(self, n: int) -> None:
        self._words[0] = n

    def begin(self, slot: int, seq: int) -> dict[str, NDArray[Any]]:
        """The arrays of `slot`, to be overwritten with what has the number `seq` (> 0)."""
        self._words[1 + 2 * slot] = seq
        return self.views[slot]

    def end(self, slot: int, seq: int) -> None:
        self._words[2 + 2 * slot] = seq

    def whole(self, slot: int, seq: int) -> bool:
        """Whether `slot` holds number `seq` and nobody is overwriting it. To be asked after the
        arrays were copied."""
        first, last = self._words[1 + 2 * slot], self._words[2 + 2 * slot]
        return bool(first == seq and last == seq)

    def close(self) -> None:
        """Unmap, unless somebody still holds a view; then that ends it."""
        self.views = []
        self._words = np.zeros(1, np.uint64)
        with contextlib.suppress(BufferError):
            self._memory.close()
