"""`headway dataset import`: the episodes of a LeRobotDataset as recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from headway.errors import ConfigError, HeadwayError, RecordingError
from headway.files import whole
from headway.kernels.telemetry import FIELDS
from headway.mcaplog import open_recording
from headway.tools import flags
from headway.tools.dataset import layout
from headway.tools.dataset.export import INCOMPLETE, progress_bar
from headway.tools.dataset.packages import need
from headway.tools.dataset.reader import Dataset
from headway.tools.dataset.restore import EPISODE, INFO_SHA256, identity, restore, topic_of
from headway.tools.dataset.robot import Meaning, meaning_of


def import_command(
    folder: Path,
    out: Path,
    *,
    joint_unit: str | None = None,
    images: bool = True,
    overwrite: bool = False,
    console: Any = None,
) -> int:
    """Write every episode of the data set in `folder` as a recording to the folder `out`.
    `joint_unit`: of the joints in a data set of others, None where it is not known; `images`: also
    what the cameras saw; `overwrite`: replace recordings. It can be interrupted and started again:
    complete recordings that were made with the same options are kept.

    Returns 0, or 1 when an episode was left out. Raises Missing without the packages, ConfigError
    for options that do not fit and for other files at `out`, and RecordingError for a folder that
    is no data set, or where nothing can be written."""
    console = console or Console()
    need("pyarrow.parquet")
    data = Dataset(folder)
    if images and any(data.features[key].dtype == "video" for key in data.cameras.values()):
        need("av")
    meaning = meaning_of(data.features, joint_unit)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise RecordingError(
            f"wanted a folder for recordings at {out}: {e.strerror}: choose another place"
        ) from None
    done, failed, removed = 0, list[str](), list[str]()
    with progress_bar(console) as progress:
        bar = progress.add_task("episodes", total=len(data.episodes))
        for episode in data.episodes:
            path = out / f"episode_{episode.index:06d}.mcap"
            try:
                facts = identity(data, episode, meaning, images=images)
                if overwrite or not _is_there(path, facts):
                    with whole(path) as part:
                        restore(data, episode, meaning, part, images=images)
                    if overwrite and flags.clear(path):
                        removed.append(flags.beside(path).name)
                done += 1
            except ConfigError:
                raise
            except HeadwayError as e:
                failed.append(f"episode {episode.index}: {e}")
            progress.advance(bar)
    for text in _notes(data, meaning, images):
        console.print(f"[yellow]note[/yellow] {escape(text)}", soft_wrap=True)
    for name in removed:
        console.print(
            f"[yellow]removed[/yellow] {escape(name)}, the flags of the recording that was there "
            "before", soft_wrap=True,
        )  # fmt: skip
    for text in failed:
        console.print(f"[red]not imported[/red] {escape(text)}", soft_wrap=True)
    console.print(
        f"{done} of {len(data.episodes)} episodes at {data.fps:g} Hz in {escape(str(out))}",
        soft_wrap=True,
        highlight=False,
    )
    return INCOMPLETE if failed else 0


def _is_there(path: Path, facts: dict[str, str]) -> bool:
    """Whether the recording with the identity `facts` is at `path`. Raises ConfigError for another
    file there."""
    if not path.exists():
        return False
    try:
        found = open_recording(path).metadata
    except RecordingError:
        found = {}
    wrong = [key for key, value in facts.items() if found.get(key) != value]
    if not wrong:
        return True
    same = facts[INFO_SHA256] == found.get(INFO_SHA256) and facts[EPISODE] == found.get(EPISODE)
    what = "the same episode, imported with other options," if same else "another file"
    raise ConfigError(
        f"wanted room for episode {facts[EPISODE]}, found {what} at {path}: choose another --out, "
        "or give --overwrite to replace it"
    )


def _notes(data: Dataset, meaning: Meaning, images: bool) -> list[str]:
    """What recordings have, and what the data set does not know."""
    notes = []
    if meaning.joints:
        known = {"q", "elapsed", *meaning.fields}
        known |= {"q_ref"} if meaning.q_ref else set()
        known |= {"width"} if meaning.width is not None else set()
        lacking = [name for name in FIELDS if name not in {*known, "task"}]
        notes.append(
            f"/telemetry lacks, since the data set does: {', '.join(lacking) or 'nothing'}"
        )
    else:
        state = data.features.get(layout.STATE)
        names = ", ".join((state.names if state is not None else None) or ()) or "no names"
        notes.append(
            f"no /telemetry: `{layout.STATE}` ({names}) does not say in which unit joints are: "
            "give --joint-unit, or score the topics by a mapping"
        )
    topics = [
        topic_of(name)
        for name, f in data.features.items()
        if name not in meaning.used
        and name not in layout.DEFAULTS
        and f.dtype not in ("video", "image", "string")
    ]
    if topics:
        notes.append(f"as they are in the data set: {', '.join(topics)}")
    if words := [name for name, f in data.features.items() if f.dtype == "string"]:
        notes.append(f"left out, since they are words: {', '.join(words)}")
    if data.cameras and not images:
        notes.append(f"left out by --no-images: {', '.join(data.cameras)}")
    return notes
