"""`headway study`: register a plan, run its units, write the page about what came out."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape

from headway import shipped
from headway.errors import ConfigError
from headway.learn import files
from headway.learn.executors.executor import Executor
from headway.learn.study import plan as plans
from headway.learn.study import registration, results
from headway.learn.study.beside import beside
from headway.learn.study.plan import Plan
from headway.learn.study.run import State, run
from headway.learn.study.summary import Other, Results, summarise
from headway.learn.study.table import Shown, summary
from headway.learn.study.units import load_runner

STUDY, SMOKE = "plan.toml", "smoke.toml"
RESULTS, WORK, PAGE = Path("benchmarks/results/study"), Path("runs/study"), Path("docs/study.md")
SMOKE_WORK = Path("runs/study-smoke")
LOST = 1  # exit code where a unit failed


@dataclass(frozen=True)
class Options:
    """Where a study runs, and where its files are; None: the usual place."""

    smoke: bool = False
    register: bool = False
    page: bool = False
    ray: str | None = None
    workers: int | None = None
    out: Path | None = None
    work: Path | None = None
    page_file: Path | None = None
    beside: tuple[Path, Path] | None = None


def study_command(plan: Path | None, options: Options, console: Console | None = None) -> int:
    """Do what `options` say with the plan at `plan`. Returns 1 when a unit failed. Raises
    ConfigError for a plan that does not fit or has changed since its registration (its page can
    still be written: it shows what was registered), Busy when another study works in the same
    folder, OutputError for a full disk, RecordingError for results that are damaged or of another
    plan."""
    console = console or Console()
    if sum((options.smoke, options.register, options.page)) > 1:
        raise ConfigError("wanted one of --smoke, --register and --page, found more: take one")
    path = plan or _ours(SMOKE if options.smoke else STUDY)
    out = options.out or RESULTS
    if options.page:
        return _page_of(path, out, options, console)
    if options.beside is not None:
        raise ConfigError("wanted --beside with --page, found it alone: add --page")
    made = plans.load(path)
    now = registration.now(made, path.parent, whole=options.register or options.smoke)
    if options.register:
        written = registration.register(path, now)
        _say(console, f"{written}: {now.sha256}. Commit it before the study runs.")
        return 0
    if options.smoke:
        # Whatever changes is another trial of the machinery, with a folder of its own.
        folder = (options.work or SMOKE_WORK) / now.sha256[:12]
        out = options.out or folder / "results"
        code = _run(made, now.sha256, out, folder, options, console)
        _page(made, now.sha256, out, options.page_file or folder / "study.md", console, smoke=True)
        return code
    work = options.work or WORK
    registration.hold(path, now, out, work)
    registration.check_code(path, made.runner)
    return _run(made, now.sha256, out, work, options, console)


def _ours(name: str) -> Path:
    """Our own plan `name`: that of the repository one works in, else that of the package."""
    here = Path("configs/study") / name
    return here if here.exists() else shipped.CONFIG.parent / "study" / name


def _run(plan: Plan, sha256: str, out: Path, work: Path, options: Options, console: Console) -> int:
    units = plans.units(plan)
    load_runner(plan.runner)
    with files.alone(work, "the working folder"), files.alone(out, "the results"):
        results.finished(out, sha256, units)  # before a cluster starts for nothing
        with _terminated(), _executor(options) as executor, Shown(console) as show:
            state = run(
                units,
                runner=plan.runner,
                study=plan.name,
                registration=sha256,
                out=out,
                work=work.resolve(),
                executor=executor,
                show=show,
            )
    _say(console, f"{summary(state)}: {out}")
    return _failures(state, console)


def _failures(state: State, console: Console) -> int:
    for name, why in state.failed.items():
        _say(console, f"{name} failed: {why}")
    return LOST if state.failed else 0


def _executor(options: Options) -> Executor:
    if options.ray is not None:
        from headway.learn.executors import on_ray

        return on_ray.connect(options.ray, options.workers)
    from headway.learn.executors import processes

    every = len(os.sched_getaffinity(0))
    return processes.connect(every if options.workers is None else options.workers)


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM and a hangup end a study as Ctrl-C does: its processes end with it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, interrupt) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _page_of(path: Path, out: Path, options: Options, console: Console) -> int:
    """The page of the plan at `path`, by what was registered, perhaps beside another study."""
    made, held = registration.registered(path)
    page = options.page_file or PAGE
    if options.beside is None:
        _page(made, held.sha256, out, page, console)
        return 0
    their, registered = registration.registered(options.beside[0])
    found = results.finished(out, held.sha256, plans.units(made))
    others = results.finished(options.beside[1], registered.sha256, plans.units(their))
    joined, both = beside(made, found, their, others)
    _write(joined, held.sha256, both, page, console, other=Other(their, registered.sha256))
    return 0


def _page(
    plan: Plan, sha256: str, out: Path, page: Path, console: Console, smoke: bool = False
) -> None:
    found = results.finished(out, sha256, plans.units(plan))
    _write(plan, sha256, found, page, console, smoke)


def _write(
    plan: Plan,
    sha256: str,
    found: Results,
    page: Path,
    console: Console,
    smoke: bool = False,
    other: Other | None = None,
) -> None:
    from headway.learn.study.page import write_page

    with console.status("drawing intervals"):
        made = summarise(plan, sha256, len(plans.units(plan)), found, other)
    for path in write_page(made, page, smoke=smoke):
        _say(console, f"wrote {path}")


def _say(console: Console, text: str) -> None:
    console.print(escape(text), soft_wrap=True, highlight=False)
