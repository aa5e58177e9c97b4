"""`headway doctor`: what this machine has for running a robot, what is missing, and how to get it.

Every probe runs in its own thread with a time limit, and may fail in any way without stopping the
others. Probes see the machine only through a `Host`. Things that could crash or hang (the GPU
driver, real-time scheduling) are tried in a process of their own.
"""

from __future__ import annotations

import glob
import importlib.util
import json as json_module
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Status = Literal["ok", "warn", "missing"]
COLOURS = {"ok": "green", "warn": "yellow", "missing": "red"}
CELL = ("MuJoCo", "off-screen renderer")  # needed by the simulated cell only
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Finding:
    """The result of looking for one thing. `next_step` says what to do about it, "" for nothing.
    `required`: a basic run is impossible without it."""

    group: str
    name: str
    status: Status
    found: str
    next_step: str = ""
    required: bool = False


class Host:
    """The machine. Instead of raising, the methods return None, False or an empty list."""

    def read(self, path: str) -> str | None:
        """The text of the file at `path`, without white space and zero bytes at its ends."""
        try:
            return Path(path).read_text(errors="replace").strip("\0\n ")
        except OSError:
            return None

    def glob(self, pattern: str) -> list[str]:
        return sorted(glob.glob(pattern))

    def run(self, *argv: str, timeout: float = 5.0) -> str | None:
        """The output of the command `argv`, None if it failed or took longer than `timeout` [s]."""
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def python(self, code: str, timeout: float = 8.0) -> str | None:
        """The output of `code` in a new interpreter, None if that crashed or hung."""
        return self.run(sys.executable, "-c", code, timeout=timeout)

    def which(self, program: str) -> str | None:
        return shutil.which(program)

    def version(self, distribution: str) -> str | None:
        """The version of an installed package, found without importing it."""
        try:
            return metadata.version(distribution)
        except Exception:  # a damaged installation raises more than PackageNotFoundError
            return None

    def has_module(self, name: str) -> bool:
        """Whether the module `name` can be found; it is not imported."""
        try:
            return importlib.util.find_spec(name) is not None
        except (ImportError, ValueError, AttributeError):
            return False

    def may_open(self, path: str) -> bool:
        """Whether this user may read and write the file or device at `path`."""
        return os.access(path, os.R_OK | os.W_OK)


Probe = Callable[[Host], list[Finding]]


def diagnose(
    host: Host | None = None,
    probes: Sequence[Probe] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> list[Finding]:
    """The findings of all probes (default: all there are) on `host`, in their order. Never raises.
    A probe that takes longer than `timeout_s` [s] is abandoned."""
    if probes is None:
        from headway.tools.doctor.probes import PROBES

        probes = PROBES
    host = host or Host()
    findings: list[Finding] = []
    for probe in probes:  # one after the other, because one of them measures time
        findings += _isolated(probe, host, timeout_s)
    return findings


def _isolated(probe: Probe, host: Host, timeout_s: float) -> list[Finding]:
    result: list[Finding] = []
    done = threading.Event()

    def run() -> None:
        try:
            result.extend(probe(host))
        except BaseException as e:  # a probe may fail in any way
            said = f"the probe failed: {type(e).__name__}: {e}"
            result[:] = [Finding("doctor", _name(probe), "warn", said, "report this")]
        done.set()

    threading.Thread(target=run, daemon=True, name=_name(probe)).start()
    if done.wait(timeout_s):
        return result
    said = f"no answer within {timeout_s:g} s"
    return [Finding("doctor", _name(probe), "warn", said, "look at dmesg for a hung driver")]


def _name(probe: Probe) -> str:
    return getattr(probe, "__name__", "probe").replace("_", " ")


def exit_code(findings: Sequence[Finding]) -> int:
    """1 when something required is missing, else 0."""
    return int(any(f.required and f.status == "missing" for f in findings))


def table(findings: Sequence[Finding]) -> Table:
    """The findings as a table for the terminal, in groups."""
    out = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    out.add_column("", no_wrap=True)
    out.add_column("what", overflow="fold", min_width=14)
    out.add_column("found", overflow="fold", ratio=3)
    out.add_column("next step", overflow="fold", ratio=2)
    group = ""
    for f in findings:
        if f.group != group:
            group = f.group
            out.add_row("", f"[bold]{escape(group)}[/bold]", "", "")
        word = f"[{COLOURS[f.status]}]{f.status}[/{COLOURS[f.status]}]"
        out.add_row(word, escape(f.name), escape(f.found), escape(f.next_step))
    return out


def summary(findings: Sequence[Finding]) -> str:
    """Whether a basic run is possible, and how many findings there are of each status: one line in
    the markup of Rich."""
    lacking = [f.name for f in findings if f.required and f.status == "missing"]
    if lacking:
        return f"[red]a basic run is not possible here[/red]: missing {', '.join(lacking)}"
    cell = [f.name for f in findings if f.name in CELL and f.status == "missing"]
    what = "a basic run is possible here"
    if cell:
        what = f"a run on a robot is possible here, the simulated cell is not ({', '.join(cell)})"
    counts = {s: sum(f.status == s for f in findings) for s in ("ok", "warn", "missing")}
    rest = f"{counts['ok']} ok, {counts['warn']} to look at, {counts['missing']} not here"
    return f"[green]{what}[/green] ({rest})"


def doctor_command(
    json: bool = False, *, findings: Sequence[Finding] | None = None, console: Any = None
) -> int:
    """Print the findings, by default those of this machine. Returns 0, or 1 when something required
    is missing."""
    found = diagnose() if findings is None else list(findings)
    console = console or Console()
    if json:
        plain = {"possible": exit_code(found) == 0, "findings": [asdict(f) for f in found]}
        console.file.write(json_module.dumps(plain, indent=2) + "\n")
    else:
        console.print(table(found))
        console.print(summary(found))
    return exit_code(found)
