"""A policy that works in steps as one graph: what it answers is what the steps answer in turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="exporting needs onnx: pip install 'headway[export]'")
pytest.importorskip("torch", reason="exporting needs PyTorch: make torch")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from headway.errors import BundleError  # noqa: E402
from headway.export import graph, parity  # noqa: E402
from headway.export.unroll import unrolled  # noqa: E402

STEPS, WIDTH = 4, 3
GAINS = np.array([[0.5], [0.25], [-0.5], [2.0]], np.float32)  # (STEPS, 1)
RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(WIDTH, WIDTH)).astype(np.float32)
OUT = RNG.normal(size=(WIDTH, 2)).astype(np.float32)


def stage(nodes, inputs, outputs, weights=None):  # type: ignore[no-untyped-def]
    """A model of `nodes`; `inputs` and `outputs` are widths by name."""
    made = helper.make_graph(
        nodes, "stage",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(v, n) for n, v in (weights or {}).items()],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


# All three stages call their weight `w`, and the step its inner tensor as `first` does.
FIRST = stage(
    [
        helper.make_node("MatMul", ["state", "w"], ["h"], "h"),
        helper.make_node("Tanh", ["h"], ["condition"], "condition"),
        helper.make_node("Identity", ["noise"], ["x"], "x"),
    ],
    {"state": [1, WIDTH], "noise": [1, WIDTH]},
    {"condition": [1, WIDTH], "x": [1, WIDTH]}, {"w": WEIGHT},
)  # fmt: skip
STEP = stage(
    [
        helper.make_node("Add", ["x", "condition"], ["h"], "h"),
        helper.make_node("MatMul", ["h", "w"], ["seen"], "seen"),
        helper.make_node("Mul", ["seen", "gain"], ["moved"], "moved"),
        helper.make_node("Add", ["x", "moved"], ["next"], "next"),
    ],
    {"x": [1, WIDTH], "gain": [1], "condition": [1, WIDTH]},
    {"next": [1, WIDTH]}, {"w": WEIGHT.T.copy()},
)  # fmt: skip
LAST = stage(
    [helper.make_node("MatMul", ["x", "w"], ["actions"], "actions")],
    {"x": [1, WIDTH]}, {"actions": [1, 2]}, {"w": OUT},
)  # fmt: skip


def test_the_graph_answers_as_the_steps_do_in_turn(tmp_path: Path) -> None:
    made = unrolled(FIRST, STEP, LAST, {"next": "x"}, {"gain": GAINS})
    file = graph.write(made, tmp_path / "whole.onnx")[0]
    given = {
        n: RNG.normal(size=(1, WIDTH)).astype(np.float32) for n in ("state", "noise")
    }  # fmt: skip
    (found,) = parity.answers(file, [given])
    condition, x = np.tanh(given["state"] @ WEIGHT), given["noise"]
    for gain in GAINS:
        x = x + (x + condition) @ WEIGHT.T * gain
    np.testing.assert_allclose(found["actions"], x @ OUT, rtol=1e-5, atol=1e-6)
    assert list(found) == ["actions"]


def test_its_weights_are_there_once_and_the_condition_is_computed_once() -> None:
    made = unrolled(FIRST, STEP, LAST, {"next": "x"}, {"gain": GAINS}).graph
    assert len([w for w in made.initializer if list(w.dims) == [WIDTH, WIDTH]]) == 2
    kinds = [n.op_type for n in made.node]
    assert (kinds.count("Tanh"), kinds.count("MatMul")) == (1, 1 + STEPS + 1)
    names = [n.name for n in made.node if n.name]
    assert len(set(names)) == len(names)


def test_stages_that_do_not_fit_are_named() -> None:
    noise = helper.make_node("Identity", ["noise"], ["x"])
    bare = stage([noise], {"noise": [1, WIDTH]}, {"x": [1, WIDTH]})
    with pytest.raises(BundleError, match="`condition` for the stage step0"):
        unrolled(bare, STEP, LAST, {"next": "x"}, {"gain": GAINS})
    with pytest.raises(BundleError, match=r"as many steps each, found \[3, 4\]"):
        unrolled(FIRST, STEP, LAST, {"next": "x"}, {"gain": GAINS, "t": GAINS[:3]})


def test_a_step_with_branches_is_refused_by_its_node() -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["out"])], "b", [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, WIDTH])],
    )  # fmt: skip
    step = stage(
        [
            helper.make_node("Greater", ["gain", "gain"], ["more"], "more"),
            helper.make_node(
                "If", ["more"], ["next"], "choice", then_branch=branch, else_branch=branch
            ),
        ],
        {"x": [1, WIDTH], "gain": [1]}, {"next": [1, WIDTH]},
    )  # fmt: skip
    with pytest.raises(BundleError, match=r"choice \(If\)"):
        unrolled(FIRST, step, LAST, {"next": "x"}, {"gain": GAINS})
