"""Headway: an edge package for learned robot manipulation.

Importing `headway` is cheap: it loads none of torch, mujoco or onnxruntime. The rooms
(`headway.edge`, `headway.drivers`, `headway.kernels`, `headway.learn`, ...) are imported by name.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("headway")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"
