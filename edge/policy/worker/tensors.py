"""Named arrays of fixed shapes in memory that two processes share: nothing is pickled.

`slots` copies of all arrays lie one after the other. One process writes the slots in rotation and
tells the other one which slot is new. It does so over a socket, because a system call orders the
stores before it, also on CPUs that reorder stores. Each slot has two counters, one written before
its arrays and one after (a sequence lock, Lameter 2005). If the writer overwrites a slot while it
is read, the reader sees that the counters differ. Fences keep the counters and the arrays in order
on CPUs, as those of a Jetson, that reorder loads and stores.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.edge.recording.fence import fence_of

Fields = Mapping[str, tuple[str, tuple[int, ...]]]  # name -> dtype, shape

_ALIGN = 64  # bytes
_HEADER = 4096  # bytes before the slots: `news`, and two counters per slot


class Tensors:
    """`slots` copies of the arrays `fields` in the memfd `fd`, or in a new one without `fd`. The
    caller closes `self.fd`. `views` are the arrays of each slot, by name. Raises ValueError for an
    `fd` of another size.

    `news` is a shared counter that the writer may count up, so that the reader needs no system call
    to see whether there is anything new.
    """

    def __init__(self, fields: Fields, slots: int, fd: int = -1) -> None:
        self.slots = slots
        self._fence = fence_of()
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
        """Begin to write number `seq` (> 0) into `slot`. Returns the arrays to be overwritten; call
        `end` afterwards."""
        self._words[1 + 2 * slot] = seq
        self._fence()
        return self.views[slot]

    def end(self, slot: int, seq: int) -> None:
        """Number `seq` is now complete in `slot`."""
        self._fence()
        self._words[2 + 2 * slot] = seq

    def whole(self, slot: int, seq: int) -> bool:
        """Whether `slot` holds number `seq` and nobody is overwriting it. To be called after the
        arrays were copied: if it returns False, the copy is of no use."""
        self._fence()
        first, last = self._words[1 + 2 * slot], self._words[2 + 2 * slot]
        return bool(first == seq and last == seq)

    def close(self) -> None:
        """Unmap the memory. While somebody still holds a view, it stays mapped until the last view
        is gone."""
        self.views = []
        self._words = np.zeros(1, np.uint64)
        with contextlib.suppress(BufferError):
            self._memory.close()
