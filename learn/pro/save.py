"""Writing a head that was trained on logs: the bundle with its heads of the folds and its risk
calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from headway import bundle
from headway.bundle import Manifest, Pro, Provenance
from headway.edge.pro.operator import OUTPUTS
from headway.edge.pro.risk import IN_BUNDLE, Calibration
from headway.export.onnx import export, with_weights
from headway.kernels import spec
from headway.learn.pro.heads import FOLDS, Folds, model_of


@dataclass(frozen=True)
class Facts:
    """What the bundle says about where its head comes from: `episodes` are those that it learned
    from."""

    command: str
    data: str
    episodes: int
    seed: int
    rate_hz: float  # of the head's steps
    tick_hz: tuple[float, float]
    robot: str
    task: str
    groups: tuple[str, ...]
    taught: tuple[str, ...]
    metrics: dict[str, float]
    thresholds: dict[str, float]
    about: Literal["episode", "line"] = "episode"  # see `headway.bundle.Pro`,
    risk_s: float | None = None  # also for this one [s]


def save(
    out: Path,
    head: Any,
    of_folds: Sequence[Any],
    folds: Folds,
    peaks: Sequence[float],
    facts: Facts,
) -> bundle.Bundle:
    """Write the bundle at `out`. `head` and `of_folds` are networks with `step()` and `hidden`;
    `peaks` the largest risks of the fault-free parts of episodes, each by the head that did not see
    it. Raises BundleError."""
    inputs = {
        "features": torch.zeros(1, spec.N_FEATURES) + 0.1,
        "mask": torch.ones(1, spec.N_MASKS),
        "h": torch.zeros(1, head.hidden) + 0.1,
    }
    names = [*OUTPUTS, "h_out"]
    model, ins, outs = export(head.step(), inputs, names)
    manifest = Manifest(
        kind="pro",
        name=out.name,
        onnx="pro.onnx",
        inputs=ins,
        outputs=outs,
        provenance=Provenance(
            command=facts.command, seed=facts.seed, data=facts.data,
            date=date.today().isoformat(), metrics=facts.metrics,
        ),
        pro=Pro(
            spec_hash=spec.spec_hash(),
            rate_hz=facts.rate_hz,
            hidden=head.hidden,
            masks=spec.MASKS,
            robot=facts.robot,
            tick_hz=facts.tick_hz,
            groups=facts.groups,
            taught=facts.taught,
            about=facts.about,
            risk_s=facts.risk_s,
            thresholds=facts.thresholds,
            risk_weight=0.05,
            stability_weight=0.02,
        ),
    )  # fmt: skip
    calibration = Calibration(
        kind="risk", pro=out.name, pro_sha256=sha256(model).hexdigest(), policy_sha256=None,
        peaks=tuple(sorted(min(max(p, 0.0), 1.0) for p in peaks)), episodes=facts.episodes,
        data=f"held out in {folds.folds} folds: {facts.data}", date=date.today().isoformat(),
        of="fault-free parts", robot=facts.robot, task=facts.task, tick_hz=facts.tick_hz,
        groups=facts.groups,
    )  # fmt: skip
    files: dict[str, bytes | Path] = {
        "pro.onnx": model,
        IN_BUNDLE: _json(calibration),
        FOLDS: _json(folds),
    }
    for k, net in enumerate(of_folds):
        files[model_of(k)] = with_weights(model, net.step(), inputs, names)
    return bundle.save(out, manifest, files)


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
