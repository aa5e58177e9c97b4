"""The driver by pycuda, in the primary context; graphs by cuda-bindings where that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import Missing
from headway.kernels.cuda.build import KERNELS
from headway.kernels.cuda.driver import (
    BYTES,
    Argument,
    Graph,
    Image,
    contiguous,
    failed,
    make_current,
    unloadable,
)

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, which pycuda has no name for


class PycudaDriver:
    """As driver.Driver. Never `pycuda.autoinit`: TensorRT must find the same, primary, context.

    pycuda keeps a stack of contexts per thread, and aborts the process where a thread ends, the
    main one too, whose stack is not empty. So the context is on it only while something is made
    that wants it there; otherwise it is current by CUDA's own call.
    """

    provider = "pycuda"

    def __init__(self, cuda: Any, image: Image | None) -> None:
        self._cuda = cuda
        self._memory: dict[int, Any] = {}
        self._hosts: dict[int, Any] = {}  # by address: they last as long as somebody has them
        self._module: Any = None
        self._functions: dict[str, Any] = {}
        self._do(cuda.init)
        device = self._do(cuda.Device, 0)
        self._context = self._do(device.retain_primary_context)
        self._thread = get_ident()
        make_current(int(self._context.handle))
        with self._making():
            self._stream = self._do(cuda.Stream, _NON_BLOCKING)
        self.stream = int(self._stream.handle)
        self.device = str(device.name())
        major, minor = device.compute_capability()
        self.capability = int(major), int(minor)
        at = cuda.device_attribute
        self.processors = int(device.get_attribute(at.MULTIPROCESSOR_COUNT))
        self.shared = int(device.get_attribute(at.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN))
        self.integrated = bool(device.get_attribute(at.INTEGRATED))
        try:
            if image is not None:
                self._load(image(self.capability))
        except BaseException:
            self.close()  # whoever can do without kernels opens another one
            raise

    def _do(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except self._cuda.Error as e:
            raise failed("CUDA call", e) from e

    @contextmanager
    def _making(self) -> Iterator[None]:
        self._do(self._context.push)
        try:
            yield
        finally:
            self._do(self._context.pop)

    def _load(self, kernels: Path) -> None:
        cuda, content = self._cuda, kernels.read_bytes()
        with self._making():
            try:
                self._module = cuda.module_from_buffer(content)
            except cuda.Error as e:
                raise unloadable(kernels, e) from e
            self._functions = {name: self._do(self._module.get_function, name) for name in KERNELS}
            most = cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            for f in self._functions.values():
                self._do(f.set_attribute, most, self.shared)

    def enter(self) -> None:
        if get_ident() != self._thread:
            make_current(int(self._context.handle))

    def alloc(self, n: int) -> int:
        with self._making():
            memory = self._do(self._cuda.mem_alloc, n)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, pointer: int) -> None:
        self._do(self._memory.pop(pointer).free)

    def pinned(self, n: int) -> tuple[BYTES, int]:
        flags = self._cuda.host_alloc_flags.DEVICEMAP
        with self._making():
            array: BYTES = self._do(self._cuda.pagelocked_zeros, n, np.uint8, mem_flags=flags)
        self._hosts[int(array.ctypes.data)] = array
        return array, int(self._do(array.base.get_device_pointer))  # type: ignore[union-attr]

    def unpin(self, memory: BYTES) -> None:
        del self._hosts[int(memory.ctypes.data)]

    def upload(self, to: int, source: NDArray[Any]) -> None:
        self._do(self._cuda.memcpy_htod_async, to, contiguous(source), self._stream)

    def download(self, to: NDArray[Any], source: int) -> None:
        self._do(self._cuda.memcpy_dtoh_async, contiguous(to), source, self._stream)

    def copy(self, to: int, source: int, n: int) -> None:
        self._do(self._cuda.memcpy_dtod_async, to, source, n, self._stream)

    def zero(self, to: int, n: int) -> None:
        self._do(self._cuda.memset_d8_async, to, 0, n, self._stream)

    def launch(
        self, kernel: str, blocks: int, threads: int, shared: int, arguments: tuple[Argument, ...]
    ) -> None:
        self._do(
            self._functions[kernel], *arguments,
            grid=(blocks, 1), block=(threads, 1, 1), shared=shared, stream=self._stream,
        )  # fmt: skip

    def synchronize(self) -> None:
        self._do(self._stream.synchronize)

    def capture(self, work: Callable[[], None]) -> Graph:
        try:
            cu = import_module("cuda.bindings.driver")
        except ImportError:
            raise Missing(
                "wanted a CUDA graph, found pycuda, which has none, and no cuda-bindings: pip "
                "install cuda-bindings, or launch without a graph"
            ) from None
        from headway.kernels.cuda.with_bindings import capture

        return capture(cu, cu.CUstream(self.stream), work)

    def close(self) -> None:
        self.synchronize()
        self._memory.clear()
        self._hosts.clear()
        self._functions.clear()
        self._module = self._stream = None
        self._do(self._context.detach)  # its end would release another kind of context


def open_device(image: Image | None) -> PycudaDriver:
    return PycudaDriver(import_module("pycuda.driver"), image)
