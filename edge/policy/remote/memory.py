"""Memory for messages: taken from the system once, not once per message."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_MOST = 32 << 20  # bytes that stay with the process when nothing needs them


def keep_memory() -> None:
    """Have glibc keep what a message needed for the next one, in the whole process: else the few
    hundred kilobytes of each are taken, zeroed page by page and given back several times, which
    took longer than everything else together. Other C libraries are left alone."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MOST)  # its maximum
        mallopt(_M_TRIM_THRESHOLD, _MOST)
