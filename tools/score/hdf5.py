"""HDF5 files as tables: a file that is one episode, or one with a group for each episode.

A key is the path of a dataset, from the episode's group on (`obs/eef_pos`, `observations/qpos`) or
with a slash in front from the file's root on. `@NAME` is an attribute of the episode's group or of
one around it, such as a `success` that a recorder left there.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import RecordingError
from headway.tools.score.arrays import Array, Arrays
from headway.tools.score.extra import wanted_by
from headway.tools.score.mapping import Time

SUFFIXES = (".h5", ".hdf5")
# Groups of these names at the root or in `data` are episodes, such as robomimic's `data/demo_0`.
EPISODE = re.compile(
    r"(demo|episode|ep|traj|trajectory|rollout|trial|run|sample)[_-]?(\d+)", re.IGNORECASE
)
PARENTS = ("/", "/data")


def episodes(path: Path) -> list[str]:
    """The names of the groups that are episodes, in the order of their numbers; [""] where the
    file itself is one episode. Raises RecordingError, Missing."""
    with _open(path) as file:
        try:
            return [name for _, name in _groups(file)] or [""]
        except (OSError, RuntimeError) as e:
            raise _unreadable(path, e) from None


def _groups(file: Any) -> list[tuple[str, str]]:
    """The groups that are episodes: (path, name)."""
    import h5py

    for parent in PARENTS:
        group = file.get(parent)
        if not isinstance(group, h5py.Group):
            continue
        names = [n for n in group if EPISODE.fullmatch(n) and isinstance(group.get(n), h5py.Group)]
        if names:
            names.sort(key=lambda n: (int(EPISODE.fullmatch(n)[2]), n))  # type: ignore[index]
            return [(f"{parent.rstrip('/')}/{n}", n) for n in names]
    return []


def _open(path: Path) -> Any:
    with wanted_by("HDF5 files"):
        import h5py
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise RecordingError(f"wanted telemetry at {path}, found none: check the path") from None
    except (OSError, RuntimeError) as e:
        raise _unreadable(path, e) from None


def _unreadable(path: Path, e: Exception, where: str = "") -> RecordingError:
    return RecordingError(
        f"{path}: wanted an HDF5 file, found one that HDF5 cannot read{where} ({e}): copy it again "
        "from where it was made, or mend it with h5clear"
    )


class Hdf5Table(Arrays):
    """One episode of an HDF5 file."""

    def __init__(self, path: Path, time: Time, episode: str) -> None:
        """`episode`: one of `episodes`. Raises RecordingError, ConfigError where nothing says when
        a sample was, Missing."""
        self.path, self.episode = path, episode
        file = _open(path)
        weakref.finalize(self, file.close)
        at = {name: group for group, name in _groups(file)}.get(episode, "/")
        self._group: Any = file[at]
        names: list[str] = []
        self._attributes: dict[str, NDArray[Any]] = {}
        try:
            names += _datasets(self._group, "", (self._group,))
            for group in (self._group, self._group.parent, file):  # the nearest one counts
                for key, value in group.attrs.items():
                    self._attributes.setdefault(f"@{key}", np.asarray(value))
        except (OSError, RuntimeError) as e:
            raise _unreadable(path, e) from None
        if not names:
            raise RecordingError(f"{path}: wanted datasets in {at}, found none: an empty episode?")
        super().__init__(path, names, time)

    def keys(self) -> list[str]:
        return [*self.names, *self._attributes]

    def has(self, key: str) -> bool:
        if key.startswith("@"):
            return key in self._attributes
        return key in self.names or hasattr(self._group.get(key), "dtype")

    def bare(self, name: str) -> str:
        return name.rpartition("/")[2]

    def array(self, key: str) -> Array:
        self.require(key)
        if key.startswith("@"):
            return self._attributes[key]
        array: Array = self._group[key]
        return array

    def _part(self, array: Array, key: str, at: Any) -> NDArray[Any]:
        try:
            x = np.asarray(array[at])
        except (OSError, RuntimeError) as e:
            raise _unreadable(self.path, e, f" in `{key}`") from None
        if x.dtype.kind not in "OS":
            return x
        words = [w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w) for w in x.flat]
        return np.array(words, np.str_).reshape(x.shape)


def _datasets(group: Any, way: str, around: tuple[Any, ...]) -> Iterator[str]:
    """The paths of the datasets in `group`, whose own path is `way`, and in the groups inside it.
    `around`: the groups that it is in, itself included, since links may lead back to one."""
    for name in group:
        item = group.get(name)  # None for a link that leads nowhere
        if hasattr(item, "dtype"):
            yield f"{way}{name}"
        elif hasattr(item, "keys") and item not in around:
            yield from _datasets(item, f"{way}{name}/", (*around, item))
