"""The arithmetic of denoising in steps, as diffusers' DDIM and DDPM schedulers do it, with modules
that can be traced. Imports PyTorch and NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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


class Step(torch.nn.Module):
    """One step of denoising: x0 is what the U-Net takes for the clean trajectory, and the next one
    is keep x + clean x0 + way e + spread z, for the noise e that it sees and fresh noise z.

    `unet` is called with the trajectory x (1, h, d), the time t (1,) and the condition. What it
    gives is e where `epsilon`, else x0, which is kept between -`clip` and `clip`, None for no
    bounds."""

    def __init__(self, unet: torch.nn.Module, *, epsilon: bool, clip: float | None) -> None:
        super().__init__()
        self.unet, self.epsilon, self.clip = unet, epsilon, clip

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        at: torch.Tensor,
        factors: torch.Tensor,
        condition: torch.Tensor,
        fresh: torch.Tensor,
    ) -> torch.Tensor:
        """`factors` (6,) are a row of `factors` below, and `at` (1,) that of `fresh` (n, h, d)."""
        signal, noise, keep, clean, way, spread = factors.unbind(0)
        seen = self.unet(x, t, global_cond=condition)
        x0 = (x - noise * seen) / signal if self.epsilon else seen
        e = seen if self.epsilon else (x - signal * x0) / noise
        if self.clip is not None:
            x0 = x0.clamp(-self.clip, self.clip)
        z = torch.index_select(fresh, 0, at)[0]
        moved: torch.Tensor = keep * x + clean * x0 + way * e + spread * z
        return moved


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
