"""`headway doctor --rt`: measure which rates of the control loop this machine can hold.

An empty loop runs with the real-time setup of `headway run --realtime`. In turns with it runs an
empty loop at ordinary priority that only sleeps; the difference is the benefit of the setup here.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headway.clock import Clock, WallClock
from headway.edge.host.realtime import RealtimeConfig, realtime
from headway.edge.host.system import System
from headway.errors import ConfigError
from headway.tools.doctor.cyclic import Punctuality, punctuality

OURS, PLAIN = "real-time setup", "plain sleep"


@dataclass(frozen=True)
class Measured:
    """The lateness of both loops per rate, in rising order: `ours` with the real-time setup,
    `plain` without. `granted` has a line for each step of the setup."""

    granted: tuple[str, ...]
    ours: tuple[Punctuality, ...]
    plain: tuple[Punctuality, ...]

    @property
    def summary(self) -> str:
        """The highest rate that the machine holds, or what to do where it holds none, as one
        line."""
        held = [p.hz for p in self.ours if p.held]
        if held:
            return f"this machine holds {max(held):g} Hz"
        return (
            f"this machine holds none of {', '.join(f'{p.hz:g}' for p in self.ours)} Hz: `headway "
            "doctor` says what to set; measure again with nothing else running"
        )


def rates_of(text: str) -> list[float]:
    """The rates [Hz] in `text`, in rising order: [500.0, 1000.0] for "500,1000". Raises
    ConfigError."""
    try:
        found = sorted(float(word) for word in text.split(","))
    except ValueError:
        found = []
    if not found or not all(0 < hz <= 100_000 for hz in found):
        raise ConfigError(f"wanted --hz as rates such as 500,1000, found {text!r}")
    return found


def measure(
    rates: Sequence[float],
    seconds: float,
    *,
    clock: Clock | None = None,
    sleeper: Clock | None = None,
    system: System | None = None,
) -> Measured:
    """Measure both loops at each of `rates` [Hz] for `seconds` [s]. `clock` is that of the loop
    with the real-time setup, which is made on `system`, and `sleeper` that of the other loop; by
    default those of this machine."""
    clock, sleeper = clock or WallClock(), sleeper or WallClock(spin_ns=0)
    ours, plain = [], []
    granted: list[str] = []
    for hz in rates:
        plain.append(punctuality(hz, seconds, sleeper))
        with realtime(RealtimeConfig(), system) as setup, setup.pinned():
            ours.append(punctuality(hz, seconds, clock))
            granted = setup.lines
    return Measured(tuple(granted), tuple(ours), tuple(plain))


def doctor_rt_command(
    seconds: float, hz: str, json: bool, *, measured: Measured | None = None, console: Any = None
) -> int:
    """Measure and print; `seconds` [s] per rate and loop, `hz` as in `rates_of`. Returns 0, or 1
    when the machine holds none of the rates. Raises ConfigError."""
    rates = rates_of(hz)
    if not 0 < seconds <= 3600:
        raise ConfigError(f"wanted --seconds of more than 0 and at most 3600, found {seconds}")
    console = console or Console()
    if measured is None:
        if not json:
            console.print(f"[dim]measuring for {2 * seconds * len(rates):.0f} s ...[/dim]")
        measured = measure(rates, seconds)
    if json:
        console.file.write(json_module.dumps(plain(measured), indent=1) + "\n")
    else:
        for line in measured.granted:
            console.print(f"[dim]{escape(line)}[/dim]", soft_wrap=True)
        console.print(_table(measured))
        for p in measured.ours:
            console.print(p.verdict, soft_wrap=True, highlight=False)
        console.print(measured.summary, soft_wrap=True, highlight=False)
    return int(not any(p.held for p in measured.ours))


def _rows(measured: Measured) -> list[tuple[str, Punctuality]]:
    return [
        (name, p)
        for pair in zip(measured.ours, measured.plain, strict=True)
        for name, p in zip((OURS, PLAIN), pair, strict=True)
    ]


def _numbers(p: Punctuality) -> dict[str, float]:
    return {
        "p50": p.percentile(50), "p99": p.percentile(99), "p99.9": p.percentile(99.9),
        "max": p.percentile(100),
    }  # fmt: skip


def plain(measured: Measured) -> dict[str, Any]:
    """`measured` as data for JSON; lateness in [us]."""
    rows = [
        {"hz": p.hz, "loop": name, "ticks": len(p.late_us), "missed": p.missed, "held": p.held}
        | _numbers(p)
        for name, p in _rows(measured)
    ]
    return {"granted": measured.granted, "rates": rows, "summary": measured.summary}


def _table(measured: Measured) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("rate", "lateness \\[us]", "p50", "p99", "p99.9", "max", "missed", "ticks"):
        left = head.startswith("late")
        table.add_column(head, justify="left" if left else "right", no_wrap=left)
    for name, p in _rows(measured):
        cells = [f"{v:.1f}" for v in _numbers(p).values()]
        table.add_row(f"{p.hz:g} Hz", name, *cells, str(p.missed), str(len(p.late_us)))
    return table
