"""Which episodes a head is judged on without having been taught them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from headway.errors import ConfigError
from headway.learn.pro.examples import Example

Split = Literal["auto", "session", "episode"]


def folds_by(examples: Sequence[Example], folds: int, split: Split, seed: int) -> list[int]:
    """The fold 0..folds-1 of each example, drawn by `seed`. By session, all episodes of one are in
    one fold, and there are at most as many folds as sessions; "auto" does so where there are at
    least two sessions. By episode, each fold has about the same share of episodes with failures.
    Raises ConfigError for `split` = "session" without two sessions, or for less than 2 folds."""
    if folds < 2:
        raise ConfigError(f"wanted at least 2 folds, found {folds}")
    sessions = sorted({e.session for e in examples})
    if split == "session" and len(sessions) < 2:
        raise ConfigError(
            f"wanted at least two sessions to split by, found {len(sessions)}: say in [session] of "
            "the mapping which files belong together, or use --split episode"
        )
    rng = np.random.default_rng(seed)
    if split == "session" or (split == "auto" and len(sessions) > 1):
        size = {s: sum(len(e) for e in examples if e.session == s) for s in sessions}
        load = [0] * min(folds, len(sessions))
        place: dict[str, int] = {}
        order = [sessions[i] for i in rng.permutation(len(sessions))]
        for s in sorted(order, key=lambda s: -size[s]):  # the largest first, to the least filled
            place[s] = load.index(min(load))
            load[place[s]] += size[s]
        return [place[e.session] for e in examples]
    out, n = [0] * len(examples), 0
    order_of = rng.permutation(len(examples)).tolist()
    for kind in sorted({_class(e) for e in examples}):
        for i in order_of:
            if _class(examples[i]) == kind:
                out[i] = n % min(folds, len(examples))
                n += 1
    return out


def split_in_words(examples: Sequence[Example], split: Split) -> str:
    """By what `folds_by` splits."""
    several = len({e.session for e in examples}) > 1
    return "session" if split == "session" or (split == "auto" and several) else "episode"


def _class(e: Example) -> tuple[bool, str]:
    return (bool(e.failures), str(e.success))
