"""The graph of a model with several heads side by side, of which the instruction picks one, and one
head taken out of such a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headway.errors import SpecMismatch
from headway.export.graph import by_name
from headway.learn.policy.head import HEAD

# What is added to the graph of a model with one head.
_KNOWN, _LENGTH, _OWNER = "heads.known", "heads.length", "heads.owner"
_NEAR, _NEAREST, _ONE, _PICKED = "heads.near", "heads.nearest", "heads.one", "heads.picked"
_ALL = "all."  # before the name of a weight: those of all heads, stacked


def beside(
    models: Sequence[onnx.ModelProto],
    instruction: str,
    known: NDArray[np.float32],
    owner: NDArray[np.int64],
) -> onnx.ModelProto:
    """The first of `models`, which is altered, with the heads of all, of which the input
    `instruction` (1, e) picks that of the `owner` (c,) of the nearest of the embeddings `known`
    (c, e). Raises SpecMismatch for models whose heads are not alike."""
    whole, graph = models[0], models[0].graph
    weights = [by_name(model) for model in models]
    names = [name for name in weights[0] if name.startswith(HEAD)]
    if not names or any(
        set(w) != set(weights[0]) or any(w[n].shape != weights[0][n].shape for n in names)
        for w in weights
    ):
        raise SpecMismatch(
            "wanted models with the same weights by name and shape, their heads' beginning with "
            f"{HEAD}, found others: join policies that were exported alike"
        )
    # Smallest |k - x|^2 over the known k is largest 2 k x - |k|^2.
    graph.initializer.extend(
        numpy_helper.from_array(value, name)
        for name, value in (
            (_KNOWN, 2.0 * known.T),
            (_LENGTH, -(known**2).sum(axis=1)),
            (_OWNER, owner),
        )
    )
    pick = [
        helper.make_node("Gemm", [instruction, _KNOWN, _LENGTH], [_NEAR]),
        helper.make_node("ArgMax", [_NEAR], [_NEAREST], axis=1, keepdims=0),
        helper.make_node("Gather", [_OWNER, _NEAREST], [_ONE]),
        # Without a dimension, so that what is gathered has the shape of one head's weight.
        helper.make_node("Squeeze", [_ONE], [_PICKED]),
    ]
    for name in names:
        old = next(i for i in graph.initializer if i.name == name)
        graph.initializer.remove(old)
        stacked = np.stack([w[name] for w in weights])
        graph.initializer.append(numpy_helper.from_array(stacked, f"{_ALL}{name}"))
        pick.append(helper.make_node("Gather", [f"{_ALL}{name}", _PICKED], [name], axis=0))
        shape = list(stacked.shape[1:])
        graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    nodes = [*pick, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(whole)
    return whole


def is_joined(model: onnx.ModelProto) -> bool:
    """Whether `model` has several heads, as `beside` makes one."""
    return any(i.name == _KNOWN for i in model.graph.initializer)


def owner_of(model: onnx.ModelProto, embedding: NDArray[np.float32]) -> int:
    """The number of the head that the joined `model` picks for the instruction `embedding` (e,)."""
    weights = by_name(model)
    near = embedding.astype(np.float32) @ weights[_KNOWN] + weights[_LENGTH]
    return int(weights[_OWNER][int(np.argmax(near))])


def taken_out(model: onnx.ModelProto, head: int) -> onnx.ModelProto:
    """The joined `model`, which is altered, with the one head of that number alone, as it was
    before it was joined with others."""
    graph = model.graph
    weights = by_name(model)
    names = {name.removeprefix(_ALL) for name in weights if name.startswith(_ALL)}
    added = {_KNOWN, _LENGTH, _OWNER, _NEAR, _NEAREST, _ONE, _PICKED}
    kept = [i for i in graph.initializer if i.name not in added and not i.name.startswith(_ALL)]
    kept += [numpy_helper.from_array(weights[f"{_ALL}{n}"][head], n) for n in sorted(names)]
    nodes = [n for n in graph.node if not set(n.output) & (added | names)]
    shapes = [v for v in graph.value_info if v.name not in added | names]
    for field, values in (("initializer", kept), ("node", nodes), ("value_info", shapes)):
        values = [type(v).FromString(v.SerializeToString()) for v in values]
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    onnx.checker.check_model(model)
    return model
