"""Run targets of the Makefile with every Python that Headway supports and this machine has.

    python scripts/pythons.py [--only oldest|newest|ends] [--constraints FILE] [TARGET ...]

Each interpreter gets a virtual environment of its own, `.venv-3.10` and so on. At the end a line
for each version says what came of it; the exit status is 1 when one failed or none was found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ((3, 10), (3, 11), (3, 12), (3, 13), (3, 14))
# Asked of each candidate: a pyenv shim without its version and a Python without venv do not count.
QUESTION = (
    "import ensurepip, platform, sys, venv; print(*sys.version_info[:2], platform.python_version())"
)


def candidates(version: tuple[int, int]) -> Iterator[Path]:
    """Programs that may be this Python: in every folder of PATH, then pyenv's, the newest first."""
    name = "python{}.{}".format(*version)
    for folder in os.get_exec_path():
        if (Path(folder) / name).is_file():
            yield Path(folder) / name
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return
    asked = subprocess.run([pyenv, "root"], capture_output=True, text=True)
    root = Path(asked.stdout.strip()) / "versions"
    if asked.returncode == 0 and root.is_dir():
        found = [p for p in root.glob(f"*/bin/{name}") if p.is_file()]
        yield from sorted(found, key=_patch, reverse=True)


def _patch(path: Path) -> int:
    """13 of `versions/3.10.13/bin/python3.10`; -1 where the folder is called otherwise."""
    last = path.parent.parent.name.rpartition(".")[2]
    return int(last) if last.isdigit() else -1


def answers(python: Path, version: tuple[int, int]) -> str:
    """The full version of `python` if it runs, is `version` and can make environments, else ""."""
    try:
        asked = subprocess.run([python, "-c", QUESTION], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = asked.stdout.split()
    if asked.returncode == 0 and said[:2] == [str(v) for v in version]:
        return said[2]
    return ""


def interpreters() -> dict[tuple[int, int], tuple[Path, str]]:
    """Of each supported version that is here, the first program that works and its full version."""
    found = {}
    for version in VERSIONS:
        for python in candidates(version):
            if full := answers(python, version):
                found[version] = python, full
                break
    return found


def chosen(
    found: dict[tuple[int, int], tuple[Path, str]], only: str
) -> dict[tuple[int, int], tuple[Path, str]]:
    """Those of `found` that `--only` asks for: the oldest, the newest, both ("ends"), or all
    ("")."""
    keep = sorted(found)
    if only == "ends":
        keep = sorted({*keep[:1], *keep[-1:]})
    elif only:
        keep = keep[:1] if only == "oldest" else keep[-1:]
    return {version: found[version] for version in keep}


def run(python: Path, venv: str, constraints: str, targets: list[str]) -> int:
    """Run `make` with `targets` on the interpreter `python`, in the virtual environment `venv`.
    Returns make's exit code."""
    make = [os.environ.get("MAKE", "make"), f"PYTHON={python}", f"VENV={venv}", *targets]
    if constraints:
        make.append(f"CONSTRAINTS={constraints}")
    print("+", *make, flush=True)
    return subprocess.run(make).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=("oldest", "newest", "ends"), default="")
    parser.add_argument("--constraints", default="", help="for pip: the versions to install")
    parser.add_argument("targets", nargs="*", default=["run", "test"])
    args = parser.parse_args()
    found = interpreters()
    if not found:
        print("found no Python from 3.10 to 3.14 with venv, on PATH or in pyenv: install one")
        return 1
    suffix = f"-{Path(args.constraints).stem}" if args.constraints else ""
    lines, failed = [], False
    for version, (python, full) in chosen(found, args.only).items():
        start = time.monotonic()
        name = "{}.{}".format(*version)
        code = run(python, f".venv-{name}{suffix}", args.constraints, args.targets)
        word = "passed" if code == 0 else f"FAILED (make exited with {code})"
        failed |= code != 0
        lines.append(f"Python {full}: {word}, {(time.monotonic() - start) / 60:.1f} min ({python})")
    missing = [v for v in VERSIONS if v not in found]
    lines += ["Python {}.{}: not found on PATH or in pyenv".format(*v) for v in missing]
    print(f"{' '.join(args.targets)}:", *sorted(lines), sep="\n  ")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
