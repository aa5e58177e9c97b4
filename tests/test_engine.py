"""Engines: what is bound is what is computed, and what does not fit says so."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headway import plugins
from headway.bundle import Tensor
from headway.edge.engines import engine
from headway.edge.engines.engine import Engine, open_engine
from headway.errors import BundleError, ConfigError, Missing, SpecMismatch

INPUTS = (Tensor(name="x", shape=(1, 4)), Tensor(name="h", shape=(1, 3)))
OUTPUTS = (Tensor(name="y", shape=(1, 3)), Tensor(name="h_out", shape=(1, 3)))


def save(
    path: Path, batch: Any = "batch", width: Any = 4, ops: list[Any] | None = None, kind: int = 1
) -> Path:
    """y = x W + h, h_out = relu(y); W is all ones."""
    weight = numpy_helper.from_array(np.ones((4, 3), helper.tensor_dtype_to_np_dtype(kind)), "w")
    nodes = ops or [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "h"], ["y"]),
        helper.make_node("Relu", ["y"], ["h_out"]),
    ]

    def info(name: str, n: Any) -> Any:
        return helper.make_tensor_value_info(name, kind, [batch, n])

    graph = helper.make_graph(
        nodes, "g", [info("x", width), info("h", 3)], [info("y", 3), info("h_out", 3)], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "m.onnx")


def test_bound_buffers_are_the_ones_that_are_computed_on(model: Path) -> None:
    e = open_engine("ort", model)
    assert (e.kind, e.device) == ("ort", "cpu")
    x, h, y, h_out = (e.bind(n) for n in ("x", "h", "y", "h_out"))
    assert e.bind("x") is x
    for value in (2.0, -1.0, 0.5):
        x[:] = value
        h[:] = [1.0, 2.0, 3.0]
        e.run()
        np.testing.assert_allclose(y, 4 * value + h)
        np.testing.assert_allclose(h_out, np.maximum(y, 0))
    e.close()
    e.close()
    with pytest.raises(BundleError, match="closed"):
        e.run()


def test_an_open_batch_is_one_and_a_bundle_may_say_otherwise(model: Path) -> None:
    e = open_engine("ort", model)
    assert {n: s.shape for n, s in e.inputs.items()} == {"x": (1, 4), "h": (1, 3)}
    assert e.outputs["y"] == engine.TensorSpec((1, 3), "float32")

    def five(t: Tensor) -> Tensor:
        return Tensor(name=t.name, shape=(5, t.shape[1]))

    e = open_engine(
        "ort", model, inputs=[five(t) for t in INPUTS], outputs=[five(t) for t in OUTPUTS]
    )
    e.bind("x")[:] = np.arange(5)[:, None]
    e.run()
    np.testing.assert_allclose(e.bind("y")[:, 0], 4 * np.arange(5))


def test_other_open_dimensions_are_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", width="steps")
    with pytest.raises(SpecMismatch, match=r"dimension 1 of input `x` is open \(steps\)"):
        open_engine("ort", path)
    assert open_engine("ort", path, inputs=INPUTS, outputs=OUTPUTS).inputs["x"].shape == (1, 4)


def test_double_models_get_double_buffers(tmp_path: Path) -> None:
    e = open_engine("ort", save(tmp_path / "m.onnx", kind=TensorProto.DOUBLE))
    assert e.bind("x").dtype == np.float64
    e.bind("x")[:] = 1 / 3
    e.run()
    np.testing.assert_allclose(e.bind("y"), 4 / 3, rtol=1e-15)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", np.zeros((1, 5), np.float32), r"wants float32 \(1, 4\), found float32 \(1, 5\)"),
        ("x", np.zeros(4, np.float32), r"found float32 \(4,\)"),
        ("x", np.zeros((1, 4)), "found float64"),
        ("y", np.zeros((1, 3), np.float32), "is an output"),
        ("xx", np.zeros((1, 4), np.float32), "did you mean `x`"),
        ("wrench", np.zeros((1, 4), np.float32), "it has x, h, y, h_out"),
    ],
)
def test_writing_what_does_not_fit_changes_nothing(
    model: Path, name: str, value: Any, message: str
) -> None:
    e = open_engine("ort", model)
    e.write("x", np.full((1, 4), 7.0, np.float32))
    with pytest.raises(SpecMismatch, match=message):
        e.write(name, value)
    np.testing.assert_array_equal(e.bind("x"), 7.0)
    with pytest.raises(SpecMismatch, match="did you mean `h_out`"):
        e.bind("hout")


@pytest.mark.parametrize("cut", [0, 1, 60, -40])
def test_a_corrupt_model_is_a_bundle_error(model: Path, tmp_path: Path, cut: int) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(model.read_bytes()[:cut])
    with pytest.raises(BundleError, match=r"bad\.onnx is no model"):
        open_engine("ort", bad)


def test_a_model_that_cannot_run_is_found_at_opening(tmp_path: Path) -> None:
    ops = [  # x has 4 values, h has 3: only running it tells
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("Identity", ["r"], ["y"]),
        helper.make_node("Identity", ["h"], ["h_out"]),
        helper.make_node("Shape", ["h"], ["shape"]),
    ]
    path = save(tmp_path / "m.onnx", ops=[ops[3], *ops[:3]])
    with pytest.raises(BundleError, match=r"m\.onnx does not run on inputs"):
        open_engine("ort", path)


def test_missing_file(tmp_path: Path) -> None:
    for kind in ("ort", "auto", "null"):
        with pytest.raises(BundleError, match=r"wanted an ONNX model at .*none\.onnx, found none"):
            open_engine(kind, tmp_path / "none.onnx", inputs=INPUTS, outputs=OUTPUTS)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ((*INPUTS, Tensor(name="z", shape=(1,))), OUTPUTS, "wants a tensor `z`, the model has"),
        (INPUTS[:1], OUTPUTS, "does not name: h"),
        ((Tensor(name="x", shape=(1, 9)), INPUTS[1]), OUTPUTS, r"\(1, 9\), the model has"),
        ((Tensor(name="x", shape=(1, 4), dtype="uint8"), INPUTS[1]), OUTPUTS, "as uint8"),
        (INPUTS, (Tensor(name="y", shape=(1, 2)), OUTPUTS[1]), "outputs: the bundle wants `y`"),
    ],
)
def test_a_model_is_held_to_its_bundle(
    model: Path, inputs: Any, outputs: Any, message: str
) -> None:
    with pytest.raises(SpecMismatch, match=message):
        open_engine("ort", model, inputs=inputs, outputs=outputs)


def test_auto_says_what_it_chose_and_require_holds_it_to_that(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = open_engine("auto", model)
    assert e.kind == "ort"
    assert e.chosen.startswith("ort: best that can run here")
    assert open_engine("auto", model, require="ort").kind == "ort"
    with pytest.raises(Missing, match="wanted the engine `tensorrt`, found `ort`"):
        open_engine("auto", model, require="tensorrt")
    with pytest.raises(Missing, match="wanted the engine `ort`, found `null`"):
        open_engine("null", model, require="ort", inputs=INPUTS, outputs=OUTPUTS)
    with pytest.raises(ConfigError, match="did you mean `ort`"):
        open_engine("orrt", model)
    monkeypatch.setattr(
        plugins.load("edge.engines.backends", "ort"), "missing", lambda: "not installed"
    )
    with pytest.raises(Missing, match="`ort`, which cannot run here: not installed"):
        open_engine("ort", model)
    # Nothing able: an error that lists why, not the null engine.
    monkeypatch.setattr(plugins, "kinds", lambda folder: ["null", "ort"])
    with pytest.raises(Missing, match="found none that can run: ort: not installed"):
        open_engine("auto", model)


def test_null_engine_has_the_bundles_shapes_and_returns_zeros(model: Path) -> None:
    e = open_engine("null", model, inputs=INPUTS, outputs=OUTPUTS)
    e.bind("x")[:] = 3.0
    e.bind("y")[:] = 9.0
    e.run()
    np.testing.assert_array_equal(e.bind("y"), np.zeros((1, 3)))
    assert e.bind("x").shape == (1, 4)
    e.close()
    with pytest.raises(SpecMismatch, match="null engine wants the inputs and outputs"):
        open_engine("null", model)


@pytest.mark.parametrize("kind", plugins.kinds("edge.engines.backends"))
def test_every_backend_that_can_run_keeps_the_contract(kind: str, model: Path) -> None:
    module = plugins.load("edge.engines.backends", kind)
    assert module.RANK is None or isinstance(module.RANK, int)
    if why := module.missing():
        pytest.skip(f"{kind}: {why}")
    e: Engine = open_engine(kind, model, inputs=INPUTS, outputs=OUTPUTS)
    assert e.kind == kind
    for name, spec in (*e.inputs.items(), *e.outputs.items()):
        a = e.bind(name)
        assert (a.shape, a.dtype, a.flags.writeable) == (spec.shape, np.dtype(spec.dtype), True)
        assert not a.any()
    e.run()
    e.close()


def test_running_does_not_grow_memory(model: Path) -> None:
    """What is left over after twice the runs is no more: only what grows with them would be."""
    e = open_engine("ort", model)
    tracemalloc.start()
    kept = []
    for _ in range(4):
        for _ in range(2500):
            e.run()
        gc.collect()
        kept.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert min(b - a for a, b in itertools.pairwise(kept)) < 2500  # a byte per run


def test_importing_the_engines_does_not_import_their_libraries() -> None:
    code = (
        "import sys, headway.edge.engines.engine, headway.edge.engines.backends.ort\n"
        "import headway.edge.guard.guard\n"
        "print(sorted({'onnxruntime', 'torch', 'mujoco'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
