"""Export a policy that draws its chunks from noise, with its text encoder, as a bundle."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from headway import bundle
from headway.actions import ActionSpace
from headway.bundle import Image, Manifest, Noise, Policy, Provenance, StateInput
from headway.export.onnx import check, export, with_weights
from headway.instructions import EmbeddingSpec, TokensSpec

MODEL, ENCODER, TOKENIZER = "policy.onnx", "text.onnx", "tokenizer.json"
# Where about as many of the commands are refused as other sentences are taken, when both are put in
# ways that were left out of the training.
REFUSE_ABOVE = 0.8
_OUTPUTS = ("actions", "code", "latent")
# Sharp attention on the noise images of the check magnifies what rounding differs by.
_TOLERANCE = 1e-3
_COUNTS = (1, 4)  # numbers of candidates for which the exported model is checked


class TextNet(Protocol):
    """A module that takes ids and mask (1, length) int64, and returns the embedding (1, e) and the
    probability (1,) that the text is refused."""

    def example(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask of a text for which that probability is computed and not a rule's."""

    def eval(self) -> torch.nn.Module:
        """As that of every module."""


class FlowNet(Protocol):
    """What is exported: a module whose `forward` takes images (1, size, size, 3) uint8, depth
    (1, size, size) uint16 [mm], the numbers `state_names` (1, s), the embedding of the instruction
    and n noises, and returns n chunks, the code and n latents. `text` is its text encoder."""

    state_names: tuple[str, ...]

    @property
    def text(self) -> TextNet:
        """The text encoder."""

    @property
    def shapes(self) -> tuple[int, int, int, int]:
        """Pixels of the square image, words of a text, and the lengths of embedding and noise."""

    def eyes_hash(self) -> str:
        """A fingerprint of everything but the head."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """As that of every module."""

    def eval(self) -> torch.nn.Module:
        """As that of every module."""


def save_flow_policy(
    net: FlowNet,
    tokenizer: str,
    out: Path,
    *,
    actions: ActionSpace,
    seed: int,
    metrics: dict[str, float],
    data: str,
    command: str,
    rate_hz: float = 5.0,
    like: Path | None = None,
) -> Path:
    """Write the policy `net` as a bundle into the folder `out`, and return its path.

    `tokenizer` is the content of the tokenizer's file, `actions` says what the rows of a chunk
    mean, `rate_hz` how often the policy is asked; `seed`, `metrics`, `data` and `command` go into
    the provenance. `like` is a bundle of a policy that differs in the head's weights alone: its
    graph, text encoder and tokenizer are used again, which is quicker. Prints the largest
    difference between PyTorch and ONNX Runtime. Raises BundleError where they differ."""
    module = net.eval()
    first = dict(_samples(net, 2))
    old = None if like is None else bundle.load(like)
    if old is not None and old.manifest.eyes == net.eyes_hash():
        model = with_weights(old.onnx.read_bytes(), module, first, _OUTPUTS, _TOLERANCE)
        ins, outs = old.manifest.inputs, old.manifest.outputs
        encoder = (old.path / ENCODER).read_bytes()
        tokenizer = (old.path / TOKENIZER).read_text(encoding="utf-8")
    else:
        model, ins, outs = export(module, first, _OUTPUTS, several=("noise",), tolerance=_TOLERANCE)
        encoder = encoder_onnx(net.text)
    largest = max(
        check(model, module, dict(_samples(net, n)), _OUTPUTS, _TOLERANCE) for n in _COUNTS
    )
    print(f"{MODEL}: ONNX Runtime differs from PyTorch by at most {largest:.1e} (N = 1 and 4)")
    size, length, _, _ = net.shapes
    manifest = Manifest(
        kind="policy",
        name=out.name,
        onnx=MODEL,
        inputs=ins,
        outputs=outs,
        provenance=Provenance(
            command=" ".join([command, *sys.argv[1:]]), seed=seed, data=data,
            date=datetime.date.today().isoformat(), metrics=metrics,
        ),
        policy=Policy(
            actions=actions,
            rate_hz=rate_hz,
            images=(
                Image(camera="wrist", input="wrist_rgb", height=size, width=size),
                Image(
                    camera="wrist", input="wrist_depth", height=size, width=size,
                    encoding="depth_mm",
                ),
            ),
            state=(StateInput(input="state", names=net.state_names),),
            instruction=EmbeddingSpec(
                encoder=ENCODER, output="embedding", refused="refused", refuse_above=REFUSE_ABOVE,
                text=TokensSpec(
                    tokenizer=TOKENIZER, length=length, mask_input="mask", special=False, pad_id=0
                ),
            ),
            noise=Noise(eyes=net.eyes_hash()),
        ),
    )  # fmt: skip
    files: dict[str, bytes | Path] = {
        MODEL: model, ENCODER: encoder, TOKENIZER: tokenizer.encode(),
    }  # fmt: skip
    return bundle.save(out, manifest, files).path


def encoder_onnx(text: TextNet) -> bytes:
    """The text encoder `text` as an ONNX model, checked with a text of arbitrary words and with its
    `example`. Raises BundleError where ONNX Runtime and PyTorch differ."""
    ids, mask = text.example()
    length = ids.shape[1]
    inputs = {
        "tokens": torch.arange(length).unsqueeze(0) % 7,
        "mask": (torch.arange(length) < length // 2).to(torch.int64).unsqueeze(0),
    }
    outputs, module = ("embedding", "refused"), text.eval()
    made = export(module, inputs, outputs)[0]
    check(made, module, {"tokens": ids, "mask": mask}, outputs)
    return made


def _samples(net: FlowNet, candidates: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Inputs of the policy's model by name, in the order of the arguments of `forward`."""
    size, _, embedding, noise = net.shapes
    rng = np.random.default_rng(candidates)
    yield "wrist_rgb", torch.from_numpy(rng.integers(0, 255, (1, size, size, 3), np.uint8))
    depth = rng.integers(50, 600, (1, size, size)).astype(np.uint16)
    yield "wrist_depth", torch.from_numpy(depth)
    state = rng.normal(0, 0.1, (1, len(net.state_names))).astype(np.float32)
    yield "state", torch.from_numpy(state)
    for name, rows, columns in (("instruction", 1, embedding), ("noise", candidates, noise)):
        yield name, torch.from_numpy(rng.normal(0, 1, (rows, columns)).astype(np.float32))
