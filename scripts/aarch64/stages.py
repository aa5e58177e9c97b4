"""Long work in stages: each that was done is known by a stamp file, and not done again.

A stamp holds the digest of what the stage was made from: its own inputs and the digests of the
stages it needs. So a change of the sources repeats what depends on them and nothing else, and work
that was interrupted goes on with the stage it was at.
"""

from __future__ import annotations

import hashlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class StageError(Exception):
    """A stage could not be done; the text says what was wanted and what to do."""


@dataclass(frozen=True)
class Stage:
    """`work` is done unless it was done with the same `inputs`, after the stages `needs`. `work`
    raises StageError."""

    name: str
    inputs: str
    work: Callable[[], None]
    needs: tuple[str, ...] = ()


def digest(*texts: str) -> str:
    """A digest of `texts`, in which none runs into the next."""
    made = hashlib.sha256()
    for text in texts:
        data = text.encode()
        made.update(len(data).to_bytes(8, "little") + data)
    return made.hexdigest()


def contents(paths: Sequence[Path]) -> str:
    """A digest of the names and the contents of `paths`, and of all files below those that are
    folders."""
    files = {f for p in paths for f in (p.rglob("*") if p.is_dir() else (p,))}
    kept = sorted(f for f in files if f.is_file() and "__pycache__" not in f.parts)
    return digest(*(f"{f} {hashlib.sha256(f.read_bytes()).hexdigest()}" for f in kept))


def run_all(
    stages: Sequence[Stage], stamps: Path, clock: Callable[[], float] = time.monotonic
) -> list[str]:
    """Do what is left to do of `stages`, in their order, with stamps in the folder `stamps`. A
    stage that fails keeps those that need it from being done, and no others. Returns the names of
    the stages that failed or were left out."""
    stamps.mkdir(parents=True, exist_ok=True)
    digests: dict[str, str] = {}
    failed: list[str] = []
    for i, stage in enumerate(stages, 1):
        head = f"[{i}/{len(stages)}] {stage.name}:"
        if blocked := [n for n in stage.needs if n not in digests]:
            print(f"{head} left out, since this failed: {', '.join(blocked)}", flush=True)
            failed.append(stage.name)
            continue
        wanted = digest(stage.name, stage.inputs, *(digests[n] for n in stage.needs))
        stamp = stamps / stage.name.replace(" ", "-")
        if stamp.is_file() and stamp.read_text().split()[:1] == [wanted]:
            print(f"{head} done before", flush=True)
            digests[stage.name] = wanted
            continue
        stamp.unlink(missing_ok=True)
        print(f"{head} begins", flush=True)
        begun = clock()
        try:
            stage.work()
        except StageError as e:
            print(f"{head} FAILED: {e}", flush=True)
            failed.append(stage.name)
            continue
        took = clock() - begun
        stamp.write_text(f"{wanted}\n{took:.1f} s\n")
        print(f"{head} done in {took / 60:.1f} min", flush=True)
        digests[stage.name] = wanted
    return failed


def stoppable(main: Callable[[], int]) -> int:
    """The exit status of `main`, which Ctrl-C and SIGTERM stop together with the command that it
    has started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return main()
    except KeyboardInterrupt:
        print("stopped: the same command goes on with this stage", flush=True)
        return 130


def call(command: Sequence[str | Path], what: str, env: Mapping[str, str] | None = None) -> None:
    """Run `command`, whose output is shown as it comes. Raises StageError, which says `what` failed
    and names the command."""
    line = [str(word) for word in command]
    try:
        code = subprocess.run(line, stdin=subprocess.DEVNULL, env=env).returncode
    except OSError as e:
        raise StageError(f"{what}: {line[0]} could not be started ({e.strerror})") from None
    if code:
        shown = " ".join(line).replace("\n", "; ")
        raise StageError(
            f"{what}: exit status {code} of {shown[:400]}{' ...' if len(shown) > 400 else ''}"
        )
