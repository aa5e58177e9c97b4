"""Import MuJoCo with an off-screen renderer: EGL, else OSMesa, else raise Missing, which says what
to install. The choice must be made before MuJoCo is imported. An environment variable MUJOCO_GL set
by the user takes precedence."""

from __future__ import annotations

import ctypes
import os
from importlib import import_module
from typing import Any

from headway.errors import Missing

# For each renderer the groups of libraries, of which it needs one per group, and the Debian
# packages that have them. Besides EGL, PyOpenGL loads a library with the OpenGL functions.
_CANDIDATES = {
    "egl": (
        (("libEGL.so.1",), ("libOpenGL.so.0", "libGL.so.1")),
        "libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0",
    ),
    "osmesa": ((("libOSMesa.so.8",),), "libosmesa6"),
}


def backend() -> str | None:
    """The renderer to use, a value of MUJOCO_GL; None when no library for one is installed."""
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
    """The class of MuJoCo's GL contexts for the chosen renderer. It is imported by name, because
    MuJoCo chooses its own at its first import, which may have happened before MUJOCO_GL was set.
    Raises Missing when there is no renderer."""
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
    """The module `mujoco`, with MUJOCO_GL set to a renderer if there is one. Raises Missing when
    MuJoCo is not installed; with `rendering`, also when there is no renderer."""
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
    except (ImportError, RuntimeError) as e:  # RuntimeError: MUJOCO_GL has an unknown value
        raise Missing(
            f"the simulated cell wants mujoco: pip install 'headway[sim]' ({e})"
        ) from None
    return mujoco
