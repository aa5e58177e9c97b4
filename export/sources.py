"""What `headway export` can be given: a PyTorch module, a LeRobot checkpoint, an ONNX file, or a
bundle that is to be made again."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from headway import bundle
from headway.errors import ConfigError, Missing
from headway.export import graph, parity
from headway.export.command import MODEL, Made, Options
from headway.export.samples import Sample
from headway.tools.policy_map import PolicyMap, make_bundle, read_map, to_begin_with


def open_source(source: str, options: Options, work: Path) -> Made | str:
    """The model of `source`, or, for one whose tensors nobody has explained, a mapping file to
    begin with as text. Files in the folder `work` last as long as they are needed. Raises
    ConfigError for a source that is none of the kinds."""
    path = Path(source)
    if (path / bundle.MANIFEST).is_file():
        return _of_bundle(path)
    if (path / "config.json").is_file():
        from headway.export.lerobot.importer import of_checkpoint

        return of_checkpoint(path, options, work)
    if path.suffix == ".onnx" and path.is_file():
        return _of_onnx(path, options)
    if not path.exists() and _is_target(source):
        return _of_module(source, options, work)
    what = "an empty or unknown folder" if path.is_dir() else "a file" if path.is_file() else "none"
    raise ConfigError(
        f"wanted a bundle's folder, a LeRobot checkpoint's folder (with config.json), an .onnx "
        f"file or package.module:function, found {what} at {source}"
    )


def _is_target(source: str) -> bool:
    module, colon, function = source.partition(":")
    return bool(colon) and all(p.isidentifier() for p in (*module.split("."), function))


def _of_module(target: str, options: Options, work: Path) -> Made | str:
    try:
        from headway.export import torch_module
    except ImportError as e:
        raise Missing(
            f"exporting a module wants PyTorch and onnx: pip install 'headway[export]' ({e})"
        ) from None

    found = torch_module.load(target, options.folder)
    exporter: torch_module.Exporter = (
        "torchscript" if options.exporter == "torchscript" else "dynamo"
    )
    begun = time.perf_counter()
    model = torch_module.to_onnx(found, exporter)
    how = f" by {exporter} in {time.perf_counter() - begun:.1f} s"
    if options.map is None:
        file = work / "policy.onnx"
        graph.write(model, file)
        return to_begin_with(
            file, options.robot, f"headway export {target} --map my.toml --out DIR"
        )
    return Made(
        target, how, model, found.answer, [torch_module.arrays(found.inputs)],
        Mapped(options.map, read_map(options.map), f"headway export {target}"), {},
    )  # fmt: skip


def _of_onnx(path: Path, options: Options) -> Made | str:
    model = graph.read(path)
    if options.map is None:
        again = f"headway export {path.name} --map {path.stem}.toml --out DIR"
        return to_begin_with(path, options.robot, again)
    save = Mapped(options.map, read_map(options.map), f"headway export {path.name}")
    return Made(path.name, "", model, _Answers(path), (), save, {})


def _of_bundle(path: Path) -> Made:
    found = bundle.load(path)
    model = graph.read(found.onnx)
    return Made(found.manifest.name, "", model, _Answers(found.onnx), (), Again(found), {})


class _Answers:
    """What an ONNX file answers to a sample."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, sample: Sample) -> Mapping[str, NDArray[Any]]:
        return parity.answers(self._path, [sample])[0]


class Mapped:
    """Writes the bundle that the mapping file `path` describes; `known` is its content, `command`
    goes into the provenance."""

    def __init__(self, path: Path, known: PolicyMap, command: str) -> None:
        self._path, self._known, self._command = path, known, command

    def __call__(
        self, files: Sequence[Path], out: Path, metrics: Mapping[str, float]
    ) -> bundle.Bundle:
        more = tuple(f.name for f in files[1:])
        known = msgspec.structs.replace(self._known, files=more)
        return make_bundle(
            files[0], known, self._path, out,
            command=f"{self._command} --map {self._path.name}", metrics=metrics,
        )  # fmt: skip


class Again:
    """Writes the bundle `old` with another model; what else it has stays as it is. `command` [one
    that exports it] goes into its provenance."""

    def __init__(self, old: bundle.Bundle, command: str = "") -> None:
        self._old, self._command = old, command or f"headway export {old.path.name}"

    def __call__(
        self, files: Sequence[Path], out: Path, metrics: Mapping[str, float]
    ) -> bundle.Bundle:
        old = self._old.manifest
        inputs, outputs = graph.declared(files[0])  # ONNX Runtime may not know its precision
        made = msgspec.structs.replace(
            old,
            onnx=MODEL,
            inputs=tuple(_now(t, inputs[t.name].shape, inputs[t.name].dtype) for t in old.inputs),
            outputs=tuple(t for t in old.outputs if t.name in outputs),
            provenance=msgspec.structs.replace(
                old.provenance,
                command=f"{old.provenance.command}; {self._command}",
                date=datetime.date.today().isoformat(),
                metrics={**old.provenance.metrics, **metrics},
            ),
        )
        kept = [n for n in old.files if n != old.onnx and not n.startswith(f"{old.onnx}.")]
        contents: dict[str, bytes | Path] = {n: self._old.path / n for n in kept}
        contents |= {MODEL: files[0], **{f.name: f for f in files[1:]}}
        return bundle.save(out, made, contents)


def _now(tensor: bundle.Tensor, shape: Sequence[int | str], dtype: str) -> bundle.Tensor:
    """`tensor` as the new model has it; sizes that the model leaves open stay those of `tensor`."""
    known = (*tensor.shape, *[2] * (len(shape) - len(tensor.shape)))
    sizes = tuple(d if isinstance(d, int) else k for d, k in zip(shape, known, strict=True))
    sizes = tuple(k if d == 1 else d for d, k in zip(sizes, known, strict=True))
    return msgspec.structs.replace(tensor, shape=sizes, dtype=dtype)
