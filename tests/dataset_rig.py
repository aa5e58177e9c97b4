"""Recordings with known numbers, written without a loop, and what LeRobot's layout says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from headway.clock import NS
from headway.edge.control.events import Event, EventKind
from headway.edge.control.log import command_dtype, json_channel
from headway.edge.control.result import Result
from headway.edge.pro.operator import pro_dtype
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.kernels import telemetry
from headway.kernels.telemetry import Scale

JOINTS = ("shoulder", "elbow", "wrist")
START = 5_000_000_000  # [ns] of the first tick
HZ = 100
EVEN = np.arange(101) * NS // HZ  # ticks [ns] after the first
SCALE = Scale(
    q_min=np.full(3, -3.0), q_max=np.full(3, 3.0), dq_max=np.ones(3), tau_max=np.full(3, 10.0)
)
RESULT = Result(
    end="done", success=True, seconds=1.0, ticks=101, retries=1, rejected=0, missed=0,
    peak_force=3.0, reward=float("nan"),
)  # fmt: skip
INTRINSICS = np.array([[20.0, 0.0, 16.0], [0.0, 20.0, 12.0], [0.0, 0.0, 1.0]])


def image(k: int, height: int = 24, width: int = 32) -> np.ndarray:
    """A picture that a video keeps: smooth, and another one for each `k`."""
    out = np.zeros((height, width, 3), np.uint8)
    out[..., 0] = (20 + 9 * k) % 240
    out[..., 1] = np.linspace(10, 200, width).astype(np.uint8)
    out[..., 2] = np.linspace(200, 10, height).astype(np.uint8)[:, None]
    return out


def rows_of(ticks: np.ndarray, **fields: Any) -> np.ndarray:
    """Telemetry (n,) at `ticks` [ns after START]; `fields` replace columns, None takes one away."""
    rows = telemetry.empty(len(JOINTS), len(ticks))
    t = ticks / 1e9
    rows["t_ns"] = START + ticks
    rows["q"] = np.sin(t[:, None] + np.arange(3))
    rows["dq"] = np.cos(t[:, None] + np.arange(3))
    rows["q_ref"] = rows["q"] + 0.01
    rows["tcp"] = [0.1, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0]
    rows["wrench"] = t[:, None] * np.arange(6)
    rows["width"] = 0.08 - 0.05 * t
    rows["width_ref"] = np.where(t < 0.5, 0.08, 0.0)
    rows["elapsed"] = t
    rows["retries"] = t > 0.5
    for name, x in fields.items():
        rows[name] = np.nan if x is None else x
    return rows


def record(
    path: Path,
    *,
    ticks: np.ndarray = EVEN,
    fields: Mapping[str, Any] | None = None,
    shown: Mapping[str, Sequence[tuple[int, np.ndarray]]] | None = None,
    pro: bool = True,
    result: Result | None = RESULT,
    instructions: Sequence[tuple[int, str]] = (),
    joints: Sequence[str] = JOINTS,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a recording. `shown`: (t [ns after START], image) by camera, by default ten a second of
    the camera `front`; `instructions`: likewise, given while it runs."""
    if shown is None:
        shown = {"front": [(k * NS // 10, image(k)) for k in range(11)]}
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = rows_of(ticks, **(fields or {}))
    command = np.zeros(len(ticks), command_dtype(len(JOINTS)))
    command["t_ns"], command["sent"] = rows["t_ns"], 10 + np.arange(len(ticks))[:, None]
    signals = np.zeros(len(ticks[::2]), pro_dtype())
    signals["t_ns"] = rows["t_ns"][::2]
    signals["progress"] = np.linspace(0, 1, len(signals))
    signals["reward"] = 1.0 + np.arange(len(signals))
    facts = {
        "hz": repr(float(HZ)), "instruction": "put the item down", "task": "place", "seed": "7",
        "robot": "arm", "joints": json.dumps(joints), "scale": SCALE.to_json(), "start_ns": "1",
        **(metadata or {}),
    }  # fmt: skip
    channels = [
        Channel("/telemetry", dtype=rows.dtype),
        Channel("/command", dtype=command.dtype),
        Channel("/event", **json_channel(Event)),
        Channel("/log", kind="log"),
        Channel("/result", **json_channel(Result)),
        Channel("/pro", dtype=signals.dtype),
    ]
    for name in shown:
        channels.append(Channel(f"/camera/{name}/rgb", kind="image", frame_id=name))
        channels.append(Channel(f"/camera/{name}/calibration", kind="calibration", frame_id=name))
    events = [
        Event(t_ns=START + t, kind=EventKind.INSTRUCTION, level="info", text=text)
        for t, text in instructions
    ]
    events.append(
        Event(
            t_ns=START + 600_000_000, kind=EventKind.CLOSED_ON_NOTHING, level="warning",
            text="closed on nothing", numbers={"width": 0.0},
        )
    )  # fmt: skip
    with Recorder(path, channels, metadata=facts, run={"host": "h"}, lossless=True) as log:
        todo: list[tuple[int, Any]] = []  # in the order of time, as a loop writes
        for name, images in shown.items():
            size = images[0][1].shape[:2]
            log.calibration(f"/camera/{name}/calibration", START, INTRINSICS, *size)
            topic = f"/camera/{name}/rgb"
            todo += [(START + t, partial(log.image, topic, START + t, x)) for t, x in images]
        for topic, some in (
            ("/telemetry", rows), ("/command", command), ("/pro", signals if pro else []),
        ):  # fmt: skip
            todo += [(int(r["t_ns"]), partial(log.write, topic, int(r["t_ns"]), r)) for r in some]
        for e in events:
            todo.append((e.t_ns, partial(log.json, "/event", e.t_ns, msgspec.json.encode(e))))
            todo.append((e.t_ns, partial(log.log, e.t_ns, e.level, e.text)))
        for _, write in sorted(todo, key=itemgetter(0)):
            write()
        if result is not None:
            log.json("/result", START + int(ticks[-1]), msgspec.json.encode(result))
    return path


def info(folder: Path) -> dict[str, Any]:
    """What a data set says of itself."""
    found: dict[str, Any] = json.loads((folder / "meta/info.json").read_text())
    return found


def table(folder: Path, pattern: str = "data") -> dict[str, list[Any]]:
    """All rows of a data set's table, by column."""
    pq = pytest.importorskip("pyarrow.parquet", reason="wants the extra lerobot")
    parts = [pq.read_table(p) for p in sorted(folder.glob(f"{pattern}/*/*.parquet"))]
    return {n: [x for p in parts for x in p[n].to_pylist()] for n in parts[0].column_names}
