"""Measure in a process of its own: fresh imports, its own memory, one core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from headway.benchmarks._robot import ROOT

_ALL_THREADS = 2  # CPUCLOCK_SCHED of Linux
_CODE = """
import json, os, sys
module, function, core, arguments = sys.argv[1:]
if core != "any":
    os.sched_setaffinity(0, {int(core)})
from importlib import import_module
run = getattr(import_module("headway.benchmarks." + module), function)
print("\\n" + json.dumps(run(**json.loads(arguments))))
"""


def call(module: str, function: str, *, core: int | None = None, **arguments: Any) -> Any:
    """`function(**arguments)` of our `module` in a new process that, with all that it starts, stays
    on `core`; arguments and result go through JSON. Raises RuntimeError with what it said."""
    where = "any" if core is None else str(core)
    return json.loads(
        python(["-c", _CODE, module, function, where, json.dumps(arguments)]).splitlines()[-1]
    )


def python(arguments: Sequence[str]) -> str:
    """What `python *arguments` prints. Raises RuntimeError unless it ends well."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=600, env=environment(), check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"a benchmark's process ended with {done.returncode}: {done.stderr}")
    return done.stdout


def environment() -> dict[str, str]:
    """As of this process, finding the same Headway."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def quiet_core() -> int:
    """The core that did least in the last tenth of a second, of those we may use."""
    before = _idle()
    time.sleep(0.1)
    after = _idle()
    return max(os.sched_getaffinity(0), key=lambda c: after.get(c, 0) - before.get(c, 0))


def _idle() -> dict[int, int]:
    """Idle ticks per core."""
    with open("/proc/stat") as f:
        rows = [line.split() for line in f if line.startswith("cpu") and line[3].isdigit()]
    return {int(r[0][3:]): int(r[4]) for r in rows}


def used_by(pid: int) -> float:
    """Processor time of all threads of a running process [s], by its own clock, which is made of
    its number as in clock_getcpuclockid(3): what /proc says is in ticks of 10 ms. Raises OSError
    where there is no such process."""
    return time.clock_gettime(~pid << 3 | _ALL_THREADS)
