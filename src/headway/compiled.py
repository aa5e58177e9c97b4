"""Our compiled modules; beside each stands Python that does the same. `Impl`: which computes."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

from headway.errors import Missing

Impl = Literal["auto", "cpp", "python"]
Computed = Literal["cpp", "python"]  # what "auto" came to on this machine
_BUILD = "by `make`, or `pip install -e .`"


def choose(impl: Impl, name: str, version: int | str, what: str) -> Any:
    """The compiled module `name` where C++ computes, None where Python does: "auto" is C++ where
    the module is there.

    Raises Missing for "cpp" where it is not. A module that is there is never passed over in
    silence: "auto", too, raises Missing for one whose `VERSION` is not `version`, a build of other
    sources, and for one that does not load. `what` it is, in words."""
    if impl == "python":
        return None
    try:
        module = import_module(name)
    except ModuleNotFoundError:
        if impl == "auto":
            return None
        raise Missing(
            f"wanted {what}, found no {name}: build it with a C++17 compiler {_BUILD}, or ask for "
            "'auto', which then computes in Python"
        ) from None
    except ImportError as e:
        raise Missing(
            f"wanted {what}, found a {name} that does not load: rebuild it {_BUILD} ({e})"
        ) from None
    found = getattr(module, "VERSION", "none")
    if found != version:
        raise Missing(
            f"wanted {what} of version {version!s:.12}, found {found!s:.12}: it was built from "
            f"other sources, rebuild it {_BUILD}"
        )
    return module
