"""Episodes one after the other, each with its own recording."""

from __future__ import annotations

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
    """Run the episode of `seed` into a recording at `path`.

    `images`: record what the cameras saw. `setup`: what the operating system granted; the loop gets
    its core for the episode. In real time the machine is recorded with it. `view`: a live view's
    `feed`. The recording is closed and readable however this ends; the arm is stopped first.
    """
    station = loop.station
    instruction = station.reset(seed)
    if station.world is not None:
        loop.guard.acknowledge()  # a new scene is a robot that nobody has stopped yet
    facts = {
        "headway": headway.__version__,
        "seed": str(seed),
        "instruction": instruction or "",
        "hz": repr(loop.cfg.hz),
        "pro_hz": repr(loop.cfg.pro_hz),
        "start_ns": str(station.clock.now()),
        "clock": "wall" if station.clock.realtime else "virtual",
        **metadata,
    }
    realtime = station.clock.realtime
    if realtime:  # else all but the record of `origin` is the seed's alone
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
