"""`headway check`: print whether a bundle fits a robot, and why."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headway.errors import BundleError, ConfigError
from headway.tools.check.check import Asked, check
from headway.tools.check.lines import Line, Report, Verdict

EXIT_NO = BundleError.exit_code  # as `headway run` returns for a bundle that does not fit
LONGEST_S = 600.0
_COLOURS: dict[Verdict, str] = {"kept": "green", "not kept": "red", "not applicable": "dim"}


def check_command(what: Asked, json: bool = False, console: Any = None) -> int:
    """Check and print. Returns 0 for yes, EXIT_NO for no. Raises ConfigError for a run
    configuration that does not load."""
    if not 0.0 <= what.seconds <= LONGEST_S:
        raise ConfigError(
            f"wanted --seconds from 0 to {LONGEST_S:g}, found {what.seconds:g}: 0 measures nothing"
        )
    console = console or Console()
    if json:
        report = check(what)
        console.file.write(json_module.dumps(plain(report), indent=2) + "\n")
    else:
        with console.status("checking") as status:
            report = check(what, lambda text: status.update(escape(text)))
        _print(report, console)
    return 0 if report.fits else EXIT_NO


def plain(report: Report) -> dict[str, Any]:
    """`report` as data for JSON."""
    return {
        "fits": report.fits,
        "robot": report.robot,
        "bundle": report.bundle,
        "lines": [asdict(line) for line in report.lines],
        "notes": list(report.notes),
    }


def _print(report: Report, console: Any) -> None:
    console.print(table(report))
    amiss = [line for line in report.lines if line.verdict == "not kept"]
    for line in amiss:
        text = f"{line.group}, {line.name}: {line.remedy}"
        console.print(f"[red]not kept[/red] {escape(text)}", soft_wrap=True, highlight=False)
    for note in report.notes:
        console.print(f"[dim]{escape(note)}[/dim]", soft_wrap=True, highlight=False)
    console.print(summary(report, amiss), soft_wrap=True, highlight=False)


def table(report: Report) -> Table:
    """The lines of `report` as a table for the terminal, in groups."""
    out = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    out.add_column("", no_wrap=True)
    out.add_column("what", overflow="fold", min_width=12)
    out.add_column("wanted", overflow="fold", ratio=2)
    out.add_column("found", overflow="fold", ratio=3)
    for group in dict.fromkeys(line.group for line in report.lines):
        out.add_row("", f"[bold]{escape(group)}[/bold]", "", "")
        for line in (x for x in report.lines if x.group == group):
            colour = _COLOURS[line.verdict]
            said = "n/a" if line.verdict == "not applicable" else line.verdict
            cells = (line.name, line.wanted, line.found)
            out.add_row(f"[{colour}]{said}[/{colour}]", *map(escape, cells))
    return out


def summary(report: Report, amiss: list[Line]) -> str:
    """Yes or no, as one line in the markup of Rich."""
    what = f"{report.bundle} on {report.robot}" if report.bundle else report.robot
    count = sum(line.verdict == "kept" for line in report.lines)
    if report.fits:
        return f"[green]yes[/green]: {escape(what)} may run here ({count} kept)"
    names = ", ".join(dict.fromkeys(f"{line.group}: {line.name}" for line in amiss))
    return f"[red]no[/red]: {escape(what)}: {len(amiss)} not kept ({escape(names)})"
