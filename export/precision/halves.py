"""Half floats: fp16 and bf16 by modelopt's autocast, which leaves out what overflows or loses too
much; and the same arithmetic in float32, to be measured on any computer."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from headway.edge.engines.onnx_runtime import onnxruntime
from headway.errors import BundleError, Missing
from headway.export import graph
from headway.export.precision.plan import Part
from headway.export.precision.quiet import quiet
from headway.export.samples import Sample

Half = Literal["fp16", "bf16"]
_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
BLOCKS = 24  # parts of a model of which each is tried in half floats alone
_CALIBRATION = 16  # samples that autocast looks for large values in


def halved(
    model: onnx.ModelProto, kind: Half, calibration: Sequence[Sample], kept: Iterable[str] = ()
) -> onnx.ModelProto:
    """`model` in half floats, where its values over `calibration` allow it; inputs, outputs and the
    nodes that are `kept` stay as they are. Raises Missing without modelopt, BundleError where it
    gives up."""
    onnxruntime()  # before modelopt imports it, so that its telemetry is off
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from modelopt.onnx.autocast import convert_to_mixed_precision
    except ImportError as e:
        raise Missing(
            f"half floats want modelopt: pip install 'headway[precision]' ({e})"
        ) from None
    with tempfile.TemporaryDirectory() as folder, quiet():
        files = graph.write(model, Path(folder) / "model.onnx")
        given = Path(folder) / "calibration.npz"
        # modelopt takes one input set: we give it, of about 16 samples, the one with the largest
        # absolute value.
        few = calibration[:: max(1, len(calibration) // _CALIBRATION)]
        largest = max(few, key=lambda s: max(float(np.abs(v).max()) for v in s.values()))
        arrays: dict[str, Any] = dict(largest)
        np.savez(given, **arrays)
        try:
            made: onnx.ModelProto = convert_to_mixed_precision(
                str(files[0]), low_precision_type=kind, keep_io_types=True,
                calibration_data=str(given),
                nodes_to_exclude=[f"^{re.escape(name)}$" for name in kept],
            )  # fmt: skip
        except Exception as e:  # modelopt's errors have no common base class
            raise BundleError(f"modelopt could not make {kind} of the model: {e}") from None
    return graph.shared(made)


def emulated(model: onnx.ModelProto, kind: Half) -> onnx.ModelProto:
    """A model in float32 that rounds as `model`, of the precision `kind`, does: weights and the
    result of each node are rounded to half floats, sums within a node are not, as on tensor cores.
    ONNX Runtime has few kernels for half floats on a CPU, and leaves out roundings between them."""
    half = _TYPES[kind]
    made = onnx.ModelProto()
    made.CopyFrom(model)
    g = made.graph
    halves = set()
    for weight in g.initializer:
        if weight.data_type == half:
            values = numpy_helper.to_array(weight).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))
            halves.add(weight.name)
    typed = {v.name: v.type.tensor_type.elem_type for v in _infos(model)}
    halves |= {name for name, elem in typed.items() if elem == half}
    for info in (*g.value_info, *g.output, *g.input):
        if info.type.tensor_type.elem_type == half:
            info.type.tensor_type.elem_type = TensorProto.FLOAT
    nodes = []
    for node in list(g.node):
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == half:
                attribute.i = TensorProto.FLOAT
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == half:
                values = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))
        nodes.append(node)
        for k, out in enumerate(node.output):
            if out in halves:
                node.output[k] = f"{out}.exact"
                nodes += _round(f"{out}.exact", out, half)
    del g.node[:]
    g.node.extend(nodes)
    del g.value_info[:]
    return made


def blocks(model: onnx.ModelProto, count: int = BLOCKS) -> list[Part]:
    """The nodes of `model`, which have names, in `count` parts of neighbours, so that few casts are
    needed between them."""
    names = [n.name for n in model.graph.node]
    size = -(-len(names) // count)
    groups = [tuple(names[k : k + size]) for k in range(0, len(names), size)]
    return [Part(f"{g[0]} to {g[-1]}", g, len(g)) for g in groups]


def rounded(model: onnx.ModelProto, parts: Iterable[Part], kind: Half) -> onnx.ModelProto:
    """`model` with what the nodes of `parts` give, and their weights, rounded to half floats."""
    half = _TYPES[kind]
    names = {name for part in parts for name in part.nodes}
    floats = {
        v.name for v in _infos(model) if v.type.tensor_type.elem_type == TensorProto.FLOAT
    }  # fmt: skip
    made = onnx.ModelProto()
    made.CopyFrom(model)
    weights = {i.name for i in made.graph.initializer if i.data_type == TensorProto.FLOAT}
    halved_weights: dict[str, str] = {}
    nodes = []
    for node in list(made.graph.node):
        if node.name not in names:
            nodes.append(node)
            continue
        for k, name in enumerate(node.input):
            if name in weights:
                if name not in halved_weights:
                    halved_weights[name] = f"{name}.rounded"
                    nodes += _round(name, halved_weights[name], half)
                node.input[k] = halved_weights[name]
        nodes.append(node)
        for k, out in enumerate(node.output):
            if out in floats:
                node.output[k] = f"{out}.exact"
                nodes += _round(f"{out}.exact", out, half)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def _round(exact: str, out: str, half: int) -> list[onnx.NodeProto]:
    """Nodes that round the float32 tensor `exact` to `out`."""
    return [
        helper.make_node("Cast", [exact], [f"{out}.half"], f"{out}.down", to=half),
        helper.make_node("Cast", [f"{out}.half"], [out], f"{out}.up", to=TensorProto.FLOAT),
    ]


def _infos(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The types of all tensors of `model`."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return [*inferred.value_info, *inferred.input, *inferred.output]
