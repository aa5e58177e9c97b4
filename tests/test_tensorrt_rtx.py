"""TensorRT-RTX itself, which builds without a GPU: every shipped bundle, refusals with the node,
options, an interrupt. `make test-tensorrt`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorrt_rtx", reason="no tensorrt_rtx: make test-tensorrt")

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper
from test_engine_graph import save

from headway import bundle
from headway.__main__ import main
from headway.edge.engines import choice
from headway.edge.engines.cache import Cache
from headway.edge.engines.engine import open_bundle
from headway.edge.engines.options import EngineOptions, Profile
from headway.edge.engines.trt import build, graph
from headway.edge.engines.trt.backend import Library
from headway.errors import BundleError, ConfigError, Missing, SpecMismatch
from headway.export.precision import fp8, int8
from headway.shipped import ROOT

pytestmark = pytest.mark.slow
MODELS = ROOT / "models"
BUNDLES = sorted(p.parent.relative_to(MODELS).as_posix() for p in MODELS.rglob("bundle.json"))
RTX = Library.here("tensorrt_rtx")
FOUR = {"x": Profile((1, 4), (1, 4), (1, 4))}


@pytest.mark.parametrize("name", BUNDLES)
def test_every_shipped_bundle_builds(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = MODELS / name
    cache = tmp_path / "cache"
    arguments = ["build", str(folder), "--engine", "tensorrt_rtx", "--cache", str(cache)]
    assert main(arguments) == 0
    models = len(list(folder.glob("*.onnx")))
    assert capsys.readouterr().out.count("engine built in") == models
    records, damaged = Cache(cache).records()
    assert (len(records), damaged) == (models, [])
    for record in records:
        assert record.layers > 10
        assert record.key.library.startswith("tensorrt_rtx 1.")
        found = Cache(cache).find(record.key)
        assert found is not None
        assert len(found.plan) == record.size > 100_000
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("was built already") == models


def test_a_policy_of_several_candidates_builds(tmp_path: Path) -> None:
    given = ["--candidates", "8", "--engine", "tensorrt_rtx", "--cache", str(tmp_path / "c")]
    assert main(["build", str(ROOT / "models" / "workflows"), *given]) == 0
    shapes = [r.key.profile for r in Cache(tmp_path / "c").records()[0] if "noise" in r.key.profile]
    assert [p["noise"].best[0] for p in shapes] == [8]


def test_it_cannot_be_opened_without_a_device(tmp_path: Path) -> None:
    if not RTX.machine.sm:
        made = bundle.load(ROOT / "models" / "pick_place_pro")
        with pytest.raises(Missing, match="`tensorrt_rtx`, which cannot run here: wanted a CUDA"):
            open_bundle(made, "tensorrt_rtx")


def built(path: Path, shapes: Any = FOUR, **options: Any) -> build.Plan:
    return build.build(RTX.trt, graph.prepare(path), shapes, EngineOptions(**options))


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ([h.make_node("Det", ["x"], ["y"], name="volume")], [r"Det \(node `volume`\)"]),
        ([h.make_node("Magic", ["x"], ["u"], name="first", domain="my"),
          h.make_node("Trick", ["u"], ["y"], name="second", domain="my")],
         [r"Magic \(node `first`\)", r"Trick \(node `second`\)"]),
    ],
)  # fmt: skip
def test_unsupported_operators_are_named_with_their_nodes(
    tmp_path: Path, nodes: Any, names: list[str]
) -> None:
    path = tmp_path / "m.onnx"
    made = h.make_graph(
        nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, [1, 4])],
        [h.make_tensor_value_info("y", T.FLOAT, None)],
    )  # fmt: skip
    opsets = [h.make_opsetid("", 18), h.make_opsetid("my", 1)]
    path.write_bytes(h.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString())
    with pytest.raises(SpecMismatch) as refused:
        built(path)
    for name in names:
        refused.match(name)
    refused.match("export it without that operator")


def relu(tmp_path: Path, shape: list[Any]) -> Path:
    nodes = [h.make_node("Relu", ["x"], ["y"])]
    return save(tmp_path / "m.onnx", nodes, {"x": (T.FLOAT, shape)}, (T.FLOAT, shape))


@pytest.mark.parametrize(
    "options",
    [
        {"workspace_mb": 64}, {"level": 0}, {"precision": "tf32"}, {"sm": ("89", "120")},
        {"weight_streaming": True}, {"refit": True},
    ],
)  # fmt: skip
def test_options_that_it_has(tmp_path: Path, options: Any) -> None:
    assert built(relu(tmp_path, [1, 4]), **options).content


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sm": ("87",)}, ConfigError, "sm = 87 wants `SM87`"),
        ({"dla": 0}, ConfigError, "wanted DLA core 0, found 0 cores"),
        ({"version_compatible": True}, BundleError, "without .*--version-compatible"),
    ],
)
def test_options_that_it_does_not_have(
    tmp_path: Path, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        built(relu(tmp_path, [1, 4]), **options)


def test_a_profile_of_several_shapes_builds(tmp_path: Path) -> None:
    path = relu(tmp_path, ["n", 4])
    assert built(path, {"x": Profile((1, 4), (2, 4), (8, 4))}).content
    with pytest.raises(SpecMismatch, match=r"wanted the input `x` as \(1, 4\) to \(8, 4\)"):
        built(relu(tmp_path, [1, 4]), {"x": Profile((1, 4), (2, 4), (8, 4))})


def test_fp8_builds_for_gpus_that_have_it_and_is_refused_for_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = [
        h.make_node("MatMul", ["x", "a"], ["u"], "first"),
        h.make_node("MatMul", ["u", "b"], ["y"], "second"),
    ]
    weights = {"a": rng.normal(size=(64, 32)), "b": rng.normal(size=(32, 64))}
    tensors = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    info = [h.make_tensor_value_info(n, T.FLOAT, [16, 64]) for n in ("x", "y")]
    model = h.make_model(
        h.make_graph(nodes, "g", info[:1], info[1:], tensors),
        opset_imports=[h.make_opsetid("", 20)], ir_version=9,
    )  # fmt: skip
    seen = int8.Calibrated(model, [{"x": rng.normal(size=(16, 64)).astype(np.float32)}])
    made = fp8.from_int8(seen.quantised(int8.layers(seen.model)), seen.model)
    path = tmp_path / "fp8.onnx"
    path.write_bytes(made.SerializeToString())
    shapes = {"x": Profile((16, 64), (16, 64), (16, 64))}
    assert built(path, shapes, precision="fp8", sm=("89", "120")).content
    with pytest.raises(BundleError, match=r"fp8 wants a GPU of compute capability 8.9 or newer"):
        built(path, shapes, sm=("86",))


def test_a_build_that_is_interrupted_leaves_nothing_half(tmp_path: Path) -> None:
    folder = tmp_path / "workflows"
    shutil.copytree(ROOT / "models" / "workflows", folder)
    code = "import sys; from headway.__main__ import main; sys.exit(main(sys.argv[1:]))"
    child = subprocess.Popen(
        [sys.executable, "-c", code, "build", str(folder), "--engine", "tensorrt_rtx"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    assert child.stdout is not None
    while "building" not in child.stdout.readline():
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=120)
    assert (child.returncode, "interrupted" in said) == (130, True)
    assert Cache(choice.folder(folder / "policy.onnx", EngineOptions())).records() == ([], [])
    assert not list(folder.glob("engines/*"))
