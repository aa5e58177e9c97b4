"""All that an ONNX model holds: not only in its graph, but in graphs inside that (the branches of
an If, the body of a Loop) and in its functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Numbers of an element, as the package onnx names them, and what a graph with them is.
_HALVES = {"FLOAT16": "fp16", "BFLOAT16": "bf16"}
_QUANTISED = frozenset(("QuantizeLinear", "DequantizeLinear"))


class Contents:
    """What the `model` of the package onnx holds: its graph and those inside it, all nodes, and all
    attributes: of nodes, and those that functions have where a call does not say them."""

    def __init__(self, model: Any) -> None:
        self.graphs: list[Any] = []
        self.nodes: list[Any] = []
        self.attributes: list[Any] = []
        self._take_graph(model.graph)
        for function in model.functions:
            self._take_nodes(function.node)
            self._take_attributes(function.attribute_proto)

    def _take_graph(self, graph: Any) -> None:
        self.graphs.append(graph)
        self._take_nodes(graph.node)

    def _take_nodes(self, nodes: Any) -> None:
        for node in nodes:
            self.nodes.append(node)
            self._take_attributes(node.attribute)

    def _take_attributes(self, attributes: Any) -> None:
        for attribute in attributes:
            self.attributes.append(attribute)
            for graph in graphs_in(attribute):
                self._take_graph(graph)

    def tensors(self) -> Iterator[Any]:
        """All constants; of a sparse one its values and their places."""
        sparse: list[Any] = []
        for graph in self.graphs:
            yield from graph.initializer
            sparse += graph.sparse_initializer
        for attribute in self.attributes:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor"):
                sparse.append(attribute.sparse_tensor)
            sparse += attribute.sparse_tensors
        for each in sparse:
            yield from (each.values, each.indices)

    def precision(self, types: Any) -> str:
        """What the numbers are: "fp8" or "int8" where it is quantised so, "fp16" or "bf16" where it
        has weights or casts of these, else "fp32". `types` is onnx.TensorProto.DataType."""
        casts = [a for n in self.nodes if n.op_type == "Cast" for a in n.attribute]
        casts = [a for a in casts if a.name == "to"]
        # In a function, whoever calls it may say what is cast to, by an attribute of that name.
        named = {a.ref_attr_name for a in casts if a.ref_attr_name}
        kinds = {a.i for a in (*casts, *(a for a in self.attributes if a.name in named))}
        kinds |= {t.data_type for t in self.tensors()}
        names = {name for name, number in types.items() if number in kinds}
        if any(name.startswith("FLOAT8") for name in names):
            return "fp8"
        if any(n.op_type in _QUANTISED for n in self.nodes):
            return "int8"
        return next((found for name, found in _HALVES.items() if name in names), "fp32")


def graphs_in(attribute: Any) -> Iterator[Any]:
    """The graphs that an attribute holds."""
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def read_inside(graph: Any) -> set[str]:
    """The names that nodes of graphs inside `graph` read, whoever makes them."""
    found: set[str] = set()
    for node in graph.node:
        for attribute in node.attribute:
            for inner in graphs_in(attribute):
                found |= read_inside(inner)
                found |= {name for deeper in inner.node for name in deeper.input}
    return found
