"""Rollouts: episodes kept in memory for learning, with what the policy thought at each decision.

    with Runner(settings) as runner:
        rollout = runner.episode(seed)
    save(path, [rollout])

`Runner` runs the same loop as `headway run` in lock-step, so the telemetry is, bit for bit, what a
recording of the seed holds; but it starts no recorder and keeps station, engine and GL context from
one episode to the next. `learn.rollout_recorded` makes the same of a recording, of any robot.
"""

from __future__ import annotations

import gc
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from headway.clock import VirtualClock
from headway.edge.control.build import Built
from headway.edge.control.events import Event, EventKind
from headway.edge.control.memory import MemoryLog
from headway.edge.control.result import Result
from headway.edge.control.runner import begin
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.policy.policy import Policy
from headway.errors import ConfigError, RecordingError
from headway.files import whole
from headway.learn.files import UNREADABLE
from headway.types import Chunk, Observation

# Who made a chunk (`Decisions.source`). A chunk says it by the number `source` of its `meta`.
# ORACLE: a scripted oracle or a person who takes over. PUSHED: a demonstration is pushed off its
# way, on purpose; nobody should do that again.
POLICY, ORACLE, DEMONSTRATION, PUSHED = 0, 1, 2, 3
VERSION = 1  # of the files of `save`
_COLLECT_EVERY = 20  # episodes
_NO_DECISIONS: dict[str, NDArray[Any]] = {
    "t_ns": np.zeros(0, np.int64),
    "code": np.zeros((0, 0), np.float32),
    "latent": np.zeros((0, 0), np.float32),
    "source": np.zeros(0, np.int8),
    "line": np.zeros(0, np.int16),
}


class Thought(Protocol):
    """What a policy thought at its last decision, see `edge.policy.kinds.bundle`: everything that
    its head is given, `code` (c,), and the chunks that it considered in the head's units, `latent`
    (N, a), of which it gave the one with the index `chosen`."""

    @property
    def code(self) -> NDArray[np.float32]: ...
    @property
    def latent(self) -> NDArray[np.float32]: ...
    @property
    def chosen(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Seen:
    """What the policy was given at each of d decisions, and the chunks that came of it."""

    rgb: dict[str, NDArray[np.uint8]]  # by camera (d, h, w, 3)
    depth: dict[str, NDArray[np.uint16]]  # by camera (d, h, w) [mm]; without cameras that have none
    state: NDArray[np.float32]  # (d, s), in the order of the policy's `state_names`
    instruction: tuple[str, ...]  # (d,)
    base: NDArray[np.float64]  # (d, 7) pose that the actions are relative to: x y z [m], quat wxyz
    actions: NDArray[np.float32]  # (d, horizon, width) as the policy's action space says, SI


@dataclass(frozen=True, eq=False)
class Decisions:
    """The d decisions of an episode whose chunks were played, in their order. Of a policy without
    thoughts c and a are 0; what a chunk of somebody else lacks is NaN."""

    t_ns: NDArray[np.int64]  # (d,) tick of the observation
    code: NDArray[np.float32]  # (d, c) what the head was given
    latent: NDArray[np.float32]  # (d, a) the chunk that was played, in the head's units
    source: NDArray[np.int8]  # (d,) POLICY, ORACLE, DEMONSTRATION or PUSHED
    line: NDArray[np.int16]  # (d,) line of the order that was due; 0 where there is no station
    seen: Seen | None = None  # only where it was asked for

    def __len__(self) -> int:
        return len(self.t_ns)


def undecided() -> Decisions:
    """No decisions at all."""
    none = np.zeros((0, 0), np.float32)
    return Decisions(np.zeros(0, np.int64), none, none, np.zeros(0, np.int8), np.zeros(0, np.int16))


@dataclass(frozen=True, eq=False)
class Rollout:
    """One episode of the task `workflow` with `seed`: how it ended, its events, the telemetry
    `rows` (ticks,) as `kernels.telemetry` lays them out, and the decisions. `facts` are the
    metadata that a recording of it has, such as `hz`, `phases` (JSON) and `scale` (JSON)."""

    workflow: str
    seed: int
    result: Result
    events: tuple[Event, ...]
    rows: NDArray[np.void]
    decisions: Decisions
    facts: Mapping[str, str]


class About(msgspec.Struct, frozen=True, array_like=True):
    """A rollout in a file of `save`, without its arrays: see `Rollout`."""

    workflow: str
    seed: int
    result: Result
    events: tuple[Event, ...]
    facts: dict[str, str]
    ticks: int
    decisions: int


class Runner:
    """Runs episodes of `settings` in this process, in lock-step. Close it, or use it in a `with`
    block. `station` and `built` are those of its run."""

    def __init__(
        self,
        settings: Settings,
        *,
        wrap: Callable[[Policy], Policy] | None = None,
        images: bool = False,
        to_latent: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
    ) -> None:
        """`wrap` makes the policy that drives of the one that the settings name. `images`: keep
        what the policy saw at each decision (`Decisions.seen`). `to_latent`: actions (horizon,
        width) to the head's units (a,), for chunks that the policy did not make.

        The policy that drives may have an attribute `thought` (a `Thought`, or None) about its last
        `infer`. Raises what `Station` and `Built` raise, and ConfigError without a policy."""
        self._wrap, self._images, self._to_latent = wrap, images, to_latent
        self._tap: _Tap | None = None
        self._begun = 0
        clock = VirtualClock(1)
        with ExitStack() as stack:
            self.station = stack.enter_context(Station(settings, clock))
            self.built = Built(settings, self.station, clock, wrap=self._tapped)
            stack.callback(self.built.close)
            self._close = stack.pop_all()
        if self._tap is None:
            self.close()
            raise ConfigError("a rollout wants a policy, found none: add a section [policy]")
        loop = self.built.loop
        ticks = round(loop.task.limit_s * loop.cfg.hz) + 2
        self._log: MemoryLog = MemoryLog(self.station.joints, ticks)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the devices and end what the policy has started."""
        self._close.close()

    def episode(self, seed: int) -> Rollout:
        """Run the episode of `seed`. It depends on nothing that ran before. Raises what
        `Loop.episode` raises."""
        loop, log, tap = self.built.loop, self._log, cast("_Tap", self._tap)
        if self._begun % _COLLECT_EVERY == 0:  # an episode leaves cycles behind, of about 100 kB
            gc.collect()
        self._begun += 1
        log.clear()
        tap.clear()
        instruction, facts = begin(loop, seed)
        result = loop.episode(instruction, log)
        played = {ready.chunk.t0_ns for _, ready in log.chunks}
        made = [d for d in tap.made if d.obs.t_ns in played]
        return Rollout(
            workflow=loop.task.name,
            seed=seed,
            result=result,
            events=tuple(log.events),
            rows=log.rows,
            decisions=self._decisions(made, log.events),
            facts={**facts, **self.built.facts},
        )

    def _tapped(self, policy: Policy) -> Policy:
        self._tap = _Tap(self.driver(policy), self._images)
        return self._tap

    def driver(self, policy: Policy) -> Policy:
        """The policy that drives, made of the one that the settings name: what `wrap` makes of it.
        It is called once, when `station` is open. Subclasses may put somebody else beside it."""
        return policy if self._wrap is None else self._wrap(policy)

    def _decisions(self, made: Sequence[_Made], events: Sequence[Event]) -> Decisions:
        t_ns = np.array([d.obs.t_ns for d in made], np.int64)
        source = np.array([d.chunk.meta.get("source", POLICY) for d in made], np.int8)
        codes, latents = [], []
        for d in made:
            codes.append(d.code)
            latent = d.latent
            if self._to_latent is not None and d.chunk.meta.get("source", POLICY) != POLICY:
                latent = self._to_latent(d.chunk.actions).reshape(-1)
            latents.append(latent)
        return Decisions(
            t_ns, stacked(codes), stacked(latents), source, lines_at(t_ns, events),
            seen_of([(d.obs, d.chunk) for d in made]) if self._images else None,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Made:
    """A chunk that the policy made of `obs`, which has its images only where they are wanted."""

    obs: Observation
    chunk: Chunk
    code: NDArray[np.float32] | None
    latent: NDArray[np.float32] | None


class _Tap:
    """The policy `policy`, of which `made` keeps what it made since `clear`."""

    def __init__(self, policy: Policy, images: bool) -> None:
        self._policy, self._images = policy, images
        self.name, self.cameras, self.state_names = policy.name, policy.cameras, policy.state_names
        self.actions, self.needs = policy.actions, policy.needs
        self.made: list[_Made] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)  # what not every policy has, such as `candidates`

    def clear(self) -> None:
        self.made = []

    def check_instruction(self, text: str) -> None:
        self._policy.check_instruction(text)

    def reset(self) -> None:
        self._policy.reset()

    def infer(self, obs: Observation) -> Chunk:
        chunk = self._policy.infer(obs)
        thought: Thought | None = getattr(self._policy, "thought", None)
        code = latent = None
        if thought is not None:  # copies: a policy may use its arrays again
            code = np.array(thought.code, np.float32).reshape(-1)
            latent = np.array(thought.latent[thought.chosen], np.float32).reshape(-1)
        if not self._images:  # frames are large
            obs = msgspec.structs.replace(obs, images={}, history=())
        self.made.append(_Made(obs, chunk, code, latent))
        return chunk


def stacked(found: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32]:
    """The vectors `found` as rows (n, width), NaN for None; width 0 where all are None."""
    width = next((len(x) for x in found if x is not None), 0)
    out = np.full((len(found), width), np.nan, np.float32)
    for row, x in zip(out, found, strict=True):
        if x is not None:
            row[:] = x
    return out


def lines_at(t_ns: NDArray[np.int64], events: Sequence[Event]) -> NDArray[np.int16]:
    """Which line of the order was due at the times `t_ns` (d,) [ns], by the events that say that a
    line has begun; 0 before the first of them."""
    begun = [(e.t_ns, e.numbers.get("line")) for e in events if e.kind is EventKind.LINE_BEGUN]
    out = np.zeros(len(t_ns), np.int16)
    for since, line in begun:
        out[t_ns >= since] = int(line or 0)
    return out


def seen_of(pairs: Sequence[tuple[Observation, Chunk]]) -> Seen:
    """What is in the observations and the chunks of `pairs`, in their order. A camera counts if it
    is in all of them."""
    first: Mapping[str, Any] = pairs[0][0].images if pairs else {}
    names = [n for n in first if all(n in obs.images for obs, _ in pairs)]
    frames = {n: [obs.images[n] for obs, _ in pairs] for n in names}
    return Seen(
        rgb={n: np.stack([f.rgb for f in fs]) for n, fs in frames.items()},
        depth={
            n: np.stack([cast("NDArray[np.uint16]", f.depth) for f in fs])
            for n, fs in frames.items()
            if all(f.depth is not None for f in fs)
        },
        state=np.array([obs.state for obs, _ in pairs], np.float32),
        instruction=tuple(obs.instruction for obs, _ in pairs),
        base=np.array([[*chunk.base.pos, *chunk.base.quat] for _, chunk in pairs]),
        actions=np.array([chunk.actions for _, chunk in pairs], np.float32),
    )


def save(path: Path, rollouts: Sequence[Rollout]) -> None:
    """Write `rollouts` into the .npz file `path`, which appears whole or not at all, and replaces
    an older one. All have to be of arms with the same number of joints; widths of codes and latents
    have to be the same where there are decisions. What `seen` holds is not written: it is for use
    at once. Raises ValueError for rollouts that differ, RecordingError for what cannot be written.
    """
    about = [
        About(r.workflow, r.seed, r.result, r.events, dict(r.facts), len(r.rows), len(r.decisions))
        for r in rollouts
    ]
    decisions = [r.decisions for r in rollouts if len(r.decisions)]
    layouts = {r.rows.dtype for r in rollouts}
    widths = {(d.code.shape[1], d.latent.shape[1]) for d in decisions}
    if len(layouts) > 1 or len(widths) > 1:
        raise ValueError(
            "wanted rollouts of one robot and one policy in a file, found "
            f"{len(layouts)} layouts of telemetry and widths of code and latent {sorted(widths)}"
        )
    rows = np.concatenate([r.rows for r in rollouts]) if rollouts else np.zeros(0, np.uint8)
    arrays: dict[str, NDArray[Any]] = {
        "version": np.array([VERSION]),
        "about": np.frombuffer(msgspec.json.encode(about), np.uint8),
        "dtype": np.zeros(0, next(iter(layouts), np.uint8)),
        # Byte by byte over all rows: so they compress to half, since most numbers change slowly.
        "rows": rows.view(np.uint8).reshape(len(rows), rows.itemsize).T,
        **{
            name: np.concatenate([getattr(d, name) for d in decisions]) if decisions else empty
            for name, empty in _NO_DECISIONS.items()
        },
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            whole(path) as part,
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        ):
            for name, array in arrays.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as to:
                    npy.write_array(  # type: ignore[no-untyped-call]
                        to, np.ascontiguousarray(array), allow_pickle=False
                    )
    except OSError as e:
        raise RecordingError(
            f"cannot write the rollouts {path}: {e.strerror or e}: free space or choose another "
            "place"
        ) from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def load(path: Path) -> list[Rollout]:
    """The rollouts in `path`, as `save` has written them. Raises RecordingError for a file that is
    missing, damaged, or of another version."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        version = found["version"].item() if "version" in found else None
        if version != VERSION:
            raise RecordingError(
                f"{path}: wanted rollouts of version {VERSION}, found {version}: collect them again"
            )
        about = msgspec.json.decode(found["about"].tobytes(), type=list[About])
        rows = np.ascontiguousarray(found["rows"].T).reshape(-1).view(found["dtype"].dtype)
        made = Decisions(**{name: found[name] for name in _NO_DECISIONS})
        if sum(a.ticks for a in about) != len(rows) or sum(a.decisions for a in about) != len(made):
            raise ValueError("the number of rows is not what it says")
    except UNREADABLE as e:
        raise RecordingError(
            f"{path}: wanted a file of rollouts, found none that can be read ({e}): collect them "
            "again"
        ) from None
    rollouts, tick, decision = [], 0, 0
    for a in about:
        until = decision + a.decisions
        part = {name: getattr(made, name)[decision:until] for name in _NO_DECISIONS}
        rollouts.append(
            Rollout(
                a.workflow, a.seed, a.result, a.events, rows[tick : tick + a.ticks],
                Decisions(**part), a.facts,
            )
        )  # fmt: skip
        tick, decision = tick + a.ticks, until
    return rollouts
