"""Keeps memory for messages in the process, instead of taking it from the system per message."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as in glibc's malloc.h
_MOST = 32 << 20  # bytes that stay with the process when nothing needs them


def keep_memory() -> None:
    """Let glibc keep the memory of a message for the next one, in the whole process. Otherwise the
    few hundred kilobytes of each message are taken from the system, zeroed page by page and given
    back several times, which took longer than everything else together. With other C libraries
    this does nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MOST)  # the largest value that glibc accepts
        mallopt(_M_TRIM_THRESHOLD, _MOST)
