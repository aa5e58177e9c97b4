"""Int8 in chosen layers: Q/DQ nodes around them, with ranges that were seen on a CPU.

Activations are symmetric per tensor and weights symmetric per channel, which is what TensorRT
takes. ONNX Runtime's quantizer writes the nodes; the ranges are taken once for all of its runs.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from headway.edge.engines.onnx_runtime import onnxruntime, quantization
from headway.errors import BundleError, Missing
from headway.export import graph
from headway.export.precision.plan import Part
from headway.export.precision.quiet import quiet
from headway.export.samples import Sample

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # that int8 makes faster


def layers(model: onnx.ModelProto) -> list[Part]:
    """What of `model` can be int8: the products with constant weights. Nodes that multiply with the
    same weight, such as those of a head that works in steps, are one part, or the weight would be
    there in both precisions. Every node needs a name, see `named`."""
    sizes = {i.name: int(np.prod(i.dims)) for i in model.graph.initializer}
    found: dict[str, list[str]] = {}
    for n in model.graph.node:
        if n.op_type in LAYERS and len(n.input) > 1 and n.input[1] in sizes:
            found.setdefault(n.input[1], []).append(n.name)
    return [Part(weight, tuple(nodes), sizes[weight]) for weight, nodes in found.items()]


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with a name of its own for each node."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    taken: set[str] = set()
    for k, node in enumerate(made.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{k}"
        taken.add(node.name)
    return made


def missing() -> str:
    """Why ONNX Runtime's quantizer cannot work here; "" where it can: old ones want a part of onnx
    that new ones do not have."""
    ort = onnxruntime().__version__
    if hasattr(onnx, "mapping") or tuple(int(n) for n in ort.split(".")[:2]) >= (1, 20):
        return ""
    return (
        f"int8 beside onnx {onnx.__version__} wants onnxruntime 1.20 or newer, found {ort}: "
        "pip install -U onnxruntime"
    )


class Calibrated:
    """The `model`, with the ranges that its activations have over `samples`. Raises Missing as
    `missing` says."""

    def __init__(self, model: onnx.ModelProto, samples: Sequence[Sample]) -> None:
        if why := missing():
            raise Missing(why)
        ort = quantization()
        reader: Any = ort.CalibrationDataReader
        self.model = named(model)
        self._quantizer, self._int8 = ort.qdq_quantizer.QDQQuantizer, ort.QuantType.QInt8

        class Reader(reader):
            def __init__(self) -> None:
                self._left = iter(samples)

            def get_next(self) -> dict[str, NDArray[Any]] | None:
                return next(self._left, None)

        with tempfile.TemporaryDirectory() as folder, quiet():
            files = graph.write(self.model, Path(folder) / "model.onnx")
            wide = Path(folder) / "augmented.onnx"
            calibrater = ort.calibrate.MinMaxCalibrater(
                str(files[0]), list(LAYERS), augmented_model_path=str(wide), symmetric=True
            )
            calibrater.augment_graph()
            calibrater.create_inference_session()
            calibrater.collect_data(Reader())
            self._ranges = calibrater.compute_data()
            del calibrater

    def quantised(self, parts: Iterable[Part]) -> onnx.ModelProto:
        """The model with the layers `parts` in int8. Raises BundleError where that fails."""
        chosen = [node for part in parts for node in part.nodes]
        if not chosen:
            return self.model
        with quiet():
            try:
                quantizer = self._quantizer(
                    copy.deepcopy(self.model),
                    per_channel=True, reduce_range=False, weight_qType=self._int8,
                    activation_qType=self._int8, tensors_range=self._ranges,
                    nodes_to_quantize=chosen, nodes_to_exclude=[],
                    op_types_to_quantize=list(LAYERS),
                    extra_options={
                        "ActivationSymmetric": True, "WeightSymmetric": True,
                        "AddQDQPairToWeight": False, "QuantizeBias": False,
                        "DedicatedQDQPair": False, "OpTypesToExcludeOutputQuantization": LAYERS,
                    },
                )  # fmt: skip
                quantizer.quantize_model()
                quantizer.model.topological_sort()
            except Exception as e:  # the quantizer's errors have no common base class
                raise BundleError(f"int8 of {', '.join(chosen)} failed: {e}") from None
            made: onnx.ModelProto = quantizer.model.model
        return graph.shared(made)
