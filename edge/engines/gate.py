"""What an engine has to pass before it is kept, and what it is timed by.

An engine of low precision can be wrong without an error: engines of other policies have been found
with a cosine of -0.55 to the original.
"""

from __future__ import annotations

from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from headway.edge.engines.cache import Latency, Parity
from headway.edge.engines.engine import Engine
from headway.errors import BundleError

COSINE = 0.999  # of the worst output of the worst sample, at least
LENGTH = 0.99  # an output that is scaled has the direction of the original


def fill(engine: Engine, rng: np.random.Generator, sample: int) -> dict[str, NDArray[np.generic]]:
    """Made-up inputs: images of noise, normal numbers, whole numbers of 0 and 1, which are valid
    wherever an index is. The first sample is all zeros."""
    made: dict[str, NDArray[np.generic]] = {}
    for name, spec in engine.inputs.items():
        dtype = np.dtype(spec.dtype)
        if sample == 0:
            value = np.zeros(spec.shape, dtype)
        elif dtype.kind == "f":
            value = rng.normal(0.0, 1.0, spec.shape).astype(dtype)
        elif dtype.kind == "u" and dtype.itemsize <= 2:
            value = rng.integers(0, np.iinfo(dtype).max, spec.shape, dtype, endpoint=True)
        else:
            value = rng.integers(0, 2, spec.shape).astype(dtype)
        made[name] = value
    return made


def parity(engine: Engine, reference: Engine, samples: int = 16, seed: int = 0) -> Parity:
    """How close `engine` answers to `reference`, over made-up inputs. Raises BundleError where
    either fails."""
    rng, worst, length, largest = np.random.default_rng(seed), 1.0, 1.0, 0.0
    for sample in range(samples):
        made = fill(reference, rng, sample)
        for one in (engine, reference):
            for name, value in made.items():
                one.write(name, value)
            one.run()
        for name in reference.outputs:
            found = engine.bind(name).astype(np.float64).reshape(-1)
            wanted = reference.bind(name).astype(np.float64).reshape(-1)
            if not np.array_equal(np.isfinite(found), np.isfinite(wanted)):
                return Parity(-1.0, 0.0, float("inf"), samples)
            ok = np.isfinite(wanted)
            largest = max(largest, float(np.abs(found[ok] - wanted[ok]).max(initial=0.0)))
            worst = min(worst, cosine(found[ok], wanted[ok]))
            length = min(length, ratio(found[ok], wanted[ok]))
    return Parity(worst, length, largest, samples)


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Of the angle between two vectors; of vectors that are both next to nothing, 1. A single
    number has no angle: then 1 minus the relative difference, at least -1."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    if float(max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))) < 1e-6:
        return 1.0
    if a.size == 1:
        most = max(abs(a.item()), abs(b.item()))
        return max(-1.0, 1.0 - abs(a.item() - b.item()) / most)
    return float(a @ b) / size if size > 0.0 else -1.0


def ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Of the lengths of two vectors, the shorter by the longer; 1 for two next to nothing."""
    short, long = sorted((float(np.linalg.norm(a)), float(np.linalg.norm(b))))
    return 1.0 if long < 1e-6 else short / long


def check(found: Parity, where: str, least: float = COSINE) -> None:
    """Raises BundleError for an engine that does not answer as the original does."""
    if not (found.cosine >= least and found.length >= LENGTH):
        raise BundleError(
            f"the engine built of {where} does not answer as ONNX Runtime on the CPU: wanted a "
            f"cosine of {least} on the worst of {found.samples} samples, found {found.cosine:.4f} "
            f"(ratio of lengths {found.length:.4f}, largest difference {found.max_abs:.3g}): it is "
            "not kept; build it from a graph of higher precision"
        )


def latency(engine: Engine, runs: int = 300, warm: int = 30) -> Latency:
    """Host to host, of inputs as they are. Raises BundleError where the engine fails."""
    for _ in range(warm):
        engine.run()
    took = np.zeros(runs)
    for i in range(runs):
        begun = perf_counter_ns()
        engine.run()
        took[i] = perf_counter_ns() - begun
    p50, p99 = np.percentile(took / 1e3, (50, 99))
    return Latency(float(p50), float(p99))
