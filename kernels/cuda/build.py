"""Compile the CUDA kernels: `python build.py OUT_DIR [--report FILE]`.

Nothing but the standard library: a wheel's build, a test, and a machine that has nvcc and this
source tree but no installation all use it. The file's name has the digest of everything it was made
from, so that a stale one is never loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GENERATE = HERE.parent / "cpp" / "generate.py"
ARCHITECTURES = (87, 90, 110)  # Orin, Hopper, Thor; PTX of the first serves newer ones
FLAGS = ("-std=c++17", "-O3", "-fmad=false", "-Xptxas", "-v")
KERNELS = ("headway_batch", "headway_batch_large", "headway_stream", "headway_empty")


def nvcc() -> str | None:
    """The compiler: of CUDA_HOME, else of PATH, else of the usual place."""
    for home in (os.environ.get("CUDA_HOME", ""), os.environ.get("CUDA_PATH", "")):
        if home and (Path(home) / "bin" / "nvcc").is_file():
            return str(Path(home) / "bin" / "nvcc")
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def header() -> str:
    """The generated header: spec and parameters."""
    return str(runpy.run_path(str(GENERATE))["header"]())


def digest() -> str:
    """Of sources, generated header and flags."""
    h = hashlib.sha256(repr((FLAGS, header())).encode())
    for path in sorted([*HERE.glob("*.cu"), *HERE.glob("*.cuh")]):
        h.update(path.name.encode() + path.read_bytes())
    return h.hexdigest()[:16]


def compile_to(
    folder: Path, architectures: tuple[int, ...] = ARCHITECTURES, kind: str = "fatbin"
) -> Path:
    """Compile into `folder`; a table of resources goes beside it. Raises FileNotFoundError without
    nvcc, RuntimeError with its output when it fails."""
    compiler = nvcc()
    if compiler is None:
        raise FileNotFoundError("no nvcc")
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"features-{digest()}.{kind}"
    codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
    first = architectures[0]
    codes += [f"-gencode=arch=compute_{first},code=compute_{first}"] if kind == "fatbin" else []
    # in `folder`, so that the file appears whole: two processes may want it at once
    with tempfile.TemporaryDirectory(dir=folder) as work:
        (Path(work) / "spec.hpp").write_text(header(), encoding="utf-8")
        made = Path(work) / out.name
        done = subprocess.run(
            [compiler, f"-{kind}", *codes, *FLAGS, f"-I{work}", "--threads", "0",
             "-o", str(made), str(HERE / "features.cu")],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{compiler} failed:\n{done.stdout}{done.stderr}")
        table = {"digest": digest(), "architectures": resources(done.stderr + done.stdout)}
        os.replace(made, out)
    out.with_suffix(".json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return out


def resources(text: str) -> dict[str, dict[str, dict[str, int]]]:
    """What ptxas -v says: architecture -> kernel -> registers, spills [B], stack [B], static shared
    memory [B]."""
    out: dict[str, dict[str, dict[str, int]]] = {}
    entry = re.compile(
        r"Compiling entry function '(\w+)' for '(sm_\d+)'.*?"
        r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?"
        r"Used (\d+) registers([^\n]*)",
        re.S,
    )
    for kernel, arch, stack, stores, loads, registers, rest in entry.findall(text):
        static = re.search(r"(\d+) bytes smem", rest)
        out.setdefault(arch, {})[kernel] = {
            "registers": int(registers),
            "spills": int(stores) + int(loads),
            "stack": int(stack),
            "static_shared": int(static[1]) if static else 0,
        }
    return {arch: dict(sorted(kernels.items())) for arch, kernels in sorted(out.items())}


def shipped() -> tuple[int, ...]:
    """Of ARCHITECTURES those that the compiler here knows: that of JetPack 6 is older than Thor,
    which the PTX then serves."""
    compiler = nvcc()
    if compiler is None:
        return ARCHITECTURES
    said = subprocess.run([compiler, "--list-gpu-arch"], capture_output=True, text=True).stdout
    known = {int(a) for a in re.findall(r"^compute_(\d+)$", said, re.M)}
    if ARCHITECTURES[0] not in known:  # its own words say more
        return ARCHITECTURES
    return tuple(a for a in ARCHITECTURES if a in known)


def main(arguments: list[str]) -> int:
    out = compile_to(Path(arguments[0]), shipped())
    if "--report" in arguments:
        report = Path(arguments[arguments.index("--report") + 1])
        report.write_text(out.with_suffix(".json").read_text(encoding="utf-8"), encoding="utf-8")
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
