"""Train the policy for all workflows by cloning the scripted experts.

    python -m headway.learn.policy.train --demos runs/pick_place runs/shoebox runs/returns \\
        --scenes pick_place shoebox returns --out models/policy

First the text encoder learns from the sentences of the scenes (`text_training`), then eyes and head
from the recordings. The sentence of a sample is replaced by others of the same command. An
auxiliary loss draws the first attention map to the point of the next grasp and the second one to
that of the next press, which come from telemetry and not from an object pose (`touches`).
Interrupted training resumes from its checkpoint. At the end the codes and latents of all samples
lie in `codes.npz` beside the checkpoint: what is needed to train the head alone.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor

from headway.drivers.sim.arm_model import with_gripper
from headway.drivers.sim.cell import CellConfig
from headway.drivers.sim.gripper import WRIST_TILT
from headway.errors import ConfigError
from headway.learn import checkpoint
from headway.learn.networks import CameraModel, wrist_camera
from headway.learn.policy import samples
from headway.learn.policy.corpus import Corpus, corpus_of
from headway.learn.policy.eyes import PER_MAP
from headway.learn.policy.head import flow_loss
from headway.learn.policy.network import FlowPolicy
from headway.learn.policy.samples import Samples, Source
from headway.learn.policy.text_training import embeddings, once, train_text
from headway.learn.scripted import ACTIONS, HORIZON
from headway.learn.state_names import POLICY_STATE

ARM = with_gripper("ur5e")  # of the demonstrations
IMAGE = 96  # square image of the wrist camera [px]
FINE = 0.1  # the share of the steps, the last ones, in which the eyes look at every pixel
FINE_COST = 4  # steps before them that take as long as one of these
_DRAWS = 4  # random times and noises per sample and step


@dataclass(frozen=True)
class Args:
    """What to train on, and how. A checkpoint is resumed only by a training with the same
    arguments on the same samples."""

    demos: tuple[Path, ...] = (Path("runs/demos"),)  # folders of recordings
    scenes: tuple[str, ...] = ("pick_place", "shoebox", "returns")  # whose sentences it learns
    out: Path = Path("models/policy")
    work: Path = Path("runs/policy")  # checkpoint and codes
    steps: int = 16_000
    text_steps: int = 3000
    batch: int = 64
    lr: float = 1.5e-3
    width: int = 64  # of the hidden layers of the eyes
    seed: int = 0
    limit: int | None = None  # use only so many recordings of each folder, the first ones
    threads: int = 1


@dataclass(frozen=True)
class Report:
    """How well the policy imitates episodes that it was not trained on, after `steps` steps, with
    one draw for each of their samples. `samples` counts those of all episodes."""

    steps: int
    samples: int
    flow: float  # flow-matching loss
    position_mm: float  # mean absolute error of the second waypoint, which is played last
    grip: float  # share of waypoints with the right jaw command
    # mean errors of the attended points where they are in sight and 2 cm or more away
    grasp_mm: float
    press_mm: float


def camera() -> CameraModel:
    """The wrist camera of the simulated cell."""
    x, y, z = ARM.gripper.wrist_camera
    tx, ty, tz = ARM.gripper.tcp
    return wrist_camera(IMAGE, CellConfig().wrist_fovy, WRIST_TILT, (x - tx, y - ty, z - tz))


def source(corpus: Corpus) -> Source:
    """How recordings of the simulated cell are read."""
    return Source(ARM.robot.chain, ARM.gripper.stroke, POLICY_STATE, HORIZON, corpus)


def load(args: Args, corpus: Corpus) -> Samples:
    """The samples of all folders in `args.demos`. Raises what `samples.load` raises."""
    with Progress() as progress:
        bar = progress.add_task("recordings", total=None)
        return samples.load(
            args.demos, source(corpus), limit=args.limit,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )  # fmt: skip


class Training:
    """Clones the experts from `data`: state of the training, and the loss of a step."""

    def __init__(self, args: Args, corpus: Corpus, data: Samples) -> None:
        torch.manual_seed(args.seed)
        self.args, self.data = args, data
        text, self.tokenizer = once(
            args.work / "text.pt", (corpus, args.text_steps, args.seed),
            lambda: train_text(corpus, steps=args.text_steps, seed=args.seed),
        )  # fmt: skip
        self.said = embeddings(text, self.tokenizer, corpus)
        self.net = FlowPolicy(
            camera(), POLICY_STATE, text.requires_grad_(False), HORIZON, args.width
        )
        self.train_idx, self.test_idx = split(data)
        state = torch.from_numpy(data.state[self.train_idx])
        self.net.state_mean[:] = state.mean(0)
        self.net.state_std[:] = state.std(0).clamp(min=0.02)
        self.net.latents.fit(torch.from_numpy(data.actions[self.train_idx]))
        self.weights = _weights(data, self.train_idx)
        self.target = self._targets()
        groups = [
            {"params": list(self.net.eyes.parameters())},
            {"params": list(self.net.head.parameters())},
        ]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=1e-4)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, [4 * args.lr, args.lr], total_steps=args.steps, pct_start=0.05
        )
        # A moving average of the weights over a few hundred steps is better than those of one step.
        self.average = torch.optim.swa_utils.AveragedModel(
            self.net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.997)
        )
        self.rng = np.random.default_rng(args.seed)

    def _targets(self) -> Tensor:
        """x and y [m] (n, 2, 2) of the next grasp and of the next press, in the TCP frame; NaN
        where there is none, or where the camera does not see it: what is out of sight cannot be
        looked at."""
        both = [torch.from_numpy(each) for each in (self.data.grasp, self.data.press)]
        in_sight = [torch.where(camera().sees(each)[:, None], each, torch.nan) for each in both]
        return torch.stack(in_sight, dim=1)[..., :2]

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "net": self.net, "average": self.average, "optimiser": self.optimiser,
            "schedule": self.schedule,
        }  # fmt: skip

    def batch(self, idx: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images, depth, state and a sentence of the command for the samples `idx`."""
        command = self.data.command[idx]
        which = self.rng.integers(self.said.shape[1], size=len(idx))
        return (
            torch.from_numpy(self.data.rgb[idx]),
            torch.from_numpy(self.data.depth[idx].astype(np.float32)),
            torch.from_numpy(self.data.state[idx]),
            self.said[torch.from_numpy(command), torch.from_numpy(which)],
        )

    def step(self) -> float:
        """Take one step and return its loss. Until the last `FINE` of the steps the eyes look at
        every second row and column, from where chance has it: a quarter of the work."""
        fine = self.schedule.last_epoch >= first_fine(self.args.steps)
        row, column = self.rng.integers(2, size=2).tolist()
        idx = self.rng.choice(self.train_idx, self.args.batch, p=self.weights)
        loss = self.loss(idx, (1, 0, 0) if fine else (2, row, column))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.net)
        return float(loss.item())

    def loss(self, idx: NDArray[np.int64], grid: tuple[int, int, int]) -> Tensor:
        """The loss of the samples `idx`: flow matching, and where the first two maps look. `grid`
        as in `Eyes.forward`."""
        rgb, depth, state, said = self.batch(idx)
        # Light and exposure differ between cells, so brightness and colour balance vary per sample.
        gain = torch.from_numpy(self.rng.uniform(0.8, 1.2, (len(idx), 1, 1, 3)).astype(np.float32))
        rgb = (rgb.float() * gain).clamp(0, 255)
        code = self.net.encode(rgb, depth, state, said, grid)
        latent = self.net.latents.to_latent(torch.from_numpy(self.data.actions[idx]))
        flow = flow_loss(self.net.head, code, latent, draws=_DRAWS)
        target = self.target[torch.from_numpy(idx)]
        known = ~target.isnan().any(dim=2)
        # The attended points (in dm) against where the tool touches; a gap of 1 is 5 cm.
        gap = 2.0 * (attended(code)[known] - target[known] * 10.0)
        seen = F.smooth_l1_loss(gap, torch.zeros_like(gap), beta=0.2) if known.any() else gap.sum()
        return flow + 2.0 * seen


def split(data: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The samples to train on, and those of every 20th recording, or of the first one if none of
    these is used, by which the result is judged. Raises ConfigError where none is left to train
    on."""
    held = data.episode % 20 == 0
    if not held.any():
        held = data.episode == data.episode.min()
    if held.all():
        raise ConfigError(
            "wanted recordings to train on beside those that judge the result, found "
            f"{len(np.unique(data.episode))} in all: name folders with more demonstrations"
        )
    return np.flatnonzero(~held), np.flatnonzero(held)


def first_fine(steps: int) -> int:
    """The first of `steps` steps in which the eyes look at every pixel."""
    return math.ceil((1.0 - FINE) * steps)


def work(first: int, last: int, steps: int) -> int:
    """The work of the steps from `first` to before `last`, of `steps` in all, in that of a step in
    which the eyes do not look at every pixel."""
    fine = max(0, last - max(first, first_fine(steps)))
    return last - first + (FINE_COST - 1) * fine


def attended(code: Tensor) -> Tensor:
    """x and y [dm] (b, 2, 2) of what the first two maps of `code` (b, c) attend to, in the TCP
    frame: the next grasp, and the next press."""
    return torch.stack([code[:, :2], code[:, PER_MAP : PER_MAP + 2]], dim=1)


def _weights(data: Samples, idx: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sampling probabilities of the samples `idx`. Each folder counts as much as any other. In most
    frames the tool is already above its target, so they teach little about where to look; frames
    from farther away count three times, and those in which the jaws begin to move twice."""
    far = np.linalg.norm(np.nan_to_num(data.grasp[idx, :2]), axis=1) > 0.02
    jaws = data.actions[idx, :, 6]
    weights = (1.0 + 2.0 * far) * (1.0 + (jaws != jaws[:, :1]).any(axis=1))
    for folder in np.unique(data.folder[idx]):
        there = data.folder[idx] == folder
        weights[there] /= weights[there].sum()
    return np.asarray(weights / weights.sum())


@torch.no_grad()
def evaluate(training: Training, net: FlowPolicy, idx: NDArray[np.int64], steps: int) -> Report:
    """Judge `net` by the samples `idx`; `steps` is for the report."""
    data, generator = training.data, torch.Generator().manual_seed(0)
    net.eval()
    moved, right, flows, seen = [], [], [], []
    for part in np.array_split(idx, max(1, len(idx) // 256)):
        code = net.encode(*training.batch(part))
        truth = torch.from_numpy(data.actions[part])
        latent = net.latents.to_latent(truth)
        flows.append(float(flow_loss(net.head, code, latent)))
        noise = torch.randn(latent.shape, generator=generator)
        found = net.latents.to_actions(net.head.sample(code, noise))
        moved.append((found[:, 1, :3] - truth[:, 1, :3]).abs().mean(dim=1))
        right.append((found[..., 6] == (truth[..., 6] > 0.5)).float().mean(dim=1))
        target = training.target[torch.from_numpy(part)]
        far = target.nan_to_num().norm(dim=2) > 0.02
        error = (attended(code) / 10.0 - target).abs().mean(dim=2)
        seen.append(torch.where(far, error, torch.nan))
    net.train()
    position, grip = (float(torch.cat(x).mean()) for x in (moved, right))
    grasp, press = torch.cat(seen).nanmean(dim=0).tolist()
    return Report(
        steps, len(data), float(np.mean(flows)), position * 1000, grip, grasp * 1000, press * 1000
    )


def train(args: Args, corpus: Corpus, data: Samples) -> tuple[Training, FlowPolicy, Report]:
    """Train on 19 of 20 episodes, and judge the result by the others. The network that is returned
    has the moving average of the weights. Every 500 steps the report is printed and a checkpoint
    written. Raises what `split` raises."""
    torch.set_num_threads(args.threads)
    training = Training(args, corpus, data)
    same = checkpoint.same(args, data, corpus)
    first = checkpoint.resume(args.work / "checkpoint.pt", same, training.parts, training.rng)
    began, mean = time.monotonic(), 0.0
    net: FlowPolicy = training.average.module
    training.net.train()
    for step in range(first, args.steps):
        mean += (training.step() - mean) * (0.02 if step > first else 1.0)
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            rate = (time.monotonic() - began) / work(first, step + 1, args.steps)
            left = rate * work(step + 1, args.steps, args.steps)
            report = evaluate(training, net, training.test_idx, step + 1)
            print(f"{args.steps} steps, {left:.0f} s left  loss {mean:.4f}  {report}", flush=True)
            checkpoint.save(
                args.work / "checkpoint.pt", same, training.parts, training.rng, step + 1
            )
    return training, net.eval(), evaluate(training, net, training.test_idx, args.steps)


@torch.no_grad()
def codes(training: Training, net: FlowPolicy) -> dict[str, NDArray[Any]]:
    """What the head learns from, for all samples: `code` (n, c), `latent` (n, a), and where they
    come from, `episode`, `folder` and `t_ns` (n,)."""
    data = training.data
    net.eval()
    parts = np.array_split(np.arange(len(data)), max(1, len(data) // 256))
    code = torch.cat([net.encode(*training.batch(part)) for part in parts])
    latent = net.latents.to_latent(torch.from_numpy(data.actions))
    return {
        "code": code.numpy(), "latent": latent.numpy(), "episode": data.episode,
        "folder": data.folder, "t_ns": data.t_ns,
    }  # fmt: skip


def main(args: Args) -> None:
    """Train the policy and export it as a bundle."""
    from headway.export.flow import save_flow_policy

    corpus = corpus_of(args.scenes)
    training, net, report = train(args, corpus, load(args, corpus))
    np.savez_compressed(args.work / "codes.npz", **codes(training, net))
    path = save_flow_policy(
        net, training.tokenizer.to_str(), args.out, actions=ACTIONS, seed=args.seed,
        metrics={k: float(v) for k, v in asdict(report).items() if v == v},
        data=f"{report.samples} decisions of scripted demonstrations of {', '.join(args.scenes)}",
        command="python -m headway.learn.policy.train",
    )  # fmt: skip
    print(f"{report}\nwrote {path}")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Args))
