"""Bundles: a bundle is a folder with a model and its manifest `bundle.json`, which names the files.

`save` writes one and `load` checks one. `signature`, `keys` and `trust` say who made it, `store`
installs it on a robot, and `onnx_file` looks at models before anything else parses them.
"""

from headway.bundle.folder import MANIFEST, Bundle, load, save
from headway.bundle.manifest import (
    SCHEMA,
    Critic,
    File,
    Manifest,
    Noise,
    Policy,
    Pro,
    Provenance,
)
from headway.bundle.tensors import DTYPES, Image, StateInput, Tensor

__all__ = [
    "DTYPES", "MANIFEST", "SCHEMA", "Bundle", "Critic", "File", "Image", "Manifest", "Noise",
    "Policy", "Pro", "Provenance", "StateInput", "Tensor", "load", "save",
]  # fmt: skip
