"""`headway replay`: compute PRO again from a recording's /telemetry, and compare it with its /pro.

Features must equal the recorded ones bit for bit if the same implementation computes them, else
within the tolerance of the spec. The head then runs on the *recorded* features, so that its signals
must be equal bit for bit in both cases.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headway.clock import NS
from headway.edge.control.events import EventKind
from headway.edge.pro.operator import SIGNALS, pro_dtype
from headway.errors import Missing, RecordingError, SpecMismatch
from headway.kernels import FeatureStream, feature_stream, resolve, spec
from headway.kernels.telemetry import Scale, dtype
from headway.mcapdiff import first_difference
from headway.mcaplog import Recording, open_recording
from headway.tools.dataset.restore import INFO_SHA256
from headway.tools.recorded import check_rows, events_of
from headway.tools.replay.head import open_head, signals_of

RELATIVE, ABSOLUTE = 1e-4, 1e-5  # per feature, between two implementations
WITHIN = f"features within {RELATIVE:g} relative or {ABSOLUTE:g} absolute, the rest bit for bit"


@dataclass(frozen=True)
class Difference:
    """How column `name` of /pro differs: in `count` head steps, by at most `largest` (`detail` says
    where), first at tick number `tick`, `t_s` [s] after the first head step."""

    name: str
    count: int
    largest: float
    tick: int
    t_s: float
    detail: str = ""


@dataclass(frozen=True)
class ReplayReport:
    """The result of `replay`: `steps` head steps were compared in the columns `checked`. `equal`:
    none differs by more than `tolerance` ("bit for bit", or what the spec allows). `whole`: no part
    of the recording is damaged or missing."""

    recording: Path
    ticks: int
    steps: int
    recorded_with: str
    computed_with: str
    tolerance: str
    checked: tuple[str, ...]
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    damaged: int = 0  # chunks that could not be read; only the part before them was compared
    truncated: bool = False  # its end is missing, or the summary there is damaged

    @property
    def equal(self) -> bool:
        return not self.differences and self.steps > 0

    @property
    def whole(self) -> bool:
        return not self.damaged and not self.truncated

    @property
    def exit_code(self) -> int:
        """0 when PRO is equal and the recording is whole, else 1."""
        return 0 if self.equal and self.whole else 1


def replay(recording: Path, pro: Path | None) -> ReplayReport:
    """Compute PRO again and compare it with `recording`. `pro` is the bundle of the head; without
    one, only features and mask are compared.

    If a part of the recording is damaged, only the part before it is compared, because features and
    signals depend on everything before them. Raises RecordingError for a recording without PRO or
    without the data that this needs, SpecMismatch for another definition of the features or another
    head than the recorded one, and BundleError for no good bundle.
    """
    log = open_recording(recording)
    meta = log.metadata
    notes = [log.note] if log.truncated else []
    if INFO_SHA256 in meta:
        raise RecordingError(
            f"{recording}: wanted the features of PRO, found a recording that `headway dataset "
            "import` made: a data set keeps its signals alone, so there is nothing to compute "
            "again; replay the recording that the data set was exported from"
        )
    check_rows(log)
    if "/pro" not in log.topics:
        raise RecordingError(
            f"{recording}: wanted /pro, found a recording without PRO, so there is nothing to "
            "compute again: record with a [pro] section in the configuration, or compare this "
            "recording with another one by --against OTHER.mcap"
        )
    _same_spec(log)
    scale = Scale.from_json(meta.get("scale"), str(recording))
    hz, head_hz = _number(log, "hz"), _number(log, "pro_hz")
    if head_hz > hz or abs(hz / head_hz - round(hz / head_hz)) > 1e-9:
        raise RecordingError(_lacks(log, "pro_hz", f"a divisor of `hz` = {hz:g}"))
    rows, want = log.rows("/telemetry"), log.rows("/pro")
    if rows.dtype != dtype(len(scale.q_min)):
        raise SpecMismatch(
            f"{recording}: wanted /telemetry of {len(scale.q_min)} joints as this version has it, "
            f"found {_unlike(rows.dtype, dtype(len(scale.q_min)))}: replay it with headway "
            f"{meta.get('headway', 'unknown')}, which recorded it"
        )
    if len(rows) and not np.isfinite(rows["elapsed"][0]):
        raise RecordingError(
            f"{recording}: wanted the time since the episode's begin as `elapsed` in the first row "
            f"of /telemetry, found {rows['elapsed'][0]}: record with `headway run`"
        )
    if log.damage:
        rows, want, said = _before_damage(log, rows, want)
        notes += [*(d.text for d in log.damage), said]
    said = log.end.get("dropped", "0")
    dropped = int(said) if said.isdecimal() else 0
    if dropped:
        notes.append(
            f"{dropped} messages were dropped while recording: after a lost tick of telemetry the "
            "features cannot be the same"
        )
    recorded_with = meta.get("features", "unknown")
    impl, same, why = _implementation(recorded_with)
    if why:
        notes.append(why)
    stream = feature_stream(impl, scale, len(scale.q_min), hz)  # type: ignore[arg-type]
    have = _features(stream, rows, _ticks(rows["t_ns"], rows, hz), round(hz / head_hz))
    both, at_have, at_want = np.intersect1d(have["t_ns"], want["t_ns"], return_indices=True)
    tick = _ticks(want["t_ns"], rows, hz)
    for what, n in (("computed", len(have)), ("recorded", len(want))):
        if n > len(both):
            notes.append(f"{n - len(both)} head steps are only {what}: {len(both)} are in both")
    checked: tuple[str, ...] = ("features", "mask")
    differences: list[Difference | None] = [
        _difference(n, have[n][at_have], want[at_want], tick[at_want], same or n == "mask")
        for n in checked
    ]
    odd = np.setxor1d(have["t_ns"], want["t_ns"])
    if len(odd) and not dropped and not log.truncated:
        at = int(_ticks(odd[:1], rows, hz)[0])
        differences.append(
            Difference("steps", len(odd), np.inf, at, at / hz, "in one of them only")
        )
    if pro is None:
        notes.append("no PRO head given: signals were not computed")
    elif len(want):
        n = len(want)
        lost = np.setdiff1d(have["t_ns"], want["t_ns"])
        if len(lost) and lost[0] < want["t_ns"][-1]:
            n = int(np.searchsorted(want["t_ns"], lost[0]))
            notes.append(
                f"/pro lacks the step at {(lost[0] - rows['t_ns'][0]) / NS:.3f} s, without which "
                f"the head's state is not known: signals compared on the {n} steps before it"
            )
        head = open_head(recording, meta, pro, notes)
        begun = [e.t_ns for e in events_of(log) if e.kind is EventKind.LINE_BEGUN]
        signals = signals_of(head, want[:n], np.array(begun, np.int64), scale, hz, head_hz)
        checked += SIGNALS
        differences += [_difference(s, signals[s], want[:n], tick[:n], True) for s in SIGNALS]
    return ReplayReport(
        recording=recording,
        ticks=len(rows),
        steps=len(both),
        recorded_with=recorded_with,
        computed_with=stream.impl,
        tolerance="bit for bit" if same else WITHIN,
        checked=checked,
        differences=[d for d in differences if d is not None],
        notes=notes,
        damaged=len(log.damage),
        truncated=log.truncated,
    )


def _before_damage(
    log: Recording, rows: NDArray[np.void], want: NDArray[np.void]
) -> tuple[NDArray[np.void], NDArray[np.void], str]:
    """The rows of /telemetry and of /pro before the first missing one, and a note about that."""
    upto = [
        int(np.append(np.flatnonzero(seq != np.arange(len(seq))), len(seq))[0])
        for seq in (log.sequence("/telemetry"), log.sequence("/pro"))
    ]
    before, steps = rows[: upto[0]], want[: upto[1]]
    steps = steps[steps["t_ns"] <= (before["t_ns"][-1] if len(before) else -1)]
    # The damage may begin between a tick and its head step: leave out ticks after the last step.
    before = before[before["t_ns"] <= (steps["t_ns"][-1] if len(steps) else -1)]
    return before, steps, (
        f"compared {len(before)} ticks and {len(steps)} head steps, those before the first damage; "
        f"{len(rows) - len(before)} ticks and {len(want) - len(steps)} steps behind it were not"
    )  # fmt: skip


def _number(log: Recording, key: str) -> float:
    try:
        value = float(log.metadata[key])
        if 0 < value < np.inf:
            return value
    except (KeyError, ValueError):
        pass
    raise RecordingError(_lacks(log, key, "a rate [Hz]"))


def _lacks(log: Recording, key: str, what: str) -> str:
    found = log.metadata.get(key)
    return (
        f"{log.path}: replay wants `{key}` ({what}) in the recording's metadata, found "
        f"{'none' if found is None else repr(found)[:60]}; it has "
        f"{', '.join(log.metadata) or 'nothing'}: record with `headway run`"
    )


def _unlike(found: np.dtype[np.void], want: np.dtype[np.void]) -> str:
    """The columns that differ, in words."""
    names = dict.fromkeys((*(found.names or ()), *(want.names or ())))
    said = []
    for name in names:
        have, wanted = (d[name] if name in (d.names or ()) else None for d in (found, want))
        if have != wanted:
            said.append(f"`{name}` as {have or 'nothing'} for {wanted or 'nothing'}")
    return ", ".join(said) or "the same columns in another order"


def _same_spec(log: Recording) -> None:
    found = log.dtype("/pro")
    if found != pro_dtype():
        sizes = {n: found[n].shape for n in found.names or ()}
        raise SpecMismatch(
            f"{log.path}: wanted /pro of PRO spec {spec.spec_hash()[:12]} with "
            f"{spec.N_FEATURES} features and {spec.N_MASKS} mask bits, found {sizes}: replay it "
            f"with headway {log.metadata.get('headway', 'unknown')}, which recorded it"
        )


def _implementation(recorded: str) -> tuple[str, bool, str]:
    """The implementation to compute features with here, whether it is the one that recorded them,
    and a note if it is not."""
    if recorded not in ("cpp", "numpy"):
        impl = resolve("auto")
        return impl, False, f"the recording does not say what computed its features: used {impl}"
    try:
        return resolve(recorded), True, ""  # type: ignore[arg-type]
    except Missing as e:
        why = f"recorded with {recorded} features, which are not here ({e}): used numpy"
        return "numpy", False, why


def _ticks(t_ns: NDArray[np.int64], rows: NDArray[np.void], hz: float) -> NDArray[np.int64]:
    """Numbers (n,) of the ticks at the times `t_ns` (n,) [ns], counted on the grid of deadlines.
    They are not row numbers: after a deadline miss the loop skips ticks, and the head's steps stay
    on the grid."""
    if not len(rows):
        return np.zeros(len(t_ns), np.int64)
    start = int(rows["t_ns"][0]) - round(float(rows["elapsed"][0]) * NS)
    period = round(NS / hz)
    return np.asarray((t_ns - start + period // 2) // period, np.int64)


def _features(
    stream: FeatureStream, rows: NDArray[np.void], index: NDArray[np.int64], every: int
) -> NDArray[np.void]:
    """Rows of /pro without signals, for the ticks on which the head runs: every `every`-th of the
    tick numbers `index`."""
    due = index % every == 0
    out = np.zeros(int(due.sum()), pro_dtype())
    n = 0
    for row, now in zip(rows, due.tolist(), strict=True):
        stream.push(row)
        if now:
            stream.features(out["features"][n], out["mask"][n])
            out["t_ns"][n] = row["t_ns"]
            n += 1
    return out


def _difference(
    name: str, have: NDArray[Any], want: NDArray[np.void], tick: NDArray[np.int64], exact: bool
) -> Difference | None:
    if not len(want):
        return None
    a, b = have.reshape(len(have), -1), want[name].reshape(len(want), -1)
    if exact:
        bits = f"u{a.dtype.itemsize}"
        off = np.ascontiguousarray(a).view(bits) != np.ascontiguousarray(b).view(bits)
    else:
        with np.errstate(invalid="ignore"):
            off = ~(np.abs(a - b) <= np.maximum(ABSOLUTE, RELATIVE * np.abs(b)))
    if not off.any():
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.where(off, np.abs(a.astype(np.float64) - b.astype(np.float64)), 0.0)
    size = np.where(np.isnan(size), np.inf, size)
    at, column = np.unravel_index(int(size.argmax()), size.shape)
    first = int(off.any(axis=1).argmax())
    names = {"features": spec.NAMES, "mask": spec.MASKS}.get(name)
    detail = f"{names[int(column)]}: " if names else ""
    detail += f"{a[at, column]:.9g} computed, {b[at, column]:.9g} recorded"
    t = (int(want["t_ns"][first]) - int(want["t_ns"][0])) / NS
    count = int(off.any(axis=1).sum())
    return Difference(name, count, float(size.max()), int(tick[first]), t, detail)


def render(report: ReplayReport, console: Any) -> None:
    """Print the verdict, the differences and the notes of `report`."""
    r = report
    for note in r.notes:
        console.print(f"[yellow]note[/yellow] {escape(note)}", soft_wrap=True)
    how = f"features by {r.computed_with}, recorded by {r.recorded_with}; {r.tolerance}"
    what = f"{r.steps} head steps of {r.ticks} ticks: {', '.join(r.checked)}"
    if r.equal:
        word = "[green]equal[/]" if r.whole else "[yellow]equal as far as it is whole[/yellow]"
        console.print(f"{word} {escape(f'{what} ({how})')}", soft_wrap=True)
        return
    if not r.steps:
        console.print("[red]nothing to compare[/red]: no head step is both recorded and computed")
        return
    console.print(f"[red]differs[/red] {escape(f'{what} ({how})')}", soft_wrap=True)
    table = Table()
    for c in ("column", "steps", "largest", "first tick", "t [s]", "at the largest"):
        table.add_column(c)
    for d in r.differences:
        table.add_row(
            d.name, str(d.count), f"{d.largest:.3g}", str(d.tick), f"{d.t_s:.3f}", escape(d.detail)
        )
    console.print(table)


def replay_command(
    recording: Path, pro: Path | None, against: Path | None = None, *, console: Any = None
) -> int:
    """Compare and print. Returns 0 if PRO equals what was recorded, and 1 if it differs or a part
    of the recording is damaged or missing. With `against`, compare the two recordings instead,
    record for record except when and where they were made. Raises like `replay`."""
    if against is not None:
        return _compare(recording, against, console or Console())
    report = replay(recording, pro)
    render(report, console or Console())
    return report.exit_code


def _compare(a: Path, b: Path, console: Any) -> int:
    found = first_difference(a, b)
    if found:
        console.print(f"[red]differs[/red] {escape(found)}", soft_wrap=True)
        return 1
    console.print(
        f"[green]the same[/green] {escape(f'{a} and {b}: every record but when and where')}",
        soft_wrap=True,
    )
    return 0
