"""`python -m headway.benchmarks`: run them, print each number beside its target, met or not."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import sys
import time
import traceback
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

import headway
from headway import plugins
from headway.benchmarks._findings import Findings, Number, Table
from headway.errors import ConfigError, HeadwayError

FOLDER = "benchmarks"
RESULTS = Path(__file__).resolve().parent / "results"
# What else the numbers depend on, and what they are compared with, where it is installed.
PACKAGES = (
    "onnxruntime", "mujoco", "torch", "numba", "pin", "lerobot", "openpi-client", "reflex-vla",
    "pycatch22", "tsfel", "tsfresh",
)  # fmt: skip


def benchmarks(
    only: tuple[str, ...] = (), json: Path | None = None, save: bool = False, effort: float = 1.0
) -> int:
    """Run the benchmarks and print their tables. Returns 1 where a benchmark failed, else 0. The
    exit code does not say whether targets were met: that is in the tables.

    Args:
        only: names; all by default.
        json: also write everything to this file.
        save: also write it to benchmarks/results/cpu-MACHINE.json.
        effort: of the usual durations and repeats, a fraction.
    """
    if not 0.0 < effort < math.inf:
        raise ConfigError(f"wanted an --effort above 0, found {effort:g}: 1 is the usual one")
    console = Console()
    names = plugins.kinds(FOLDER)
    modules = {name: plugins.load(FOLDER, name) for name in only or names}
    about = machine()
    console.print(" · ".join(f"{k} {v}" for k, v in about.items()), style="dim", highlight=False)
    found: dict[str, Findings] = {}
    for name, module in modules.items():
        # A plain line: a spinner has a thread that wakes beside what is measured.
        console.print(f"\n{name} ...", style="dim", highlight=False)
        found[name] = measured(name, module, effort)
        show(console, name, found[name])
    text = as_json(about, effort, found)
    files = [json] if json is not None else []
    if save:
        files.append(RESULTS / f"cpu-{label(about['cpu'], os.cpu_count() or 1)}.json")
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        console.print(f"wrote {path}")
    summary(console, found)
    return int(any(f.failed for f in found.values()))


def measured(name: str, module: ModuleType, effort: float) -> Findings:
    """What the benchmark `name` finds. Where it raises, that is printed and noted, so that what the
    others have found in a quarter of an hour is not lost with it."""
    try:
        found: Findings = module.measure(effort)
    except Exception as e:
        traceback.print_exc()
        return Findings(name, failed=f"{type(e).__name__}: {e}")
    return found


def machine() -> dict[str, str]:
    """What the numbers depend on; `load` is that of the last minute before they were taken."""
    return {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "kernel": platform.release(),
        "headway": headway.__version__,
        "date": time.strftime("%Y-%m-%d"),
        **{name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str:
    """Of an installed package, "" where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def label(cpu: str, cores: int) -> str:
    """A short file name for a machine: `amd-epyc-2`."""
    words = re.sub(r"\(.*?\)|@.*|\b(CPU|Processor|\d+-Core)\b", " ", cpu)
    return "-".join([*re.findall(r"[a-z0-9]+", words.lower())[:4], str(cores)])


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:
        pass
    return platform.machine()


def show(console: Console, name: str, f: Findings) -> None:
    """Print what the benchmark `name` has found."""
    console.print(f"\n[bold]{escape(f.title)}[/bold]  [dim]{name}[/dim]")
    if f.skipped:  # what is to be installed is often in brackets, as tags of `rich` are
        console.print(f"  [yellow]skipped:[/yellow] {escape(f.skipped)}", highlight=False)
    if f.failed:
        console.print(f"  [red]failed:[/red] {escape(f.failed)}", highlight=False)
    if f.numbers:
        table = RichTable(box=None, pad_edge=True)
        for column, justify in (
            ("", "left"),
            ("found", "right"),
            ("", "left"),
            ("target", "right"),
        ):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        table.add_column("")
        for n in f.numbers:
            table.add_row(escape(n.name), number(n.value), n.unit, _target(n), _word(n))
        console.print(table)
    for t in f.tables:
        _print_table(console, t)
    for note in f.notes:
        console.print(f"  [dim]{escape(note)}[/dim]", highlight=False)


def _print_table(console: Console, t: Table) -> None:
    title = f"{t.title} [{t.unit}]" if t.unit else t.title
    table = RichTable(box=None, title=title.replace("[", r"\["))
    table.title_justify = "left"
    table.add_column("")
    for column in t.columns:
        table.add_column(column.replace("[", r"\["), justify="right")
    for name, values in t.rows:
        table.add_row(escape(name), *map(number, values))
    console.print(table)


def summary(console: Console, found: dict[str, Findings]) -> None:
    """Print how many targets were met, and which were not; `found` is by name of the benchmark."""
    judged = [n for f in found.values() for n in f.numbers if n.met is not None]
    missed = [n for n in judged if not n.met]
    skipped = [name for name, f in found.items() if f.skipped]
    failed = [name for name, f in found.items() if f.failed]
    line = f"\n{len(judged) - len(missed)} of {len(judged)} targets met"
    for n in missed:
        line += f"\n  missed: {n.name}: {number(n.value)} {n.unit}, target {_target(n)}"
    if skipped:
        line += f"\n  skipped: {', '.join(skipped)}"
    if failed:
        line += f"\n  failed: {', '.join(failed)}"
    console.print(line, highlight=False, markup=False)


def number(x: float) -> str:
    """Three significant digits, no exponent for what people read."""
    if x == 0 or not np.isfinite(x):
        return f"{x:g}"
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}" if abs(x) >= 1e-3 else f"{x:.1e}"


def _target(n: Number) -> str:
    return "" if n.target is None else f"{'<=' if n.at_most else '>='} {n.target:g}"


def _word(n: Number) -> str:
    return {None: "", True: "[green]met[/green]", False: "[red]missed[/red]"}[n.met]


def as_json(about: dict[str, str], effort: float, found: dict[str, Findings]) -> str:
    """What `--json` writes: the machine `about`, the `effort`, and what was `found`, by name of the
    benchmark. A value that is not finite becomes null, since JSON has none."""

    def plain(f: Findings) -> dict[str, Any]:
        return asdict(f) | {"numbers": [asdict(n) | {"met": n.met} for n in f.numbers]}

    content = {
        "machine": about,
        "effort": effort,
        "benchmarks": {name: plain(f) for name, f in found.items()},
    }
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """`value`, of dicts, lists and tuples, with None for each float that is not finite."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> int:
    try:
        return tyro.cli(benchmarks, prog="python -m headway.benchmarks")
    except HeadwayError as e:
        print(f"benchmarks: {e}", file=sys.stderr)
        return e.exit_code


if __name__ == "__main__":
    sys.exit(main())
