"""The commands `headway pro COMMAND`: train, judge and calibrate PRO heads.

Each function in `PRO_COMMANDS` is a command, as those of `headway.cli` are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tyro


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
    map: Path,
    out: Path = Path("card"),
    seed: int = 0,
    overwrite: bool = False,
) -> int:
    """Judge a PRO head on recordings: what it is good for, beside baselines and controls.

    Args:
        bundle: bundle of the PRO head.
        data: recordings of a robot, or folders of them.
        map: TOML file that says what each channel and event is (examples in examples/score).
        out: the page becomes OUT.html, the numbers OUT.json.
        seed: of the draws behind the intervals, and of the folds of the baselines.
        overwrite: replace existing files at --out.
    """
    from headway.learn.pro.card.command import card_command

    return card_command(bundle, data, map, out, seed, overwrite)


PRO_COMMANDS: dict[str, Callable[..., int]] = {"alarms": alarms, "card": card}
