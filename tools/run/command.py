"""`headway run`: build the station and the loop, run the episodes, and print a summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

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

from headway import output
from headway.clock import VirtualClock, WallClock
from headway.drivers.inputs.keyboard import Keys, listening
from headway.edge.control import settings as settings_module
from headway.edge.control.build import Built
from headway.edge.control.ending import EXIT_INTERRUPTED, Ending, Outlet
from headway.edge.control.runner import record_episode
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.host import origin
from headway.edge.host.realtime import realtime as realtime_setup
from headway.edge.host.watchdog import Watchdog
from headway.edge.policy.policy import About
from headway.errors import ConfigError, HeadwayError
from headway.tools import flags
from headway.tools.run.inject import Faults, parse
from headway.tools.run.operator import NOTE, Operator
from headway.tools.run.options import RunOptions as RunOptions
from headway.tools.run.options import check, enough_files
from headway.tools.run.panel import Panel
from headway.tools.run.summary import (
    EpisodeSummary,
    cost_line,
    episode_line,
    numbers_lines,
    separation,
    success_line,
)
from headway.tools.run.takeover import NOTE as NOTE_PATCH
from headway.tools.run.takeover import Takeover
from headway.tools.view.viewer import Viewer, ViewOptions

STOPPED = ("fault", "protective stop")


def run_command(config: Path, run: RunOptions) -> int:
    """Run the configuration file `config` with the options `run`. Returns the exit code: 0; 1 when
    an episode ended in a fault or a protective stop, or a report could not be written;
    EXIT_INTERRUPTED when the run was asked to end (`headway.edge.control.ending`). Raises
    HeadwayError, and OSError when output could not be written; the arm has been stopped and the
    recording closed then."""
    return until_asked_to_end(run.realtime, partial(_run, config, run))


def until_asked_to_end(realtime: bool, work: Callable[[Ending, Console], int]) -> int:
    """Do `work` with a console, and let it end on request. Returns the exit code. Raises what
    `work` raises, and OSError when output could not be written."""
    console = Console()
    with Ending(realtime=realtime) as ending:
        screen = console.file
        outlet = Outlet(screen, ending)
        console.file = outlet.as_file()
        try:
            with enough_files():
                code = work(ending, console)
        except KeyboardInterrupt:
            if not ending.why:  # it was not raised by `ending`
                raise
            console.print(f"interrupted by {ending.why} before the first episode", highlight=False)
            code = EXIT_INTERRUPTED
    if outlet.error is not None:
        if not ending.by_signal:
            raise outlet.error
        output.discard(screen)
    return code


def _run(config: Path, run: RunOptions, ending: Ending, console: Console) -> int:
    out = run.out or Path("runs") / f"{config.stem}-{run.seed}"
    check(run, out)
    settings = settings_module.load(config)
    if run.policy is not None:
        settings = settings_module.with_policy(settings, run.policy, run.policy_map)
    if run.instruction is not None:
        settings = settings_module.with_instruction(settings, run.instruction)
    if run.patch and (settings.cell is None or settings.policy is None):
        raise ConfigError(
            f"--patch takes over from a policy in the simulated cell, {config} has no "
            f"[{'cell' if settings.cell is None else 'policy'}]: on a robot, a policy of kind "
            "teleop steers (docs/bring-your-own.md)"
        )
    clock = WallClock() if run.realtime else VirtualClock(1)
    origin.place()  # runs git, which takes time: do it before anything moves
    station = Station(settings, clock)
    faults = Faults(tuple(map(parse, run.inject)), clock)
    faults.install(station)
    done: list[EpisodeSummary] = []
    complete = True  # whether all that is to lie beside the recordings does
    keys = Keys(partial(console.print, markup=False, soft_wrap=True)) if run.patch else None
    with (
        _viewer(run.view, console) as viewer,
        nullcontext() if keys is None else listening(keys),
        station,
    ):
        wrap = None if keys is None else partial(Takeover, keys=keys)
        built = Built(settings, station, clock, require=run.require, wrap=wrap)
        try:
            for line in (*built.choices, *built.notes):
                console.print(f"[dim]{escape(line)}[/dim]")
            for line in faults.notes(built.loop.task.limit_s):
                console.print(f"[yellow]{escape(line)}[/yellow]", soft_wrap=True)
            if keys is not None:
                console.print(NOTE_PATCH, soft_wrap=True)
            if run.operator:
                console.print(NOTE, soft_wrap=True)
                Operator(built.loop, partial(console.print, markup=False, soft_wrap=True)).start()
            faults.attach(built.loop)
            ending.watch(built.loop)
            progress = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=run.panel,
            )  # fmt: skip
            first = realtime_setup(settings.realtime) if run.realtime else nullcontext(None)
            with progress, watched(settings, built, run.realtime), first as setup:
                for line in setup.lines if setup else ():
                    progress.console.print(f"[dim]{escape(line)}[/dim]", soft_wrap=True)
                bar = progress.add_task("episodes", total=run.episodes)
                for seed in range(run.seed, run.seed + run.episodes):
                    if built.loop.stop_requested:
                        break
                    path = out / f"episode_{seed}.mcap"
                    with Panel(built.loop, console) if run.panel else nullcontext():
                        result = record_episode(
                            built.loop, seed, path, metadata=built.facts, overwrite=run.overwrite,
                            setup=setup, view=viewer.feed if viewer is not None else None,
                        )  # fmt: skip
                    episode = built.loop.current
                    assert episode is not None
                    cost_ms = episode.planner.cost_ms
                    done.append(EpisodeSummary(seed, result, episode.trace, cost_ms))
                    progress.console.print(
                        episode_line(
                            seed, result, station.ft is not None, built.loop.pro is not None
                        ),
                        soft_wrap=True,
                    )
                    if episode.dropped:
                        progress.console.print(
                            f"  [yellow]{episode.dropped} messages are not in the recording: the "
                            "disk was too slow for them[/yellow]", soft_wrap=True,
                        )  # fmt: skip
                    progress.advance(bar)
                    complete &= _beside(path, run, progress.console)
                    # After a fault, or a protective stop without a world that is reset for the
                    # next episode, a person has to look at the robot first.
                    if result.end == "fault" or (result.end in STOPPED and station.world is None):
                        break
        finally:
            built.close()
    _summary(console, done, out, built.worker.about if built.worker is not None else None)
    if built.loop.stop_requested:
        by = f" by {ending.why}" if ending.why else ""
        console.print(f"interrupted{by}: what was recorded is complete and closed", soft_wrap=True)
        return EXIT_INTERRUPTED
    return int(not complete or any(e.result.end in STOPPED for e in done))


def _beside(path: Path, run: RunOptions, console: Console) -> bool:
    """See to what lies beside the new recording `path`: flags of one that it has replaced are
    removed, and a report is written where one is wanted. Returns whether that could be done; what
    could not is printed, since the robot can go on without it."""
    try:
        if run.overwrite and flags.clear(path):
            console.print(
                f"  removed {escape(flags.beside(path).name)}, the flags of the recording that was "
                "here before", soft_wrap=True,
            )  # fmt: skip
        if run.report:
            from headway.tools.report import write_report

            console.print(f"  report {escape(str(write_report(path)))}", soft_wrap=True)
    except HeadwayError as e:
        console.print(f"  [yellow]{escape(str(e))}[/yellow]", soft_wrap=True)
        return False
    return True


@contextmanager
def watched(settings: Settings, built: Built, realtime: bool) -> Iterator[None]:
    """In real time, let a watchdog process supervise the loop meanwhile."""
    stall_s, table = settings.loop.watchdog_s, dict(settings.arm)
    if not realtime or stall_s <= 0:
        yield
        return
    with Watchdog(stall_s, settings.loop.hz, str(table.pop("kind")), table) as built.loop.watchdog:
        yield


@contextmanager
def _viewer(options: ViewOptions, console: Console) -> Iterator[Viewer | None]:
    if not options.foxglove and not options.wants_rerun:
        yield None
        return
    with Viewer(options) as viewer:
        if options.foxglove:
            console.print(
                f"view {viewer.url} - in Foxglove or Lichtblick: Open connection, "
                "Foxglove WebSocket",
                soft_wrap=True,
            )
            if viewer.public:
                console.print(
                    f"[yellow]--view-host {options.host}: everybody who reaches this machine sees "
                    "the cameras and the telemetry[/yellow]",
                    soft_wrap=True,
                )
        yield viewer
    console.print(f"[dim]{viewer.report}[/dim]", soft_wrap=True)


def _summary(console: Console, done: list[EpisodeSummary], out: Path, policy: About | None) -> None:
    line = success_line([e.result for e in done])
    if line:
        console.print(line)
    for line in numbers_lines([e.result for e in done]):
        console.print(line, markup=False, soft_wrap=True)
    table = separation(done)
    if table is not None:
        console.print(table)
    if cost := cost_line(done, policy):
        console.print(cost, markup=False, highlight=False, soft_wrap=True)
    if done:
        console.print(f"recordings in {out}")
