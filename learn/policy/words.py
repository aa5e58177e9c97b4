"""Vectors of English words, so that a text encoder which learns from a few hundred sentences has an
idea of words that are in none of them: "shove" is like "put", "violet" like no colour that it was
shown.

The table `words.npz` holds the words, with a space between them, and their vectors (n, SIZE) int8
in units of 1 / UNIT: the first principal components of the input embeddings of all-MiniLM-L6-v2
(Apache-2.0; Reimers & Gurevych 2019), for all whole words of its vocabulary. It is made again, from
a folder with that model, by

    python -m headway.learn.policy.words --folder FOLDER
"""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZE = 40
UNIT = 160.0  # a vector's numbers are whole multiples of 1 / UNIT
TABLE = Path(__file__).with_name("words.npz")


@cache
def table() -> dict[str, NDArray[np.int8]]:
    """The vector (SIZE,) of each word that is known, of length UNIT on average."""
    with np.load(TABLE) as file:
        return dict(zip(str(file["words"]).split(), file["vectors"], strict=True))


def vectors_of(words: list[str]) -> NDArray[np.int8]:
    """Vectors (n, SIZE) of `words`, in units of 1 / UNIT. One that the table does not have is put
    together from the longest words in it, or else drawn at random, always the same for the same
    word."""
    return np.stack([_vector(word) for word in words])


def _vector(word: str) -> NDArray[np.int8]:
    known = table()
    if word in known:
        return known[word]
    for cut in range(len(word) - 3, 2, -1):  # "shoebox" is a shoe and a box
        if word[:cut] in known and word[cut:] in known:
            both = known[word[:cut]].astype(float) + known[word[cut:]].astype(float)
            return _whole(both / 2)
    for cut in range(len(word) - 1, max(3, len(word) - 4), -1):  # "unlatching"
        if word[:cut] in known:
            return known[word[:cut]]
    rng = np.random.default_rng(zlib.crc32(word.encode()))
    return _whole(rng.normal(0.0, SIZE**-0.5, SIZE) * UNIT)


def _whole(vectors: NDArray[np.float64]) -> NDArray[np.int8]:
    return np.clip(np.round(vectors), -127, 127).astype(np.int8)


def make(folder: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of the table from the model in `folder`, which has model.safetensors and
    vocab.txt."""
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    whole = [i for i, word in enumerate(vocabulary) if word.isascii() and word.isalpha()]
    kept = [i for i in whole if len(vocabulary[i]) > 1 or vocabulary[i] in "ai"]
    data = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    entry = header["embeddings.word_embeddings.weight"]
    start, end = entry["data_offsets"]
    matrix = np.frombuffer(data[8 + size + start : 8 + size + end], "<f4").reshape(entry["shape"])
    chosen = matrix[kept].astype(np.float64)
    chosen -= chosen.mean(axis=0)
    _, _, axes = np.linalg.svd(chosen, full_matrices=False)
    vectors = chosen @ axes[:SIZE].T
    vectors /= np.linalg.norm(vectors, axis=1).mean()
    return {
        "words": np.array(" ".join(vocabulary[i] for i in kept)),
        "vectors": _whole(vectors * UNIT),
    }


def main(folder: Path) -> None:
    """Make the table from the model in `folder`."""
    arrays = make(folder)
    np.savez_compressed(TABLE, **arrays)  # type: ignore[arg-type]
    print(f"{len(arrays['vectors'])} words, {TABLE.stat().st_size / 1e3:.0f} kB in {TABLE}")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
