"""What is new of an order, as events: lines that become due, lines that are closed, and confirms of
the station's sensors."""

from __future__ import annotations

from headway.edge.control.events import EventKind
from headway.edge.control.log import NullLog
from headway.types import OrderState


class OrderWatch:
    """Writes to `log` what changes in what the station says."""

    def __init__(self, log: NullLog) -> None:
        self._log = log
        self._last: OrderState | None = None

    def step(self, order: OrderState | None, t_ns: int) -> bool:
        """Take in what the station says at `t_ns` [ns]; None: nothing, so nothing is new. Returns
        whether a line becomes due."""
        last = self._last
        if order is None or order is last:
            return False
        self._last = order
        numbers = {"line": float(order.line), "lines": float(order.lines)}
        before = {} if last is None else {**numbers, "line": float(last.line)}
        for subject, is_on, was_on in (
            ("place", order.place == 1.0, last is not None and last.place == 1.0),
            ("barcode", order.barcode == 1.0, last is not None and last.barcode == 1.0),
            ("scale", order.scale == 1.0, last is not None and last.scale == 1.0),
            ("scale mismatch", order.mismatch, last is not None and last.mismatch),
        ):
            if is_on and not was_on:
                text = f"the station confirms: {subject}"
                if order.mismatch and subject == "scale mismatch":
                    text = "the scale finds another weight than it should"
                about = before or numbers  # a line that closes by a confirm is the one it is about
                self._log.event(t_ns, EventKind.CONFIRM, "info", text, subject, about)
        closed = 0 if last is None else last.line
        for line in range(closed, order.line):
            text = f"line {line + 1} of {order.lines} is closed"
            about = {**numbers, "line": float(line)}
            self._log.event(t_ns, EventKind.LINE_CLOSED, "info", text, numbers=about)
        begun = order.line < order.lines and (last is None or order.line != last.line)
        if begun:
            self._log.event(t_ns, EventKind.LINE_BEGUN, "info", order.instruction, numbers=numbers)
        return begun
