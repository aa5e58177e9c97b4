"""Checkpoints of a training: written whole or not at all, and only resumed by the same training."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headway.learn import files


def same(args: Any, data: Any, more: object = "") -> str:
    """What tells a training from others: its arguments `args`, a dataclass, the samples `data`, a
    dataclass of arrays, to the bit, and what `more` it is made of, by how that prints."""
    made = hashlib.sha256(repr(more).encode())
    for f in fields(data):
        array = np.ascontiguousarray(getattr(data, f.name))
        made.update(f"\0{f.name} {array.dtype} {array.shape}\0".encode())
        made.update(array.reshape(-1).view(np.uint8).data)
    return f"{asdict(args)} {made.hexdigest()}"


def save(path: Path, args: str, parts: dict[str, Any], rng: np.random.Generator, step: int) -> None:
    """Write the state of `parts` (modules, optimisers, schedules) by name, of `rng` and of torch's
    generator after `step` steps of the training that `args` names, see `same`."""
    saved = {name: part.state_dict() for name, part in parts.items()}
    write(
        path,
        saved | {
            "step": step, "rng": rng.bit_generator.state, "torch": torch.get_rng_state(),
            "args": args,
        },
    )  # fmt: skip


def resume(path: Path, args: str, parts: dict[str, Any], rng: np.random.Generator) -> int:
    """Load the checkpoint at `path` into `parts` and `rng` if it is one of the training that `args`
    names, see `same`. Returns the step to continue from, 0 without such a checkpoint."""
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


def write(path: Path, what: dict[str, Any]) -> None:
    """Write `what`, of tensors and plain values, to `path`. Raises OutputError."""
    files.write_bytes(path, lambda file: torch.save(what, file))
