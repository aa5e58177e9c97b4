"""`headway score`: PRO features and signals for telemetry that is not ours.

For every file NAME: `NAME.features.npz` (t [s], features (n, 176), names, units, mask (n, 16),
mask_names, rate_hz, spec_hash, and success where the file says), with a PRO head
`NAME.signals.csv`, and a report `NAME.html`. The features are those of the loop, computed at the
file's rate; the head steps every round(rate / head rate) ticks.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from headway import bundle as bundles
from headway.bundle import Bundle
from headway.edge.engine import Engine, open_bundle
from headway.edge.operator import OUTPUTS, ProOperator, pro_dtype
from headway.edge.score_input import Mapping, load_mapping, open_source
from headway.edge.score_rows import Telemetry, telemetry_of
from headway.errors import BundleError, ConfigError, HeadwayError, RecordingError
from headway.kernels import feature_stream, spec
from headway.types import Vec

FEATURE_HZ = 50.0  # of the features where there is no head
SHOWN = ("contact", "band.rms", "dq.rms")  # features drawn in the report


@dataclass(frozen=True)
class Head:
    """A PRO bundle with its engine."""

    bundle: Bundle
    engine: Engine


@dataclass(frozen=True)
class Scored:
    """What PRO says about one file. `step` (n,): the ticks of `telemetry.rows` that `features`
    (n, 176), `mask` (n, 16) and each of `signals` (n,) belong to."""

    telemetry: Telemetry
    step: NDArray[np.int64]
    features: NDArray[np.float32]
    mask: NDArray[np.float32]
    signals: dict[str, Vec]
    masked: list[str]
    notes: list[str]

    @property
    def t(self) -> Vec:
        """(n,) [s] from the file's first stamp."""
        return np.asarray(self.telemetry.rows["t_ns"][self.step] / 1e9)

    def feature(self, name: str) -> NDArray[np.float32]:
        return self.features[:, spec.INDEX[name]]


def open_head(path: Path, engine: str = "auto") -> Head:
    """Raises BundleError, SpecMismatch."""
    made = bundles.load(path)
    if made.manifest.pro is None:
        raise BundleError(f"wanted a bundle of kind pro, found {made.manifest.kind}: {path}")
    return Head(made, open_bundle(made, engine))


def score_file(path: Path, mapping: Mapping | None, head: Head | None) -> Scored:
    """Raises RecordingError, ConfigError, SpecMismatch."""
    source, mapping = open_source(path, mapping)
    data = telemetry_of(source, mapping)
    notes = list(data.notes)
    info = head.bundle.manifest.pro if head is not None else None
    head_hz = info.rate_hz if info is not None else FEATURE_HZ
    every = round(data.hz / head_hz)
    if head is None:
        every = max(every, 1)
    if every < 1:
        raise ConfigError(
            f"{path}: the head wants {head_hz:g} Hz, the telemetry has {data.hz:g} Hz: set "
            f"`time.rate_hz = {head_hz:g}` in the mapping (each sample is then held)"
        )
    if abs(data.hz / every / head_hz - 1) > 1e-6:
        notes.append(
            f"head steps: every {every} ticks = {data.hz / every:.4g} Hz, the nearest to "
            f"{head_hz:g} Hz that {data.hz:g} Hz allows"
        )
    step = np.arange(0, len(data.rows), every)
    if head is None:
        features, mask = _features(data, step)
        signals: dict[str, Vec] = {}
        notes.append("no PRO head given: features only")
    else:
        features, mask, signals = _signals(head, data, step, head_hz)
        made = head.bundle.manifest
        notes.append(
            f"signals of head {made.name}, trained on {made.provenance.data}, are shown for "
            "inspection: they are not calibrated for another robot, rate or task"
        )
    share = mask.mean(axis=0)
    masked = [
        f"{m} ({', '.join(spec.MASK_FIELDS[m])})"
        for m, s in zip(spec.MASKS, share, strict=True)
        if s == 0
    ]
    part = [f"{m} {1 - s:.0%}" for m, s in zip(spec.MASKS, share, strict=True) if 0 < s < 0.995]
    if part:
        notes.append(f"masked part of the time: {', '.join(part)}")
    return Scored(data, step, features, mask, signals, masked, notes)


def _features(
    data: Telemetry, step: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    stream = feature_stream("auto", data.scale, data.rows["q"].shape[1], data.hz)
    features = np.zeros((len(step), spec.N_FEATURES), np.float32)
    mask = np.zeros((len(step), spec.N_MASKS), np.float32)
    done = 0
    for i, at in enumerate(step.tolist()):
        for row in data.rows[done : at + 1]:
            stream.push(row)
        done = at + 1
        stream.features(features[i], mask[i])
    return features, mask


def _signals(
    head: Head, data: Telemetry, step: NDArray[np.int64], head_hz: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, Vec]]:
    """By the operator of the loop, tick for tick."""
    joints = data.rows["q"].shape[1]
    pro = ProOperator(head.bundle, head.engine, data.scale, joints, hz=data.hz, head_hz=head_hz)
    out = np.zeros(len(step), pro_dtype())
    n = 0
    for tick, row in enumerate(data.rows):
        pro.step(row, tick)
        if pro.updated:
            out[n] = pro.record
            n += 1
    return out["features"], out["mask"], {k: out[k] for k in (*OUTPUTS, "reward")}


def write(scored: Scored, out: Path, name: str) -> list[Path]:
    """Features, signals and report; returns the paths. Raises RecordingError."""
    from headway.edge.report import write_score_report

    data = scored.telemetry
    files = [out / f"{name}.features.npz"]
    arrays: dict[str, Any] = {
        "t": scored.t,
        "features": scored.features,
        "names": np.array(spec.NAMES),
        "units": np.array(spec.UNITS),
        "mask": scored.mask,
        "mask_names": np.array(spec.MASKS),
        "rate_hz": np.array(data.hz),
        "spec_hash": np.array(spec.spec_hash()),
    }
    if data.success is not None:
        arrays["success"] = np.array(data.success)
    try:
        out.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(files[0], **arrays)
        if scored.signals:
            files.append(out / f"{name}.signals.csv")
            with files[-1].open("w", newline="") as f:
                rows = csv.writer(f)
                rows.writerow(["t", *scored.signals])
                columns = [c.tolist() for c in (scored.t, *scored.signals.values())]
                rows.writerows(zip(*columns, strict=True))
    except OSError as e:
        raise RecordingError(f"cannot write results to {out}: {e}") from None
    held = np.searchsorted(scored.step, np.arange(len(data.rows)), side="right") - 1
    channels: dict[str, NDArray[Any]] = {
        n: data.rows[n]
        for n in data.rows.dtype.names or ()
        if n not in ("t_ns", "elapsed") and np.isfinite(data.rows[n]).any() and _moves(data.rows[n])
    }
    channels |= {
        f"{n} [{spec.UNITS[spec.INDEX[n]]}]": scored.feature(n)[held]
        for n in SHOWN
        if scored.feature(n).any()
    }
    files.append(
        write_score_report(
            out / f"{name}.html",
            title=name,
            t_s=data.rows["t_ns"] / 1e9,
            signals={k: v[held] for k, v in scored.signals.items()},
            channels=channels,
            masked=scored.masked,
            notes=scored.notes,
            events=data.events,
        )
    )
    return files


def _moves(x: NDArray[Any]) -> bool:
    known = x[np.isfinite(x).reshape(len(x), -1).all(axis=1)]
    return len(known) > 0 and bool((known != known[0]).any())


def score_command(
    files: Sequence[Path], map: Path | None, pro: Path | None, out: Path, *, console: Any = None
) -> int:
    """Score every file; a bad one is reported and the rest are done. Returns 0, or the exit code of
    the first error. Raises ConfigError and BundleError for what concerns all of them."""
    console = console or Console()
    if not files:
        raise ConfigError("wanted telemetry files to score, found none: name .npz, .csv or .mcap")
    mapping = load_mapping(map) if map is not None else None
    head = open_head(pro) if pro is not None else None
    done: dict[str, Scored] = {}
    failed: dict[str, HeadwayError] = {}
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True,
    )  # fmt: skip
    with progress:
        bar = progress.add_task("files", total=len(files))
        for path, name in zip(files, _names(files), strict=True):
            try:
                scored = score_file(path, mapping, head)
                write(scored, out, name)
                done[name] = scored
            except HeadwayError as e:
                failed[name] = e
            progress.advance(bar)
    if done:
        console.print(table(done, title=_title(mapping, head)))
        _say_notes(console, done)
        console.print(f"results in {escape(str(out))}")
    for error in failed.values():
        console.print(f"[red]not scored[/red] {escape(str(error))}", soft_wrap=True)
    return next((e.exit_code for e in failed.values()), 0)


def _names(files: Sequence[Path]) -> list[str]:
    """A name for each file's results: its stem, with more of the path where stems repeat."""
    names = [f.stem for f in files]
    for better in ([f"{f.parent.name}-{f.stem}" for f in files], [f.name for f in files]):
        often = Counter(names)
        names = [b if often[n] > 1 else n for n, b in zip(names, better, strict=True)]
    often = Counter(names)
    return [f"{n}-{i}" if often[n] > 1 else n for i, n in enumerate(names)]


def _title(mapping: Mapping | None, head: Head | None) -> str:
    what = ", ".join(filter(None, (mapping.robot, mapping.task))) if mapping is not None else ""
    by = f"PRO {head.bundle.manifest.name}" if head is not None else "features only"
    return f"{what or 'telemetry'}: {by}"


def table(done: dict[str, Scored], title: str = "") -> Table:
    """One line per file: groups masked, largest |F|, contact onsets; progress and completion at the
    end, largest risk, least stability."""
    out = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 0))
    signals = any(s.signals for s in done.values())
    columns = ["s", "Hz", "masked", "|F| N", "onsets"]
    columns += ["progr", "compl", "risk", "stab"] if signals else []
    out.add_column("file", overflow="fold", min_width=12)
    out.add_column("outcome", no_wrap=True)
    for c in columns:
        out.add_column(c, justify="right", no_wrap=True)
    words = {True: "success", False: "failure", None: "-"}
    for name, s in done.items():
        force = s.mask[:, spec.MASKS.index("wrench")].any()
        wrench = s.telemetry.rows["wrench"][:, :3]
        contact = s.feature("contact")
        cells = [
            f"{s.telemetry.rows['t_ns'][-1] / 1e9:.2f}",
            f"{s.telemetry.hz:g}",
            f"{len(s.masked)}/{spec.N_MASKS}",
            f"{np.nanmax(np.sqrt((wrench * wrench).sum(axis=1))):.1f}" if force else "-",
            str(int((np.diff(contact, prepend=0) > 0).sum())) if force else "-",
        ]
        if s.signals:
            g = s.signals
            cells += [
                f"{g['progress'][-1]:.2f}",
                f"{g['completion'][-1]:.2f}",
                f"{g['risk'].max():.2f}",
                f"{g['stability'].min():.2f}",
            ]
        out.add_row(escape(name), words[s.telemetry.success], *cells)
    return out


def _say_notes(console: Any, done: dict[str, Scored]) -> None:
    """What is true of all files once, the rest by file."""
    for kind in ("masked", "note"):
        by_text: dict[str, list[str]] = {}
        for name, scored in done.items():
            for text in scored.masked if kind == "masked" else scored.notes:
                by_text.setdefault(text, []).append(name)
        by_files: dict[tuple[str, ...], list[str]] = {}
        for text, names in by_text.items():
            by_files.setdefault(tuple(names), []).append(text)
        for files, texts in by_files.items():
            where = ", ".join(files[:3]) + (f" and {len(files) - 3} more" * (len(files) > 3))
            where = "" if len(files) == len(done) else f"[dim] ({escape(where)})[/dim]"
            for line in [", ".join(texts)] if kind == "masked" else texts:
                console.print(f"[yellow]{kind}[/yellow]{where} {escape(line)}", soft_wrap=True)
