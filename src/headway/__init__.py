"""Headway: an edge package for learned robot manipulation.

Importing `headway` is quick: it loads none of torch, mujoco or onnxruntime. The packages in it
(`headway.edge`, `headway.drivers`, `headway.kernels`, `headway.learn`, ...) are imported by name.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """Look `__version__` up when it is first used. The look-up is slow, and Ctrl-C is handled
        only once this import has ended."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("headway")
        except PackageNotFoundError:  # running from a source tree that was never installed
            return "0+unknown"
