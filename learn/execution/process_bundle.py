"""PRO's head of a unit as a bundle that runs on the robot, like those of `headway pro train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headway.kernels import spec
from headway.learn.execution import process
from headway.learn.execution.judged import example
from headway.learn.execution.lessons import Lesson
from headway.learn.execution.process import NOT_READ, Head, ProcessFit, Signals
from headway.learn.execution.targets import targets
from headway.learn.files import distinct
from headway.learn.pro import calibration, dataset
from headway.learn.pro.examples import TARGETS
from headway.learn.pro.heads import Fold, Folds
from headway.learn.pro.save import Facts, save
from headway.learn.pro.tune import Recurrent
from headway.tools.statistics import auroc


def save_head(
    out: Path,
    lessons: Sequence[Lesson],
    of_folds: Sequence[Head],
    how: ProcessFit,
    seed: int,
    note: str,
) -> None:
    """Teach a head by all `lessons` and write it to the folder `out`, in the place of one that is
    there, with those `of_folds` beside it and a calibration of its risk by what they say of lessons
    that they did not see. `note` says where it comes from. The outputs `completion` and
    `time_to_go` are about the line that is due, see `process`. Raises BundleError."""
    slope, shift = of_folds[0].slope, of_folds[0].shift
    made = [_calibrated(Head(process.teach(lessons, how, seed + 500).net, slope, shift))]
    made += [_calibrated(h) for h in of_folds]
    signals = process.held_out(lessons, of_folds)
    examples = [example(x, how.risk_s) for x in lessons]
    risk = [s.risk for s in signals]
    said = calibration.summary(examples, risk)
    fold = process.fold_of(len(lessons)).tolist()
    before, _, of = said.hits
    rates = [x.tick_hz for x in lessons]
    metrics = {
        "episodes": float(len(lessons)),
        "auroc_risk_held_out": said.auroc,
        "auroc_closes_held_out": _auroc(lessons, signals),
        "caught_before_at_10_percent_early": before / of if of else float("nan"),
    }
    needed = {
        m for n in spec.NAMES if n not in NOT_READ for m in spec.FEATURES[spec.INDEX[n]].needs
    }
    where = "recorded" if lessons[0].sha256 else "of one unit of a study"
    facts = Facts(
        command=note,
        data=f"{len(lessons)} episodes {where} ({note}); completion and time_to_go are about the "
        "line of the order that is due",
        episodes=len(lessons),
        seed=seed,
        rate_hz=lessons[0].hz,
        tick_hz=(min(rates), max(rates)),
        robot=lessons[0].robot,
        task=lessons[0].name.partition(":")[0],
        groups=tuple(m for m in dataset.known_groups(examples) if m in needed),
        taught=TARGETS,
        about="line",
        risk_s=how.risk_s,
        metrics={k: v for k, v in metrics.items() if np.isfinite(v)},
        thresholds={"risk": said.threshold} if np.isfinite(said.threshold) else {},
    )
    # Recordings of several runs may have the same seeds, and so the same names.
    named = zip(distinct([e.name for e in examples]), examples, fold, strict=True)
    folds = Folds(process.FOLDS, {name: Fold(k, e.sha256) for name, e, k in named})
    save(out, made[0], made[1:], folds, calibration.peaks(examples, risk), facts)


def _calibrated(head: Head) -> Recurrent:
    made = Recurrent(head.net)
    made.calibrate(head.slope, head.shift)
    return made


def _auroc(lessons: Sequence[Lesson], signals: Sequence[Signals]) -> float:
    y = np.concatenate([targets(x).closes for x in lessons])
    p = np.concatenate([s.closes for s in signals])
    known = np.isfinite(y)
    return auroc(p[known], y[known] == 1)
