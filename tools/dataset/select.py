"""Which recordings go into a data set, at which rate, and with which features.

All episodes of a data set have the same features. So every recording is looked at before the first
is written, and what is not known in every frame of all of them is left out, and said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.edge.pro.operator import OUTPUTS
from headway.errors import ConfigError, HeadwayError, RecordingError, of_file
from headway.kernels.telemetry import FIELDS
from headway.mcaplog import open_recording
from headway.tools.dataset import layout
from headway.tools.dataset.episode import RecordedEpisode, image_rate, read_episode
from headway.tools.dataset.layout import Feature

USUAL_FPS = 50  # of recordings without images
# Telemetry that is in the state already, or only has a meaning beside a certain PRO head.
_ELSEWHERE = ("q", "width", "task")
_COMPONENTS: dict[str, tuple[str, ...]] = {
    "tcp": ("x", "y", "z", "qw", "qx", "qy", "qz"),
    "twist": ("vx", "vy", "vz", "wx", "wy", "wz"),
    "wrench": ("fx", "fy", "fz", "tx", "ty", "tz"),
}


@dataclass(frozen=True)
class Plan:
    """What a data set is made of. `failed` says why recordings are left out, `notes` what else is
    worth knowing."""

    paths: list[Path]
    fps: int
    robot: str
    cameras: dict[str, tuple[int, int]]  # height and width [px]
    features: dict[str, Feature]
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Seen:
    """What is kept of a recording that was looked at."""

    path: Path
    robot: str
    joints: tuple[str, ...]
    cameras: dict[str, tuple[int, int]]
    known: frozenset[str]


def recordings_in(paths: Sequence[Path]) -> list[Path]:
    """The recordings among `paths`, where folders stand for the .mcap files in them, 9 before 10.
    Raises RecordingError for a folder without any."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [p for p in path.rglob("*.mcap") if not p.name.startswith(".")]
        if not inside:
            raise RecordingError(
                f"{path}: wanted recordings (.mcap) in the folder, found none: name a folder that "
                "`headway run` recorded to"
            )
        found += sorted(inside, key=_natural)
    return list(dict.fromkeys(found))


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.findall(r"\d+|\D+", str(path))
    return [(int(p), p) if p.isdecimal() else (-1, p) for p in parts]


def rate_of(paths: Sequence[Path], images: bool) -> tuple[int, str]:
    """The rate of the frames for `paths`, and why: that of the first recording's images, else
    `USUAL_FPS` or the loop's own. A recording that cannot be read is passed over here."""
    for path in paths:
        try:
            log = open_recording(path)
            rate = image_rate(log) if images else None
            hz = float(log.metadata["hz"])
        except (HeadwayError, KeyError, ValueError):
            continue
        if rate is not None:
            return max(1, round(rate)), f"{path.name} has {rate:.3g} images a second"
        return max(1, min(USUAL_FPS, int(hz))), "there are no images"
    return USUAL_FPS, "no recording says another"


def plan(
    paths: Sequence[Path],
    fps: int,
    *,
    images: bool = True,
    successes: bool = False,
    show: Callable[[], object] = lambda: None,
) -> Plan:
    """Look at every recording. `images`: export what the cameras saw; `successes`: leave out
    episodes that were none; `show` is called after each recording. Raises ConfigError for a rate
    that none can have, RecordingError where no recording can be exported."""
    if fps < 1:
        raise ConfigError(f"wanted --fps of at least 1, found {fps}")
    seen: list[_Seen] = []
    failed: list[str] = []
    notes: dict[str, list[str]] = {}
    for path in paths:
        try:
            episode = read_episode(path, fps, images=images)
            if successes and episode.success is not True:
                notes.setdefault("left out, since it was no success", []).append(path.name)
                continue
            for note in episode.notes:
                notes.setdefault(note, []).append(path.name)
            found = _seen(episode)
            if seen:
                _check_same(seen[0], found)
            seen.append(found)
        except HeadwayError as e:
            failed.append(of_file(path, e))
        finally:
            show()
    if not seen:
        why = f" ({failed[0]})" if failed else ""
        raise RecordingError(
            f"wanted recordings to export, found none among {len(paths)} files{why}: record some "
            "with `headway run`"
        )
    first = seen[0]
    everywhere = frozenset.intersection(*(s.known for s in seen))
    somewhere = frozenset.union(*(s.known for s in seen))
    for name in sorted(somewhere - everywhere):
        lacking = [s.path.name for s in seen if name not in s.known]
        notes.setdefault(f"{name} left out: not known in every frame", []).extend(lacking)
    never = [n for n in FIELDS if n not in somewhere and n not in _ELSEWHERE]
    said = [f"{_few(files)}: {text}" for text, files in notes.items()]
    if never:
        said.append(f"telemetry left out, known in every frame of no recording: {', '.join(never)}")
    return Plan(
        [s.path for s in seen], fps, first.robot, first.cameras,
        features_of(first.joints, first.cameras, everywhere),
        failed, said,
    )  # fmt: skip


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _seen(e: RecordedEpisode) -> _Seen:
    known = frozenset(e.fields) | ({layout.SUCCESS} if e.success is not None else frozenset())
    return _Seen(e.path, e.robot, e.joints, e.cameras, known)


def _check_same(first: _Seen, other: _Seen) -> None:
    for what in ("robot", "joints", "cameras"):
        wanted, found = getattr(first, what), getattr(other, what)
        if wanted != found:
            raise RecordingError(
                f"{other.path}: wanted the same {what} as in {first.path.name} ({_words(wanted)}), "
                f"found {_words(found)}: export it to a data set of its own"
            )


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {h} x {w}" for k, (h, w) in value.items()) or "none"
    return (", ".join(value) if isinstance(value, tuple) else str(value)) or "none"


def features_of(
    joints: tuple[str, ...], cameras: Mapping[str, tuple[int, int]], known: frozenset[str]
) -> dict[str, Feature]:
    """The features of a data set where the fields `known` (`RecordedEpisode.fields`, and
    `layout.SUCCESS`) are known in all episodes."""
    state = tuple(layout.JOINT + j for j in joints)
    action = tuple(layout.JOINT_REF + j for j in joints)
    state += (layout.WIDTH,) if "width" in known else ()
    action += (layout.WIDTH_REF,) if layout.WIDTH_REF in known else ()
    found = {
        layout.STATE: Feature("float32", (len(state),), state),
        layout.ACTION: Feature("float32", (len(action),), action),
    }
    for name, (height, width) in cameras.items():
        channels = ("height", "width", "channels")
        found[layout.IMAGES + name] = Feature("video", (height, width, 3), channels)
    for name, (size, _) in FIELDS.items():
        if name in known and name not in _ELSEWHERE:
            names = joints if size == "J" else _COMPONENTS.get(name)
            shape = (len(names),) if names else (1,)
            found[layout.TELEMETRY + name] = Feature("float32", shape, names)
    for name in OUTPUTS:
        if layout.PRO + name in known:
            found[layout.PRO + name] = Feature("float32")
    if "reward" in known:
        found[layout.REWARD] = Feature("float32")
    found[layout.DONE] = Feature("bool")
    if layout.SUCCESS in known:
        found[layout.SUCCESS] = Feature("bool")
    return found


def columns_of(e: RecordedEpisode, features: Mapping[str, Feature]) -> dict[str, NDArray[Any]]:
    """The values (n,) or (n, k) of all `features` but videos and `layout.DEFAULTS`."""
    last = np.arange(len(e)) == len(e) - 1
    values: dict[str, NDArray[Any]] = {layout.DONE: last, layout.SUCCESS: last & bool(e.success)}
    values |= {layout.TELEMETRY + n: x for n, x in e.fields.items()} | e.fields
    values[layout.STATE], values[layout.ACTION] = e.fields["q"], e.fields["sent"]
    if layout.WIDTH in (features[layout.STATE].names or ()):
        values[layout.STATE] = np.column_stack([values[layout.STATE], e.fields["width"]])
    if layout.WIDTH_REF in (features[layout.ACTION].names or ()):
        values[layout.ACTION] = np.column_stack([values[layout.ACTION], e.fields[layout.WIDTH_REF]])
    if "reward" in e.fields:
        values[layout.REWARD] = e.fields["reward"]
    return {
        name: values[name].astype(f.dtype) for name, f in features.items() if f.dtype != "video"
    }
