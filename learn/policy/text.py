"""The text encoder: a sentence -> an embedding of the command that it means, and the probability
that it means none.

A sentence is compared with one learned prototype per command, and its embedding is the mean of the
prototypes, weighted by a softmax of the similarities. So two sentences that are understood alike
have nearly the same embedding, and whoever is given it cannot tell how the command was put. What
means none of the commands is for the second output to say: the nearest command is no answer to
"do not put the red item in the tote". Nor does a sentence mean a command whose telling words it
does not have, or that has those of another one: "put the pink item in the tote" is refused, however
much pink is like red.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn

from headway.errors import ConfigError
from headway.learn.policy import words as english
from headway.learn.policy.corpus import Telling

LENGTH = 24  # most words of a sentence; a longer one is refused by the loop
PAD, UNKNOWN = "[PAD]", "[UNK]"


def tokenizer(sentences: Iterable[str]) -> Tokenizer:
    """A tokenizer whose tokens are the words of `sentences` and of the table of `words`, in lower
    case and without punctuation. "don't" is two words, "do not". Id 0 fills up, id 1 stands for
    every other word."""
    made = Tokenizer(models.WordLevel({PAD: 0, UNKNOWN: 1}, unk_token=UNKNOWN))
    made.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"n['\u2019]t\b"), " not"),
            normalizers.Replace(Regex(r"[^a-z0-9]+"), " "),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    known = {word for text in sentences for word in words(made, text)}
    new = sorted(known - english.table().keys())
    vocabulary = {word: i for i, word in enumerate([PAD, UNKNOWN, *new, *english.table()])}
    made.model = models.WordLevel(vocabulary, unk_token=UNKNOWN)
    made.enable_padding(pad_id=0, pad_token=PAD, length=LENGTH)
    return made


def words(by: Tokenizer, text: str) -> list[str]:
    """The words of `text` as the tokenizer `by` splits it, whether it knows them or not."""
    normal = by.normalizer.normalize_str(text)
    return [word for word, _ in by.pre_tokenizer.pre_tokenize_str(normal)]


def tokens(by: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Ids and mask (n, LENGTH) int64 of `texts`. Words after the LENGTH-th are left out, which only
    happens in training: the loop refuses such a text."""
    found = by.encode_batch(list(texts))
    ids = torch.tensor([f.ids[:LENGTH] for f in found], dtype=torch.int64)
    mask = torch.tensor([f.attention_mask[:LENGTH] for f in found], dtype=torch.int64)
    return ids, mask


class _Layer(nn.Module):
    """A pre-norm layer of self-attention and a small network for each word."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """`x` (b, n, width); `hidden` (b, 1, 1, n), added to the scores: -1e4 for no word."""
        b, n, width = x.shape
        q, k, v = self.qkv(self.before(x)).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / (width // self.heads) ** 0.5 + hidden
        mixed = (torch.softmax(scores, dim=3) @ v).transpose(1, 2).reshape(b, n, width)
        x = x + self.dropout(self.out(mixed))
        return x + self.dropout(self.narrow(torch.relu(self.wide(self.between(x)))))


class TextEncoder(nn.Module):
    """The encoder for the tokens of `by`, and as many commands as there are prototypes. `size` is
    the length e of the embedding, `width` that of what is computed for each word, `telling` how
    many words there are (see `tell`) that tell commands apart. The vectors of the words are given
    and do not change (`headway.learn.policy.words`), so that words which are in no sentence that it
    learns from are understood as well."""

    vectors: Tensor
    sharpness: Tensor
    tells: Tensor
    wanted: Tensor
    unwanted: Tensor

    def __init__(
        self,
        by: Tokenizer,
        commands: int,
        *,
        size: int = 24,
        width: int = 64,
        dropout: float = 0.15,
        telling: int = 0,
    ) -> None:
        super().__init__()
        self.size = size
        ids = sorted(by.get_vocab().items(), key=lambda item: item[1])
        vectors = torch.from_numpy(english.vectors_of([word for word, _ in ids]))
        vectors[:2] = 0
        self.register_buffer("vectors", vectors)
        self.word = nn.Linear(english.SIZE, width)
        self.place = nn.Parameter(torch.randn(LENGTH, width) * 0.1)
        self.layers = nn.ModuleList([_Layer(width, 4, dropout) for _ in range(2)])
        self.attend = nn.Linear(width, 4)
        self.meaning = nn.Linear(4 * width, size)
        self.nonsense = nn.Sequential(
            nn.Linear(4 * width, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 1)
        )
        self.prototypes = nn.Parameter(torch.randn(commands, size))
        self.register_buffer("sharpness", torch.tensor(16.0))
        # Which of the telling words a token is, -1 for none; and whether a sentence of a command
        # must have it, or must not.
        self.register_buffer("tells", torch.full((len(ids),), -1, dtype=torch.int32))
        self.register_buffer("wanted", torch.zeros(commands, telling, dtype=torch.bool))
        self.register_buffer("unwanted", torch.zeros(commands, telling, dtype=torch.bool))

    def tell(self, by: Tokenizer, telling: Telling) -> None:
        """Refuse sentences that lack a word of `telling` which their command wants, or have one
        that it does not want. `by` is the tokenizer of the encoder. Raises ConfigError for a word
        that it does not have as one."""
        for k, spellings in enumerate(telling.words):
            for word in spellings:
                found = [by.token_to_id(token) for token in words(by, word)]
                if len(found) != 1 or found[0] is None:
                    raise ConfigError(
                        f"wanted words that the tokenizer knows as one, found {word!r}, which "
                        "tells commands apart: write it as one word of letters and digits"
                    )
                self.tells[found[0]] = k
        for marks, of in ((self.wanted, telling.wanted), (self.unwanted, telling.unwanted)):
            for i, which in enumerate(of):
                marks[i, sorted(which)] = True

    def example(self, command: int = 0) -> tuple[Tensor, Tensor]:
        """Ids and mask (1, LENGTH) of a text that the telling words do not speak against, if it is
        taken for `command`: just the telling words that it wants, or any word where it wants
        none."""
        wanted = torch.nonzero(self.wanted[command]).flatten().tolist()
        found = [int(torch.nonzero(self.tells == k)[0]) for k in wanted]
        found = found or [int(torch.nonzero(self.tells < 0)[-1])]
        ids, mask = torch.zeros(2, 1, LENGTH, dtype=torch.int64)
        ids[0, : len(found)], mask[0, : len(found)] = torch.tensor(found), 1
        return ids, mask

    def contradicts(self, tokens: Tensor, mask: Tensor, meant: Tensor) -> Tensor:
        """Whether each sentence (b,) has not the telling words of the command (b,) that is
        `meant`."""
        k = torch.arange(self.wanted.shape[1], dtype=torch.int32)
        said = (self.tells[tokens][..., None] == k) & (mask > 0)[..., None]
        there = said.any(dim=1)  # (b, telling)
        missing = self.wanted[meant] & ~there
        return (missing | (self.unwanted[meant] & there)).any(dim=1)

    def judge(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (b, commands) of which command is meant, and the logit (b,) that none is.
        Arguments as in `forward`."""
        there = mask.to(torch.float32)
        hidden = (there - 1.0) * 1e4
        vectors = self.vectors[tokens].to(torch.float32) * (english.SIZE**0.5 / english.UNIT)
        if self.training:  # so that it does not cling to these very words
            vectors = vectors + 0.25 * torch.randn_like(vectors)
        x = self.word(vectors) + self.place[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, hidden[:, None, None, :])
        weights = torch.softmax(self.attend(x) + hidden.unsqueeze(2), dim=1)  # (b, n, 4)
        pooled = (weights.transpose(1, 2) @ x).flatten(1)
        meant = nn.functional.normalize(self.meaning(pooled), dim=1)
        known = nn.functional.normalize(self.prototypes, dim=1)
        return self.sharpness * meant @ known.T, self.nonsense(pooled).squeeze(1)

    def verdict(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (b, commands) of which command is meant, and the probability (b,) that this is
        nothing to carry out, by what was learned and by the telling words."""
        logits, nonsense = self.judge(tokens, mask)
        refused = torch.sigmoid(nonsense)
        if self.wanted.shape[1]:
            against = self.contradicts(tokens, mask, logits.argmax(dim=1))
            refused = torch.maximum(refused, against.to(refused.dtype))
        return logits, refused

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding (b, size), whose numbers are about 1 in size, and the probability (b,) that
        this is nothing to carry out. `tokens` and `mask` (b, n) are those of `tokens`."""
        logits, refused = self.verdict(tokens, mask)
        known = nn.functional.normalize(self.prototypes, dim=1) * self.size**0.5
        return torch.softmax(logits, dim=1) @ known, refused
