"""Options of engines, the DLA, the choice per model; TensorRT is played by `tensorrt_fake.py`."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from engine_rig import ORIN, Rig, rig, zeroed  # noqa: F401
from kernels_cuda import needs_host

from headway import cli_build, shipped
from headway.bundle import Tensor
from headway.edge.engines import choice, gate
from headway.edge.engines.cache import Cache, Latency, Parity
from headway.edge.engines.engine import Engine, TensorSpec, open_bundle, open_engine
from headway.edge.engines.options import EngineOptions, Profile
from headway.edge.engines.trt import dla
from headway.edge.engines.trt.backend import open_built
from headway.edge.policy import instructions
from headway.edge.policy.kinds.bundle import open_policy
from headway.errors import BundleError, ConfigError, HeadwayError, SpecMismatch

pytestmark = needs_host


def test_the_timing_cache_is_kept_from_build_to_build(rig: Rig) -> None:
    rig.build()
    rig.build(workspace_mb=64)
    assert rig.trt.timings == [b"", b"t"]


def test_a_timing_cache_of_another_computer_is_begun_afresh(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies in a folder that may have been copied, and TensorRT may have been updated."""
    rig.build()
    taken: list[Any] = []

    def set_timing_cache(config: Any, cache: Any, ignore_mismatch: bool) -> bool:
        assert cache is not None  # the real one takes no None
        taken.append(cache.serialize())
        return len(taken) > 1

    kind = type(rig.trt.configs[-1])
    monkeypatch.setattr(kind, "set_timing_cache", set_timing_cache)
    rig.build(workspace_mb=64)
    assert taken == [b"tt", b"t"]
    taken[:] = [b""]
    create = kind.create_timing_cache
    monkeypatch.setattr(
        kind, "create_timing_cache", lambda c, content: create(c, content) if not content else None
    )
    rig.build(workspace_mb=32)
    assert taken == [b"", b"t"]


def test_options_reach_tensorrt(rig: Rig) -> None:
    rig.build(workspace_mb=64, level=5, refit=True, precision="tf32", hardware="ampere_or_newer")
    config, flag = rig.trt.configs[-1], rig.trt.BuilderFlag
    assert config.limits == {"workspace": 64 << 20}
    assert config.flags == {flag.TF32, flag.REFIT}
    assert (config.builder_optimization_level, config.hardware_compatibility_level) == (5, 1)
    rig.build()
    assert rig.trt.configs[-1].flags == set()  # float32 stays float32
    rig.build(weight_streaming=True, version_compatible=True)
    engine = rig.open(weight_streaming=True, version_compatible=True, budget_mb=3)
    assert engine.engine.weight_streaming_budget_v2 == 3 << 20
    assert (
        rig.open(weight_streaming=True, version_compatible=True).engine.weight_streaming_budget_v2
        == 7
    )


def test_no_garbage_is_collected_while_tensorrt_builds_or_loads(rig: Rig, monkeypatch: Any) -> None:
    """The real one logs under a lock that the end of an older builder waits for as well."""
    collects = []

    def seen(made: Any) -> Any:
        def call(log: Any) -> Any:
            collects.append(gc.isenabled())
            return made(log)

        return call

    for name in ("Builder", "Runtime"):
        monkeypatch.setattr(rig.trt, name, seen(getattr(rig.trt, name)))
    rig.build()
    rig.open()
    assert len(collects) >= 2
    assert not any(collects)
    assert gc.isenabled()


def test_what_a_release_does_not_have_is_refused_by_name(rig: Rig) -> None:
    with pytest.raises(ConfigError, match=r"same_capability wants `SAME_COMPUTE_CAPABILITY`"):
        rig.build(hardware="same_capability")
    with pytest.raises(ConfigError, match=r"sm = \['89'\] wants `set_compute_capability`"):
        rig.build(sm=("89",))
    with pytest.raises(ConfigError, match="wanted DLA core 0, found 0 cores"):
        rig.build(dla=0)
    with pytest.raises(SpecMismatch, match="wanted an engine of fp16, found a graph of fp32"):
        rig.build(precision="fp16")


def test_default_options_open_what_was_built_and_others_only_that(rig: Rig) -> None:
    rig.build(workspace_mb=64)
    rig.open().close()
    rig.open(workspace_mb=64).close()
    with pytest.raises(BundleError, match="workspace_mb 64, not 65"):
        rig.open(workspace_mb=65)


@pytest.mark.parametrize("options", [{"version_compatible": True}, {"hardware": "ampere_or_newer"}])
def test_a_plan_for_more_is_served_only_where_it_was_compared(
    rig: Rig, options: dict[str, Any]
) -> None:
    rig.build(**options)
    rig.open(**options).close()
    elsewhere = dataclasses.replace(
        rig.library, machine=dataclasses.replace(ORIN, sm="89", gpu="RTX 4090")
    )
    with pytest.raises(BundleError, match="sm 87, not 89; gpu Orin, not RTX 4090"):
        rig.open(elsewhere, **options)
    rig.trt.__version__ = "10.16.1"
    with pytest.raises(BundleError, match=r"library tensorrt 10\.3\.0, .* not tensorrt 10\.16\.1"):
        rig.open(**options)
    said = " ".join((cli_build.build.__doc__ or "").split())  # what --help prints
    assert "Headway opens an engine only with the release that built it" in said
    assert "Headway opens an engine only on a device like the one that built it" in said


def test_shapes_are_part_of_the_engine(rig: Rig) -> None:
    wide = {"h": Profile((1, 8), (1, 8), (4, 8))}
    with pytest.raises(SpecMismatch, match=r"found a graph that has it as \(1, 8\) alone"):
        rig.build(profiles=wide)
    with pytest.raises(ConfigError, match="wanted one of the inputs features, mask, h, found `g`"):
        rig.build(profiles={"g": wide["h"]})
    with pytest.raises(ConfigError, match=r"wanted shapes of `h` that hold \(1, 8\)"):
        rig.build(profiles={"h": Profile((2, 8), (2, 8), (4, 8))})


def test_an_engine_that_was_built_for_other_shapes_is_no_error_of_the_runs_own_options(
    rig: Rig,
) -> None:
    rig.build(profiles={"h": Profile((1, 8), (1, 8), (1, 8))})
    onnx, inputs, outputs = rig.tensors
    more = {**inputs, "h": TensorSpec((5, 8), "float32")}
    with pytest.raises(
        BundleError, match=r"for another \(profiles: wanted shapes of `h` that hold \(5, 8\), found"
    ):
        open_built(rig.library, onnx, more, outputs, rig.options)
    asked = msgspec.structs.replace(rig.options, profiles={"h": Profile((2, 8), (2, 8), (4, 8))})
    with pytest.raises(ConfigError, match=r"wanted shapes of `h` that hold \(5, 8\)"):
        open_built(rig.library, onnx, more, outputs, asked)


def test_the_dla_is_used_or_the_build_is_refused(rig: Rig) -> None:
    rig.trt.dla_cores = 2
    with pytest.raises(
        BundleError, match=r"wanted the engine .* on DLA core 1, found all of its 1"
    ):
        rig.build(dla=1)
    rig.trt.layers = ["DLA", "Gemm", "Reformat"]
    with pytest.raises(BundleError, match=r"found 1 of its layers on the GPU \(layer1\).*fallback"):
        rig.build(dla=1)
    made = rig.build(dla=1, dla_fallback=True)
    assert made.notes == ("1 layers on DLA core 1, 1 on the GPU",)
    config = rig.trt.configs[-1]
    assert (config.DLA_core, config.default_device_type) == (1, 1)
    assert rig.trt.BuilderFlag.GPU_FALLBACK in config.flags
    rig.trt.layers = ["DLA", "Reformat"]
    assert rig.build(dla=0).notes == ("1 layers on DLA core 0, 0 on the GPU",)


@pytest.mark.parametrize("line", ["", "{ForeignNode[a...b]}", "[]", '{"Name": "x"}'])
def test_an_inspector_that_does_not_say_where_layers_are_is_not_believed(line: str) -> None:
    with pytest.raises(BundleError, match="found no LayerType"):
        dla.layers([line])


def test_auto_takes_what_was_measured_for_the_model(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = rig.made.manifest

    def chosen() -> Engine:
        return open_engine("auto", rig.made.onnx, inputs=m.inputs, outputs=m.outputs)

    assert chosen().chosen.startswith("ort: best that can run here")
    shapes = {t.name: t.shape for t in m.inputs}
    times = {"ort": Latency(9, 12), "tensorrt": Latency(50, 60)}
    choice.keep(rig.made.onnx, rig.options, times, shapes)
    engine = chosen()
    assert engine.kind == "ort"
    assert engine.chosen == "ort: fastest here for this model (ort 9 us, tensorrt 50 us)"
    times = {"ort": Latency(900, 912), "null": Latency(1, 2)}
    choice.keep(rig.made.onnx, rig.options, times, shapes)
    assert chosen().kind == "null"
    monkeypatch.setattr(choice, "computer", lambda: "another")
    engine = chosen()
    assert engine.kind == "ort"
    assert "measured elsewhere" in engine.chosen
    monkeypatch.undo()
    rig.made.onnx.write_bytes(rig.made.onnx.read_bytes() + b"")
    path = next(choice.folder(rig.made.onnx, rig.options).glob("*.best.json"))
    path.write_text(json.dumps({"schema": 1}))
    engine = chosen()
    assert engine.kind == "ort"
    assert "what was measured is not used" in engine.chosen


def test_auto_takes_what_was_measured_for_these_shapes_alone(tmp_path: Path) -> None:
    """A measurement of several candidates says nothing of one, of which there is no engine."""
    tmp_path.chmod(0o700)
    path = tmp_path / "b" / "m.onnx"
    path.parent.mkdir()
    h = onnx.helper
    x, y = (h.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", 3]) for n in "xy")
    relu = h.make_graph([h.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    made = h.make_model(relu, opset_imports=[h.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(made.SerializeToString())

    def chosen(candidates: int) -> Engine:
        of = [Tensor(name=n, shape=(candidates, 3), dtype="float32") for n in "xy"]
        return open_engine("auto", path, inputs=of[:1], outputs=of[1:])

    times = {"ort": Latency(50, 60), "null": Latency(10, 12)}
    choice.keep(path, EngineOptions(), times, {"x": (8, 3)})
    assert chosen(8).kind == "null"
    engine = chosen(1)
    assert engine.kind == "ort"
    assert "measured with inputs of other shapes (x (8, 3)), where null was fastest" in (
        engine.chosen
    )
    (best,) = choice.folder(path, EngineOptions()).glob("*.best.json")
    text = json.loads(best.read_text())
    del text["shapes"]  # as an earlier Headway wrote it
    best.write_text(json.dumps(text))
    engine = chosen(8)
    assert engine.kind == "ort"
    assert "other shapes (not said)" in engine.chosen


def test_the_text_encoder_is_opened_as_the_docs_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tokenizers", reason="wants headway[text]")
    asked: list[tuple[str, str, EngineOptions]] = []

    def opened(kind: str, path: Path, **how: Any) -> Engine:
        asked.append((kind, path.name, how.get("options", EngineOptions())))
        return open_engine(kind, path, **how)

    monkeypatch.setattr(instructions, "open_engine", opened)
    bundle = str(shipped.ROOT / "models" / "workflows")
    for given in ({"engine": "ort"}, {"engine_cache": str(tmp_path)}):
        open_policy(bundle, **given).close()
    assert asked == [("auto", "text.onnx", EngineOptions())] * 2
    said = " ".join((Path(__file__).parent.parent / "docs" / "engines.md").read_text().split())
    assert "is always opened by `auto`, with the engines beside its bundle" in said


def test_a_policy_of_several_threads_answers_the_same() -> None:
    cores = os.cpu_count() or 1
    one, several = (
        open_policy(str(shipped.POLICY), "ort", threads=threads) for threads in (1, min(2, cores))
    )
    said = "ort (cpu, 2 threads)" if cores > 1 else "ort (cpu)"
    assert (one.detail, several.detail) == ("ort (cpu)", said)
    answers = []
    for policy in (one, several):
        for k, name in enumerate(policy.engine.inputs):
            a = policy.engine.bind(name)
            top = 255 if a.dtype == np.uint8 else 1  # the others are numbers or the command's index
            a[...] = (np.random.default_rng(k).random(a.shape) * top).astype(a.dtype)
        policy.engine.run()
        answers.append(np.array(policy.engine.bind("actions")))
        policy.close()
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)
    with pytest.raises(ConfigError, match=f"wanted at most {cores} threads .* found 250"):
        open_policy(str(shipped.POLICY), "ort", threads=250)


def test_options_that_an_engine_does_not_have_are_refused(rig: Rig) -> None:
    for kind, options in (
        ("ort", EngineOptions(workspace_mb=1)), ("ort", EngineOptions(cache="x")),
        ("auto", EngineOptions(precision="fp16")), ("null", EngineOptions(refit=True)),
        ("auto", EngineOptions(threads=2)), ("null", EngineOptions(threads=2)),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=f"the engine `{kind}` cannot do"):
            open_bundle(rig.made, kind, options=options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget_mb": 3}, "budget_mb wants weight_streaming"),
        ({"dla_fallback": True}, "wants the number of a DLA core"),
    ],
)
def test_options_that_say_nothing_alone_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineOptions(**given)


def test_an_engine_that_fails_says_so(rig: Rig) -> None:
    rig.build()
    engine = rig.open()
    rig.trt.dead = True
    with pytest.raises(HeadwayError, match="failed while running"):
        engine.run()


def test_an_output_that_is_scaled_has_the_right_direction_and_is_refused() -> None:
    with pytest.raises(BundleError, match=r"ratio of lengths 0.5000"):
        gate.check(Parity(1.0, gate.ratio(np.ones(3), np.full(3, 2.0)), 1.0, 16), "m")
    assert gate.ratio(np.zeros(3), np.zeros(3)) == 1.0


def test_cosine_of_single_numbers_and_of_nothing() -> None:
    one, two = np.array([1.0]), np.array([2.0])
    assert gate.cosine(one, one) == 1.0
    assert gate.cosine(one, two) == 0.5
    assert gate.cosine(one, -two) == -0.5
    assert gate.cosine(np.zeros(3), np.full(3, 1e-9)) == 1.0
    assert gate.cosine(np.zeros(3), np.ones(3)) == -1.0
    assert gate.cosine(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 0.0


def test_an_engine_is_found_in_a_cache_of_its_own(rig: Rig, tmp_path: Path) -> None:
    made = rig.build(cache=str(tmp_path / "c"))
    assert (tmp_path / "c" / made.record.plan).is_file()
    rig.open(cache=str(tmp_path / "c")).close()
    assert made.record.options.cache == ""  # a path of this computer stays out of the record
    assert Cache(tmp_path / "c").records()[1] == []
