"""A PyTorch module of anybody, named as `package.module:function`, as an ONNX model.

The function takes no arguments and returns the module, sample inputs by name in the order of the
arguments of its `forward`, and the names of its outputs, which may be left out where there is one:

    def policy():
        net = MyPolicy.load("weights.pt")
        state, image = torch.zeros(1, 7), torch.zeros(1, 96, 96, 3, dtype=torch.uint8)
        return net, {"state": state, "image": image}, ("actions",)
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from headway.errors import BundleError, ConfigError
from headway.export import graph
from headway.export.onnx import OPSET

Exporter = Literal["dynamo", "torchscript"]
TORCHSCRIPT_OPSET = 17  # the highest that its exporter knows well; newer operators are not needed


@dataclass(frozen=True)
class TorchSource:
    """A `module` in evaluation mode, sample `inputs` by name in the order of its arguments, and the
    names of its `outputs`."""

    module: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: tuple[str, ...]

    def answer(self, sample: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What the module answers to `sample`, which has an array for each input."""
        given = [torch.from_numpy(np.ascontiguousarray(sample[name])) for name in self.inputs]
        with torch.no_grad():
            found = self.module(*given)
        found = found if isinstance(found, tuple) else (found,)
        return {n: v.numpy() for n, v in zip(self.outputs, found, strict=True)}


def load(target: str, folder: Path | None = None) -> TorchSource:
    """What the function `target` gives, such as `my_package.export:policy`; `folder` is where
    Python looks for the module first. Raises ConfigError for one that is not there or gives
    something else."""
    module_name, _, function = target.partition(":")
    with _first(folder):
        try:
            found = getattr(importlib.import_module(module_name), function)
        except (ImportError, AttributeError) as e:
            raise ConfigError(
                f"wanted a function {target}, found none: {e}; is its package installed in this "
                "environment, or --folder the one that it lies in?"
            ) from None
        given = found()
    parts = given if isinstance(given, tuple) else (given,)
    if len(parts) not in (2, 3) or not isinstance(parts[0], torch.nn.Module):
        raise ConfigError(
            f"{target}: wanted (module, inputs) or (module, inputs, outputs), found "
            f"{', '.join(type(p).__name__ for p in parts)}"
        )
    module, inputs = parts[0].eval(), parts[1]
    if not isinstance(inputs, Mapping) or not all(
        isinstance(v, torch.Tensor) for v in inputs.values()
    ):
        raise ConfigError(f"{target}: wanted the inputs as a dict of tensors by name")
    module.requires_grad_(requires_grad=False)
    with torch.no_grad():
        answer = module(*inputs.values())
    count = len(answer) if isinstance(answer, tuple) else 1
    outputs = tuple(parts[2]) if len(parts) == 3 else ("actions",)
    if len(outputs) != count:
        raise ConfigError(
            f"{target}: wanted a name for each of {count} outputs, found {', '.join(outputs)}: "
            "return (module, inputs, names)"
        )
    return TorchSource(module, dict(inputs), outputs)


def to_onnx(source: TorchSource, exporter: Exporter = "dynamo") -> onnx.ModelProto:
    """The ONNX model of `source`. "dynamo" is PyTorch's exporter of today; "torchscript" the one
    before it, which traces one run: much faster for modules with long Python loops. Raises
    BundleError where the exporter gives up."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        names: dict[str, Any] = {
            "input_names": list(source.inputs), "output_names": list(source.outputs),
        }  # fmt: skip
        given = tuple(source.inputs.values())
        try:
            if exporter == "dynamo":
                program = torch.onnx.export(
                    source.module, given, dynamo=True, opset_version=OPSET, verbose=False, **names
                )
                assert program is not None
                program.save(str(path), external_data=_large(source.module))
            else:
                torch.onnx.export(
                    source.module, given, str(path), dynamo=False,
                    opset_version=TORCHSCRIPT_OPSET, **names,
                )  # fmt: skip
        except Exception as e:  # the exporters have no common base class of errors
            line = next(filter(None, map(str.strip, str(e).splitlines())), type(e).__name__)
            other = "torchscript" if exporter == "dynamo" else "dynamo"
            raise BundleError(
                f"the exporter {exporter} gave up: {line}: try --exporter {other}, and look for "
                "control flow that depends on values"
            ) from None
        return graph.read(path)


def _large(module: torch.nn.Module) -> bool:
    size = sum(p.numel() * p.element_size() for p in module.parameters())
    return size > graph.EXTERNAL_ABOVE


@contextlib.contextmanager
def _first(folder: Path | None) -> Iterator[None]:
    """Let Python look into `folder` first."""
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' notes and warnings about themselves."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def arrays(inputs: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    """`inputs` as NumPy arrays."""
    return {name: value.detach().numpy() for name, value in inputs.items()}
