"""A tiny PRO head as a bundle, for the tests: a leaky sum of the features, no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from headway import bundle
from headway.bundle import Bundle
from headway.kernels import spec

HIDDEN = 8
NAMES = ("progress", "stability", "completion", "risk", "time_to_go")


def make_head(
    path: Path, *, seed: int = 0, rate_hz: float = 50.0, name: str = "tiny", **pro: Any
) -> Bundle:
    """h_out = tanh(W [features / 100, mask, h]); each output reads one unit of it. `pro` are fields
    of `headway.bundle.Pro`."""
    n = spec.N_FEATURES + spec.N_MASKS + HIDDEN
    w = np.random.default_rng(seed).normal(0, 0.3, (n, HIDDEN)).astype(np.float32)
    w[: spec.N_FEATURES] /= 100.0
    constants = {"w": w}
    constants |= {f"u{i}": np.eye(HIDDEN, dtype=np.float32)[:, i : i + 1] for i in range(5)}
    nodes = [
        helper.make_node("Concat", ["features", "mask", "h"], ["x"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Tanh", ["y"], ["h_out"]),
    ]
    for i, out in enumerate(NAMES):
        nodes += [
            helper.make_node("MatMul", ["h_out", f"u{i}"], [f"z{i}"]),
            helper.make_node("Sigmoid", [f"z{i}"], [out]),
        ]
    shapes = {"features": spec.N_FEATURES, "mask": spec.N_MASKS, "h": HIDDEN, "h_out": HIDDEN}
    shapes |= dict.fromkeys(NAMES, 1)

    def tensor(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, shapes[name]])

    outputs = (*NAMES, "h_out")
    used = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(
        nodes,
        "head",
        [tensor(i) for i in ("features", "mask", "h")],
        [tensor(o) for o in outputs],
        used,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    inputs = ("features", "mask", "h")
    manifest = bundle.Manifest(
        kind="pro",
        name=name,
        onnx="pro.onnx",
        inputs=tuple(bundle.Tensor(name=i, shape=(1, shapes[i])) for i in inputs),
        outputs=tuple(bundle.Tensor(name=o, shape=(1, shapes[o])) for o in outputs),
        provenance=bundle.Provenance(command="tests", seed=seed, data="nothing", date="2026-01-01"),
        pro=bundle.Pro(
            spec_hash=spec.spec_hash(), rate_hz=rate_hz, hidden=HIDDEN, masks=spec.MASKS,
            risk_weight=0.1, stability_weight=0.05, **pro,
        ),
    )  # fmt: skip
    return bundle.save(path, manifest, {"pro.onnx": model.SerializeToString()})
