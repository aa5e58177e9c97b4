"""A policy that makes its chunks from noise, and a critic of it, of a usual size and with weights
that nobody trained: made with `onnx` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headway import bundle
from headway.actions import ActionSpace
from headway.bundle import Critic, Image, Manifest, Noise, Policy, Provenance, StateInput, Tensor
from headway.errors import Missing

SIZE = 96  # of the image [px]
NAMES = ("x", "y", "z", "rx", "ry", "rz", "grip")
CHUNK, COLUMNS = 6, len(NAMES)
LATENT = CHUNK * COLUMNS
STATE = ("tcp.x", "tcp.y", "tcp.z", "gripper.width", "wrench.fz", *(f"phase.{k}" for k in range(8)))
EYES = (32, 64, 128, 128)  # channels after each convolution, which halves the image
CODE = EYES[-1] + len(STATE)
HIDDEN = 256  # of the head, in three layers
STEPS = 8  # of Euler, from noise to a chunk
JUDGES, JUDGE_HIDDEN = 3, 128  # networks of the critic
_MADE = Provenance(command="make bench", seed=0, data="none", date="2026-01-01")


class _Graph:
    """Collects the nodes and weights of a model. Raises Missing without `onnx`."""

    def __init__(self) -> None:
        try:
            from onnx import TensorProto, helper, numpy_helper
        except ImportError:
            raise Missing("wanted onnx to make a policy, found none: pip install onnx") from None
        self._helper, self._from_array = helper, numpy_helper.from_array
        self._kinds = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._rng = np.random.default_rng(0)

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(self._helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        self._constants.append(self._from_array(np.asarray(value), name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """Drawn so that the sizes of numbers stay as they are."""
        spread = 1.0 / np.sqrt(np.prod(shape[1:] if len(shape) > 2 else shape[:1]))
        return self.constant(name, self._rng.normal(0.0, spread, shape).astype(np.float32))

    def layer(self, x: str, name: str, inside: int, out: int, act: str = "Relu") -> str:
        made = self.add("MatMul", [x, self.weight(f"{name}.w", inside, out)], f"{name}.y")
        return self.add(act, [made], name)

    def model(
        self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], rows: tuple[str, ...]
    ) -> bytes:
        """Serialised; the first dimension of the tensors `rows` is open."""

        def info(t: Tensor) -> Any:
            shape = ["n", *t.shape[1:]] if t.name in rows else t.shape
            return self._helper.make_tensor_value_info(t.name, self._kinds[t.dtype], shape)

        graph = self._helper.make_graph(
            self._nodes, "flow", [info(t) for t in inputs], [info(t) for t in outputs],
            self._constants,
        )  # fmt: skip
        opset = [self._helper.make_opsetid("", 18)]
        made = self._helper.make_model(graph, opset_imports=opset, ir_version=9)
        return bytes(made.SerializeToString())


def flow_policy(path: Path) -> Path:
    """A bundle in the folder `path`: convolutions over an image, once, and then a flow of STEPS
    steps over every row of the noise. Raises Missing."""
    g = _Graph()
    inputs = (
        Tensor(name="rgb", shape=(1, SIZE, SIZE, 3), dtype="uint8"),
        Tensor(name="state", shape=(1, len(STATE))),
        Tensor(name="noise", shape=(1, LATENT)),
    )
    outputs = (
        Tensor(name="actions", shape=(1, CHUNK, COLUMNS)),
        Tensor(name="code", shape=(1, CODE)),
        Tensor(name="latent", shape=(1, LATENT)),
    )
    g.add("Cast", ["rgb"], "pixels", to=1)
    g.add("Mul", ["pixels", g.constant("scale", np.float32(1 / 255))], "scaled")
    x, channels = g.add("Transpose", ["scaled"], "image", perm=[0, 3, 1, 2]), 3
    for k, out in enumerate(EYES):
        weight = g.weight(f"eye{k}.w", out, channels, 3, 3)
        g.add("Conv", [x, weight], f"eye{k}.y", strides=[2, 2], pads=[1, 1, 1, 1])
        x, channels = g.add("Relu", [f"eye{k}.y"], f"eye{k}"), out
    g.add("GlobalAveragePool", [x], "pooled")
    g.add("Flatten", ["pooled"], "eyes")
    g.add("Concat", ["eyes", "state"], "code", axis=1)
    seen = g.add("MatMul", ["code", g.weight("seen.w", CODE, HIDDEN)], "seen")  # once for all rows
    weights = [
        g.weight("head0.w", LATENT, HIDDEN), g.weight("head1.w", HIDDEN, HIDDEN),
        g.weight("head2.w", HIDDEN, HIDDEN), g.weight("head3.w", HIDDEN, LATENT),
    ]  # fmt: skip
    step, x = g.constant("step", np.float32(1.0 / STEPS)), "noise"
    for k in range(STEPS):
        g.add("MatMul", [x, weights[0]], f"a{k}")
        g.add("Add", [f"a{k}", seen], f"b{k}")
        when = g.constant(f"t{k}", np.full((1, HIDDEN), k / STEPS, np.float32))
        g.add("Add", [f"b{k}", when], f"c{k}")
        g.add("Relu", [f"c{k}"], f"d{k}")
        g.add("MatMul", [f"d{k}", weights[1]], f"e{k}")
        g.add("Relu", [f"e{k}"], f"f{k}")
        g.add("MatMul", [f"f{k}", weights[2]], f"g{k}")
        g.add("Relu", [f"g{k}"], f"h{k}")
        g.add("MatMul", [f"h{k}", weights[3]], f"v{k}")
        g.add("Mul", [f"v{k}", step], f"dx{k}")
        x = g.add("Add", [x, f"dx{k}"], "latent" if k == STEPS - 1 else f"x{k}")
    g.constant("rows", np.array([-1, CHUNK, COLUMNS], np.int64))
    g.add("Mul", ["latent", g.constant("metres", np.float32(1e-3))], "moved")
    g.add("Reshape", ["moved", "rows"], "actions")
    model = g.model(inputs, outputs, ("noise", "latent", "actions"))
    manifest = Manifest(
        kind="policy", name="untrained flow", onnx="policy.onnx", inputs=inputs, outputs=outputs,
        provenance=_MADE,
        policy=Policy(
            actions=ActionSpace(names=NAMES, chunk=CHUNK, dt_s=0.1),
            rate_hz=5.0,
            images=(Image(camera="wrist", input="rgb", height=SIZE, width=SIZE),),
            state=(StateInput(input="state", names=STATE),),
            noise=Noise(eyes="untrained"),
        ),
    )  # fmt: skip
    return bundle.save(path, manifest, {"policy.onnx": model}).path


def flow_critic(path: Path) -> Path:
    """A bundle in the folder `path`: the mean of JUDGES networks minus half of their standard
    deviation, for the policy above. Raises Missing."""
    g = _Graph()
    inputs = (Tensor(name="code", shape=(1, CODE)), Tensor(name="latent", shape=(1, LATENT)))
    outputs = (Tensor(name="score", shape=(1,)),)
    scores = []
    for k in range(JUDGES):
        g.add("MatMul", ["code", g.weight(f"seen{k}.w", CODE, JUDGE_HIDDEN)], f"seen{k}")
        g.add("MatMul", ["latent", g.weight(f"chunk{k}.w", LATENT, JUDGE_HIDDEN)], f"chunk{k}")
        g.add("Add", [f"seen{k}", f"chunk{k}"], f"a{k}")
        g.add("Relu", [f"a{k}"], f"b{k}")
        hidden = g.layer(f"b{k}", f"layer{k}", JUDGE_HIDDEN, JUDGE_HIDDEN)
        scores.append(g.layer(hidden, f"score{k}", JUDGE_HIDDEN, 1, act="Identity"))
    g.add("Concat", scores, "all", axis=1)
    g.constant("axis", np.array([1], np.int64))
    g.add("ReduceMean", ["all", "axis"], "mean")
    g.add("Sub", ["all", "mean"], "off")
    g.add("Mul", ["off", "off"], "squares")
    g.add("ReduceMean", ["squares", "axis"], "variance")
    g.add("Sqrt", ["variance"], "spread")
    g.add("Mul", ["spread", g.constant("half", np.float32(0.5))], "doubt")
    g.add("Sub", ["mean", "doubt"], "column")
    g.add("Squeeze", ["column", "axis"], "score")
    model = g.model(inputs, outputs, ("latent", "score"))
    manifest = Manifest(
        kind="critic", name="untrained critic", onnx="critic.onnx", inputs=inputs, outputs=outputs,
        provenance=_MADE, critic=Critic(eyes="untrained", policy="untrained flow"),
    )  # fmt: skip
    return bundle.save(path, manifest, {"critic.onnx": model}).path
