"""Makes a checkpoint of LeRobot's ACT for an SO-101, and records what LeRobot answers with it.
Tests compare Headway with that. It runs in LeRobot's environment; see README.md beside this file.

    PYTHONPATH=export/lerobot python examples/lerobot_act/record.py --out DIR --size small

DIR/checkpoint is a folder as LeRobot saves it. Its weights and statistics are random: it takes no
trained policy to show that two programs compute the same. DIR/reference.npz has, for T steps of an
episode, at K of which LeRobot ran the network, since its queue of actions was empty:

    state (T, 6) float32: joint positions [deg], opening of the jaw [%]
    action (T, 6) float32: what LeRobot would send to the robot, in the units of the state
    asked (K,): the steps at which the network was run
    images.NAME (K, h, w, 3) uint8: what the cameras `front` and `wrist` showed at these
    input.NAME (K, ...) float32, by input of the network: what LeRobot made of them
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision_operators  # noqa: F401 - before LeRobot, which imports torchvision
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from lerobot.utils.control_utils import predict_action

IMAGES, CAMERAS = "observation.images.", ("front", "wrist")
# Plausible for tele-operation: mean and standard deviation of joints [deg] and jaw [%].
MEAN = np.array([4.0, -35.0, 48.0, 52.0, -6.0, 22.0])
STD = np.array([21.0, 34.0, 29.0, 17.0, 26.0, 19.0])
SHARPER = 2.0  # what the weights that make queries, keys and values are multiplied by
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_config(small: bool) -> ACTConfig:
    """ACT as LeRobot trains it for an SO-101 with two cameras of 640 x 480, whose chunk of 100 is
    played in whole; `small`: the same in a size for tests, whose chunk of 20 is played by half."""
    height, width = (96, 128) if small else (480, 640)
    images = {IMAGES + c: PolicyFeature(FeatureType.VISUAL, (3, height, width)) for c in CAMERAS}
    sizes: dict[str, Any] = {"chunk_size": 100, "n_action_steps": 100}
    if small:
        sizes = {
            "chunk_size": 20, "n_action_steps": 10, "dim_model": 64, "n_heads": 4,
            "dim_feedforward": 128, "n_encoder_layers": 2, "n_vae_encoder_layers": 1,
        }  # fmt: skip
    return ACTConfig(
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (6,)),
            **images,
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (6,))},
        pretrained_backbone_weights=None,
        device="cpu",
        push_to_hub=False,
        **sizes,
    )


def make_policy(config: ACTConfig) -> ACTPolicy:
    """A policy with random weights, of which two kinds are not as LeRobot draws them. Those of the
    attention are larger: it would be almost uniform, and all rows of a chunk almost the same. And
    the embeddings of a chunk's rows are slow waves over the rows: a robot could not follow rows
    that have nothing to do with each other."""
    policy = ACTPolicy(config).eval()
    rows = torch.linspace(0.0, 1.0, config.chunk_size)[:, None]
    frequency, phase = torch.rand(2, config.dim_model)
    waves = 2.0**0.5 * torch.sin(2.0 * torch.pi * (frequency * rows + phase))
    with torch.no_grad():
        policy.model.decoder_pos_embed.weight.copy_(waves)
        for name, weights in policy.model.named_parameters():
            if name.endswith("in_proj_weight"):
                weights *= SHARPER
    return policy


def make_statistics(config: ACTConfig, rng: np.random.Generator) -> dict[str, Any]:
    """Statistics as a dataset has them, drawn around `MEAN` and `STD`."""

    def numbers() -> dict[str, torch.Tensor]:
        mean = MEAN + rng.normal(0.0, 3.0, 6)
        std = STD * rng.uniform(0.8, 1.2, 6)
        return {"mean": torch.tensor(mean).float(), "std": torch.tensor(std).float()}

    stats = {"observation.state": numbers(), "action": numbers()}
    for key in config.image_features:
        stats[key] = {
            "mean": torch.tensor(IMAGENET_MEAN).reshape(3, 1, 1),
            "std": torch.tensor(IMAGENET_STD).reshape(3, 1, 1),
        }
    return stats


def episode(
    config: ACTConfig, steps: int, rng: np.random.Generator
) -> Iterator[dict[str, np.ndarray]]:
    """`steps` observations as LeRobot's robot gives them: a random walk of the joints, and pictures
    of coloured patches that move, under noise."""
    state = MEAN.copy()
    patches = {key: rng.integers(0, 256, (12, 16, 3)) for key in config.image_features}
    for k in range(steps):
        state = state + rng.normal(0.0, 0.05, 6) * STD
        state[-1] = np.clip(state[-1], 0.0, 100.0)
        obs: dict[str, np.ndarray] = {"observation.state": state.astype(np.float32)}
        for key, feature in config.image_features.items():
            _, height, width = feature.shape
            moved = np.roll(patches[key], k // 3, axis=1)
            large = moved.repeat(height // 12, axis=0).repeat(width // 16, axis=1)
            noise = rng.integers(-20, 21, large.shape)
            obs[key] = np.clip(large + noise, 0, 255).astype(np.uint8)
        yield obs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--chunks", type=int, default=3, help="how often the network answers")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    config = make_config(args.size == "small")
    policy = make_policy(config)
    before, after = make_act_pre_post_processors(config, make_statistics(config, rng))
    checkpoint = args.out / "checkpoint"
    for part in (policy, before, after):
        part.save_pretrained(checkpoint)

    inputs: list[dict[str, np.ndarray]] = []

    def note(_module: Any, arguments: tuple[dict[str, Any]]) -> None:
        (batch,) = arguments
        names = ("observation.state", *config.image_features)
        inputs.append({name: batch[name].numpy().copy() for name in names})

    for part in (policy, before, after):
        part.reset()
    states, actions, asked, images = [], [], [], []
    with policy.model.register_forward_pre_hook(note):
        for k, obs in enumerate(episode(config, args.chunks * config.n_action_steps, rng)):
            action = predict_action(obs, policy, torch.device("cpu"), before, after, use_amp=False)
            states.append(obs["observation.state"])
            actions.append(action.numpy()[0])
            if len(inputs) > len(asked):
                asked.append(k)
                images.append(obs)
    np.savez_compressed(
        args.out / "reference.npz",
        state=np.stack(states),
        action=np.stack(actions),
        asked=np.array(asked),
        **{f"images.{c}": np.stack([o[IMAGES + c] for o in images]) for c in CAMERAS},
        **{f"input.{name}": np.concatenate([i[name] for i in inputs]) for name in inputs[0]},
    )
    print(f"{args.out}: checkpoint and reference.npz, {len(states)} steps, {len(asked)} inferences")


if __name__ == "__main__":
    main()
