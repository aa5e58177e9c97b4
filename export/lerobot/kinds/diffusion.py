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
from headway.export.lerobot.stages import Loop, Stage, Stages

_LEAST_VARIANCE = 1e-20  # as diffusers' DDPM clamps it


class Crop(torch.nn.Module):
    """The middle of images of a known size, `size` (h, w) of them [px], as torchvision's CenterCrop
    takes it, which cannot be traced."""

    def __init__(self, image: tuple[int, int], size: tuple[int, int]) -> None:
        super().__init__()
        (self.height, self.width), self.size = size, size
        self.top, self.left = (round((a - b) / 2.0) for a, b in zip(image, size, strict=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x[..., self.top : self.top + self.height, :]
        return rows[..., self.left : self.left + self.width]


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


class Step(torch.nn.Module):
    """One step of denoising: x0 is what the U-Net takes for the clean trajectory, and the next one
    is keep x + clean x0 + way e + spread z, for the noise e that it sees and fresh noise z."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        config = checkpoint.config
        self.unet = checkpoint.policy.diffusion.unet
        self.epsilon = config.prediction_type == "epsilon"
        self.clip = config.clip_sample_range if config.clip_sample else None

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        at: torch.Tensor,
        factors: torch.Tensor,
        condition: torch.Tensor,
        fresh: torch.Tensor,
    ) -> torch.Tensor:
        signal, noise, keep, clean, way, spread = factors.unbind(0)
        seen = self.unet(x, t, global_cond=condition)
        x0 = (x - noise * seen) / signal if self.epsilon else seen
        e = seen if self.epsilon else (x - signal * x0) / noise
        if self.clip is not None:
            x0 = x0.clamp(-self.clip, self.clip)
        z = torch.index_select(fresh, 0, at)[0]
        moved: torch.Tensor = keep * x + clean * x0 + way * e + spread * z
        return moved


class Last(torch.nn.Module):
    """The rows of the trajectory from now on, in the units of the data set."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.first = checkpoint.config.n_obs_steps - 1
        self.actions = checkpoint.unnormalise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.actions(x[:, self.first :])
        return rows


def factors(scheduler: Any, ddpm: bool) -> NDArray[np.float32]:
    """The six factors of `Step` for each step of diffusers' `scheduler` (steps, 6)."""
    every = scheduler.alphas_cumprod.double()
    times = [int(t) for t in scheduler.timesteps]
    gap = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    found = []
    for t in times:
        before = t - gap
        a, b = float(every[t]), float(every[before]) if before >= 0 else 1.0
        if ddpm:
            alpha = a / b
            variance = max((1 - b) / (1 - a) * (1 - alpha), _LEAST_VARIANCE)
            keep, clean = alpha**0.5 * (1 - b) / (1 - a), b**0.5 * (1 - alpha) / (1 - a)
            way, spread = 0.0, variance**0.5 if t > 0 else 0.0
        else:
            keep, clean, way, spread = 0.0, b**0.5, (1 - b) ** 0.5, 0.0
        found.append((a**0.5, (1 - a) ** 0.5, keep, clean, way, spread))
    return np.array(found, np.float32)


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
    last = Last(checkpoint)
    return Stages(
        Stage(first, inputs, ("condition", "x", "fresh")),
        last.actions.unit, truth, draw, played,
        Loop(
            Stage(Step(checkpoint), step, ("next",)), Stage(last, {"x": x}, ("actions",)),
            {"next": "x"}, constants,
        ),
        {"steps": config.n_obs_steps, "noise": "noise"},
    )  # fmt: skip
