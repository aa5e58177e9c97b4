"""The module `trt`: how it is found, and what its release has.

`SOME` names what exists in some of the supported releases only. Everything else that this package
uses of TensorRT is in all of them, which `tests/test_tensorrt_contract.py` checks with the Python
bindings of four releases.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headway.errors import ConfigError, Missing
from headway.kernels.cuda import driver

INSTALL = {
    "tensorrt": "on a Jetson it comes with JetPack (apt install python3-libnvinfer); elsewhere "
    "pip install 'headway[tensorrt]'",
    "tensorrt_rtx": "pip install 'headway[tensorrt-rtx]'",
}
# Class of the module ("": itself) -> names that not all supported releases have.
SOME = {
    "": ("ComputeCapability",),
    "HardwareCompatibilityLevel": ("SAME_COMPUTE_CAPABILITY",),
    "IBuilderConfig": ("num_compute_capabilities", "set_compute_capability"),
    "SerializationFlag": ("INCLUDE_REFIT",),
}


def module(name: str) -> Any:
    """The module `tensorrt` or `tensorrt_rtx`. Raises Missing, with what to install."""
    try:
        return import_module(name)
    except ImportError as e:
        raise Missing(f"wanted the module {name}, found none ({e}): {INSTALL[name]}") from None
    except Exception as e:  # its libraries may be of another release, and raise anything
        raise Missing(
            f"wanted the module {name}, found one that does not load ({type(e).__name__}: {e}): "
            f"its libraries have to be of its own release; {INSTALL[name]}"
        ) from None


def missing(name: str) -> str:
    """Why engines of the module `name` cannot run here; "" where they can."""
    if find_spec(name) is None:
        return f"no module {name}: {INSTALL[name]}"
    return driver.missing()


def probe(owner: Any, name: str, what: str) -> Any:
    """`owner.name`. Raises ConfigError where this release has no such thing, for which `what` was
    wanted."""
    found = getattr(owner, name, None)
    if found is None:
        raise ConfigError(
            f"{what} wants `{name}` of TensorRT, which this release does not have: leave that "
            "option out, or install another release"
        )
    return found


def version(trt: Any, kind: str) -> str:
    """The whole version of the bindings and, where it is loaded, of the library below: a plan needs
    the very build that made it."""
    return f"{kind} {trt.__version__}, library {library(kind) or 'unknown'}"


def library(name: str, maps: Path = Path("/proc/self/maps")) -> str:
    """Version with build number of the TensorRT library that this process has loaded, such as
    "10.3.0.30"; "" where there is none, or where it does not say."""
    file = {"tensorrt": "libnvinfer.so", "tensorrt_rtx": "libtensorrt_rtx.so"}[name]
    try:
        lines = maps.read_text().splitlines()
    except OSError:  # not Linux
        return ""
    for line in lines:
        path = line.partition("/")[1] + line.partition("/")[2]
        if Path(path).name.startswith(file):
            return _version_of(path)
    return ""


def linked(path: Path) -> str:
    """Version with build number of the TensorRT library that the library at `path` is linked to,
    as this process would load it; its name where it is not found, or does not say; "" where `path`
    is linked to none, or is no file."""
    try:
        found = re.search(rb"libnvinfer\.so(\.\d+)+", path.read_bytes())
    except OSError:
        return ""
    return _version_of(found.group().decode()) if found else ""


def _version_of(path: str) -> str:
    try:
        loaded = ctypes.CDLL(path)
        asked = [loaded[f"getInferLib{p}Version"] for p in ("Major", "Minor", "Patch", "Build")]
    except (OSError, AttributeError):
        return Path(path).resolve().name  # libnvinfer.so.10.3.0
    return ".".join(str(int(ask())) for ask in asked)


@contextmanager
def uncollected() -> Iterator[None]:
    """Python's garbage collector does not run meanwhile. TensorRT calls the logger while it holds a
    lock that the destructor of a builder wants as well. A builder that the traceback of an earlier
    error still refers to must not be collected inside such a call: it would wait for itself for
    ever."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def logger(trt: Any) -> Any:
    """A logger that keeps TensorRT's warnings and errors in `lines` instead of printing them;
    `errors` are those that are errors."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(text)
            if severity != trt.ILogger.VERBOSE and severity != trt.ILogger.INFO:
                self.lines.append(text)

    return Log()
