"""Export a PyTorch module as an ONNX model, and check that both compute the same."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from headway.bundle import Tensor
from headway.edge.engines.backends import ort
from headway.errors import BundleError

OPSET = 20
TOLERANCE = 1e-4  # largest absolute difference on the sample inputs


def export(
    module: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    outputs: Sequence[str],
) -> tuple[bytes, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The ONNX model as bytes, and the tensors of its inputs and outputs. `inputs` are samples by
    name, in the order of the module's arguments; `outputs` are the names of its results. Raises
    BundleError when the results of ONNX Runtime for `inputs` differ from the module's by more than
    TOLERANCE."""
    module = module.eval()
    with torch.no_grad():
        truth = module(*inputs.values())
    truth = truth if isinstance(truth, tuple) else (truth,)
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's deprecation warnings about itself
        log.setLevel(logging.ERROR)  # and that it would know torchvision's operators, were it here
        program = torch.onnx.export(
            module, tuple(inputs.values()), dynamo=True, opset_version=OPSET,
            input_names=list(inputs), output_names=list(outputs), verbose=False,
        )  # fmt: skip
        log.setLevel(level)
    assert program is not None
    ins = tuple(_tensor(name, value) for name, value in inputs.items())
    outs = tuple(_tensor(name, value) for name, value in zip(outputs, truth, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program.save(str(path))
        model = bare(path.read_bytes())
    _check(model, module, inputs, outputs)
    return model, ins, outs


def with_weights(
    model: bytes,
    module: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    outputs: Sequence[str],
) -> bytes:
    """The ONNX `model`, which was exported from a module of the same kind and shapes, with the
    weights of `module`: much faster than exporting that one too. Raises BundleError as `export`
    does."""
    whole = onnx.load_from_string(model)
    weights = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    for initializer in whole.graph.initializer:
        if initializer.name in weights:
            value = np.ascontiguousarray(weights[initializer.name])
            initializer.CopyFrom(onnx.numpy_helper.from_array(value, initializer.name))
    made = bytes(whole.SerializeToString())
    _check(made, module.eval(), inputs, outputs)
    return made


def _check(
    model: bytes,
    module: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    outputs: Sequence[str],
) -> None:
    """Raises BundleError where `model` and `module` differ on `inputs` by more than TOLERANCE."""
    with torch.no_grad():
        truth = module(*inputs.values())
    truth = truth if isinstance(truth, tuple) else (truth,)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        engine = ort.open_engine(path, {}, {})
        for name, value in inputs.items():
            engine.write(name, value.numpy())
        engine.run()
        for name, value in zip(outputs, truth, strict=True):
            gap = float(np.abs(engine.bind(name) - value.numpy()).max())
            if not gap <= TOLERANCE:
                raise BundleError(
                    f"wanted the exported `{name}` within {TOLERANCE} of PyTorch's, found {gap}"
                )
        engine.close()


def bare(model: bytes) -> bytes:
    """The model without the exporter's notes: they contain lines of source code and paths of the
    machine on which it was made."""
    whole = onnx.load_from_string(model)
    graph = whole.graph
    things: list[Any] = [
        whole, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input,
        *graph.output, *whole.functions,
    ]  # fmt: skip
    for thing in things:
        del thing.metadata_props[:]
        thing.doc_string = ""
    return bytes(whole.SerializeToString())


def _tensor(name: str, value: torch.Tensor) -> Tensor:
    return Tensor(
        name=name, shape=tuple(value.shape), dtype=str(value.dtype).removeprefix("torch.")
    )
