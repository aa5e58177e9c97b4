"""ONNX models as files: simplified, without the exporter's notes, with weights beside the file
where it would become too large for one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from headway.edge.engines.engine import Declared
from headway.errors import BundleError, Missing

# Protocol buffers end at 2 GiB; nodes and shapes need some room beside the weights.
EXTERNAL_ABOVE = 1_900_000_000
_INNER = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
DATA = ".data"  # suffix of the file with the weights


def read(path: Path) -> onnx.ModelProto:
    """The model at `path`, with its external data. Raises BundleError."""
    try:
        return onnx.load(str(path))
    except Exception as e:  # onnx and protobuf have no common base class of errors
        raise BundleError(
            f"wanted an ONNX model at {path}, found none that can be read: {e}"
        ) from None


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


def weights(model: onnx.ModelProto) -> int:
    """The size of its weights [bytes]."""
    return sum(len(i.raw_data) or i.ByteSize() for i in model.graph.initializer)


def by_name(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Its weights, by name."""
    return {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}


def replaced(model: bytes, values: Mapping[str, NDArray[Any]]) -> bytes:
    """The `model` with those of `values` as its weights whose names it has. Their sizes may be
    others, where nothing else in the model depends on them."""
    whole = onnx.load_from_string(model)
    del whole.graph.value_info[:]  # the sizes of what is computed in between follow from them
    for initializer in whole.graph.initializer:
        if initializer.name in values:
            value = np.ascontiguousarray(values[initializer.name])
            initializer.CopyFrom(onnx.numpy_helper.from_array(value, initializer.name))
    return bytes(whole.SerializeToString())


def write(model: onnx.ModelProto, path: Path, external_above: int = EXTERNAL_ABOVE) -> list[Path]:
    """Write `model` to `path`; its weights beside it, where they have more than `external_above`
    bytes. `model` stays as it is. Returns the files, the model first."""
    if weights(model) <= external_above:
        path.write_bytes(bare(model.SerializeToString()))
        return [path]
    data = path.with_name(path.name + DATA)
    data.unlink(missing_ok=True)  # onnx would append to it
    onnx.save_model(
        model, str(path), save_as_external_data=True, all_tensors_to_one_file=True,
        location=data.name, size_threshold=1024,
    )  # fmt: skip
    onnx.load_external_data_for_model(model, str(path.parent))  # onnx took its weights away
    path.write_bytes(bare(path.read_bytes()))
    return [path, data]


def declared(path: Path) -> tuple[dict[str, Declared], dict[str, Declared]]:
    """The inputs and outputs of the model at `path` as its file has them; nothing is run."""
    graph = onnx.load(str(path), load_external_data=False).graph
    stored = {i.name for i in graph.initializer}

    def of(infos: Iterable[onnx.ValueInfoProto]) -> dict[str, Declared]:
        found = {}
        for info in infos:
            kind = info.type.tensor_type
            shape = tuple(d.dim_param or d.dim_value for d in kind.shape.dim)
            dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
            if info.name not in stored:
                found[info.name] = Declared(shape, dtype)
        return found

    return of(graph.input), of(graph.output)


def opset(model: onnx.ModelProto) -> int:
    """The version of the operators that `model` uses."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with constants computed and nodes without effect left out. Raises Missing without
    the package onnxslim, BundleError where the result is no valid model."""
    try:
        import onnxslim
    except ImportError:
        raise Missing("simplifying wants onnxslim: pip install 'headway[export]'") from None
    log = logging.getLogger("onnxslim")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        made = onnxslim.slim(model)
    finally:
        log.setLevel(level)
    if made is None:
        raise BundleError("wanted a simplified model, found that onnxslim gave none: use --no-slim")
    return shared(made)


def shared(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with one copy of weights that are equal: a network that looks at two cameras is
    traced twice, and each pass gets folded weights of its own."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    same: dict[str, str] = {}
    kept = []
    for weight in model.graph.initializer:
        values = weight.raw_data or weight.SerializeToString()
        digest = hashlib.sha256(values).digest()
        key = (weight.data_type, tuple(weight.dims), digest)
        if key in first and weight.raw_data:
            same[weight.name] = first[key]
        else:
            first.setdefault(key, weight.name)
            kept.append(weight)
    if not same:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    for graph in _graphs(made.graph):
        for node in graph.node:
            for k, name in enumerate(node.input):
                node.input[k] = same.get(name, name)
    return made


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """`graph` and those of its nodes, such as the branches of an If."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.type in _INNER else ():
                yield from _graphs(inner)


def summary(model: onnx.ModelProto) -> str:
    """Nodes, opset and size of the weights, for people."""
    return f"{len(model.graph.node)} nodes, opset {opset(model)}, {weights(model) / 1e6:.1f} MB"
