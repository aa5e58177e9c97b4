"""`headway build`: the engines of a bundle's models, built, checked and timed on this computer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from headway import bundle, config, plugins
from headway.bundle import Bundle, onnx_file
from headway.bundle.onnx_file import OnnxFile
from headway.edge.engines import choice, gate
from headway.edge.engines.cache import Latency, Record
from headway.edge.engines.engine import FOLDER, Engine, open_engine, tensors
from headway.edge.engines.options import EngineOptions
from headway.edge.engines.trt.backend import Made, Watch
from headway.edge.engines.trt.build import Progress as Step
from headway.errors import ConfigError, HeadwayError, Missing
from headway.instructions import EmbeddingSpec

Beat = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a bundle, and ONNX Runtime on the CPU, which its engines are held to."""

    file: OnnxFile
    reference: Engine

    @property
    def path(self) -> Path:
        return self.file.path


def build_command(
    folder: Path, kind: str | None, options: EngineOptions, candidates: int, again: bool
) -> int:
    """Build the engines of the bundle in `folder` with the backend `kind`, None: the first that can
    run here. What is built already is kept, unless `again`. Returns the exit code. Raises Missing
    where nothing can build here, ConfigError for options that the backend does not have, and what
    `edge.engines.trt.backend.make` raises."""
    config.decode(_given(options), EngineOptions, "headway build")
    made = bundle.load(folder)
    if candidates < 1:
        raise ConfigError(f"--candidates wants 1 or more, found {candidates}")
    kind, backend = _backend(kind)
    why = backend.missing()
    console = Console(soft_wrap=True)
    for model in _models(made, candidates):
        try:
            if why:
                _build(backend, model, options, again, console, tried=False)
                console.print(escape(f"  not run here: {why}"))
                console.print("  what it answers and how long it takes is found where it runs")
            else:
                record = _build(backend, model, options, again, console, tried=True)
                _choose(kind, model, options, record, console)
        finally:
            model.reference.close()
    return 0


def _given(options: EngineOptions) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(options)
    return {k: v for k, v in plain.items() if v is not None}


def _backend(kind: str | None) -> tuple[str, ModuleType]:
    """The backend that builds. Raises Missing, ConfigError."""
    builders = {
        name: module
        for name in plugins.kinds(FOLDER)
        if hasattr(module := plugins.load(FOLDER, name), "build")
    }
    if kind is not None:
        module = plugins.load(FOLDER, kind)
        if kind not in builders:
            raise ConfigError(
                f"the engine `{kind}` has nothing to build, it runs ONNX files as they are: wanted "
                f"--engine {' or '.join(builders)}"
            )
        return kind, module
    why = {name: module.missing() for name, module in builders.items()}
    for name, reason in why.items():
        if not reason:
            return name, builders[name]
    said = "; ".join(f"{name}: {reason}" for name, reason in why.items())
    raise Missing(
        f"wanted an engine to build, found none that runs here: {said}. --engine tensorrt_rtx "
        "builds without a GPU, too"
    )


def _models(made: Bundle, candidates: int) -> Iterator[Model]:
    """The model of the bundle, and that of its instructions. Raises as `open_engine`."""
    inputs, outputs = tensors(made, candidates)
    file = onnx_file.check_bundle(made)
    yield Model(file, open_engine("ort", file, inputs=inputs, outputs=outputs))
    policy = made.manifest.policy
    if policy is not None and isinstance(policy.instruction, EmbeddingSpec):
        file = onnx_file.check(made.path / policy.instruction.encoder)
        yield Model(file, open_engine("ort", file))


def _build(
    backend: ModuleType,
    model: Model,
    options: EngineOptions,
    again: bool,
    console: Console,
    *,
    tried: bool,
) -> Record:
    """Build one model's engine, show how far it is, and say what was built."""
    reference = model.reference
    with _progress(console, model.path.name) as (step, beat):
        watch = Watch(again, step, beat, reference if tried else None)
        made: Made = backend.build(model.path, reference.inputs, reference.outputs, options, watch)
    record = made.record
    for note in made.notes:
        console.print(escape(f"  {note}"))
    here = choice.folder(model.path, options)
    what = f"{record.layers} layers, {record.size / 1e6:.1f} MB, {record.numbers}"
    did = f"built in {record.seconds:.1f} s" if made.fresh else "was built already"
    if made.fresh and record.refitted:
        old = record.refitted[:12]
        did = f"made in {record.seconds:.1f} s, by new weights for the one of the model {old}"
    console.print(escape(f"{model.path}: {record.key.kind} engine {did}: {what}"))
    console.print(escape(f"  {here / record.plan} for {record.key.library}"))
    if record.parity is not None:
        parity = record.parity
        console.print(
            f"  against ONNX Runtime on the CPU: worst cosine {parity.cosine:.6f}, largest "
            f"difference {parity.max_abs:.3g}, {parity.samples} samples"
        )
    return record


@contextmanager
def _progress(console: Console, name: str) -> Iterator[tuple[Step, Beat]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    terminal = console.is_terminal
    if not terminal:
        console.print(f"{escape(name)}: building, which may take minutes")
    with Progress(*columns, console=console, transient=True, disable=not terminal) as bar:
        task = bar.add_task(escape(name), total=None)
        newest = [("", 0, 0)]

        def step(phase: str, done: int, of: int) -> None:
            newest[0] = phase, done, of  # from a thread of the build: nothing is drawn there

        def beat() -> None:
            phase, done, of = newest[0]
            text = escape(f"{name}: {phase}" if phase else name)
            bar.update(task, description=text, completed=done, total=of or None)

        yield step, beat


def _choose(
    kind: str, model: Model, options: EngineOptions, record: Record, console: Console
) -> None:
    """Time the engines that can run the model here, and keep which one is fastest."""
    times = {"ort": gate.latency(model.reference)}
    if record.latency is not None:
        times[kind] = record.latency
    for other in plugins.kinds(FOLDER):
        module = plugins.load(FOLDER, other)
        if other in times or other in ("null", "ort_tensorrt") or module.missing():
            continue
        try:
            times[other] = _timed(other, model, options)
        except HeadwayError as e:
            console.print(escape(f"  {other} is not compared: {e}"))
    shapes = {name: spec.shape for name, spec in model.reference.inputs.items()}
    best = choice.keep(model.path, options, times, shapes)
    said = ", ".join(f"{k} {t.p50_us:.0f} us" for k, t in sorted(times.items()))
    console.print(f"  fastest here: {best.kind} ({said}); engine = auto takes it")


def _timed(kind: str, model: Model, options: EngineOptions) -> Latency:
    backend = plugins.load(FOLDER, kind)
    given = (options,) if getattr(backend, "TAKES", ()) else ()
    reference = model.reference
    engine: Engine = backend.open_engine(model.file, reference.inputs, reference.outputs, *given)
    try:
        gate.check(gate.parity(engine, reference), f"{model.path} ({kind})")
        return gate.latency(engine)
    finally:
        engine.close()
