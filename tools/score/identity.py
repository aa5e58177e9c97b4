"""What an episode is recognised by: a digest of the files that hold it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from headway.tools.score import lerobot_meta
from headway.tools.score.log import METADATA

CHUNK = 1 << 20  # bytes read at a time


def files_of(path: Path, episode: str = "") -> list[Path]:
    """The files that hold the samples of an episode: the file itself, or those of a data set that
    it is in. Raises RecordingError."""
    if not path.is_dir():
        return [path]
    if lerobot_meta.is_data_set(path):
        return [lerobot_meta.read(path).file_of(episode)]
    return sorted(p for p in path.iterdir() if p.is_file() and p.name != METADATA)


def sha256_of(path: Path, episode: str = "") -> str:
    """A digest that only this episode has: of its name and of all bytes of `files_of`, of which
    none is read twice in a run. Raises OSError, RecordingError."""
    whole = hashlib.sha256()
    for file in files_of(path, episode):
        about = file.stat()
        whole.update(_of_file(file, about.st_mtime_ns, about.st_size))
    whole.update(episode.encode())
    return whole.hexdigest()


@lru_cache(maxsize=4096)
def _of_file(file: Path, *_: int) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb") as f:
        while chunk := f.read(CHUNK):
            digest.update(chunk)
    return digest.digest()
