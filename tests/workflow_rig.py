"""A workflow with its expert in lock-step, with hands in the simulated world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from headway.clock import VirtualClock
from headway.edge.control import settings as run_settings
from headway.edge.control.build import Built
from headway.edge.control.events import Event, EventKind
from headway.edge.control.log import NullLog
from headway.edge.control.result import Result
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.workflows import config_of


class Log(NullLog):
    """Keeps the events and the rows of telemetry."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Any] = []

    def telemetry(self, t_ns: int, row: Any) -> None:
        self.rows.append(row.copy())

    def of(self, kind: EventKind, subject: str = "") -> list[Event]:
        return [e for e in self.events if e.kind is kind and e.subject == subject]


def settings_of(name: str, limit_s: float | None = None, **scene: Any) -> Settings:
    """The workflow's configuration with its expert, no cameras, and keys of `scene_config`."""
    found = run_settings.load(config_of(name))
    cell = dict(found.cell or {})
    cell["scene_config"] = {**cell.get("scene_config", {}), **scene}
    task = found.task if limit_s is None else {**found.task, "limit_s": limit_s}
    policy = {"kind": "expert", "expert": name, "latency_s": 0.02}
    return structs.replace(found, cell=cell, policy=policy, pro=None, risk=None, task=task)


def moved(name: str, path: Path, *changes: tuple[str, str]) -> Path:
    """The workflow's configuration at `path`, with its models where they were and `changes` of its
    text, each of something that is there."""
    config = config_of(name).resolve()
    text = config.read_text().replace('"../../', f'"{config.parents[2]}/')
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
    return path


def episode(
    settings: Settings, seed: int, hand: Callable[[Any, float], None] | None = None
) -> tuple[Result, Log, Station]:
    """Run the episode of `seed`. `hand(cell, t_s)` is called at every tick."""
    clock = VirtualClock(1)
    log = Log()
    with Station(settings, clock) as station:
        built = Built(settings, station, clock)
        instruction = station.reset(seed)
        cell: Any = station.world
        if hand is not None:
            usual = cell.scene.step

            def step(model: Any, data: Any, t_s: float) -> None:
                hand(cell, t_s)
                usual(model, data, t_s)

            object.__setattr__(cell.scene, "step", step)
        result = built.loop.episode(instruction, log)
        built.close()
    return result, log, station


def put(cell: Any, body: str, pos: tuple[float, float, float], quat: Any = (1, 0, 0, 0)) -> None:
    """Put the free `body` down at `pos` [m], turned by `quat`, at rest."""
    model = cell.model
    joint = int(model.body(body).jntadr[0])
    at, v = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
    cell.data.qpos[at : at + 7] = np.r_[pos, quat]
    cell.data.qvel[v : v + 6] = 0.0
