"""The options of `headway run` beside its configuration, and their checks, which are made before
any device is opened."""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from headway.edge.control.settings import EXPERT
from headway.errors import ConfigError, DeviceError, RecordingError
from headway.tools.view.viewer import ViewOptions
from headway.tools.view.viewer import check as check_view


@dataclass(frozen=True)
class RunOptions:
    """The options of `headway run`; `headway.cli.run` explains them."""

    episodes: int = 1
    seed: int = 0  # of the first episode
    out: Path | None = None
    realtime: bool = False
    panel: bool = False
    view: ViewOptions = field(default_factory=ViewOptions)
    report: bool = False
    overwrite: bool = False
    require: tuple[str, ...] = ()
    policy: str | None = None  # instead of the configured one: see settings.with_policy
    policy_map: Path | None = None  # what that server wants and answers, a TOML file
    instruction: str | None = None  # instead of the configured one
    inject: tuple[str, ...] = ()  # faults, see headway.tools.run.inject
    operator: bool = False  # see headway.tools.run.operator
    patch: bool = False  # see headway.tools.run.takeover


def check(run: RunOptions, out: Path) -> None:
    """Raises ConfigError for options that make no sense, and RecordingError when the recordings
    cannot be written to the folder `out` or would replace others."""
    if run.episodes < 1:
        raise ConfigError(
            f"wanted --episodes of at least 1, found {run.episodes}: leave it out for the usual 3"
        )
    if run.seed < 0:
        raise ConfigError(
            f"wanted --seed of at least 0, found {run.seed}: the scenes are numbered from 0 on"
        )
    if run.patch and (run.realtime or run.operator):
        other = "--realtime" if run.realtime else "--operator"
        why = "keeps the wall clock's pace by itself" if run.realtime else "reads the keyboard, too"
        raise ConfigError(f"wanted --patch without {other}, since it {why}: leave one of them out")
    check_view(run.view)
    if run.policy is not None and not _is_here(run.policy):
        _check_url(run.policy)
    elif run.policy_map is not None:
        raise ConfigError(
            f"--policy-map {run.policy_map} describes a policy server: wanted its address as "
            "--policy ws://HOST:PORT too, found none"
        )
    _check_folder(out)
    if not run.overwrite:
        _check_free(out, range(run.seed, run.seed + run.episodes))


def _is_here(policy: str) -> bool:
    """Whether `policy` is none of another computer."""
    return policy == EXPERT or Path(policy).is_dir()


def _check_url(url: str) -> None:
    why = ""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss"):
            why = "it does not begin with ws:// or wss://"
        elif not parts.hostname:
            why = "there is no host in it"
        elif parts.port == 0:
            why = "port 0 is none to ask"
        elif re.search(r"[\s\x00-\x1f]", url):
            why = "there is a space in it"
    except ValueError as e:  # the port is not a number, or too large
        why = str(e)
    if why:
        raise ConfigError(
            f"wanted the folder of a bundle, `{EXPERT}`, or a policy server as ws://HOST:PORT, "
            f"found {url!r} ({why}): `headway serve BUNDLE` prints the address of one"
        )


def _check_folder(out: Path) -> None:
    """Raises RecordingError unless `out`, or the nearest of its parents that exists, is a folder
    that can be written."""
    try:
        there = next(p for p in (out, *out.absolute().parents) if os.path.lexists(p))
        os.stat(out / "episode_0.mcap")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as e:  # for example a name that is too long, or no permission
        raise RecordingError(
            f"wanted a folder for recordings at {str(out)!r}, found: {getattr(e, 'strerror', e)}: "
            "choose another --out"
        ) from None
    if not there.is_dir():
        raise RecordingError(
            f"wanted a folder for recordings at {out}, found a file at {there}: choose another "
            "--out, or move it away"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise RecordingError(
            f"wanted to write recordings to {out}, found that {there} may not be written: choose "
            "another --out, or change its permissions"
        )


def _check_free(out: Path, seeds: range) -> None:
    """Raises RecordingError if a recording of these episodes is there already."""
    if not out.is_dir():
        return
    for path in sorted(out.glob("episode_*.mcap")):
        number = path.stem.removeprefix("episode_")
        if number.isascii() and number.isdecimal() and int(number) in seeds:
            if path.stat().st_size == 0 or path.name != f"episode_{int(number)}.mcap":
                continue
            raise RecordingError(
                f"wanted a new recording at {path}, found one: choose another name or overwrite it "
                "(--out, --overwrite)"
            )


@contextmanager
def enough_files() -> Iterator[None]:
    """Turn the OSError of a process that may not open more files into a DeviceError that says
    so."""
    try:
        yield
    except OSError as e:
        if e.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        raise DeviceError(
            f"wanted to open one more file, found that {soft} are open and no more are allowed: "
            f"`ulimit -n 1024` before the run allows more (up to {hard} here without asking the "
            "administrator)"
        ) from None
