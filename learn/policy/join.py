"""One network out of several that see and read alike: their heads side by side, of which the
command picks one.

    python -m headway.learn.policy.join --heads pick_place=A shoebox=B returns=C --out models/joined

A, B and C are folders of policies whose heads were taught on one workflow each, by `headway learn`
or `headway study`, from the same frozen eyes and text encoder. The joined model finds the command
of any of the workflows whose embedding is nearest to that of the instruction, and draws the chunk
with the head of the workflow that it belongs to. All else is computed once, as before. One of the
folders may be a joined policy itself: so one skill is replaced, and the others stay as they are.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from msgspec import structs
from numpy.typing import NDArray

from headway import bundle
from headway.bundle import Bundle, Noise, Policy
from headway.edge.engines.engine import open_bundle
from headway.errors import BundleError, ConfigError, SpecMismatch
from headway.export.graph import read
from headway.instructions import EmbeddingSpec
from headway.learn.files import named_folders
from headway.learn.policy.corpus import corpus_of
from headway.learn.policy.joined import beside, is_joined, owner_of, taken_out
from headway.learn.policy.language import READS_ALIKE, plain_embeddings

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
    scenes = corpus_of(list(parts)).scenes
    commands = [command for scene in scenes for command in scene.commands]
    owner = np.repeat(np.arange(len(scenes)), [len(scene.commands) for scene in scenes])
    known = plain_embeddings(first.made, first.instruction, commands)
    for part in list(parts.values())[1:]:
        apart = float(np.abs(plain_embeddings(part.made, part.instruction, commands) - known).max())
        if apart > READS_ALIKE:
            raise SpecMismatch(
                f"wanted policies that read alike, found {part.made.path} and {first.made.path} to "
                f"differ by {apart:.3g} in the embedding of a command: a head fits the embeddings "
                "that it was taught with"
            )
    models = [_alone(part, known[owner == at]) for at, part in enumerate(parts.values())]
    model = beside(models, first.instruction.input, known, owner).SerializeToString()
    old = first.made.manifest
    files: dict[str, bytes | Path] = {
        name: model if name == old.onnx else first.made.path / name for name in old.files
    }
    policy = structs.replace(first.policy, noise=structs.replace(first.noise, eyes=old.eyes))
    data = "; ".join(f"{name}: {_data_of(part, name, list(parts))}" for name, part in parts.items())
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


def _data_of(part: _Part, workflow: str, workflows: Sequence[str]) -> str:
    """What the head of `workflow` in `part` was taught by: of a joined policy its part of the text
    that `join` has written for one of `workflows`."""
    said = part.made.manifest.provenance.data
    others = "|".join(map(re.escape, workflows))
    found = re.search(rf"(?:^|; ){re.escape(workflow)}: (.*?)(?=; (?:{others}): |$)", said)
    return found[1] if found else said


def _alone(part: _Part, known: NDArray[np.float32]) -> onnx.ModelProto:
    """The model of `part` with the head alone that answers to the embeddings `known` (c, e): of a
    joined policy that is one of several. Raises SpecMismatch where they are several heads'."""
    model = read(part.made.onnx)
    if not is_joined(model):
        return model
    heads = {owner_of(model, embedding) for embedding in known}
    if len(heads) > 1:
        raise SpecMismatch(
            f"wanted one head of {part.made.path} for all commands of a workflow, found several: "
            "name the policy that each was joined from"
        )
    return taken_out(model, heads.pop())


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
