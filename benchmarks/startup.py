"""From the start of the process to the first tick of `headway run`."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from headway.benchmarks import _child
from headway.benchmarks._findings import Findings, Number
from headway.benchmarks._run import run_arguments


def measure(effort: float = 1.0) -> Findings:
    runs = []
    with TemporaryDirectory() as folder:
        arguments, notes = run_arguments(Path(folder), seconds=5.0)
        for _ in range(max(1, round(5 * effort))):
            born = time.monotonic_ns()
            runs.append(_child.call("_inside", "marks", arguments=arguments, born_ns=born))
    names = list(runs[0])
    parts = np.diff([[r[name] for name in names] for r in runs], axis=1, prepend=0.0)
    middle = np.median(parts, axis=0)
    total = float(np.median([r[names[-1]] for r in runs]))
    return Findings(
        "Process start to first tick",
        [
            Number("process start to first tick", total, "s"),
            *(Number(f"... {n}", float(p), "s") for n, p in zip(names, middle, strict=True)),
        ],
        notes=[*notes, f"medians of {len(runs)}"],
    )
