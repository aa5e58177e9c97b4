"""One network out of several that see and read alike: their heads side by side, of which the
command picks one.

    python -m headway.learn.policy.join --heads pick_place=A shoebox=B returns=C --out models/joined

A, B and C are folders of policies whose heads were taught on one workflow each, by `headway learn`
or `headway study`, from the same frozen eyes and text encoder. The joined model finds the command
of any of the workflows whose embedding is nearest to that of the instruction, and draws the chunk
with the head of the workflow that it belongs to. All else is computed once, as before.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from msgspec import structs
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headway import bundle
from headway.bundle import Bundle, Noise, Policy
from headway.edge.engines.engine import open_bundle
from headway.edge.policy.instructions import open_encoder
from headway.errors import BundleError, ConfigError, SpecMismatch
from headway.export.graph import by_name, read
from headway.instructions import EmbeddingSpec
from headway.learn.files import named_folders
from headway.learn.policy.corpus import corpus_of
from headway.learn.policy.head import HEAD

_PICKED = "heads.picked"
_TOLERANCE = 1e-5  # of latents, between the joined model and the one that a head came from


@dataclass(frozen=True)
class _Part:
    """A policy that is joined with others, and what its bundle says of it."""

    made: Bundle
    policy: Policy
    instruction: EmbeddingSpec
    noise: Noise


def join(heads: Mapping[str, Path], out: Path, command: str) -> Bundle:
    """Join the policies in the folders `heads`, by the name of the workflow (whose scene has the
    same name), and write the bundle `out`, as the one that `command` makes. Raises SpecMismatch for
    policies that do not see and read alike, ConfigError for a workflow without commands, and
    BundleError where the joined model would answer other than the policy that it has the head
    from."""
    if len(heads) < 2:
        raise ConfigError(f"wanted the heads of two workflows or more, found {len(heads)}")
    parts = {name: _part(folder) for name, folder in heads.items()}
    first = next(iter(parts.values()))
    for part in parts.values():
        alike = part.made.manifest.eyes == first.made.manifest.eyes
        if not alike or part.policy.actions != first.policy.actions:
            raise SpecMismatch(
                f"wanted policies with the same eyes and actions, found others at "
                f"{part.made.path} than at {first.made.path}: a head fits the eyes that it was "
                "taught with, and no other"
            )
    known, owner = _commands(first, list(parts))
    models = [read(part.made.onnx) for part in parts.values()]
    model = _joined(models, first.instruction.input, known, owner)
    old = first.made.manifest
    files: dict[str, bytes | Path] = {
        name: model if name == old.onnx else first.made.path / name for name in old.files
    }
    policy = structs.replace(first.policy, noise=structs.replace(first.noise, eyes=old.eyes))
    data = "; ".join(f"{n}: {p.made.manifest.provenance.data}" for n, p in parts.items())
    provenance = structs.replace(
        old.provenance, date=datetime.date.today().isoformat(), metrics={}, command=command,
        data=data,
    )  # fmt: skip
    manifest = structs.replace(old, name=out.name, files={}, policy=policy, provenance=provenance)

    def accept(made: Bundle) -> None:
        _check(made, list(parts.values()), known, owner)

    return bundle.save(out, manifest, files, accept)


def _part(folder: Path) -> _Part:
    made = bundle.load(folder)
    policy = made.manifest.policy
    if policy is None or policy.noise is None or not isinstance(policy.instruction, EmbeddingSpec):
        raise SpecMismatch(
            f"wanted a policy that reads text and draws its chunks from noise, found "
            f"{made.manifest.kind} {made.manifest.name} at {folder}: name folders that "
            "`headway learn` has written"
        )
    return _Part(made, policy, policy.instruction, policy.noise)


def _commands(
    part: _Part, workflows: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The embeddings (c, e) of the plain sentences of all commands of `workflows`, and the number
    (c,) of the workflow of each."""
    encoder = open_encoder(part.instruction, part.made.path, part.made.manifest.name)
    known, owner = [], []
    for at, scene in enumerate(corpus_of(workflows).scenes):
        for command in scene.commands:
            known.append(np.array(encoder.encode(command.plain)[part.instruction.input]).ravel())
            owner.append(at)
    encoder.close()
    return np.array(known, np.float32), np.array(owner, np.int64)


def _joined(
    models: Sequence[onnx.ModelProto],
    instruction: str,
    known: NDArray[np.float32],
    owner: NDArray[np.int64],
) -> bytes:
    """The first of `models` with the heads of all, of which the input `instruction` (1, e) picks
    that of the `owner` (c,) of the nearest of the embeddings `known` (c, e)."""
    whole, graph = models[0], models[0].graph
    weights = [by_name(model) for model in models]
    names = [name for name in weights[0] if name.startswith(HEAD)]
    if not names or any(
        set(w) != set(weights[0]) or any(w[n].shape != weights[0][n].shape for n in names)
        for w in weights
    ):
        raise SpecMismatch(
            "wanted models with the same weights by name and shape, their heads' beginning with "
            f"{HEAD}, found others: join policies that were exported alike"
        )
    # Smallest |k - x|^2 over the known k is largest 2 k x - |k|^2.
    graph.initializer.extend(
        numpy_helper.from_array(value, name)
        for name, value in (
            ("heads.known", 2.0 * known.T),
            ("heads.length", -(known**2).sum(axis=1)),
            ("heads.owner", owner),
        )
    )
    pick = [
        helper.make_node("Gemm", [instruction, "heads.known", "heads.length"], ["heads.near"]),
        helper.make_node("ArgMax", ["heads.near"], ["heads.nearest"], axis=1, keepdims=0),
        helper.make_node("Gather", ["heads.owner", "heads.nearest"], ["heads.one"]),
        # Without a dimension, so that what is gathered has the shape of one head's weight.
        helper.make_node("Squeeze", ["heads.one"], [_PICKED]),
    ]
    for name in names:
        old = next(i for i in graph.initializer if i.name == name)
        graph.initializer.remove(old)
        stacked = np.stack([w[name] for w in weights])
        graph.initializer.append(numpy_helper.from_array(stacked, f"all.{name}"))
        pick.append(helper.make_node("Gather", [f"all.{name}", _PICKED], [name], axis=0))
        shape = list(stacked.shape[1:])
        graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    nodes = [*pick, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(whole)
    return bytes(whole.SerializeToString())


def _check(
    made: Bundle,
    parts: Sequence[_Part],
    known: NDArray[np.float32],
    owner: NDArray[np.int64],
) -> None:
    """Raises BundleError where `made` does not answer to the embeddings `known` what the one of
    `parts` that owns it does."""
    joined = open_bundle(made)
    engines = [open_bundle(part.made) for part in parts]
    rng = np.random.default_rng(0)
    largest = 0.0
    for embedding, at in zip(known, owner, strict=True):
        part = parts[int(at)]
        drawn = rng.standard_normal(joined.bind(part.noise.input).shape).astype(np.float32)
        answers = []
        for engine in (joined, engines[int(at)]):
            for tensor in made.manifest.inputs:
                engine.bind(tensor.name)[...] = np.zeros(tensor.shape, tensor.dtype)
            engine.bind(part.instruction.input)[...] = embedding
            engine.bind(part.noise.input)[...] = drawn
            engine.run()
            answers.append(engine.bind(part.noise.latent).copy())
        largest = max(largest, float(np.abs(answers[0] - answers[1]).max()))
    for engine in (joined, *engines):
        engine.close()
    print(f"{len(owner)} commands of {len(parts)} workflows: latents differ by {largest:.1e}")
    if not largest <= _TOLERANCE:
        raise BundleError(
            "wanted the chunks of the policies that were joined, found the joined model to differ "
            f"by up to {largest:.3g}: report this; nothing was written"
        )


def main(heads: tuple[str, ...], out: Path) -> None:
    """Join policies that were taught on one workflow each.

    Args:
        heads: the policies, each as WORKFLOW=FOLDER.
        out: folder of the new bundle.
    """
    command = " ".join(["python -m headway.learn.policy.join", *sys.argv[1:]])
    made = join(named_folders(heads, "returns=runs/learn/returns/policy"), out, command)
    print(f"wrote {made.path} ({sum(f.stat().st_size for f in made.path.iterdir()) / 1e6:.1f} MB)")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
