"""Files and folders that are there whole or not at all, and what a damaged .npz file raises."""

from __future__ import annotations

import errno
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What NumPy and zipfile raise for a file that is damaged, or that is no .npz.
DAMAGED_NPZ = (
    OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile,
    zlib.error, NotImplementedError,
)  # fmt: skip


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path`, for a file that becomes `path` when the block ends: after a crash at
    any moment, the old file is there or the new one. Where the block raises, nothing is left of the
    new one. Raises OSError, also for a `path` that is no plain file, such as /dev/null."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "something else than a plain file is there", str(path))
    # Cut, since the name of a file has 255 bytes at most; random, for two that write at a time.
    part = path.with_name(f".{path.name[:48]}.{secrets.token_hex(4)}.part")
    try:
        yield part
        sync(part)
        part.replace(path)
    finally:
        with suppress(OSError):  # it is `path` by now
            part.unlink()


def sync(file: Path) -> None:
    """What is in `file` is on the disk when this returns. Raises OSError."""
    with file.open("rb") as f:
        os.fsync(f.fileno())


def take_place(fresh: Path, path: Path, old: Path) -> None:
    """Rename the folder `fresh` to `path`. What is at `path` is renamed to `old` before, and comes
    back where that fails, or where Ctrl-C comes between the two. Raises OSError."""
    try:
        if path.exists():
            path.rename(old)
        fresh.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
