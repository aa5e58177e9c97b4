"""What a backend of `headway.edge.engines.backends` offers that is one of the TensorRT libraries:
they differ in their name alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headway.bundle.onnx_file import OnnxFile
from headway.edge.engines.engine import Engine, TensorSpec
from headway.edge.engines.options import EngineOptions
from headway.edge.engines.trt import api, backend


class Kind:
    """The library `name`: "tensorrt" or "tensorrt_rtx"."""

    def __init__(self, name: str) -> None:
        self._name = name

    def missing(self) -> str:
        """Why it cannot run here; "" where it can."""
        return api.missing(self._name)

    def build(
        self,
        path: Path,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        options: EngineOptions,
        watch: backend.Watch,
    ) -> backend.Made:
        """Build the engine of the model at `path`. See `backend.make`."""
        library = backend.Library.here(self._name)
        return backend.make(library, path, inputs, outputs, options, watch)

    def open_engine(
        self,
        model: OnnxFile,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        options: EngineOptions,
    ) -> Engine:
        """The engine that was built of `model`. See `backend.open_built`."""
        library = backend.Library.here(self._name)
        return backend.open_built(library, model.path, inputs, outputs, options)
