"""What is recorded of each episode, and where: topics, the layouts of their rows, and timing.

| topic | rate | what |
|---|---|---|
| /telemetry | every tick | telemetry rows: all that PRO sees (`kernels.telemetry`) |
| /command | every tick | what was wanted, what the guard sent, and why |
| /pro | PRO rate | features, mask and signals |
| /chunk | per chunk | the policy's actions as inferred |
| /camera/NAME/rgb, /depth | policy rate | the frames that the policy saw |
| /event | events | kind, subject and numbers (`edge.control.events`), as JSON |
| /log | events | their texts as foxglove.Log |
| /result | at the end | how the episode ended (`edge.control.result.Result`), as JSON |
| /timing | every tick | stages, ages, counters (`edge.control.audit`), wall clock |

`EpisodeLog` records an episode; `NullLog` has the same methods and records nothing.

In lock-step the same seed gives the same bytes in every record except `headway.run`, which says
when and where the episode was recorded (`edge.host.origin`). Measured times never repeat, so in
lock-step they stay out of the recording: /timing goes to `NAME.timing.npy` beside it, and rows of
/chunk lack the columns STAMP_COLUMNS. In real time the recording holds both.
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic_ns, perf_counter_ns
from types import MappingProxyType, TracebackType
from typing import Any

import msgspec
import numpy as np

from headway.clock import Tick
from headway.edge.control.audit import STAGES, TIMING, UNITS, Audit
from headway.edge.control.events import Event, EventKind, Level
from headway.edge.control.result import Result
from headway.edge.guard.guard import Decision
from headway.edge.motion.deadline import Mode
from headway.edge.policy.policy import Ready
from headway.edge.pro.operator import ProOperator, pro_dtype
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.edge.recording.tap import Feed
from headway.errors import RecordingError, SpecMismatch
from headway.kernels import telemetry
from headway.types import Frame, Stamp, Vec

NOTHING: Mapping[str, float] = MappingProxyType({})
# When the steps to a chunk happened, on CLOCK_MONOTONIC [ns]: exposure and arrival of the oldest
# image, hand-over of the observation, begin and end of the inference, and take-over of the chunk by
# the loop. -1: not known.
STAMP_COLUMNS = ("exposure_ns", "arrival_ns", "submitted_ns", "started_ns", "done_ns", "adopted_ns")


def command_dtype(joints: int) -> np.dtype[np.void]:
    """Layout of a row of /command, of which there is one per tick, for an arm with `joints` joints.
    `t_ns` [ns] is when the tick was due, on the run's clock."""
    return np.dtype(
        [
            ("t_ns", np.int64),
            ("wanted", np.float64, (joints,)),  # joint reference [rad]
            ("sent", np.float64, (joints,)),  # joint positions that the guard sent [rad]
            ("reason", np.int32),  # guard.reasons.Reason
            ("changed", np.int32),
            ("mode", np.int32),  # deadline.Mode
            ("missed", np.int32),  # deadline misses before this tick
        ]
    )


def chunk_dtype(
    horizon: int, width: int, stamped: bool = False, meta: Sequence[str] = ()
) -> np.dtype[np.void]:
    """Layout of a row of /chunk, for chunks of `horizon` actions with `width` numbers each. `base`
    is the TCP pose that the actions are relative to: position [m] and quaternion wxyz in the base
    frame. `residual`: see `motion.chunks.JointChunk`. `stamped`: with STAMP_COLUMNS. `meta`: with
    these numbers of the chunk's meta, NaN where a chunk lacks one."""
    return np.dtype(
        [
            ("t_ns", np.int64),
            ("t0_ns", np.int64),
            ("dt_ns", np.int64),
            ("base", np.float64, (7,)),
            ("residual", np.float64),
            ("demonstration", np.int32),  # 0: a disturbance, not to be imitated
            ("actions", np.float32, (horizon, width)),
            ("label", np.float32, (horizon, width)),  # a teacher's actions; NaN without a teacher
            *((name, np.float64) for name in meta),
            *((name, np.int64) for name in STAMP_COLUMNS if stamped),
        ]
    )


class NullLog:
    """Records nothing: for benchmarks, and runs without a recording. It keeps only `stamps`, the
    beginning of every stage of a tick and the end of the last one (`perf_counter_ns`), which the
    loop sets, and the `events` of the episode."""

    path = Path()

    def __init__(self) -> None:
        self.stamps = [0] * (len(STAGES) + 1)
        self.events: list[Event] = []
        self._said: set[str] = set()

    def begin(self) -> None:
        """To be called first in every tick."""
        self.stamps[0] = perf_counter_ns()

    @property
    def sampled(self) -> Callable[[str, Stamp], None]:
        """A function that the loop calls for every sample that a tick uses, with the name of the
        sample's source and its stamp."""
        return _forget

    def once(self, t_ns: int, subject: str, text: str, kind: EventKind = EventKind.SENSOR) -> None:
        """Log a trouble, usually a sensor's, the first time that it appears in an episode, not at
        every tick. `subject`: the sensor's name, or what is wrong; `text`: the trouble, for people;
        `kind` of the event."""
        if subject not in self._said:
            self._said.add(subject)
            self.event(t_ns, kind, "warning", text, subject)

    def event(
        self,
        t_ns: int,
        kind: EventKind,
        level: Level,
        text: str,
        subject: str = "",
        numbers: Mapping[str, float] = NOTHING,
    ) -> None:
        """Log an event at `t_ns` [ns]. The other arguments are the fields of `Event`."""
        self.add(
            Event(
                t_ns=t_ns, kind=kind, level=level, text=text, subject=subject,
                numbers={k: float(v) for k, v in numbers.items()},  # JSON has no NumPy numbers
            )
        )  # fmt: skip

    @property
    def dropped(self) -> int:
        """How many messages the recording could not take."""
        return 0

    def add(self, event: Event) -> None:
        """Keep `event` in `events`."""
        self.events.append(event)

    def tick(
        self,
        t_ns: int,
        wanted: Vec,
        sent: Decision,
        mode: Mode,
        pro: ProOperator | None,
        tick: Tick,
    ) -> None:
        """A tick is over; the arguments are those of `EpisodeLog.tick`."""

    def telemetry(self, t_ns: int, row: np.void) -> None:
        """The telemetry row of the tick at `t_ns` [ns] is complete."""

    def chunk(self, t_ns: int, ready: Ready) -> None:
        """The chunk `ready` is taken over at `t_ns` [ns]."""

    def image(self, t_ns: int, name: str, frame: Frame) -> None:
        """The policy is given `frame` of the camera `name` at `t_ns` [ns]."""

    def timing(self, t_ns: int, tick: Tick) -> None:
        """To be called last in every tick."""

    def end(self, t_ns: int, result: Result) -> None:
        """The episode has ended at `t_ns` [ns]."""


class EpisodeLog(NullLog):
    """Records one episode: `with EpisodeLog(path, ...) as log:`. Leaving the block closes the
    recording and raises what `close` raises. In lock-step, every method that records raises
    RecordingError when the recorder's process is gone; in real time only `timing` does."""

    def __init__(
        self,
        path: Path,
        *,
        joints: int,
        cameras: Mapping[str, bool],
        chunk_shape: tuple[int, int] | None,
        pro: ProOperator | None,
        realtime: bool,
        max_ticks: int,
        metadata: Mapping[str, str],
        meta: Sequence[str] = (),
        run: Mapping[str, str] | None = None,
        overwrite: bool = False,
        view: Callable[[], Feed | None] | None = None,
    ) -> None:
        """`joints` of the arm. `cameras` to record: name -> whether it gives depth. `chunk_shape`:
        (actions, numbers per action), None without a policy. `pro`: None without PRO. `realtime`:
        record measured times too, and never wait for the disk. `max_ticks` of the episode: room for
        their timing is kept in lock-step. `meta`: see `chunk_dtype`. For the rest, and the errors
        raised, see `Recorder`."""
        super().__init__()
        self.path = path
        units = {name: unit for name, (_, unit) in telemetry.FIELDS.items()}
        self._command = np.zeros((), command_dtype(joints))
        self._pack = struct.Struct(f"=q{2 * joints}d4i")
        self._bytes = self._command.reshape(1).view(np.uint8).data
        assert self._pack.size == len(self._bytes)
        channels = [
            Channel("/telemetry", dtype=telemetry.dtype(joints), units=units),
            Channel("/command", dtype=self._command.dtype, units={"wanted": "rad", "sent": "rad"}),
            Channel("/event", **json_channel(Event)),
            Channel("/log", kind="log"),
            Channel("/result", **json_channel(Result)),
            Channel(
                "/tf", kind="transform", source="/telemetry", column="tcp",
                frame_id="base", child_frame_id="tcp",
            ),
        ]  # fmt: skip
        if chunk_shape is not None:
            self._chunk = np.zeros((), chunk_dtype(*chunk_shape, realtime, meta))
            channels.append(Channel("/chunk", dtype=self._chunk.dtype))
        if pro is not None:
            channels.append(Channel("/pro", dtype=pro_dtype(), units={"time_to_go": "s"}))
        for name, depth in cameras.items():
            channels.append(Channel(f"/camera/{name}/rgb", kind="image", frame_id=name))
            channels.append(
                Channel(f"/camera/{name}/calibration", kind="calibration", frame_id=name)
            )
            if depth:
                channels.append(Channel(f"/camera/{name}/depth", kind="image", frame_id=name))
        if realtime:
            channels.append(Channel("/timing", dtype=TIMING, units=UNITS))
        self._topics = {c.topic for c in channels}
        self._calibrated: set[str] = set()
        self._realtime, self._meta = realtime, tuple(meta)
        self._timings = np.zeros(0 if realtime else max_ticks, TIMING)
        self._n = 0
        self.recorder = Recorder(
            path, channels, metadata=metadata, run=run, lossless=not realtime,
            overwrite=overwrite, view=view,
        )  # fmt: skip
        self.audit = Audit(realtime)

    @property
    def dropped(self) -> int:
        """How many messages found no room, since the disk was too slow for them."""
        return self.recorder.dropped

    def __enter__(self) -> EpisodeLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        hide = [RecordingError] if value is not None else []  # the first error is to be shown
        with contextlib.suppress(*hide):
            self.close()

    def close(self) -> None:
        """Close the recording. Raises RecordingError for what could not be written."""
        self.audit.close()
        self.recorder.close()
        if not self._realtime and self._n:
            beside = self.path.with_suffix(".timing.npy")
            try:
                np.save(beside, self._timings[: self._n])
            except OSError as e:
                raise RecordingError(
                    f"cannot write {beside}: {e.strerror or e}; the recording itself is complete: "
                    "free space or choose another place"
                ) from None

    def begin(self) -> None:
        """As `NullLog.begin`; in real time, the counters of the loop's thread are read too."""
        self.stamps[0] = perf_counter_ns()
        if self._realtime:  # page faults and context switches only matter where time is real
            self.audit.begin()

    @property
    def sampled(self) -> Callable[[str, Stamp], None]:
        return self.audit.sampled

    def add(self, event: Event) -> None:
        """Keep `event` in `events`, and record it on /event and its text on /log."""
        super().add(event)
        self.recorder.json("/event", event.t_ns, msgspec.json.encode(event))
        self.recorder.log(event.t_ns, event.level, event.text)

    def telemetry(self, t_ns: int, row: np.void) -> None:
        """Record `row`, the telemetry row of the tick at `t_ns` [ns], on /telemetry."""
        self.recorder.write("/telemetry", t_ns, row)

    def tick(
        self,
        t_ns: int,
        wanted: Vec,
        sent: Decision,
        mode: Mode,
        pro: ProOperator | None,
        tick: Tick,
    ) -> None:
        """Record on /command what the tick at `t_ns` [ns] did, and on /pro the signals if PRO's
        head ran. `wanted` (n,) [rad]: the joint reference; `sent`: what the guard made of it;
        `mode`: what the reference followed; `pro`: None in a run without PRO; `tick`: its deadline
        misses are recorded."""
        self._pack.pack_into(
            self._bytes, 0, t_ns, *wanted.tolist(), *sent.q.tolist(),
            sent.reason, sent.changed, mode, tick.missed,
        )  # fmt: skip
        self.recorder.write("/command", t_ns, self._command)
        if pro is not None and pro.updated:
            self.recorder.write("/pro", t_ns, pro.record)

    def chunk(self, t_ns: int, ready: Ready) -> None:
        """Record on /chunk the chunk `ready`, which the loop takes over at `t_ns` [ns]. Raises
        SpecMismatch for actions of another shape than `chunk_shape`."""
        c = self._chunk
        if ready.chunk.actions.shape != c["actions"].shape:
            raise SpecMismatch(
                f"wanted chunks of actions {c['actions'].shape} as the recording was made for, "
                f"found {ready.chunk.actions.shape}: check the policy"
            )
        base = ready.chunk.base
        c["t_ns"], c["t0_ns"], c["dt_ns"] = t_ns, ready.chunk.t0_ns, ready.chunk.dt_ns
        c["base"][:3] = base.pos
        c["base"][3:] = base.quat
        c["residual"] = ready.joints.residual
        c["demonstration"] = ready.chunk.meta.get("demonstration", 1.0)
        c["actions"] = ready.chunk.actions
        c["label"] = np.nan if ready.chunk.label is None else ready.chunk.label
        for name in self._meta:
            c[name] = ready.chunk.meta.get(name, math.nan)
        if self._realtime:
            seen = self.audit.frame(ready.chunk.t0_ns, t_ns)
            frame = (-1, -1) if seen is None else (seen.t_ns, seen.arrival_ns)
            way = (*frame, ready.submitted_ns, ready.started_ns, ready.done_ns, monotonic_ns())
            for name, t in zip(STAMP_COLUMNS, way, strict=True):
                c[name] = t
        self.recorder.write("/chunk", t_ns, c)

    def image(self, t_ns: int, name: str, frame: Frame) -> None:
        """Record `frame` of the camera `name`, which the policy is given at `t_ns` [ns]; with the
        camera's first frame also its calibration. Does nothing for a camera that is not in
        `cameras`, and records no depth where `cameras` says that there is none."""
        if f"/camera/{name}/rgb" not in self._topics:
            return
        h, w = frame.rgb.shape[:2]
        if name not in self._calibrated:
            self._calibrated.add(name)
            self.recorder.calibration(f"/camera/{name}/calibration", t_ns, frame.intrinsics, h, w)
        self.recorder.image(f"/camera/{name}/rgb", t_ns, frame.rgb, frame.frame_id)
        if frame.depth is not None and f"/camera/{name}/depth" in self._topics:
            self.recorder.image(f"/camera/{name}/depth", t_ns, frame.depth, frame.frame_id)

    def timing(self, t_ns: int, tick: Tick) -> None:
        """Record the timing of the tick that was due at `t_ns` [ns]: on /timing in real time; in
        lock-step it is kept until `close` writes it. To be called last in every tick. Raises
        RecordingError when the recording can no longer be written."""
        audit = self.audit
        audit.finish(t_ns, tick, self.stamps)
        if self._realtime:
            self.recorder.write("/timing", t_ns, audit.rows[0])
        elif self._n < len(self._timings):
            self._timings[self._n] = audit.rows[0]
            self._n += 1
        # A full disk or a dead writer ends the run: a robot that is not recorded does not move.
        if tick.index % 50 == 25:  # at the default rates, a tick without PRO's head and policy
            self.recorder.check()

    def end(self, t_ns: int, result: Result) -> None:
        """Record on /result, at `t_ns` [ns], how the episode ended."""
        self.recorder.json("/result", t_ns, msgspec.json.encode(result))


def _forget(source: str, stamp: Stamp) -> None:
    pass


def json_channel(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The arguments of a `Channel` whose messages are structs of `kind` as JSON."""
    whole = msgspec.json.schema(kind)
    parts: dict[str, Any] = whole["$defs"]
    own = parts.pop(kind.__name__)  # viewers want an object at the root, not a reference
    schema = json.dumps(own | ({"$defs": parts} if parts else {}))
    return {"kind": "json", "schema_name": f"headway.{kind.__name__}", "json_schema": schema}
