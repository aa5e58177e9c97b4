"""`headway run --panel`: a live panel in the terminal, which also works over ssh. A thread of its
own reads the loop's state periodically and draws it, so that drawing never delays a tick."""

from __future__ import annotations

import threading
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from headway.edge.control.loop import Loop
from headway.tools.recorded import phase_name

_SIGNALS = (("progress", "green"), ("stability", "cyan"), ("completion", "blue"), ("risk", "red"))


class Panel:
    """`with Panel(loop, console): ...` while an episode runs; drawn every `period_s` [s]."""

    def __init__(self, loop: Loop, console: Console, period_s: float = 0.1) -> None:
        self._loop, self._period = loop, period_s
        self._live = Live(self.table(), console=console, auto_refresh=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="panel", daemon=True)

    def __enter__(self) -> Panel:
        self._live.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)
        self._live.update(self.table(), refresh=True)
        self._live.__exit__(kind, value, tb)

    def table(self) -> Table:
        """The present state of the loop as a table."""
        table = Table(title="Headway", min_width=60)
        table.add_column("", min_width=12)
        table.add_column("now", min_width=40)
        if self._loop.current is None:
            table.add_row("state", "starting")
            return table
        v = self._loop.current.row.view
        phase = float(v["phase"])
        table.add_row("elapsed", f"{float(v['elapsed']):.1f} s of {float(v['limit']):g} s")
        name = phase_name(self._loop.phases, phase) if np.isfinite(phase) else "-"
        table.add_row("phase", escape(name))
        table.add_row("retries", f"{float(v['retries']):.0f}")
        table.add_row(r"TCP \[m]", escape(np.array2string(v["tcp"][:3], precision=3)))
        table.add_row(r"|F| \[N]", f"{float(np.linalg.norm(v['wrench'][:3])):.1f}")
        table.add_row(r"jaws \[mm]", f"{float(v['width']) * 1000:.1f}")
        if self._loop.pro is not None:
            signals = self._loop.pro.signals
            for name, colour in _SIGNALS:
                value = getattr(signals, name)
                table.add_row(
                    f"{name} {value:.2f}", ProgressBar(1.0, value, width=40, complete_style=colour)
                )
        return table

    def _draw(self) -> None:
        while not self._stop.wait(self._period):
            self._live.update(self.table(), refresh=True)
