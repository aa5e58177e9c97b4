"""`headway dataset export`: recordings of `headway run` as a LeRobotDataset.

The data set is written beside the folder that it is asked for, and takes its name when it is
complete: what ends an export early leaves nothing behind there, and an existing data set is
replaced only then.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from headway.errors import ConfigError, RecordingError
from headway.files import take_place
from headway.tools.dataset import layout, video
from headway.tools.dataset.episode import read_episode
from headway.tools.dataset.packages import need
from headway.tools.dataset.select import Plan, columns_of, plan, rate_of, recordings_in
from headway.tools.dataset.writer import DatasetWriter

INCOMPLETE = 1  # exit code when a recording was left out


def export_command(
    recordings: Sequence[Path],
    out: Path,
    *,
    fps: int | None = None,
    images: bool = True,
    successes: bool = False,
    overwrite: bool = False,
    console: Any = None,
) -> int:
    """Write the episodes of `recordings` (files, or folders of them) as a data set to the folder
    `out`. `fps`: frames a second, None for the rate of the images; `images`: also export what the
    cameras saw; `successes`: only episodes that succeeded; `overwrite`: replace a data set at
    `out`. What cannot be read is said, and the others are exported.

    Returns 0, or 1 when a recording was left out since it could not be read. Raises Missing without
    the packages, ConfigError, and RecordingError where nothing can be read or written."""
    console = console or Console()
    need("pyarrow.parquet")
    if images:
        video.codec()
    if not recordings:
        raise ConfigError("wanted recordings to export, found none: name .mcap files or folders")
    paths = recordings_in(recordings)
    with beside(out, overwrite) as part:
        why = "as asked"
        if fps is None:
            fps, why = rate_of(paths, images)
        with progress_bar(console) as progress:
            bar = progress.add_task("looking", total=len(paths))
            chosen = plan(
                paths, fps, images=images, successes=successes, show=lambda: progress.advance(bar)
            )
        console.print(f"{fps} frames a second: {escape(why)}", highlight=False)
        with progress_bar(console) as progress, _disk(out):
            bar = progress.add_task("writing", total=len(chosen.paths))
            writer = _write(chosen, part, lambda: progress.advance(bar))
    for text in chosen.notes:
        console.print(f"[yellow]note[/yellow] {escape(text)}", soft_wrap=True)
    for text in chosen.failed:
        console.print(f"[red]not exported[/red] {escape(text)}", soft_wrap=True)
    cameras = ", ".join(chosen.cameras) or "no cameras"
    console.print(
        f"{writer.episodes} episodes, {writer.frames} frames, {escape(cameras)}: LeRobotDataset "
        f"{layout.VERSION} in {escape(str(out))}",
        soft_wrap=True,
        highlight=False,
    )
    return INCOMPLETE if chosen.failed else 0


def _write(chosen: Plan, folder: Path, show: Callable[[], object]) -> DatasetWriter:
    """Write the episodes of a plan; one that turns out to be damaged is added to what failed."""
    writer = DatasetWriter(folder, chosen.features, chosen.fps, chosen.robot)
    try:
        for path in chosen.paths:
            try:
                episode = read_episode(path, chosen.fps, images=bool(chosen.cameras))
                pictures = {layout.IMAGES + c: episode.images(c) for c in chosen.cameras}
                columns = columns_of(episode, chosen.features)
                about = {layout.RECORDING: episode.kept().to_json()}
                writer.add(columns, episode.tasks, pictures, episode.success, about)
            except RecordingError as e:  # frames in a video that no episode has do no harm
                chosen.failed.append(str(e))
            show()
        if not writer.episodes:
            raise RecordingError(f"wanted a recording to export, found none: {chosen.failed[0]}")
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return writer


def progress_bar(console: Any) -> Progress:
    """A bar that is gone when its work is done."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True,
    )  # fmt: skip


@contextmanager
def beside(out: Path, overwrite: bool) -> Iterator[Path]:
    """A new folder, which becomes `out` at the end of the block. Where the block raises, the folder
    is removed and `out` is as before. Raises ConfigError for an `out` that must not be replaced,
    RecordingError where no folder can be made."""
    target = Path(os.path.realpath(out))
    check_free(target, out, overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(f".{os.getpid()}.part", f".{target.name}.", target.parent))
        part.chmod(0o777 & ~_umask())
    except OSError as e:
        raise RecordingError(
            f"wanted a folder for the data set beside {out}: {e.strerror}: choose another place"
        ) from None
    try:
        yield part
        old = part.with_suffix(".old")
        take_place(part, target, old)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def check_free(target: Path, out: Path, overwrite: bool) -> None:
    """Raises ConfigError for an `out` (whose real path is `target`) that must not be replaced."""
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / layout.INFO).is_file():  # somebody's files: --overwrite is not about them
        raise ConfigError(
            f"wanted a new folder for the data set, found {out} with something else in it: choose "
            "another --out"
        )
    if not overwrite:
        raise ConfigError(
            f"wanted a new folder for the data set, found a data set at {out}: choose another "
            "--out, or give --overwrite to replace it"
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _disk(out: Path) -> Iterator[None]:
    """Raises RecordingError where the disk does not take what is written."""
    try:
        yield
    except OSError as e:
        why = getattr(e, "strerror", None) or str(e)
        raise RecordingError(
            f"cannot write the data set {out}: {why}: free space or choose another place; nothing "
            "was left there"
        ) from e
