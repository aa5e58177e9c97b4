"""The CUDA kernels of the features: batches against the device's bandwidth, a tick against the
launch that it cannot be without."""

from __future__ import annotations

from headway.benchmarks._findings import Findings, Number, Table
from headway.errors import HeadwayError
from headway.kernels import cuda
from headway.kernels.cuda import measure as kernels
from headway.kernels.cuda.driver import Driver

TITLE = "PRO features on a CUDA device"


def measure(effort: float = 1.0) -> Findings:
    missing = cuda.missing()
    if missing:
        return Findings(TITLE, skipped=missing)
    try:
        return on(cuda.device(), effort)
    except HeadwayError as e:
        return Findings(TITLE, skipped=str(e))


def on(driver: Driver, effort: float) -> Findings:
    windows = max(4, round(4096 * min(1.0, effort)))
    repeats = max(3, round(30 * effort))
    found = kernels.measure(driver, windows, max(20, round(3000 * effort)), repeats)
    numbers = [Number(n, *what) for n, what in found.numbers.items()]
    rows = tuple((f"{n} windows", times) for n, times in found.crossover.items())
    tables = (
        [Table("host to host", ("packing", "GPU", "C++, all cores"), rows, "us")] if rows else []
    )
    return Findings(TITLE, numbers, tables, (f"{driver.device} by {driver.provider}", *found.notes))
