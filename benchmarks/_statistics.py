"""The heaviest part of PRO's features that is pure statistics, written once for NumPy, Numba and
torch: Stats6 of 15 channels, Stats4 of 5 and central moments of 3, over one window that has been
derived already. No derivation of channels, no spectra, no state machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from headway.kernels import spec
from headway.kernels.derive import ROW
from headway.types import Vec

NAME = "Stats6 of 15 channels, Stats4 of 5, moments of 3"
SIX, FOUR = len(spec.MOTION6) + len(spec.FORCE6), len(spec.GRIP4)
N = SIX + FOUR
MOMENTS = [ROW["Fx"], ROW["Fy"], ROW["Fz"]]
Call = Callable[[], Any]


def numpy_statistics(w: Vec, short: int, rate: float) -> Vec:
    """`w` (channels, L) -> (15 * 6 + 5 * 4 + 3 * 3,)."""
    m = w.shape[1]
    x, six, recent = w[:N], w[:SIX], w[:SIX, -short:]
    mean = np.add.reduce(x, axis=1) / m
    rms = np.sqrt(np.einsum("ij,ij->i", six, six) / m)
    rms_short = np.sqrt(np.einsum("ij,ij->i", recent, recent) / short)
    t = (np.arange(m) - (m - 1) / 2) / rate
    stats = [x[:, -1], mean, x.max(axis=1), x @ (t / (t @ t))]
    off = w[MOMENTS] - np.add.reduce(w[MOMENTS], axis=1)[:, None] / m
    off2 = off * off
    powers = [np.add.reduce(p, axis=1) / m for p in (off2, off2 * off, off2 * off2)]
    out = [*stats, rms, rms_short / (rms + spec.CONSTANTS["ratio_eps"]), *powers]
    return np.concatenate(out)


def _loops(w: Any, channels: Any, short: int, rate: float, eps: float, out: Any) -> None:
    """The same with one pass per channel, as one would write it for Numba. `out` takes it in
    `numpy_statistics`' order."""
    m = w.shape[1]
    spread = m * (m * m - 1.0) / 12.0 / rate
    for c in range(N):
        total = slope = square = recent = 0.0
        top = w[c, 0]
        for t in range(m):
            x = w[c, t]
            total += x
            slope += (t - 0.5 * (m - 1)) * x
            square += x * x
            if x > top:
                top = x
        out[c] = w[c, m - 1]
        out[N + c] = total / m
        out[2 * N + c] = top
        out[3 * N + c] = slope / spread
        if c < SIX:
            for t in range(m - short, m):
                recent += w[c, t] * w[c, t]
            rms = math.sqrt(square / m)
            out[4 * N + c] = rms
            out[4 * N + SIX + c] = math.sqrt(recent / short) / (rms + eps)
    at = 4 * N + 2 * SIX
    for i in range(3):
        c = channels[i]
        mean = 0.0
        for t in range(m):
            mean += w[c, t]
        mean /= m
        m2 = m3 = m4 = 0.0
        for t in range(m):
            x = w[c, t] - mean
            m2 += x * x
            m3 += x * x * x
            m4 += x * x * x * x
        out[at + i], out[at + 3 + i], out[at + 6 + i] = m2 / m, m3 / m, m4 / m


def _numba(w: Vec, short: int, rate: float) -> Call:
    import numba

    run = numba.njit(fastmath=True)(_loops)  # lets LLVM reorder the sums, so that they vectorise
    out, channels = np.empty(6 * SIX + 4 * FOUR + 9), np.array(MOMENTS)
    eps = spec.CONSTANTS["ratio_eps"]

    def call() -> Any:
        run(w, channels, short, rate, eps, out)
        return out

    return call


def _torch(w: Vec, short: int, rate: float) -> Call:
    import torch

    torch.set_num_threads(1)
    a = torch.from_numpy(np.ascontiguousarray(w))
    m = a.shape[1]
    t = (torch.arange(m, dtype=torch.float64) - (m - 1) / 2) / rate
    weights, moments = t / (t @ t), torch.tensor(MOMENTS)
    eps = spec.CONSTANTS["ratio_eps"]

    def call() -> Any:
        x, six = a[:N], a[:SIX]
        rms = (six * six).mean(dim=1).sqrt()
        recent = six[:, -short:]
        off = a[moments]
        off = off - off.mean(dim=1, keepdim=True)
        off2 = off * off
        powers = [p.mean(dim=1) for p in (off2, off2 * off, off2 * off2)]
        short_ratio = (recent * recent).mean(dim=1).sqrt() / (rms + eps)
        stats = (x[:, -1], x.mean(dim=1), x.amax(dim=1), x @ weights, rms, short_ratio)
        return torch.cat((*stats, *powers))

    return call


def others(w: Vec, short: int, rate: float) -> Iterator[tuple[str, Call | str]]:
    """Name and call of every implementation, or why there is none. Each has run once (what compiles
    has compiled) and gives what NumPy gives. Raises RuntimeError where it does not."""
    want = numpy_statistics(w, short, rate)
    yield "numpy", lambda: numpy_statistics(w, short, rate)
    for name, make in (("numba", _numba), ("torch", _torch)):
        try:
            call = make(w, short, rate)
            have = np.asarray(call())
        except ImportError as e:
            yield name, f"{name} was not measured: {e}"
            continue
        if not np.allclose(have, want, rtol=1e-6, atol=1e-9):
            raise RuntimeError(f"{name} wants the statistics of NumPy, off by {have - want}")
        yield name, call
