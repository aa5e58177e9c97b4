"""Export a PyTorch module as an ONNX model, and check that both compute the same."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from headway.bundle import Tensor, onnx_file
from headway.edge.engines.backends import ort
from headway.edge.engines.engine import TensorSpec
from headway.errors import BundleError
from headway.export.graph import bare, replaced

OPSET = 20
TOLERANCE = 1e-4  # largest absolute difference on the sample inputs


def export(
    module: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    outputs: Sequence[str],
    several: Sequence[str] = (),
    tolerance: float = TOLERANCE,
) -> tuple[bytes, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The ONNX model as bytes, and the tensors of its inputs and outputs. `inputs` are samples by
    name, in the order of the module's arguments; `outputs` are the names of its results. The model
    leaves the first dimension of the inputs `several`, of which the samples have two rows, and of
    the outputs that have as many rows as those, open: the tensors state one row of them. Raises
    BundleError when the results of ONNX Runtime for `inputs` differ from the module's by more than
    `tolerance`."""
    module = module.eval()
    rows = torch.export.Dim("rows", min=1, max=1024)
    shapes = tuple({0: rows} if name in several else None for name in inputs)
    with torch.no_grad():
        truth = module(*inputs.values())
    truth = truth if isinstance(truth, tuple) else (truth,)
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's deprecation warnings about itself
        log.setLevel(logging.ERROR)  # and that it would know torchvision's operators, were it here
        try:
            program = torch.onnx.export(
                module, tuple(inputs.values()), dynamo=True, opset_version=OPSET,
                input_names=list(inputs), output_names=list(outputs), verbose=False,
                dynamic_shapes=shapes if several else None,
            )  # fmt: skip
        finally:
            log.setLevel(level)
    assert program is not None
    many = len(inputs[several[0]]) if several else 0
    ins = tuple(_tensor(n, v[:1] if n in several else v) for n, v in inputs.items())
    outs = tuple(
        _tensor(n, v[:1] if len(v) == many else v) for n, v in zip(outputs, truth, strict=True)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program.save(str(path))
        model = bare(path.read_bytes())
    check(model, module, inputs, outputs, tolerance)
    return model, ins, outs


def with_weights(
    model: bytes,
    module: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    outputs: Sequence[str],
    tolerance: float = TOLERANCE,
) -> bytes:
    """The ONNX `model`, which was exported from a module of the same kind and shapes, with the
    weights of `module`: much faster than exporting that one too. Raises BundleError as `export`
    does."""
    weights = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    made = replaced(model, weights)
    check(made, module.eval(), inputs, outputs, tolerance)
    return made


def check(
    model: bytes,
    module: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    outputs: Sequence[str],
    tolerance: float = TOLERANCE,
) -> float:
    """The largest difference between what `model` and `module` answer to `inputs`. Raises
    BundleError where it is more than `tolerance`."""
    largest = 0.0
    with torch.no_grad():
        truth = module(*inputs.values())
    truth = truth if isinstance(truth, tuple) else (truth,)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        shapes = {
            name: TensorSpec(tuple(value.shape), str(value.numpy().dtype))
            for name, value in inputs.items()
        }
        engine = ort.open_engine(onnx_file.check(path), shapes, {})
        try:
            for name, value in inputs.items():
                engine.write(name, value.numpy())
            engine.run()
            gaps = {
                name: float(np.abs(engine.bind(name) - value.numpy()).max())
                for name, value in zip(outputs, truth, strict=True)
            }
        finally:
            engine.close()
    for name, gap in gaps.items():
        largest = max(largest, gap)
        if not gap <= tolerance:
            raise BundleError(
                f"wanted the exported `{name}` within {tolerance} of PyTorch's, found {gap}"
            )
    return largest


def _tensor(name: str, value: torch.Tensor) -> Tensor:
    return Tensor(
        name=name, shape=tuple(value.shape), dtype=str(value.dtype).removeprefix("torch.")
    )
