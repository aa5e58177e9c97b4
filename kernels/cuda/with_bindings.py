"""The driver by cuda-bindings (NVIDIA's `cuda-python`): the CUDA driver API as it is."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import DeviceError
from headway.kernels.cuda.build import KERNELS
from headway.kernels.cuda.driver import (
    BYTES,
    Argument,
    Graph,
    Image,
    contiguous,
    failed,
    unloadable,
)


class BindingsDriver:
    """As driver.Driver, on a stream and in a context that are given or made here."""

    provider = "cuda-bindings"

    def __init__(self, cu: Any, image: Image | None) -> None:
        self._cu = cu
        self._do(cu.cuInit(0))
        self._device = self._do(cu.cuDeviceGet(0))
        self._context = self._do(cu.cuDevicePrimaryCtxRetain(self._device))
        self._do(cu.cuCtxSetCurrent(self._context))
        self._thread = get_ident()
        self._stream = self._do(cu.cuStreamCreate(int(cu.CUstream_flags.CU_STREAM_NON_BLOCKING)))
        self.stream = int(self._stream)
        self.device = self._do(cu.cuDeviceGetName(128, self._device)).split(b"\0")[0].decode()
        at = cu.CUdevice_attribute
        self.capability = (
            self._ask(at.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            self._ask(at.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )
        self.processors = self._ask(at.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        self.shared = self._ask(at.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
        self.integrated = bool(self._ask(at.CU_DEVICE_ATTRIBUTE_INTEGRATED))
        self._module: Any = None
        self._functions: dict[str, Any] = {}
        self._hosts: list[int] = []
        try:
            if image is not None:
                self._load(image(self.capability))
        except BaseException:
            self.close()  # whoever can do without kernels opens another one
            raise

    def _load(self, kernels: Path) -> None:
        cu = self._cu
        try:
            self._module = self._do(cu.cuModuleLoadData(kernels.read_bytes()))
        except DeviceError as e:
            raise unloadable(kernels, e) from e
        limit = cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        for name in KERNELS:
            f = self._do(cu.cuModuleGetFunction(self._module, name.encode()))
            self._do(cu.cuFuncSetAttribute(f, limit, self.shared))
            self._functions[name] = f

    def _do(self, answer: tuple[Any, ...]) -> Any:
        code, *values = answer
        if int(code):
            raise failed("CUDA call", f"{code!r}")
        return values[0] if values else None

    def _ask(self, attribute: Any) -> int:
        return int(self._do(self._cu.cuDeviceGetAttribute(attribute, self._device)))

    def enter(self) -> None:
        if get_ident() != self._thread:
            self._do(self._cu.cuCtxSetCurrent(self._context))

    def alloc(self, n: int) -> int:
        return int(self._do(self._cu.cuMemAlloc(n)))

    def free(self, pointer: int) -> None:
        self._do(self._cu.cuMemFree(pointer))

    def pinned(self, n: int) -> tuple[BYTES, int]:
        cu = self._cu
        host = int(self._do(cu.cuMemHostAlloc(n, cu.CU_MEMHOSTALLOC_DEVICEMAP)))
        self._hosts.append(host)
        array = np.ctypeslib.as_array((ctypes.c_uint8 * n).from_address(host))
        array[:] = 0
        return array, int(self._do(cu.cuMemHostGetDevicePointer(host, 0)))

    def unpin(self, memory: BYTES) -> None:
        host = int(memory.ctypes.data)
        self._hosts.remove(host)
        self._do(self._cu.cuMemFreeHost(host))

    def upload(self, to: int, source: NDArray[Any]) -> None:
        at = contiguous(source).ctypes.data
        self._do(self._cu.cuMemcpyHtoDAsync(to, at, source.nbytes, self._stream))

    def download(self, to: NDArray[Any], source: int) -> None:
        at = contiguous(to).ctypes.data
        self._do(self._cu.cuMemcpyDtoHAsync(at, source, to.nbytes, self._stream))

    def copy(self, to: int, source: int, n: int) -> None:
        self._do(self._cu.cuMemcpyAsync(to, source, n, self._stream))

    def zero(self, to: int, n: int) -> None:
        self._do(self._cu.cuMemsetD8Async(to, 0, n, self._stream))

    def launch(
        self, kernel: str, blocks: int, threads: int, shared: int, arguments: tuple[Argument, ...]
    ) -> None:
        values = tuple(int(a) for a in arguments)
        kinds = tuple(
            ctypes.c_int if isinstance(a, np.int32) else ctypes.c_uint64 for a in arguments
        )
        self._do(
            self._cu.cuLaunchKernel(
                self._functions[kernel], blocks, 1, 1, threads, 1, 1, shared, self._stream,
                (values, kinds) if values else 0, 0,
            )
        )  # fmt: skip

    def synchronize(self) -> None:
        self._do(self._cu.cuStreamSynchronize(self._stream))

    def capture(self, work: Callable[[], None]) -> Graph:
        return capture(self._cu, self._stream, work)

    def close(self) -> None:
        self.synchronize()
        while self._hosts:
            self._do(self._cu.cuMemFreeHost(self._hosts.pop()))
        if self._module is not None:
            self._do(self._cu.cuModuleUnload(self._module))
        self._do(self._cu.cuStreamDestroy(self._stream))
        self._do(self._cu.cuDevicePrimaryCtxRelease(self._device))


class CapturedGraph:
    """An instantiated CUDA graph on the stream that it was captured from."""

    def __init__(self, cu: Any, executable: Any, stream: Any) -> None:
        self._cu, self._executable, self._stream = cu, executable, stream

    def launch(self) -> None:
        (code,) = self._cu.cuGraphLaunch(self._executable, self._stream)
        if int(code):
            raise failed("graph launch", f"{code!r}")

    def close(self) -> None:
        executable, self._executable = self._executable, None
        if executable is None:
            return
        (code,) = self._cu.cuGraphExecDestroy(executable)
        if int(code):
            raise failed("freeing a graph", f"{code!r}")


def capture(cu: Any, stream: Any, work: Callable[[], None]) -> CapturedGraph:
    """Record `work` on `stream`; thread-local, so that other threads may go on using CUDA."""

    def do(answer: tuple[Any, ...]) -> Any:
        code, *values = answer
        if int(code):
            raise failed("graph capture", f"{code!r}")
        return values[0] if values else None

    do(cu.cuStreamBeginCapture(stream, cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))
    try:
        work()
    except BaseException:
        code, *begun = cu.cuStreamEndCapture(stream)  # leaves the stream usable
        if not int(code):
            cu.cuGraphDestroy(begun[0])
        raise
    graph = do(cu.cuStreamEndCapture(stream))
    try:
        executable = do(cu.cuGraphInstantiate(graph, 0))
    finally:
        cu.cuGraphDestroy(graph)
    return CapturedGraph(cu, executable, stream)


def open_device(image: Image | None) -> BindingsDriver:
    return BindingsDriver(import_module("cuda.bindings.driver"), image)
