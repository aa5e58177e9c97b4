"""`headway quantize`: bundles of lower precision, with a table of what each costs.

A bundle is only written for a precision whose worst cosine against the original keeps the bar over
observations that were neither used to calibrate it nor to choose what of the model gets it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from headway import bundle
from headway.bundle import onnx_file
from headway.edge.engines.backends import ort
from headway.edge.engines.engine import TensorSpec
from headway.errors import BundleError, ConfigError
from headway.export import graph, parity, samples
from headway.export.parity import Gap
from headway.export.precision import fp8, halves, plan
from headway.export.precision.int8 import Calibrated, layers, named
from headway.export.precision.plan import Part
from headway.export.precision.splits import Splits, split
from headway.export.samples import Sample
from headway.export.sources import Again
from headway.files import whole

KINDS = ("fp16", "bf16", "int8", "fp8")
EIGHT_BITS = ("int8", "fp8")
REPORT = "precision.json"
_RUNS = 30  # of a latency


@dataclass(frozen=True)
class Options:
    """What the command was asked for: `kinds` of precision; where the observations come from, as
    for `headway export`; the `bar`, the least worst cosine; `choose_bar`, the same while choosing
    what gets a precision (None: the bar): a higher one leaves room for observations that the choice
    did not see; `out`, the folder for the bundles, one per precision, and the report."""

    out: Path
    kinds: tuple[str, ...] = KINDS
    observed: tuple[Path, ...] = ()
    samples: Path | None = None
    count: int = 100
    bar: float = parity.MIN_COSINE
    choose_bar: float | None = None
    overwrite: bool = False

    @property
    def choosing(self) -> float:
        """The least worst cosine while choosing."""
        return self.bar if self.choose_bar is None else self.choose_bar


@dataclass(frozen=True)
class Row:
    """A line of the table: size of the model [bytes], median time of ONNX Runtime on one thread of
    this computer [ms] (None: it cannot run it here); worst cosine over all outputs on the
    observations that it was chosen with, and on those that judge; that of the judged ones and their
    largest difference at the policy's output; whether the bar was kept, by a model of which some
    part has the precision; and what else there is to say."""

    precision: str
    size: int
    latency_ms: float | None
    chosen_cosine: float
    cosine: float
    output_cosine: float
    output_max_abs: float
    kept: bool
    note: str = ""


def quantize_command(path: Path, options: Options) -> int:
    """Write bundles of the policy in the bundle `path`. Returns the exit code: 1 where none was
    written, since no precision kept the bar. Raises ConfigError and BundleError, and Missing for a
    package."""
    for kind in options.kinds:
        if kind not in KINDS:
            raise ConfigError(f"wanted --precision of {', '.join(KINDS)}, found {kind}")
    if options.choosing < options.bar:
        raise ConfigError(
            f"wanted --choose-bar of {options.bar:g} (--bar) or more, found {options.choosing:g}: "
            "what is chosen below the bar would be refused"
        )
    samples.require_source(options.observed, options.samples, options.count)
    source = bundle.load(path)
    if source.manifest.policy is None:
        raise ConfigError(f"wanted a policy's bundle, found {source.manifest.kind}: {path}")
    there = [k for k in options.kinds if (options.out / k).exists()]
    if there and not options.overwrite:
        raise ConfigError(
            f"wanted new folders in {options.out}, found {', '.join(there)}: name another folder "
            "with --out, or replace them with --overwrite"
        )
    given = split(_observations(source, options))
    print(given)
    with tempfile.TemporaryDirectory(prefix="headway-quantize-") as folder:
        made = _Quantizer(source, given, options, Path(folder))
        rows = [made.original(), *(made.row(kind) for kind in options.kinds)]
    text = table(rows, source.manifest.policy.output, given, options)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    report = {
        "policy": source.manifest.name,
        "model_sha256": source.manifest.files[source.manifest.onnx].sha256,
        "bar": options.bar,
        "choose_bar": options.choosing,
        "samples": {**given.counts, "dealt": given.dealt},
        "rows": [_plain(r) for r in rows],
        "sensitivity": made.sensitivity,
    }
    with whole(options.out / REPORT) as part:
        part.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    return 0 if any(r.kept for r in rows[1:]) else 1


def _plain(row: Row) -> dict[str, Any]:
    """`row` for JSON: what a precision that failed has no number for is null."""
    found = asdict(row)
    return {n: None if isinstance(v, float) and np.isnan(v) else v for n, v in found.items()}


def _observations(source: bundle.Bundle, options: Options) -> list[list[Sample]]:
    """What the models are made and compared with, a list for each recording."""
    if options.observed:
        files = samples.recordings(options.observed)
        return samples.by_recording(source, files, options.count)
    if options.samples is not None:
        inputs = ort.declared(onnx_file.check_bundle(source))[0]
        return [samples.from_file(options.samples, inputs)[: options.count]]
    raise ConfigError(
        "wanted observations to calibrate with, found none: name recordings with --observed, "
        "or a .npz file of inputs with --samples; made-up inputs would give made-up ranges"
    )


class _Quantizer:
    """Makes the bundles of one policy. Files lie in `work`."""

    def __init__(self, source: bundle.Bundle, given: Splits, options: Options, work: Path) -> None:
        info = source.manifest.policy
        assert info is not None
        self._source, self._options, self._work = source, options, work
        self._output = info.output
        self._given = given
        self._model = graph.read(source.onnx)
        self._choosing = parity.answers(source.onnx, given.choose)
        self._judging = parity.answers(source.onnx, given.judge)
        self.sensitivity: dict[str, list[dict[str, str | int | float]]] = {}

    def original(self) -> Row:
        """The line of the model as it is."""
        size = self._source.onnx.stat().st_size
        took = self._latency(self._source.onnx)
        return Row("fp32", size, took, 1.0, 1.0, 1.0, 0.0, True, "original")

    def row(self, kind: str) -> Row:
        """Make `kind`, measure it, and write its bundle where it keeps the bar."""
        print(f"{kind} ...", flush=True)
        try:
            model, seen, note = self._eight_bits(kind) if kind in EIGHT_BITS else self._half(kind)
        except BundleError as e:
            print(f"{kind}: {e}")
            self._remove_earlier(kind)
            nan = float("nan")
            return Row(kind, 0, None, nan, nan, nan, nan, False, str(e))
        files = graph.write(model, self._work / f"{kind}.onnx")
        gaps = self._judged(seen)
        cosine = plan.worst(gaps)
        at = next(g for g in gaps if g.output == self._output)
        size = sum(f.stat().st_size for f in files)
        kept = note != _NOTHING and bool(cosine >= self._options.bar)
        chosen = plan.worst(self._gaps(seen))
        took = self._latency(files[0])
        row = Row(kind, size, took, chosen, cosine, at.cosine, at.max_abs, kept, note)
        print(parity.report(gaps, f"{kind} against the original, on the observations that judge"))
        if kept:
            command = f"headway quantize {self._source.path.name} --precision {kind}"
            made = Again(self._source, command)(
                files, self._options.out / kind, parity.metrics(gaps, kind)
            )
            print(f"{made.path}: written")
        else:
            self._remove_earlier(kind)
        return row

    def _remove_earlier(self, kind: str) -> None:
        """Remove the bundle of an earlier call in the place of one that is refused now (there is
        one with `overwrite` alone): the table would not be about it."""
        earlier = self._options.out / kind
        if (earlier / bundle.MANIFEST).is_file():
            shutil.rmtree(earlier)
            print(f"{earlier}: the one of an earlier call is removed")

    def _half(self, kind: str) -> tuple[onnx.ModelProto, onnx.ModelProto, str]:
        half: halves.Half = "fp16" if kind == "fp16" else "bf16"
        model = halves.halved(self._model, half, self._given.calibrate)
        seen = halves.emulated(model, half)
        all_of_it = plan.worst(self._gaps(seen))
        if all_of_it >= self._options.choosing:
            return model, seen, "all of it"
        print(f"{kind} in all of it: worst cosine {all_of_it:.6f}, so part by part:")
        whole = named(self._model)

        def apply(parts: Sequence[Part]) -> onnx.ModelProto:
            return halves.rounded(whole, parts, half)

        found = plan.sensitivities(halves.blocks(whole), apply, self._gaps, kind)
        self._note(kind, found)
        best = plan.mixed(apply, self._gaps, self._options.choosing, found)
        chosen = list(best.chosen)
        # autocast may round more than was asked for, at the borders of the parts
        while chosen:
            taken = {name for part in chosen for name in part.nodes}
            kept = [n.name for n in whole.graph.node if n.name not in taken]
            model = halves.halved(whole, half, self._given.calibrate, kept)
            seen = halves.emulated(model, half)
            if plan.worst(self._gaps(seen)) >= self._options.choosing:
                nodes = len(whole.graph.node)
                return (
                    model,
                    seen,
                    (f"{nodes - len(kept)} of {nodes} nodes; all of them: {all_of_it:.3f}"),
                )
            chosen = chosen[: len(chosen) * 3 // 4]
        return whole, whole, _NOTHING

    def _eight_bits(self, kind: str) -> tuple[onnx.ModelProto, onnx.ModelProto, str]:
        whole = fp8.upgraded(self._model) if kind == "fp8" else self._model
        calibrated = Calibrated(whole, self._given.calibrate)

        def apply(parts: Sequence[Part]) -> onnx.ModelProto:
            made = calibrated.quantised(parts)
            return fp8.from_int8(made, calibrated.model) if kind == "fp8" else made

        every = layers(calibrated.model)
        found = plan.sensitivities(every, apply, self._gaps, kind)
        everything = plan.worst(self._gaps(apply(every)))
        print(f"{kind} in all {len(found)} layers: worst cosine {everything:.6f}")
        self._note(kind, found)
        chosen = plan.mixed(apply, self._gaps, self._options.choosing, found)
        model = apply(chosen.chosen)
        if not chosen.chosen:
            return model, model, _NOTHING
        note = (
            f"{len(chosen.chosen)} of {len(found)} layers, {100 * chosen.share:.0f} % of their "
            f"weights; all layers: {everything:.3f}"
        )
        return model, model, note

    def _note(self, kind: str, found: Sequence[plan.Sensitivity]) -> None:
        """Keep what each part does for the report."""
        self.sensitivity[kind] = [
            {"part": s.part.name, "size": s.part.size, "cosine": s.cosine} for s in found
        ]

    def _gaps(self, model: onnx.ModelProto) -> tuple[Gap, ...]:
        """What `model` differs by on the observations that choose."""
        files = graph.write(model, self._work / "measured.onnx")
        return parity.compare(self._choosing, parity.answers(files[0], self._given.choose))

    def _judged(self, model: onnx.ModelProto) -> tuple[Gap, ...]:
        """The same on those that judge. Nothing is chosen by it."""
        files = graph.write(model, self._work / "judged.onnx")
        return parity.compare(self._judging, parity.answers(files[0], self._given.judge))

    def _latency(self, model: Path) -> float | None:
        """The median time of a run [ms], None where ONNX Runtime cannot run it."""
        sample = self._given.judge[0]
        specs = {n: TensorSpec(v.shape, str(v.dtype)) for n, v in sample.items()}
        try:
            engine = ort.open_engine(onnx_file.check(model), specs, {})
        except BundleError:
            return None
        for name, value in sample.items():
            engine.write(name, value)
        taken = []
        for _ in range(_RUNS):
            begun = time.perf_counter_ns()
            engine.run()
            taken.append(time.perf_counter_ns() - begun)
        engine.close()
        return float(np.median(taken)) / 1e6


_NOTHING = "no part keeps the bar"


def table(rows: Sequence[Row], output: str, given: Splits, options: Options) -> str:
    """The rows as text; `output` is the policy's, `given` are the observations."""
    lines = [
        f"{given}",
        f"bars: worst cosine {options.choosing:g} on those that choose, {options.bar:g} on those "
        "that judge",
        f"precision  size [MB]  CPU [ms]  cosine: chosen  judged    {output}: judged   max-abs  ",
    ]
    for r in rows:
        took = "-" if r.latency_ms is None else f"{r.latency_ms:.2f}"
        verdict = "" if r.precision == "fp32" else "kept" if r.kept else "refused"
        lines.append(
            f"{r.precision:9}  {r.size / 1e6:9.2f}  {took:>8}  {r.chosen_cosine:14.6f}  "
            f"{r.cosine:8.6f}  {r.output_cosine:{len(output) + 8}.6f}   {r.output_max_abs:.1e}  "
            f"{', '.join(filter(None, (verdict, r.note)))}"
        )
    return "\n".join(lines)
