"""Everything around TensorRT, on a module that plays it (`tensorrt_fake.py`) and a device that is
the host: building, the gate, the cache, running, what does not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from kernels_cuda import needs_host
from kernels_rows import scale, wild
from pro_head import make_head
from tensorrt_fake import FakeTensorrt

from headway import bundle
from headway.edge.engines import choice, gate
from headway.edge.engines.cache import Cache, Latency, Parity
from headway.edge.engines.engine import Engine, open_bundle, open_engine, specs
from headway.edge.engines.options import EngineOptions, Profile
from headway.edge.engines.trt import backend, build, dla
from headway.edge.engines.trt.backend import Library, Watch, make, open_built
from headway.edge.pro import operator
from headway.errors import BundleError, ConfigError, HeadwayError, SpecMismatch, Untrusted
from headway.kernels import oracle
from headway.kernels.cuda.host import HostDriver
from headway.kernels.cuda.machine import Machine
from headway.kernels.cuda.stream import FeatureStream

pytestmark = needs_host
ORIN = Machine("87", "Orin", "driver 540.4.0 CUDA 12.6", "L4T R36.4.3")


@dataclasses.dataclass
class Rig:
    """A PRO head, the engine that it is held to, and TensorRT as it is played."""

    made: bundle.Bundle
    reference: Engine
    trt: FakeTensorrt
    library: Library
    options: EngineOptions

    @property
    def tensors(self) -> Any:
        m = self.made.manifest
        return self.made.onnx, specs(m.inputs), specs(m.outputs)

    def build(self, library: Library | None = None, **options: Any) -> backend.Made:
        given = msgspec.structs.replace(self.options, **options)
        watch = Watch(reference=self.reference)
        return make(library or self.library, *self.tensors, given, watch)

    def open(self, library: Library | None = None, **options: Any) -> Any:
        given = msgspec.structs.replace(self.options, **options)
        return open_built(library or self.library, *self.tensors, given)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = make_head(tmp_path / "head")
    driver = HostDriver()
    trt = FakeTensorrt(driver)
    library = Library("tensorrt", trt, ORIN, driver=lambda: driver)
    return Rig(made, open_bundle(made, "ort"), trt, library, EngineOptions())


def zeroed(engine: Engine) -> Engine:
    """The reference keeps what the gate wrote last."""
    for name in engine.inputs:
        engine.bind(name)[...] = 0
    return engine


def test_a_built_engine_answers_as_the_original_and_is_kept(rig: Rig) -> None:
    made = rig.build()
    assert made.fresh
    assert made.record.parity == Parity(pytest.approx(1.0), pytest.approx(1.0), 0.0, 16)
    assert made.record.latency is not None
    again = rig.build()
    assert (again.fresh, again.record, rig.trt.builds) == (False, made.record, 1)
    engine = rig.open()
    assert (engine.kind, engine.device) == ("tensorrt", "CPU by host")
    rng = np.random.default_rng(1)
    for _ in range(3):  # the first run is plain, the others are of the graph
        for name, spec in engine.inputs.items():
            engine.write(name, rng.normal(size=spec.shape).astype(np.float32))
            rig.reference.write(name, engine.bind(name))
        engine.run()
        rig.reference.run()
        for name in engine.outputs:
            np.testing.assert_array_equal(engine.bind(name), rig.reference.bind(name))
    engine.close()
    engine.close()
    with pytest.raises(BundleError, match="closed"):
        engine.run()


@pytest.mark.parametrize("integrated", [True, False])
@pytest.mark.parametrize("cuda_graph", [True, False])
def test_a_run_is_the_same_with_shared_memory_and_without_a_graph(
    rig: Rig, integrated: bool, cuda_graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.build()
    monkeypatch.setattr(HostDriver, "integrated", integrated)
    engine = rig.open(cuda_graph=cuda_graph)
    zeroed(rig.reference)
    for value in (0.5, -1.0, 2.0):
        for one in (engine, rig.reference):
            one.bind("features")[:] = value
            one.run()
        np.testing.assert_array_equal(engine.bind("risk"), rig.reference.bind("risk"))
    engine.close()


def test_the_state_of_a_recurrent_head_stays_on_the_device(rig: Rig) -> None:
    rig.build()
    engine = rig.open()
    engine.feed_back("h_out", "h")
    engine.clear("h")
    for one in (engine, rig.reference):
        one.bind("features")[:] = np.linspace(-1, 1, one.bind("features").size)
    zeroed(rig.reference).bind("features")[:] = engine.bind("features")
    for _ in range(5):
        engine.run()
        rig.reference.run()
        np.testing.assert_array_equal(engine.bind("h_out"), rig.reference.bind("h_out"))
        rig.reference.bind("h")[:] = rig.reference.bind("h_out")
        engine.bind("h")[:] = 99.0  # not taken from the host any more
    with pytest.raises(SpecMismatch, match="wanted an output and an input"):
        engine.feed_back("h", "h_out")
    with pytest.raises(SpecMismatch, match="`risk` and `h` alike"):
        engine.feed_back("risk", "h")
    with pytest.raises(SpecMismatch, match="did you mean `h_out`"):
        engine.pointer("hout")


def test_features_and_head_are_one_graph(rig: Rig) -> None:
    """The tick in one launch: telemetry up, features, head, state, answers down."""
    rig.build()
    engine = rig.open()
    engine.feed_back("h_out", "h")
    engine.clear("h")
    driver = rig.library.driver()
    stream = FeatureStream(
        driver, scale(), 6, 500.0, head=engine,
        into=(engine.pointer("features"), engine.pointer("mask")),
    )  # fmt: skip
    theirs = oracle.FeatureStream(scale(), 6, 500.0)
    rig.reference.bind("h")[:] = 0.0
    for i, row in enumerate(wild(60, 3)):
        stream.push(row)
        theirs.push(row)
        if i % 10 == 9:
            stream.features()
            driver.download(engine.bind("risk"), engine.pointer("risk"))
            features, mask = theirs.features()
            rig.reference.write("features", features[None])
            rig.reference.write("mask", mask[None])
            rig.reference.run()
            rig.reference.bind("h")[:] = rig.reference.bind("h_out")
            np.testing.assert_allclose(engine.bind("risk"), rig.reference.bind("risk"), rtol=1e-3)
    stream.close()


@pytest.mark.parametrize("integrated", [True, False])
def test_a_step_of_pro_is_one_launch_and_answers_as_features_and_head_apart(
    rig: Rig, integrated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.build()
    driver: Any = rig.library.driver()
    monkeypatch.setattr(HostDriver, "integrated", integrated)
    monkeypatch.setattr(operator.cuda, "device", lambda: driver)
    engine = rig.open()
    rates = {"hz": 500.0, "head_hz": 50.0}
    one = operator.ProOperator(rig.made, engine, scale(), 6, features="cuda", **rates)
    apart = operator.ProOperator(rig.made, rig.reference, scale(), 6, features="numpy", **rates)
    assert (one.one_launch, apart.one_launch, one.stream.impl) == (True, False, "cuda")
    for episode in range(2):  # the state begins afresh
        one.reset()
        apart.reset()
        for tick, row in enumerate(wild(60, 3 + episode)):
            before, runs = driver.launches, len(rig.trt.streams)
            found, wanted = one.step(row, tick), apart.step(row, tick)
            for name in operator.SIGNALS:
                one_by_one = getattr(found, name), getattr(wanted, name)
                np.testing.assert_allclose(*one_by_one, rtol=2e-3, atol=1e-4)
            assert one.updated == (tick % 10 == 0)
            if not one.updated:
                assert (driver.launches, len(rig.trt.streams)) == (before, runs)
        np.testing.assert_array_equal(one.record["mask"], apart.record["mask"])
    assert set(rig.trt.streams) == {driver.stream}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sm": "110"}, "sm 87, not 110"),
        ({"gpu": "Thor"}, "gpu Orin, not Thor"),
        ({"driver": "driver 580"}, "driver driver 540"),
        ({"jetpack": "L4T R38"}, "jetpack L4T R36.4, not L4T R38|jetpack L4T R36.4.3"),
    ],
)
def test_an_engine_of_another_computer_is_refused(rig: Rig, change: Any, message: str) -> None:
    rig.build()
    other = dataclasses.replace(rig.library, machine=dataclasses.replace(ORIN, **change))
    with pytest.raises(BundleError, match=f"{message}.*run `headway build`"):
        rig.open(other)


def test_an_engine_of_another_tensorrt_is_refused_and_built_again(rig: Rig) -> None:
    rig.build()
    driver = rig.library.driver()
    newer = dataclasses.replace(rig.library, trt=FakeTensorrt(driver, version="10.16.1"))
    with pytest.raises(BundleError, match=r"library tensorrt 10.3.*run `headway build`"):
        rig.open(newer)
    assert rig.build(newer).fresh
    rig.open(newer).close()
    rig.open().close()  # the old one is there still


def test_other_weights_are_another_engine(rig: Rig, tmp_path: Path) -> None:
    rig.build()
    other = make_head(tmp_path / "other", seed=1)
    rig.made.onnx.write_bytes(other.onnx.read_bytes())
    with pytest.raises(BundleError, match=r"wanted an engine built of .*found none.*headway build"):
        rig.open()


def test_without_an_engine_the_error_says_how_to_build_it(rig: Rig) -> None:
    with pytest.raises(BundleError, match="found none: run `headway build` for it with --engine"):
        rig.open()
    with pytest.raises(BundleError, match="open it by its bundle"):
        open_built(rig.library, rig.made.onnx, {}, {}, rig.options)


def test_a_damaged_engine_is_refused_when_opened_and_built_again_when_built(rig: Rig) -> None:
    made = rig.build()
    plan = choice.folder(rig.made.onnx, rig.options) / made.record.plan
    plan.write_bytes(plan.read_bytes()[:-9])
    with pytest.raises(BundleError, match=r"is damaged: wanted \d+ bytes, found"):
        rig.open()
    again = rig.build()
    assert again.fresh
    assert "built again" in again.notes[0]
    assert "is damaged" in again.notes[0]
    rig.open().close()
    record = choice.folder(rig.made.onnx, rig.options) / f"{made.record.key.digest}.json"
    record.write_bytes(b"{")
    with pytest.raises(BundleError, match=r"found none.*is damaged"):
        rig.open()


def test_a_cache_that_others_can_write_is_refused(rig: Rig) -> None:
    rig.build()
    choice.folder(rig.made.onnx, rig.options).chmod(0o777)
    for call in (rig.open, rig.build):
        with pytest.raises(Untrusted, match="everybody"):
            call()
    assert rig.trt.builds == 1


def test_an_engine_that_answers_otherwise_is_not_kept(rig: Rig) -> None:
    rig.trt.wrong = -1.0
    with pytest.raises(BundleError, match=r"wanted a cosine of 0.999 .*found -1.*not kept"):
        rig.build()
    assert not choice.folder(rig.made.onnx, rig.options).exists()
    rig.trt.wrong = float("nan")
    with pytest.raises(BundleError, match="not kept"):
        rig.build()


def test_a_build_that_fails_says_why_and_leaves_what_was_there(rig: Rig) -> None:
    rig.build()
    rig.trt.fails = "Error Code 2: OutOfMemory (no memory)"
    with pytest.raises(BundleError, match=r"OutOfMemory.*--workspace-mb"):
        rig.build(workspace_mb=64)
    rig.trt.fails = ""
    rig.open().close()


def test_an_interrupt_stops_the_build_and_leaves_nothing(rig: Rig) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    def work(stop: build.Stop) -> Any:
        while not stop.now:  # as TensorRT asks after each step
            pass
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.build_in_thread(work, interrupt)
    seen: list[tuple[str, int, int]] = []

    def stopping(phase: str, done: int, of: int) -> None:
        seen.append((phase, done, of))
        if done == 2:
            raise_from_main.now = True

    prepared = backend.graph.prepare(rig.made.onnx)
    raise_from_main = build.Stop()
    shapes = build.profiles(rig.tensors[1], rig.options)
    with pytest.raises(KeyboardInterrupt):
        build.build(rig.trt, prepared, shapes, rig.options, progress=stopping, stop=raise_from_main)
    assert seen == [("Building engine", 1, 3), ("Building engine", 2, 3)]
    assert not choice.folder(rig.made.onnx, rig.options).exists()


def test_the_timing_cache_is_kept_from_build_to_build(rig: Rig) -> None:
    rig.build()
    rig.build(workspace_mb=64)
    assert rig.trt.timings == [b"", b"t"]


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


def test_shapes_are_part_of_the_engine(rig: Rig) -> None:
    wide = {"h": Profile((1, 8), (1, 8), (4, 8))}
    with pytest.raises(SpecMismatch, match=r"found a graph that has it as \(1, 8\) alone"):
        rig.build(profiles=wide)
    with pytest.raises(ConfigError, match="wanted one of the inputs features, mask, h, found `g`"):
        rig.build(profiles={"g": wide["h"]})
    with pytest.raises(ConfigError, match=r"wanted shapes of `h` that hold \(1, 8\)"):
        rig.build(profiles={"h": Profile((2, 8), (2, 8), (4, 8))})


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
    choice.keep(rig.made.onnx, rig.options, {"ort": Latency(9, 12), "tensorrt": Latency(50, 60)})
    engine = chosen()
    assert engine.kind == "ort"
    assert engine.chosen == "ort: fastest here for this model (ort 9 us, tensorrt 50 us)"
    choice.keep(rig.made.onnx, rig.options, {"ort": Latency(900, 912), "null": Latency(1, 2)})
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


def test_options_that_an_engine_does_not_have_are_refused(rig: Rig) -> None:
    for kind, options in (
        ("ort", EngineOptions(workspace_mb=1)), ("ort", EngineOptions(cache="x")),
        ("auto", EngineOptions(precision="fp16")), ("null", EngineOptions(refit=True)),
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
