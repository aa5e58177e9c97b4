"""A PRO head of the shipped one's size that nobody trained, made with `onnx` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headway import bundle
from headway.bundle import Manifest, Pro, Provenance, Tensor
from headway.edge.pro.operator import OUTPUTS
from headway.errors import Missing
from headway.kernels import spec

_HIDDEN = 64


def untrained_head(path: Path, seed: int = 0) -> bundle.Bundle:
    """A GRU-64 step (Cho et al. 2014) as ONNX, weights drawn from `seed`. Raises Missing."""
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise Missing("wanted onnx to make a head, found none: pip install onnx") from None
    n, m, d = spec.N_FEATURES, spec.N_MASKS, _HIDDEN
    rng = np.random.default_rng(seed)
    weights = {"embed": (n + m, d), "wi": (d, 3 * d), "wh": (d, 3 * d), "out": (d, 5)}
    drawn: dict[str, Any] = {
        k: rng.normal(0, 0.1, s).astype(np.float32) for k, s in weights.items()
    }
    drawn |= {"one": np.ones((1, 1), np.float32), "low": np.float32(-6.0), "high": np.float32(6.0)}
    node = helper.make_node
    split: dict[str, Any] = {"axis": 1, "num_outputs": 3}
    nodes: list[Any] = [
        node("Clip", ["features", "low", "high"], ["clipped"]),
        node("Concat", ["clipped", "mask"], ["x0"], axis=1),
        node("MatMul", ["x0", "embed"], ["x1"]),
        node("Relu", ["x1"], ["x"]),
        node("MatMul", ["x", "wi"], ["gi"]),
        node("MatMul", ["h", "wh"], ["gh"]),
        node("Split", ["gi"], ["ir", "iz", "in"], **split),
        node("Split", ["gh"], ["hr", "hz", "hn"], **split),
        node("Add", ["ir", "hr"], ["r0"]),
        node("Sigmoid", ["r0"], ["r"]),
        node("Add", ["iz", "hz"], ["z0"]),
        node("Sigmoid", ["z0"], ["z"]),
        node("Mul", ["r", "hn"], ["rh"]),
        node("Add", ["in", "rh"], ["n0"]),
        node("Tanh", ["n0"], ["new"]),
        node("Sub", ["one", "z"], ["keep"]),
        node("Mul", ["keep", "new"], ["a"]),
        node("Mul", ["z", "h"], ["b"]),
        node("Add", ["a", "b"], ["h_out"]),
        node("MatMul", ["h_out", "out"], ["y0"]),
        node("Sigmoid", ["y0"], ["y"]),
        node("Split", ["y"], list(OUTPUTS), axis=1, num_outputs=len(OUTPUTS)),
    ]
    inputs = tuple(
        Tensor(name=k, shape=(1, s)) for k, s in (("features", n), ("mask", m), ("h", d))
    )
    outputs = (*(Tensor(name=k, shape=(1, 1)) for k in OUTPUTS), Tensor(name="h_out", shape=(1, d)))

    def values(tensors: tuple[Tensor, ...]) -> list[Any]:
        return [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in tensors]

    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in drawn.items()]
    graph = helper.make_graph(nodes, "head", values(inputs), values(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    manifest = Manifest(
        kind="pro", name="untrained", onnx="pro.onnx", inputs=inputs, outputs=outputs,
        provenance=Provenance(command="make bench", seed=seed, data="none", date="2026-01-01"),
        pro=Pro(spec_hash=spec.spec_hash(), rate_hz=50.0, hidden=d, masks=spec.MASKS),
    )  # fmt: skip
    return bundle.save(path, manifest, {"pro.onnx": bytes(model.SerializeToString())})
