"""What does a live view cost the loop and the recorder?

A null robot at 500 Hz on the wall clock, recorded, with a 320 x 240 RGB-D frame 25 times a second.
It takes turns, in one process: without a view, with one that nobody watches, and with one whose
client, a process of its own, subscribes to everything and reads.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from headway.benchmarks import _child
from headway.benchmarks._findings import Findings, Number, Table
from headway.benchmarks._robot import CHUNK_SHAPE, null_settings, robot
from headway.clock import Tick, WallClock
from headway.edge.control.log import EpisodeLog
from headway.edge.control.loop import Loop
from headway.edge.host.realtime import realtime
from headway.mcaplog import open_recording
from headway.tools.view.viewer import Viewer, ViewOptions
from headway.types import Frame

HZ = 500.0
TURNS = 5
SECONDS = 4.0
FRAME_EVERY = 20
ALONE, UNWATCHED, WATCHED = "no view", "view, no client", "view, a client"
_WATCH = "import sys; from headway.benchmarks.live_view import watch; watch(sys.argv[1])"


class _Filmed(EpisodeLog):
    """Logs a frame now and then, as a policy's camera would."""

    rgb = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    frame = Frame(rgb, np.zeros((240, 320), np.uint16), np.eye(3), "wrist")
    writer_s = 0.0

    def timing(self, t_ns: int, tick: Tick) -> None:
        super().timing(t_ns, tick)
        if tick.index % FRAME_EVERY == 0:
            self.image(t_ns, "wrist", self.frame)

    def close(self) -> None:
        if not self.writer_s:
            self.writer_s = _child.used_by(self.recorder.writer_pid)
        super().close()


def watch(url: str) -> None:
    """A client that takes everything; prints what it got [messages, bytes] at the end."""
    from websockets.sync.client import connect

    n = size = 0
    with connect(url, subprotocols=["foxglove.sdk.v1"], max_size=None) as socket:  # type: ignore[list-item]
        for data in socket:
            if isinstance(data, bytes):
                n, size = n + 1, size + len(data)
                continue
            said = json.loads(data)
            if said["op"] == "advertise":
                ids = [c["id"] for c in said["channels"]]
                subscriptions = [{"id": i, "channelId": i} for i in ids]
                socket.send(json.dumps({"op": "subscribe", "subscriptions": subscriptions}))
                if not ids:
                    print("ready", flush=True)
    print(json.dumps([n, size]))


def _turn(loop: Loop, path: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {"got": [0, 0], "viewer": 0.0}
    options = ViewOptions(foxglove=True, port=0)
    client: subprocess.Popen[str] | None = None
    with Viewer(options) if kind != ALONE else nullcontext() as viewer:
        if viewer is not None and kind == WATCHED:
            client = subprocess.Popen(
                [sys.executable, "-c", _WATCH, viewer.url],
                stdout=subprocess.PIPE, text=True, env=_child.environment(),
            )  # fmt: skip
            assert client.stdout is not None
            client.stdout.readline()
        before = _child.used_by(viewer.pid) if viewer is not None else 0.0
        log = _Filmed(
            path, joints=loop.station.joints, cameras={"wrist": True}, pro=loop.pro,
            chunk_shape=CHUNK_SHAPE, realtime=True, max_ticks=0, metadata={},
            view=viewer.feed if viewer is not None else None,
        )  # fmt: skip
        with log, realtime():
            found["seconds"] = loop.episode(None, log).seconds
        found["writer"] = log.writer_s
        if viewer is not None:
            found["viewer"] = _child.used_by(viewer.pid) - before
    if client is not None:
        found["got"] = json.loads(client.communicate()[0].splitlines()[-1])
    rows = open_recording(path).rows("/timing")
    return found | {"log": rows["log"][1:] / 1e3, "late": rows["late"][1:] / 1e3}


def measure(effort: float = 1.0) -> Findings:
    turns: dict[str, list[dict[str, Any]]] = {ALONE: [], UNWATCHED: [], WATCHED: []}
    settings = null_settings(HZ, max(0.2, SECONDS * min(1.0, effort)))
    with TemporaryDirectory() as folder:
        for i in range(max(1, round(TURNS * effort))):
            for kind, done in turns.items():
                with robot(settings, WallClock()) as (loop, what):
                    done.append(_turn(loop, Path(folder) / f"{i}-{kind}.mcap", kind))

    def middle(kind: str, name: str, q: float) -> float:
        return float(np.median([np.percentile(t[name], q) for t in turns[kind]]))

    def load(kind: str, name: str) -> float:
        return float(100 * np.mean([t[name] / t["seconds"] for t in turns[kind]]))

    rows = tuple(
        (
            kind,
            (
                *(middle(kind, "log", q) for q in (50, 99)),
                *(middle(kind, "late", q) for q in (50, 99)),
            ),
        )
        for kind in turns
    )
    got = np.sum([t["got"] for t in turns[WATCHED]], axis=0)
    seconds = sum(t["seconds"] for t in turns[WATCHED])
    numbers = [
        Number(
            "log stage, median, watched / no view",
            middle(WATCHED, "log", 50) / middle(ALONE, "log", 50), "x", 1.1,
        ),
        Number("writer process, no view", load(ALONE, "writer"), "% of a core"),
        Number("writer process, watched", load(WATCHED, "writer"), "% of a core"),
        Number("viewer process, no client", load(UNWATCHED, "viewer"), "% of a core"),
        Number("viewer process, watched", load(WATCHED, "viewer"), "% of a core"),
        Number("the client got", got[0] / seconds, "messages/s"),
        Number("the client got", got[1] / seconds / 1e6, "MB/s"),
    ]  # fmt: skip
    columns = ("log p50", "log p99", "lateness p50", "lateness p99")
    return Findings(
        "A live view of a loop at 500 Hz with a 320 x 240 RGB-D camera at 25 Hz",
        numbers,
        [Table("per tick, medians over the turns", columns, rows, "us")],
        (what, "the writer's start is in its load"),
    )
