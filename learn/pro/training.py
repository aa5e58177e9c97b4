"""Train a PRO head on recordings of a policy, and compare it with simple baselines.

    python -m headway.learn.pro --rollouts runs/rollouts runs/disturbed --out models/pick_place_pro

The loss is a weighted sum of
- two-hot cross-entropy of the time-to-go, on successes;
- a ranking of the expected time-to-go at equal shares of the episodes: clean success < success with
  retries < failure;
- binary cross-entropy of the station's outcome (completion), of a failure event within 2 s or a
  contact of more than 30 N within 1 s (risk), and of a retry within 2 s (1 - stability).

Channel groups are masked at random, so that the head also works for a robot without one, and so are
the bits of higher rates, for a robot that is slower. Splits are by episode. Temperatures are fitted
on the validation split; the reported numbers are from the test split, which is used only once.
Disturbed episodes are judged separately.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from headway import bundle
from headway.bundle import Manifest, Pro, Provenance
from headway.edge.pro.operator import OUTPUTS
from headway.errors import RecordingError
from headway.export.onnx import export
from headway.kernels import spec
from headway.learn.pro import recordings
from headway.learn.pro.fit import two_hot
from headway.learn.pro.head import HIDDEN, ProHead
from headway.learn.pro.recordings import Labelled
from headway.learn.pro.report import judge


@dataclass(frozen=True)
class Args:
    """What to train on, and how. `rollouts`: folders of recordings; `out`: folder of the bundle;
    `tasks`: the names of their tasks, at most spec.N_TASKS; `head_hz`: rate of the head [Hz];
    `limit_s`: the longest time-to-go that the head can tell [s].
    `gamma` and the two weights make PRO's reward; the training does not use them."""

    rollouts: tuple[Path, ...] = (Path("runs/rollouts"), Path("runs/disturbed"))
    out: Path = Path("models/pick_place_pro")
    tasks: tuple[str, ...] = ("pick_place",)
    steps: int = 1500
    batch: int = 16
    lr: float = 2e-3
    seed: int = 0
    head_hz: float = 50.0
    limit_s: float = 18.0
    # Episodes end, so no discount is needed. With gamma < 1, waiting at a large time-to-go would
    # earn (1 - gamma) * time_to_go at every step.
    gamma: float = 1.0
    risk_weight: float = 0.05
    stability_weight: float = 0.02
    threads: int = 1


@dataclass(frozen=True)
class Batch:
    """b episodes as sequences (b, t, ...), padded with zeros to t steps; `valid` (b, t) is False in
    the padding. `success` and `rank` are (b,)."""

    features: Tensor
    mask: Tensor
    to_go: Tensor
    labels: Tensor  # completion, risk, unstable
    valid: Tensor
    success: Tensor
    rank: Tensor  # 0 clean success, 1 success with retries, 2 failure


def collate(items: list[Labelled]) -> Batch:
    """The episodes `items` as one batch."""
    n = max(len(s.features) for s in items)

    def pad(parts: list[NDArray[Any]]) -> Tensor:
        out = np.zeros((len(parts), n, *parts[0].shape[1:]), np.float32)
        for row, part in zip(out, parts, strict=True):
            row[: len(part)] = part
        return torch.from_numpy(out)

    labels = [
        np.stack([np.full_like(s.risk, s.success), s.risk, s.unstable], axis=1) for s in items
    ]
    rank = [2 if not s.success else min(1, s.retries) for s in items]
    return Batch(
        pad([s.features for s in items]),
        pad([s.mask for s in items]),
        pad([s.time_to_go for s in items]),
        pad(labels),
        pad([np.ones(len(s.features)) for s in items]) > 0,
        torch.tensor([s.success for s in items]),
        torch.tensor(rank),
    )


def split(items: list[Labelled]) -> tuple[list[Labelled], list[Labelled], list[Labelled]]:
    """Split the episodes into training (60 %), validation (20 %) and test (20 %), by the scene's
    seed alone."""
    parts: tuple[list[Labelled], list[Labelled], list[Labelled]] = ([], [], [])
    for s in items:
        parts[(0, 0, 0, 1, 2)[s.seed % 5]].append(s)
    return parts


def loss_of(net: ProHead, b: Batch, generator: torch.Generator) -> Tensor:
    """The loss of `net` on the batch `b`, see above. `generator` draws which channel groups and
    rates are masked, and at which share of the episodes they are ranked."""
    # Mask each channel group, and each rate and those above it, in one of eight sequences.
    keep = torch.rand(b.mask.shape[0], 1, b.mask.shape[2], generator=generator) >= 0.125
    keep[..., spec.N_GROUPS :] = keep[..., spec.N_GROUPS :].cumprod(dim=-1).bool()
    logits, binary = net.sequence(b.features, b.mask * keep)
    flags = F.binary_cross_entropy_with_logits(binary[b.valid], b.labels[b.valid])
    good = b.valid & b.success[:, None]
    to_go = two_hot(logits[good], b.to_go[good], net.bins) if good.any() else flags * 0
    return 0.3 * to_go + flags + 0.2 * _ranking(net, logits, b, generator)


def _scales(features: NDArray[Any]) -> NDArray[Any]:
    """The scales (209,) to divide features (n, 209) by: their standard deviations, but at least
    0.001. For a feature that is constant in the training data, inf: nothing was learned about it,
    so it must have no effect when it varies later."""
    still = features.max(axis=0) == features.min(axis=0)
    return np.where(still, np.inf, np.maximum(features.std(axis=0), 1e-3)).astype(np.float32)


def _ranking(net: ProHead, logits: Tensor, b: Batch, generator: torch.Generator) -> Tensor:
    """Hinge loss on the expected time-to-go at one random share of all episodes, with a margin of
    0.5 s between ranks."""
    share = 0.4 + 0.6 * float(torch.rand(1, generator=generator))
    at = ((b.valid.sum(1) - 1) * share).long()
    value = net.expected(logits[torch.arange(len(at)), at])
    worse = b.rank[:, None] > b.rank[None, :]
    if not worse.any():
        return value.sum() * 0
    return torch.relu(0.5 - (value[:, None] - value[None, :]))[worse].mean()


def train(args: Args, items: list[Labelled]) -> ProHead:
    """Train a head on the training split of `items`, and fit its temperatures on the validation
    split."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    fit, validation, _ = split(items)
    durations = [float(s.time_to_go[0]) for s in fit if s.success]
    net = ProHead(args.limit_s, float(np.median(durations)))
    everything = np.concatenate([s.features for s in fit])
    net.mean[:] = torch.from_numpy(everything.mean(0))
    net.std[:] = torch.from_numpy(_scales(everything))
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.lr, total_steps=args.steps)
    for _ in track(range(args.steps), description="PRO head"):
        batch = collate([fit[i] for i in rng.choice(len(fit), args.batch)])
        loss = loss_of(net, batch, generator)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    _calibrate(net, validation)
    return net


@torch.no_grad()
def outputs(net: ProHead, items: list[Labelled]) -> list[dict[str, NDArray[Any]]]:
    """The calibrated signals of each episode in `items`, by name; each (n,)."""
    net.eval()
    found = []
    for s in items:
        logits, binary = net.sequence(
            torch.from_numpy(s.features)[None], torch.from_numpy(s.mask)[None]
        )
        p = torch.sigmoid(binary[0] / net.temperature).numpy()
        to_go = net.expected(logits[0]).numpy()
        found.append(
            {"completion": p[:, 0], "risk": p[:, 1], "stability": 1 - p[:, 2], "time_to_go": to_go}
        )
    net.train()
    return found


def _calibrate(net: ProHead, items: list[Labelled]) -> None:
    """Fit one temperature per binary output on the validation split `items` (temperature scaling,
    Guo et al. 2017)."""
    b = collate(items)
    with torch.no_grad():
        _, binary = net.sequence(b.features, b.mask)
    grid = torch.logspace(-0.7, 1.0, 60)
    for k in range(3):
        logit, label = binary[..., k][b.valid], b.labels[..., k][b.valid]
        losses = [F.binary_cross_entropy_with_logits(logit / t, label) for t in grid]
        net.temperature[k] = grid[int(torch.stack(losses).argmin())]


def save(net: ProHead, args: Args, items: list[Labelled], metrics: dict[str, float]) -> Path:
    """Export the head and write it as a bundle to the folder `args.out`, with `metrics`, and with
    `risk_threshold` among them as the threshold of the risk. `items` are all that it was made from.
    Returns the folder. Raises BundleError where it cannot be written."""
    inputs = {
        "features": torch.zeros(1, len(spec.NAMES)) + 0.1,
        "mask": torch.ones(1, len(spec.MASKS)),
        "h": torch.zeros(1, HIDDEN) + 0.1,
    }
    model, ins, outs = export(net.step(), inputs, [*OUTPUTS, "h_out"])
    names = ("completion", "risk", "stability")
    manifest = Manifest(
        kind="pro",
        name=args.out.name,
        onnx="pro.onnx",
        inputs=ins,
        outputs=outs,
        provenance=Provenance(
            command=" ".join(["python -m headway.learn.pro", *sys.argv[1:]]),
            seed=args.seed,
            data=f"{len(items)} recorded episodes of the shipped policy, "
            f"{sum(s.disturbed for s in items)} of them disturbed, split by seed",
            date=date.today().isoformat(),
            metrics=metrics,
        ),
        pro=Pro(
            spec_hash=spec.spec_hash(),
            rate_hz=args.head_hz,
            hidden=HIDDEN,
            masks=spec.MASKS,
            tasks=args.tasks,
            temperature=dict(zip(names, net.temperature.tolist(), strict=True)),
            thresholds={"risk": metrics["risk_threshold"]} if "risk_threshold" in metrics else {},
            gamma=args.gamma,
            risk_weight=args.risk_weight,
            stability_weight=args.stability_weight,
        ),
    )
    return bundle.save(args.out, manifest, {"pro.onnx": model}).path


def require_splits(items: list[Labelled]) -> None:
    """Raises RecordingError where `items` cannot train and judge a head, before that takes time:
    each split needs an episode, a disturbed one where there are disturbed ones and one that is not
    where there are such, and the training split a success."""
    disturbed = [s for s in items if s.disturbed]
    groups = {"episodes": items}
    if 0 < len(disturbed) < len(items):
        groups = {
            "disturbed episodes": disturbed,
            "episodes without disturbance": [s for s in items if not s.disturbed],
        }
    for name, some in groups.items():
        counts = [len(part) for part in split(some)]
        if 0 in counts:
            raise RecordingError(
                f"wanted {name} in the training, validation and test split, found "
                f"{', '.join(map(str, counts))}: record more of them, with seeds whose remainders "
                "by 5 are all there (0, 1, 2 train, 3 validates, 4 tests)"
            )
    if not any(s.success for s in split(items)[0]):
        raise RecordingError(
            f"wanted a success among the {len(split(items)[0])} training episodes, from which the "
            "head learns the time-to-go, found none: record some with a policy that can do the task"
        )


def main(args: Args) -> None:
    """Train a head, judge it, and write it as a bundle. Raises RecordingError for too few
    episodes."""
    items = [
        s for folder in args.rollouts for s in recordings.load(folder, args.head_hz, args.tasks)
    ]
    require_splits(items)
    net = train(args, items)
    metrics: dict[str, float] = {}
    for disturbed in (False, True):
        some = [s for s in items if s.disturbed == disturbed]
        if not some:
            continue
        prefix = "disturbed_" if metrics else ""
        print(f"{len(some)} episodes, {'' if disturbed else 'not '}disturbed")
        _, validation, test = split(some)
        found = judge(
            (validation, outputs(net, validation)), (test, outputs(net, test)), args.head_hz
        )
        metrics |= {prefix + name: value for name, value in found.items()}
    print(f"wrote {save(net, args, items, metrics)}")
