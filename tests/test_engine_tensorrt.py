"""Everything around TensorRT, on a module that plays it (`tensorrt_fake.py`) and a device that is
the host: building, the gate, the cache, running, what does not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_rig import ORIN, Rig, rig, zeroed  # noqa: F401
from kernels_cuda import needs_host
from kernels_rows import scale, wild
from pro_head import make_head
from tensorrt_fake import FakeTensorrt

from headway.edge.engines import choice
from headway.edge.engines.cache import Parity
from headway.edge.engines.trt import api, backend, build
from headway.edge.engines.trt.backend import open_built
from headway.edge.pro import operator
from headway.errors import BundleError, Missing, SpecMismatch, Untrusted
from headway.kernels import oracle
from headway.kernels.cuda.host import HostDriver
from headway.kernels.cuda.stream import FeatureStream

pytestmark = needs_host


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


def test_a_closed_engine_does_not_touch_the_memory_that_it_has_freed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.build()
    touched: list[str] = []
    for name in ("upload", "download", "zero", "copy"):
        monkeypatch.setattr(HostDriver, name, lambda *_, name=name: touched.append(name))
    engine = rig.open()
    engine.close()
    touched.clear()
    for call in (engine.run, engine.fetch, lambda: engine.clear("h")):
        with pytest.raises(BundleError, match="is closed: open it again"):
            call()
    assert touched == []


def test_an_engine_that_does_not_open_leaves_no_memory_on_the_device(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.build()
    held: set[int] = set()
    alloc, free, pinned = HostDriver.alloc, HostDriver.free, HostDriver.pinned

    def allocated(driver: HostDriver, n: int) -> int:
        held.add(made := alloc(driver, n))
        return made

    def freed(driver: HostDriver, pointer: int) -> None:
        held.discard(pointer)
        free(driver, pointer)

    def of_the_host(driver: HostDriver, n: int) -> Any:  # stays until the driver closes
        made = pinned(driver, n)
        held.discard(made[1])
        return made

    monkeypatch.setattr(HostDriver, "integrated", False)
    monkeypatch.setattr(HostDriver, "alloc", allocated)
    monkeypatch.setattr(HostDriver, "pinned", of_the_host)
    monkeypatch.setattr(HostDriver, "free", freed)
    monkeypatch.setattr("tensorrt_fake._Context.set_tensor_address", lambda *_: False)
    with pytest.raises(BundleError, match="takes no buffer for"):
        rig.open()
    assert held == set()


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


@pytest.mark.parametrize("why", [Missing("no graphs"), BundleError("not permitted in a capture")])
def test_a_run_works_in_the_thread_that_asks_and_without_graphs(
    rig: Rig, why: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`headway serve` has a thread per client, in which no context of CUDA is current; pycuda alone
    has no graphs, and not every network can be in one."""
    rig.build()
    done: list[str] = []

    def capture(*_: object) -> Any:
        done.append("capture")
        raise why

    monkeypatch.setattr(HostDriver, "enter", lambda _: done.append("enter"))
    monkeypatch.setattr(HostDriver, "capture", capture)
    engine = rig.open()
    for _ in range(2):
        engine.run()
    assert done == ["enter", "capture", "enter"]


def test_tensorrt_without_a_binding_of_cuda_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Jetson as it comes. `headway build` says so before it builds for minutes."""
    monkeypatch.setattr(api, "find_spec", lambda name: object())
    monkeypatch.setattr(api.driver, "devices", lambda: 1)
    monkeypatch.setattr(api.driver, "find_spec", lambda name: None)
    assert "pycuda, cuda-bindings: pip install one" in api.missing("tensorrt")
    monkeypatch.setattr(api.driver, "find_spec", lambda name: object())
    assert api.missing("tensorrt") == ""


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


def test_a_state_that_is_fed_back_is_on_the_engines_own_stream(rig: Rig) -> None:
    rig.build()
    engine = rig.open()
    engine.enqueue(7)  # nothing is copied behind the network: any stream does
    engine.feed_back("h_out", "h")
    engine.enqueue(engine.stream)
    with pytest.raises(BundleError, match=r"own stream 0x0, .* found 0x7: enqueue it on"):
        engine.enqueue(7)
    assert rig.trt.streams[-2:] == [7, engine.stream]


def test_graphs_of_runs_are_freed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = HostDriver.capture

    def captured(driver: HostDriver, work: Any) -> Any:
        made.append(real(driver, work))
        return made[-1]

    monkeypatch.setattr(HostDriver, "capture", captured)
    rig.build()
    engine = rig.open()
    before = len(made)  # that of the gate is another engine's
    engine.run()
    engine.feed_back("h_out", "h")  # a run is another one from now on
    engine.run()
    assert len(made) == before + 2
    assert [bool(each.work) for each in made[before:]] == [False, True]
    engine.close()
    assert not any(each.work for each in made)


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
    # The graph is there before the loop begins: launched one by one, recorded, launched.
    assert (driver.launches, one.stream._features._graph is not None) == (2, True)
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
