"""What a chunk's player does at every tick: a waypoint, and moving averages over it. In Python, the
readable reference, and in C++ (`edge/motion/cpp/chunks.cpp`): the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headway import compiled
from headway.types import Vec

VERSION = 2  # of what the compiled module offers


class Smoother(Protocol):
    """A cascade of moving averages of `taps` ticks each over `n` joints."""

    @staticmethod
    def waypoint(
        q: NDArray[np.float64], k: int, u: float, offset: Vec, left: float, out: Vec, /
    ) -> None:
        """Between waypoints `k` and `k + 1` of `q` (h, n) at 0 <= u < 1, past the end the last one,
        plus what is `left` of `offset` (n,); written into `out` (n,)."""

    def rest(self, q: Vec, /) -> None:
        """As if `q` (n,) had been the value for ever."""

    def step(self, value: Vec, out: Vec, /) -> None:
        """The next value (n,); its average is written into `out` (n,)."""


class PythonSmoother:
    """The `Smoother` in Python, for `n` joints; `taps` has the length of each moving average
    [ticks]."""

    def __init__(self, n: int, taps: Sequence[int]) -> None:
        self._windows = [np.zeros((t, n)) for t in taps]
        self._sums = [np.zeros(n) for _ in taps]
        self._i = 0

    @staticmethod
    def waypoint(
        q: NDArray[np.float64], k: int, u: float, offset: Vec, left: float, out: Vec
    ) -> None:
        out[:] = q[-1] if k + 1 >= len(q) else q[k] * (1 - u) + q[k + 1] * u
        if left > 0:
            out += offset * left

    def rest(self, q: Vec) -> None:
        for window, total in zip(self._windows, self._sums, strict=True):
            window[:] = q
            window.sum(axis=0, out=total)

    def step(self, value: Vec, out: Vec) -> None:
        for window, total in zip(self._windows, self._sums, strict=True):
            i = self._i % len(window)
            total += value
            total -= window[i]
            window[i] = value
            if i == 0:  # a running sum drifts by rounding: start it afresh once per window
                window.sum(axis=0, out=total)
            value = total / len(window)
        self._i += 1
        out[:] = value


def module(impl: compiled.Impl) -> Any:
    """The compiled module where it computes, None where Python does. Raises Missing."""
    return compiled.choose(impl, "headway.edge.motion._chunks", VERSION, "the compiled smoother")


def smoother(n: int, taps: Sequence[int], impl: compiled.Impl = "auto") -> Smoother:
    """The one that `impl` stands for. Raises Missing."""
    native = module(impl)
    made: Smoother = PythonSmoother(n, taps) if native is None else native.Smoother(n, list(taps))
    return made
