"""Checkpoints of a training: written whole or not at all, and only resumed by the same training."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from headway.learn import files
from headway.learn.policy.text import TextEncoder


def save(path: Path, args: str, parts: dict[str, Any], rng: np.random.Generator, step: int) -> None:
    """Write the state of `parts` (modules, optimisers, schedules) by name, of `rng` and of torch's
    generator after `step` steps of the training with the arguments `args`."""
    saved = {name: part.state_dict() for name, part in parts.items()}
    _write(
        path,
        saved | {
            "step": step, "rng": rng.bit_generator.state, "torch": torch.get_rng_state(),
            "args": args,
        },
    )  # fmt: skip


def resume(path: Path, args: str, parts: dict[str, Any], rng: np.random.Generator) -> int:
    """Load the checkpoint at `path` into `parts` and `rng` if it is one of the training with the
    arguments `args`. Returns the step to continue from, 0 without such a checkpoint."""
    with contextlib.suppress(FileNotFoundError):
        saved = torch.load(path, weights_only=True)
        if saved["args"] == args:
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            rng.bit_generator.state = saved["rng"]
            torch.set_rng_state(saved["torch"])
            print(f"resuming at step {saved['step']}")
            return int(saved["step"])
    return 0


def once(
    path: Path, made_of: object, make: Callable[[], tuple[TextEncoder, Tokenizer]]
) -> tuple[TextEncoder, Tokenizer]:
    """The text encoder and tokenizer that lie at `path` if they were made of the same, else those
    that `make` makes, which are written there. `made_of` is told apart by how it prints."""
    same = hashlib.sha256(repr(made_of).encode()).hexdigest()
    with contextlib.suppress(FileNotFoundError):
        saved = torch.load(path, weights_only=True)
        if saved["made_of"] == same:
            by = Tokenizer.from_str(saved["tokenizer"])
            net = TextEncoder(by, len(saved["net"]["prototypes"]))
            net.load_state_dict(saved["net"])
            return net.eval(), by
    net, by = make()
    _write(path, {"made_of": same, "net": net.state_dict(), "tokenizer": by.to_str()})
    return net, by


def _write(path: Path, what: dict[str, Any]) -> None:
    files.write_bytes(path, lambda file: torch.save(what, file))
