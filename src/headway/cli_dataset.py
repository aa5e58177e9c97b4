"""`headway dataset export` and `headway dataset import`: recordings as a LeRobotDataset, and back.

Each function in `DATASET_COMMANDS` is a command; its docstring is the command's help text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tyro


def export(
    recordings: tyro.conf.Positional[tuple[Path, ...]],
    out: Path,
    fps: int | None = None,
    images: bool = True,
    successes: bool = False,
    overwrite: bool = False,
) -> int:
    """Write recordings as a LeRobotDataset (version 3.0), to train policies with LeRobot.

    Args:
        recordings: MCAP files of `headway run`, or folders of them.
        out: folder for the data set.
        fps: frames a second [the rate of the recorded images].
        images: also export what the cameras saw, as video.
        successes: only episodes that ended in success.
        overwrite: replace a data set at --out.
    """
    from headway.tools.dataset.export import export_command

    return export_command(
        recordings, out, fps=fps, images=images, successes=successes, overwrite=overwrite
    )


DATASET_COMMANDS: dict[str, Callable[..., int]] = {"export": export}
