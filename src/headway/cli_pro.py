"""The commands `headway pro COMMAND`: train, judge and calibrate PRO heads.

Each function in `PRO_COMMANDS` is a command, as those of `headway.cli` are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tyro


def train(
    data: tyro.conf.Positional[tuple[Path, ...]],
    map: Path,
    out: Path,
    init: Path | None = None,
    compare: bool = False,
    folds: int = 5,
    split: Literal["auto", "session", "episode"] = "auto",
    keep: tuple[str, ...] = (),
    hz: float | None = None,
    steps: int = 1500,
    seed: int = 0,
    overwrite: bool = False,
    threads: int = 1,
) -> int:
    """Train a PRO head on logs of your own robot, with alarms calibrated on held-out episodes.

    Args:
        data: logs, or folders of them.
        map: TOML file that says what each channel is, and how episodes went (docs/score.md).
        out: folder of the bundle to write.
        init: go on from the head of this bundle, instead of training a new one.
        compare: print how training anew, going on, and the head to go on from compare.
        folds: parts that the episodes are dealt into; each is judged by a head without it.
        split: whole sessions to the folds, or episodes [sessions where the mapping tells them].
        keep: features to read although they tell the time, the pose or the outcome, or count
            failures.
        hz: steps of the head a second [the slowest file's rate, at most 50].
        steps: steps of the training.
        seed: of all that is drawn at random.
        overwrite: replace a bundle at --out.
        threads: of PyTorch; for so small a network one is fastest.
    """
    from headway.bundle.folder import check_place
    from headway.errors import Missing

    check_place(out)  # before the training, not after it
    try:
        from headway.learn.pro.train import Options, train_command
    except ImportError as e:
        raise Missing(f"training wants PyTorch: pip install 'headway[learn]' ({e})") from None

    options = Options(out, init, compare, folds, split, keep, hz, steps, seed, overwrite, threads)
    return train_command(data, map, options)


def alarms(
    bundle: tyro.conf.Positional[Path],
    calibration: Path | None = None,
    recordings: Path | None = None,
    out: Path | None = None,
    alpha: tuple[float, ...] = (),
    overwrite: bool = False,
) -> int:
    """Say which level of risk raises how many false alarms, and calibrate it on own recordings.

    Args:
        bundle: bundle of the PRO head.
        calibration: its calibration [that inside the bundle, or beside it].
        recordings: instead, make one from this folder of `headway run`'s recordings.
        out: with --recordings, the file to write [BUNDLE.risk.json].
        alpha: false-alarm rates, shares of the successes that may alarm [0.5 to 0.01].
        overwrite: replace an existing file at --out.
    """
    from headway.tools.alarms import alarms_command

    return alarms_command(bundle, calibration, recordings, out, alpha, overwrite)


def card(
    bundle: tyro.conf.Positional[Path],
    data: tyro.conf.Positional[tuple[Path, ...]],
    map: Path | None = None,
    out: Path = Path("card"),
    seed: int = 0,
    overwrite: bool = False,
) -> int:
    """Judge a PRO head on recordings: what it is good for, beside baselines and controls.

    Args:
        bundle: bundle of the PRO head.
        data: recordings of a robot, or folders of them.
        map: TOML file that says what each channel and event is (examples in examples/score)
            [recordings of `headway run`, whose orders are judged line by line].
        out: the page becomes OUT.html, the numbers OUT.json.
        seed: of the draws behind the intervals, and of the folds of the baselines.
        overwrite: replace existing files at --out.
    """
    from headway.learn.pro.card.command import card_command

    return card_command(bundle, data, map, out, seed, overwrite)


PRO_COMMANDS: dict[str, Callable[..., int]] = {"train": train, "card": card, "alarms": alarms}
