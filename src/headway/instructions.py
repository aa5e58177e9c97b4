"""How a policy's bundle says that the text of an instruction becomes numbers.

A bundle has one of three kinds: a `vocabulary` of the sentences that the policy was taught, of
which the model is given the index; `tokens` of a tokenizer, for models with a language model in
them; or the `embedding` that a text encoder computes, which is an ONNX model of its own. The
encoders are in `headway.edge.policy.instructions`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from headway.config import Struct

Name = Annotated[str, Meta(min_length=1)]


class VocabularySpec(Struct, frozen=True, kw_only=True, tag_field="kind", tag="vocabulary"):
    """The model's input named `input` is given the index of the instruction among `texts`."""

    texts: tuple[str, ...]
    input: Name = "instruction"

    def __post_init__(self) -> None:
        if not self.texts:
            raise ValueError("vocabulary: wanted at least one text, found none")
        _distinct(self.texts, "vocabulary")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of the policy's model that it fills."""
        return (self.input,)

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the bundle that are needed: none."""
        return ()


class TokensSpec(Struct, frozen=True, kw_only=True, tag_field="kind", tag="tokens"):
    """The model's input named `input` is given the ids (1, length) of the instruction's tokens, and
    the one named `mask_input`, if there is one, 1 for a token and 0 for padding, (1, length).

    `tokenizer`: the file in the bundle, as the package `tokenizers` writes it (tokenizer.json),
    which also says what is made lower case. `suffix` is added to the text: "\\n" for PaliGemma and
    SmolVLA. `special`: whether the tokenizer adds its own tokens, such as the one that begins a
    text. `pad_id` fills the ids up on the side `pad`; None takes the tokenizer's own. `truncate`:
    whether a longer text is cut off; otherwise it is refused, since what is cut off is not done.
    `types_input`: an input that is given the token types (1, length), 0 for a single text, which
    BERT has. `texts`: those that the policy was taught, None for free text."""

    tokenizer: Name
    length: Annotated[int, Meta(ge=1, le=65_536)]
    input: Name = "tokens"
    mask_input: Name | None = None
    types_input: Name | None = None
    dtype: Literal["int64", "int32"] = "int64"  # of ids and types
    mask_dtype: Literal["int64", "int32", "bool", "float32"] = "int64"
    suffix: str = ""
    special: bool = True
    pad: Literal["right", "left"] = "right"
    pad_id: Annotated[int, Meta(ge=0)] | None = None
    truncate: bool = False
    texts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.texts is not None:
            _distinct(self.texts, "tokens")
        inputs = [i for i in (self.input, self.mask_input, self.types_input) if i is not None]
        _distinct(inputs, "tokens: input, mask_input and types_input")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of the policy's model that it fills."""
        names = (self.input, self.mask_input, self.types_input)
        return tuple(n for n in names if n is not None)

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the bundle that are needed."""
        return (self.tokenizer,)


class EmbeddingSpec(Struct, frozen=True, kw_only=True, tag_field="kind", tag="embedding"):
    """The model's input named `input` is given what a text encoder answers: the output `output` of
    the ONNX model `encoder` in the bundle, which is run once when the text changes.

    `text` says how the text becomes the encoder's inputs. `pool`: "none" passes the answer on as it
    is; "mean" makes the mean (1, e) over the tokens of an answer (1, length, e), without padding.
    `mask_input`: an input of the policy's model that is given the mask of the tokens, (1, length),
    as `text` describes it.

    `refused`: a further output of the encoder, with one number: the probability that the text is
    nothing which the policy can carry out. Above `refuse_above` the text is refused. None: the
    encoder takes every text."""

    encoder: Name
    output: Name
    text: VocabularySpec | TokensSpec
    input: Name = "instruction"
    pool: Literal["none", "mean"] = "none"
    mask_input: Name | None = None
    refused: Name | None = None
    refuse_above: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5

    def __post_init__(self) -> None:
        if self.refused == self.output:
            raise ValueError(f"embedding: output and refused are both {self.output!r}")
        masked = self.pool == "mean" or self.mask_input is not None
        if masked and isinstance(self.text, VocabularySpec):
            raise ValueError('embedding: pool = "mean" and mask_input want a text of kind tokens')
        if self.input == self.mask_input:
            raise ValueError(f"embedding: input and mask_input are both {self.input!r}")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of the policy's model that it fills."""
        return tuple(n for n in (self.input, self.mask_input) if n is not None)

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the bundle that are needed."""
        return (self.encoder, *self.text.files)


InstructionSpec = VocabularySpec | TokensSpec | EmbeddingSpec


def _distinct(names: tuple[str, ...] | list[str], what: str) -> None:
    twice = [n for n in names if list(names).count(n) > 1]
    if twice:
        raise ValueError(f"{what}: wanted distinct ones, found {twice[0]!r} twice")
