"""Says what a machine lacks for `make`, before anything is installed: exit status 1 when it cannot
go on. With --pip-failed it says what may be done about that, also with exit status 1. It is written
so that a Python which is too old can read it and say so."""

import os
import sys
import sysconfig

OLDEST = (3, 10)
COMPILERS = ("c++", "g++", "clang++")
PIP_FAILED = """
pip could not install what is needed; its own message is above.
- If it found no index: go online, or name one by PIP_INDEX_URL, or a folder of wheels by
  PIP_FIND_LINKS.
- If it failed to compile a package, that package has no wheel for Python %d.%d on this machine:
  take another Python from 3.10 to 3.14 (make clean, then make PYTHON=python3.12 run), or install
  what compiles it (Debian and Ubuntu: apt-get install g++ python3-dev)."""


def lacking(version, modules):
    """What stops `make`, "" for nothing. `modules`: those of venv and ensurepip that import."""
    name = "python%d.%d" % version
    if version < OLDEST:
        return (
            "Headway wants Python %d.%d or newer, found %d.%d: name a newer one, for example\n"
            "  make PYTHON=python3.12 run" % (OLDEST + version)
        )
    for module in ("venv", "ensurepip"):
        if module not in modules:
            return (
                "Headway is installed into a virtual environment, for which %s has no module %s. "
                "Debian and\nUbuntu package it apart:\n  apt-get install %s-venv"
                % (name, module, name)
            )
    return ""


def slower(version, compiler, headers):
    """What is lost without a C++ compiler or Python's headers, "" when both are there."""
    packages = []
    if not compiler:
        packages.append("g++")
    if not headers:
        packages.append("python%d.%d-dev" % version)
    if not packages:
        return ""
    what = "C++ compiler" if not compiler else "Python.h"
    return (
        "found no %s: Headway is installed without its compiled parts. Everything works, but more\n"
        "slowly: fine for a first look, not for 500 Hz. To have them (on Debian and Ubuntu), and\n"
        "install again:\n  apt-get install %s && make clean" % (what, " ".join(packages))
    )


def _modules():
    found = []
    for module in ("venv", "ensurepip"):
        try:
            __import__(module)
        except ImportError:
            continue
        found.append(module)
    return found


def _compiler():
    """Whether there is one that CMake will find: $CXX, or one of the usual names on PATH."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    named = os.environ.get("CXX", "").split()[:1]
    return any(
        os.access(os.path.join(folder, name), os.X_OK)
        for name in named or COMPILERS
        for folder in folders
    )


def main():
    version = sys.version_info[:2]
    if sys.argv[1:] == ["--pip-failed"]:
        sys.exit(PIP_FAILED % version)
    said = lacking(version, _modules())
    if said:
        sys.exit(said)
    headers = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
    note = slower(version, _compiler(), headers)
    if note:
        print(note)


if __name__ == "__main__":
    main()
