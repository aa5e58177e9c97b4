"""A disk whose power fails, and one that is full."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from headway.bundle.disk import Disk


class PowerCut(BaseException):
    """Not an Exception: nothing may tidy up after it."""


@dataclass
class Name:
    """A change of the name `path` in its folder that is not on the disk yet; `before` is what the
    name stood for (None: nothing), `source` where a rename took it from, with what was not on the
    disk of that."""

    path: Path
    before: Saved | None = None
    source: Path | None = None
    behind: list[Name] = field(default_factory=list)

    def undo(self) -> None:
        if self.source is not None:
            os.rename(self.path, self.source)
        elif self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        elif os.path.lexists(self.path):
            self.path.unlink()
        for each in reversed(self.behind):
            each.undo()
        if self.before is not None:
            self.before.put_back(self.path)


@dataclass
class Saved:
    """A file, link or empty folder."""

    link: str | None = None
    content: bytes | None = None

    @classmethod
    def of(cls, path: Path) -> Saved | None:
        if not os.path.lexists(path):
            return None
        if path.is_symlink():
            return cls(link=os.readlink(path))
        return cls(content=path.read_bytes() if path.is_file() else None)

    def put_back(self, path: Path) -> None:
        if self.link is not None:
            path.symlink_to(self.link)
        elif self.content is not None:
            path.write_bytes(self.content)
        else:
            path.mkdir(mode=0o700)


class CutDisk(Disk):
    """The power fails before the call number `at`. Then what was not synced is lost: files are
    empty, and names in folders stand for what they did before. `lucky`: all of it is there."""

    def __init__(self, at: int, lucky: bool) -> None:
        self.left, self.lucky = at, lucky
        self.files: set[Path] = set()  # whose content is not on the disk yet
        self.names: list[Name] = []

    def _call(self) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1

    def lose(self) -> None:
        """Make the files what the disk has when the power is back."""
        if self.lucky:
            return
        for file in self.files:
            if file.is_file():
                file.write_bytes(b"")
        while self.names:
            name = self.names.pop()
            name.undo()
            if name.source is not None:
                self._moved(name.path, name.source, self.names)

    def make_folder(self, path: Path) -> None:
        self._call()
        super().make_folder(path)
        self.names.append(Name(path))

    def write(self, path: Path, content: bytes | Path) -> None:
        self._call()
        super().write(path, content)
        self.files.add(path)
        self.names.append(Name(path))

    def link(self, path: Path, target: str) -> None:
        self._call()
        super().link(path, target)
        self.names.append(Name(path))

    def rename(self, path: Path, to: Path) -> None:
        self._call()
        before = Saved.of(to)
        super().rename(path, to)
        behind = [name for name in self.names if name.path == path]
        self.names = [name for name in self.names if name.path != path]
        self._moved(path, to, self.names)
        self.files = {_at(file, path, to) for file in self.files}
        self.names.append(Name(to, before, path, behind))

    def remove(self, path: Path) -> None:
        self._call()
        before = Saved.of(path)
        super().remove(path)
        self.names.append(Name(path, before))

    def sync(self, path: Path) -> None:
        self._call()
        super().sync(path)
        self.files.discard(path)
        self.names = [name for name in self.names if name.path.parent != path]

    @staticmethod
    def _moved(path: Path, to: Path, names: Iterable[Name]) -> None:
        """The folder `path` is `to` now, so `names` in it have other paths."""
        for name in names:
            name.path = _at(name.path, path, to)
            if name.source is not None:
                name.source = _at(name.source, path, to)


def _at(path: Path, before: Path, now: Path) -> Path:
    return now / path.relative_to(before) if path.is_relative_to(before) else path


class FullDisk(Disk):
    """Has no room for the write number `at`, or only for a part of it."""

    def __init__(self, at: int) -> None:
        self.left = at

    def write(self, path: Path, content: bytes | Path) -> None:
        if self.left == 0:
            path.write_bytes(b"hal")
            raise OSError(errno.ENOSPC, "No space left on device")
        self.left -= 1
        super().write(path, content)


class Meanwhile(Disk):
    """Does something else when the first folder is made."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.then = then

    def make_folder(self, path: Path) -> None:
        self.then()
        super().make_folder(path)
