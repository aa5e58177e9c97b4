"""`headway score`: PRO features and signals for telemetry that Headway did not record.

For every file NAME: `NAME.features.npz` (t [s], features (n, 209), names, units, mask (n, 29),
mask_names, carried (209,), rate_hz, spec_hash, source, and success where the file says), with a PRO
head `NAME.signals.csv`, and a report `NAME.html`. The features are those of the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from headway.errors import ConfigError, HeadwayError
from headway.kernels import spec
from headway.tools.score import labelfile
from headway.tools.score.files import Episode, episodes_of, walk
from headway.tools.score.mapping import Mapping, load_mapping
from headway.tools.score.results import names, write
from headway.tools.score.scoring import Scored, score_file
from headway.tools.score.steps import Head, open_head

INCOMPLETE = 1  # exit code when a file, or a part of one, was left out


@dataclass(frozen=True)
class Line:
    """What is kept of a file until all are done: its line of the table, and notes."""

    cells: list[str]
    signals: bool  # whether the cells of the signals are among them
    masked: list[str]  # the groups of features that are never known
    notes: list[str]
    odd: int  # how many things in the file could not be read


def score_command(
    files: Sequence[Path], map: Path | None, pro: Path | None, out: Path, *, console: Any = None
) -> int:
    """Score every file, also those in folders, and write the results to the folder `out`. What
    cannot be read is said, and the others are done. Returns 0, or 1 when a file or part of one was
    left out. Raises ConfigError and BundleError for what concerns all of them."""
    console = console or Console()
    if not files:
        raise ConfigError("wanted telemetry files to score, found none: name files or folders")
    mapping = load_mapping(map) if map is not None else None
    head = open_head(pro) if pro is not None else None
    found, failed = _episodes(*walk(files))
    if mapping is not None and mapping.labels is not None:
        for text in labelfile.read(Path(mapping.labels.file)).check(found):
            console.print(f"[yellow]labels[/yellow] {escape(text)}", soft_wrap=True)
    titles, replaced = names(found, out)
    done: dict[str, Line] = {}
    wanted = len(found) + len(failed)
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=console, transient=True,
    )  # fmt: skip
    try:
        with progress:
            bar = progress.add_task("", total=len(found))
            for i, (one, name) in enumerate(zip(found, titles, strict=True)):
                title = ":".join(filter(None, (one.path.name, one.name)))
                progress.update(bar, description=f"{i + 1}/{len(found)} {escape(title)}")

                def show(share: float, i: int = i) -> None:
                    progress.update(bar, completed=i + share)

                try:
                    scored = score_file(one.path, mapping, head, show, one.name)
                    write(scored, out, name)
                    done[name] = _line(scored, replaced.get(name))
                except Exception as e:  # the other files are scored all the same
                    failed.append(_why(one, e))
    finally:  # also what was done when somebody interrupts
        if done:
            console.print(table(done, _title(mapping, head)))
            _say_notes(console, done)
            console.print(f"results in {escape(str(out))}")
        for text in failed:
            console.print(f"[red]not scored[/red] {escape(text)}", soft_wrap=True)
        parts = sum(bool(line.odd) for line in done.values())
        if parts or len(done) < wanted:
            more = f", {parts} of them without parts that could not be read" if parts else ""
            what = "episodes" if any(one.name for one in found) else "files"
            console.print(f"{len(done)} of {wanted} {what} scored{more}")
    return INCOMPLETE if failed or parts else 0


def _episodes(files: Sequence[Path], failed: list[str]) -> tuple[list[Episode], list[str]]:
    """All episodes of the files, and beside `failed` why files have none that can be scored."""
    failed = list(failed)

    def inside(path: Path) -> list[Episode]:
        try:
            return [Episode(path, name) for name in episodes_of(path)]
        except Exception as e:  # the other files are scored all the same
            failed.append(_why(Episode(path), e))
            return []

    return [one for path in files for one in inside(path)], failed


def _why(one: Episode, e: Exception) -> str:
    """Why a file or an episode was not scored."""
    path = one.path
    if not isinstance(e, HeadwayError):  # files of other programs hold what nobody thought of
        return (
            f"{one}: {type(e).__name__}: {e}: this is a mistake of Headway's, please report it "
            "with the file"
        )
    if str(path) not in str(e):
        return f"{one}: {e}"
    return str(e) + (f" (in {one.name})" if one.name and one.name not in str(e) else "")


def _line(scored: Scored, replaced: str | None) -> Line:
    notes = [*scored.notes, replaced] if replaced else scored.notes
    return Line(cells(scored), scored.signal_store is not None, scored.masked, notes, scored.odd)


def _title(mapping: Mapping | None, head: Head | None) -> str:
    what = ", ".join(filter(None, (mapping.robot, mapping.task))) if mapping is not None else ""
    by = f"PRO {head.bundle.manifest.name}" if head is not None else "features only"
    return f"{what or 'telemetry'}: {by}"


def cells(s: Scored) -> list[str]:
    """A file's cells in the table: outcome, duration [s], rates of the samples [Hz], how many
    groups of features are masked, the largest |F| [N] and how often a contact began. With a head
    also progress and completion at the end, the largest risk and the least stability."""
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
    """The table, with one line per file, see `cells`."""
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
    """Print what is masked, and the notes: those of all files once, others with their files."""
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
