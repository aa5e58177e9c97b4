"""What `headway hil` does: choose the devices, say what will be done to them, check them, and write
what was found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from headway.errors import ConfigError, DeviceError, HeadwayError, Missing
from headway.hil.suite import outputs, page, robots, runner
from headway.hil.suite.promises import PROMISES, of
from headway.hil.suite.results import QUICK, Bounds, Result
from headway.hil.suite.subject import Subject

_CYCLES_S = 30.0  # [s] of opening and closing a device, with --all


@dataclass(frozen=True)
class Options:
    """`move`: real devices may be moved; `allow_hardware`: faults may be brought about on lines to
    them; `quick`: shorter looks, fewer cycles; `cycles` of opening and closing, None for the usual
    number; `only`: the promises whose names begin so; `devices`: those whose names begin so; `out`:
    folder for the files."""

    move: bool = False
    allow_hardware: bool = False
    quick: bool = False
    cycles: int | None = None
    only: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    out: Path = Path("runs/hil")

    @property
    def bounds(self) -> Bounds:
        """Raises ConfigError for a promise in `only` that there is not, and for no cycles."""
        if self.cycles is not None and self.cycles < 1:
            raise ConfigError(f"--cycles wants 1 or more, found {self.cycles}")
        for word in self.only:
            if not any(p.name.startswith(word) for p in PROMISES):
                names = ", ".join(p.name for p in PROMISES)
                raise ConfigError(f"--only wants promises ({names}), found {word!r}")
        bounds = QUICK if self.quick else Bounds()
        return bounds if self.cycles is None else structs.replace(bounds, cycles=self.cycles)


def plan(subject: Subject) -> str:
    """What will be done to `subject`, in a line."""
    said = [f"{subject.name}: opened and read"]
    if subject.partner is not None:
        said.append(f"against the emulator {subject.partner.name}")
    if subject.played:
        said.append("from a recording")
    elif any(p.moves for p in of(subject.folder)):
        step = "by at most 0.05 rad around where it stands" if subject.folder == "arms" else ""
        said.append(f"moved {step}".strip() if subject.may_move else "NOT moved (--move allows it)")
    if subject.wire is not None:
        said.append("faults on its line" if subject.may_fault else "no faults on its line")
    return ", ".join(said)


def check_all(
    chosen: Iterable[Subject | Result],
    options: Options,
    bounds: Bounds,
    tell: Callable[[str], None],
) -> list[Result]:
    """Check all of `chosen`, say each result by `tell` as it comes, and write the files, also where
    Ctrl-C comes first. A device that cannot be reached is a broken promise. Raises ConfigError, and
    DeviceError where the files cannot be written, before anything is checked."""
    _wanted_place(options.out)
    results: list[Result] = []

    def take(result: Result) -> None:
        results.append(result)
        tell(outputs.line(result))

    try:
        for one in chosen:
            if isinstance(one, Result):
                take(one)
                continue
            tell(plan(one))
            try:
                with one:
                    for result in runner.run(one, bounds, options.only):
                        take(result)
            except Missing as e:
                take(Result(one.name, "partner", "not applicable", str(e)))
            except Exception as e:  # what a library raises must not end the whole suite
                said = str(e) if isinstance(e, HeadwayError) else f"{type(e).__name__}: {e}"
                take(Result(one.name, "partner", "broken", said))
    finally:
        if results:
            write(results, options.out)
    return results


def _wanted_place(out: Path) -> None:
    """Makes the folder `out`. Raises DeviceError where no file can be written into it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as e:
        raise _not_written(out, e) from None


def write(results: Sequence[Result], out: Path) -> None:
    """Write the three files into the folder `out`. Raises DeviceError where that is not
    possible."""
    try:
        outputs.write_json(results, out / outputs.JSON)
        outputs.write_junit(results, out / outputs.JUNIT)
        page.write_page(results, out / outputs.PAGE, "Do the devices keep their promises?")
    except OSError as e:
        raise _not_written(out, e) from e


def _not_written(out: Path, e: OSError) -> DeviceError:
    return DeviceError(f"wanted to write the results into {out}, found {e}: choose --out")


def hil_command(
    robot: Path | None, every: bool, options: Options, tell: Callable[[str], None] = print
) -> int:
    """Check the devices of `robot`, or `every` driver kind. Returns the exit code: 1 where a
    promise is broken. Raises ConfigError, also where nothing was there to be checked."""
    if (robot is None) == (not every):
        raise ConfigError("wanted either a run configuration, or --all: name one of them")
    bounds = options.bounds
    if every:  # of some twenty kinds, none is to take the time of all
        bounds = structs.replace(bounds, cycles_s=min(bounds.cycles_s, _CYCLES_S))
    chosen: Iterable[Subject | Result] = (
        robots.of_all()
        if robot is None
        else robots.of_robot(robot, options.move, options.allow_hardware)
    )
    if options.devices:
        chosen = list(chosen)
        names = [one.name if isinstance(one, Subject) else one.device for one in chosen]
        for word in options.devices:
            if not any(name.startswith(word) for name in names):
                raise ConfigError(f"--devices wants some of {', '.join(names)}, found {word!r}")
        wanted = [name.startswith(options.devices) for name in names]
        chosen = [one for one, keep in zip(chosen, wanted, strict=True) if keep]
    tell("A stop by software is not a safety function: have the emergency stop at hand.")
    results = check_all(chosen, options, bounds, tell)
    if not results:
        raise ConfigError(
            f"wanted promises of these devices, found none that begins with "
            f"{' or '.join(options.only)}: choose others by --only"
        )
    tell("")
    for text in summary(results):
        tell(text)
    tell(f"written: {options.out}/{{{outputs.PAGE},{outputs.JUNIT},{outputs.JSON}}}")
    return int(any(r.verdict == "broken" for r in results))


def summary(results: Sequence[Result]) -> list[str]:
    """The matrix of faults by devices, what was counted, and the verdicts."""
    out = []
    rows = outputs.matrix(results)
    if len(rows) > 1:
        out += [outputs.text_table(rows), ""]
    out.append(", ".join(f"{k.replace('_', ' ')} {n}" for k, n in outputs.facts(results).items()))
    verdicts = ("kept", "broken", "not applicable")
    out.append(", ".join(f"{sum(r.verdict == v for r in results)} {v}" for v in verdicts))
    return out
