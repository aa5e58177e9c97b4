"""When, where and with which version an episode was recorded: the metadata record `headway.run`.

| key | value |
|---|---|
| started | wall clock at the start of the episode's recording, ISO 8601 with milliseconds and the offset from UTC |
| host | name of the computer |
| headway | version of Headway |
| revision | git commit when Headway runs from a checkout, with "-dirty" where files differ from it |

In lock-step this is the only record that differs between two recordings of the same seed, so
`headway replay A --against B` compares all others (`headway.mcapdiff`).
"""  # noqa: E501 - a table

from __future__ import annotations

import functools
import os
import platform
import subprocess
from datetime import datetime
from pathlib import Path

import headway

_GIT_S = 5.0


def origin() -> dict[str, str]:
    """The metadata of an episode that starts now."""
    return {"started": datetime.now().astimezone().isoformat(timespec="milliseconds"), **place()}


@functools.cache
def place() -> dict[str, str]:
    """The part of the metadata that stays the same while this process lives. The first call asks
    git, which takes time, so it has to be made before anything moves."""
    found = {"host": platform.node(), "headway": headway.__version__}
    if commit := revision(Path(headway.__file__).resolve().parents[2]):
        found["revision"] = commit
    return found


def revision(root: Path) -> str:
    """The git commit of the checkout at `root`; "" where that is no checkout, or git does not
    answer. Only `root` itself is looked at, not the folders above it: they may belong to another
    repository that Headway is installed in."""
    if not (root / ".git").exists():
        return ""
    git = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(
            git, capture_output=True, text=True, timeout=_GIT_S, check=True,
            stdin=subprocess.DEVNULL, env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip()
