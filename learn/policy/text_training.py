"""Train the text encoder alone, from the sentences of the corpus: quick, and the same for every
robot. The policy is trained with its embeddings afterwards."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from headway.learn import checkpoint
from headway.learn.policy.corpus import Corpus, plain_words
from headway.learn.policy.sayer import Sayer
from headway.learn.policy.text import TextEncoder, tokenizer, tokens

# What decides, beside a corpus, what is learned.
_CODE = [Path(__file__).with_name(f"{n}.py") for n in ("sayer", "speech", "text", "verbs")]


def train_text(
    corpus: Corpus,
    *,
    steps: int = 2500,
    batch: int = 64,
    lr: float = 2e-3,
    seed: int = 0,
    prototypes: Tensor | None = None,
) -> tuple[TextEncoder, Tokenizer]:
    """The encoder and the tokenizer for `corpus`, after `steps` of `batch` commands and as many
    sentences that are none. The encoder has the moving average of the weights. `prototypes`
    (commands, e): embeddings of the commands that stay as they are; None: they are learned too."""
    torch.manual_seed(seed)
    by = tokenizer(corpus.sentences())
    telling = corpus.told_by
    net = TextEncoder(by, len(corpus.commands), telling=len(telling.words))
    net.tell(by, telling)
    if prototypes is not None:
        net.prototypes.data.copy_(prototypes)
        net.prototypes.requires_grad_(False)
    sayer = Sayer(corpus, np.random.default_rng(seed))
    optimiser = torch.optim.AdamW(net.parameters(), lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.1)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    truth = torch.cat([torch.full((batch,), 0.02), torch.full((batch,), 0.98)])
    net.train()
    for _ in range(steps):
        meant, texts = _drawn(sayer, batch)
        ids, mask = tokens(by, texts)
        longest = int(mask.sum(dim=1).max())
        logits, refused = net.judge(ids[:, :longest], mask[:, :longest])
        loss = F.cross_entropy(logits[:batch], torch.from_numpy(meant), label_smoothing=0.02)
        loss = loss + F.binary_cross_entropy_with_logits(refused, truth)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(net)
    made: TextEncoder = average.module
    return made.eval(), by


def met(corpus: Corpus, *, steps: int, batch: int = 64, seed: int = 0) -> frozenset[str]:
    """All sentences that `train_text` with the same arguments learns from, as `plain_words`. They
    are drawn once more, which takes a third of the time of the training."""
    sayer = Sayer(corpus, np.random.default_rng(seed))
    return frozenset(
        " ".join(plain_words(text)) for _ in range(steps) for text in _drawn(sayer, batch)[1]
    )


def _drawn(sayer: Sayer, batch: int) -> tuple[NDArray[np.int64], list[str]]:
    """The sentences of a step: `batch` commands, whose numbers come first, and as many that are
    none."""
    meant = sayer.rng.integers(len(sayer.corpus.commands), size=batch)
    commands = [sayer.command(int(i)) for i in meant]
    return meant, [*commands, *(sayer.refused() for _ in range(batch))]


@torch.no_grad()
def embeddings(
    net: TextEncoder, by: Tokenizer, corpus: Corpus, *, draws: int = 32, seed: int = 1
) -> Tensor:
    """Embeddings (commands, m, e) of each command's sentences, as written down and `draws` varied
    ones. Commands with fewer sentences have some of them twice."""
    sayer = Sayer(corpus, np.random.default_rng(seed))
    said = [
        [*c.texts("train"), *(sayer.command(i) for _ in range(draws))]
        for i, c in enumerate(corpus.commands)
    ]
    most = max(len(texts) for texts in said)
    full = [[texts[k % len(texts)] for k in range(most)] for texts in said]
    rows = [net(*tokens(by, texts))[0] for texts in full]
    return torch.stack(rows)


def once(
    path: Path, made_of: object, make: Callable[[], tuple[TextEncoder, Tokenizer]]
) -> tuple[TextEncoder, Tokenizer]:
    """The text encoder and tokenizer that lie at `path` if they were made of the same by the same
    code, else those
    that `make` makes, which are written there. `made_of` is told apart by how it prints. Torch's
    generator is left as `make` leaves it either way, so that what is drawn afterwards, such as the
    first weights of a policy, does not hang on whether the file was there."""
    code = b"".join(each.read_bytes() for each in _CODE)
    same = hashlib.sha256(repr(made_of).encode() + code).hexdigest()
    with contextlib.suppress(FileNotFoundError):
        saved = torch.load(path, weights_only=True)
        if saved["made_of"] == same and "torch" in saved and "wanted" in saved["net"]:
            by = Tokenizer.from_str(saved["tokenizer"])
            commands, telling = saved["net"]["wanted"].shape
            net = TextEncoder(by, commands, telling=telling)
            net.load_state_dict(saved["net"])
            torch.set_rng_state(saved["torch"])
            return net.eval(), by
    net, by = make()
    made = {"net": net.state_dict(), "tokenizer": by.to_str(), "torch": torch.get_rng_state()}
    checkpoint.write(path, {"made_of": same, **made})
    return net, by
