"""Files that are there whole or not at all, and folders that one process has for itself."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from headway.errors import Busy, ConfigError, OutputError
from headway.files import DAMAGED_NPZ, whole

FULL = (errno.ENOSPC, errno.EDQUOT)
# What reading a damaged .npz file, or JSON in it, may raise.
UNREADABLE = (*DAMAGED_NPZ, msgspec.MsgspecError)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, as `write_bytes` does."""
    write_bytes(path, lambda file: file.write(text.encode()))


def write_bytes(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Have `write` fill the file `path`: after a crash at any moment the old file or the new one is
    there, whole. Raises OutputError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part, part.open("wb") as file:
            write(file)
    except OSError as e:
        raise OutputError(f"cannot write {path}: {advice(e)}") from e


def named_folders(given: Sequence[str], example: str) -> dict[str, Path]:
    """The folders by name, from texts NAME=FOLDER, of which `example` is one. Raises ConfigError
    for what is none, and for a name that is there twice."""
    named: dict[str, Path] = {}
    for text in given:
        name, sign, folder = text.partition("=")
        if not (name and sign and folder) or name in named:
            raise ConfigError(
                f"wanted NAME=FOLDER, each name once, found {text!r}: such as {example}"
            )
        named[name] = Path(folder)
    return named


def recordings_in(paths: Sequence[Path]) -> list[Path]:
    """The recordings of `headway run` among `paths`, files and folders, in the order of their
    names. Raises ConfigError where there is none."""
    found = [
        p for path in paths for p in ([path] if path.is_file() else sorted(path.glob("*.mcap")))
    ]
    if not found:
        raise ConfigError(
            f"wanted recordings (*.mcap) in {', '.join(map(str, paths)) or 'no folder'}, found "
            "none: record with `headway run`"
        )
    return list(dict.fromkeys(found))


def distinct(names: Sequence[str]) -> list[str]:
    """`names`, of which no two are equal any more: one that was there before gets a number."""
    given = set(names)
    made: dict[str, None] = {}
    for name in names:
        one, n = name, 1
        while one in made or (n > 1 and one in given):
            n += 1
            one = f"{name} ({n})"
        made[one] = None
    return list(made)


def first_of_each(digests: Sequence[str]) -> list[int]:
    """The places of `digests` without those that were there before, of which the same files are
    copies; "" is no digest, and never a copy."""
    seen: set[str] = set()
    places = []
    for i, digest in enumerate(digests):
        if not digest or digest not in seen:
            places.append(i)
            seen.add(digest)
    return places


def advice(e: OSError) -> str:
    """What is wrong and what to do about it."""
    if e.errno in FULL:
        return "the disk is full: make room, then start the same command again: it goes on"
    return f"{e.strerror or e}: mend that, then start the same command again"


def is_full(e: BaseException | None) -> bool:
    """Whether `e`, or what caused it, is a full disk."""
    while e is not None:
        if isinstance(e, OSError) and e.errno in FULL:
            return True
        e = e.__cause__ or e.__context__
    return False


@contextmanager
def alone(
    folder: Path, what: str, by: str = "", wait: Callable[[str], object] | None = None
) -> Iterator[None]:
    """Have `folder` for this process, by an advisory lock on a file in it, which ends with the
    process however that ends. `what` says in messages what the folder is, `by` who wants it.

    With `wait`, calls that with who has the folder, and waits until it is free; without, raises
    Busy. Raises OutputError where no file can be made."""
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise OutputError(f"cannot use the folder {folder}: {advice(e)}") from e
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
            if wait is None:
                raise Busy(
                    f"wanted {what} {folder} alone, found that {who} works there: wait for its "
                    "end, stop it, or name another folder"
                ) from None
            wait(who)
            fcntl.flock(fd, fcntl.LOCK_EX)
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{by}process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
