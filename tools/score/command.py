"""`headway score`: PRO features and signals for telemetry that Headway did not record.

For every file NAME: `NAME.features.npz` (t [s], features (n, 209), names, units, mask (n, 29),
mask_names, carried (209,), rate_hz, spec_hash, source, and success where the file says), with a PRO
head `NAME.signals.csv`, and a report `NAME.html`. The features are those of the loop. About all
files: `summary.csv`, and for several `index.html`, which is replaced where one is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from headway.errors import ConfigError, HeadwayError, RecordingError
from headway.kernels import spec
from headway.tools.score import labelfile
from headway.tools.score.files import Episode, episodes_of, walk
from headway.tools.score.mapping import Mapping, load_mapping
from headway.tools.score.results import names, write
from headway.tools.score.scoring import score_file
from headway.tools.score.steps import Head, open_head
from headway.tools.score.summary import INDEX, Result, result_of, write_index, write_summary
from headway.tools.score.unmask import in_words
from headway.tools.score.verdict import threshold_of, verdict

INCOMPLETE = 1  # exit code when a file, or a part of one, was left out


def score_command(
    files: Sequence[Path],
    map: Path | None,
    pro: Path | None,
    out: Path,
    alpha: float = 0.1,
    *,
    console: Any = None,
) -> int:
    """Score every file, also those in folders, and write the results to the folder `out`. What
    cannot be read is said, and the others are done. `alpha` is the share of false alarms that the
    threshold may raise. Returns 0, or 1 when a file or part of one was left out. Raises ConfigError
    and BundleError for what concerns all of them."""
    console = console or Console()
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"wanted --alpha between 0 and 1, found {alpha}: 0.1 is one in ten")
    if not files:
        raise ConfigError("wanted telemetry files to score, found none: name files or folders")
    mapping = load_mapping(map) if map is not None else None
    head = open_head(pro) if pro is not None else None
    threshold = None if head is None else threshold_of(head, alpha)
    found, failed = _episodes(*walk(files))
    if mapping is not None and mapping.labels is not None:
        for text in labelfile.read(Path(mapping.labels.file)).check(found):
            console.print(f"[yellow]labels[/yellow] {escape(text)}", soft_wrap=True)
    titles, replaced = names(found, out)
    done: dict[str, Result] = {}
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
                    said = None if threshold is None else verdict(scored, threshold)
                    write(scored, out, name, said)
                    done[name] = result_of(scored, name, said, replaced.get(name))
                except Exception as e:  # the other files are scored all the same
                    failed.append(_why(one, e))
    finally:  # also what was done when somebody interrupts
        if done:
            _finish(console, done, _title(mapping, head), out, head, failed)
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


def _finish(
    console: Any,
    done: dict[str, Result],
    title: str,
    out: Path,
    head: Head | None,
    failed: list[str],
) -> None:
    """Write the files about all results, and print the table and the notes. What cannot be written
    is added to `failed`."""
    results = list(done.values())
    where = str(out)
    try:  # before anything is printed, which fails where the output is closed or its disk full
        write_summary(out, results)
        # One result needs no index, but an index of earlier ones would contradict the summary.
        if len(results) > 1 or (out / INDEX).exists():
            name = "" if head is None else head.bundle.manifest.name
            where = str(write_index(out, title, name, results, failed))
    except RecordingError as e:
        failed.append(str(e))
    console.print(table(done, title))
    _say_notes(console, done)
    console.print(f"results in {escape(where)}")


def _title(mapping: Mapping | None, head: Head | None) -> str:
    what = ", ".join(filter(None, (mapping.robot, mapping.task))) if mapping is not None else ""
    by = f"PRO {head.bundle.manifest.name}" if head is not None else "features only"
    return f"{what or 'telemetry'}: {by}"


def cells(r: Result) -> list[str]:
    """A file's cells in the table: outcome, duration [s], rates of the samples [Hz] and the largest
    |F| [N]. Then without a head how many groups of features are masked and how often a contact
    began; with one progress and completion at the end, the largest risk, the least stability and
    whether there is an alarm."""
    row = r.row
    low, high = round(_float(row["rate_lowest_hz"])), round(_float(row["rate_highest_hz"]))
    out = [
        str(row["outcome"] or "-"),
        f"{_float(row['duration_s']):.2f}",
        f"{low}" + (f"-{high}" if high != low else ""),
        "-" if row["force_max_n"] is None else f"{_float(row['force_max_n']):.1f}",
    ]
    if r.verdict is None:
        onsets = "-" if row["onsets"] is None else str(row["onsets"])
        return [*out, f"{len(r.masked)}/{spec.N_MASKS}", onsets]
    keys = ("progress", "completion", "risk_max", "stability_min")
    out += ["-" if row[key] is None else f"{_float(row[key]):.2f}" for key in keys]
    return [*out, f" {r.verdict.short}"]


def _float(value: str | float | int | None) -> float:
    assert isinstance(value, (int, float))
    return value


def table(done: dict[str, Result], title: str = "") -> Table:
    """The table, with one line per file, see `cells`."""
    out = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 0))
    signals = any(d.verdict is not None for d in done.values())
    columns = ["s", "Hz", "|F| N"]
    columns += ["progr", "compl", "risk", "stab"] if signals else ["masked", "onsets"]
    out.add_column("file", overflow="fold", min_width=12)
    out.add_column("outcome", no_wrap=True)
    for c in columns:
        out.add_column(c, justify="right", no_wrap=True)
    if signals:
        out.add_column(" verdict", overflow="fold")
    for name, one in done.items():
        out.add_row(escape(name), *cells(one))
    return out


def _say_notes(console: Any, done: dict[str, Result]) -> None:
    """Print the threshold, what is masked, and the notes: those of all files once, others with
    their files."""
    kinds: dict[str, Callable[[Result], Sequence[str]]] = {
        "threshold": _threshold, "masked": lambda r: in_words(r.masked), "note": lambda r: r.notes,
    }  # fmt: skip
    for kind, texts_of in kinds.items():
        by_text: dict[str, list[str]] = {}
        for name, one in done.items():
            for text in texts_of(one):
                by_text.setdefault(text, []).append(name)
        by_files: dict[tuple[str, ...], list[str]] = {}
        for text, files in by_text.items():
            by_files.setdefault(tuple(files), []).append(text)
        for which, texts in by_files.items():
            where = ", ".join(which[:3]) + (f" and {len(which) - 3} more" * (len(which) > 3))
            where = "" if len(which) == len(done) else f"[dim] ({escape(where)})[/dim]"
            for text in ["; ".join(texts)] if kind == "masked" else texts:
                console.print(f"[yellow]{kind}[/yellow]{where} {escape(text)}", soft_wrap=True)


def _threshold(r: Result) -> list[str]:
    if r.verdict is None:
        return []
    level = r.verdict.threshold.risk
    known = level is not None
    return [f"risk above {level:.3f}: {r.verdict.threshold.source}" if known else r.verdict.text]
