"""Each pip extra of the devices, alone: installed into an empty environment from one wheel, and its
drivers brought as far as they go without the device.

    python scripts/extras.py [--only serial ur ...] [--again] [--wheel FILE]

The wheel is built once, for as long as the sources stay the same, and pip's cache is used. What has
passed with this wheel is not tried again unless --again says so, so it may be interrupted and goes
on from there. `base` is the wheel without any extra: there each driver has to name its extra. At
the end a table; the exit status is 1 when one failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "extras"
TRY = Path(__file__).with_name("extras_try.py")
EXTRAS = (
    "base", "serial", "ur", "feetech", "dynamixel", "realsense", "uvc", "franka", "teleop",
)  # fmt: skip
TAIL = 12  # lines of what pip says when it fails
# What a line of pip's output means, and what to do about it.
HINTS = {
    "linux/input.h": "the kernel's headers are missing: apt-get install linux-libc-dev",
    "input-event-codes.h": "the kernel's headers are missing: apt-get install linux-libc-dev",
    "Python.h": "Python's headers are missing: apt-get install python3-dev",
    "command 'gcc' failed: No such file": "a C compiler is missing: apt-get install gcc",
    "command 'cc' failed: No such file": "a C compiler is missing: apt-get install gcc",
    "No matching distribution found": "this extra has no wheel for this Python or this machine",
}


@dataclass(frozen=True)
class Result:
    """What came of `extra` with the wheel of the digest `wheel`: `error` "" where it passed;
    `size_mb` [MB] and `seconds` of its environment; `said`: what its drivers said without a
    device."""

    extra: str
    wheel: str
    error: str
    size_mb: float
    seconds: float
    said: str


def sources() -> Iterator[Path]:
    """The files that a wheel is made of."""
    yield from (ROOT / name for name in ("pyproject.toml", "CMakeLists.txt", "README.md"))
    for folder, _, names in os.walk(ROOT / "src" / "headway", followlinks=True):
        if "__pycache__" not in folder:
            yield from (Path(folder) / n for n in names if not n.endswith((".pyc", ".so")))


def digest() -> str:
    """Of all sources."""
    made = hashlib.sha256()
    for path in sorted(sources()):
        made.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return made.hexdigest()[:16]


def wheel() -> Path:
    """The wheel of the present sources, built where it is not there yet, without the CUDA kernels.
    Raises CalledProcessError."""
    folder = WORK / "wheel" / digest()
    found = sorted(folder.glob("*.whl"))
    if found:
        print(f"the wheel is there: {found[0].name}", flush=True)
        return found[0]
    print("building the wheel, which takes minutes", flush=True)
    shutil.rmtree(WORK / "wheel", ignore_errors=True)
    making = WORK / "making"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--config-settings=cmake.define.HEADWAY_CUDA=OFF",
         "--wheel-dir", str(making), str(ROOT)],
        check=True,
    )  # fmt: skip
    folder.parent.mkdir(parents=True)
    making.rename(folder)  # so a wheel that is there is whole
    return next(folder.glob("*.whl"))


def hint(output: str) -> str:
    """What to do about pip's `output`, "" where that is not known."""
    return next((todo for words, todo in HINTS.items() if words in output), "")


def tried(extra: str, made: Path, key: str) -> Result:
    """Install `extra` of the wheel `made`, with the digest `key`, into an environment of its own,
    and try its drivers."""
    begin = time.monotonic()
    venv = WORK / extra
    python = venv / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    what = str(made) if extra == "base" else f"{made}[{extra}]"
    done = subprocess.run(
        # Compiling everything, as pip does, takes longer than the rest, and little of it is used.
        [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", what],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said, error = "", ""
    if done.returncode:
        output = done.stdout + done.stderr
        (WORK / f"{extra}.log").write_text(output)
        error = hint(output) or "\n".join(output.splitlines()[-TAIL:])
    else:
        done = subprocess.run(
            [python, "-I", str(TRY), extra], cwd=WORK, capture_output=True, text=True, check=False
        )
        said = done.stdout.strip()
        if done.returncode:
            error = "\n".join((done.stdout + done.stderr).splitlines()[-TAIL:])
    size = sum(p.stat().st_size for p in venv.rglob("*") if p.is_file() and not p.is_symlink())
    return Result(extra, key, error, size / 1e6, time.monotonic() - begin, said)


def known(path: Path) -> dict[str, Result]:
    """The results at `path`, by extra."""
    table = json.loads(path.read_text()) if path.exists() else []
    return {r["extra"]: Result(**r) for r in table}


def table(results: list[Result]) -> str:
    """One line an extra, and what was said below it."""
    lines = [f"{'extra':<10} {'':<7} {'MB':>6} {'s':>6}"]
    for r in results:
        word = "FAILED" if r.error else "passed"
        lines.append(f"{r.extra:<10} {word:<7} {r.size_mb:>6.0f} {r.seconds:>6.0f}")
        lines += [f"    {line}" for line in (r.error or r.said).splitlines()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=EXTRAS, default=EXTRAS)
    parser.add_argument("--again", action="store_true", help="also those that have passed")
    parser.add_argument("--wheel", type=Path, help="a wheel that is there, instead of building one")
    args = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    made = args.wheel.resolve() if args.wheel else wheel()
    key = hashlib.sha256(made.read_bytes()).hexdigest()[:16]
    path = WORK / "results.json"
    results = known(path)
    for i, extra in enumerate(args.only, 1):
        had = results.get(extra)
        if had and not had.error and had.wheel == key and not args.again:
            print(f"{i}/{len(args.only)} {extra}: has passed", flush=True)
            continue
        print(f"{i}/{len(args.only)} {extra}: ", end="", flush=True)
        results[extra] = r = tried(extra, made, key)
        print("FAILED" if r.error else "passed", f"({r.seconds:.0f} s)", flush=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps([asdict(r) for r in results.values()], indent=2))
        new.replace(path)
    chosen = [results[extra] for extra in args.only]
    print(table(chosen))
    return int(any(r.error for r in chosen))


if __name__ == "__main__":
    sys.exit(main())
