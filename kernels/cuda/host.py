"""A driver without a device: the kernels' own source on the CPU, thread by thread (emulate.hpp).

For tests of what is around the kernels and of their arithmetic; about a thousand times slower.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import Missing
from headway.kernels import spec
from headway.kernels.cuda.driver import BYTES, Argument, Graph, contiguous
from headway.kernels.cuda.params import PARAMS_BYTES


def module() -> Any:
    """The compiled module. Raises Missing."""
    try:
        m = import_module("headway.kernels._cuda_host")
    except ImportError as e:
        raise Missing(
            f"wanted the CUDA kernels' host build, found no headway.kernels._cuda_host ({e}): "
            "build it with a C++17 compiler by `pip install -e .`"
        ) from None
    if spec.spec_hash() != m.SPEC_HASH or m.PARAMS_BYTES != PARAMS_BYTES:
        raise Missing(
            "wanted the CUDA kernels' host build of this spec, found one of another: rebuild it by "
            "`pip install -e .`"
        )
    return m


class _Replay:
    def __init__(self, work: list[Callable[[], None]]) -> None:
        self.work = work

    def launch(self) -> None:
        for step in self.work:
            step()

    def close(self) -> None:
        self.work.clear()


class HostDriver:
    """As driver.Driver. `order`: see emulate.hpp; `launches` counts what a device would launch."""

    provider, device, capability = "host", "CPU", (9, 0)
    processors, shared, integrated, stream = 2, 227 * 1024, False, 0

    def __init__(self, order: int = 0) -> None:
        self._module, self.order, self.launches = module(), order, 0
        self._memory: dict[int, NDArray[np.uint8]] = {}
        self._recorded: list[Callable[[], None]] | None = None

    def _do(self, step: Callable[[], None]) -> None:
        if self._recorded is None:
            step()
        else:
            self._recorded.append(step)

    def enter(self) -> None:
        pass

    def alloc(self, n: int) -> int:
        raw = np.full(n + 16, 0xFF, np.uint8)  # as good as never written: every float is NaN
        at = int(raw.ctypes.data + 15) // 16 * 16
        self._memory[at] = raw
        return at

    def free(self, pointer: int) -> None:
        self._memory.pop(pointer)

    def pinned(self, n: int) -> tuple[BYTES, int]:
        at = self.alloc(n)
        raw = self._memory[at]
        first = at - raw.ctypes.data
        return raw[first : first + n], at

    def unpin(self, memory: BYTES) -> None:
        self.free(int(memory.ctypes.data))

    def upload(self, to: int, source: NDArray[Any]) -> None:
        self.copy(to, contiguous(source).ctypes.data, source.nbytes)

    def download(self, to: NDArray[Any], source: int) -> None:
        self.copy(contiguous(to).ctypes.data, source, to.nbytes)

    def copy(self, to: int, source: int, n: int) -> None:
        self._do(partial(ctypes.memmove, to, source, n))  # type: ignore[arg-type]

    def zero(self, to: int, n: int) -> None:
        self._do(partial(ctypes.memset, to, 0, n))  # type: ignore[arg-type]

    def launch(
        self, kernel: str, blocks: int, threads: int, shared: int, arguments: tuple[Argument, ...]
    ) -> None:
        def step() -> None:
            self.launches += 1
            self._module.launch(kernel, blocks, threads, shared, numbers, self.order)

        numbers = [int(a) for a in arguments]
        self._do(step)

    def synchronize(self) -> None:
        pass

    def capture(self, work: Callable[[], None]) -> Graph:
        recorded = self._recorded = []
        try:
            work()
        finally:
            self._recorded = None
        return _Replay(recorded)

    def close(self) -> None:
        self._memory.clear()
