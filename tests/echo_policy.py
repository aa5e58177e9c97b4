"""A policy that answers with what its graph was given, and what to give it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from null_robot import SENTENCES, STATE, onnx_model, tcp_actions

from headway import bundle
from headway.bundle import Image, Manifest, Policy, Provenance, StateInput, Tensor
from headway.edge.policy.kinds.bundle import BundlePolicy, open_policy
from headway.instructions import VocabularySpec
from headway.types import Frame, Observation, Pose

DOWN = Pose(np.array([0.4, -0.1, 0.3]), np.array([0.0, 1.0, 0.0, 0.0]))  # tool down
GIVEN = [0.4, 0.3, 0.05, -2.0]


def observation(state: Any = None, size: int = 16, **changes: Any) -> Observation:
    rgb = np.arange(size * size * 3, dtype=np.uint8).reshape(size, size, 3)
    depth = np.arange(size * size, dtype=np.uint16).reshape(size, size)
    state = np.array(GIVEN, np.float32) if state is None else state
    frame = Frame(rgb, depth, np.eye(3))
    seen = Observation(7, {"wrist": frame}, state, SENTENCES[1], np.zeros(6), DOWN)
    return structs.replace(seen, **changes)


def infer(path: Path, obs: Observation | None = None) -> Any:
    policy = open_policy(str(path))
    return policy.infer(obs or observation())


class Echo:
    """A bundle whose graph answers with what it was given: of the state as `x`, `y`, ..., or of
    one pixel of the images."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(
        self,
        tensors: dict[str, dict[str, Any]] | None = None,
        policy: dict[str, Any] | None = None,
        *,
        floats: bool = False,
        extra: tuple[Tensor, ...] = (),
        outputs: tuple[str, ...] = ("actions",),
        without: tuple[str, ...] = (),
    ) -> Path:
        """`tensors` and `policy` change the manifest; `floats`: images are float32."""
        import onnx.helper as h

        image = "float32" if floats else "uint8"
        depth = "float32" if floats else "uint16"
        inputs = (
            Tensor(name="rgb", shape=(1, 2, 2, 3), dtype=image),
            Tensor(name="depth", shape=(1, 2, 2), dtype=depth),
            Tensor(name="state", shape=(1, len(STATE))),
            Tensor(name="instruction", shape=(1,), dtype="int64"),
            *extra,
        )
        nodes = [
            h.make_node("Cast", ["rgb"], ["rgbf"], to=1),
            h.make_node("Cast", ["depth"], ["depthf"], to=1),
            h.make_node("Cast", ["instruction"], ["which"], to=1),
            h.make_node("Reshape", ["rgbf", "line"], ["rgbs"]),
            h.make_node("Reshape", ["depthf", "line"], ["depths"]),
            h.make_node("Reshape", ["which", "line"], ["whichs"]),
            h.make_node("Concat", ["state", "whichs", "rgbs", "depths"], ["all"], axis=1),
            h.make_node("Slice", ["all", "begin", "end", "axis"], ["row"]),
            h.make_node("Reshape", ["row", "shape"], ["actions"]),
            *(h.make_node("Identity", ["actions"], [name]) for name in outputs[1:]),
        ]
        constants = {
            "line": np.array([1, -1], np.int64),
            "begin": np.array([0], np.int64),
            "end": np.array([2 * 7], np.int64),
            "axis": np.array([1], np.int64),
            "shape": np.array([1, 2, 7], np.int64),
        }
        answers = tuple(Tensor(name=name, shape=(1, 2, 7)) for name in outputs)
        model = onnx_model(nodes, inputs, answers, constants)
        info = Policy(
            actions=tcp_actions(2), rate_hz=10.0, ignored_outputs=outputs[1:],
            state=(StateInput(input="state", names=STATE),),
            instruction=VocabularySpec(texts=SENTENCES),
            images=(
                Image(camera="wrist", input="rgb", height=2, width=2),
                Image(camera="wrist", input="depth", height=2, width=2, encoding="depth_mm"),
            ),
        )  # fmt: skip
        manifest = Manifest(
            kind="policy",
            name="echo",
            onnx="p.onnx",
            inputs=inputs,
            outputs=answers,
            provenance=Provenance(command="make test", seed=0, data="none", date="2026-01-01"),
            policy=info,
        )
        bundle.save(self.path, manifest, {"p.onnx": model})
        self.edit(tensors or {}, policy or {}, without)
        return self.path

    def edit(
        self, tensors: dict[str, dict[str, Any]], policy: dict[str, Any], without: tuple[str, ...]
    ) -> None:
        """Change bundle.json as its author would, by hand."""
        file = self.path / bundle.MANIFEST
        data = json.loads(file.read_text())
        data["inputs"] = [t for t in data["inputs"] if t["name"] not in without]
        for tensor in (*data["inputs"], *data["outputs"]):
            tensor |= tensors.get(tensor["name"], {})
        for key, value in policy.items():
            if key == "actions" and isinstance(value, dict):
                data["policy"]["actions"] |= value
            elif key == "state_names":
                data["policy"]["state"] = [{"input": "state", "names": list(value)}]
            else:
                data["policy"][key] = value
        file.write_text(json.dumps(data))

    def seen(self, *args: Any, obs: Observation | None = None, **kwargs: Any) -> Any:
        """What the graph of `make(...)` was given of `obs`, in the order state, instruction, rgb;
        14 numbers."""
        policy = open_policy(str(self.make(*args, **kwargs)))
        return policy.infer(obs or observation(size=2)).actions.ravel()


class Named:
    """An engine that only has buffers, of a manifest's tensors: one that has a model would refuse
    another manifest first."""

    kind, device = "buffers", "cpu"

    def __init__(self, made: bundle.Bundle) -> None:
        tensors = (*made.manifest.inputs, *made.manifest.outputs)
        self.arrays = {t.name: np.zeros(t.shape, t.dtype) for t in tensors}

    def bind(self, name: str) -> Any:
        return self.arrays[name]

    def run(self) -> None:
        """Answers nothing but zeros."""


def opened(path: Path) -> BundlePolicy:
    made = bundle.load(path)
    return BundlePolicy(made, Named(made))  # type: ignore[arg-type]
