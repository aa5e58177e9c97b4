"""Behaviour cloning of an action-chunk policy from camera, proprioception and instruction.

    python -m headway.learn.behaviour_cloning --demos runs/demos --out models/pick_place_policy

The loss has three terms: L1 on the normalised pose of every waypoint (as in ACT, Zhao et al. 2023,
but without its latent), binary cross-entropy on the jaws, and an auxiliary loss that draws the
first attention map to the point at which the demonstration later closed the jaws. That point comes
from telemetry, not from an object pose. Interrupted training resumes from its checkpoint.
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
from torch import Tensor

from headway.drivers.sim.arm_model import with_gripper
from headway.drivers.sim.cell import CellConfig
from headway.drivers.sim.gripper import WRIST_TILT
from headway.drivers.sim.scenes.pick_place import INSTRUCTIONS
from headway.learn import checkpoint, dataset
from headway.learn.networks import ChunkPolicy, wrist_camera
from headway.learn.scripted import ACTIONS, HORIZON
from headway.learn.state_names import CLONING_STATE

ARM = with_gripper("ur5e")  # of the demonstrations


@dataclass(frozen=True)
class Args:
    """What to train on, and how. A checkpoint is resumed only by a training with the same
    arguments on the same samples."""

    demos: tuple[Path, ...] = (Path("runs/demos"),)  # folders of recordings
    out: Path = Path("models/pick_place_policy")
    work: Path = Path("runs/train_policy")  # checkpoint
    steps: int = 5000
    batch: int = 64
    lr: float = 2e-3
    seed: int = 0
    limit: int | None = None  # use only so many recordings, the first ones
    threads: int = 1


@dataclass(frozen=True)
class Report:
    """How well the policy imitates episodes that it was not trained on, after `steps` steps; NaN
    where there are none. `samples` counts those of all episodes."""

    steps: int
    samples: int
    held_out_position_mm: float  # mean absolute error of the last waypoint
    held_out_grip: float  # share of waypoints with the right jaw command
    held_out_grasp_mm: float  # mean error of the attended point, at 2 cm or more from it


def load(args: Args) -> dataset.Samples:
    """The samples of all folders in `args.demos`. Raises what `dataset.load` raises."""
    parts = [
        dataset.load(
            folder, ARM.robot.chain, camera="wrist", state_names=CLONING_STATE,
            vocabulary=INSTRUCTIONS, horizon=HORIZON, stroke=ARM.gripper.stroke, limit=args.limit,
        )
        for folder in args.demos
    ]  # fmt: skip
    return dataset.join(parts)


def train(args: Args) -> tuple[ChunkPolicy, Report]:
    """Train on 19 of 20 episodes, and judge the result by the others. The network that is returned
    has the moving average of the weights. Every 250 steps the report is printed and a checkpoint
    written."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    data = load(args)
    held = data.episode % 20 == 0
    train_idx, test_idx = np.flatnonzero(~held), np.flatnonzero(held)
    weights = _weights(data, train_idx)
    net = _network(data, train_idx)
    eyes = {"params": list(net.attention.parameters())}
    optimiser = torch.optim.AdamW([eyes, {"params": net.head.parameters()}], weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [4 * args.lr, args.lr], total_steps=args.steps, pct_start=0.05
    )
    rng = np.random.default_rng(args.seed)
    # A moving average of the weights over a few hundred steps is better than those of one step.
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    state = {"net": net, "average": average, "optimiser": optimiser, "schedule": schedule}
    path, same = args.work / "checkpoint.pt", checkpoint.same(args, data)
    first = checkpoint.resume(path, same, state, rng)
    began, mean = time.monotonic(), 0.0
    net.train()
    for step in range(first, args.steps):
        loss = _loss(net, data, rng.choice(train_idx, args.batch, p=weights), rng)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(net)
        mean += (loss.item() - mean) * (0.02 if step > first else 1.0)
        if (step + 1) % 250 == 0:
            left = (time.monotonic() - began) / (step + 1 - first) * (args.steps - step - 1)
            report = evaluate(average.module, data, test_idx, step + 1)
            print(f"{args.steps} steps, {left:.0f} s left  loss {mean:.4f}  {report}", flush=True)
            checkpoint.save(path, same, state, rng, step + 1)
    net = average.module
    return net, evaluate(net, data, test_idx, args.steps)


def _network(data: dataset.Samples, idx: NDArray[Any]) -> ChunkPolicy:
    x, y, z = ARM.gripper.wrist_camera
    tx, ty, tz = ARM.gripper.tcp
    camera = wrist_camera(
        data.rgb.shape[1], CellConfig().wrist_fovy, WRIST_TILT, (x - tx, y - ty, z - tz)
    )
    net = ChunkPolicy(
        camera=camera, state=data.state.shape[1], instructions=len(INSTRUCTIONS),
        horizon=data.actions.shape[1],
    )  # fmt: skip
    state, actions = data.state[idx], data.actions[idx]
    net.state_mean[:] = torch.from_numpy(state.mean(0))
    net.state_std[:] = torch.from_numpy(np.maximum(state.std(0), 1e-3))
    net.action_mean[:] = torch.from_numpy(actions.mean(0))
    net.action_std[:] = torch.from_numpy(np.maximum(actions.std(0), 2e-3))
    return net


def _weights(data: dataset.Samples, idx: NDArray[Any]) -> NDArray[Any]:
    """Sampling probabilities of the samples `idx`. In most frames the tool is already above its
    target, so they teach little about where to look; frames from farther away count three times."""
    far = np.linalg.norm(np.nan_to_num(data.grasp[idx, :2]), axis=1) > 0.02
    weights = 1.0 + 2.0 * far
    return np.asarray(weights / weights.sum())


def _batch(data: dataset.Samples, idx: NDArray[Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.from_numpy(data.rgb[idx]),
        torch.from_numpy(data.depth[idx].astype(np.float32)),
        torch.from_numpy(data.state[idx]),
        torch.from_numpy(data.instruction[idx]),
    )


def _loss(
    net: ChunkPolicy, data: dataset.Samples, idx: NDArray[Any], rng: np.random.Generator
) -> Tensor:
    rgb, depth, state, instruction = _batch(data, idx)
    # Light and exposure differ between cells, so brightness and colour balance vary per sample.
    gain = torch.from_numpy(rng.uniform(0.8, 1.2, (len(idx), 1, 1, 3)).astype(np.float32))
    rgb = (rgb.float() * gain).clamp(0, 255)
    code = net.encode(rgb, depth, state, instruction)
    out = net.raw(code)
    target = torch.from_numpy(data.actions[idx])
    wanted = (target - net.action_mean) / net.action_std
    pose = F.l1_loss(out[..., :6], wanted[..., :6])
    grip = F.binary_cross_entropy_with_logits(out[..., 6], target[..., 6])
    grasp = torch.from_numpy(data.grasp[idx])
    known = ~grasp.isnan().any(dim=1)
    # The attended point (in `code` times 10) against where the jaws closed; a gap of 1 is 5 cm.
    gap = 2.0 * (code[known, :2] - grasp[known, :2] * 10.0)
    aux = F.smooth_l1_loss(gap, torch.zeros_like(gap), beta=0.2) if known.any() else gap.sum()
    return pose + 0.5 * grip + 2.0 * aux


@torch.no_grad()
def evaluate(net: ChunkPolicy, data: dataset.Samples, idx: NDArray[Any], steps: int) -> Report:
    """Judge `net` by the samples `idx` of `data`; `steps` is for the report."""
    net.eval()
    out = torch.cat([net(*_batch(data, part)) for part in _parts(idx)])
    truth = torch.from_numpy(data.actions[idx])
    error = (out[:, -1, :3] - truth[:, -1, :3]).abs().mean().item() * 1000
    grip = ((out[..., 6] > 0.5) == (truth[..., 6] > 0.5)).float().mean().item()
    known = idx[np.linalg.norm(np.nan_to_num(data.grasp[idx, :2]), axis=1) > 0.02]
    code = torch.cat([net.encode(*_batch(data, part)) for part in _parts(known)])
    grasp = (code[:, :2] / 10.0 - torch.from_numpy(data.grasp[known, :2])).abs().mean().item()
    net.train()
    return Report(steps, len(data), error, grip, grasp * 1000)


def _parts(idx: NDArray[Any]) -> list[NDArray[Any]]:
    return np.array_split(idx, max(1, len(idx) // 256))


def main(args: Args) -> None:
    """Train the policy and export it as a bundle."""
    from headway.export.policy import save_policy

    net, report = train(args)
    path = save_policy(
        net, args.out, state_names=CLONING_STATE, actions=ACTIONS, seed=args.seed,
        metrics={k: float(v) for k, v in asdict(report).items() if math.isfinite(v)},
        data=f"{report.samples} policy ticks of successful scripted demonstrations",
    )  # fmt: skip
    print(f"{report}\nwrote {path}")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Args))
