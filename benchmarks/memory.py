"""What a run costs in memory, and an import in time, each in a process of its own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from headway.benchmarks import _child
from headway.benchmarks._findings import Findings, Number
from headway.benchmarks._inside import HEAVY
from headway.benchmarks._run import run_arguments

_LOADED = "import sys{}; print(*[m for m in {} if m in sys.modules], sep=',')"


def imported(what: str, repeats: int) -> tuple[float, float, list[str]]:
    """Least seconds of a process that imports `what`, of one that imports nothing, taking turns,
    and which of the heavy packages the import brought."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for code, into in zip((f"import {what}", "pass"), times, strict=True):
            begun = perf_counter()
            _child.python(["-c", code])
            into.append(perf_counter() - begun)
    brought = _child.python(["-c", _LOADED.format(f", {what}", HEAVY)]).strip()
    return min(times[0]), min(times[1]), [m for m in brought.split(",") if m]


def measure(effort: float = 1.0) -> Findings:
    repeats = max(1, round(7 * effort))
    numbers = []
    for what, target in (
        ("headway", 0.2),
        ("headway.cli", None),
        ("headway.edge.control.loop", None),
    ):
        with_it, without, brought = imported(what, repeats)
        numbers.append(Number(f"import {what}", with_it - without, "s", target))
        if target is not None:
            numbers.append(Number("heavy packages that it imports", len(brought), "", 0.0))
    numbers.append(Number("bare interpreter beside it", without, "s"))
    with TemporaryDirectory() as folder:
        arguments, notes = run_arguments(Path(folder), seconds=5.0 * min(1.0, effort))
        found = _child.call("_inside", "peaks", arguments=arguments)
    if found["code"] not in (0, 1):
        raise RuntimeError(f"`headway run` ended with {found['code']}")
    both = found["run"] + found["writer"]
    numbers += [
        Number("headway run with its recorder, peak resident", both, "MB", 400.0),
        Number("... the run itself", found["run"], "MB"),
        Number("... the recorder's process", found["writer"], "MB"),
        Number("torch imported by a run", float("torch" in found["loaded"]), "", 0.0),
    ]
    words = f"imports: best of {repeats}, less a bare interpreter; heavy: {', '.join(HEAVY)}"
    where = "the run is in lock-step; with --realtime the policy has a process of its own besides"
    return Findings("Memory of a run, time of an import", numbers, notes=(*notes, words, where))
