"""Encoders: the text of an instruction -> tensors for a policy's model, by input name.

A text that is not known is refused with the most similar known one in the message. To take the
nearest known sentence instead, by the cosine of two embeddings, is not offered: "put the red cup
into the left box" is nearer to the same about the right box than to any paraphrase, so the robot
would do something else than it was told.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.bundle import Tensor
from headway.edge.engines.engine import TensorSpec, open_engine
from headway.errors import BundleError, Missing, Refused, SpecMismatch
from headway.instructions import EmbeddingSpec, InstructionSpec, TokensSpec, VocabularySpec

Arrays = dict[str, NDArray[Any]]  # by input name


class Encoder(Protocol):
    """Turns text into tensors. `texts`: those that the policy was taught, None for free text.
    `tensors`: shape and dtype of what `encode` gives, by input name."""

    texts: tuple[str, ...] | None
    tensors: Mapping[str, TensorSpec]

    def encode(self, text: str) -> Arrays:
        """The tensors of `text`, by input name; they are read-only, and kept for the same text.
        Raises SpecMismatch for a text that the policy was not taught, Refused for one that does not
        fit, or that the encoder takes for nothing that the policy can carry out."""

    def close(self) -> None:
        """Free what the encoder holds. Idempotent."""


def open_encoder(spec: InstructionSpec, folder: Path, policy: str, engine: str = "auto") -> Encoder:
    """The encoder that `spec` describes. `folder`: the bundle's, where its files lie; `policy`: its
    name, for messages; `engine`: the kind of the engine for a text encoder. Raises Missing for a
    package that is not installed, BundleError for a file that is none, SpecMismatch for a model
    that does not fit `spec`, and what `engines.engine.open_engine` raises."""
    if isinstance(spec, VocabularySpec):
        return Vocabulary(spec, policy)
    if isinstance(spec, TokensSpec):
        return Tokens(spec, folder, policy)
    return Embedding(spec, folder, policy, engine)


def index_of(text: str, known: tuple[str, ...], policy: str) -> int:
    """Index of the instruction `text` among those that the policy named `policy` has learned.
    Raises SpecMismatch for a text that is not among them."""
    if text in known:
        return known.index(text)
    near = difflib.get_close_matches(text, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(map(repr, known))}"
    raise SpecMismatch(f"policy {policy} was not taught {text!r}: {hint}")


class _Kept(ABC):
    """Keeps the tensors of the last text."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._arrays: Arrays = {}

    def encode(self, text: str) -> Arrays:
        if text != self._text:
            arrays = self._make(text)
            for array in arrays.values():
                array.flags.writeable = False
            self._text, self._arrays = text, arrays
        return self._arrays

    @abstractmethod
    def _make(self, text: str) -> Arrays:
        """The tensors of `text`, made anew."""


class Vocabulary(_Kept):
    """The index of the text among the known ones, int64 (1,)."""

    def __init__(self, spec: VocabularySpec, policy: str) -> None:
        super().__init__()
        self.texts: tuple[str, ...] | None = spec.texts
        self.tensors: Mapping[str, TensorSpec] = {spec.input: TensorSpec((1,), "int64")}
        self._spec, self._policy = spec, policy

    def _make(self, text: str) -> Arrays:
        index = index_of(text, self._spec.texts, self._policy)
        return {self._spec.input: np.array([index], np.int64)}

    def close(self) -> None:
        """Does nothing: a vocabulary holds nothing open."""


class Tokens(_Kept):
    """The ids of the text's tokens, with their mask and types where these are wanted. The texts
    that the policy was taught are tried at once, so that one which is too long is found early."""

    def __init__(self, spec: TokensSpec, folder: Path, policy: str) -> None:
        super().__init__()
        self.texts: tuple[str, ...] | None = spec.texts
        self._spec, self._policy = spec, policy
        row = TensorSpec((1, spec.length), spec.dtype)
        tensors = {spec.input: row}
        if spec.mask_input is not None:
            tensors[spec.mask_input] = TensorSpec((1, spec.length), spec.mask_dtype)
        if spec.types_input is not None:
            tensors[spec.types_input] = row
        self.tensors: Mapping[str, TensorSpec] = tensors
        path = folder / spec.tokenizer
        self._tokenizer = _tokenizer(path)
        own = self._tokenizer.padding
        pad_id = own["pad_id"] if spec.pad_id is None and own else spec.pad_id
        if pad_id is None:
            raise SpecMismatch(
                f"{path} does not say which id pads a text: wanted `pad_id` in the bundle"
            )
        self._pad_id: int = pad_id
        # What the file says about padding and length is the bundle's to say.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if spec.truncate:
            added = self._tokenizer.num_special_tokens_to_add(False) if spec.special else 0
            if spec.length <= added:
                raise SpecMismatch(
                    f"{path} adds {added} tokens to a text: wanted a length of more, found "
                    f"{spec.length}"
                )
            self._tokenizer.enable_truncation(spec.length)
        for text in spec.texts or ():
            self.rows(text)

    def rows(self, text: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Ids, mask and types of the tokens of `text`, each (1, length). Raises as `encode`."""
        spec = self._spec
        if spec.texts is not None:
            index_of(text, spec.texts, self._policy)
        found = self._tokenizer.encode(text + spec.suffix, add_special_tokens=spec.special)
        n = len(found.ids)
        if n == 0:
            raise Refused(
                f"policy {self._policy} wants an instruction, found {text!r}, which has no tokens"
            )
        if n > spec.length:
            raise Refused(
                f"policy {self._policy} takes {spec.length} tokens, found {n} in {text!r}: shorten "
                "the instruction"
            )
        place = slice(0, n) if spec.pad == "right" else slice(spec.length - n, spec.length)
        ids = np.full((1, spec.length), self._pad_id, spec.dtype)
        mask = np.zeros((1, spec.length), spec.mask_dtype)
        types = np.zeros((1, spec.length), spec.dtype)
        ids[0, place], mask[0, place], types[0, place] = found.ids, 1, found.type_ids
        return ids, mask, types

    def _make(self, text: str) -> Arrays:
        names = self._spec.input, self._spec.mask_input, self._spec.types_input
        rows = self.rows(text)
        return {name: row for name, row in zip(names, rows, strict=True) if name is not None}

    def close(self) -> None:
        """Does nothing: the tokenizer's file is read once."""


def _tokenizer(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise Missing(
            "instructions as tokens want the package tokenizers, found none: pip install "
            "'headway[text]'"
        ) from None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as e:  # the package raises no class of its own
        raise BundleError(
            f"wanted a tokenizer of the package tokenizers at {path}, found none: {e}"
        ) from None


class Embedding(_Kept):
    """What the bundle's text encoder answers. It runs once for each new text."""

    def __init__(self, spec: EmbeddingSpec, folder: Path, policy: str, engine: str) -> None:
        super().__init__()
        text, path = spec.text, folder / spec.encoder
        self.texts: tuple[str, ...] | None = text.texts
        self._spec, self._policy = spec, policy
        self._tokens: Tokens | None = None
        self._inner: Vocabulary | Tokens
        if isinstance(text, TokensSpec):
            self._inner = self._tokens = Tokens(text, folder, policy)
        else:
            self._inner = Vocabulary(text, policy)
        inputs = [
            Tensor(name=name, shape=t.shape, dtype=t.dtype)
            for name, t in self._inner.tensors.items()
        ]
        self._engine = open_engine(engine, path, inputs=inputs)
        try:
            self._answer = self._engine.bind(spec.output)
            self._refused = self._probability(path)
            self.tensors: Mapping[str, TensorSpec] = self._shapes(path)
        except SpecMismatch:
            self._engine.close()
            raise

    def _probability(self, path: Path) -> NDArray[Any] | None:
        """The buffer of the probability that a text is refused, None where the encoder refuses
        none. Raises SpecMismatch for an output that is not one number."""
        if self._spec.refused is None:
            return None
        found = self._engine.bind(self._spec.refused)
        if found.size != 1 or not np.issubdtype(found.dtype, np.floating):
            raise SpecMismatch(
                f"{path}: wanted its output `{self._spec.refused}` as one float, the probability "
                f"that a text is refused, found {found.dtype} {found.shape}"
            )
        return found.reshape(-1)

    def _shapes(self, path: Path) -> dict[str, TensorSpec]:
        """Shapes and dtypes of what is given. Raises SpecMismatch for an answer that is none."""
        spec, shape, dtype = self._spec, self._answer.shape, self._answer.dtype
        if not np.issubdtype(dtype, np.floating):
            raise SpecMismatch(
                f"{path}: wanted its output `{spec.output}` as floats, found {dtype}"
            )
        mask = None
        if isinstance(spec.text, TokensSpec):
            mask = TensorSpec((1, spec.text.length), spec.text.mask_dtype)
        if spec.pool == "mean" and mask is not None:
            if len(shape) != 3 or shape[:2] != mask.shape:
                raise SpecMismatch(
                    f"{path}: the mean over the tokens wants its output `{spec.output}` as "
                    f"(1, {mask.shape[1]}, e), found {shape}: name the output before the pooling, "
                    'or set pool = "none"'
                )
            shape = (1, shape[2])
        tensors = {spec.input: TensorSpec(shape, str(dtype))}
        if spec.mask_input is not None and mask is not None:
            tensors[spec.mask_input] = mask
        return tensors

    def _make(self, text: str) -> Arrays:
        for name, value in self._inner.encode(text).items():
            self._engine.write(name, value)
        self._engine.run()
        if self._refused is not None:
            p = float(self._refused[0])
            if not p <= self._spec.refuse_above:  # NaN is refused, too
                raise Refused(
                    f"policy {self._policy} takes {text!r} for nothing that it can carry out "
                    f"({p:.2f}): say it in other words, or ask for something else"
                )
        answer = self._answer.copy()
        if self._tokens is None:
            return {self._spec.input: answer}
        mask = self._tokens.rows(text)[1]
        if self._spec.pool == "mean":
            answer = answer[:, mask[0] != 0].mean(axis=1, dtype=np.float64).astype(answer.dtype)
        if self._spec.mask_input is None:
            return {self._spec.input: answer}
        return {self._spec.input: answer, self._spec.mask_input: mask}

    def close(self) -> None:
        self._engine.close()
