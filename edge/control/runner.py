"""Runs an episode into a recording of its own: `record_episode`, once per episode. `begin` is its
first step, for episodes that are kept in another way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

import headway
from headway.edge.control.events import EventKind
from headway.edge.control.log import EpisodeLog
from headway.edge.control.loop import Loop
from headway.edge.control.result import Result
from headway.edge.host import environment
from headway.edge.host.origin import origin
from headway.edge.host.realtime import Setup
from headway.edge.recording.tap import Feed
from headway.errors import RecordingError


def begin(loop: Loop, seed: int) -> tuple[str | None, dict[str, str]]:
    """Set up the episode of `seed`, which `loop` then runs. Returns its instruction, None where
    there is none, and the facts about it that every recording states. Raises what `Station.reset`
    raises."""
    station = loop.station
    instruction = station.reset(seed)
    if station.world is not None:
        loop.guard.acknowledge()  # a stop in the episode before says nothing about a new scene
    return instruction, {
        "headway": headway.__version__,
        "seed": str(seed),
        "instruction": instruction or "",
        "hz": repr(loop.cfg.hz),
        "pro_hz": repr(loop.cfg.pro_hz),
        "task": loop.task.name,
        "task_kind": loop.task.kind,
        "phases": json.dumps(loop.phases),
        "start_ns": str(station.clock.now()),
        "clock": "wall" if station.clock.realtime else "virtual",
    }


def record_episode(
    loop: Loop,
    seed: int,
    path: Path,
    *,
    metadata: Mapping[str, str],
    overwrite: bool = False,
    images: bool = True,
    setup: Setup | None = None,
    view: Callable[[], Feed | None] | None = None,
) -> Result:
    """Run the episode of `seed` with `loop`, and record it to `path`.

    `metadata` goes into the recording; in real time, facts about the computer do too. `overwrite`:
    replace an existing file. `images`: record what the cameras saw. `setup`: what the operating
    system granted in real time; the loop runs on its core. `view`: opens the feed of a live view.

    However this ends, the arm is stopped first, and then the recording is closed and readable.
    Raises RecordingError, Busy where another process records to `path`, and what `Loop.episode`
    raises.
    """
    station = loop.station
    instruction, known = begin(loop, seed)
    facts = {**known, **metadata}
    realtime = station.clock.realtime
    if realtime:  # in lock-step only the record of `origin` depends on more than the seed
        facts |= environment.facts() | (setup.facts if setup else {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise RecordingError(
            f"wanted a folder for recordings at {path.parent}: {e.strerror}; choose another place"
        ) from None
    with EpisodeLog(
        path,
        joints=station.joints,
        cameras=station.has_depth if images else {},
        chunk_shape=loop.worker.about.chunk_shape if loop.worker else None,
        meta=loop.worker.about.recorded if loop.worker else (),
        pro=loop.pro,
        realtime=realtime,
        max_ticks=round(loop.task.limit_s * loop.cfg.hz) + 2,
        metadata=facts,
        run=origin(),
        overwrite=overwrite,
        view=view,
    ) as log:
        throttled = environment.throttled() if realtime else {}
        with setup.pinned() if setup else nullcontext():
            result = loop.episode(instruction, log)
        if realtime and (said := environment.changes(throttled, environment.throttled())):
            log.event(station.clock.now(), EventKind.MACHINE, "warning", said)
        return result
