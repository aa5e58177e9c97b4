"""`headway patch`: a person who has watched a recording says where something failed in it."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from headway.errors import ConfigError, RecordingError
from headway.mcaplog import open_recording
from headway.tools import flags
from headway.tools.flags import Flag


def patch_command(recording: Path, at: tuple[float, ...], text: str, clear: bool) -> int:
    """Flag failures in the file `recording`, `at` [s] after its first tick, with the words `text`;
    without any, print those that are there; with `clear`, remove them all first. Returns the exit
    code. Raises ConfigError for moments outside of the recording, RecordingError for a file that is
    no recording of a run, and what `flags` raises."""
    if text and not at:
        raise ConfigError(
            f"wanted the moment that {text!r} is about, found none: give it with --at SECONDS"
        )
    ends_s = _seconds(recording)
    for t_s in at:
        if not (math.isfinite(t_s) and 0.0 <= t_s <= ends_s):
            raise ConfigError(
                f"wanted --at between 0 and {ends_s:.2f} s, the length of {recording}, found "
                f"{t_s:g}: `headway report {recording}` shows when things happened"
            )
    if clear:
        flags.clear(recording)
    new = tuple(Flag(t_s, text) for t_s in at)
    known = flags.add(recording, new) if new else flags.flags_of(recording)
    console = Console()
    for f in known:
        console.print(escape(f"{f.t_s:8.2f} s  {f.words}"), highlight=False, soft_wrap=True)
    if not known:
        console.print("no failure is flagged", highlight=False)
    return 0


def _seconds(path: Path) -> float:
    """The length of the episode in the file `path` [s]."""
    recording = open_recording(path)
    if "/telemetry" not in recording.topics:
        raise RecordingError(
            f"{path}: wanted a recording of `headway run` with /telemetry, found "
            f"{', '.join(recording.topics) or 'no topics'}: for logs of other robots, the table of "
            "labels says what failed (docs/pro-on-your-robot.md)"
        )
    t_ns = recording.rows("/telemetry")["t_ns"]
    if not len(t_ns):
        raise RecordingError(f"{path}: wanted ticks to flag, found none")
    return float(t_ns[-1] - t_ns[0]) / 1e9
