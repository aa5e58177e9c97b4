"""Whether an engine that was built for a deep-learning accelerator (DLA) uses it.

TensorRT runs on the GPU what the DLA cannot, and says nothing. The engine inspector knows where
each layer is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from headway.edge.engines.options import EngineOptions
from headway.errors import BundleError

# What is between the two processors: changes of format and copies, which the GPU does.
_BETWEEN = ("reformat", "copy", "shuffle", "noop", "constant")


@dataclass(frozen=True, slots=True)
class Layers:
    """Names of the layers on the DLA and on the GPU; what only hands data over is in neither."""

    dla: tuple[str, ...]
    gpu: tuple[str, ...]


def layers(lines: Iterable[str]) -> Layers:
    """Where each layer is, by what the inspector says of it: an object of JSON per layer. Raises
    BundleError for layers that it says nothing about."""
    on_dla, on_gpu = [], []
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict) or "LayerType" not in told:
            raise BundleError(
                f"wanted to know where an engine's layers are, found no LayerType in {line!r}: "
                "build it with this Headway"
            )
        layer, name = str(told["LayerType"]), str(told.get("Name", "?"))
        if "dla" in layer.lower():
            on_dla.append(name)
        elif not any(word in layer.lower() for word in _BETWEEN):
            on_gpu.append(name)
    return Layers(tuple(on_dla), tuple(on_gpu))


def check(trt: Any, engine: Any, options: EngineOptions, where: str) -> str:
    """Say in words what runs on the DLA. Raises BundleError where nothing does, or where something
    runs on the GPU although it may not."""
    inspector = engine.create_engine_inspector()
    form = trt.LayerInformationFormat.JSON
    found = layers(inspector.get_layer_information(i, form) for i in range(engine.num_layers))
    if not found.dla:
        raise BundleError(
            f"wanted the engine of {where} on DLA core {options.dla}, found all of its "
            f"{len(found.gpu)} layers on the GPU: leave `dla` out, or export a model that the DLA "
            "can run"
        )
    if found.gpu and not options.dla_fallback:
        raise BundleError(
            f"wanted the engine of {where} on DLA core {options.dla}, found {len(found.gpu)} of "
            f"its layers on the GPU ({', '.join(found.gpu[:5])}): allow that with --dla-fallback"
        )
    return f"{len(found.dla)} layers on DLA core {options.dla}, {len(found.gpu)} on the GPU"
