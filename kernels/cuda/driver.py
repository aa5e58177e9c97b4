"""The thin interface to CUDA that the features need, and the search for who provides it here.

pycuda first, then cuda-bindings: each uses the device's primary context, which it shares with
TensorRT, and one stream of its own. `host.py` runs the same kernels on the CPU, for tests.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.errors import DeviceError, HeadwayError, Missing

BYTES = NDArray[np.uint8]
# module of this package -> import that it takes, what to install
PROVIDERS = {
    "with_pycuda": ("pycuda", "pycuda"),
    "with_bindings": ("cuda.bindings", "cuda-bindings"),
}


# Where the compiled kernels for a compute capability are; None in its place: no kernels.
Image: TypeAlias = "Callable[[tuple[int, int]], Path]"
Argument: TypeAlias = "np.uint64 | np.int32"  # a pointer, a number


class Graph(Protocol):
    """Work recorded once; `launch` puts it on the driver's stream. `close` frees it, when none of
    its launches is under way any more; idempotent."""

    def launch(self) -> None: ...
    def close(self) -> None: ...


class Driver(Protocol):
    """One device, its primary context, one stream. All calls but `alloc`, `pinned`, `free`, `unpin`
    and `synchronize` only enqueue. Raises DeviceError with CUDA's own words.

    It is opened, allocates and is closed in one thread; others may do the rest after `enter`.

    `provider` is whose binding it is, `integrated` whether host memory is the device's own,
    `shared` the most shared memory a block may have [B]. `stream` is the CUstream as an integer.
    """

    provider: str
    device: str
    capability: tuple[int, int]
    processors: int
    shared: int
    integrated: bool
    stream: int

    def enter(self) -> None:
        """Let this thread use the device: a context is current in a thread, not in a process. Next
        to nothing in the thread that opened it."""
        ...

    def alloc(self, n: int) -> int: ...
    def free(self, pointer: int) -> None: ...
    def pinned(self, n: int) -> tuple[BYTES, int]:
        """Page-locked host memory, and where the device sees it; freed by `unpin` or `close`."""
        ...

    def unpin(self, memory: BYTES) -> None:
        """Free what `pinned` gave. Nobody may have a view of it any more: it may be gone."""

    def upload(self, to: int, source: NDArray[Any]) -> None: ...
    def download(self, to: NDArray[Any], source: int) -> None: ...
    def copy(self, to: int, source: int, n: int) -> None: ...
    def zero(self, to: int, n: int) -> None: ...
    def launch(
        self, kernel: str, blocks: int, threads: int, shared: int, arguments: tuple[Argument, ...]
    ) -> None: ...
    def synchronize(self) -> None: ...
    def capture(self, work: Callable[[], None]) -> Graph:
        """Record what `work` enqueues instead of running it. Raises Missing where the provider has
        no graphs."""
        ...

    def close(self) -> None: ...


def devices() -> int:
    """How many CUDA devices there are, without any package. Raises Missing when there are none:
    several packages crash instead."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise Missing(
            "wanted a CUDA device, found no driver (libcuda.so.1): on a machine with an NVIDIA GPU "
            "install its driver, else choose what runs on the CPU (features: cpp, numpy; engine: "
            "ort)"
        ) from None
    count = ctypes.c_int(0)
    code = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if code or count.value < 1:
        raise Missing(
            f"wanted a CUDA device, found a driver and no device (status {code}, {count.value} "
            "devices): see nvidia-smi, or choose what runs on the CPU (features: cpp, numpy; "
            "engine: ort)"
        )
    return count.value


def missing() -> str:
    """Why features cannot run on CUDA here, "" where they can; cheap where there is no driver."""
    try:
        devices()
        provider()
    except Missing as e:
        return str(e)
    return ""


def provider() -> str:
    """The first of PROVIDERS that is installed. Raises Missing."""
    for module, (package, _) in PROVIDERS.items():
        if _installed(package):
            return module
    wanted = ", ".join(name for _, name in PROVIDERS.values())
    raise Missing(f"wanted a Python binding of CUDA, found none of {wanted}: pip install one")


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:  # `cuda`, the parent of `cuda.bindings`
        return False


def open_driver(image: Image | None, name: str | None = None) -> Driver:
    """Open device 0 and load the kernels; `image(capability)` says which file; None: without
    kernels, for memory, copies and graphs of others' work. Raises Missing, DeviceError."""
    devices()
    chosen = name or provider()
    try:
        opened: Driver = import_module(f"headway.kernels.cuda.{chosen}").open_device(image)
    except HeadwayError:
        raise
    except Exception as e:  # each binding has exceptions of its own
        raise failed(f"opening the device by {PROVIDERS[chosen][1]}", repr(e)) from e
    return opened


def captured(driver: Driver, work: Callable[[], None]) -> Graph | None:
    """The graph of `work`, which has run before. None where there can be none, and launches one by
    one do the same: the provider has no graphs, as pycuda alone, or TensorRT does what no capture
    permits, as for loops and conditions in a network. A broken device shows in the next launch."""
    try:
        return driver.capture(work)
    except HeadwayError:
        return None


def make_current(context: int) -> None:
    """Make the CUcontext with that handle current in this thread."""
    code = ctypes.CDLL("libcuda.so.1").cuCtxSetCurrent(ctypes.c_void_p(context))
    if code:
        raise failed("making a context current", code)


def unloadable(kernels: Path, found: object) -> Missing:
    """The error for compiled kernels that the device's driver does not take."""
    return Missing(
        f"wanted CUDA kernels that load here, found {kernels}, to which CUDA answered {found}: a "
        "driver takes none from a newer toolkit than its own CUDA (nvidia-smi says which that is): "
        "update the driver, or delete the file and let an older nvcc compile them"
    )


def failed(what: str, found: object) -> DeviceError:
    return DeviceError(f"{what}: CUDA answered {found}: see `headway doctor` and nvidia-smi")


def contiguous(a: NDArray[Any]) -> NDArray[Any]:
    if not a.flags.c_contiguous:
        raise ValueError("wanted a contiguous array, found strides")
    return a
