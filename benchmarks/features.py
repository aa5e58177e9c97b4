"""PRO features: one tick of one robot, and many windows on all cores.

One tick: the C++ stream's `step`, Python call included, on a row that is filled anew for every
tick as the loop does, beside the NumPy oracle on the same window. Windows: `features_batch` beside
NumPy, and the bytes that it reads beside what copying memory does on this machine. Others: the same
statistics in Numba and torch, and feature libraries with their own feature sets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter, perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway import kernels
from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.benchmarks._libraries import measured, note
from headway.benchmarks._statistics import NAME, others
from headway.drivers.model import load
from headway.kernels import native, oracle, spec, telemetry
from headway.kernels.derive import ROW, Derive
from headway.kernels.telemetry import Scale
from headway.types import Vec

UR5E = load("ur5e")

HZ, JOINTS = 500.0, 6
LIM = UR5E.limits
SCALE = Scale(LIM.q_min, LIM.q_max, LIM.dq_max, LIM.tau_max)
CHANNELS = len(spec.CHANNELS) - spec.N_GROUPS + JOINTS  # derived channels that statistics are over
TICKS, WINDOWS = 50_000, 512
Rows = NDArray[Any]


def telemetry_rows(n: int) -> Rows:
    """Random walks with contacts, grasps and retries, so that every branch is taken."""
    r = np.random.default_rng(0)
    rows = telemetry.empty(JOINTS, n)
    for name in telemetry.FIELDS:
        walk = np.cumsum(r.normal(0, 0.02, rows[name].shape), axis=0)
        rows[name] = walk - np.linspace(0, 1, n).reshape(-1, *[1] * (walk.ndim - 1)) * walk[-1]
    i = np.arange(n)
    rows["t_ns"] = i * round(1e9 / HZ)
    rows["tcp"][:, 3] += 1.0
    rows["wrench"] = 10 * rows["wrench"] + 8.0 * (i // 90 % 2)[:, None]
    rows["phase"], rows["retries"], rows["limit"] = i // 97 % 8, i // 131, 10.0
    rows["width_ref"] = np.where(i // 200 % 2, 0.0, 0.08)
    rows["width"] = np.where(i // 200 % 2, 0.03, 0.08)
    return rows


def one_tick(rows: Rows, n: int, call: Callable[[np.void], Any]) -> Vec:
    """Nanoseconds of `call(row)` for n ticks, the row filled in place outside of the time."""
    slot = rows[:1].copy()
    row, took, last = slot[0], np.zeros(n), len(rows)
    for i in range(-600, n):
        slot[:] = rows[i % last : i % last + 1]
        begun = perf_counter_ns()
        call(row)
        if i >= 0:
            took[i] = perf_counter_ns() - begun
    return took


def timed(call: Callable[[], Any], n: int) -> Vec:
    """Seconds of each of n calls, after one that does not count."""
    call()
    took = np.zeros(max(n, 1))
    for i in range(len(took)):
        begun = perf_counter()
        call()
        took[i] = perf_counter() - begun
    return took


def median(call: Callable[[], Any], n: int) -> float:
    """Median time of `n` calls [s]."""
    return float(np.median(timed(call, n)))


def history() -> int:
    """Rows that a window and the filters before it look back over."""
    win = spec.windows(HZ)
    return win.long + max(2 * win.diff, win.diff_force, len(win.taps) - 1)


def copy_bandwidth() -> float:
    """Bytes read per second while NumPy copies an array that few caches hold, on one core."""
    a = np.ones(1 << 24)
    b = np.empty_like(a)
    return a.nbytes / median(lambda: np.copyto(b, a), 5)


def tick_numbers(rows: Rows, effort: float) -> tuple[list[Number], Table, float]:
    """Also returns the p50 of a step [us]."""
    n = max(200, round(TICKS * effort))
    stream = native.FeatureStream(SCALE, JOINTS, HZ)
    slow = oracle.FeatureStream(SCALE, JOINTS, HZ)
    step, push = (percentiles(one_tick(rows, n, f), 1e-3) for f in (stream.step, stream.push))
    few = one_tick(rows, max(20, n // 100), slow.step)
    ready = timed(slow.features, max(20, n // 100))
    window = rows[: history()][None]
    whole = timed(lambda: oracle.features_batch(window, SCALE, HZ), max(3, round(50 * effort)))
    p50 = step[0] * 1e-6
    numbers = [
        Number("tick to vector, p50", step[0], "us", 5.0),
        Number(
            "tick to vector: numpy's whole window / cpp",
            float(np.median(whole)) / p50,
            "x",
            200.0,
            False,
        ),
        Number("tick to vector: numpy's stream / cpp", float(np.median(few)) * 1e-9 / p50, "x"),
        Number("tick to vector: numpy's features only / cpp", float(np.median(ready)) / p50, "x"),
    ]
    table = Table(
        f"one robot of {JOINTS} joints at {HZ:g} Hz, Python call included",
        PERCENTILES,
        (
            ("cpp: step (row to vector)", step),
            ("cpp: push (no vector asked for)", push),
            ("numpy: step", percentiles(few, 1e-3)),
            ("numpy: features, channels derived before", percentiles(ready, 1e6)),
            ("numpy: a whole window, from rows to vector", percentiles(whole, 1e6)),
        ),
        "us",
    )
    return numbers, table, step[0]


def window_numbers(rows: Rows, effort: float) -> tuple[list[Number], Table, list[str]]:
    count, length = max(16, round(WINDOWS * effort)), history()
    starts = np.arange(count) * ((len(rows) - length) // count)
    windows = np.stack([rows[s : s + length] for s in starts])
    cores = len(os.sched_getaffinity(0))
    few = windows[: max(3, count // 16)]
    slow = median(lambda: oracle.features_batch(few, SCALE, HZ), 3) / len(few)
    took = {
        k: median(lambda k=k: kernels.features_batch(windows, SCALE, HZ, "cpp", k), 5) / count  # type: ignore[misc]
        for k in sorted({1, cores})
    }
    fast = took[cores]
    read, copied = windows.nbytes / count / fast, copy_bandwidth()
    numbers = [
        Number("windows: numpy on one core / cpp on all", slow / fast, "x", 50.0, False),
        Number("windows: bytes read", read * 1e-9, "GB/s"),
        Number(
            "windows: bytes read / bytes that a copy on one core reads", 100 * read / copied, "%"
        ),
    ]
    table = Table(
        f"{length} rows to one vector, {count} windows",
        ("us per window",),
        (
            ("numpy, one core", (1e6 * slow,)),
            *((f"cpp, {k} core{'s' * (k > 1)}", (1e6 * t,)) for k, t in took.items()),
        ),
    )
    notes = [f"a copy reads {copied * 1e-9:.1f} GB/s on one core; {cores} cores here"]
    return numbers, table, notes


def derived(rows: Rows) -> Vec:
    """The last window of derived channels, (channels + joints, L)."""
    d = Derive(SCALE, JOINTS, HZ)
    for row in rows[: 2 * history()]:
        d.push(row)
    d.advance()
    return np.ascontiguousarray(d.window())


def measure(effort: float = 1.0) -> Findings:
    if native.module("auto") is None:
        return Findings("PRO features", skipped="the C++ feature stream is not built")
    rows = telemetry_rows(5000)
    numbers, ticks, step = tick_numbers(rows, effort)
    more, windows, notes = window_numbers(rows, effort)
    w, short = derived(rows), spec.windows(HZ).short
    same: list[tuple[str, tuple[float, ...]]] = []
    for name, call in others(w, short, HZ):
        if isinstance(call, str):
            notes.append(call)
            continue
        took = 1e6 * median(call, max(20, round(2000 * effort)))
        same.append((name, (took, took / step)))
    same.append((f"cpp: step, all {spec.N_FEATURES} features from the row", (step, 1.0)))
    statistics = Table(f"{NAME}, of one derived window", ("us", "of cpp's step"), tuple(same))
    notes.append(
        "numba and torch do a part of what a step does: no derivation, spectra, state machines"
    )
    keep = [i for n, i in ROW.items() if not n.startswith("valid_")]
    channels = w[[*keep, *range(len(spec.CHANNELS), len(w))]][:20]
    libraries: list[tuple[str, tuple[float, ...]]] = [
        ("headway, one tick", (spec.N_FEATURES / step * 1e6, step / CHANNELS)),
        ("headway, windows, one core", _rate(windows.rows[1][1][0])),
    ]
    if effort >= 0.02:  # importing them alone takes seconds
        for name, found in measured(channels, HZ).items():
            notes.append(note(name, found))
            if not isinstance(found, str):
                per, seconds, n = found
                libraries.append((name, (per * n / seconds, 1e6 * seconds / n)))
    notes.append(
        f"headway: {spec.N_FEATURES} features of {CHANNELS} channels, deriving them from telemetry "
        "included"
    )
    return Findings(
        "PRO features",
        [*numbers, *more],
        [
            ticks,
            windows,
            statistics,
            Table(
                "feature libraries, each its own set, on windows of 256 samples",
                ("features/s", "us per window and channel"),
                tuple(libraries),
            ),
        ],
        notes,
    )


def _rate(us: float) -> tuple[float, float]:
    return spec.N_FEATURES / us * 1e6, us / CHANNELS
