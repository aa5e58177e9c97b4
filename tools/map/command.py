"""`headway map`: list what is in a file of telemetry, and write a first mapping for it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headway.errors import ConfigError, HeadwayError
from headway.tools.map.guess import Guess, guesses
from headway.tools.map.survey import Survey, survey
from headway.tools.map.write import is_shown, mapping_text, values
from headway.tools.score.files import open_source, walk
from headway.tools.score.mapping import load_mapping
from headway.tools.score.telemetry import telemetry_of

NOTHING = 1  # exit code where nothing was recognised
FIRST = ("q", "tcp", "wrench")  # fields that are kept where another one does not go with them


def map_command(path: Path, out: Path | None, overwrite: bool, *, console: Any = None) -> int:
    """List what is in the file or data set `path`, and write a mapping to `out`, or print it.
    Returns 0, or 1 where nothing in the file could be told. Raises RecordingError, ConfigError,
    Missing."""
    console = console or Console()
    if out is not None and out.exists() and not overwrite:
        raise ConfigError(f"{out} is there already: choose another --out, or give --overwrite")
    file = _one_file(path, console)
    with console.status("") as status:
        found = survey(file, lambda what: status.update(f"looking at {escape(what)}"))
        status.update("trying the guesses")
        taken, others, refused = tried(found)
    text = mapping_text(found, taken, others, refused)
    console.print(table(found, taken))
    for note in found.notes:
        console.print(f"[dim]{escape(note)}[/dim]")
    if out is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text, encoding="utf-8")
        except OSError as e:
            raise ConfigError(f"cannot write {out}: {e.strerror}: choose another --out") from None
        console.print(f"mapping in {escape(str(out))}: read it, correct what is marked, then")
        command = f"headway score {is_shown(path)} --map {is_shown(out)}"
        console.print(escape(command), soft_wrap=True)
    else:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if not taken:
        console.print(
            "[yellow]nothing was recognised[/yellow]: uncomment a channel and name its key"
        )
    return 0 if taken else NOTHING


def _one_file(path: Path, console: Any) -> Path:
    """The file to look at: the first in a folder that is no data set. Raises ConfigError."""
    found, wrong = walk([path])
    if not found:
        raise ConfigError(wrong[0])
    if found[0] != path:
        console.print(f"the first of {len(found)} files: {escape(str(found[0]))}")
    return found[0]


def tried(found: Survey) -> tuple[list[Guess], list[Guess], dict[str, str]]:
    """The guesses that the file can really be read by, the others, and the fields of those that
    fail, each with the reason: the mapping is to run as it is written."""
    taken, others = guesses(found)
    refused: dict[str, str] = {}
    if not taken or not _fails(found, taken):
        return taken, others, refused
    good: list[Guess] = []
    # One after the other, those first that most features need: what fails is then the one whose
    # absence mends the mapping, also where it fails only beside another one.
    order = {name: i for i, name in enumerate(FIRST)}
    for guess in sorted(taken, key=lambda g: order.get(g.field, len(order))):
        if why := _fails(found, [*good, guess]):
            others.insert(0, guess)
            refused[guess.field] = why
        else:
            good.append(guess)
    return [g for g in taken if g in good], others, refused


def _fails(found: Survey, taken: Sequence[Guess]) -> str:
    """Why the file cannot be read by these guesses, "" where it can."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "map.toml")
        file.write_text(mapping_text(found, taken, (), {}), encoding="utf-8")
        try:
            mapping = load_mapping(file)
            telemetry_of(*open_source(found.path, mapping, found.episode))
        except HeadwayError as e:
            return str(e).replace(str(file), "the mapping").replace(f"{found.path}: ", "")
    return ""


def table(found: Survey, taken: Sequence[Guess]) -> Table:
    """What is in the file, and which fields it is taken for."""
    title = found.path.name
    if found.episodes > 1:
        title += f": {found.episode}, the first of {found.episodes} episodes"
    out = Table(title=escape(title), box=box.SIMPLE_HEAD, padding=(0, 0))
    bag = found.is_bag
    for name in (["topic"] if bag else []) + ["key", "kind"]:
        out.add_column(name, overflow="fold")
    for name in ("Hz", "values"):
        out.add_column(name, justify="right", no_wrap=True)
    for name in ("range", "names", "field"):
        out.add_column(name, overflow="fold")
    fields = {(g.topic, key): g.field for g in taken for key in g.group.keys}
    topic = None
    for e in found.entries:
        cells = [escape(e.topic or "") if e.topic != topic else ""] if bag else []
        rate = f"{e.rate_hz:.4g}" if e.rate_hz is not None else ""
        cells += [escape(e.key), escape(e.kind.replace("/msg/", "/")), rate, str(e.width or "")]
        said = e.problem.replace(f"{found.path}: ", "") if e.problem else values(e)
        cells += [escape(said), escape(", ".join(e.labels or ())), fields.get((e.topic, e.key), "")]
        out.add_row(*cells)
        topic = e.topic
    return out
