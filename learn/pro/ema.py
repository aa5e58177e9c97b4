"""A PRO head without a sense of time: features compared with their own recent averages.

Each feature x that the head reads is squeezed (sign(x) log(1 + |x|)), standardised, and given to a
small multilayer perceptron beside its distance from exponential moving averages of it. So the head
sees how things are and how they changed over `TIMES_S`, but not how long an episode has lasted, and
a sensor's bias matters little. Its state are the averages.

`EmaHead` computes on inputs that `Reader` prepares from whole episodes; `EmaStep` does the same in
single steps for the robot, with the state as input and output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.signal import lfilter
from torch import Tensor, nn

from headway.kernels import spec
from headway.learn.members import MemberLinear
from headway.learn.pro.examples import FLAGS, TARGETS

FLOATS = NDArray[np.float32]
TIMES_S = (0.25, 1.0, 4.0)  # time constants of the averages
LIMIT = 6.0  # standardised inputs are clipped to +- this
WIDTH = 96  # of the two hidden layers
MEMBERS = 3  # perceptrons whose logits are averaged
DROPOUT = 0.2
BINS = 25  # of the distribution of time-to-go


@dataclass(frozen=True)
class Reader:
    """What a head reads of features and mask, and how it is prepared. F features, G mask bits, K
    averages."""

    features: NDArray[np.int64]  # (F,) their places in spec.NAMES
    masks: NDArray[np.int64]  # (G,) places in spec.MASKS of the bits that these features need
    mean: NDArray[np.float32]  # (F,) of the squeezed features
    gain: NDArray[np.float32]  # (F,) 1 / standard deviation
    gains: NDArray[np.float32]  # (K,) of the averages, each step

    @property
    def needs(self) -> NDArray[np.float32]:
        """A matrix (F, G) that is 1 where a feature needs a mask bit."""
        table = np.zeros((len(self.features), len(self.masks)), np.float32)
        for row, i in enumerate(self.features):
            for m in spec.FEATURES[i].needs:
                table[row, list(self.masks).index(spec.MASKS.index(m))] = 1.0
        return table

    @property
    def width(self) -> int:
        """How many inputs the network has."""
        return len(self.features) * (1 + len(self.gains)) + len(self.masks)

    def prepare(
        self, features: NDArray[np.float32], mask: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The inputs (n, width) of the network for an episode's features (n, N_FEATURES) and mask
        (n, N_MASKS): the features, their distances from the averages, and the mask bits."""
        bits = mask[:, self.masks]
        known = (1.0 - bits) @ self.needs.T < 0.5
        x = features[:, self.features]
        z = (np.sign(x) * np.log1p(np.abs(x)) - self.mean) * self.gain
        z = np.clip(z, -LIMIT, LIMIT) * known
        parts = [z]
        for a in self.gains.astype(np.float64):
            average, _ = lfilter([a], [1.0, a - 1.0], z, axis=0, zi=(1.0 - a) * z[:1])
            parts.append(z - average)
        return np.concatenate([*parts, bits], axis=1).astype(np.float32)


def reader(features: NDArray[np.float32], names: NDArray[np.int64], hz: float) -> Reader:
    """A reader of the features at the places `names` (F,), standardised by what they are in
    `features` (n, N_FEATURES), for a head of `hz` steps a second."""
    x = features[:, names]
    z = np.sign(x) * np.log1p(np.abs(x))
    needed = sorted({spec.MASKS.index(m) for i in names for m in spec.FEATURES[i].needs})
    return Reader(
        names,
        np.array(needed, np.int64),
        z.mean(axis=0).astype(np.float32),
        (1.0 / np.maximum(z.std(axis=0), 1e-3)).astype(np.float32),
        np.array([1.0 - np.exp(-1.0 / (s * hz)) for s in TIMES_S], np.float32),
    )


class EmaHead(nn.Module):
    """The network on inputs that are prepared by `reader`: `MEMBERS` perceptrons, which learn from
    batches of their own and whose logits are averaged. `limit_s` is the longest time-to-go [s],
    `typical_s` the median duration of a success [s]; `taught` names the `TARGETS` that it learns:
    the signals of others keep their neutral values."""

    def __init__(
        self, reader: Reader, limit_s: float, typical_s: float, taught: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.reader, self.taught = reader, taught
        self.register_buffer("bins", torch.linspace(0.0, limit_s, BINS))
        self.register_buffer("typical", torch.tensor(float(typical_s)))
        self.first = MemberLinear(MEMBERS, reader.width, WIDTH)
        self.second = MemberLinear(MEMBERS, WIDTH, WIDTH)
        self.flags = MemberLinear(MEMBERS, WIDTH, len(FLAGS))
        self.to_go = MemberLinear(MEMBERS, WIDTH, BINS)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the flags (MEMBERS, n, 3) and of time-to-go (MEMBERS, n, BINS) from inputs
        (MEMBERS, n, width), or from (n, width) for all members."""
        x = F.dropout(torch.relu(self.first(inputs)), DROPOUT, self.training)
        x = F.dropout(torch.relu(self.second(x)), DROPOUT, self.training)
        return self.flags(x), self.to_go(x)

    @property
    def hidden(self) -> int:
        """How many values the state has."""
        return len(self.reader.features) * len(self.reader.gains) + 1

    @torch.no_grad()
    def logits(self, features: FLOATS, mask: FLOATS) -> FLOATS:
        """The logits of the flags (n, 3) for an episode's features (n, N_FEATURES) and mask
        (n, N_MASKS)."""
        inputs = torch.from_numpy(self.reader.prepare(features, mask))
        found: FLOATS = self.eval()(inputs)[0].mean(dim=0).numpy()
        return found

    @torch.no_grad()
    def calibrate(self, slope: Sequence[float], shift: Sequence[float]) -> None:
        """Make each flag's logit slope * logit + shift."""
        factor = torch.tensor(slope)
        self.flags.weight *= factor
        self.flags.bias[:] = self.flags.bias * factor + torch.tensor(shift)

    def step(self) -> EmaStep:
        """The network for single steps, with a copy of the present weights."""
        return EmaStep(self)


class EmaStep(nn.Module):
    """`forward` takes features (1, N_FEATURES), the mask (1, N_MASKS) of 0 and 1, and the state
    (1, hidden). It returns progress, stability, completion, risk and time_to_go [s], each (1, 1),
    and the next state (1, hidden): the averages, and 1 where they have begun."""

    def __init__(self, net: EmaHead) -> None:
        super().__init__()
        r = net.reader
        self.count, self.hidden = len(r.features), net.hidden
        said = [float(name in net.taught) for name in TARGETS]
        # Stability is 1 - unstable: the sign of that logit is turned.
        sign = torch.tensor([1.0, 1.0, -1.0])
        with torch.no_grad():
            parts = {
                "features_at": torch.from_numpy(r.features), "masks_at": torch.from_numpy(r.masks),
                "mean": torch.from_numpy(r.mean), "gain": torch.from_numpy(r.gain),
                "needs": torch.from_numpy(r.needs),
                "spare": 1 - torch.from_numpy(r.needs).sum(dim=1),
                "decay": torch.from_numpy(np.repeat(1.0 - r.gains, self.count)),
                "first": net.first.weight, "first_bias": net.first.bias,
                "second": net.second.weight, "second_bias": net.second.bias,
                "heads": torch.cat([net.to_go.weight, net.flags.weight * sign], dim=2),
                "heads_bias": torch.cat([net.to_go.bias, net.flags.bias * sign], dim=2),
                # For the means of time-to-go and of progress, which is 1 - time_to_go / typical.
                "means": torch.stack([net.bins, 1 - net.bins / net.typical], dim=1),
                "taught_flags": torch.tensor(said[:3]),
                "neutral_flags": (1 - torch.tensor(said[:3])) * torch.tensor([0.5, 0.0, 1.0]),
                "taught_time": torch.tensor(said[3]),
            }  # fmt: skip
            for name, value in parts.items():
                self.register_buffer(name, value.detach().clone())

    def forward(self, features: Tensor, mask: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        bits = torch.index_select(mask, 1, self.masks_at)
        known = torch.relu(F.linear(bits, self.needs, self.spare))  # 0: a needed group is masked
        x = torch.index_select(features, 1, self.features_at)
        z = (torch.sign(x) * torch.log(1.0 + torch.abs(x)) - self.mean) * self.gain
        z = z.clamp(-LIMIT, LIMIT) * known
        before, begun = h.split([self.hidden - 1, 1], dim=1)
        many = torch.cat([z] * (len(self.decay) // self.count), dim=1)
        average = many + begun * self.decay * (before - many)
        x = torch.cat([z, many - average, bits], dim=1)
        x = torch.relu(x @ self.first + self.first_bias)
        x = torch.relu(x @ self.second + self.second_bias)
        logits, flags = (x @ self.heads + self.heads_bias).mean(dim=0).split([BINS, 3], dim=1)
        times = torch.softmax(logits, dim=1) @ self.means * self.taught_time
        time_to_go, progress = times.split(1, dim=1)
        said = torch.sigmoid(flags) * self.taught_flags + self.neutral_flags
        completion, risk, stability = said.split(1, dim=1)
        h_out = torch.cat([average, torch.ones_like(begun)], dim=1)
        return progress.clamp(0.0, 1.0), stability, completion, risk, time_to_go, h_out
