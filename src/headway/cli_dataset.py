"""`headway dataset export` and `headway dataset import`: recordings as a LeRobotDataset, and back.

Each function in `DATASET_COMMANDS` is a command; its docstring is the command's help text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

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


def import_(
    folder: tyro.conf.Positional[Path],
    out: Path,
    joint_unit: Literal["rad", "deg"] | None = None,
    images: bool = True,
    overwrite: bool = False,
) -> int:
    """Write the episodes of a LeRobotDataset (2.0, 2.1 or 3.0) as recordings.

    Args:
        folder: folder of the data set.
        out: folder for the recordings.
        joint_unit: unit of the joints, for a data set that `headway dataset export` did not write.
        images: also write what the cameras saw.
        overwrite: replace other recordings of the same names.
    """
    from headway.tools.dataset.importer import import_command

    return import_command(folder, out, joint_unit=joint_unit, images=images, overwrite=overwrite)


DATASET_COMMANDS: dict[str, Callable[..., int]] = {"export": export, "import": import_}
