"""Which kind of engine is the fastest for a model on this computer, as `headway build` measured it.

One rank for all models would be wrong: a small recurrent head is done on the CPU before a GPU has
been asked, a vision model is not.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from headway.edge.engines.cache import SCHEMA, Best, Cache, Latency, Shapes
from headway.edge.engines.key import model_digest
from headway.edge.engines.options import SUFFIX, EngineOptions
from headway.errors import BundleError
from headway.kernels.cuda.machine import Machine, machine

LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt_rtx")


def folder(path: Path, options: EngineOptions) -> Path:
    """Where the engines of the model at `path` are."""
    beside = path.parent.with_name(path.parent.name + SUFFIX)
    return Path(options.cache) if options.cache else beside


def measured(path: Path, options: EngineOptions, shapes: Shapes) -> tuple[str, str]:
    """The kind that was measured to be the fastest for the model at `path` with inputs of these
    `shapes`, and that in words; "" for no kind, with the reason where there was a measurement that
    does not count."""
    cache = Cache(folder(path, options))
    if not cache.folder.is_dir() or not path.is_file():
        return "", ""
    try:
        best = cache.best(model_digest(path))
    except BundleError as e:
        return "", f"what was measured is not used: {e}"
    if best is None:
        return "", ""
    if best.machine != computer():
        return "", (
            f"measured elsewhere ({best.machine}), where {best.kind} was fastest: run `headway "
            "build` here"
        )
    if best.shapes != shapes:
        had = ", ".join(f"{n} {s}" for n, s in best.shapes.items() if shapes.get(n) != s)
        return "", (
            f"measured with inputs of other shapes ({had or 'not said'}), where {best.kind} was "
            "fastest: run `headway build` for these"
        )
    times = ", ".join(f"{kind} {t.p50_us:.0f} us" for kind, t in sorted(best.measured.items()))
    return best.kind, f"{best.kind}: fastest here for this model ({times})"


def keep(path: Path, options: EngineOptions, times: dict[str, Latency], shapes: Shapes) -> Best:
    """Write down what was measured for the model at `path` with inputs of these `shapes`, by kind,
    and return it. Raises BundleError."""
    kind = min(times, key=lambda k: times[k].p50_us)
    best = Best(
        schema=SCHEMA, model=model_digest(path), machine=computer(), kind=kind, measured=times,
        shapes=shapes,
    )  # fmt: skip
    Cache(folder(path, options)).write_best(best)
    return best


def computer(of: Machine | None = None) -> str:
    """What a measurement holds for: processor, GPU, driver, and the libraries' versions."""
    gpu = machine() if of is None else of
    parts = [platform.machine(), _processor(), gpu.gpu, gpu.driver, gpu.jetpack]
    parts += [f"{name} {found}" for name in LIBRARIES if (found := _installed(name))]
    return ", ".join(p for p in parts if p)


def _installed(name: str) -> str:
    try:
        found: str = version(name)
    except PackageNotFoundError:
        return ""
    return found


def _processor(info: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = info.read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
