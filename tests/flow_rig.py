"""Tiny policies that make their chunks from noise, critics of them, and text encoders that refuse:
made with `onnx` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as h
from msgspec import structs
from null_robot import HORIZON, STATE, tcp_actions
from onnx import numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from headway import bundle
from headway.bundle import Critic, Image, Manifest, Noise, Policy, Provenance, StateInput, Tensor
from headway.instructions import EmbeddingSpec, TokensSpec

SIZE = 16  # of its images [px]
LATENT = HORIZON * 5
EYES = "the eyes of the tests"
FROM = Provenance(command="make test", seed=0, data="none", date="2026-01-01")
# The words that its text encoder knows: what each means, and the probability that it is refused.
WORDS = {"[UNK]": (0.0, 0.0), "up": (1.0, 0.0), "down": (0.0, 1.0), "sing": (0.0, 0.0)}
REFUSAL = {"[UNK]": 0.9, "up": 0.1, "down": 0.2, "sing": 0.97}
SPEED = 0.002  # by which a chunk goes up or down at each row [m]
_KINDS = {"float32": 1, "uint8": 2, "int64": 7}


def graph(
    nodes: list[Any],
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    constants: dict[str, Any],
    rows: tuple[str, ...] = (),
) -> bytes:
    """Serialised; the first dimension of the tensors `rows` is left open."""

    def info(t: Tensor) -> Any:
        shape = ["n", *t.shape[1:]] if t.name in rows else t.shape
        return h.make_tensor_value_info(t.name, _KINDS[t.dtype], shape)

    made = h.make_graph(
        nodes, "tiny", [info(t) for t in inputs], [info(t) for t in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    model = h.make_model(made, opset_imports=[h.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def actions_of(latent: Any, text: str = "down") -> Any:
    """What the policy below answers for `latent` (n, LATENT): (n, HORIZON, 7)."""
    rows = np.zeros((len(latent), HORIZON, 7), np.float32)
    rows[..., [0, 1, 2, 5, 6]] = np.asarray(latent).reshape(-1, HORIZON, 5)
    rows[..., :6] *= 1e-4
    rows[..., 2] += SPEED * np.arange(1, HORIZON + 1) * (WORDS[text][0] - WORDS[text][1])
    return rows


def flow_policy(
    path: Path,
    *,
    texts: bool = False,
    noise: dict[str, Any] | None = None,
    several: bool = True,
    policy: dict[str, Any] | None = None,
) -> Path:
    """A policy with the latent `noise + mean(state)`, whose code is the state and the text, and
    whose chunks jitter on their way down (or up, where it takes `texts`). `several`: whether it
    makes several chunks at a time. `noise` and `policy` change the sections of the manifest."""
    inputs = (
        Tensor(name="rgb", shape=(1, SIZE, SIZE, 3), dtype="uint8"),
        Tensor(name="state", shape=(1, len(STATE))),
        Tensor(name="noise", shape=(1, LATENT)),
        Tensor(name="instruction", shape=(1, 2)),
    )
    code = len(STATE) + 2
    outputs = (
        Tensor(name="actions", shape=(1, HORIZON, 7)),
        Tensor(name="code", shape=(1, code)),
        Tensor(name="latent", shape=(1, LATENT)),
    )
    spread = np.zeros((LATENT, HORIZON, 7), np.float32)
    for row in range(HORIZON):
        for k, column in enumerate((0, 1, 2, 5, 6)):
            spread[5 * row + k, row, column] = 1.0 if column == 6 else 1e-4
    way = np.zeros((1, HORIZON, 7), np.float32)
    way[..., 2] = SPEED * np.arange(1, HORIZON + 1)
    nodes = [
        h.make_node("Concat", ["state", "instruction"], ["code"], axis=1),
        h.make_node("ReduceMean", ["state"], ["mean"], keepdims=1),
        h.make_node("Add", ["noise", "mean"], ["latent"]),
        h.make_node("MatMul", ["latent", "spread"], ["flat"]),
        h.make_node("Reshape", ["flat", "shape"], ["jitter"]),
        h.make_node("MatMul", ["instruction", "sign"], ["up"]),
        h.make_node("Mul", ["way", "up"], ["moved"]),
        h.make_node("Add", ["jitter", "moved"], ["actions"]),
    ]
    constants = {
        "spread": spread.reshape(LATENT, -1),
        "shape": np.array([-1, HORIZON, 7], np.int64),
        "sign": np.array([[1.0], [-1.0]], np.float32),
        "way": way,
    }
    if not texts:
        inputs = inputs[:-1]
        constants["instruction"] = np.array([WORDS["down"]], np.float32)
    rows = ("noise", "actions", "latent") if several else ()
    files: dict[str, bytes | Path] = {"p.onnx": graph(nodes, inputs, outputs, constants, rows)}
    instruction = None
    if texts:
        files |= {"text.onnx": text_encoder(), "tokenizer.json": tokenizer()}
        instruction = embedding()
    info = Policy(
        actions=tcp_actions(), rate_hz=10.0, instruction=instruction,
        images=(Image(camera="wrist", input="rgb", height=SIZE, width=SIZE),),
        state=(StateInput(input="state", names=STATE),),
        noise=structs.replace(Noise(eyes=EYES), **(noise or {})),
    )  # fmt: skip
    manifest = Manifest(
        kind="policy", name="flow", onnx="p.onnx", inputs=inputs, outputs=outputs, provenance=FROM,
        policy=structs.replace(info, **(policy or {})),
    )  # fmt: skip
    return bundle.save(path, manifest, files).path


def embedding(**changes: Any) -> EmbeddingSpec:
    """Of one word, which the encoder below may refuse."""
    text = TokensSpec(tokenizer="tokenizer.json", length=1, pad_id=0, input="ids")
    keys = {"encoder": "text.onnx", "output": "embedding", "refused": "refused", "text": text}
    return EmbeddingSpec(**{**keys, **changes})


def tokenizer() -> bytes:
    """That splits a text into WORDS at blanks."""
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return bytes(made.to_str().encode())


def text_encoder(odds: dict[str, float] | None = None) -> bytes:
    """The `embedding` (1, 2) of one of WORDS, and the probability `refused` (1, 1) that it is
    nothing which the policy can carry out."""
    nodes = [
        h.make_node("Gather", ["words", "ids"], ["each"]),
        h.make_node("ReduceSum", ["each", "tokens"], ["embedding"], keepdims=0),
        h.make_node("Gather", ["odds", "ids"], ["refused"]),
    ]
    constants = {
        "words": np.array(list(WORDS.values()), np.float32),
        "tokens": np.array([1], np.int64),
        "odds": np.array(list((odds or REFUSAL).values()), np.float32),
    }
    return graph(
        nodes, (Tensor(name="ids", shape=(1, 1), dtype="int64"),),
        (Tensor(name="embedding", shape=(1, 2)), Tensor(name="refused", shape=(1, 1))), constants,
    )  # fmt: skip


def flow_critic(
    path: Path,
    *,
    critic: dict[str, Any] | None = None,
    code: int = len(STATE) + 2,
    latent: int = LATENT,
    factor: float = 1.0,
) -> Path:
    """A critic with the score `factor * (latent[0] + code[0])`."""
    inputs = (Tensor(name="code", shape=(1, code)), Tensor(name="latent", shape=(1, latent)))
    outputs = (Tensor(name="score", shape=(1,)),)
    nodes = [
        h.make_node("Gather", ["latent", "first"], ["chunk"], axis=1),
        h.make_node("Gather", ["code", "first"], ["seen"], axis=1),
        h.make_node("Add", ["chunk", "seen"], ["sum"]),
        h.make_node("Mul", ["sum", "factor"], ["score"]),
    ]
    constants = {"first": np.array(0, np.int64), "factor": np.array(factor, np.float32)}
    manifest = Manifest(
        kind="critic", name="judge", onnx="c.onnx", inputs=inputs, outputs=outputs, provenance=FROM,
        critic=structs.replace(Critic(eyes=EYES, policy="flow"), **(critic or {})),
    )  # fmt: skip
    model = graph(nodes, inputs, outputs, constants, ("latent", "score"))
    return bundle.save(path, manifest, {"c.onnx": model}).path
