"""`headway latency`: print the timing of recordings, as tables or as JSON."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headway import output
from headway.errors import ConfigError, HeadwayError
from headway.tools.latency.analysis import Latency, analyse
from headway.tools.latency.causes import LateTick, by_cause
from headway.tools.latency.rows import Line

SHOWN = 10  # how many of the latest ticks are printed one by one


def latency_command(
    recordings: Sequence[Path],
    late_us: float | None = None,
    json: bool = False,
    *,
    console: Any = None,
) -> int:
    """Print the timing of every recording; `late_us` [us] as in `analyse_recording`. Returns 0, or
    1 when a part of a recording is damaged or missing. Raises ConfigError for bad arguments. A
    recording that cannot be read raises its RecordingError after the others were printed; further
    ones are said on the console, or with `json` on stderr, since stdout is then for programs."""
    if not recordings:
        raise ConfigError("wanted recordings, found none: headway latency runs/first/*.mcap")
    if late_us is not None and not late_us >= 0:
        raise ConfigError(f"wanted --late-us of at least 0, found {late_us}")
    console = console or Console()
    errors: list[HeadwayError] = []
    found = []
    for path in recordings:
        try:
            found.append(analyse(path, late_us))
        except HeadwayError as e:
            errors.append(e)
            if len(recordings) > 1 and not json:
                console.print(f"[red]{escape(str(e))}[/red]", soft_wrap=True)
            continue
        if not json:
            show(console, found[-1])
    if len(found) > 1 and not json:
        _together(console, found)
    if json:
        console.file.write(json_module.dumps([plain(x) for x in found], indent=1) + "\n")
        for other in errors[1:]:
            output.complain(f"headway: {other}")
    if errors:
        raise errors[0]
    return int(any(x.damaged or x.truncated for x in found))


def plain(found: Latency) -> dict[str, Any]:
    """`found` as data for JSON: durations in [us], and counts per cause beside the late ticks."""
    causes = [
        {"cause": c, "ticks": n, "missed": m, "worst_us": w} for c, n, m, w in by_cause(found.late)
    ]
    return asdict(found) | {"path": str(found.path), "causes": causes}


def show(console: Any, x: Latency) -> None:
    """Print the timing of one recording on `console`, of Rich."""
    console.print(f"[bold]{escape(str(x.path))}[/bold]", soft_wrap=True, highlight=False)
    period = 1e6 / x.hz
    console.print(
        f"{x.ticks} ticks at {x.hz:g} Hz ({period:.0f} us each) on the {x.clock} clock, {x.source}",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip
    lockstep = x.clock != "wall"
    if lockstep:
        console.print(
            "lock-step: the times are those of the computer that made this recording, and "
            "deadlines do not apply: lateness and camera-to-command delays are therefore not shown",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
    for key, value in x.environment.items():
        console.print(f"  [dim]{escape(key)}: {escape(value)}[/dim]", soft_wrap=True)
    console.print(_table("stage", x.stages, x.budget))
    if not lockstep:
        console.print(f"{x.over} ticks took longer than their period")
    if x.ages:
        console.print(_table("age when used", x.ages))
    if x.chains:
        console.print(_table("way", x.chains))
    if x.commands is not None:
        console.print(_commands(x.commands.n, x.commands.outside), highlight=False)
    m = x.motion
    if m is not None:
        console.print(
            f"command -> measured motion: {m.delay_ms:.2f} +- {m.error_ms:.2f} ms, least squares "
            f"over {m.windows} s of motion, {m.residual:.2g} rad RMS left over",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
    if not lockstep:
        _show_late(console, x)
    for note in x.notes:
        console.print(f"[yellow]note[/yellow] {escape(note)}", soft_wrap=True)
    console.print()


def _commands(n: int, outside: dict[str, int]) -> str:
    bad = ", ".join(f"{k} {v}" for k, v in outside.items() if v)
    return f"{n} commands, {bad or 'none'} outside the arm's limits"


def _together(console: Any, found: Sequence[Latency]) -> None:
    """Print the sums over all recordings."""
    known = [x.commands for x in found if x.commands is not None]
    ticks, missed = sum(x.ticks for x in found), sum(x.missed for x in found)
    late = [t for x in found for t in x.late]
    seconds = sum(x.ticks / x.hz for x in found)
    console.print(
        f"[bold]{len(found)} recordings[/bold], {seconds:.0f} s: {ticks} ticks, {missed} deadlines "
        f"missed, {len(late)} ticks began late",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if known:
        names = dict.fromkeys(name for c in known for name in c.outside)
        outside = {name: sum(c.outside.get(name, 0) for c in known) for name in names}
        console.print(_commands(sum(c.n for c in known), outside), highlight=False)
    if late:
        console.print(_causes(late))


def _show_late(console: Any, x: Latency) -> None:
    console.print(_table("beginnings", [v for v in (x.lateness, x.jitter) if v is not None]))
    console.print(
        f"{x.missed} deadlines missed; {len(x.late)} ticks began more than {x.threshold_us:g} us "
        "late",
        highlight=False,
    )
    if not x.late:
        return
    console.print(_causes(x.late))
    worst_ticks = sorted(x.late, key=lambda t: -t.late_us)[:SHOWN]
    said = ", ".join(f"{t.late_us:.0f} us at {t.t_s:.3f} s ({t.cause})" for t in worst_ticks)
    console.print(f"latest: {said}", soft_wrap=True, highlight=False)


def _causes(late: Sequence[LateTick]) -> Table:
    causes = Table(box=box.SIMPLE_HEAD)
    for name in ("cause", "late ticks", "missed", "worst [us]"):
        causes.add_column(escape(name), justify="left" if name == "cause" else "right")
    for cause, n, missed, worst in by_cause(late):
        causes.add_row(cause, str(n), str(missed), f"{worst:.0f}")
    return causes


def _table(title: str, lines: Sequence[Line], budget: dict[str, float] | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(f"{title} \\[us]")
    heads = ["p50", "p95", "p99", "p99.9", "max", "n"] + (["p99 of period"] if budget else [])
    for head in heads:
        table.add_column(head, justify="right")
    for x in lines:
        cells = [_number(v) for v in (x.p50, x.p95, x.p99, x.p999, x.max)]
        share = [f"{100 * budget[x.name]:.1f} %"] if budget else []
        table.add_row(x.name, *cells, str(x.n), *share)
    return table


def _number(x: float) -> str:
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"
