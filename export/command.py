"""`headway export`: a policy becomes a bundle that was compared with what it was made from.

Each kind of source gives a `Made`: an ONNX model as the exporter left it, how the original answers,
and how the bundle is written. What follows is the same for all of them: the model is simplified,
its inputs become ones that TensorRT takes, its answers are compared with the original's over
samples, and only then the bundle is written.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from headway import bundle
from headway.bundle import onnx_file
from headway.edge.engines.backends import ort
from headway.edge.engines.engine import Declared
from headway.export import graph, parity, samples, tensorrt_inputs
from headway.export.samples import Sample
from headway.tools.policy_map import new_folder

MODEL = "policy.onnx"


@dataclass(frozen=True)
class Options:
    """What the command was asked for. `map` says what the tensors of a module or an ONNX file mean;
    `observed` are recordings, `samples` a .npz file of inputs, and `count` is how many samples are
    compared; `bar` is the largest difference, in the network's units, that is accepted."""

    out: Path | None
    map: Path | None = None
    robot: str | None = None
    folder: Path | None = None
    python: Path | None = None
    fps: float = 30.0
    exporter: str = "auto"
    observed: tuple[Path, ...] = ()
    samples: Path | None = None
    count: int = 50
    bar: float = parity.MAX_ABS
    slim: bool = True
    tensorrt: bool = True
    overwrite: bool = False


@dataclass(frozen=True)
class Made:
    """A model from its exporter. `what` it is and `how` it came, for people; `answer` is the
    original: inputs by name -> outputs by name. `examples`: samples that came with it. `scale`: by
    output, one unit of the network's numbers in the output's units (`parity.compare`). `save`
    writes the bundle of the model's files, with metrics, into a folder."""

    what: str
    how: str
    model: onnx.ModelProto
    answer: Callable[[Sample], Mapping[str, NDArray[Any]]]
    examples: Sequence[Sample]
    save: Callable[[Sequence[Path], Path, Mapping[str, float]], bundle.Bundle]
    scale: Mapping[str, NDArray[Any]]


def export_command(source: str, options: Options) -> int:
    """Export `source`, as `headway export` describes it. Returns the exit code. Raises ConfigError
    for a source or a mapping that does not fit, BundleError for a model that does not run or whose
    answers differ from the original's."""
    from headway.export import sources

    samples.require_source(options.observed, options.samples, options.count)
    with tempfile.TemporaryDirectory(prefix="headway-export-") as folder:
        work = Path(folder)
        made = sources.open_source(source, options, work)
        if isinstance(made, str):  # a mapping to begin with
            print(made)
            return 0
        out = new_folder(options.out, options.overwrite)
        written = finish(made, options, work, out)
    print(f"{out}: bundle of {made.what}, {_size(written)} in {len(written.manifest.files)} files")
    return 0


def finish(made: Made, options: Options, work: Path, out: Path) -> bundle.Bundle:
    """Simplify, mend, compare and write what `made` is into the folder `out`, with files in the
    folder `work` meanwhile. Raises as `export_command`."""
    print(f"{made.what}{made.how}: {graph.summary(made.model)}")
    model = made.model
    pairs: tuple[str, ...] = ()
    if options.slim:
        begun = time.perf_counter()
        model = graph.simplified(model)
        print(f"simplified in {time.perf_counter() - begun:.1f} s: {graph.summary(model)}")
    if options.tensorrt:
        before = tensorrt_inputs.unfit(model)
        model, pairs = tensorrt_inputs.mended(model)
        for each in before:
            pair = ", now a pair of bytes" if each.input in pairs else ", now cast first"
            print(f"for TensorRT: {each}{pair}")
    files = graph.write(model, work / MODEL)
    given = _samples(made, options, files, pairs, work)
    truth = [made.answer(_as_before(s, pairs)) for s in given.samples]
    gaps = parity.compare(truth, parity.answers(files[0], given.samples), made.scale)
    print(parity.report(gaps, f"ONNX against the original on {given.what}"))
    parity.require(gaps, made.what, max_abs=options.bar)
    return made.save(files, out, parity.metrics(gaps))


@dataclass(frozen=True)
class _Given:
    """Samples of the finished model's inputs, and what they are, for people."""

    samples: list[Sample]
    what: str


def _samples(
    made: Made, options: Options, files: Sequence[Path], pairs: Sequence[str], work: Path
) -> _Given:
    """The samples that `options` name; else those that came with the source, else made-up ones."""
    if options.observed:
        draft = made.save(files, work / "draft", {})
        found = samples.recorded(draft, samples.recordings(options.observed), options.count)
        return _Given(found, "recorded observations")
    if options.samples is not None:
        before = _as_declared(ort.declared(onnx_file.check(files[0]))[0], pairs)
        found = samples.from_file(options.samples, before)[: options.count]
        return _Given([_as_now(s, pairs) for s in found], f"inputs of {options.samples.name}")
    if made.examples:
        found = [_as_now(s, pairs) for s in made.examples]
        return _Given(found, "the inputs that came with it")
    before = _as_declared(ort.declared(onnx_file.check(files[0]))[0], pairs)
    found = [_as_now(s, pairs) for s in samples.made_up(before)]
    return _Given(found, "made-up inputs (name recordings with --observed for real ones)")


def _as_declared(inputs: Mapping[str, Declared], pairs: Sequence[str]) -> dict[str, Declared]:
    """The inputs of the original, by those of the model whose inputs `pairs` became bytes."""
    return {
        n: Declared(d.shape[:-1], "uint16") if n in pairs else d for n, d in inputs.items()
    }  # fmt: skip


def _as_now(sample: Mapping[str, NDArray[Any]], pairs: Sequence[str]) -> Sample:
    return {n: tensorrt_inputs.packed(v) if n in pairs else v for n, v in sample.items()}


def _as_before(sample: Mapping[str, NDArray[Any]], pairs: Sequence[str]) -> Sample:
    return {n: tensorrt_inputs.unpacked(v) if n in pairs else v for n, v in sample.items()}


def _size(made: bundle.Bundle) -> str:
    total = float(np.sum([f.size for f in made.manifest.files.values()]))
    return f"{total / 1e6:.1f} MB"
