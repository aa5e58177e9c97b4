"""What a study shows while it runs: a live table in a terminal, a line now and then elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from headway.learn.study.run import Show, State
from headway.learn.study.units import Progress


class Shown(Show):
    """`with Shown(console) as show:`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=2, transient=True)
        # The newest round of each unit that a line was about, and whether the unit waited then.
        self._told: dict[str, tuple[int, bool]] = {}

    def __enter__(self) -> Shown:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self._live.stop()

    def line(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True, highlight=False)

    def state(self, state: State) -> None:
        if self._console.is_terminal:
            self._live.update(view(state))
            return
        for name, progress in state.running.items():
            now = progress.round, progress.waits
            if (progress.share or progress.waits) and self._told.get(name) != now:
                self._told[name] = now
                self.line(f"{name}: {_words(progress)}; {summary(state)}")


def view(state: State) -> Group:
    """The table of the units that run, with a line about all."""
    table = Table(box=None, pad_edge=False)
    for column in ("unit", "round", "doing", "done", "success", "robot time"):
        table.add_column(column, justify="left" if column in ("unit", "doing") else "right")
    for name, p in state.running.items():
        success = "" if p.success is None else f"{p.success:.2f}"
        table.add_row(
            escape(name), str(p.round), escape(p.doing), f"{p.share:.0%}", success,
            f"{p.robot_s / 60:.0f} min",
        )  # fmt: skip
    return Group(table, Text(summary(state)))


def summary(state: State) -> str:
    """How far the study is, and when it may be finished."""
    words = f"{len(state.done)} of {state.total} units finished"
    if state.failed:
        words += f", {len(state.failed)} failed"
    left = state.left_s if state.running else None
    return words if left is None else f"{words}, about {_time(left)} to go"


def _words(p: Progress) -> str:
    success = "" if p.success is None else f", success {p.success:.2f}"
    return f"round {p.round}, {p.doing}, {p.share:.0%}{success}, {p.robot_s / 60:.0f} robot-min"


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
