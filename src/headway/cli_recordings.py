"""The commands that look into recordings: `headway report`, `latency`, `replay` and `patch`.

Each function in `RECORDING_COMMANDS` is a command; its docstring is the command's help text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tyro

from headway import shipped


def report(recording: tyro.conf.Positional[Path], out: Path | None = None) -> int:
    """Write one self-contained HTML page about a recording.

    Args:
        recording: MCAP file.
        out: file for the page [beside the recording].
    """
    from headway.tools.report import report_command

    return report_command(recording, out)


def latency(
    recordings: tyro.conf.Positional[tuple[Path, ...]],
    late_us: float | None = None,
    json: bool = False,
) -> int:
    """Show the timing of runs: stages of a tick, delays of chunks, late ticks and their causes.

    Args:
        recordings: MCAP files.
        late_us: list ticks that began later than this many microseconds [a tenth of the period].
        json: print JSON, for programs.
    """
    from headway.tools.latency.command import latency_command

    return latency_command(recordings, late_us, json)


def replay(
    recording: tyro.conf.Positional[Path], pro: Path | None = None, against: Path | None = None
) -> int:
    """Recompute PRO from a recording and say whether it equals what was recorded.

    Args:
        recording: MCAP file of a run with PRO.
        pro: bundle of the PRO head that it was recorded with [the one shipped with Headway].
        against: instead, compare with this recording, except for when and where each was made.
    """
    from headway.tools.replay.replay import replay_command

    return replay_command(recording, shipped.PRO if pro is None else pro, against)


def patch(
    recording: tyro.conf.Positional[Path],
    at: tuple[float, ...] = (),
    text: str = "",
    clear: bool = False,
) -> int:
    """Say where something failed in a recording; training takes it as a failure.

    Args:
        recording: MCAP file of a run, which is not changed: a file beside it keeps what is said.
        at: when it failed, in seconds after the beginning; without it, print what is flagged.
        text: what failed.
        clear: remove what was flagged before.
    """
    from headway.tools.patch import patch_command

    return patch_command(recording, at, text, clear)


RECORDING_COMMANDS: dict[str, Callable[..., int]] = {
    "report": report,
    "latency": latency,
    "replay": replay,
    "patch": patch,
}
