"""When, where and with what an episode was recorded: the metadata record `headway.run`.

| key | |
|---|---|
| started | wall clock at the start of the episode's recording, ISO 8601 with milliseconds and the offset from UTC |
| host | name of the computer |
| headway | version |
| revision | git commit when Headway runs from a checkout, with "-dirty" where files differ from it |

It is the only record of a lock-step recording that the same seed does not give again:
`headway replay A --against B` compares the rest (`headway.mcapdiff`).
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
    """Of an episode that starts now."""
    return {"started": datetime.now().astimezone().isoformat(timespec="milliseconds"), **place()}


@functools.cache
def place() -> dict[str, str]:
    """What stays the same while this process lives. Asks git at the first call: make it before
    anything moves."""
    found = {"host": platform.node(), "headway": headway.__version__}
    if commit := revision(Path(headway.__file__).resolve().parents[2]):
        found["revision"] = commit
    return found


def revision(root: Path) -> str:
    """Commit of the checkout at `root`; "" where that is no checkout, or git does not answer. A
    package inside somebody else's repository is not a checkout of ours."""
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
