"""Engines of the shipped models: what our call costs beside ONNX Runtime's own, how long it takes
from a warm cache to the first inference, and which kind is the fastest for which model.

On a computer with a GPU also: each kind that can run there, held to ONNX Runtime on the CPU, and
PyTorch eager and compiled, all host to host and in the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns, process_time_ns
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway import bundle, plugins
from headway.benchmarks import _child
from headway.benchmarks._findings import Findings, Number, Table, percentiles
from headway.benchmarks._robot import ROOT
from headway.benchmarks._torch import torch_calls
from headway.bundle import Bundle
from headway.edge.engines import gate
from headway.edge.engines.cache import SCHEMA, Cache, Record
from headway.edge.engines.engine import FOLDER, Engine, open_bundle, specs
from headway.edge.engines.key import model_digest
from headway.edge.engines.onnx_runtime import onnxruntime
from headway.edge.engines.options import DEFAULT, EngineOptions
from headway.edge.engines.trt.backend import Library, Watch, found
from headway.edge.engines.trt.build import profiles
from headway.errors import HeadwayError
from headway.kernels.cuda.machine import Machine

TITLE = "Engines of the shipped models"
MODELS = ("pick_place_pro", "pick_place_policy", "workflows")
CALLS = 3000
OVERHEAD_US, FIRST_MS = 5.0, 200.0
PLAN_MB = 8  # of the plan whose way out of the cache is timed: twice that of the largest shipped
COLUMNS = ("p50", "p99")
PARITY = ("worst cosine", "max abs")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run a model, and how close it is to ONNX Runtime on the CPU (None: not compared)."""

    name: str
    call: Callable[[], object]
    cosine: float = float("nan")
    max_abs: float = float("nan")


def measure(effort: float = 1.0) -> Findings:
    n = max(20, round(CALLS * effort))
    numbers: list[Number] = []
    tables: list[Table] = []
    notes: list[str] = []
    there = [m for m in MODELS if (ROOT / "models" / m / bundle.MANIFEST).is_file()]
    if not there:
        return Findings(TITLE, skipped="no shipped models here")
    for name in there:
        made = bundle.load(ROOT / "models" / name)
        ours, bare = overhead(made, n)
        extra = float(np.median(ours) - np.median(bare))
        numbers.append(
            Number(f"{name}: our call over run_with_iobinding", extra, "us", OVERHEAD_US)
        )
        with TemporaryDirectory() as folder:
            more, said = ways(made, Path(folder), max(10, n // 10))
        tables += more
        notes += [note for note in said if note not in notes]
    policy = there[min(1, len(there) - 1)]
    repeats = max(1, round(5 * effort))
    took = [_child.call("engines", "first", name=policy, kind="ort") for _ in range(repeats)]
    what = f"{policy}: bundle to first inference, ort"
    wall, cpu = (float(np.median([t[k] for t in took])) for k in ("ms", "cpu_ms"))
    numbers += [Number(what, wall, "ms", FIRST_MS), Number("... processor time", cpu, "ms")]
    with TemporaryDirectory() as folder:
        out = [out_of_cache(policy, Path(folder)) for _ in range(repeats)]
    wall, cpu = (float(np.median([t[k] for t in out])) for k in ("ms", "cpu_ms"))
    what = f"{policy}: a plan of {PLAN_MB} MB out of the cache"
    numbers += [Number(what, wall, "ms"), Number("... processor time", cpu, "ms")]
    return Findings(TITLE, numbers, tables, notes)


def overhead(made: Bundle, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Microseconds of our call and of ONNX Runtime's own with IOBinding, turn by turn, on the same
    model with the same options."""
    ours = open_bundle(made, "ort")
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(made.onnx), options, providers=["CPUExecutionProvider"])
    binding, run = session.io_binding(), session.run_with_iobinding
    tensors = {**ours.inputs, **ours.outputs}
    arrays = {name: np.zeros(spec.shape, spec.dtype) for name, spec in tensors.items()}
    for name, a in arrays.items():
        bind = binding.bind_input if name in ours.inputs else binding.bind_output
        bind(name, "cpu", 0, a.dtype, a.shape, a.ctypes.data)
    calls: tuple[Callable[[], object], ...] = (ours.run, partial(run, binding))
    took = np.zeros((2, n))
    for i in range(-20, n):
        for k in (0, 1) if i % 2 else (1, 0):  # who comes second finds warmer caches
            begun = perf_counter_ns()
            calls[k]()
            if i >= 0:
                took[k, i] = (perf_counter_ns() - begun) / 1e3
    ours.close()
    return took[0], took[1]


def ways(made: Bundle, folder: Path, n: int) -> tuple[list[Table], list[str]]:
    """Every way to run the model here, turn by turn, and what could not be."""
    reference = open_bundle(made, "ort")
    opened: list[Engine] = [reference]
    run = [Way("ort", reference.run)]
    notes: list[str] = []
    for kind in plugins.kinds(FOLDER):
        if kind in ("ort", "null"):
            continue
        try:
            engine = _opened(made, kind, folder, reference)
            opened.append(engine)
            held = gate.parity(engine, reference)
            run.append(Way(kind, engine.run, held.cosine, held.max_abs))
        except HeadwayError as e:
            notes.append(f"{kind}: {e}")
    run += [Way(name, call) for name, call in torch_calls(made, notes)]
    took = np.zeros((len(run), n))
    for i in range(-10, n):
        for k in np.roll(range(len(run)), i):  # each begins a turn as often as the others
            begun = perf_counter_ns()
            run[k].call()
            if i >= 0:
                took[k, i] = (perf_counter_ns() - begun) / 1e3
    rows = []
    for way, times in zip(run, took, strict=True):
        p50, _, p99 = percentiles(times)
        rows.append((way.name, (p50, p99)))
    fastest = min(rows, key=lambda row: row[1][0])[0]
    for engine in opened:
        engine.close()
    title = f"{made.manifest.name}, fastest here: {fastest}"
    tables = [Table(title, COLUMNS, tuple(rows), "us")]
    if near := tuple((w.name, (w.cosine, w.max_abs)) for w in run if np.isfinite(w.max_abs)):
        tables.append(Table(f"{made.manifest.name}, against ort on the CPU", PARITY, near))
    return tables, notes


def _opened(made: Bundle, kind: str, folder: Path, reference: Engine) -> Engine:
    """The model's engine of the kind `kind`, built before where it has to be. Raises
    HeadwayError."""
    backend = plugins.load(FOLDER, kind)
    options = EngineOptions(cache=str(folder)) if hasattr(backend, "TAKES") else DEFAULT
    if hasattr(backend, "build") and not backend.missing():
        watch = Watch(reference=reference)
        backend.build(made.onnx, reference.inputs, reference.outputs, options, watch)
    return open_bundle(made, kind, options=options)


class Clock:
    """What a block takes [ms]: on the wall clock, and of processors, which others cannot take."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}
        self._begun = 0, 0

    def __enter__(self) -> Clock:
        self._begun = perf_counter_ns(), process_time_ns()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._begun
        self.took = {
            "ms": (perf_counter_ns() - wall) / 1e6, "cpu_ms": (process_time_ns() - cpu) / 1e6,
        }  # fmt: skip


def first(name: str, kind: str) -> dict[str, float]:
    """Milliseconds from a bundle's folder to the end of its first inference, libraries imported."""
    onnxruntime()
    with Clock() as clock:
        engine = open_bundle(bundle.load(ROOT / "models" / name), kind)
        engine.run()
    engine.close()
    return clock.took


def out_of_cache(name: str, folder: Path) -> dict[str, float]:
    """Milliseconds for what comes before TensorRT loads a plan: the model's digest, the key, the
    record, the plan and its digest. The plan is of noise, so that no TensorRT is needed."""
    made = bundle.load(ROOT / "models" / name)
    inputs = specs(made.manifest.inputs)
    here = Machine("87", "Orin", "driver 540.4.0 CUDA 12.6", "L4T R36.4.3")
    trt: Any = SimpleNamespace(__version__="10.3.0")
    library = Library("tensorrt", trt, here)
    options = EngineOptions(cache=str(folder))
    key = library.key(model_digest(made.onnx), "fp32", profiles(inputs, options), options)
    record = Record(
        schema=SCHEMA, key=key, onnx=model_digest(made.onnx), files=(), pairs=(), numbers="fp32",
        plan="", size=0, sha256="", options=DEFAULT, seconds=0.0, layers=0,
    )  # fmt: skip
    Cache(folder).store(record, np.random.default_rng(0).bytes(PLAN_MB << 20))
    with Clock() as clock:
        found(library, made.onnx, inputs, options)
    return clock.took
