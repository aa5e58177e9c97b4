"""The driver by CuPy, whose runtime uses the primary context and has graphs."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.kernels.cuda.build import KERNELS
from headway.kernels.cuda.driver import BYTES, Argument, Graph, contiguous

_ANY_DIRECTION = 4  # cudaMemcpyDefault


class CupyDriver:
    """As driver.Driver."""

    provider = "cupy"

    def __init__(self, cupy: Any, image: Callable[[tuple[int, int]], Path]) -> None:
        self._cupy, self._rt = cupy, cupy.cuda.runtime
        device = cupy.cuda.Device(0)
        device.use()
        found = self._rt.getDeviceProperties(0)
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self.stream = int(self._stream.ptr)
        self.device = found["name"].decode()
        self.capability = int(found["major"]), int(found["minor"])
        self.processors = int(found["multiProcessorCount"])
        self.shared = int(found["sharedMemPerBlockOptin"])
        self.integrated = bool(found["integrated"])
        self._module = cupy.RawModule(path=str(image(self.capability)))
        self._functions = {name: self._module.get_function(name) for name in KERNELS}
        for f in self._functions.values():
            f.max_dynamic_shared_size_bytes = self.shared
        self._hosts: list[Any] = []

    def alloc(self, n: int) -> int:
        return int(self._rt.malloc(n))

    def free(self, pointer: int) -> None:
        self._rt.free(pointer)

    def pinned(self, n: int) -> tuple[BYTES, int]:
        memory = self._cupy.cuda.PinnedMemory(n, self._rt.hostAllocMapped)
        self._hosts.append(memory)
        array = np.frombuffer(self._cupy.cuda.PinnedMemoryPointer(memory, 0), np.uint8, count=n)
        array[:] = 0
        return array, int(memory.ptr)  # unified addressing: one address for both

    def upload(self, to: int, source: NDArray[Any]) -> None:
        self.copy(to, contiguous(source).ctypes.data, source.nbytes)

    def download(self, to: NDArray[Any], source: int) -> None:
        self.copy(contiguous(to).ctypes.data, source, to.nbytes)

    def copy(self, to: int, source: int, n: int) -> None:
        self._rt.memcpyAsync(to, source, n, _ANY_DIRECTION, self.stream)

    def zero(self, to: int, n: int) -> None:
        self._rt.memsetAsync(to, 0, n, self.stream)

    def launch(
        self, kernel: str, blocks: int, threads: int, shared: int, arguments: tuple[Argument, ...]
    ) -> None:
        self._functions[kernel](
            (blocks,), (threads,), arguments, shared_mem=shared, stream=self._stream
        )

    def synchronize(self) -> None:
        self._stream.synchronize()

    def capture(self, work: Callable[[], None]) -> Graph:
        stream = self._stream
        with stream:
            stream.begin_capture()
            try:
                work()
            except BaseException:
                stream.end_capture()
                raise
            return _CupyGraph(stream.end_capture(), stream)

    def close(self) -> None:
        self.synchronize()
        self._hosts.clear()


class _CupyGraph:
    def __init__(self, graph: Any, stream: Any) -> None:
        self._graph, self._stream = graph, stream

    def launch(self) -> None:
        self._graph.launch(self._stream)


def open_device(image: Callable[[tuple[int, int]], Path]) -> CupyDriver:
    return CupyDriver(import_module("cupy"), image)
