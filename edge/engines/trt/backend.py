"""The backends `tensorrt` and `tensorrt_rtx`: building into the cache, opening out of it.

Opening never builds, which takes minutes: without a built engine it is refused, with what
`headway build` has to be called for. An engine is served only if every part of its key holds here
and now (`headway.edge.engines.key`). A run that sets no build options accepts any engine built for
this model, whatever options it was built with, provided model, device and library match.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from headway.edge.engines import choice, gate
from headway.edge.engines.cache import SCHEMA, Built, Cache, Record
from headway.edge.engines.engine import Engine, TensorSpec
from headway.edge.engines.key import EngineKey, differences, model_digest, options_part
from headway.edge.engines.options import DEFAULT, EngineOptions, Profile, built_in
from headway.edge.engines.trt import api, dla, graph, refit
from headway.edge.engines.trt.build import Plan, Progress, Stop, build, build_in_thread, profiles
from headway.edge.engines.trt.graph import Prepared
from headway.edge.engines.trt.runtime import TensorrtEngine
from headway.errors import BundleError, ConfigError
from headway.kernels import cuda
from headway.kernels.cuda.driver import Driver
from headway.kernels.cuda.machine import Machine, machine

TAKES = tuple(name for name in EngineOptions.__struct_fields__ if name != "threads")
REFITS = 2  # engines of the same network that are tried before one is built
__all__ = ["Library", "Made", "Watch", "make", "open_built"]


def _device() -> Driver:
    return cuda.device(kernels=False)


@dataclass(frozen=True)
class Library:
    """A module of TensorRT on a computer. `timed`: whether it times what it builds, which the next
    build can use. `driver` opens the device."""

    kind: str
    trt: Any
    machine: Machine
    timed: bool = True
    driver: Callable[[], Driver] = _device

    @classmethod
    def here(cls, kind: str) -> Library:
        """Raises Missing where the module is not installed."""
        return cls(kind, api.module(kind), machine(), timed=kind == "tensorrt")

    def key(
        self,
        model: str,
        numbers: str,
        shapes: Mapping[str, Profile],
        options: EngineOptions,
    ) -> EngineKey:
        here = self.machine
        return EngineKey(
            model=model, graph=graph.REVISION, kind=self.kind,
            library=api.version(self.trt, self.kind), sm=here.sm, gpu=here.gpu, driver=here.driver,
            jetpack=here.jetpack, precision=f"{numbers}, asked {options.precision}",
            profile=dict(shapes), options=options_part(options),
        )  # fmt: skip


@dataclass(frozen=True)
class Watch:
    """How a build is watched. `again`: although the engine is there. `progress` is told of each
    step, from another thread; `beat` is called ten times a second. `reference` answers as the
    engine has to; None: it is not run, as there is no device."""

    again: bool = False
    progress: Progress = lambda phase, done, of: None
    beat: Callable[[], None] = lambda: None
    reference: Engine | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What `make` did: the `record` of the engine, and whether it was made now, or was there."""

    record: Record
    fresh: bool
    notes: tuple[str, ...] = ()


def make(
    library: Library,
    path: Path,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    options: EngineOptions,
    watch: Watch | None = None,
) -> Made:
    """Build the engine of the model at `path` into its cache, unless it is there; with the option
    `refit`, give the weights to one of the same network instead, where the cache has one.

    Raises what `graph.prepare`, `build.build` and `gate.check` raise, BundleError for a cache that
    cannot be written, Untrusted for one that others can write to. Whatever it raises, what was in
    the cache before is there still."""
    watch = watch or Watch()
    prepared = graph.prepare(path)
    graph.check_precision(prepared.precision, options.precision, path)
    files = graph.files(path)
    shapes = profiles(inputs, options, prepared.pairs)
    key = library.key(model_digest(path, files), prepared.precision, shapes, options)
    cache = Cache(choice.folder(path, options))
    notes: list[str] = []
    if not watch.again:
        try:
            found = cache.find(key)
        except BundleError as e:
            if type(e) is not BundleError:  # Untrusted: nothing is written there either
                raise
            notes.append(f"built again: {e}")
        else:
            if found is not None:
                return Made(found.record, False)
    begun = time.monotonic()
    record = Record(
        schema=SCHEMA, key=key, onnx=model_digest(path), files=files,
        pairs=tuple(sorted(prepared.pairs)), numbers=prepared.precision, plan="", size=0, sha256="",
        options=msgspec.structs.replace(options, cache=""), seconds=0.0, layers=0,
        network=refit.network(prepared) if options.refit else "",
    )  # fmt: skip

    def tried(record: Record, content: bytes) -> tuple[Record, list[str]]:
        record = msgspec.structs.replace(record, seconds=time.monotonic() - begun)
        if watch.reference is None:
            return record, []
        return _tried(library, Built(record, content), inputs, outputs, path, watch.reference)

    if options.refit and watch.reference is not None and not watch.again:
        made, said = _by_refit(library, cache, record, prepared, tried)
        notes += said
        if made is not None:
            return Made(made, True, tuple(notes))
        begun = time.monotonic()
    timing = f"timing-{library.kind}.cache"
    known = cache.read(timing) if library.timed else None

    def work(stop: Stop) -> Plan:
        return build(
            library.trt, prepared, shapes, options, timing=known, progress=watch.progress, stop=stop
        )

    plan = build_in_thread(work, watch.beat)
    record = msgspec.structs.replace(record, layers=plan.layers, notes=plan.notes)
    record, said = tried(record, plan.content)
    record = cache.store(record, plan.content)
    if plan.timing:
        cache.write(timing, plan.timing)
    return Made(record, True, (*notes, *said))


def _by_refit(
    library: Library,
    cache: Cache,
    record: Record,
    prepared: Prepared,
    tried: Callable[[Record, bytes], tuple[Record, list[str]]],
) -> tuple[Record | None, list[str]]:
    """Make the engine of `record` out of one in `cache` whose key differs by nothing but the model,
    which is one of the same network. None where that does not work out, with the reasons. Raises
    Untrusted, and BundleError for a cache that cannot be written."""
    others = [
        old
        for old in cache.records()[0]
        if old.network == record.network
        and old.key == msgspec.structs.replace(record.key, model=old.key.model)
    ]
    notes: list[str] = []
    for old in sorted(others, key=lambda old: old.refitted != "")[:REFITS]:
        try:
            built = cache.find(old.key)
            if built is None:
                continue
            library.driver()  # TensorRT uses the context that is open
            content = refit.refit(library.trt, built.plan, prepared, old.options)
            made = msgspec.structs.replace(record, layers=old.layers, refitted=old.key.model)
            made, said = tried(made, content)
        except BundleError as e:
            if type(e) is not BundleError:  # Untrusted
                raise
            notes.append(f"not made from the engine of the model {old.key.model[:12]}: {e}")
        else:
            return cache.store(made, content), [*notes, *said]
    return None, notes


def _tried(
    library: Library,
    built: Built,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    path: Path,
    reference: Engine,
) -> tuple[Record, list[str]]:
    """The record with what was found by running the engine, and notes. Raises BundleError for an
    engine that is not right."""
    engine = _engine(library, built, inputs, outputs, built.record.options, path)
    try:
        notes = []
        if built.record.options.dla is not None:
            notes.append(dla.check(library.trt, engine.engine, built.record.options, str(path)))
        found = gate.parity(engine, reference)
        gate.check(found, str(path))
        took = gate.latency(engine)
        return msgspec.structs.replace(built.record, parity=found, latency=took), notes
    finally:
        engine.close()


def open_built(
    library: Library,
    path: Path,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    options: EngineOptions,
) -> TensorrtEngine:
    """Open the engine that was built of the model at `path`. Raises BundleError where there is none
    for this model, library, computer and options, or a damaged one; Untrusted for a cache that
    others can write to."""
    built = found(library, path, inputs, options)
    kept = msgspec.structs.replace(
        built.record.options, cuda_graph=options.cuda_graph, budget_mb=options.budget_mb
    )
    return _engine(library, built, inputs, outputs, kept, path)


def found(
    library: Library, path: Path, inputs: Mapping[str, TensorSpec], options: EngineOptions
) -> Built:
    """What the cache holds of the model at `path` for this library, computer and options. Raises as
    `open_built`."""
    cache = Cache(choice.folder(path, options))
    build = f"run `headway build` for it with --engine {library.kind} on this computer"
    if not inputs:
        raise BundleError(
            f"the engine {library.kind} wants the inputs of {path} as a bundle states them, found "
            "none: open it by its bundle"
        )
    records, damaged = cache.records()
    onnx = model_digest(path)
    mine = [r for r in records if r.onnx == onnx and r.key.kind == library.kind]
    if not mine:
        why = f" ({damaged[0]})" if damaged else ""
        raise BundleError(
            f"wanted an engine built of {path} in {cache.folder}, found none{why}: {build}"
        )
    any_build = built_in(options) == built_in(DEFAULT)
    nearest: list[str] | None = None
    for record in sorted(
        mine, key=lambda r: r.options != msgspec.structs.replace(options, cache="")
    ):
        asked = record.options if any_build else options
        try:
            shapes = profiles(inputs, asked, frozenset(record.pairs))
        except ConfigError as e:
            if not any_build:
                raise
            apart = [str(e)]  # it was built for other shapes than this run asks for
        else:
            key = library.key(model_digest(path, record.files), record.numbers, shapes, asked)
            if key == record.key:
                kept = cache.find(key)
                if kept is not None:
                    return kept
            apart = differences(record.key, key)
        if nearest is None or len(apart) < len(nearest):
            nearest = apart
    raise BundleError(
        f"wanted an engine built of {path} for this computer, found one in {cache.folder} for "
        f"another ({'; '.join(nearest or [])}): {build}"
    )


def _engine(
    library: Library,
    built: Built,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    options: EngineOptions,
    path: Path,
) -> TensorrtEngine:
    return TensorrtEngine(
        library.kind, library.trt, library.driver(), built.plan, inputs, outputs, options,
        str(path), frozenset(built.record.pairs),
    )  # fmt: skip
