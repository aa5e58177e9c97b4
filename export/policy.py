"""Export a trained action-chunk policy as a bundle."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import numpy as np
import torch

from headway import bundle
from headway.actions import ActionSpace
from headway.bundle import Image, Manifest, Policy, Provenance, StateInput
from headway.drivers.sim.scenes.pick_place import INSTRUCTIONS
from headway.export.onnx import export
from headway.instructions import VocabularySpec


def save_policy(
    net: torch.nn.Module,
    out: Path,
    *,
    state_names: tuple[str, ...],
    actions: ActionSpace,
    seed: int,
    metrics: dict[str, float],
    data: str,
    size: int = 96,
) -> Path:
    """Write the policy `net` as a bundle into the folder `out`, and return its path.

    `state_names` are the numbers of its input `state`, see `edge.policy.observation`; `actions` is
    what its answer means, and `size` the height and width of the images [px]. `seed`, `metrics` and
    `data` go into the provenance. Raises BundleError."""
    rng = np.random.default_rng(0)
    inputs = {
        "wrist_rgb": torch.from_numpy(rng.integers(0, 255, (1, size, size, 3), np.uint8)),
        "wrist_depth": torch.from_numpy(rng.integers(50, 600, (1, size, size)).astype(np.uint16)),
        "state": torch.from_numpy(rng.normal(0, 0.1, (1, len(state_names))).astype(np.float32)),
        "instruction": torch.zeros(1, dtype=torch.int64),
    }
    model, ins, outs = export(net, inputs, ["actions"])
    manifest = Manifest(
        kind="policy",
        name=out.name,
        onnx="policy.onnx",
        inputs=ins,
        outputs=outs,
        provenance=Provenance(
            command=" ".join(["python -m headway.learn.behaviour_cloning", *sys.argv[1:]]),
            seed=seed,
            data=data,
            date=datetime.date.today().isoformat(),
            metrics=metrics,
        ),
        policy=Policy(
            actions=actions,
            rate_hz=10.0,
            images=(
                Image(camera="wrist", input="wrist_rgb", height=size, width=size),
                Image(
                    camera="wrist",
                    input="wrist_depth",
                    height=size,
                    width=size,
                    encoding="depth_mm",
                ),
            ),
            state=(StateInput(input="state", names=state_names),),
            instruction=VocabularySpec(input="instruction", texts=INSTRUCTIONS),
        ),
    )
    return bundle.save(out, manifest, {"policy.onnx": model}).path
