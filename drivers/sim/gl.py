"""Choose MuJoCo's off-screen renderer before MuJoCo is imported: EGL, else OSMesa, else say what to
install. A user's own MUJOCO_GL wins."""

from __future__ import annotations

import ctypes
import os
from importlib import import_module
from typing import Any

from headway.errors import Missing

# Of each renderer, the libraries that it needs, any one of each group, and Debian's packages of
# them. Besides EGL, PyOpenGL loads the library of the OpenGL functions themselves.
_CANDIDATES = {
    "egl": (
        (("libEGL.so.1",), ("libOpenGL.so.0", "libGL.so.1")),
        "libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0",
    ),
    "osmesa": ((("libOSMesa.so.8",),), "libosmesa6"),
}


def backend() -> str | None:
    """The renderer to use, or None where no library for one is installed."""
    chosen = os.environ.get("MUJOCO_GL")
    if chosen:
        return chosen
    for name, (groups, _) in _CANDIDATES.items():
        if all(any(map(_loads, libraries)) for libraries in groups):
            return name
    return None


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def context_class() -> Any:
    """MuJoCo's GL context of the chosen renderer. Asked for by name: MuJoCo itself would decide at
    its first import, which somebody else may have done without looking. Raises Missing."""
    import_mujoco(rendering=True)
    chosen = os.environ["MUJOCO_GL"]
    try:
        return import_module(f"mujoco.{chosen}").GLContext
    except (ImportError, AttributeError, OSError) as e:
        raise Missing(
            f"the simulated camera wants a renderer, found MUJOCO_GL={chosen}, which gives none "
            f"({e}): unset it, or choose {', '.join(_CANDIDATES)}"
        ) from None


def import_mujoco(*, rendering: bool = False) -> Any:
    """The `mujoco` module, set up to render off screen. Raises Missing."""
    found = backend()
    if found is not None:
        os.environ.setdefault("MUJOCO_GL", found)
    elif rendering:
        packages = " or ".join(f"`{packages}`" for _, packages in _CANDIDATES.values())
        raise Missing(
            "the simulated camera wants EGL or OSMesa, found neither library: install one, "
            f"on Debian and Ubuntu `apt-get install` of {packages}"
        )
    try:
        import mujoco
    except (ImportError, RuntimeError) as e:  # RuntimeError: a MUJOCO_GL that it does not know
        raise Missing(
            f"the simulated cell wants mujoco: pip install 'headway[sim]' ({e})"
        ) from None
    return mujoco
