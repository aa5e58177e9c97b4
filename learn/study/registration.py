"""Pre-registration: a plan is written down with the contents of all files that it freezes before
the study runs, and the study goes on only while nothing of it has changed.

The file is JSON in one canonical form (sorted keys, two spaces, files by their SHA-256). Its own
SHA-256 is over that form; every file of results names it, so that results of another plan are told
apart. It is to be committed before the first unit runs: then the history shows that it came first.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from headway import config
from headway.errors import ConfigError
from headway.learn.files import write_text
from headway.learn.study.plan import Plan

SUFFIX = ".registered.json"
GIT_S = 20.0  # for git to answer [s]
SKIPPED = ("__pycache__", ".pyc", ".pyo")  # what Python itself writes beside sources


class Registration(msgspec.Struct, frozen=True):
    """A plan as it was written down: its `plan` as plain data, and the SHA-256 of each frozen file
    by its path relative to the plan's folder."""

    plan: dict[str, Any]
    files: dict[str, str]

    @property
    def sha256(self) -> str:
        """Names this registration; 64 hexadecimal digits."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def text(self) -> str:
        """The canonical form."""
        data = {"plan": self.plan, "files": self.files}
        return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def path_of(plan: Path) -> Path:
    """The registration's file, beside the plan's."""
    return plan.with_name(plan.stem + SUFFIX)


def now(plan: Plan, folder: Path, whole: bool = True) -> Registration:
    """What `plan`, whose file is in `folder`, would be registered as now. With `whole`, raises
    ConfigError where a pattern of `frozen` finds no file."""
    files = {}
    for pattern in plan.frozen:
        found = sorted(_matches(folder, pattern))
        if whole and not found:
            raise ConfigError(
                f"`frozen` wants files at {folder / pattern}, found none: mend the plan"
            )
        for path in found:
            name = Path(os.path.relpath(path, folder)).as_posix()
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    plain: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(plan)))
    return Registration(plain, files)


def _matches(folder: Path, pattern: str) -> Iterator[Path]:
    """Files that fit `pattern`, which may begin with steps upwards."""
    parts = Path(pattern).parts
    up = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    root = folder.joinpath(*parts[:up])
    for path in root.glob(str(Path(*parts[up:]))):
        if path.is_file() and not any(s in path.as_posix() for s in SKIPPED):
            yield path


def register(plan: Path, registration: Registration) -> Path:
    """Write `registration` beside the file `plan` and return its path. Raises ConfigError where
    another one is there already."""
    path = path_of(plan)
    if path.exists():
        held = read(plan)
        if held != registration:
            raise ConfigError(
                f"wanted to register {plan}, found another registration at {path}: "
                f"{_differences(held, registration)}. A plan is registered once: give the changed "
                "one another file, or, if nothing has run yet, remove the registration first"
            )
        return path
    write_text(path, registration.text())
    return path


def read(plan: Path) -> Registration:
    """The registration of the plan at `plan`. Raises ConfigError where there is none, or none that
    can be read."""
    path = path_of(plan)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"wanted the registration of {plan} at {path}, found none: `headway study {plan} "
            "--register` writes it; commit it before the study runs"
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"cannot read {path}: {e}") from None
    try:
        found = msgspec.json.decode(text, type=Registration)
    except msgspec.DecodeError as e:
        raise ConfigError(
            f"{path} is no registration: {e}: take it from its commit again"
        ) from None
    if found.text() != text:
        raise ConfigError(
            f"wanted the registration at {path} as it was written, found it edited: take it from "
            "its commit again"
        )
    return found


def hold(plan: Path, registration: Registration, out: Path, work: Path) -> None:
    """Raises ConfigError, which says what has changed and how the study goes on all the same,
    unless the plan at `plan` and all that it freezes are as they were registered. `out` and `work`
    are the study's folders."""
    held = read(plan)
    if held.plan != registration.plan:
        raise ConfigError(
            f"wanted {plan} as it was registered ({held.sha256[:12]}), found changes: "
            f"{_differences(held, registration)}. Take these back; a changed plan is another "
            "study, with a file of its own"
        )
    if held.files != registration.files:
        changed = _differences(held, registration, plan.parent)
        commit = commit_of(path_of(plan))
        if not commit:
            raise ConfigError(
                f"these files changed since the registration {held.sha256[:12]}, which is not "
                f"committed: {changed}: take these back; or, if nothing has run yet, remove "
                f"{path_of(plan)} and register again"
            )
        raise ConfigError(
            f"these files changed since the registration of {commit} ({held.sha256[:12]}): "
            f"{changed}: run the study from a worktree of that commit: `git worktree add "
            f"../study-{commit} {commit}`, and in it `make study STUDY_OUT={out.resolve()} "
            f"STUDY_WORK={work.resolve()}`, which is, in an environment of its own, `headway study "
            f"--out {out.resolve()} --work {work.resolve()}`; results there count here too"
        )


def registered(plan: Path) -> tuple[Plan, Registration]:
    """The plan as it was registered, whatever the files of this checkout are by now: for reading
    its results. Raises ConfigError."""
    held = read(plan)
    return config.decode(held.plan, Plan, str(path_of(plan))), held


def commit_of(path: Path) -> str:
    """The git commit that brought the file `path`, in short; "" where there is none."""
    git = ["git", "log", "-1", "--format=%h", "--abbrev=12", "--", path.name]
    try:
        done = subprocess.run(
            git, cwd=path.parent, capture_output=True, text=True, timeout=GIT_S, check=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip()


def check_code(plan: Path, runner: str) -> None:
    """Raises ConfigError where the plan at `plan` freezes the code of `runner` (MODULE:NAME), and
    another checkout's would run: that of the environment that this process is from."""
    try:
        found = find_spec(runner.partition(":")[0])
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None:
        return  # no module, which loading it tells better
    running = Path(found.origin).resolve()
    for name in read(plan).files:
        frozen = (plan.parent / name).resolve()
        if frozen.parts[-3:] == running.parts[-3:] and frozen != running:
            raise ConfigError(
                f"wanted to run the code that {plan} freezes, {frozen}, found that {running} would "
                "run: use an environment in which that checkout is installed (in it, `make study`)"
            )


def _differences(
    held: Registration, found: Registration, folder: Path = Path(), most: int = 6
) -> str:
    """What differs, the first `most`, in words; files are relative to the plan's `folder`."""
    before, after = dict(_leaves(held.plan, "")), dict(_leaves(found.plan, ""))
    said = [
        f"`{key}` was {_short(old)}, is {_short(new)}" for key, old, new in _pairs(before, after)
    ]
    for name, old, new in _pairs(held.files, found.files):
        what = "is new" if old is None else "is gone" if new is None else "has changed"
        said.append(f"the file {os.path.normpath(folder / name)} {what}")
    more = f", and {len(said) - most} more" if len(said) > most else ""
    return ", ".join(said[:most]) + more


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted({*a, *b}):
        if a.get(key) != b.get(key):
            yield key, a.get(key), b.get(key)


def _leaves(data: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict) and data:
        for name, value in data.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(data, list) and data and all(isinstance(item, dict) for item in data):
        for i, item in enumerate(data):
            yield from _leaves(item, f"{key}[{i}]")
    else:
        yield key, data


def _short(value: Any) -> str:
    text = repr(value)
    return "nothing" if value is None else text if len(text) <= 60 else f"{text[:60]}..."
