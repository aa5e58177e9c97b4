"""Labelled episodes from anybody's logs, by a mapping file as of `headway score`.

    examples = load([Path("runs")], Path("robot.toml"))

Labels come from what the mapping says of the files, and from nothing else:
- risk is 1 from `[events] before_s` before to `AFTER_S` after a failure, 0 at more than `CLEAR_S`
  before that and from `CALM_S` after one, and unknown in between. Of an episode with a bad outcome
  and without a failure in its events nothing is known but that it failed at its end.
- instability is 1 within `RETRY_S` before a retry.
- completion is the outcome, time-to-go the time until the end of a success.
- Steps from `[events] end_after_s` on are left out.
What the mapping does not tell is NaN: nothing is learned from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway import kernels
from headway.errors import ConfigError, HeadwayError, RecordingError, of_file
from headway.kernels import spec
from headway.kernels.telemetry import Scale
from headway.learn.files import distinct
from headway.learn.pro.examples import Example, Moment
from headway.tools.score import labelfile
from headway.tools.score.carried import carried, rate_bits
from headway.tools.score.files import episodes_of, open_source, walk
from headway.tools.score.identity import sha256_of
from headway.tools.score.mapping import Mapping, load_mapping
from headway.tools.score.meaning import BEFORE_S
from headway.tools.score.telemetry import Rows, Telemetry, telemetry_of

AFTER_S = 0.5  # so long after a failure its risk is still to be told
# What comes earlier before a failure than this, and than `before_s` by half of it, is fault-free.
CLEAR_S = 1.0
CALM_S = 2.0  # and so is what comes later after one, where the episode goes on
RETRY_S = 2.0  # how long before a retry the episode counts as unstable
FASTEST_HEAD_HZ = 50.0  # steps a second: more would only repeat what the windows hold
FASTEST_TICK_HZ = 500.0
MOST_NOTES = 12  # of the files, each text once

Progress = Callable[[float], object]  # is called with the share of the work that is done, 0..1


@dataclass(frozen=True)
class Log:
    """One episode of a file, whose features can be computed as often as needed, as from telemetry
    that was changed. `every` ticks make one step of the head."""

    name: str
    sha256: str
    telemetry: Telemetry
    every: int
    robot: str
    task: str
    tells: Tells
    before_s: float  # how long before a failure [s] its risk is to be told

    @property
    def scale(self) -> Scale:
        return self.telemetry.scale

    @property
    def hz(self) -> float:
        """Steps of the head a second."""
        return self.telemetry.hz / self.every

    def rows(self) -> Rows:
        """The ticks (n,) up to where the episode is learned and judged."""
        rows = np.concatenate(list(self.telemetry.blocks()))  # not kept: there may be many logs
        end = self.telemetry.end_s
        return rows if end is None else rows[: max(1, int(end * self.telemetry.hz) + 1)]

    def example(self, rows: Rows | None = None) -> Example:
        """The labelled steps; `rows` (n,) replace the ticks that the features are computed from."""
        rows = self.rows() if rows is None else rows
        data = self.telemetry
        features, mask, at = kernels.at_steps(rows, data.scale, data.hz, self.every)
        features[:, ~carried(data.rates, data.hz, data.own_hz)] = 0.0
        mask[:, spec.N_GROUPS :] = rate_bits(data.hz, data.own_hz)
        t = at / data.hz
        norm = np.linalg.norm(rows["wrench"][at, :3], axis=1)
        force = np.where(np.isfinite(norm), norm, rows["force_norm"][at])
        end = (data.n - 1) / data.hz
        good = data.success
        unknown = np.full(len(t), np.nan)
        return Example(
            name=self.name,
            session=data.session,
            hz=self.hz,
            t=t,
            features=features,
            mask=mask,
            success=good,
            failures=tuple(Moment(*f) for f in self._failures(end)),
            retries=tuple(Moment(*r) for r in data.retries),
            time_to_go=(end - t if good else unknown).astype(np.float32),
            completion=(unknown if good is None else np.full(len(t), float(good))).astype(
                np.float32
            ),
            risk=self._risk(t, end).astype(np.float32),
            unstable=self._unstable(t).astype(np.float32),
            force=force.astype(np.float32),
            sha256=self.sha256,
            robot=self.robot,
            task=self.task,
        )

    def _failures(self, end: float) -> tuple[tuple[float, str], ...]:
        if self.telemetry.success is False and not self.telemetry.failures:
            return ((end, "failure"),)
        return self.telemetry.failures

    def _risk(self, t: NDArray[np.float64], end: float) -> NDArray[np.float64]:
        failures = self._failures(end)
        if not failures and not self.tells.failures and self.telemetry.success is None:
            return np.full(len(t), np.nan)
        clear = max(CLEAR_S, self.before_s + 0.5 * CLEAR_S)
        when_known = bool(self.telemetry.failures) or self.telemetry.success is not False
        risk = np.full(len(t), 0.0 if when_known else np.nan)
        for f, _ in failures:
            risk[(t >= f - clear) & (t < f + CALM_S)] = np.nan
        for f, _ in failures:
            risk[(t >= f - self.before_s) & (t <= f + AFTER_S)] = 1.0
        return risk

    def _unstable(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.tells.retries:
            return np.full(len(t), np.nan)
        out = np.zeros(len(t))
        for r, _ in self.telemetry.retries:
            out[(t >= r - RETRY_S) & (t <= r)] = 1.0
        return out


@dataclass(frozen=True)
class Tells:
    """What the mapping says the files tell: an episode without failures is then one in which none
    happened.

    `counted`: failures are events of the files themselves, and the telemetry has `retries` or
    `recovery`, so that whoever wrote the event may have counted it in the same tick. A table of
    labels is no such event, and neither is an outcome."""

    failures: bool
    retries: bool
    outcomes: bool
    counted: bool


def tells(mapping: Mapping) -> Tells:
    """What files with this `mapping` tell of how an episode went."""
    events = mapping.events
    rows = list(labelfile.read(Path(mapping.labels.file)).rows.values()) if mapping.labels else []
    return Tells(
        failures=bool(events and events.failures) or any(r.failures for r in rows),
        retries=bool(events and events.retries) or any(r.retries for r in rows),
        outcomes=mapping.outcome is not None
        or any(r.success is not None or r.outcome is not None for r in rows),
        counted=bool(events and events.failures)
        and not {"retries", "recovery"}.isdisjoint(mapping.channels),
    )


def load(
    paths: Sequence[Path],
    mapping_path: Path,
    hz: float | None = None,
    progress: Progress | None = None,
) -> list[Example]:
    """The labelled episodes in the files and folders `paths`, by the mapping file at
    `mapping_path`, in steps of `hz` [Hz] (None: see `logs`). `progress` is called with the share
    that is done. Files that cannot be read are left out; `logs` says which. Raises ConfigError,
    RecordingError: see `logs`."""
    return logs(paths, load_mapping(mapping_path), hz).examples(progress)


@dataclass(frozen=True)
class Logs:
    """The episodes, why files were left out (`wrong`), and what else is to be said of them all
    (`notes`): their rates, how far interpolated channels look ahead, what was assumed or mended."""

    logs: list[Log]
    wrong: list[str]
    notes: list[str]

    def examples(self, progress: Progress | None = None) -> list[Example]:
        """The labelled steps of all episodes; `progress` is called with the share that is done."""
        out = []
        for i, log in enumerate(self.logs):
            out.append(log.example())
            if progress is not None:
                progress((i + 1) / len(self.logs))
        return out


def logs(paths: Sequence[Path], mapping: Mapping, hz: float | None = None) -> Logs:
    """The episodes in the files and folders `paths`, in steps of `hz` [Hz].

    Without `hz` the steps are as many a second as the slowest file has samples, at most
    `FASTEST_HEAD_HZ`. Ticks are at each file's own rate, rounded to a multiple of that, or as the
    mapping's `time.rate_hz` says. Files that cannot be read are left out and named in `wrong`.
    Raises ConfigError where nothing is left, and where the mapping tells nothing to learn."""
    telling = tells(mapping)
    if not (telling.failures or telling.retries or telling.outcomes):
        raise ConfigError(
            "wanted a mapping that says how episodes went, found no [outcome], no [events] with "
            "`failures` or `retries`, and no [labels]: say which words mean what, see docs/score.md"
        )
    files, wrong = walk(paths)
    opened: list[tuple[Path, Telemetry]] = []
    for path in files:
        opened += [(path, data) for data in _opened(path, mapping, wrong)]
    if not opened:
        raise ConfigError("wanted episodes, found none that can be read: " + "; ".join(wrong[:3]))
    own, asked = [data.own_hz for _, data in opened], mapping.time.rate_hz
    head_hz = hz if hz is not None else _head_rate(min(own), asked)
    found = []
    for path, data in opened:
        every = max(1, round((asked or min(data.own_hz, FASTEST_TICK_HZ)) / head_hz))
        if asked is None and abs(data.hz - head_hz * every) > 1e-9:
            time = msgspec.structs.replace(mapping.time, rate_hz=head_hz * every)
            at_rate = msgspec.structs.replace(mapping, time=time)
            data = telemetry_of(*open_source(path, at_rate, data.episode or None), head_hz)
        if abs(data.hz / every / head_hz - 1) > 0.01:
            raise ConfigError(
                f"wanted ticks that are a multiple of the head's {head_hz:g} Hz, found "
                f"`time.rate_hz = {data.hz:g}` in the mapping: change it or --hz, or leave it out"
            )
        found.append(_log(path, data, every, mapping, telling))
    found = _with_names(found)
    notes = [*_say_rates(own, head_hz), *_of_files(found)]
    if mapping.labels is not None:
        episodes = [labelfile.Episode(path, data.episode) for path, data in opened]
        notes += labelfile.read(Path(mapping.labels.file)).check(episodes)
    return Logs(found, wrong, notes)


def _head_rate(slowest: float, asked: float | None) -> float:
    """The steps a second of a head for files whose slowest has samples at `slowest` [Hz], where the
    mapping has asked for ticks at `asked` [Hz] or nothing. Raises ConfigError."""
    most = min(FASTEST_HEAD_HZ, slowest)
    hz = most if asked is None else asked / max(1, round(asked / most))
    if hz < spec.LOWEST_HZ:
        raise ConfigError(
            f"wanted steps of at least {spec.LOWEST_HZ:g} Hz, found {hz:g} Hz: leave out the "
            "slowest files"
        )
    return hz


def _log(path: Path, data: Telemetry, every: int, mapping: Mapping, telling: Tells) -> Log:
    return Log(
        name=f"{path.stem}:{data.episode}" if data.episode else path.stem,
        sha256=sha256_of(path, data.episode),
        telemetry=data,
        every=every,
        robot=mapping.robot,
        task=mapping.task,
        tells=telling,
        before_s=mapping.events.before_s if mapping.events is not None else BEFORE_S,
    )


def _with_names(found: list[Log]) -> list[Log]:
    """The logs under names that differ."""
    names = distinct([log.name for log in found])
    return [replace(log, name=name) for log, name in zip(found, names, strict=True)]


def _opened(path: Path, mapping: Mapping, wrong: list[str]) -> list[Telemetry]:
    """The episodes of a file; why one cannot be read is added to `wrong`."""
    out: list[Telemetry] = []
    names: Sequence[str | None] = [None]
    try:
        names = episodes_of(path)
    except HeadwayError as e:
        wrong.append(of_file(path, e))
        return out
    for name in names:
        try:
            out.append(telemetry_of(*open_source(path, mapping, name)))
        except HeadwayError as e:  # noqa: PERF203 - the other episodes are read all the same
            wrong.append(of_file(path, e))
    return out


def _say_rates(own: Sequence[float], head_hz: float) -> list[str]:
    low, high = min(own), max(own)
    if high <= 1.1 * low:
        return [f"samples at {low:g} Hz, steps of the head at {head_hz:g} Hz"]
    return [
        f"samples at {low:.3g} to {high:.3g} Hz, steps of the head at {head_hz:g} Hz: a head may "
        "tell files by their rate, so look at the card's control for sessions"
    ]


def _of_files(found: Sequence[Log]) -> list[str]:
    """How far the channels look ahead in the worst of the files, then the notes of the files, each
    text once, those of most files first."""
    ahead: dict[str, float] = {}
    files: dict[str, list[str]] = {}
    for log in found:
        for field, ms in log.telemetry.ahead_ms.items():
            ahead[field] = max(ms, ahead.get(field, 0.0))
        for text in dict.fromkeys(log.telemetry.notes):
            files.setdefault(text, []).append(log.name)
    notes = []
    if ahead:
        which = ", ".join(f"{field} by up to {ms:.3g} ms" for field, ms in ahead.items())
        notes.append(
            "interpolated between samples, so that values look ahead, which a run cannot: "
            f"{which}; `time.interpolate = false` in the mapping holds the newest sample instead"
        )
    by_number = sorted(files.items(), key=lambda kept: -len(kept[1]))  # stable: then as they came
    for text, names in by_number[:MOST_NOTES]:
        where = "" if len(names) == len(found) else f"{names[0]}: "
        if 1 < len(names) < len(found):
            where = f"{len(names)} of {len(found)} episodes, first {names[0]}: "
        notes.append(where + text)
    if (more := len(by_number) - MOST_NOTES) > 0:
        notes.append(f"{more} more notes on single files: `headway score FILE --map` prints them")
    return notes


def known_groups(examples: Sequence[Example]) -> tuple[str, ...]:
    """The mask bits of groups of telemetry, without those of rates, that are known in at least half
    of the steps of each of `examples`."""
    often: NDArray[Any] = np.all([e.mask.mean(axis=0) >= 0.5 for e in examples], axis=0)
    return tuple(m for m in spec.MASK_FIELDS if often[spec.MASKS.index(m)])


def require_classes(examples: Sequence[Example]) -> dict[str, tuple[int, int]]:
    """By target, how many episodes have a step of each class (0, 1). Raises RecordingError where
    no target has both in two episodes each: a head could learn nothing."""
    counts = {}
    for name in ("risk", "completion", "unstable"):
        values = [getattr(e, name) for e in examples]
        counts[name] = tuple(sum(bool((v == k).any()) for v in values) for k in (0, 1))
    if all(min(c) < 2 for c in counts.values()):
        said = ", ".join(
            f"{name} {no} without and {yes} with" for name, (no, yes) in counts.items()
        )
        raise RecordingError(
            f"wanted at least two episodes of each class for one target, found of {len(examples)} "
            f"episodes: {said}: give more recordings, or say in the mapping which events are "
            "failures and which outcomes are successes"
        )
    return counts  # type: ignore[return-value]
