"""ONNX models as files: simplified, without the exporter's notes, with weights beside the file
where it would become too large for one."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx

from headway.errors import BundleError, Missing
from headway.export.onnx import bare

# Protocol buffers end at 2 GiB; nodes and shapes need some room beside the weights.
EXTERNAL_ABOVE = 1_900_000_000
DATA = ".data"  # suffix of the file with the weights


def read(path: Path) -> onnx.ModelProto:
    """The model at `path`, with its external data. Raises BundleError."""
    try:
        return onnx.load(str(path))
    except Exception as e:  # onnx and protobuf have no common base class of errors
        raise BundleError(
            f"wanted an ONNX model at {path}, found none that can be read: {e}"
        ) from None


def weights(model: onnx.ModelProto) -> int:
    """The size of its weights [bytes]."""
    return sum(len(i.raw_data) or i.ByteSize() for i in model.graph.initializer)


def write(model: onnx.ModelProto, path: Path, external_above: int = EXTERNAL_ABOVE) -> list[Path]:
    """Write `model` to `path`; its weights beside it, where they have more than `external_above`
    bytes. Returns the files, the model first."""
    if weights(model) <= external_above:
        path.write_bytes(bare(model.SerializeToString()))
        return [path]
    data = path.with_name(path.name + DATA)
    data.unlink(missing_ok=True)  # onnx would append to it
    onnx.save_model(
        model, str(path), save_as_external_data=True, all_tensors_to_one_file=True,
        location=data.name, size_threshold=1024,
    )  # fmt: skip
    return [path, data]


def opset(model: onnx.ModelProto) -> int:
    """The version of the operators that `model` uses."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with constants computed and nodes without effect left out. Raises Missing without
    the package onnxslim, BundleError where the result is no valid model."""
    try:
        import onnxslim
    except ImportError:
        raise Missing("simplifying wants onnxslim: pip install 'headway[export]'") from None
    log = logging.getLogger("onnxslim")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        made = onnxslim.slim(model)
    finally:
        log.setLevel(level)
    if made is None:
        raise BundleError("wanted a simplified model, found that onnxslim gave none: use --no-slim")
    return made


def summary(model: onnx.ModelProto) -> str:
    """Nodes, opset and size of the weights, for people."""
    return f"{len(model.graph.node)} nodes, opset {opset(model)}, {weights(model) / 1e6:.1f} MB"
