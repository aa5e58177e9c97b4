"""`headway score`: PRO features and signals for telemetry that is not ours.

For every file NAME: `NAME.features.npz` (t [s], features (n, 176), names, units, mask (n, 16),
mask_names, carried (176,), rate_hz, spec_hash, source, and success where the file says), with a PRO
head `NAME.signals.csv`, and a report `NAME.html`. The features are those of the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from headway.errors import ConfigError, HeadwayError
from headway.kernels import spec
from headway.tools.score.files import walk
from headway.tools.score.mapping import Mapping, load_mapping
from headway.tools.score.results import names, write
from headway.tools.score.scoring import Head, Scored, open_head, score_file

INCOMPLETE = 1  # exit code when a file, or a part of one, was left out


@dataclass(frozen=True)
class Line:
    """What is kept of a file until all are done: a line of the table, and notes."""

    cells: list[str]
    signals: bool
    masked: list[str]
    notes: list[str]
    odd: int


@dataclass
class Batch:
    done: dict[str, Line] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def score_command(
    files: Sequence[Path], map: Path | None, pro: Path | None, out: Path, *, console: Any = None
) -> int:
    """Score every file, those in folders too. What cannot be read is said and the rest is done.
    Returns 0, or 1 when a file or part of one was left out. Raises ConfigError and BundleError for
    what concerns all of them."""
    console = console or Console()
    if not files:
        raise ConfigError("wanted telemetry files to score, found none: name .npz, .csv or .mcap")
    mapping = load_mapping(map) if map is not None else None
    head = open_head(pro) if pro is not None else None
    found, wrong = walk(files)
    titles, replaced = names(found, out)
    batch = Batch(failed=wrong)
    wanted = len(found) + len(wrong)
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=console, transient=True,
    )  # fmt: skip
    try:
        with progress:
            bar = progress.add_task("", total=len(found))
            for i, (path, name) in enumerate(zip(found, titles, strict=True)):
                progress.update(bar, description=f"{i + 1}/{len(found)} {escape(path.name)}")
                _one(batch, path, name, mapping, head, out, replaced.get(name),
                     lambda share, i=i: progress.update(bar, completed=i + share))  # fmt: skip
    finally:  # also what was done when somebody interrupts
        _say(console, batch, out, _title(mapping, head), wanted)
    return INCOMPLETE if batch.failed or any(line.odd for line in batch.done.values()) else 0


def _one(
    batch: Batch,
    path: Path,
    name: str,
    mapping: Mapping | None,
    head: Head | None,
    out: Path,
    replaced: str | None,
    progress: Any,
) -> None:
    try:
        scored = score_file(path, mapping, head, progress)
        write(scored, out, name)
    except HeadwayError as e:
        text = str(e)
        batch.failed.append(text if str(path) in text else f"{path}: {text}")
    except Exception as e:
        # Files of other programs hold what nobody thought of; the others are scored all the same.
        batch.failed.append(
            f"{path}: {type(e).__name__}: {e}: this is a mistake of Headway's, please report it "
            "with the file"
        )
    else:
        notes = [*scored.notes, *([replaced] if replaced else [])]
        batch.done[name] = Line(
            cells(scored), bool(scored.signal_store), scored.masked, notes, scored.odd
        )


def _say(console: Any, batch: Batch, out: Path, title: str, wanted: int) -> None:
    if batch.done:
        console.print(table(batch.done, title))
        _say_notes(console, batch.done)
        console.print(f"results in {escape(str(out))}")
    for text in batch.failed:
        console.print(f"[red]not scored[/red] {escape(text)}", soft_wrap=True)
    part = sum(bool(line.odd) for line in batch.done.values())
    if batch.failed or part or len(batch.done) < wanted:
        more = f", {part} of them without parts that could not be read" if part else ""
        console.print(f"{len(batch.done)} of {wanted} files scored{more}")


def _title(mapping: Mapping | None, head: Head | None) -> str:
    what = ", ".join(filter(None, (mapping.robot, mapping.task))) if mapping is not None else ""
    by = f"PRO {head.bundle.manifest.name}" if head is not None else "features only"
    return f"{what or 'telemetry'}: {by}"


def cells(s: Scored) -> list[str]:
    """Outcome, duration, rates of the samples, groups masked, largest |F|, contact onsets; progress
    and completion at the end, largest risk, least stability."""
    data, summary = s.telemetry, s.summary
    word = {True: "success", False: "failure", None: "-"}[data.success]
    rates = sorted({round(r) for r in data.rates.values()})
    out = [
        word,
        f"{(data.n - 1) / data.hz:.2f}",
        f"{rates[0]}" + (f"-{rates[-1]}" if len(rates) > 1 else ""),
        f"{len(s.masked)}/{spec.N_MASKS}",
        "-" if summary.force is None else f"{summary.force:.1f}",
        "-" if summary.force is None else str(summary.onsets),
    ]
    if s.signal_store is not None and "progress" in summary.last:
        out += [
            f"{summary.last['progress']:.2f}",
            f"{summary.last['completion']:.2f}",
            f"{summary.risk:.2f}",
            f"{summary.stability:.2f}",
        ]
    return out


def table(done: dict[str, Line], title: str = "") -> Table:
    """One line per file, see `cells`."""
    out = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 0))
    columns = ["s", "Hz", "masked", "|F| N", "onsets"]
    columns += ["progr", "compl", "risk", "stab"] if any(d.signals for d in done.values()) else []
    out.add_column("file", overflow="fold", min_width=12)
    out.add_column("outcome", no_wrap=True)
    for c in columns:
        out.add_column(c, justify="right", no_wrap=True)
    for name, line in done.items():
        out.add_row(escape(name), *line.cells)
    return out


def _say_notes(console: Any, done: dict[str, Line]) -> None:
    """What is true of all files once, the rest by file."""
    for kind in ("masked", "note"):
        by_text: dict[str, list[str]] = {}
        for name, line in done.items():
            for text in line.masked if kind == "masked" else line.notes:
                by_text.setdefault(text, []).append(name)
        by_files: dict[tuple[str, ...], list[str]] = {}
        for text, files in by_text.items():
            by_files.setdefault(tuple(files), []).append(text)
        for which, texts in by_files.items():
            where = ", ".join(which[:3]) + (f" and {len(which) - 3} more" * (len(which) > 3))
            where = "" if len(which) == len(done) else f"[dim] ({escape(where)})[/dim]"
            for text in [", ".join(texts)] if kind == "masked" else texts:
                console.print(f"[yellow]{kind}[/yellow]{where} {escape(text)}", soft_wrap=True)
