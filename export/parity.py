"""How far the answers of two models lie apart, over samples of their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.bundle import onnx_file
from headway.edge.engines.backends import ort
from headway.edge.engines.engine import TensorSpec
from headway.errors import BundleError

Arrays = Mapping[str, NDArray[Any]]  # one sample of inputs, or the answers to one, by name

# What an export in float32 may differ by, in the units of the network, and how alike the answers
# of a lower precision have to be.
MAX_ABS = 1e-5
MIN_COSINE = 0.999


class Gap(NamedTuple):
    """How far the answers of two models at the output `output` lie apart.

    `cosine`: that of the angle between both answers, of the sample in which it is smallest; 1 where
    both are 0. `max_abs`: the largest difference between two numbers, in the output's units;
    `scaled`: the same in the network's own units (see `compare`). `samples`: how many were
    compared."""

    output: str
    cosine: float
    max_abs: float
    scaled: float
    samples: int


def answers(model: Path, samples: Sequence[Arrays]) -> list[dict[str, NDArray[Any]]]:
    """What the ONNX `model` answers to each of `samples`, in ONNX Runtime on the CPU. Raises
    BundleError for a model that does not run, SpecMismatch for samples that do not fit it."""
    if not samples:
        raise BundleError("wanted samples to compare models with, found none")
    specs = {n: TensorSpec(v.shape, str(v.dtype)) for n, v in samples[0].items()}
    engine = ort.open_engine(onnx_file.check(model), specs, {})
    found = []
    try:
        for sample in samples:
            for name, value in sample.items():
                engine.write(name, value)
            engine.run()
            found.append({name: engine.bind(name).copy() for name in engine.outputs})
    finally:
        engine.close()
    return found


def compare(
    truth: Sequence[Arrays],
    found: Sequence[Arrays],
    scale: Mapping[str, NDArray[Any]] | None = None,
) -> tuple[Gap, ...]:
    """The gaps between `truth` and `found`, which have one entry per sample, at each output of
    `truth`. `scale` has, by output, what one unit of the network's own numbers is in the output's
    units, such as the standard deviations that it was normalised with; 1 where it is left out. Of
    a number whose unit is 0, such as one that was constant in the data set, any difference counts
    as infinite."""
    if len(truth) != len(found) or not truth:
        raise ValueError(f"wanted as many answers as {len(truth)}, and one at least: {len(found)}")
    gaps = []
    for name in truth[0]:
        one = np.asarray((scale or {}).get(name, 1.0), np.float64)
        cosine, largest, scaled = np.inf, 0.0, 0.0
        for wanted, got in zip(truth, found, strict=True):
            a, b = (np.asarray(x[name], np.float64) for x in (wanted, got))
            if a.shape != b.shape:
                raise BundleError(f"output `{name}`: wanted the shape {a.shape}, found {b.shape}")
            apart = np.abs(a - b)
            # max() would drop a NaN, so it is asked for
            cosine = min(cosine, _cosine(a, b))
            largest = float(np.maximum(largest, apart.max(initial=0.0)))
            with np.errstate(divide="ignore", invalid="ignore"):
                units = np.where(apart == 0.0, 0.0, apart / one)  # a constant column has 0 / 0
            scaled = float(np.maximum(scaled, units.max(initial=0.0)))
        gaps.append(Gap(name, float(cosine), largest, scaled, len(truth)))
    return tuple(gaps)


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The cosine between `a` and `b`; -1 where one of them has a number that is not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return -1.0
    product = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if product == 0.0:
        return float(not a.any() and not b.any())
    return min(float((a * b).sum()) / product, 1.0)


def report(gaps: Iterable[Gap], what: str) -> str:
    """The `gaps` as lines of text; `what` says what is compared."""
    gaps = tuple(gaps)
    width = max(len("output"), *(len(g.output) for g in gaps))
    lines = [
        f"{what}, {gaps[0].samples} samples:",
        f"  {'output':{width}}  worst cosine  max-abs   in network units",
    ]
    lines += [
        f"  {g.output:{width}}  {g.cosine:12.9f}  {g.max_abs:.1e}   {g.scaled:.1e}" for g in gaps
    ]
    return "\n".join(lines)


def metrics(gaps: Iterable[Gap], prefix: str = "parity") -> dict[str, float]:
    """The `gaps` as a bundle's provenance keeps them."""
    found: dict[str, float] = {}
    for g in gaps:
        found |= {
            f"{prefix}.{g.output}.worst_cosine": g.cosine,
            f"{prefix}.{g.output}.max_abs": g.max_abs,
            f"{prefix}.{g.output}.max_abs_scaled": g.scaled,
            f"{prefix}.samples": float(g.samples),
        }
    return found


def require(
    gaps: Iterable[Gap], what: str, *, max_abs: float | None = None, cosine: float | None = None
) -> None:
    """Raises BundleError for a gap above the bar: `max_abs` in the network's units, or a worst
    `cosine` below that one. `what` names the model."""
    for g in gaps:
        if max_abs is not None and not g.scaled <= max_abs:
            raise BundleError(
                f"{what}: wanted `{g.output}` within {max_abs:g} of the original's, found "
                f"{g.scaled:.2g} (worst cosine {g.cosine:.6f}, {g.samples} samples): nothing was "
                "written; look for operators that the exporter replaced, or set another --bar"
            )
        if cosine is not None and not g.cosine >= cosine:
            raise BundleError(
                f"{what}: wanted a worst cosine of {cosine:g} or more at `{g.output}`, found "
                f"{g.cosine:.6f} (max-abs {g.max_abs:.2g}, {g.samples} samples): nothing was "
                "written"
            )
