"""Changes to files, each of which is one call of the operating system.

What has to survive a power cut is written through `Disk`, so that a test can cut between any two of
its calls, and lose what was not synced by then.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class Disk:
    """The file system. Every method raises OSError where it cannot do it."""

    def make_folder(self, path: Path) -> None:
        path.mkdir(mode=0o700)

    def write(self, path: Path, content: bytes | Path) -> None:
        """A new file at `path`, with `content`, or that of the file which it names."""
        with path.open("xb") as target:
            if isinstance(content, bytes):
                target.write(content)
            else:
                with content.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)
        path.chmod(0o644)

    def link(self, path: Path, target: str) -> None:
        """A symbolic link at `path`, to `target`."""
        path.symlink_to(target)

    def rename(self, path: Path, to: Path) -> None:
        """A file or link at `to` is replaced, a folder there is not, unless it is empty."""
        os.rename(path, to)

    def remove(self, path: Path) -> None:
        """A file or link is removed, or an empty folder."""
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()

    def sync(self, path: Path) -> None:
        """What is in the file or folder `path` is on the disk when this returns. The content of a
        folder are its names, not what is in its files."""
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def remove_all(disk: Disk, path: Path) -> None:
    """Remove what is at `path`, with everything in it; nothing where nothing is."""
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        for inner in sorted(path.iterdir()):
            remove_all(disk, inner)
    disk.remove(path)


def replace(disk: Disk, path: Path, content: bytes, fresh: Path | None = None) -> None:
    """Give the file `path` the `content`: whatever happens, it has the old or the new one. `fresh`
    is where the new one is written first (None: beside it, see `leftover`); a power cut may leave
    it there."""
    fresh = leftover(path) if fresh is None else fresh
    remove_all(disk, fresh)
    disk.write(fresh, content)
    disk.sync(fresh)
    disk.rename(fresh, path)
    disk.sync(path.parent)


def leftover(path: Path) -> Path:
    """The file that a `replace` of `path` which was cut may have left."""
    return path.with_name(f".{path.name}.new")
