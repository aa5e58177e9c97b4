"""A model whose mapping file uses every key, and TOML files from tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from null_robot import onnx_model, toml

from headway.bundle import Tensor


def written(path: Path, table: dict[str, Any]) -> Path:
    path.write_text("".join(f"{k} = {toml(v)}\n" for k, v in table.items()))
    return path


def everything(folder: Path) -> Path:
    """A model and a mapping that uses every key."""
    import onnx.helper as h

    inputs = (
        Tensor(name="rgb", shape=(1, 2, 3, 2, 2)),
        Tensor(name="obs", shape=(1, 2, 2)),
        Tensor(name="last", shape=(1, 1)),
        Tensor(name="tokens", shape=(1, 6), dtype="int64"),
        Tensor(name="mask", shape=(1, 6), dtype="int64"),
        Tensor(name="types", shape=(1, 6), dtype="int64"),
    )
    outputs = (Tensor(name="act", shape=(1, 2)), Tensor(name="value", shape=(1, 1)))
    nodes = [
        h.make_node("ReduceSum", ["obs", "axis"], ["act"], keepdims=0),
        h.make_node("Identity", ["last"], ["value"]),
    ]
    (folder / "m.onnx").write_bytes(
        onnx_model(nodes, inputs, outputs, {"axis": np.array([1], np.int64)})
    )
    mapping = {
        "name": "all", "rate_hz": 10.0, "output": "act", "ignored_outputs": ["value"],
        "stride_s": 0.1, "origin": {"source": "nowhere", "licence": "MIT"}, "files": ["e.onnx"],
        "actions": {
            "names": ["a", "-"], "space": "joint", "mode": "absolute", "chunk": 1, "dt_s": 0.1,
        },
        "images": [
            {
                "camera": "wrist", "input": "rgb", "height": 2, "width": 2, "fit": "crop",
                "filter": "area", "order": "bgr", "layout": "chw", "scale": 0.5, "mean": [1.0],
                "std": [2.0], "steps": 2,
            }
        ],
        "state": [
            {"input": "obs", "names": ["q.a", "elapsed"], "steps": 2},
            {
                "input": "last", "names": ["action.a"], "units": [""], "scale": [2.0],
                "offset": [1.0],
            },
        ],
        "instruction": {
            "kind": "tokens", "tokenizer": "ends.json", "length": 6, "mask_input": "mask",
            "types_input": "types", "pad_id": 0, "truncate": True,
        },
        "tensors": {"act": {"shape": [1, 2], "low": [0.0], "high": [1.0], "between": [0.0, 1.0]}},
    }  # fmt: skip
    written(folder / "map.toml", mapping)
    return folder / "m.onnx"
