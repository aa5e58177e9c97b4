"""What a machine needs to cross-build for arm64 and to run arm64 under emulation, and where each
comes from."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

Find = Callable[[str], str | None]

# The programs of each command, and the packages of Debian and Ubuntu that have them.
WHEEL = {
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
}
EMULATION = {
    "mmdebstrap": "mmdebstrap",
    "tar": "tar",
    "unshare": "util-linux",
    "chroot": "coreutils",
}
# The release of Debian whose arm64 Python is as old as ours: wheels are for one Python.
RELEASES = {(3, 11): "bookworm", (3, 13): "trixie"}
# Linux 6.7 lets a user namespace have its own table of emulators, so nothing of the machine is
# changed and nobody has to be root.
OLDEST_KERNEL = (6, 7)


def lacking(programs: Mapping[str, str], find: Find = shutil.which) -> str:
    """What to install so that all `programs` are there, "" where they are."""
    gone = {name: package for name, package in programs.items() if find(name) is None}
    if not gone:
        return ""
    packages = " ".join(sorted(set(gone.values())))
    return f"found no {', '.join(gone)}: on Debian and Ubuntu: sudo apt-get install {packages}"


def wrong_machine(machine: str) -> str:
    """Why nothing is cross-built on `machine`, "" where it can be."""
    if machine == "x86_64":
        return ""
    if machine == "aarch64":
        return "this machine is arm64 itself: `make test` and `pip wheel .` do what this is for"
    return f"wanted an x86-64 machine to cross-build and emulate on, found {machine}"


def wrong_python(version: tuple[int, int]) -> str:
    """Why this Python cannot be the one of the emulated machine, "" where it can."""
    if version in RELEASES:
        return ""
    known = " or ".join("{}.{}".format(*v) for v in RELEASES)
    return (
        "the emulated machine is a Debian, whose Python is {}, found {}.{}: name such a Python, "
        "for example\n  make aarch64 PYTHON=python3.11 VENV=.venv-3.11".format(known, *version)
    )


def wrong_kernel(release: str) -> str:
    """Why this kernel's `release` cannot emulate in a namespace, "" where it can."""
    numbers = release.split("-")[0].split(".")[:2]
    if all(n.isdigit() for n in numbers) and tuple(map(int, numbers)) >= OLDEST_KERNEL:
        return ""
    return (
        "wanted Linux {}.{} or newer, which lets a namespace have emulators of its own, found {}: "
        "take a machine with a newer kernel".format(*OLDEST_KERNEL, release)
    )


def wanted_headers(include: str) -> str:
    """Why the headers in `include` do not do, "" where they are there."""
    if (Path(include) / "Python.h").is_file():
        return ""
    package = "python{}.{}-dev".format(*sys.version_info[:2])
    return f"found no Python.h in {include}: on Debian and Ubuntu: sudo apt-get install {package}"


def refuse(reasons: Iterable[str], machine: str = "") -> None:
    """End with all `reasons` that are not "", if there are any."""
    said = [r for r in (wrong_machine(machine or platform.machine()), *reasons) if r]
    if said:
        sys.exit("\n".join(said))
