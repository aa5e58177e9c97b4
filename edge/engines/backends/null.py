"""An engine that computes nothing: all outputs are zero. It serves to measure a loop without the
time of its model, and as the shortest complete example of a backend."""

from __future__ import annotations

from collections.abc import Mapping

from headway.bundle.onnx_file import OnnxFile
from headway.edge.engines.engine import Buffers, Engine, TensorSpec
from headway.errors import SpecMismatch

RANK = None  # never chosen by "auto"


def missing() -> str:
    """Always "": this backend needs nothing else."""
    return ""


def open_engine(
    model: OnnxFile, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> Engine:
    """An engine with the `inputs` and `outputs` of the bundle; the file of `model` is not read.
    Raises SpecMismatch where one of them is empty."""
    if not inputs or not outputs:
        raise SpecMismatch(
            f"the null engine wants the inputs and outputs of {model.path}, found none"
        )
    return NullEngine(inputs, outputs, str(model.path))


class NullEngine(Buffers):
    """An `Engine` whose `run` sets all outputs to zero."""

    kind = "null"
    device = "none"

    def run(self) -> None:
        for name in self.outputs:
            self._arrays[name].fill(0)

    def close(self) -> None:
        pass
