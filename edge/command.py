"""`headway run`."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from headway.clock import VirtualClock, WallClock
from headway.edge import settings as settings_module
from headway.edge.build import Built
from headway.edge.loop import Result
from headway.edge.realtime import realtime as realtime_setup
from headway.edge.runner import record_episode
from headway.edge.station import Station
from headway.edge.summary import Episode, separation, success_line
from headway.edge.view import View
from headway.errors import ConfigError

STOPPED = ("fault", "protective stop")


def run_command(
    config: Path,
    episodes: int,
    seed: int,
    out: Path | None,
    realtime: bool,
    view: bool,
    report: bool,
    overwrite: bool,
    require: tuple[str, ...],
) -> int:
    """Returns the exit code: 0, 1 when an episode ended in a fault or a protective stop, 130 when
    interrupted."""
    if episodes < 1:
        raise ConfigError(f"wanted --episodes of at least 1, found {episodes}")
    console = Console()
    settings = settings_module.load(config)
    out = out or Path("runs") / f"{config.stem}-{seed}"
    clock = WallClock() if realtime else VirtualClock(1)
    done: list[Episode] = []
    with Station(settings, clock) as station:
        built = Built(settings, config.parent, station, clock, require=require)
        try:
            for line in built.choices:
                console.print(f"[dim]{line}[/dim]")
            stop = _stop_on_signals(built)
            progress = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=view,
            )  # fmt: skip
            first = realtime_setup(settings.realtime) if realtime else nullcontext(None)
            with progress, stop, first as setup:
                for line in setup.lines if setup else ():
                    progress.console.print(f"[dim]{escape(line)}[/dim]", soft_wrap=True)
                bar = progress.add_task("episodes", total=episodes)
                for i in range(episodes):
                    if built.loop.stop_requested:
                        break
                    path = out / f"episode_{seed + i}.mcap"
                    runner = _viewed(built, console) if view else _Plain()
                    with runner:
                        result = record_episode(
                            built.loop, seed + i, path, chunk_shape=built.chunk_shape,
                            metadata=built.facts, overwrite=overwrite, setup=setup,
                        )  # fmt: skip
                    done.append(Episode(seed + i, result, built.loop.trace))
                    progress.console.print(_line(seed + i, result))
                    progress.advance(bar)
                    if report:
                        from headway.edge.report import write_report

                        progress.console.print(f"  report {write_report(path)}")
                    # Somebody has to look at the robot first; the cell is a new one each time.
                    if result.end == "fault" or (result.end in STOPPED and station.cell is None):
                        break
        finally:
            built.close()
    _summary(console, done, out)
    if built.loop.stop_requested:
        console.print("interrupted: what was recorded is complete and closed")
        return 130
    return int(any(e.result.end in STOPPED for e in done))


def _viewed(built: Built, console: Console) -> View:
    return View(built.loop, console)


class _Plain:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


class _stop_on_signals:  # noqa: N801 - reads as a statement
    """First Ctrl-C or SIGTERM: the loop stops the arm and closes the recording. A second one ends
    the process."""

    def __init__(self, built: Built) -> None:
        self._loop = built.loop
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._request)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._loop.stop_requested:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._loop.stop_requested = True


def _line(seed: int, r: Result) -> str:
    word = {True: "[green]success[/green]", False: "[red]failure[/red]", None: "-"}[r.success]
    return (
        f"seed {seed}: {word} ({r.end}, {r.seconds:.1f} s, {r.retries} retries, "
        f"peak {r.peak_force:.0f} N, {r.rejected} rejected, {r.missed} missed, "
        f"reward {r.reward:+.2f})" + (f"\n  [red]{escape(r.why)}[/red]" if r.why else "")
    )


def _summary(console: Console, done: list[Episode], out: Path) -> None:
    line = success_line([e.result for e in done])
    if line:
        console.print(line)
    table = separation(done)
    if table is not None:
        console.print(table)
    if done:
        console.print(f"recordings in {out}")
