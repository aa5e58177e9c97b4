"""A policy that works in steps, such as denoising, as one graph: the step's nodes are repeated, its
weights are there once, and what the steps share is computed before the first of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from headway.errors import BundleError


def unrolled(
    first: onnx.ModelProto,
    step: onnx.ModelProto,
    last: onnx.ModelProto,
    carried: Mapping[str, str],
    constants: Mapping[str, NDArray[Any]],
) -> onnx.ModelProto:
    """`first`, then `step` once for each entry of `constants` (by name of an input of the step, its
    values for all steps along the first axis), then `last`, whose outputs are the answer.

    `carried`: output of a step -> input of the next one. What `first` gives under that input's name
    goes into the first step, and what the last step gives into `last`, under the same name. Every
    other input of `step` and `last` is an output of `first`. Raises BundleError for stages that do
    not fit each other."""
    counts = {len(v) for v in constants.values()}
    if len(counts) != 1:
        raise BundleError(f"wanted constants for as many steps each, found {sorted(counts)}")
    made = onnx.ModelProto()
    made.CopyFrom(first)
    graph = made.graph
    given = {o.name: o.name for o in first.graph.output}  # what a stage may ask for -> tensor
    for weight in step.graph.initializer:
        graph.initializer.add().CopyFrom(weight)
        graph.initializer[-1].name = f"step/{weight.name}"
    shared = {w.name: f"step/{w.name}" for w in step.graph.initializer}
    for k in range(counts.pop()):
        prefix = f"step{k}/"
        names = dict(shared)
        for name, values in constants.items():
            graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(values[k]), prefix + name)
            )
            names[name] = prefix + name
        _add(graph, step.graph, prefix, names, given)
        given |= {into: prefix + out for out, into in carried.items()}
    names = {}
    for weight in last.graph.initializer:
        graph.initializer.add().CopyFrom(weight)
        graph.initializer[-1].name = f"last/{weight.name}"
        names[weight.name] = f"last/{weight.name}"
    _add(graph, last.graph, "last/", names, given)
    del graph.output[:]
    del graph.value_info[:]
    for out in last.graph.output:
        graph.output.add().CopyFrom(out)
        graph.node.append(onnx.helper.make_node("Identity", [f"last/{out.name}"], [out.name]))
    onnx.checker.check_model(made, full_check=False)
    return made


def _add(
    graph: onnx.GraphProto,
    stage: onnx.GraphProto,
    prefix: str,
    names: dict[str, str],
    given: Mapping[str, str],
) -> None:
    """Append the nodes of `stage` to `graph`; its tensors get `prefix`, but for those in `names`,
    and its inputs are what is `given`."""
    for info in stage.input:
        if info.name in names:
            continue
        if info.name not in given:
            raise BundleError(
                f"wanted `{info.name}` for the stage {prefix.rstrip('/')}, found "
                f"{', '.join(given) or 'nothing'} before it"
            )
        names[info.name] = given[info.name]
    _renamed(graph, stage, prefix, names)


def _renamed(
    graph: onnx.GraphProto, stage: onnx.GraphProto, prefix: str, names: dict[str, str]
) -> None:
    for node in stage.node:
        new = graph.node.add()
        new.CopyFrom(node)
        new.name = prefix + node.name
        for k, name in enumerate(node.input):
            new.input[k] = names.get(name, prefix + name) if name else ""
        for k, name in enumerate(node.output):
            new.output[k] = prefix + name if name else ""
        for attribute in new.attribute:
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
                raise BundleError(
                    f"wanted steps without branches, found the node {node.name} ({node.op_type}): "
                    "export the module without control flow that depends on values"
                )
