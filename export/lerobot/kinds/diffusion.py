"""Diffusion Policy (Chi et al. 2023): a U-Net that denoises a trajectory in steps.

The images are encoded once. The random numbers are an input: those of the beginning, and for DDPM
those of each step behind them. A step is LeRobot's U-Net and the scheduler's arithmetic, whose
coefficients are constants of that step."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headway.export.lerobot.checkpoint import STATE, Checkpoint, ExportError
from headway.export.lerobot.denoising import Crop, Step, factors
from headway.export.lerobot.stages import Loop, Stage, Stages


def traceable(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of LeRobot's DiffusionModel whose encoders cut images of a known size."""
    made = copy.deepcopy(model)
    if not made.config.image_features:
        return made
    image = next(iter(made.config.image_features.values())).shape[1:]
    several = made.config.use_separate_rgb_encoder_per_camera
    for encoder in made.rgb_encoder if several else [made.rgb_encoder]:
        if encoder.do_crop:
            encoder.center_crop = Crop(tuple(image), tuple(made.config.crop_shape))
    return made


class First(torch.nn.Module):
    """From the raw state (1, o, n), pixels (1, o, h, w, 3) uint8 and noise (1, m), to the condition
    of the U-Net, the trajectory to begin with (1, horizon, d), and the noise of the steps."""

    def __init__(self, checkpoint: Checkpoint, steps: int) -> None:
        super().__init__()
        self.model = traceable(checkpoint.policy.diffusion)
        self.state = checkpoint.normalise(STATE, "STATE")
        self.images = torch.nn.ModuleList(
            checkpoint.normalise(name, "VISUAL") for name in checkpoint.images
        )
        config = checkpoint.config
        self.shape = (config.horizon, config.action_feature.shape[0])
        self.steps = steps

    def forward(self, state: torch.Tensor, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        *pixels, noise = given
        batch = {STATE: self.state(state)}
        if pixels:
            images = [
                normal(p.float().permute(0, 1, 4, 2, 3) / 255)
                for normal, p in zip(self.images, pixels, strict=True)
            ]
            batch["observation.images"] = torch.stack(images, dim=-4)
        condition = self.model._prepare_global_conditioning(batch)
        drawn = noise.reshape(-1, 1, *self.shape)
        return condition, drawn[0], drawn[-self.steps :]


class Last(torch.nn.Module):
    """The rows of the trajectory from now on, in the units of the data set."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.first = checkpoint.config.n_obs_steps - 1
        self.actions = checkpoint.unnormalise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.actions(x[:, self.first :])
        return rows


def stages(checkpoint: Checkpoint) -> Stages:
    """The encoder, a step and the end. Raises ExportError for a policy that wants the state of an
    environment."""
    config, policy = checkpoint.config, checkpoint.policy
    if config.robot_state_feature is None or config.env_state_feature is not None:
        found = ", ".join(config.input_features)
        raise ExportError(f"wanted a policy of {STATE} and images, found {found}")
    scheduler, ddpm = policy.diffusion.noise_scheduler, config.noise_scheduler_type == "DDPM"
    scheduler.set_timesteps(policy.diffusion.num_inference_steps)
    times = np.array([int(t) for t in scheduler.timesteps], np.int64)
    steps, shape = len(times), (config.horizon, config.action_feature.shape[0])
    rows = config.horizon - config.n_obs_steps + 1
    played, config.n_action_steps = config.n_action_steps, rows  # LeRobot then gives all rows
    seeds: dict[bytes, int] = {}

    def draw(rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        moments = [checkpoint.drawn(rng) for _ in range(config.n_obs_steps)]
        made = {n: np.stack([m[n][0] for m in moments])[None] for n in moments[0]}
        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)  # LeRobot draws from torch's own generator, in this order
        drawn = [torch.randn(1, *shape)]
        drawn += [torch.randn(1, *shape) for t in times if t > 0] if ddpm else []
        drawn += [torch.zeros(1, *shape) for t in times if t == 0] if ddpm else []
        made["noise"] = torch.cat(drawn).reshape(1, -1).numpy()
        seeds[made["noise"].tobytes()] = seed
        return made

    def truth(given: dict[str, NDArray[Any]]) -> NDArray[Any]:
        policy.reset()
        images = {n: v for n, v in given.items() if n != "noise"}
        seen = [
            checkpoint.observation({n: v[:, k] for n, v in images.items()})
            for k in range(config.n_obs_steps)
        ]
        with torch.inference_mode():
            # LeRobot shows the network what it saw at the last calls, so a chunk is played first.
            early = [seen[0]] * (rows - len(seen) + 1) + seen[:-1]
            for moment in early[-rows:] if rows >= len(early) else early:
                policy.select_action(dict(moment))
            torch.manual_seed(seeds[given["noise"].tobytes()])
            sent = [
                checkpoint.after(policy.select_action(dict(seen[-1]))).numpy() for _ in range(rows)
            ]
        return np.stack(sent, axis=1)

    sample = draw(np.random.default_rng(0))
    inputs = {n: torch.from_numpy(sample[n]) for n in (STATE, *checkpoint.images, "noise")}
    first = First(checkpoint, steps)
    with torch.no_grad():
        condition, x, fresh = first(*inputs.values())
    constants: dict[str, NDArray[Any]] = {
        "t": times[:, None], "at": np.arange(steps, dtype=np.int64)[:, None] if ddpm
        else np.zeros((steps, 1), np.int64), "factors": factors(scheduler, ddpm),
    }  # fmt: skip
    example = {n: torch.from_numpy(v[0]) for n, v in constants.items()}
    step = {"x": x, **example, "condition": condition, "fresh": fresh}
    denoise = Step(
        policy.diffusion.unet, epsilon=config.prediction_type == "epsilon",
        clip=config.clip_sample_range if config.clip_sample else None,
    )  # fmt: skip
    last = Last(checkpoint)
    return Stages(
        Stage(first, inputs, ("condition", "x", "fresh")),
        last.actions.unit, truth, draw, played,
        Loop(
            Stage(denoise, step, ("next",)), Stage(last, {"x": x}, ("actions",)),
            {"next": "x"}, constants,
        ),
        {"steps": config.n_obs_steps, "noise": "noise"},
    )  # fmt: skip
