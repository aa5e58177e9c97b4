"""Graphs that cannot be computed, or not within bounds, are refused before an engine reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_rig import F, h, model, onnx, refused, written

from headway.bundle.onnx_file import check
from headway.edge.engines.engine import open_engine


def shape(*dims: int) -> Any:
    return onnx.numpy_helper.from_array(np.array(dims, np.int64), "shape")


def inner(*nodes: Any) -> Any:
    return h.make_graph(list(nodes), "inner", [], [h.make_tensor_value_info("z", F, None)])


def nested(deep: int) -> Any:
    """If nodes inside each other."""
    graph = inner(h.make_node("Identity", ["x"], ["z"]))
    for _ in range(deep):
        both = {"then_branch": graph, "else_branch": inner(h.make_node("Identity", ["x"], ["z"]))}
        graph = inner(h.make_node("If", ["c"], ["z"], **both))
    return h.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)


def function(name: str, *nodes: Any) -> Any:
    return h.make_function(
        "own", name, ["a"], ["b"], list(nodes), [h.make_opsetid("own", 1), h.make_opsetid("", 17)]
    )


def calls(name: str, made: str = "b", read: str = "a") -> Any:
    return h.make_node(name, [read], [made], domain="own")


ABSURD: dict[str, tuple[Callable[[], Any], str]] = {
    "a cycle of two": (
        lambda: model([h.make_node("Add", ["x", "b"], ["y"]), h.make_node("Neg", ["y"], ["b"])]),
        "its nodes wait for each other in a cycle, one of them Add of ['y']",
    ),
    "a node that waits for itself": (
        lambda: model([h.make_node("Add", ["x", "y"], ["y"], name="own")]),
        "in a cycle, one of them Add 'own'",
    ),
    "a cycle through an inner graph": (
        lambda: model(
            [
                h.make_node("Cast", ["x"], ["c"], to=9),
                h.make_node(
                    "If", ["c"], ["b"], name="if",
                    then_branch=inner(h.make_node("Neg", ["y"], ["z"])),
                    else_branch=inner(h.make_node("Neg", ["x"], ["z"])),
                ),
                h.make_node("Neg", ["b"], ["y"]),
            ]
        ),
        "in a cycle, one of them If 'if'",
    ),
    "a name from nowhere": (
        lambda: model([h.make_node("Add", ["x", "ghost"], ["y"])]),
        "nothing in it makes 'ghost'",
    ),
    "a name made twice": (
        lambda: model([h.make_node("Neg", ["x"], ["y"]), h.make_node("Abs", ["x"], ["y"])]),
        "two things in it make 'y'",
    ),
    "a node without an output": (
        lambda: model([h.make_node("Neg", ["x"], [])]),
        "a node without an operator or an output",
    ),
    "graphs in graphs": (
        lambda: model([h.make_node("Cast", ["x"], ["c"], to=9), nested(20)]),
        "graphs inside graphs, more than 16 deep",
    ),
    "a function that calls itself": (
        lambda: model(
            [calls("f", "y", "x")], functions=[function("f", calls("g")), function("g", calls("f"))]
        ),
        "calls itself",
    ),
    "functions that double 40 times": (
        lambda: model(
            [calls("f0", "y", "x")],
            functions=[
                *(
                    function(f"f{k}", calls(f"f{k + 1}", "m"), calls(f"f{k + 1}", "b", "m"))
                    for k in range(40)
                ),
                function("f40", h.make_node("Neg", ["a"], ["b"])),
            ],
        ),
        "more than 250000 nodes, with those of its functions",
    ),
    "a function twice": (
        lambda: model(
            functions=[function("f", h.make_node("Neg", ["a"], ["b"])) for _ in range(2)]
        ),
        "two functions 'f'",
    ),
    "an output without end": (lambda: model(y=[1 << 31, 1 << 31]), "absurd shape"),
    "a constant that is filled up": (
        lambda: model(
            [h.make_node("ConstantOfShape", ["shape"], ["y"])], (shape(1 << 20, 1 << 20),)
        ),
        "node ConstantOfShape of ['y'] makes what has the absurd shape",
    ),
    "a constant that is spread": (
        lambda: model(
            [
                h.make_node("Constant", [], ["s"], value=shape(1 << 20, 1 << 20, 4)),
                h.make_node("Expand", ["x", "s"], ["y"]),
            ]
        ),
        "node Expand of ['y'] makes what has the absurd shape",
    ),
    "noise without end": (
        lambda: model([h.make_node("RandomNormal", [], ["y"], shape=[1 << 20, 1 << 20])]),
        "node RandomNormal of ['y'] makes what has the absurd shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ABSURD)
def test_absurd_graphs_are_refused(tmp_path: Path, what: str) -> None:
    make, message = ABSURD[what]
    refused(tmp_path, make(), message)


def test_what_is_unusual_and_right_is_accepted(tmp_path: Path) -> None:
    both = [h.make_node("Neg", ["b"], ["y"]), h.make_node("Abs", ["x"], ["b"])]
    assert check(written(tmp_path, model(both))).nodes == 2  # not in order, and no cycle
    open_engine("ort", tmp_path / "m.onnx").close()
    cast = h.make_node("Cast", ["x"], ["c"], to=9)
    # Cast, the outer If with both of its branches, each of 1 If and its own two 1 deeper
    assert check(written(tmp_path, model([cast, nested(1)]))).nodes == 1 + 1 + 2 * (1 + 1 + 1)
    two = [function("f", calls("g", "m"), calls("g", "b", "m"))]
    two.append(function("g", h.make_node("Neg", ["a"], ["b"])))
    made = model([calls("f", "y", "x")], functions=two)
    assert check(written(tmp_path, made)).nodes == 2
    engine = open_engine("ort", tmp_path / "m.onnx")
    engine.close()


def test_a_sparse_tensor_that_would_be_huge_is_refused(tmp_path: Path) -> None:
    made = model()
    sparse = made.graph.sparse_initializer.add(dims=[1 << 20, 1 << 20])
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), "s"))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.int64), "i"))
    refused(tmp_path, made, "sparse tensor 's' has the absurd shape")
