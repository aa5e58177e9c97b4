"""Files of a unit: each appears whole or not at all, so that a unit can be killed at any moment and
go on from what is there."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from headway.errors import ConfigError, OutputError, RecordingError
from headway.learn import files
from headway.learn.execution.lessons import Happened, Lesson

_ARRAYS = (
    "t", "features", "mask", "recovering", "force", "at", "step", "code", "latent", "source",
)  # fmt: skip
_HAPPENED = ("closed", "failures", "retries")


class _Facts(msgspec.Struct, frozen=True):
    """What a lesson has beside arrays."""

    name: str
    seed: int
    hz: float
    tick_hz: float
    robot: str
    peak_force: float
    success: bool | None
    end: str
    end_s: float
    limit_s: float
    lines: int


def write(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all. Raises OutputError."""
    files.write_bytes(path, lambda file: file.write(data))


def save_lesson(path: Path, lesson: Lesson) -> None:
    """Write `lesson` as an .npz file. Raises OutputError."""
    own = [n for n in _Facts.__struct_fields__ if n != "lines"]
    facts = _Facts(**{n: getattr(lesson, n) for n in own}, lines=lesson.happened.lines)
    arrays = {name: getattr(lesson, name) for name in _ARRAYS}
    arrays |= {name: getattr(lesson.happened, name) for name in _HAPPENED}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w") as to:
                np.save(to, np.ascontiguousarray(array), allow_pickle=False)
        file.writestr("facts.json", msgspec.json.encode(facts))
    write(path, buffer.getvalue())


def load_lesson(path: Path) -> Lesson:
    """The lesson in the file `path`. Raises RecordingError for one that cannot be read."""
    try:
        with zipfile.ZipFile(path) as file:
            facts = msgspec.json.decode(file.read("facts.json"), type=_Facts)

            def array(name: str) -> Any:
                with file.open(f"{name}.npy") as data:
                    return np.load(data, allow_pickle=False)

            return Lesson(
                **{name: array(name) for name in _ARRAYS},
                happened=Happened(facts.lines, *(array(name) for name in _HAPPENED)),
                **{n: getattr(facts, n) for n in facts.__struct_fields__ if n != "lines"},
            )
    except files.UNREADABLE as e:
        raise RecordingError(
            f"{path}: wanted an episode of a unit, found none that can be read ({e}): remove the "
            "file, and it is run again"
        ) from None


def save_weights(path: Path, net: torch.nn.Module) -> None:
    """Write the weights of `net`. Raises OutputError."""
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    write(path, buffer.getvalue())


def load_weights(path: Path, net: torch.nn.Module) -> torch.nn.Module:
    """`net` with the weights in the file `path`, ready to be asked."""
    net.load_state_dict(torch.load(path, weights_only=True))
    return net.eval()


def append(path: Path, record: msgspec.Struct) -> None:
    """Add a line with `record` to the file `path`. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(msgspec.json.encode(record) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as e:
        raise OutputError(f"cannot write {path}: {files.advice(e)}") from e


def lines(path: Path, kind: type[Any]) -> list[Any]:
    """The records of the file that `append` wrote; [] where there is none. What a kill has left
    unfinished at its end is cut off."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        write(path, whole)
    return [msgspec.json.decode(line, type=kind) for line in whole.splitlines()]


def in_one_state(path: Path, wanted: dict[str, str]) -> None:
    """Write down what a unit is made of, by name, or check that it still is what was written down.
    Raises ConfigError, which names what has changed."""
    try:
        found: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        write(path, (json.dumps(wanted, indent=2, sort_keys=True) + "\n").encode())
        return
    except ValueError as e:
        raise ConfigError(f"{path}: wanted what the unit is made of, found no JSON ({e})") from None
    changed = [k for k in sorted({*found, *wanted}) if found.get(k) != wanted.get(k)]
    if changed:
        raise ConfigError(
            f"wanted to go on with the unit in {path.parent}, found that it was begun with other "
            f"{', '.join(changed)}: go back to what it was begun with, or begin it anew in an "
            "empty folder"
        )
