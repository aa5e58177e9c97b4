"""Where the compiled kernels are: shipped with the wheel, or compiled on this machine and kept."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from headway.errors import Missing
from headway.kernels.cuda import build


def image(capability: tuple[int, int]) -> Path:
    """A fatbin or cubin of the sources here, compiled when there is none. Raises Missing when there
    is no nvcc, or when that fails."""
    if path := _find(capability):
        return path
    arch = capability[0] * 10 + capability[1]
    try:
        return build.compile_to(_mine(arch), (arch,), "cubin")
    except FileNotFoundError:
        raise Missing(
            f"wanted the CUDA kernels {_name()}, found none in {build.HERE} and no nvcc to compile "
            "them: install the CUDA toolkit, or a wheel that was built where it is"
        ) from None
    except (RuntimeError, OSError) as e:
        raise Missing(
            f"wanted to compile the CUDA kernels for sm_{arch}, found: {e}: try another toolkit"
        ) from None


def _name() -> str:
    return f"features-{build.digest()}"


def _mine(arch: int) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "headway" / "cuda" / f"sm_{arch}"


def _find(capability: tuple[int, int]) -> Path | None:
    shipped = Path(sysconfig.get_path("platlib")) / "headway" / "kernels" / "cuda"
    mine = _mine(capability[0] * 10 + capability[1])
    places = [(mine, "cubin")]
    if 10 * capability[0] + capability[1] >= build.ARCHITECTURES[0]:  # what its PTX serves
        places += [(build.HERE, "fatbin"), (shipped, "fatbin")]
    for folder, kind in places:
        if (path := folder / f"{_name()}.{kind}").is_file():
            return path
    return None
