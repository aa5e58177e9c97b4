"""The compiled module of small things that every tick does beside the guard: `edge.control.row`,
`edge.control.payload`, `edge.control.audit` and `edge.recording.pen` have them in Python, the
readable reference.

After 2 ms of sleep little of a tick is in a cache, so what counts is how little code and memory is
touched: there the compiled ones save more than their arithmetic takes.
"""

from __future__ import annotations

from typing import Any

from headway import compiled

VERSION = 2  # of what the compiled module offers


def native() -> Any:
    """The compiled module, or None where it is missing."""
    return compiled.optional("headway.edge.recording._tick", VERSION)
