"""The compiled module of small things that every tick does beside the guard: `edge.control.row`,
`edge.control.payload`, `edge.control.audit` and `edge.recording.pen` have them in Python, the
readable reference. `edge.recording.fence` is in it as well.

After 2 ms of sleep little of a tick is in a cache, so what counts is how little code and memory is
touched: there the compiled ones save more than their arithmetic takes.
"""

from __future__ import annotations

from typing import Any

from headway import compiled

VERSION = 3  # of what the compiled module offers


def module(impl: compiled.Impl) -> Any:
    """The compiled module where it computes, None where Python does. Raises Missing."""
    return compiled.choose(impl, "headway.edge.recording._tick", VERSION, "the compiled tick")


def twin(name: str, python: type, impl: compiled.Impl) -> Any:
    """The compiled class `name`, or `python`, which does the same. Raises Missing."""
    native = module(impl)
    return python if native is None else getattr(native, name)
