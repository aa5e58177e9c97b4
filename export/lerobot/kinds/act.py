"""ACT (Zhao et al. 2023): one pass of a transformer from state and images to a chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headway.export.lerobot.checkpoint import STATE, Checkpoint, ExportError
from headway.export.lerobot.stages import Stage, Stages


class Network(torch.nn.Module):
    """From the raw state (1, n) and pixels (1, h, w, 3) uint8, in the order of the configuration,
    to the actions (1, chunk_size, d) in the units of the data set."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.model = checkpoint.policy.model
        self.state = checkpoint.normalise(STATE, "STATE")
        self.images = torch.nn.ModuleList(
            checkpoint.normalise(name, "VISUAL") for name in checkpoint.images
        )
        self.actions = checkpoint.unnormalise()

    def forward(self, state: torch.Tensor, *pixels: torch.Tensor) -> torch.Tensor:
        images = [
            normal(p.float().permute(0, 3, 1, 2) / 255)
            for normal, p in zip(self.images, pixels, strict=True)
        ]
        chunk = self.model({STATE: self.state(state), "observation.images": images})[0]
        answer: torch.Tensor = self.actions(chunk)
        return answer


def stages(checkpoint: Checkpoint) -> Stages:
    """The network as one stage. Raises ExportError for a policy whose chunks are not played as they
    are, and for one that wants the state of an environment."""
    config = checkpoint.config
    if config.temporal_ensemble_coeff is not None:
        raise ExportError(
            "wanted a policy whose chunks are played as they are, found temporal_ensemble_coeff = "
            f"{config.temporal_ensemble_coeff}: set it to null in config.json, and n_action_steps "
            "to the rows between two answers; Headway blends chunks as `policy.seam` says"
        )
    if config.robot_state_feature is None or config.env_state_feature is not None:
        raise ExportError(
            f"wanted a policy of {STATE} and images, found {list(config.input_features)}"
        )
    sample = checkpoint.drawn(np.random.default_rng(0))
    inputs = {n: torch.from_numpy(sample[n]) for n in (STATE, *checkpoint.images)}

    def truth(given: dict[str, NDArray[Any]]) -> NDArray[Any]:
        policy = checkpoint.policy
        policy.reset()
        with torch.inference_mode():
            seen = checkpoint.observation(given)
            chunk = checkpoint.after(policy.predict_action_chunk(dict(seen)))
            for k in range(config.n_action_steps):  # what LeRobot sends to the robot
                sent = checkpoint.after(policy.select_action(dict(seen)))
                assert torch.equal(sent, chunk[:, k]), "select_action differs from the chunk"
        found: NDArray[Any] = chunk.numpy()
        return found

    network = Network(checkpoint)
    return Stages(
        Stage(network, inputs, ("actions",)), network.actions.unit, truth, checkpoint.drawn,
        config.n_action_steps,
    )  # fmt: skip
