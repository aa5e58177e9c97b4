"""Engines that are given other weights instead of being built; TensorRT is played by
`tensorrt_fake.py`, whose engines answer by the weights that they were given."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from engine_rig import ORIN, Rig, rig  # noqa: F401
from kernels_cuda import needs_host
from onnx import TensorProto, helper, numpy_helper
from pro_head import make_head

from headway.edge.engines import choice
from headway.edge.engines.engine import open_bundle
from headway.edge.engines.options import EngineOptions
from headway.edge.engines.trt import graph
from headway.edge.engines.trt.backend import Watch, make
from headway.edge.engines.trt.refit import network

pytestmark = needs_host


def trained_again(rig: Rig, tmp_path: Path, seed: int = 1) -> Rig:
    """The same network with other weights, in the place of the head."""
    other = make_head(tmp_path / f"seed{seed}", seed=seed)
    rig.made.onnx.write_bytes(other.onnx.read_bytes())
    return dataclasses.replace(rig, reference=open_bundle(other, "ort"))


def answers(engine: Any) -> Any:
    engine.bind("features")[:] = np.linspace(-9, 9, engine.bind("features").size)
    engine.bind("mask")[:] = 0.0
    engine.bind("h")[:] = 0.1
    engine.run()
    return engine.bind("h_out").copy()


@pytest.mark.parametrize("asks", [False, True])
def test_a_policy_that_was_trained_again_takes_the_engine_that_is_there(
    rig: Rig, tmp_path: Path, asks: bool
) -> None:
    if asks:  # as releases do that would else write an engine which takes no more weights
        rig.trt.SerializationFlag = SimpleNamespace(INCLUDE_REFIT="refit")
    first = rig.build(refit=True)
    again = trained_again(rig, tmp_path)
    second = again.build(refit=True)
    assert (second.fresh, rig.trt.builds, second.notes) == (True, 1, ())
    assert second.record.refitted == first.record.key.model
    assert second.record.key.model != first.record.key.model
    assert second.record.layers == first.record.layers
    assert second.record.parity is not None
    engine = again.open()
    np.testing.assert_array_equal(answers(engine), answers(again.reference))
    engine.close()
    assert rig.trt.kept == (["refit"] if asks else [])
    third = trained_again(rig, tmp_path, seed=2).build(refit=True)
    assert (third.record.refitted, rig.trt.builds) == (first.record.key.model, 1)
    assert not trained_again(rig, tmp_path).build(refit=True).fresh  # the second is there still


def test_an_engine_that_was_refitted_is_refitted_again(rig: Rig, tmp_path: Path) -> None:
    first = rig.build(refit=True)
    second = trained_again(rig, tmp_path).build(refit=True)
    folder = choice.folder(rig.made.onnx, rig.options)
    (folder / f"{first.record.key.digest}.json").unlink()
    third = trained_again(rig, tmp_path, seed=2).build(refit=True)
    assert (third.record.refitted, rig.trt.builds) == (second.record.key.model, 1)


def test_without_the_option_and_with_again_an_engine_is_built(rig: Rig, tmp_path: Path) -> None:
    assert rig.build().record.network == ""
    rig.build(refit=True)
    again = trained_again(rig, tmp_path)
    again.build()
    assert rig.trt.builds == 3
    watch = Watch(again=True, reference=again.reference)
    made = make(again.library, *again.tensors, EngineOptions(refit=True), watch)
    assert made.record.refitted == ""
    assert rig.trt.builds == 4


def test_other_options_and_other_computers_do_not_share_engines(rig: Rig, tmp_path: Path) -> None:
    rig.build(refit=True)
    again = trained_again(rig, tmp_path)
    assert again.build(refit=True, workspace_mb=64).record.refitted == ""
    thor = dataclasses.replace(rig.library, machine=dataclasses.replace(ORIN, sm="110"))
    assert again.build(thor, refit=True).record.refitted == ""


def test_what_does_not_work_out_is_said_and_the_engine_is_built(rig: Rig, tmp_path: Path) -> None:
    rig.build(refit=True)
    rig.trt.stuck = "Error Code 4: internal"
    made = trained_again(rig, tmp_path).build(refit=True)
    assert (made.fresh, made.record.refitted, rig.trt.builds) == (True, "", 2)
    assert "not made from the engine of the model" in made.notes[0]
    assert "does not replace the weights: Error Code 4: internal" in made.notes[0]


def test_a_refitted_engine_that_answers_otherwise_is_not_kept(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a TensorRT that says it replaced the weights, and did not."""
    rig.build(refit=True)
    refitter = rig.trt.Refitter

    def idle(engine: Any, log: Any) -> Any:
        made = refitter(engine, log)
        made.refit_cuda_engine = lambda: True
        return made

    monkeypatch.setattr(rig.trt, "Refitter", idle)
    again = trained_again(rig, tmp_path)
    made = again.build(refit=True)
    assert (made.record.refitted, rig.trt.builds) == ("", 2)
    assert "does not answer as ONNX Runtime" in made.notes[0]
    np.testing.assert_array_equal(answers(again.open()), answers(again.reference))


def test_a_damaged_engine_is_not_refitted(rig: Rig, tmp_path: Path) -> None:
    first = rig.build(refit=True)
    plan = choice.folder(rig.made.onnx, rig.options) / first.record.plan
    plan.write_bytes(plan.read_bytes()[:-1])
    made = trained_again(rig, tmp_path).build(refit=True)
    assert (made.record.refitted, rig.trt.builds) == ("", 2)
    assert "is damaged" in made.notes[0]


def test_weights_that_a_release_lacks_are_named(rig: Rig, tmp_path: Path) -> None:
    rig.build(refit=True)
    rig.trt.lacks = {"w"}
    made = trained_again(rig, tmp_path).build(refit=True)
    assert "the model has no weights w, which the engine that is there has" in made.notes[0]


def model(path: Path, **change: Any) -> str:
    """The network of y = Resize(x W + b), of which `change` changes a part."""
    parts: dict[str, Any] = {
        "w": np.ones((3, 3), np.float32), "b": np.zeros(3, np.float32),
        "scales": np.array([1, 2], np.float32), "op": "Add", "producer": "a",
    }  # fmt: skip
    parts |= change
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node(parts["op"], ["p", "b"], ["q"]),
        helper.make_node("Resize", ["q", "", "scales"], ["y"]),
    ]
    held = [numpy_helper.from_array(parts[n], n) for n in ("w", "b", "scales")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6])
    made = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], held), producer_name=parts["producer"],
        opset_imports=[helper.make_opsetid("", 17)], ir_version=9,
    )  # fmt: skip
    if parts.get("outside"):
        onnx.save(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    else:
        onnx.save(made, path)
    return network(graph.prepare(path))


def test_a_network_is_all_but_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    plain = model(path)
    assert model(path, w=np.full((3, 3), 7, np.float32), b=np.ones(3, np.float32)) == plain
    assert model(path, producer="b") == plain
    assert model(path, op="Sub") != plain
    assert model(path, w=np.ones((3, 3), np.float16).astype(np.float64)) != plain
    # TensorRT makes the sizes of a Resize a part of the network
    assert model(path, scales=np.array([1, 3], np.float32)) != plain


def test_numbers_in_other_files_count_where_they_are_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    outside = model(path, outside=True)
    assert model(path, outside=True, w=np.full((3, 3), 7, np.float32)) == outside
    assert model(path, outside=True, scales=np.array([1, 3], np.float32)) != outside
