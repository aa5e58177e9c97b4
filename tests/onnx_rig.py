"""Small ONNX models that may be wrong, and how they are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.bundle.onnx_file import check
from headway.edge.engines.engine import open_engine
from headway.errors import BundleError

onnx = pytest.importorskip("onnx", reason="the models are made with it")
h = onnx.helper
F, I64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def model(nodes: list[Any] | None = None, constants: tuple[Any, ...] = (), **changes: Any) -> Any:
    """y = x + w, of four floats, unless other nodes are given."""
    graph = h.make_graph(
        nodes or [h.make_node("Add", ["x", "w"], ["y"], name="sum")],
        "tiny",
        [h.make_tensor_value_info("x", F, [1, 4])],
        [h.make_tensor_value_info("y", F, changes.pop("y", [1, 4]))],
        [onnx.numpy_helper.from_array(np.ones((1, 4), np.float32), "w"), *constants],
    )
    opsets = [h.make_opsetid("", 17), h.make_opsetid("own", 1)]
    return h.make_model(graph, opset_imports=opsets, ir_version=8, **changes)


def written(folder: Path, made: Any) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


def refused(folder: Path, made: Any, message: str) -> None:
    """With the message, also where an engine is opened."""
    path = written(folder, made)
    with pytest.raises(BundleError, match=re.escape(message)):
        check(path)
    with pytest.raises(BundleError, match=re.escape(message)):
        open_engine("ort", path)
