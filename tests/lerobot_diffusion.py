"""A checkpoint of LeRobot's Diffusion Policy and what LeRobot sends with it, in LeRobot's
environment, for tests/test_export_lerobot.py. Knows nothing of Headway.

    python lerobot_diffusion.py OUT DDIM|DDPM

OUT/checkpoint is a folder as LeRobot saves it, with random weights and statistics. For K chunks of
an episode OUT/reference.npz has the moments that the network was shown, `state` (K, o, 6) and
`images` (K, o, h, w, 3) uint8; `noise` (K, s + 1, horizon, 6), the random numbers that LeRobot drew
for the beginning and for each step, 0 where it draws none; and `action` (K, rows, 6), what its
queue, played to the end, sent to the robot.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision_operators  # noqa: F401 - before LeRobot, which imports torchvision
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.diffusion.processor_diffusion import make_diffusion_pre_post_processors
from lerobot.utils.control_utils import predict_action

STATE, IMAGE = "observation.state", "observation.images.front"
MOMENTS, HORIZON, ROWS, STEPS, CHUNKS = 2, 8, 4, 3, 3
SIZE = (40, 48)
LOW = torch.tensor([-60.0, -90.0, -10.0, -20.0, -90.0, 0.0])
HIGH = torch.tensor([60.0, 10.0, 100.0, 110.0, 90.0, 100.0])


def main(out: Path, kind: str) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    config = DiffusionConfig(
        input_features={
            STATE: PolicyFeature(FeatureType.STATE, (6,)),
            IMAGE: PolicyFeature(FeatureType.VISUAL, (3, *SIZE)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (6,))},
        n_obs_steps=MOMENTS, horizon=HORIZON, n_action_steps=ROWS, crop_shape=(32, 40),
        down_dims=(16, 32), spatial_softmax_num_keypoints=8, diffusion_step_embed_dim=16,
        noise_scheduler_type=kind, num_inference_steps=STEPS, device="cpu", push_to_hub=False,
    )  # fmt: skip
    policy = DiffusionPolicy(config).eval()
    stats = {
        STATE: {"min": LOW, "max": HIGH}, "action": {"min": LOW - 3.0, "max": HIGH + 2.0},
        IMAGE: {
            "mean": torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1),
            "std": torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1),
        },
    }  # fmt: skip
    before, after = make_diffusion_pre_post_processors(config, stats)
    for part in (policy, before, after):
        part.save_pretrained(out / "checkpoint")

    found: dict[str, list[np.ndarray]] = {n: [] for n in ("state", "images", "noise", "action")}
    for part in (policy, before, after):
        part.reset()
    late = policy.diffusion.noise_scheduler
    late.set_timesteps(STEPS)
    shown = []
    for chunk in range(CHUNKS):
        sent = []
        for row in range(ROWS):
            state = rng.uniform(LOW.numpy(), HIGH.numpy()).astype(np.float32)
            image = rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
            shown.append((state, image))
            if row == 0:
                moments = [shown[0]] * (MOMENTS - len(shown)) + shown[-MOMENTS:]
                torch.manual_seed(chunk)
            obs = {STATE: state, IMAGE: image}
            action = predict_action(obs, policy, torch.device("cpu"), before, after, use_amp=False)
            sent.append(action.numpy()[0])
        torch.manual_seed(chunk)
        drawn = [torch.randn(1, HORIZON, 6)]
        for t in late.timesteps:
            draws = kind == "DDPM" and int(t) > 0
            drawn.append(torch.randn(1, HORIZON, 6) if draws else torch.zeros(1, HORIZON, 6))
        found["state"].append(np.stack([m[0] for m in moments]))
        found["images"].append(np.stack([m[1] for m in moments]))
        found["noise"].append(torch.cat(drawn).numpy())
        found["action"].append(np.stack(sent))
    np.savez(out / "reference.npz", **{n: np.stack(v) for n, v in found.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
