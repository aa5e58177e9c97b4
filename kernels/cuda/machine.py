"""What compiled code depends on of the computer: the GPU, its driver, the release of JetPack."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

from headway.errors import Missing
from headway.kernels.cuda.driver import devices

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True, slots=True)
class Machine:
    """`sm`: compute capability of the first device, such as "87"; `gpu`: its name; `driver`: its
    driver and the CUDA that this speaks; `jetpack`: the release of L4T. "" where there is none."""

    sm: str = ""
    gpu: str = ""
    driver: str = ""
    jetpack: str = ""


def machine(root: Path = Path("/")) -> Machine:
    """This computer. `root` is where its files are."""
    jetpack = _l4t(_read(root / "etc/nv_tegra_release"))
    try:
        devices()
    except Missing:
        return Machine(jetpack=jetpack)
    cuda = ctypes.CDLL("libcuda.so.1")
    speaks, device, number = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    name = ctypes.create_string_buffer(256)
    cuda.cuDriverGetVersion(ctypes.byref(speaks))
    cuda.cuDeviceGet(ctypes.byref(device), 0)
    cuda.cuDeviceGetName(name, 256, device)
    sm = ""
    for attribute in (_MAJOR, _MINOR):
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        sm += str(number.value)
    release = _release(_read(root / "proc/driver/nvidia/version"))
    said = f"CUDA {speaks.value // 1000}.{speaks.value % 1000 // 10}"
    return Machine(sm, name.value.decode(), f"{release} {said}".strip(), jetpack)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _l4t(text: str) -> str:
    """ "# R36 (release), REVISION: 4.3, GCID: ..." -> "L4T R36.4.3"."""
    first = text.partition("\n")[0].replace(",", " ").split()
    if "REVISION:" not in first[:-1]:
        return ""
    return f"L4T {first[1]}.{first[first.index('REVISION:') + 1]}"


def _release(text: str) -> str:
    """The version of the kernel module, from /proc/driver/nvidia/version."""
    words = text.partition("\n")[0].split()
    numbers = [w for w in words if w[0].isdigit() and "." in w]
    return f"driver {numbers[0]}" if numbers else ""
