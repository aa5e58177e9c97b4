"""How well a text encoder understands ways of talking that it has never met, to choose the level
above which a policy refuses (`headway.export.flow.REFUSE_ABOVE`).

    python -m headway.learn.policy.left_out

A training leaves out one in `folds` of the ways in which the sentences of the scenes are put (the
same words but for those that tell things apart), and as many of the frames of each family. The
encoder is judged by what was left out, at several levels. With `--family NAME` that family is left
out whole as well: its line then says how much of it is refused by an encoder that has met nothing
of the kind. What is held out or unseen is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from headway import config
from headway.errors import ConfigError
from headway.learn.policy.corpus import Corpus, corpus_of, plain_words
from headway.learn.policy.sayer import Sayer
from headway.learn.policy.text import TextEncoder, tokens
from headway.learn.policy.text_training import train_text

LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


class Split:
    """`corpus` without what is left out, `kept`, and what that is. Raises ConfigError for a fold or
    a family that there is not."""

    def __init__(self, corpus: Corpus, fold: int, folds: int, family: str = "") -> None:
        if not 0 <= fold < folds or folds < 2:
            raise ConfigError(
                f"wanted two --folds or more, and a --fold from 0 to one less, found --folds "
                f"{folds} and --fold {fold}"
            )
        families = tuple(f.name for f in corpus.frames.refused)
        if family and family not in families:
            raise ConfigError(
                f"wanted a --family of frames, found {family!r}: {config.suggest(family, families)}"
            )
        self._telling = corpus.telling
        ways: dict[str, int] = {}
        out = {}
        for text in self._texts(corpus):
            out[text] = ways.setdefault(self._way(text), len(ways)) % folds == fold
        frames = corpus.frames.without(fold, folds)
        kept = [f for f in frames.refused if f.name != family]
        scenes = []
        for scene in corpus.scenes:
            # What is left out counts as held out, so that it is not drawn by another way.
            commands = tuple(
                replace(
                    c,
                    train=tuple(t for t in c.train if not out[t]),
                    held_out=(*c.held_out, *(t for t in c.train if out[t])),
                )
                for c in scene.commands
            )
            refused = tuple(t for t in scene.refused if not out[t])
            kept_for_tests = (*scene.refused_held_out, *(t for t in scene.refused if out[t]))
            scenes.append(
                replace(scene, commands=commands, refused=refused, refused_held_out=kept_for_tests)
            )
        self.kept = Corpus(tuple(scenes), replace(frames, refused=tuple(kept)))
        self.commands = [
            (text, i) for i, c in enumerate(corpus.commands) for text in c.train if out[text]
        ]
        self.refused = {"scenes": [text for text in corpus.refused if out[text]]}
        whole = {f.name: f for f in corpus.frames.refused}
        left = replace(corpus, frames=corpus.frames.without(fold, folds, left=True))
        sayer = Sayer(left, np.random.default_rng(fold))
        for f in left.frames.refused:
            said = [sayer.framed(whole[family] if f.name == family else f) for _ in range(300)]
            self.refused[f.name] = sorted({text for text in said if text is not None})
        for i in range(len(corpus.commands)):
            asked = {sayer.framed(left.frames.asked, i) for _ in range(20)}
            self.commands += [(text, i) for text in sorted(t for t in asked if t is not None)]

    def _texts(self, corpus: Corpus) -> list[str]:
        return [*(t for c in corpus.commands for t in c.train), *corpus.refused]

    def _way(self, text: str) -> str:
        words = plain_words(text)
        after_telling = [i for i, w in enumerate(words[:-1]) if w in self._telling]
        gone = {*after_telling, *(i + 1 for i in after_telling)}
        return " ".join("" if i in gone else word for i, word in enumerate(words))


@torch.no_grad()
def judged(
    net: TextEncoder, by: Tokenizer, texts: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each of `texts` the number of the nearest command, and the probability (n,) that it is
    none."""
    ids, mask = tokens(by, texts)
    logits, refused = net.verdict(ids, mask)
    return logits.argmax(dim=1).numpy(), refused.numpy()


def main(
    scenes: tuple[str, ...] = ("pick_place", "shoebox", "returns"),
    fold: int = 0,
    folds: int = 5,
    family: str = "",
    steps: int = 3000,
    seed: int = 0,
) -> None:
    """Train without what is left out, and print how it is taken at each of LEVELS."""
    torch.set_num_threads(1)
    split = Split(corpus_of(scenes), fold, folds, family)
    net, by = train_text(split.kept, steps=steps, seed=seed)
    nearest, none = judged(net, by, [text for text, _ in split.commands])
    right = nearest == [i for _, i in split.commands]
    print(f"{'refused above':>16}", *(f"{level:6.2f}" for level in LEVELS))
    shares = [(right & (none <= level)).mean() for level in LEVELS]
    print(f"{'commands taken':>16}", *(f"{share:6.1%}" for share in shares), f"of {len(right)}")
    for name, texts in split.refused.items():
        _, none = judged(net, by, texts)
        shares = [(none > level).mean() for level in LEVELS]
        print(f"{name:>16}", *(f"{share:6.1%}" for share in shares), f"of {len(texts)} refused")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
