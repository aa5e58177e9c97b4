"""`headway quantize`: a precision goes where the answers bear it, and is refused elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="quantizing needs onnx: pip install 'headway[precision]'")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from headway import bundle  # noqa: E402
from headway.__main__ import main  # noqa: E402
from headway.errors import BundleError, ConfigError  # noqa: E402
from headway.export import graph, parity  # noqa: E402
from headway.export.precision import fp8, halves, int8, plan, splits  # noqa: E402
from headway.tools.policy_map import make_bundle, read_map  # noqa: E402

wants_int8 = pytest.mark.skipif(int8.missing() != "", reason=int8.missing())
MAP = """
name = "two_layers"
rate_hz = 10.0
[actions]
names = ["a", "b", "c", "d"]
space = "joint"
mode = "absolute"
chunk = 1
dt_s = 0.1
[[state]]
input = "state"
names = ["q.a", "q.b", "q.c", "q.d"]
"""


def model() -> onnx.ModelProto:
    """actions = (state robust) sensitive: the input of `sensitive` has one number that is much
    larger than the others and meets a weight of 0, so int8 loses the others."""
    rng = np.random.default_rng(0)
    robust = rng.normal(size=(4, 4)).astype(np.float32)
    wide = np.zeros((4, 5), np.float32)
    wide[:, :4] = np.eye(4)
    wide[:, 4] = 1000.0
    narrow = np.zeros((5, 4), np.float32)
    narrow[:4] = np.eye(4)
    nodes = [
        helper.make_node("MatMul", ["state", "robust"], ["h"], "robust_layer"),
        helper.make_node("MatMul", ["h", "wide"], ["w"], "wide_layer"),
        helper.make_node("MatMul", ["w", "narrow"], ["actions"], "sensitive_layer"),
    ]
    weights = {"robust": robust, "wide": wide, "narrow": narrow}
    made = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(v, n) for n, v in weights.items()],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def given(count: int = 60) -> np.ndarray:
    """States of the length 1."""
    states = np.random.default_rng(3).normal(size=(count, 4))
    return (states / np.linalg.norm(states, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file, mapping = tmp_path / "two.onnx", tmp_path / "map.toml"
    file.write_bytes(model().SerializeToString())
    mapping.write_text(MAP)
    np.savez(tmp_path / "given.npz", state=given())
    return make_bundle(file, read_map(mapping), mapping, tmp_path / "policy").path


@wants_int8
def test_int8_leaves_out_the_layers_that_do_not_bear_it(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    args = ["quantize", str(policy), "--samples", str(tmp_path / "given.npz"), "--out", str(out)]
    assert main([*args, "--precision", "int8"]) == 0
    assert "kept, 2 of 3 layers" in capsys.readouterr().out
    report = json.loads((out / "precision.json").read_text())
    found = {s["part"]: s["cosine"] for s in report["sensitivity"]["int8"]}
    assert found["narrow"] < 0.9 < 0.999 < found["robust"]
    assert report["samples"] == {"calibrate": 20, "choose": 20, "judge": 20, "dealt": "rows"}
    fp32, row = report["rows"]
    assert fp32["chosen_cosine"] == fp32["cosine"] == 1.0
    assert 0.999 <= row["cosine"] < 1.0
    assert 0.999 <= row["chosen_cosine"] < 1.0
    made = bundle.load(out / "int8")
    ops = [n.op_type for n in graph.read(made.onnx).graph.node]
    assert "QuantizeLinear" in ops
    metrics = made.manifest.provenance.metrics
    assert metrics["int8.actions.worst_cosine"] >= 0.999
    states = [{"state": given()[k : k + 1]} for k in range(60)]
    models = (bundle.load(policy).onnx, made.onnx)
    (gap,) = parity.compare(*(parity.answers(m, states) for m in models))
    assert 0.999 <= gap.cosine < 1.0
    assert main([*args, "--precision", "int8"]) == 2
    assert "--overwrite" in capsys.readouterr().err


@wants_int8
def test_a_choice_that_does_not_hold_on_other_observations_is_refused(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every third row judges, and is small against the range that was calibrated: int8 leaves it
    few steps. What looks good on the rows that it was chosen with is not written."""
    states = given()
    states[2::3] *= 0.02
    np.savez(tmp_path / "given.npz", state=states)
    out = tmp_path / "out"
    args = ["quantize", str(policy), "--samples", str(tmp_path / "given.npz"), "--out", str(out)]
    assert main([*args, "--precision", "int8"]) == 1
    assert "refused, 2 of 3 layers" in capsys.readouterr().out
    _, row = json.loads((out / "precision.json").read_text())["rows"]
    assert row["chosen_cosine"] >= 0.999 > row["cosine"]
    assert not row["kept"]
    assert not (out / "int8").exists()
    assert main([*args, "--precision", "int8", "--choose-bar", "0.9999"]) == 1
    assert json.loads((out / "precision.json").read_text())["choose_bar"] == 0.9999
    assert "worst cosine 0.9999 on those that choose" in capsys.readouterr().out
    assert main([*args, "--precision", "int8", "--choose-bar", "0.5"]) == 2
    assert "--choose-bar" in capsys.readouterr().err


@wants_int8
def test_a_precision_that_no_part_bears_is_not_kept(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    args = ["quantize", str(policy), "--samples", str(tmp_path / "given.npz"), "--out", str(out)]
    assert main([*args, "--precision", "int8", "--choose-bar", "1.0"]) == 1
    assert "refused, no part keeps the bar" in capsys.readouterr().out
    assert [p.name for p in out.iterdir()] == ["precision.json"]
    _, row = json.loads((out / "precision.json").read_text())["rows"]
    assert not row["kept"]


def test_a_recording_goes_to_one_part() -> None:
    groups = [[{"k": np.array([k, i])} for i in range(1 + k % 2)] for k in range(9)]
    found = splits.split(groups)
    assert found.dealt == "recordings"
    parts = [{int(s["k"][0]) for s in p} for p in (found.calibrate, found.choose, found.judge)]
    assert parts == [{0, 3, 6}, {1, 4, 7}, {2, 5, 8}]
    assert sum(found.counts.values()) == sum(map(len, groups))
    two = splits.split([[{"k": np.array(i)} for i in range(6)] for _ in range(2)])
    assert (two.dealt, two.counts) == ("rows", {"calibrate": 4, "choose": 4, "judge": 4})
    with pytest.raises(ConfigError, match="9 observations"):
        splits.split([[{"k": np.array(i)}] for i in range(8)])


@wants_int8
def test_a_precision_that_nothing_bears_is_refused(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    args = ["quantize", str(policy), "--samples", str(tmp_path / "given.npz"), "--out", str(out)]
    assert main([*args, "--precision", "int8", "--bar", "1.0"]) == 1
    assert "no part keeps the bar" in capsys.readouterr().out
    assert not (out / "int8").exists()


def test_a_precision_that_failed_has_no_numbers_in_the_report(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise BundleError("modelopt gave up")

    monkeypatch.setattr(halves, "halved", fails)
    out = tmp_path / "out"
    args = ["quantize", str(policy), "--samples", str(tmp_path / "given.npz"), "--out", str(out)]
    assert main([*args, "--precision", "bf16"]) == 1
    _, row = json.loads((out / "precision.json").read_text(), parse_constant=pytest.fail)["rows"]
    assert (row["cosine"], row["kept"], row["note"]) == (None, False, "modelopt gave up")


def test_it_wants_real_observations(policy: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    assert main(["quantize", str(policy), "--out", str(tmp_path / "out")]) == 2
    assert "--observed" in capsys.readouterr().err


def test_roundings_are_those_of_half_floats(tmp_path: Path) -> None:
    """A part that is rounded gives what NumPy gives with float16 weights and results."""
    whole = int8.named(model())
    part = plan.Part("robust_layer", ("robust_layer",), 1)
    file = graph.write(halves.rounded(whole, [part], "fp16"), tmp_path / "r.onnx")[0]
    weights = {i.name: numpy_helper.to_array(i) for i in whole.graph.initializer}
    for x in given(5):
        (found,) = parity.answers(file, [{"state": x[None]}])
        h = (x @ weights["robust"].astype(np.float16).astype(np.float32)).astype(np.float16)
        wanted = h.astype(np.float32) @ weights["wide"] @ weights["narrow"]
        np.testing.assert_allclose(found["actions"][0], wanted, atol=1e-6)


def test_the_longest_beginning_that_keeps_the_budget_is_chosen() -> None:
    parts = [plan.Part(str(k), (str(k),), 1) for k in range(7)]
    costs = [0.0, 1e-5, 1e-4, 2e-4, 4e-4, 1e-2, 1.0]
    asked: list[int] = []

    def apply(chosen):  # type: ignore[no-untyped-def]
        return sum(costs[int(p.name)] for p in chosen)

    def measure(loss):  # type: ignore[no-untyped-def]
        asked.append(loss)
        return (parity.Gap("actions", 1.0 - loss, 0.0, 0.0, 1),)

    found = plan.sensitivities(parts[::-1], apply, measure, "it")
    assert [s.part.name for s in found] == [str(k) for k in range(7)]
    best = plan.mixed(apply, measure, 0.9995, found)
    assert [p.name for p in best.chosen] == ["0", "1", "2", "3"]
    assert best.cosine == pytest.approx(1.0 - 3.1e-4)
    assert best.share == pytest.approx(4 / 7)
    assert plan.mixed(apply, measure, 1.1, found).chosen == ()


@pytest.mark.slow
def test_fp16_by_modelopt_is_judged_as_it_rounds(policy: Path, tmp_path: Path) -> None:
    pytest.importorskip("modelopt", reason="fp16 needs modelopt: pip install 'headway[precision]'")
    out = tmp_path / "out"
    args = ["quantize", str(policy), "--samples", str(tmp_path / "given.npz"), "--out", str(out)]
    assert main([*args, "--precision", "fp16", "bf16"]) == 0
    made = bundle.load(out / "fp16")
    kinds = {i.data_type for i in graph.read(made.onnx).graph.initializer}
    assert TensorProto.FLOAT16 in kinds
    assert made.manifest.inputs == bundle.load(policy).manifest.inputs
    rows = {r["precision"]: r for r in json.loads((out / "precision.json").read_text())["rows"]}
    assert 0.999 <= rows["fp16"]["cosine"] < 1.0


@wants_int8
def test_fp8_keeps_the_small_numbers_that_int8_loses(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layer whose input has one number a thousand times larger than the others."""
    out = tmp_path / "out"
    args = ["quantize", str(policy), "--samples", str(tmp_path / "given.npz"), "--out", str(out)]
    assert main([*args, "--precision", "fp8", "int8", "--bar", "0.99"]) == 0
    assert "kept, 3 of 3 layers" in capsys.readouterr().out
    report = json.loads((out / "precision.json").read_text())
    alone = {
        kind: {s["part"]: s["cosine"] for s in report["sensitivity"][kind]}
        for kind in ("fp8", "int8")
    }
    assert alone["int8"]["narrow"] < 0.9 < 0.999 < alone["fp8"]["narrow"]
    assert alone["fp8"]["robust"] < alone["int8"]["robust"]  # 4 significant bits are fewer than 8
    made = graph.read(bundle.load(out / "fp8").onnx)
    onnx.checker.check_model(made, full_check=True)
    assert graph.opset(made) == fp8.OPSET  # the model came with 17
    stored = {i.name: i for i in made.graph.initializer}
    pairs = [n for n in made.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) == 3 * 3  # of each layer's input two, of its weight one
    assert {stored[n.input[2]].data_type for n in pairs} == {TensorProto.FLOAT8E4M3FN}


@wants_int8
def test_8_bit_floats_are_those_of_onnx_runtime(tmp_path: Path) -> None:
    """The product with weights that were rounded here is what ONNX Runtime gives for weights that
    it rounds itself, by the type's definition: 3 bits after the first."""
    whole = int8.named(fp8.upgraded(model()))
    samples = [{"state": x[None]} for x in given(20)]
    calibrated = int8.Calibrated(whole, samples)
    (part,) = (p for p in int8.layers(whole) if p.name == "robust")
    made = fp8.from_int8(calibrated.quantised([part]), whole)
    stored = {i.name: i for i in made.graph.initializer}
    weight = numpy_helper.to_array({i.name: i for i in whole.graph.initializer}["robust"])
    scale = np.abs(weight).max(0) / 448.0  # of each column, which the product does not sum over
    np.testing.assert_allclose(numpy_helper.to_array(stored["robust_scale"]), scale, rtol=1e-6)
    seen = np.abs(given(20)).max() / 448.0
    np.testing.assert_allclose(numpy_helper.to_array(stored["state_scale"]), seen, rtol=1e-6)

    def rounded(x: np.ndarray) -> np.ndarray:
        step = np.exp2(np.maximum(np.floor(np.log2(np.maximum(np.abs(x), 1e-30))), -6) - 3)
        return np.clip(np.round(x / step) * step, -448.0, 448.0)

    file = graph.write(made, tmp_path / "fp8.onnx")[0]
    for x in given(20):
        (found,) = parity.answers(file, [{"state": x[None]}])
        # `wide` and `narrow` leave the product as it is
        wanted = (rounded(x / seen) * seen) @ (rounded(weight / scale) * scale)
        np.testing.assert_allclose(found["actions"][0], wanted, atol=2e-4)
