"""The whole policy: eyes, text encoder and flow head, and what joins them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headway.learn.networks import CameraModel
from headway.learn.policy.eyes import Eyes
from headway.learn.policy.head import COLUMNS, FlowHead, Latents
from headway.learn.policy.text import LENGTH, TextEncoder

_POSE = ("tcp.x", "tcp.y", "tcp.z", "tcp.yaw_sin", "tcp.yaw_cos")


class FlowPolicy(nn.Module):
    """The policy with the encoder `text`, for a robot with this `camera` at its wrist, whose state
    vector has the numbers `state_names`. `horizon` is the number of waypoints of a chunk, `width`
    that of the hidden layers of the eyes."""

    state_mean: Tensor
    state_std: Tensor

    def __init__(
        self,
        camera: CameraModel,
        state_names: Sequence[str],
        text: TextEncoder,
        horizon: int,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.state_names = tuple(state_names)
        self.horizon = horizon
        self.text = text
        pose_at = [self.state_names.index(n) for n in _POSE]
        self.eyes = Eyes(camera, text.size, pose_at, width=width)
        self.latents = Latents(horizon)
        s = len(self.state_names)
        self.register_buffer("state_mean", torch.zeros(s))
        self.register_buffer("state_std", torch.ones(s))
        self.head = FlowHead(self.eyes.outputs + text.size + s + 2, horizon * COLUMNS)

    def encode(
        self,
        rgb: Tensor,
        depth: Tensor,
        state: Tensor,
        embedding: Tensor,
        grid: tuple[int, int, int] = (1, 0, 0),
    ) -> Tensor:
        """The code (b, c), everything that the head is given: what the eyes see, the embedding of
        the instruction, the normalised state, and where the TCP is in its own axes [2 dm]: the way
        to any place of the base frame in the axes of an action is a linear function of that and of
        the yaw. Arguments as in `Eyes.forward`. The first two
        numbers are x and y of the target in the TCP frame [dm]."""
        seen = self.eyes(rgb, depth, state, embedding, grid)
        normal = ((state - self.state_mean) / self.state_std).clamp(-5.0, 5.0)
        x, y, _, sine, cosine = (state[:, i : i + 1] for i in self.eyes.pose_at)
        here = torch.cat([cosine * x + sine * y, sine * x - cosine * y], dim=1)
        return torch.cat([seen, embedding, normal, here * 5.0], dim=1)

    def forward(
        self, rgb: Tensor, depth: Tensor, state: Tensor, embedding: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """For one observation and n noises (n, horizon * 5): the actions (n, horizon, 7) in SI
        units, the code (1, c), and the same chunks in latent units (n, horizon * 5)."""
        code = self.encode(rgb, depth, state, embedding)
        drawn = self.head.sample(code, noise)
        return self.latents.to_actions(drawn), code, self.latents.snapped(drawn)

    @property
    def shapes(self) -> tuple[int, int, int, int]:
        """Pixels of the square image, words of a text, and the lengths of embedding and noise."""
        return self.eyes.size, LENGTH, self.text.size, self.head.latent

    def eyes_hash(self) -> str:
        """A hash of all that makes the code and the meaning of the latent: everything but the head.
        A critic or another head fits this policy if it was trained with the same."""
        made = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            if not name.startswith("head."):
                made.update(name.encode())
                made.update(value.detach().cpu().contiguous().numpy().tobytes())
        return made.hexdigest()
