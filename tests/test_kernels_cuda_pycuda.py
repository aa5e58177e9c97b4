"""The driver by pycuda, on a module with its names that the host build plays."""

# ruff: noqa: N802 - names of pycuda

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from kernels_cuda import agree, needs_host
from kernels_rows import scale, wild

from headway.errors import DeviceError, Missing
from headway.kernels import oracle
from headway.kernels.cuda import measure, selfcheck, with_pycuda
from headway.kernels.cuda.driver import captured
from headway.kernels.cuda.host import HostDriver
from headway.kernels.cuda.stream import FeatureStream

pytestmark = needs_host


class FakePycuda:
    """`pycuda.driver` as far as it is used. What wants a context on pycuda's own stack refuses to
    work without; `stack` is that of the only thread."""

    class Error(Exception):
        pass

    host_alloc_flags = SimpleNamespace(DEVICEMAP=2)
    device_attribute = SimpleNamespace(
        MULTIPROCESSOR_COUNT=2, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN=227 * 1024, INTEGRATED=0
    )
    function_attribute = SimpleNamespace(MAX_DYNAMIC_SHARED_SIZE_BYTES=8)

    def __init__(self) -> None:
        self.host = HostDriver()
        self.stack: list[Any] = []
        self.fails = ""
        self.released = 0
        self.context = SimpleNamespace(
            handle=4, push=lambda: self.stack.append(4), pop=self.stack.pop, detach=self._detach
        )
        self.init = lambda: None

    def _detach(self) -> None:
        self.released += 1

    def made(self) -> None:
        if self.fails:
            raise self.Error(self.fails)
        if not self.stack:
            raise self.Error("explicit_context_dependent failed: no currently active context?")

    def Device(self, number: int) -> Any:
        return SimpleNamespace(
            retain_primary_context=lambda: self.context, name=lambda: "Fake",
            compute_capability=lambda: (9, 0), get_attribute=lambda value: value,
        )  # fmt: skip

    def Stream(self, flags: int) -> Any:
        assert flags == 1
        self.made()
        return SimpleNamespace(handle=5, synchronize=self.check)

    def check(self) -> None:
        if self.fails:
            raise self.Error(self.fails)

    def module_from_buffer(self, content: bytes) -> Any:
        self.made()
        return SimpleNamespace(get_function=lambda name: Function(self, name))

    def mem_alloc(self, n: int) -> Any:
        self.made()
        at = self.host.alloc(n)
        return Allocation(self.host, at)

    def pagelocked_zeros(self, n: int, dtype: Any, mem_flags: int) -> Any:
        self.made()
        at = self.host.alloc(n)
        array = np.ctypeslib.as_array((ctypes.c_uint8 * n).from_address(at))
        array[:] = 0
        return Pagelocked(array, at)

    def memcpy_htod_async(self, to: int, source: Any, stream: Any) -> None:
        self.host.upload(to, source)

    def memcpy_dtoh_async(self, to: Any, source: int, stream: Any) -> None:
        self.host.download(to, source)

    def memcpy_dtod_async(self, to: int, source: int, n: int, stream: Any) -> None:
        raise AssertionError("memory of the host is no device memory to pycuda")

    def memset_d8_async(self, to: int, value: int, n: int, stream: Any) -> None:
        self.host.zero(to, n)


class Function:
    def __init__(self, fake: FakePycuda, name: str) -> None:
        self.fake, self.name = fake, name

    def set_attribute(self, attribute: int, value: int) -> None:
        assert (attribute, value) == (8, 227 * 1024)

    def __call__(self, *a: Any, grid: Any, block: Any, shared: int, stream: Any) -> None:
        assert all(isinstance(x, np.number) for x in a)  # others have no size to pycuda
        self.fake.check()
        self.fake.host.launch(self.name, grid[0], block[0], shared, a)


class Allocation:
    def __init__(self, host: HostDriver, at: int) -> None:
        self.host, self.at = host, at

    def __int__(self) -> int:
        return self.at

    def free(self) -> None:
        self.host.free(self.at)


class Pagelocked(np.ndarray):  # type: ignore[type-arg]
    """An array whose base says where the device sees it."""

    def __new__(cls, array: Any, at: int) -> Any:
        made = array.view(cls)
        made.at = at
        return made

    @property
    def base(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(get_device_pointer=lambda: self.at)


@pytest.fixture
def pycuda(monkeypatch: pytest.MonkeyPatch) -> FakePycuda:
    monkeypatch.setattr(with_pycuda, "make_current", lambda context: None)

    def none(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(with_pycuda, "import_module", none)  # and no cuda-bindings for graphs
    return FakePycuda()


@pytest.fixture
def image(tmp_path: Path) -> Any:
    path = tmp_path / "features.cubin"
    path.write_bytes(b"cubin")
    return lambda capability: path


def test_pycuda_alone(pycuda: FakePycuda, image: Any) -> None:
    """Its stack of contexts is empty in between, else pycuda aborts the process at its end; and it
    has no graphs, which is no reason not to run."""
    driver = with_pycuda.PycudaDriver(pycuda, image)
    assert (driver.device, driver.stream, driver.shared) == ("Fake", 5, 227 * 1024)
    stream, want = FeatureStream(driver, scale(), 6, 500.0), oracle.FeatureStream(scale(), 6, 500.0)
    for row in wild(3, 1):
        a, b = want.step(row), stream.step(row)
        agree((a[0][None], a[1][None]), (b[0][None], b[1][None]))
    stream.close()
    assert captured(driver, lambda: None) is None
    assert not selfcheck._has_graphs(driver)  # so that `make gpu` checks the plain launches alone
    with pytest.raises(Missing, match="launch without a graph"):  # and times no others
        measure._tick(driver, True, 1)
    assert (pycuda.stack, driver._memory, driver._hosts) == ([], {}, {})
    driver.close()
    assert (pycuda.stack, pycuda.released) == ([], 1)


def test_what_pycuda_answers_is_an_error_of_the_device(pycuda: FakePycuda, image: Any) -> None:
    driver = with_pycuda.PycudaDriver(pycuda, image)
    pycuda.fails = "cuLaunchKernel failed: unspecified launch failure"
    with pytest.raises(DeviceError, match="unspecified launch failure"):
        driver.launch("headway_empty", 1, 32, 0, ())
    with pytest.raises(DeviceError, match="unspecified launch failure"):
        driver.alloc(8)
    assert pycuda.stack == []
    pycuda.fails = ""

    def refuses(content: bytes) -> Any:
        raise pycuda.Error("device kernel image is invalid")

    pycuda.module_from_buffer = refuses  # type: ignore[method-assign]
    with pytest.raises(Missing, match=r"features\.cubin.*image is invalid"):
        with_pycuda.PycudaDriver(pycuda, image)
    assert (pycuda.stack, pycuda.released) == ([], 1)
