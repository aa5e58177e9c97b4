"""Teach the text encoder of finished policies anew, from today's sentences, and leave all else.

    python -m headway.learn.policy.text_again --bundles models/workflows_cloned \\
        models/workflows_learned

Eyes and heads were taught with the embeddings of the commands. The new encoder keeps these: its
prototypes are what the old one makes of each command's plain sentence, and they do not change. It
only learns anew which sentences mean which of them, and which mean none. So policies that read
alike are taught by one training, and neither eyes nor heads nor critics notice.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from msgspec import structs
from numpy.typing import NDArray

from headway import bundle
from headway.bundle import Bundle
from headway.errors import BundleError, ConfigError, SpecMismatch
from headway.export.flow import ENCODER, TOKENIZER, encoder_onnx
from headway.instructions import EmbeddingSpec
from headway.learn.policy.corpus import Corpus, corpus_of
from headway.learn.policy.language import READS_ALIKE, plain_embeddings
from headway.learn.policy.text_training import train_text

_SAME = 1e-4  # within which two encoders are the same one


def teach_again(
    bundles: Sequence[Path], corpus: Corpus, command: str, *, steps: int = 3000, seed: int = 0
) -> dict[Path, float]:
    """Teach a text encoder by `corpus` and put it into each of the policies in the folders
    `bundles`, as what `command` makes. Returns for each the largest difference between the new
    embeddings of the plain sentences and the old ones. Raises ConfigError without a folder,
    SpecMismatch where policies read differently, and BundleError, which leaves a bundle as it was,
    where the embeddings of the commands did not stay."""
    loaded = [bundle.load(folder) for folder in bundles]
    if not loaded:
        raise ConfigError("wanted the folders of policies, found none: name them after --bundles")
    known = plain_embeddings(loaded[0], _spec(loaded[0]), corpus.commands)
    for other in loaded[1:]:
        apart = float(np.abs(plain_embeddings(other, _spec(other), corpus.commands) - known).max())
        if apart > _SAME:
            raise SpecMismatch(
                f"wanted policies that read alike, found {other.path} and {loaded[0].path} to "
                f"differ by {apart:.3g} in an embedding: teach them one by one"
            )
    net, by = train_text(corpus, steps=steps, seed=seed, prototypes=torch.from_numpy(known))
    model, tokenizer = encoder_onnx(net), by.to_str()
    return {made.path: _put(made, model, tokenizer, corpus, known, command) for made in loaded}


def _put(
    made: Bundle, encoder: bytes, tokenizer: str, corpus: Corpus, known: NDArray[np.float32],
    command: str,
) -> float:  # fmt: skip
    old = made.manifest
    today = datetime.date.today().isoformat()
    data = f"{old.provenance.data}; text encoder taught anew on {today} by {command}"
    provenance = structs.replace(old.provenance, data=data)
    largest = 0.0

    def accept(candidate: Bundle) -> None:
        nonlocal largest
        now = plain_embeddings(candidate, _spec(candidate), corpus.commands)
        largest = float(np.abs(now - known).max())
        if not largest <= READS_ALIKE:
            raise BundleError(
                f"wanted the commands to keep their embeddings within {READS_ALIKE}, found a "
                f"difference of {largest:.3f}: teach it with more --steps; {made.path} is as it was"
            )

    # All of it is read before anything is written into the same folder.
    files: dict[str, bytes | Path] = {name: (made.path / name).read_bytes() for name in old.files}
    files |= {ENCODER: encoder, TOKENIZER: tokenizer.encode()}
    bundle.save(made.path, structs.replace(old, files={}, provenance=provenance), files, accept)
    return largest


def _spec(made: Bundle) -> EmbeddingSpec:
    policy = made.manifest.policy
    spec = None if policy is None else policy.instruction
    if not isinstance(spec, EmbeddingSpec) or spec.encoder != ENCODER:
        raise SpecMismatch(
            f"wanted a policy with a text encoder of `headway.learn.policy`, found {made.path} "
            "without: name bundles that headway.learn.policy.train, headway learn or "
            "headway.learn.policy.join have written"
        )
    return spec


def main(
    bundles: tuple[Path, ...],
    scenes: Sequence[str] = ("pick_place", "shoebox", "returns"),
    steps: int = 3000,
    seed: int = 0,
    threads: int = 1,
) -> None:
    """Teach the text encoder of policies anew.

    Args:
        bundles: folders of the policies, which are changed. They have to read alike.
        scenes: whose sentences the policies know, in the order of their training.
        steps: of the training.
        seed: of the training.
        threads: of PyTorch.
    """
    torch.set_num_threads(threads)
    command = " ".join(["python -m headway.learn.policy.text_again", *sys.argv[1:]])
    found = teach_again(bundles, corpus_of(scenes), command, steps=steps, seed=seed)
    for path, apart in found.items():
        print(f"{path}: embeddings of the commands differ from the old ones by {apart:.3f}")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
