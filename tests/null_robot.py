"""Tiny bundles made with `onnx` alone, and the configuration of a robot that is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from headway import bundle
from headway.__main__ import main
from headway.actions import ActionSpace
from headway.bundle import Image, Manifest, Policy, Pro, Provenance, StateInput, Tensor
from headway.edge.pro.operator import OUTPUTS
from headway.instructions import VocabularySpec
from headway.kernels import spec

HORIZON = 6
STATE = ("tcp.x", "tcp.z", "gripper.width", "wrench.fz")
TCP = ("x", "y", "z", "rx", "ry", "rz", "grip")


def tcp_actions(chunk: int = HORIZON, dt_s: float = 0.1, **changes: Any) -> ActionSpace:
    """Motion relative to the TCP at the chunk's start, and grip, as the shipped policy has it."""
    return ActionSpace(**{"names": TCP, "chunk": chunk, "dt_s": dt_s, **changes})


SENTENCES = tuple(f"put the {c} item in the tote" for c in ("red", "green", "blue", "yellow"))
# A test asks nothing of the operating system that the process would keep.
NO_REALTIME = dict.fromkeys(
    ("fifo", "pin", "lock_memory", "keep_memory", "no_huge_pages", "no_idle_states"), False
) | {"switch_interval_s": 0.0}
_FROM = Provenance(command="make test", seed=0, data="none", date="2026-01-01")


def onnx_model(
    nodes: list[Any],
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    constants: dict[str, Any],
) -> bytes:
    """Serialised graph; `constants` by name."""
    onnx = pytest.importorskip("onnx", reason="the tiny bundles are made with onnx")
    kinds = {"float32": 1, "uint8": 2, "uint16": 4, "int64": 7}
    h = onnx.helper
    graph = h.make_graph(
        nodes,
        "tiny",
        [h.make_tensor_value_info(t.name, kinds[t.dtype], t.shape) for t in inputs],
        [h.make_tensor_value_info(t.name, kinds[t.dtype], t.shape) for t in outputs],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def make_policy(
    path: Path,
    actions: Any = None,
    size: int = 16,
    policy: dict[str, Any] | None = None,
    tensors: dict[str, dict[str, Any]] | None = None,
) -> Path:
    """A policy of one camera that always says `actions` (HORIZON, 7), by default: slowly down.
    `policy` and `tensors` (by name) replace fields of the manifest."""
    import onnx.helper as h

    if actions is None:
        actions = np.zeros((HORIZON, 7), np.float32)
        actions[:, 2] = 0.004 * np.arange(1, HORIZON + 1)
    inputs = (
        Tensor(name="rgb", shape=(1, size, size, 3), dtype="uint8"),
        Tensor(name="state", shape=(1, len(STATE))),
        Tensor(name="instruction", shape=(1,), dtype="int64"),
    )
    outputs = (Tensor(name="actions", shape=(1, HORIZON, 7)),)
    # Plus nothing times the state: the output depends on an input, as a checker would want it.
    nodes = [
        h.make_node("ReduceMean", ["state"], ["mean"], keepdims=0),
        h.make_node("Mul", ["mean", "nothing"], ["zero"]),
        h.make_node("Add", ["constant", "zero"], ["actions"]),
    ]
    constants = {"nothing": np.float32(0.0), "constant": np.float32(actions)[None]}
    model = onnx_model(nodes, inputs, outputs, constants)
    inputs, outputs = (
        tuple(structs.replace(t, **(tensors or {}).get(t.name, {})) for t in some)
        for some in (inputs, outputs)
    )
    info = Policy(
        actions=tcp_actions(), rate_hz=10.0,
        images=(Image(camera="wrist", input="rgb", height=size, width=size),),
        state=(StateInput(input="state", names=STATE),),
        instruction=VocabularySpec(texts=SENTENCES),
    )  # fmt: skip
    manifest = Manifest(
        kind="policy", name="tiny", onnx="p.onnx", inputs=inputs, outputs=outputs, provenance=_FROM,
        policy=structs.replace(info, **(policy or {})),
    )  # fmt: skip
    return bundle.save(path, manifest, {"p.onnx": model}).path


def make_pro(
    path: Path,
    *,
    spec_hash: str = "",
    rate_hz: float = 50.0,
    tasks: tuple[str, ...] = ("pick_place", "open_ended"),
) -> Path:
    """A head whose state counts its steps up and whose signals move with the features."""
    import onnx.helper as h

    hidden = 4
    inputs = (
        Tensor(name="features", shape=(1, len(spec.NAMES))),
        Tensor(name="mask", shape=(1, len(spec.MASKS))),
        Tensor(name="h", shape=(1, hidden)),
    )
    outputs = (
        *(Tensor(name=n, shape=(1, 1)) for n in OUTPUTS),
        Tensor(name="h_out", shape=(1, hidden)),
    )
    nodes = [
        h.make_node("Add", ["h", "one"], ["h_out"]),
        h.make_node("ReduceMean", ["features"], ["level"], axes=[1], keepdims=1),
        h.make_node("Sigmoid", ["level"], ["risk"]),
        h.make_node("ReduceMean", ["mask"], ["completion"], axes=[1], keepdims=1),
        h.make_node("ReduceMean", ["h_out"], ["steps"], axes=[1], keepdims=1),
        h.make_node("Div", ["steps", "many"], ["progress"]),
        h.make_node("Sub", ["many", "steps"], ["time_to_go"]),
        h.make_node("Sub", ["whole", "risk"], ["stability"]),
    ]
    constants = {
        "one": np.ones((1, hidden), np.float32),
        "many": np.full((1, 1), 1000.0, np.float32),
        "whole": np.ones((1, 1), np.float32),
    }
    manifest = Manifest(
        kind="pro", name="tiny pro", onnx="p.onnx", inputs=inputs, outputs=outputs,
        provenance=_FROM,
        pro=Pro(
            spec_hash=spec_hash or spec.spec_hash(), rate_hz=rate_hz, hidden=hidden,
            masks=spec.MASKS, gamma=0.99, risk_weight=0.1, tasks=tasks,
        ),
    )  # fmt: skip
    model = onnx_model(nodes, inputs, outputs, constants)
    return bundle.save(path, manifest, {"p.onnx": model}).path


def null_table(**changes: Any) -> dict[str, Any]:
    """A run configuration of null devices: 500 Hz, one small camera, 1.3 s."""
    table: dict[str, Any] = {
        "instruction": SENTENCES[0],
        "arm": {"kind": "null"},
        "ft": {"kind": "null"},
        "gripper": {"kind": "null"},
        "camera": [{"kind": "null", "name": "wrist", "width": 16, "height": 16}],
        "task": {"kind": "open_ended", "limit_s": 1.3},
        "loop": {"tare_s": 0.02, "fault_after_s": 0.2},
        "guard": {
            "workspace_min": [-1.0, -1.0, 0.0],
            "workspace_max": [1.0, 1.0, 1.2],
            "force_max": 80.0,
            "torque_max": 15.0,
        },
    }
    if "cell" in changes:  # whose scene says what is asked for
        del table["instruction"]
    return {**table, **changes}


# The places of the simulated cell's scene, for the task that it asks for.
PICK_PLACE: dict[str, Any] = {
    "kind": "pick_place",
    "limit_s": 1.3,
    "source": {"centre": [0.45, -0.17], "half": [0.15, 0.13]},
    "target": {"centre": [0.45, 0.20], "half": [0.11, 0.11]},
}


def toml(value):
    """A TOML inline value; enough for a configuration."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def run(path, out, *args):
    return main(["run", "--config", str(path), "--out", str(out), *map(str, args)])
