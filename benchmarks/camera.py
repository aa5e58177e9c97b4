"""One frame of the simulated RGB-D camera: scene update, render, read back, noise, millimetres."""

from __future__ import annotations

from time import perf_counter_ns

import numpy as np

from headway.benchmarks._findings import Findings, Number
from headway.clock import NS, VirtualClock
from headway.drivers import Context, open_device
from headway.errors import Missing

SIZE = 96
FRAMES = 300


def measure(effort: float = 1.0) -> Findings:
    title = f"Simulated RGB-D camera, {SIZE} x {SIZE}"
    try:
        from headway.drivers.sim import gl
        from headway.drivers.sim.cell import Cell, CellConfig

        clock = VirtualClock(1)
        ctx = Context(clock)
        ctx.worlds["sim"] = Cell(CellConfig(), clock)
        sizes = {"width": SIZE, "height": SIZE}
        camera = open_device("cameras", "sim", sizes, ctx)
        flat = open_device("cameras", "sim", {**sizes, "depth": False}, ctx)
        camera.open(1.0)
        camera.read(0.0)  # makes the GL context
    except Missing as e:
        return Findings(title, skipped=str(e))
    try:
        with_depth = _frames(camera, clock, max(5, round(FRAMES * effort)))
        p50, p99 = (float(v) for v in np.percentile(with_depth, (50, 99)))
    finally:
        camera.close()
    try:
        flat.open(1.0)
        flat.read(0.0)
        colour = float(np.median(_frames(flat, clock, max(5, round(FRAMES * effort / 3)))))
    finally:
        flat.close()
    return Findings(
        title,
        [
            Number("frame with depth, median", p50, "ms", 1.5),
            Number("frame with depth, p99", p99, "ms"),
            Number("frame without depth, median", colour, "ms"),
        ],
        notes=[f"renderer {gl.backend()}"],
    )


def _frames(camera: object, clock: VirtualClock, n: int) -> list[float]:
    """Durations of `n` reads [ms], 1/30 s of simulated time apart, physics not counted."""
    took = []
    for _ in range(n):
        clock.sleep_until(clock.now() + NS // 30)
        camera.cell.sync()  # type: ignore[attr-defined]
        begun = perf_counter_ns()
        camera.read(0.0)  # type: ignore[attr-defined]
        took.append((perf_counter_ns() - begun) / 1e6)
    return took
