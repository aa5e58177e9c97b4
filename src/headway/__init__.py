"""Headway: an edge package for learned robot manipulation.

Importing `headway` is cheap: it loads none of torch, mujoco or onnxruntime. The rooms
(`headway.edge`, `headway.drivers`, `headway.kernels`, `headway.learn`, ...) are imported by name.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """`__version__`, looked up when it is asked for: that takes longer than all else here, and
        Ctrl-C is answered only after this import."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("headway")
        except PackageNotFoundError:  # running from a source tree that was never installed
            return "0+unknown"
