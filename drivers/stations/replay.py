"""A station that plays a recording back: what its sensors confirmed is in the telemetry, which line
was due and what it asked for in the events."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from headway import config
from headway.drivers import Context
from headway.drivers.replay_source import ReplaySource, Tape, info, tape_of
from headway.errors import ConfigError
from headway.types import OrderState

_COLUMNS = ("place_confirm", "barcode", "scale_match")
PATHS = ("path",)  # keys of `Config`, see `headway.plugins.with_paths`


class Config(config.Struct, frozen=True):
    """Keys of `[station]` for the kind `replay`. `path`: the recording; `topic`: where its
    telemetry is; `events`: where its events are."""

    path: str
    topic: str = "/telemetry"
    events: str = "/event"


class ReplayStation(ReplaySource[OrderState]):
    """The station of the recording on `tape`. Before its first line it asks for nothing."""

    def __init__(self, tape: Tape, cfg: Config) -> None:
        times, self._rows = tape.rows(cfg.topic, _COLUMNS)
        super().__init__(tape, info(tape, "station"), times)
        changes = [(int(times[0]), OrderState(0, 0, ""))]
        for t_ns, event in _events(tape, cfg.events):
            before = changes[-1][1]
            changes.append((t_ns, _after(before, event)))
        changed = np.array([t for t, _ in changes])
        self._at = np.maximum(np.searchsorted(changed, times, side="right") - 1, 0)
        self._orders = [order for _, order in changes]

    def sample(self, i: int) -> tuple[OrderState, tuple[str, ...]]:
        said, row = self._orders[int(self._at[i])], self._rows[i]
        place, barcode, scale = (float(row[name]) for name in _COLUMNS)
        return (
            OrderState(
                said.line, said.lines, said.instruction, place, barcode, scale, said.mismatch
            ),
            (),
        )


def _events(tape: Tape, topic: str) -> list[tuple[int, dict[str, Any]]]:
    """Times [ns] and contents of the events that tell about the order."""
    if topic not in tape.log.topics:
        raise ConfigError(
            f"wanted the events of a station on {topic} of {tape.log.path}, found "
            f"{', '.join(tape.log.topics)}: choose another topic"
        )
    told = ((m.t_ns, json.loads(m.data)) for m in tape.log.messages(topic))
    kinds = ("line_begun", "line_closed", "confirm")
    return [(t, e) for t, e in told if isinstance(e, dict) and e.get("kind") in kinds]


def _after(order: OrderState, event: dict[str, Any]) -> OrderState:
    """What the station says after `event`, where it said `order` before."""
    numbers = event.get("numbers", {})
    line, lines = int(numbers.get("line") or 0), int(numbers.get("lines") or 0)
    if event["kind"] == "line_begun":
        return OrderState(line, lines, str(event.get("text", "")))
    if event["kind"] == "line_closed":
        return OrderState(line + 1, lines, "")
    objects = event.get("subject") == "scale mismatch"
    return OrderState(order.line, order.lines, order.instruction, mismatch=objects)


def connect(cfg: Config, ctx: Context) -> ReplayStation:
    """The recorded station, not open yet. Raises RecordingError for a file that cannot be read or
    lacks `topic`, and ConfigError where that has no rows with confirms, or there are no events."""
    return ReplayStation(tape_of(cfg.path, ctx), cfg)
