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


PRO_COMMANDS: dict[str, Callable[..., int]] = {"alarms": alarms}
