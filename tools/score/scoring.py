"""The features and signals of one file, computed block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headway.edge.pro import made_from
from headway.edge.pro.made_from import Given
from headway.edge.pro.operator import SIGNALS
from headway.kernels import spec
from headway.tools.score.carried import rate_bits, said
from headway.tools.score.files import open_source
from headway.tools.score.mapping import Mapping
from headway.tools.score.samples import Store
from headway.tools.score.steps import Head, Steps, fields_of, first_step, given
from headway.tools.score.steps import every as steps_every
from headway.tools.score.telemetry import TICK_HZ, Rows, Telemetry, telemetry_of
from headway.tools.score.unmask import unmask
from headway.types import Vec

FEATURE_HZ = 50.0  # how often features are computed where there is no head, and ticks allow it
# To see whether the file's rate is enough, the head is asked a second time with every second sample
# left out. Signals that then change by more than this depend on the rate.
RATE_TOLERANCE = 0.05
RATE_CHECK_S = 300.0  # how much of the file is used for that, from its start
JUDGED = ("progress", "stability", "completion", "risk")  # the signals that are compared

Progress = Callable[[float], object]  # is called with the share of the work that is done, 0..1


@dataclass
class Summary:
    """What the command's table shows of a file, counted from the tick at which all regularly
    sampled channels have come: before, features say that something is missing, and not how it goes.
    """

    force: float | None = None  # the largest |F| [N] that was measured at all, None for none
    onsets: int = 0  # how often a contact began
    last: dict[str, float] = field(default_factory=dict)  # contact and signals at the end
    risk: float = 0.0  # the largest
    stability: float = 1.0  # the least
    present: NDArray[np.float64] = field(default_factory=lambda: np.zeros(spec.N_MASKS))
    steps: int = 0  # how many were summed up in `present`, which counts where a group is known

    def add(
        self,
        data: Telemetry,
        done: int,
        every: int,
        rows: Rows,
        features: NDArray[np.float32],
        signals: Vec | None,
    ) -> None:
        """Take in the block `rows` (m,) of `data` that begins at tick `done`, with the features and
        masks (n, 209 + 29) and the signals (n, 6) of its steps, one every `every` ticks."""
        ready = max(0, first_step(data.ready, every) - first_step(done, every))
        mask = features[ready:, spec.N_FEATURES :]
        self.present += mask.sum(axis=0)
        self.steps += len(mask)
        vector, most = rows["wrench"][:, :3], spec.CONSTANTS["in_max"]
        # The features mask values beyond this bound, so they do not count as forces either.
        whole = (np.abs(vector) <= most).all(axis=1)
        force = np.where(whole, np.linalg.norm(vector, axis=1), rows["force_norm"])
        known = whole | (np.abs(force) <= most)
        if known.any():
            self.force = max(self.force or 0.0, float(force[known].max()))
        contact = features[:, spec.INDEX["contact"]]
        if len(contact):
            rises = np.diff(contact, prepend=self.last.get("contact", 0.0))[ready:] > 0
            self.onsets += int(np.count_nonzero(rises))
            self.last["contact"] = float(contact[-1])
        if signals is not None and len(signals[ready:]):
            part = dict(zip(SIGNALS, signals[ready:].T, strict=True))
            self.risk = max(self.risk, float(part["risk"].max()))
            self.stability = min(self.stability, float(part["stability"].min()))
            self.last |= {k: float(part[k][-1]) for k in ("progress", "completion")}


@dataclass(frozen=True)
class Scored:
    """What PRO says about one file, in n steps."""

    path: Path
    telemetry: Telemetry
    every: int  # step k belongs to tick `k * every` of the telemetry
    store: Store  # features and masks (n, 209 + 29), float32
    signal_store: Store | None  # (n, 6), in the order of `SIGNALS`; None without a head
    carried: NDArray[np.bool_]  # (209,) which features the file's rates can carry, others are 0
    summary: Summary
    masked: dict[str, str]  # the mask bits that are never 1, and what would unmask each
    notes: list[str]
    given: Given  # whose telemetry it is, with the mask bits that came
    learned: tuple[str, ...]  # the signals that the head learned; () without one
    lacking: tuple[str, ...] = ()  # the mask bits that the head was trained with and never came
    odd: int = 0  # how many things in the file were left out because they could not be read

    def __len__(self) -> int:
        return len(self.store)

    @property
    def step(self) -> NDArray[np.int64]:
        return np.arange(len(self)) * self.every

    @property
    def t(self) -> Vec:
        """The times of the steps (n,) [s] after the file's first stamp."""
        return self.times(0, len(self))

    def times(self, lo: int, hi: int) -> Vec:
        """The times of the steps lo..hi-1, (hi - lo,) [s] after the file's first stamp."""
        ns = np.rint(np.arange(lo, hi) * self.every * (1e9 / self.telemetry.hz))
        return np.asarray(ns / 1e9)

    @property
    def features(self) -> NDArray[np.float32]:
        return self.store.read(0, len(self))[:, : spec.N_FEATURES]

    @property
    def mask(self) -> NDArray[np.float32]:
        return self.store.read(0, len(self))[:, spec.N_FEATURES :]

    @property
    def signals(self) -> dict[str, Vec]:
        if self.signal_store is None:
            return {}
        x = self.signal_store.read(0, len(self))
        return {name: x[:, i] for i, name in enumerate(SIGNALS)}

    def feature(self, name: str) -> NDArray[np.float32]:
        return self.features[:, spec.INDEX[name]]


def score_file(
    path: Path,
    mapping: Mapping | None,
    head: Head | None,
    progress: Progress = lambda _: None,
    episode: str | None = None,
) -> Scored:
    """Score one file, or the `episode` of one that holds several; without a mapping its channels
    bear the names of telemetry fields, without a head there are features only. Raises
    RecordingError, ConfigError, SpecMismatch."""
    source, mapping = open_source(path, mapping, episode)
    if head is None:
        data = telemetry_of(source, mapping)
    else:
        data = telemetry_of(source, mapping, head.hz, head.info.tick_hz)
    notes = list(data.notes)
    every = steps_every(data.hz, FEATURE_HZ if head is None else head.hz)
    if head is not None and abs(data.hz / every / head.hz - 1) > 1e-6:
        notes.append(_steps_note(data.hz, every, head.hz))
    whose = given(data, mapping.robot, mapping.task, str(path))
    steps, done = Steps(head, data, every, whose), 0
    notes += said(data.rates, data.hz)
    store = Store(spec.N_FEATURES + spec.N_MASKS, np.float32)
    signals = Store(len(SIGNALS)) if head is not None else None
    summary = Summary()
    rate_matters = head is not None and head.info.tick_hz is None and data.own_hz < 0.9 * TICK_HZ
    share = 0.67 if rate_matters else 1.0
    for rows in data.blocks():
        features, said_now = steps.of(rows)
        summary.add(data, done, every, rows, features, said_now)
        store.append(features)
        if signals is not None and said_now is not None:
            signals.append(said_now)
        done += len(rows)
        progress(share * done / data.n)
    if head is None or signals is None:
        notes.append("no PRO head given: features only")
    else:
        made = head.bundle.manifest
        whence = f"signals of head {made.name}, trained on {made.provenance.data}"
        if not head.info.robot:
            whence += ", are for inspection: not calibrated for another robot, rate or task"
        if head.ahead:
            whence += f"; {head.ahead}"
        notes.append(whence)
        if lost := [s for s in SIGNALS if s not in head.learned]:
            notes.append(f"head {made.name} was not taught {', '.join(lost)}: left out")
        if head.info.about == "line":
            notes.append(
                f"head {made.name} tells of the line of an order that is due, and no channel says "
                "when the next one is: there progress, completion and time_to_go begin anew, and "
                "the reward falls, which is no loss"
            )
        if (f"{path.stem}:{data.episode}" if data.episode else path.stem) in head.trained_on:
            notes.append(
                f"an episode of this name was in the training of head {made.name}: if it is this "
                "one, signals and verdict flatter the head; `headway pro card` judges each episode "
                "by a head that did not see it"
            )
        if rate_matters:
            notes.append(_rate_note(head, data, every, signals))
    part = summary.present / max(summary.steps, 1)
    came = tuple(m for m, s in zip(spec.MASKS, part, strict=True) if s > 0)
    whose = replace(whose, gives=came)
    lacking = () if head is None else tuple(made_from.lacking_of(head.info, whose))
    if head is not None and lacking:
        notes.append(
            f"check {', '.join(lacking)}: masked in this file, known where head "
            f"{head.bundle.manifest.name} was trained: its signals may say nothing here"
        )
    masked = {
        m: unmask(m, fields_of(data), mapping.channels, data.own_hz, data.hz)
        for m in spec.MASKS
        if m not in came
    }
    some = [f"{m} {1 - s:.0%}" for m, s in zip(spec.MASKS, part, strict=True) if 0 < s < 0.995]
    if some:
        notes.append(f"masked part of the time: {', '.join(some)}")
    return Scored(
        path, data, every, store, signals, steps.kept, summary, masked, notes, whose,
        () if head is None else head.learned, lacking, source.odd,
    )  # fmt: skip


def _steps_note(hz: float, every: int, head_hz: float) -> str:
    """A note on steps of the head at another rate [Hz] than that it was trained at."""
    if hz < head_hz:
        return (
            f"head steps: at every tick = {hz:g} Hz, as `time.rate_hz` says, while the head was "
            f"trained at {head_hz:g} Hz: to it everything happens {head_hz / hz:.3g} times as "
            "fast; give stamps by `time.key` instead of a rate, or train a head at this rate"
        )
    return (
        f"head steps: every {every} ticks = {hz / every:.4g} Hz, the nearest to {head_hz:g} Hz "
        f"that {hz:g} Hz allows"
    )


def _rate_note(head: Head, data: Telemetry, every: int, signals: Store) -> str:
    """A note on how the signals (n, 6) of a head that does not say at which rates it was taught
    depend on this file's. It is asked again as if the file had half the samples, with all that is
    then masked: where the signals stay the same, the file's rate is enough for them."""
    fewer, done = data.thinned(2), 0
    if rate_bits(data.hz, fewer.own_hz) == rate_bits(data.hz, data.own_hz):
        return (
            f"rate: signals cannot be told from this file's rate: at {data.own_hz:g} Hz all "
            "features are masked that want more, and what they would change is not known"
        )
    steps = Steps(head, fewer, every)
    ticks = min(data.n, round(RATE_CHECK_S * data.hz))
    judged = [SIGNALS.index(name) for name in JUDGED]
    worst = np.zeros(len(JUDGED))
    for rows in replace(fewer, n=ticks).blocks():
        _, half = steps.of(rows)
        assert half is not None
        whole = signals.read(done, done + len(half))
        ready = max(0, first_step(data.ready, every) - done)
        done += len(half)
        worst = np.maximum(worst, np.abs(half - whole)[ready:, judged].max(axis=0, initial=0.0))
    name, most = JUDGED[int(worst.argmax())], float(worst.max())
    over = "" if ticks == data.n else f" in the first {RATE_CHECK_S:g} s"
    if most <= RATE_TOLERANCE:
        return (
            f"rate: without every second sample no signal changes by more than "
            f"{most:.3f}{over}, so the file's rate is enough for them"
        )
    return (
        f"rate: signals cannot be told from this file's rate: without every second sample {name} "
        f"changes by up to {most:.3f}{over} (more than {RATE_TOLERANCE:g}), so more samples "
        "would change them as well: record faster"
    )
