"""The drivers' own code, on CUDA APIs played by the host build: every call with its real name and
order of arguments, every answer in the API's form."""

# ruff: noqa: N802 - names of the CUDA driver API

from __future__ import annotations

import ctypes
from pathlib import Path
from threading import Thread, get_ident
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from kernels_cuda import agree, needs_host
from kernels_rows import scale, wild

from headway.errors import DeviceError, Missing
from headway.kernels import cuda as package
from headway.kernels import oracle
from headway.kernels.cuda import with_bindings
from headway.kernels.cuda.host import HostDriver
from headway.kernels.cuda.stream import FeatureStream, features_batch

pytestmark = needs_host


class Everything:
    """Any attribute, as its own name: what an enumeration looks like."""

    def __getattr__(self, name: str) -> str:
        return name


class FakeCu:
    """`cuda.bindings.driver`, as far as it is used; code 0 is success."""

    CU_MEMHOSTALLOC_DEVICEMAP = 2
    CUdevice_attribute = CUfunction_attribute = CUstreamCaptureMode = Everything()
    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)

    def __init__(self) -> None:
        self.host = HostDriver()
        self.code = self.graphs = 0  # `graphs` that were instantiated, and not destroyed
        self.templates = 0  # graphs that were captured, and not destroyed
        self.instantiates = True
        self.loads = self.streams = 0
        self.current: list[tuple[int, int]] = []  # context, thread
        self.record: list[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        simple = {
            "cuInit": (), "cuDeviceGet": (3,), "cuDevicePrimaryCtxRetain": (4,),
            "cuDeviceGetName": (b"Fake\0\0",),
            "cuFuncSetAttribute": (), "cuStreamSynchronize": (),
            "cuModuleUnload": (),
            "cuDevicePrimaryCtxRelease": (),
        }  # fmt: skip
        if name not in simple:
            raise AttributeError(name)
        return lambda *a: (self.code, *simple[name])

    def cuDeviceGetAttribute(self, attribute: str, device: int) -> Any:
        values = {"MAJOR": 9, "MINOR": 0, "COUNT": 2, "OPTIN": 227 * 1024, "INTEGRATED": 0}
        return 0, values[attribute.rpartition("_")[2]]

    def cuCtxSetCurrent(self, context: int) -> Any:
        self.current.append((context, get_ident()))
        return (0,)

    def cuModuleLoadData(self, content: bytes) -> Any:
        return (self.loads, 6) if self.loads == 0 else (self.loads, None)

    def cuStreamDestroy(self, stream: int) -> Any:
        self.streams -= 1
        return (0,)

    def cuStreamCreate(self, flags: int) -> Any:
        self.streams += 1
        return 0, 5

    def cuModuleGetFunction(self, module: int, name: bytes) -> Any:
        return 0, name.decode()

    def cuMemAlloc(self, n: int) -> Any:
        return 0, self.host.alloc(n)

    def cuMemFree(self, pointer: int) -> Any:
        self.host.free(pointer)
        return (0,)

    def cuMemHostAlloc(self, n: int, flags: int) -> Any:
        return 0, self.host.alloc(n)

    def cuMemFreeHost(self, host: int) -> Any:
        self.host.free(host)
        return (self.code,)

    def cuMemHostGetDevicePointer(self, host: int, flags: int) -> Any:
        return 0, host

    def cuMemcpyAsync(self, to: int, source: int, n: int, stream: int) -> Any:
        assert stream == 5
        self.host.copy(to, source, n)
        return (0,)

    cuMemcpyHtoDAsync = cuMemcpyDtoHAsync = cuMemcpyAsync  # noqa: N815

    def cuMemsetD8Async(self, to: int, value: int, n: int, stream: int) -> Any:
        self.host.zero(to, n)
        return (0,)

    def cuLaunchKernel(self, f: str, *a: Any) -> Any:
        gx, gy, gz, bx, by, bz, shared, stream, parameters, extra = a
        assert (gy, gz, by, bz, stream, extra) == (1, 1, 1, 1, 5, 0)
        values, kinds = parameters or ((), ())
        assert all(k in (ctypes.c_int, ctypes.c_uint64) for k in kinds)
        self.host.launch(f, gx, bx, shared, values)
        return (self.code,)

    def cuStreamBeginCapture(self, stream: int, mode: str) -> Any:
        assert mode == "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL"
        self.host._recorded = []
        return (0,)

    def cuStreamEndCapture(self, stream: int) -> Any:
        graph, self.host._recorded = self.host._recorded, None
        self.templates += 1
        return 0, graph

    def cuGraphDestroy(self, graph: Any) -> Any:
        self.templates -= 1
        return (0,)

    def cuGraphInstantiate(self, graph: Any, flags: int) -> Any:
        self.graphs += self.instantiates
        return (0, graph) if self.instantiates else (2, None)

    def cuGraphExecDestroy(self, graph: Any) -> Any:
        self.graphs -= 1
        return (self.code,)

    def cuGraphLaunch(self, graph: Any, stream: int) -> Any:
        for step in graph:
            step()
        return (self.code,)


@pytest.fixture
def image(tmp_path: Path) -> Any:
    path = tmp_path / "features.cubin"
    path.write_bytes(b"cubin")

    def image(capability: tuple[int, int]) -> Path:
        assert capability == (9, 0)
        return path

    return image


def follow(driver: Any, graph: bool) -> None:
    rows = wild(40, 1)
    stream = FeatureStream(driver, scale(), 6, 500.0, graph=graph)
    want = oracle.FeatureStream(scale(), 6, 500.0)
    for i, row in enumerate(rows):
        stream.push(row)
        want.push(row)
        if i % 9 == 8:
            a, b = want.features(), stream.features()
            agree((a[0][None], a[1][None]), (b[0][None], b[1][None]))
    stream.close()
    have = features_batch(driver, rows[None], scale(), 500.0)
    theirs = features_batch(HostDriver(), rows[None], scale(), 500.0)
    np.testing.assert_array_equal(have[0], theirs[0])
    driver.launch("headway_empty", 1, 32, 0, ())
    driver.synchronize()


@pytest.mark.parametrize("graph", [True, False])
def test_cuda_bindings(image: Any, graph: bool) -> None:
    cu = FakeCu()
    driver = with_bindings.BindingsDriver(cu, image)
    assert (driver.device, driver.stream, driver.shared) == ("Fake", 5, 227 * 1024)
    follow(driver, graph)
    assert (cu.graphs, cu.host._memory) == (0, {})  # a stream that is closed leaves nothing
    memory, at = driver.pinned(64)
    assert at == memory.ctypes.data
    made = driver.capture(lambda: None)
    assert cu.graphs == 1
    for _ in range(2):
        made.close()
        assert cu.graphs == 0
    driver.close()
    assert not cu.host._memory


def test_what_cuda_answers_is_quoted(image: Any) -> None:
    cu = FakeCu()
    driver = with_bindings.BindingsDriver(cu, image)
    cu.code = 719
    with pytest.raises(DeviceError, match="719"):
        driver.launch("headway_empty", 1, 32, 0, ())
    cu.code = 0

    def work() -> None:
        raise RuntimeError("head")

    made = driver.capture(lambda: None)
    cu.code = 400
    with pytest.raises(DeviceError, match="freeing a graph: CUDA answered 400"):
        made.close()
    cu.code = 0
    with pytest.raises(RuntimeError, match="head"):
        driver.capture(work)
    cu.instantiates = False
    with pytest.raises(DeviceError, match="graph capture: CUDA answered 2"):
        driver.capture(lambda: None)
    assert cu.templates == 0  # of graphs
    driver.launch("headway_empty", 1, 32, 0, ())  # not captured: the stream is usable again
    assert cu.host.launches == 2


def test_kernels_that_do_not_load_are_missing_and_nothing_stays_open(
    image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a cubin of another device or of a newer toolkit: an engine, which wants none, still opens,
    and does not try them again."""
    cu, tried = FakeCu(), list[bool]()
    cu.loads = 209  # CUDA_ERROR_NO_BINARY_FOR_GPU
    with pytest.raises(Missing, match=r"features\.cubin.*209"):
        with_bindings.BindingsDriver(cu, image)
    assert cu.streams == 0

    def opened(wanted: Any) -> Any:
        tried.append(wanted is not None)
        return with_bindings.BindingsDriver(cu, wanted and image)

    monkeypatch.setattr(package, "open_driver", opened)
    monkeypatch.setattr(package, "_here", SimpleNamespace())
    for _ in range(2):
        assert package.device(kernels=False).provider == "cuda-bindings"
    assert (cu.streams, tried) == (1, [True, False])
    with pytest.raises(Missing, match="209"):
        package.device()


def test_another_thread_enters_the_context(image: Any) -> None:
    cu = FakeCu()
    driver = with_bindings.BindingsDriver(cu, image)
    driver.enter()
    assert cu.current == [(4, get_ident())]  # by opening; this thread needs no more
    thread = Thread(target=driver.enter)
    thread.start()
    thread.join()
    assert cu.current[1:] == [(4, thread.ident)]
