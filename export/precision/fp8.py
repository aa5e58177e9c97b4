"""8-bit floats (E4M3) in chosen layers: the Q/DQ nodes of int8, with 8-bit floats between them.

The nodes are where the ranges of int8 were seen; the largest magnitude of a tensor, 127 steps of
its int8 scale, becomes 448, the largest number that E4M3 has (NVIDIA's recipe for FP8 as well:
amax / 448). E4M3 rounds to 4 significant bits wherever a number is in the range, so that small
numbers keep what int8's even steps lose, and large ones lose what int8 keeps.

ONNX has these types in Q/DQ nodes since opset 19, and ONNX Runtime computes them on a CPU in
float32 with the roundings that they state: that measures the error, not the time, for which a GPU
with FP8 (Ada, Hopper, Thor; not Orin) is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headway.errors import BundleError
from headway.export import graph

OPSET = 19  # the first in which QuantizeLinear takes 8-bit floats
LARGEST = 448.0  # of E4M3
_INT8_STEPS = 127.0
_PAIR = ("QuantizeLinear", "DequantizeLinear")


def upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` in operators that can have 8-bit floats between them. Raises BundleError where it
    cannot be converted."""
    if graph.opset(model) >= OPSET:
        return model
    try:
        made: onnx.ModelProto = onnx.version_converter.convert_version(model, OPSET)
    except Exception as e:  # the converter's errors have no common base class
        raise BundleError(
            f"fp8 wants operators of opset {OPSET} or newer, found {graph.opset(model)}, and that "
            f"onnx {onnx.__version__} cannot convert them: {e}: export the model with a newer opset"
        ) from None
    return made


def from_int8(model: onnx.ModelProto, original: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, whose Q/DQ nodes are symmetric int8, with 8-bit floats in their place. The weights
    are those of `original`, rounded once."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    constants = {i.name: i for i in made.graph.initializer}
    floats = {i.name: i for i in original.graph.initializer}
    scales: dict[str, NDArray[Any]] = {}
    # Scales and zero points are shared by nodes, so each is changed once.
    for node in made.graph.node:
        if node.op_type in _PAIR:
            _, scale, zero = node.input
            if scale not in scales:
                scales[scale] = numpy_helper.to_array(constants[scale]) * np.float32(
                    _INT8_STEPS / LARGEST
                )
                constants[scale].CopyFrom(numpy_helper.from_array(scales[scale], scale))
            _store(constants[zero], np.zeros(tuple(constants[zero].dims), np.float32))
    for node in made.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            stored = constants[node.input[0]]
            if stored.data_type != TensorProto.FLOAT8E4M3FN:
                weight = numpy_helper.to_array(floats[stored.name.removesuffix("_quantized")])
                _store(stored, weight / _along(scales[node.input[1]], node, weight.ndim))
    return made


def _along(scale: NDArray[Any], node: onnx.NodeProto, ndim: int) -> NDArray[Any]:
    """`scale` in a shape that divides a tensor of `ndim` axes along the axis that `node` names."""
    if scale.ndim == 0:
        return scale
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    shape = [1] * ndim
    shape[axis] = -1
    return scale.reshape(shape)


def _store(tensor: onnx.TensorProto, values: NDArray[Any]) -> None:
    """Make `tensor` the `values`, rounded to 8-bit floats; what lies outside becomes the
    largest."""
    clipped = np.clip(values, -LARGEST, LARGEST)
    made = helper.make_tensor(
        tensor.name, TensorProto.FLOAT8E4M3FN, list(clipped.shape), clipped.ravel()
    )
    raw = bytes(made.int32_data) or made.raw_data  # onnx writes an int32 for each
    made.ClearField("int32_data")
    made.raw_data = raw
    tensor.CopyFrom(made)
