"""Who opens and closes a path: how the far end of a pseudo-terminal learns that a host has come or
gone, which a terminal does not say while its own side holds it open."""

from __future__ import annotations

import ctypes
import os
import struct

_OPEN, _CLOSE = 0x20, 0x08 | 0x10  # IN_OPEN; IN_CLOSE_WRITE, IN_CLOSE_NOWRITE of inotify(7)
_EVENT = struct.Struct("iIII")


class Visitors:
    """Openings and closings of `path` from now on; none where the kernel has no inotify."""

    def __init__(self, path: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        begin = getattr(libc, "inotify_init1", None)
        self._fd = begin(os.O_NONBLOCK | os.O_CLOEXEC) if begin else -1
        if self._fd >= 0:
            libc.inotify_add_watch(self._fd, os.fsencode(path), _OPEN | _CLOSE)

    def seen(self) -> list[bool]:
        """What has happened since the last call, in order: True for an opening, False for a
        closing."""
        if self._fd < 0:
            return []
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return []
        events = []
        while data:
            _, mask, _, size = _EVENT.unpack_from(data)
            if mask & (_OPEN | _CLOSE):
                events.append(bool(mask & _OPEN))
            data = data[_EVENT.size + size :]
        return events

    def close(self) -> None:
        """Look no longer."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
