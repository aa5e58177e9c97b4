"""`headway pro card`: judge a PRO head on recordings, and write a page and a JSON file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from headway import bundle as bundles
from headway.bundle import Bundle, Pro
from headway.edge.pro import risk
from headway.errors import BundleError, ConfigError, OutputError
from headway.learn.execution import judged, targets
from headway.learn.files import recordings_in, write_bytes
from headway.learn.pro import dataset, heads
from headway.learn.pro.card import baselines
from headway.learn.pro.card.card import make_card
from headway.learn.pro.card.model import Card
from headway.learn.pro.card.page import page
from headway.learn.pro.card.sample import fold_in, is_seen
from headway.learn.pro.card.separation import COMPARED
from headway.learn.pro.examples import Example
from headway.tools.score.mapping import load_mapping

ABOUT_LINES = (
    "judged line by line: completion is whether the station closes the line of the order that is "
    "due in time, time-to-go the time until then, and risk a failure event within {risk_s:g} s"
)
UNKNOWN = "unknown"  # with this begins what `heads` says where the bundle names no episodes


def card_command(
    bundle: Path,
    data: Sequence[Path],
    map: Path | None,
    out: Path,
    seed: int = 0,
    overwrite: bool = False,
    console: Console | None = None,
) -> int:
    """Judge the head in the folder `bundle` on the recordings `data`, which the mapping file `map`
    explains; without one, on those of `headway run`. Write `out`.html and `out`.json. Raises
    BundleError, ConfigError, RecordingError, Missing, and OutputError where the files are there
    already or cannot be written."""
    console = console or Console()
    baselines.require()
    if not data:
        raise ConfigError("wanted recordings to judge the head on, found none: name files, folders")
    made = bundles.load(bundle)
    if made.manifest.pro is None:
        raise BundleError(f"wanted a bundle of kind pro, found {made.manifest.kind}: {bundle}")
    files = _files(out, overwrite)
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=console, transient=True,
    )  # fmt: skip
    with progress:
        bar = progress.add_task("reading the recordings", total=1.0)

        def show(share: float) -> None:
            progress.update(bar, completed=share)

        examples, notes = _examples(data, map, made.manifest.pro, show)
        progress.update(bar, description="running the head", completed=0.0)
        signals, source = heads.held_out(made, examples)
        progress.update(bar, description="judging", completed=0.0)
        card = make_card(
            examples,
            signals,
            name=made.manifest.name,
            seed=seed,
            threshold=threshold_of(made),
            source=source,
            fold_of=folds_of(source),
            notes=[*_notes(source), *notes],
            progress=show,
        )
    numbers, text = card.to_json(), page(card).encode("utf-8", "replace")
    write_bytes(files[0], lambda file: file.write(numbers))
    write_bytes(files[1], lambda file: file.write(text))
    say(card, console)
    console.print(f"wrote {escape(str(files[1]))} and {escape(str(files[0]))}", soft_wrap=True)
    return 0


def _examples(
    data: Sequence[Path], map: Path | None, pro: Pro, show: Callable[[float], object]
) -> tuple[list[Example], list[str]]:
    """The episodes in `data`, in steps of the head `pro`, and what to say about them."""
    if map is not None:
        logs = dataset.logs(list(data), load_mapping(map), pro.rate_hz)
        return logs.examples(show), [*logs.notes, *_left_out(logs.wrong)]
    risk_s = targets.RISK_S if pro.risk_s is None else pro.risk_s
    found = judged.recorded(recordings_in(data), show, risk_s)
    if not found.examples:
        raise ConfigError(
            "wanted recordings of `headway run`, found none that can be judged: "
            + "; ".join(found.left_out[:3])
            + ": for other files say with --map what is in them"
        )
    return found.examples, [ABOUT_LINES.format(risk_s=risk_s), *_left_out(found.left_out)]


def _left_out(why: Sequence[str]) -> list[str]:
    """A note on recordings that could not be read, if there are any: `why` has a text for each."""
    return [f"{len(why)} recordings left out, first: {why[0]}"] if why else []


def say(card: Card, console: Console) -> None:
    """Print the verdict with its reasons."""
    console.print(f"[bold]{escape(card.verdict.words)}[/bold]", soft_wrap=True)
    for name, use in (("alarms", card.verdict.alarms), ("reward", card.verdict.reward)):
        for reason in use.reasons:
            console.print(f"  {name}: {escape(reason)}", soft_wrap=True, highlight=False)
    for note in card.notes:
        console.print(f"  [yellow]{escape(note)}[/yellow]", soft_wrap=True, highlight=False)


def threshold_of(made: Bundle) -> float | None:
    """The risk at which the bundle's own calibration gives an alarm to `COMPARED` of fault-free
    episodes, else the threshold in its manifest. None where it has neither."""
    path = risk.of_bundle(made)
    if path is not None:
        found = risk.load(path, made.manifest.files[made.manifest.onnx].sha256)
        try:
            return found.threshold(COMPARED)
        except ConfigError:  # made from too few episodes for so small a share
            pass
    assert made.manifest.pro is not None
    return made.manifest.pro.thresholds.get("risk")


def folds_of(source: Sequence[str]) -> list[int] | None:
    """The fold that each episode was held out of; None unless all have one."""
    kept = [fold_in(s) for s in source if not is_seen(s)]
    if not kept or None in kept:
        return None
    return [-1 if (k := fold_in(s)) is None else k for s in source]


def _notes(source: Sequence[str]) -> list[str]:
    n = sum(s.startswith(UNKNOWN) for s in source)
    if not n:
        return []
    return [
        f"the bundle does not say what it was trained on: if any of these {n} episodes were among "
        "it, every number here is too good"
    ]


def _files(out: Path, overwrite: bool) -> tuple[Path, Path]:
    """The paths of the JSON file and of the page."""
    stem = out.with_suffix("") if out.suffix in (".html", ".json") else out
    files = stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".html")
    there = [f for f in files if f.exists()]
    if there and not overwrite:
        raise OutputError(
            f"{there[0]} is there already: give another --out, or --overwrite to replace it"
        )
    return files
