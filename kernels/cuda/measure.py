"""How fast the CUDA kernels are on this device, beside what bounds them.

Wall clock around enqueue and synchronise, medians; a driver is a parameter, so that all of it runs
on the host build as well, where the numbers mean nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from headway.errors import Missing
from headway.kernels import native, spec
from headway.kernels.cuda.driver import Driver
from headway.kernels.cuda.layout import pack
from headway.kernels.cuda.selfcheck import robot, walk
from headway.kernels.cuda.stream import Batch, FeatureStream

HZ, JOINTS = 500.0, 6
TICK_TARGET_US, BANDWIDTH_TARGET = 15.0, 50.0


@dataclass(frozen=True)
class Measured:
    """`numbers` name -> (value, unit, target or None, target is an upper bound)."""

    numbers: dict[str, tuple[float, str, float | None, bool]]
    # windows -> us to pack them, then on the GPU; and instead of both in C++ on all cores
    crossover: dict[int, tuple[float, float, float]]
    notes: tuple[str, ...]


def seconds(work: Callable[[], object], repeats: int, warm: int = 3) -> Any:
    """Each repeat's wall clock [s]."""
    for _ in range(warm):
        work()
    out = np.zeros(repeats)
    for i in range(repeats):
        start = time.perf_counter()
        work()
        out[i] = time.perf_counter() - start
    return out


def measure(driver: Driver, windows: int = 4096, ticks: int = 3000, repeats: int = 30) -> Measured:
    """`windows` of L ticks in a batch, `ticks` of one robot. Raises DeviceError."""
    notes: list[str] = []
    length = spec.windows(HZ).long
    numbers: dict[str, tuple[float, str, float | None, bool]] = {}
    made = Batch(driver, robot(JOINTS), JOINTS, HZ, length)
    one = pack(walk(1, length, 0, JOINTS), JOINTS)
    moved = windows * (4 * made.layout.columns * length + 4 * (spec.N_FEATURES + spec.N_MASKS))
    copied = _copy(driver, windows * one.nbytes, repeats)
    per_s = _batch(driver, made, one, windows, repeats)
    numbers["device copy, read + write"] = (copied / 1e9, "GB/s", None, False)
    numbers[f"batch of {windows} windows"] = (1e6 * per_s, "us", None, True)
    share = 100.0 * moved / per_s / copied
    numbers["batch, of the copy's bandwidth"] = (share, "%", BANDWIDTH_TARGET, False)
    numbers["batch, floor by bandwidth"] = (1e6 * moved / copied, "us", None, True)
    made.close()

    def empty() -> None:
        driver.launch("headway_empty", 1, 32, 0, ())
        driver.synchronize()

    floor = 1e6 * float(np.median(seconds(empty, ticks, 50)))
    numbers["empty kernel, launch and wait, p50"] = (
        floor,
        "us",
        None,
        True,
    )
    for name, graph in (("plain launch", False), ("graph", True)):
        try:
            took = _tick(driver, graph, ticks)
        except Missing as e:
            notes.append(str(e))
            continue
        target = TICK_TARGET_US if graph else None
        p50, p99 = (1e6 * float(v) for v in np.percentile(took, (50, 99)))
        numbers[f"tick, {name}, p50"] = (p50, "us", target, True)
        numbers[f"tick, {name}, p99"] = (p99, "us", None, True)
    return Measured(numbers, _crossover(driver, notes, windows), tuple(notes))


def _copy(driver: Driver, n: int, repeats: int) -> float:
    """Bytes read and written per second by a copy on the device."""
    a, b = driver.alloc(n), driver.alloc(n)

    def work() -> None:
        driver.copy(b, a, n)
        driver.synchronize()

    driver.zero(a, n)
    took = float(np.median(seconds(work, repeats)))
    driver.free(a)
    driver.free(b)
    return 2 * n / took


def _batch(driver: Driver, made: Batch, one: Any, windows: int, repeats: int) -> float:
    """Median seconds of a batch that lies on the device."""
    x = driver.alloc(windows * one.nbytes)
    f, m = driver.alloc(4 * windows * spec.N_FEATURES), driver.alloc(4 * windows * spec.N_MASKS)
    for i in range(windows):
        driver.upload(x + i * one.nbytes, one)

    def work() -> None:
        made.run(x, windows, f, m)
        driver.synchronize()

    took = float(np.median(seconds(work, repeats)))
    for pointer in (x, f, m):
        driver.free(pointer)
    return took


def _tick(driver: Driver, graph: bool, ticks: int) -> Any:
    """Seconds of a push and its features, host to host. Raises Missing where there is no graph."""
    if graph:
        driver.capture(lambda: None).close()  # a stream does without where there is none
    stream = FeatureStream(driver, robot(JOINTS), JOINTS, HZ, graph=graph)
    rows = walk(1, 512, 1, JOINTS)[0]
    out, bits = np.zeros(spec.N_FEATURES, np.float32), np.zeros(spec.N_MASKS, np.float32)
    at = 0

    def work() -> None:
        nonlocal at
        stream.push(rows[at % 512])
        stream.features(out, bits)
        at += 1

    took = seconds(work, ticks, min(ticks, 300))
    stream.close()
    return took


def _crossover(
    driver: Driver, notes: list[str], most: int
) -> dict[int, tuple[float, float, float]]:
    """From telemetry rows to features on the host, so that packing and copies count; C++ works on
    every core that it may use, as it does for whoever has no GPU."""
    if native.module("auto") is None:
        notes.append("no crossover: the C++ feature stream is not built")
        return {}
    length = spec.windows(HZ).long
    rows = walk(1, length, 2, JOINTS)
    made, out = Batch(driver, robot(JOINTS), JOINTS, HZ, length), {}
    for n in (1, 4, 16, 64, 256, 1024):
        if n > most:
            break
        windows = np.repeat(rows, n, axis=0)
        packed = pack(windows, JOINTS)
        works: tuple[Callable[[], object], ...] = (
            partial(pack, windows, JOINTS),
            partial(made.features, packed),
            partial(native.features_batch, windows, robot(JOINTS), HZ),
        )
        packing, gpu, cpu = (1e6 * float(np.median(seconds(work, 7, 2))) for work in works)
        out[n] = (packing, gpu, cpu)
    made.close()
    notes.append(f"windows host to host: {verdict(out)}")
    return out


def verdict(crossover: dict[int, tuple[float, float, float]]) -> str:
    """From how many windows on the GPU is faster, packing included, in all that were measured."""
    first = None
    for n, (packing, gpu, cpu) in sorted(crossover.items(), reverse=True):
        if packing + gpu >= cpu:
            break
        first = n
    if first is None:
        return f"the CPU is faster with {max(crossover)}"
    return f"from {first} on the GPU is faster"
