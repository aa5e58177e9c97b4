"""What a kind of policy gives to be exported: modules with names for what goes in and out of them.

Runs in LeRobot's environment, so it imports nothing of Headway but its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stage:
    """A `module`, sample `inputs` by name in the order of its arguments, and the names of its
    `outputs`."""

    module: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Loop:
    """A policy that works its answer out in steps. `step` is run once for each entry of
    `constants` (by name of an input of the step, its values for all steps, the first axis), with
    what the first stage gave; `carried` says which output of a step becomes which input of the
    next one, and the first stage gives it to the first step under the input's name. `last` is given
    what the last step carried, under the same name."""

    step: Stage
    last: Stage
    carried: dict[str, str]
    constants: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Stages:
    """A policy as modules. `first` has the policy's inputs, which are raw: pixels as uint8
    (..., h, w, 3), numbers as the data set has them. Without a `loop` it has the policy's output
    `actions` as well, (1, rows, columns), in the units of the data set.

    `scale` (columns,): one unit of the network's actions in the data set's units. `truth` is what
    LeRobot's own pipeline answers to inputs by name. `played`: rows between two answers.
    `draw(rng)` makes inputs up. `about` goes into the description: see `inside`. `files`: further
    files of the bundle, contents by name."""

    first: Stage
    scale: NDArray[Any]
    truth: Callable[[dict[str, NDArray[Any]]], NDArray[Any]]
    draw: Callable[[np.random.Generator], dict[str, NDArray[Any]]]
    played: int
    loop: Loop | None = None
    about: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
