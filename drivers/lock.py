"""A lock that lets only one process at a time use a device, for devices that do not ensure it.

It is an advisory lock (flock) on a file that is named after the device's address, in a folder of
this user. The kernel releases it however the process ends, so a crash leaves nothing to clean up.
It does not keep out another user or another computer.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
from pathlib import Path

from headway.errors import Busy, DeviceError
from headway.types import Info


def folder() -> Path:
    """The folder of the lock files, made if it is missing: `headway` in XDG_RUNTIME_DIR, which
    belongs to the user and is emptied at logout; where that is not set, `headway-UID` in the folder
    for temporary files. Raises DeviceError when it cannot be made or is another user's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    root = Path(runtime) if runtime else Path(tempfile.gettempdir())
    path = root / ("headway" if runtime else f"headway-{os.getuid()}")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = path.lstat().st_uid
        link = path.is_symlink()
    except OSError as e:
        raise DeviceError(
            f"wanted a folder for device locks at {path}: {e.strerror}: name a folder of this user "
            "by XDG_RUNTIME_DIR"
        ) from None
    if owner != os.getuid() or link:
        found = "a symbolic link" if link else f"one of user {owner}"
        raise DeviceError(
            f"wanted a folder of this user at {path}, found {found}: name another one by "
            "XDG_RUNTIME_DIR"
        )
    return path


class DeviceLock:
    """`with DeviceLock(info):` holds the device with the address `info.uri` and serial number
    `info.serial`. Entering raises Busy, which names the process that holds it, or DeviceError when
    the lock file cannot be opened, locked or written."""

    def __init__(self, info: Info) -> None:
        what = f"{info.uri} {info.serial}".strip()
        name = re.sub(r"[^A-Za-z0-9]+", "_", what)[-40:].strip("_")
        digest = hashlib.sha256(os.fsencode(what)).hexdigest()[:12]
        self.path = folder() / f"{name}-{digest}.lock"
        self.what = f"{info.model or info.kind} at {info.uri}"
        self._fd = -1

    def __enter__(self) -> DeviceLock:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as e:
            raise DeviceError(f"wanted to lock {self.path}: {e.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            pid = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise Busy(
                f"wanted the {self.what}, found that process {pid} holds it: wait for its end, or "
                "stop it"
            ) from None
        except OSError as e:  # a full disk, or a file system without locks
            os.close(fd)
            raise DeviceError(f"wanted to lock {self.path}: {e.strerror}") from None
        self._fd = fd
        return self

    def __exit__(self, *_: object) -> None:
        # The file stays: once it is removed, a second process could lock a new file of that name
        # while a third still holds the old one.
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
