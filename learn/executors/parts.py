"""Parts of learning at scale, each a function of plain values, so that any executor runs it:
rollouts of some seeds, and what a PRO head says about them.

    with on_ray.connect("10.0.0.5:6379") as executor:
        files = dict(scatter(executor, RollOut(settings, "/shared/rollouts"), seeds))
        labels = dict(scatter(executor, Label("models/pick_place_pro"), list(files.values())))

Folders are named as they are on the computers that run the parts: all of them have to share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway import bundle as bundles
from headway.bundle import Bundle
from headway.clock import NS
from headway.edge.control.settings import Settings
from headway.errors import BundleError
from headway.kernels import at_steps
from headway.kernels.telemetry import Scale
from headway.learn import rollout as rollouts
from headway.learn.files import write_bytes
from headway.learn.pro import heads
from headway.learn.pro.examples import Example
from headway.learn.rollout import Rollout, Runner


@dataclass(frozen=True)
class RollOut:
    """Runs episodes of `settings` and writes them into one file in `folder`."""

    settings: Settings
    folder: str

    def __call__(self, seeds: Sequence[int]) -> str:
        """The path of the file with the episodes of `seeds`, which are given once each."""
        with Runner(self.settings) as runner:
            made = [runner.episode(seed) for seed in seeds]
        path = Path(self.folder) / f"{min(seeds)}-{max(seeds)}.npz"
        rollouts.save(path, made)
        return str(path)


@dataclass(frozen=True)
class Label:
    """Runs the PRO head of the folder `bundle` over rollouts: the dense reward of an execution."""

    bundle: str

    def __call__(self, path: str) -> str:
        """The path of a file beside `path`, which `rollout.save` wrote: by episode i the signals
        i.risk, i.time_to_go and so on, (steps,) at the rate of the head."""
        said = label(bundles.load(Path(self.bundle)), rollouts.load(Path(path)))
        out = Path(path).with_suffix(".signals.npz")
        arrays: dict[str, Any] = {
            f"{i}.{name}": x for i, one in enumerate(said) for name, x in one.items()
        }
        write_bytes(out, lambda file: np.savez_compressed(file, **arrays))
        return str(out)


def label(bundle: Bundle, made: Sequence[Rollout]) -> list[heads.Signals]:
    """What the head of `bundle` says at each of its steps in each of `made`. Raises BundleError for
    a bundle of another kind, SpecMismatch for another spec or rate."""
    info = bundle.manifest.pro
    if info is None:
        raise BundleError(
            f"wanted a bundle of kind pro, found {bundle.manifest.kind}: {bundle.path}"
        )
    return heads.signals(bundle, [_unlabelled(r, info.rate_hz) for r in made])


def features(
    made: Rollout, hz: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """PRO's features (steps, N_FEATURES) and masks (steps, N_MASKS) along `made`, at `hz` [Hz], and
    the row (steps,) of each step."""
    tick_hz = float(made.facts["hz"])
    scale = Scale.from_json(made.facts.get("scale"), f"seed {made.seed}")
    return at_steps(made.rows, scale, tick_hz, _every(made, hz))


def _every(made: Rollout, hz: float) -> int:
    """How many ticks of `made` make a step, for about `hz` [Hz] steps."""
    return max(1, round(float(made.facts["hz"]) / hz))


def _unlabelled(made: Rollout, hz: float) -> Example:
    x, mask, at = features(made, hz)
    seconds = (made.rows["t_ns"][at] - made.rows["t_ns"][0]) / NS
    nothing = np.full(len(at), np.nan, np.float32)
    return Example(
        name=str(made.seed),
        session="",
        hz=float(made.facts["hz"]) / _every(made, hz),
        t=seconds,
        features=x,
        mask=mask,
        success=made.result.success,
        failures=(),
        retries=(),
        force=nothing,
        time_to_go=nothing,
        completion=nothing,
        risk=nothing,
        unstable=nothing,
    )
