"""The files that say what is installed agree with each other, and `make` says what a machine
lacks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts"
PROJECT = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name):
    lines = (ROOT / "constraints" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_lowest_versions_are_those_that_the_project_allows():
    extras = PROJECT["optional-dependencies"]
    parts = ("sim", "card", "logs", "lerobot", "serial")  # what `make test` installs
    wanted = [*PROJECT["dependencies"], *(w for part in parts for w in extras[part])]
    bounds = [re.fullmatch(r"([\w-]+)>=([\d.]+)(;.*)?", w).groups()[:2] for w in wanted]
    lowest = [line.split("==") for line in pins("lowest.txt")]
    assert sorted(dict(bounds)) == [n for n, _ in lowest]
    assert len(set(bounds)) == len(dict(bounds)), "two bounds for one package"
    for name, version in lowest:
        bound = dict(bounds)[name]
        assert version == bound or re.fullmatch(rf"{re.escape(bound)}(\.0)+", version), name


def test_constraints_are_exact_and_name_no_host():
    for path in (ROOT / "constraints").glob("*.txt"):
        for line in pins(path.name):
            assert re.fullmatch(r"[\w.-]+==[\w.]+(; python_version [<>=]+ '[\d.]+')?", line), line


def test_the_classes_of_python_are_those_that_are_tested(pythons):
    assert PROJECT["requires-python"] == ">={}.{}".format(*pythons.VERSIONS[0])


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)


@pytest.fixture
def prerequisites(scripts):
    import prerequisites

    return prerequisites


@pytest.fixture
def pythons(scripts):
    import pythons

    return pythons


class TestPrerequisites:
    BOTH = ("venv", "ensurepip")

    def test_this_machine_has_them(self):
        done = subprocess.run(
            [sys.executable, SCRIPTS / "prerequisites.py"], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_an_old_python_is_told_apart(self, prerequisites):
        assert prerequisites.lacking((3, 10), self.BOTH) == ""
        for version in ((2, 7), (3, 9)):
            said = prerequisites.lacking(version, self.BOTH)
            assert "wants Python 3.10 or newer, found {}.{}".format(*version) in said
            assert "make PYTHON=" in said

    @pytest.mark.parametrize("there", [(), ("venv",), ("ensurepip",)])
    def test_without_venv_or_ensurepip_the_package_is_named(self, prerequisites, there):
        assert "apt-get install python3.12-venv" in prerequisites.lacking((3, 12), there)

    def test_without_a_compiler_or_headers_it_says_what_is_lost(self, prerequisites):
        assert prerequisites.slower((3, 11), True, True) == ""
        said = prerequisites.slower((3, 11), False, True)
        assert "no C++ compiler" in said
        assert "apt-get install g++ &&" in said
        said = prerequisites.slower((3, 11), True, False)
        assert "no Python.h" in said
        assert "apt-get install python3.11-dev &&" in said

    def test_the_compiler_is_looked_for_on_path(self, tmp_path):
        """In a process of its own, since PATH and CXX are the whole process's."""
        fake = tmp_path / "my-c++"
        fake.write_text("")
        for executable, named, says in ((False, "my-c++", True), (True, "my-c++ -O2", False)):
            fake.chmod(0o755 if executable else 0o644)
            done = subprocess.run(
                [sys.executable, SCRIPTS / "prerequisites.py"],
                env={"PATH": str(tmp_path), "CXX": named}, capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0
            assert ("no C++ compiler" in done.stdout) == says

    def test_when_pip_failed_it_says_what_may_be_done(self):
        done = subprocess.run(
            [sys.executable, SCRIPTS / "prerequisites.py", "--pip-failed"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1
        for word in ("PIP_INDEX_URL", "make PYTHON=", "g++"):
            assert word in done.stderr


def fake_python(path, says, code=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)


class TestPythons:
    @pytest.fixture
    def machine(self, tmp_path, monkeypatch):
        """A PATH with two folders and a pyenv; nothing else."""
        monkeypatch.setenv("PATH", f"{tmp_path / 'a'}:{tmp_path / 'b'}:{tmp_path / 'none'}")
        fake_python(tmp_path / "a" / "pyenv", str(tmp_path / "pyenv"))
        return tmp_path

    def test_a_shim_that_does_not_work_does_not_count(self, pythons, machine):
        fake_python(machine / "a" / "python3.12", "pyenv: python3.12: command not found", 127)
        fake_python(machine / "b" / "python3.12", "3 12 3.12.5")
        fake_python(machine / "a" / "python3.11", "3 10 3.10.1")  # another one than its name says
        fake_python(machine / "a" / "python3.13", "")
        fake_python(machine / "a" / "python3.9", "3 9 3.9.1")
        (machine / "b" / "python3.10").mkdir()
        assert pythons.interpreters() == {(3, 12): (machine / "b" / "python3.12", "3.12.5")}

    def test_those_of_pyenv_are_found_the_newest_first(self, pythons, machine):
        versions = machine / "pyenv" / "versions"
        for patch in (2, 10, 9):
            name = f"3.13.{patch}"
            fake_python(versions / name / "bin" / "python3.13", f"3 13 {name}")
        fake_python(versions / "mine" / "bin" / "python3.14", "3 14 3.14.0")
        found = pythons.interpreters()
        assert {v: full for v, (_, full) in found.items()} == {
            (3, 13): "3.13.10",
            (3, 14): "3.14.0",
        }

    @pytest.mark.parametrize(
        ("only", "want"),
        [("", [10, 12, 13]), ("oldest", [10]), ("newest", [13]), ("ends", [10, 13])],
    )
    def test_some_of_them_can_be_chosen(self, pythons, only, want):
        found = {(3, minor): (Path("p"), "3") for minor in (13, 10, 12)}
        assert list(pythons.chosen(found, only)) == [(3, minor) for minor in want]

    def test_each_is_made_in_its_own_environment_and_one_failure_fails_all(self, machine):
        for minor in (10, 12):
            fake_python(machine / "a" / f"python3.{minor}", f"3 {minor} 3.{minor}.1")
        make = machine / "make"
        make.write_text(
            '#!/bin/sh\nfor x; do echo "got $x"; done\ncase $* in *3.12*) exit 2;; esac\n'
        )
        make.chmod(0o755)
        done = subprocess.run(
            [sys.executable, SCRIPTS / "pythons.py", "--constraints", "c/lowest.txt", "test"],
            env={"PATH": str(machine / "a"), "MAKE": str(make)}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1
        said = done.stdout
        for line in ("got VENV=.venv-3.10-lowest", "got test", "got CONSTRAINTS=c/lowest.txt"):
            assert line in said.splitlines()
        assert f"got PYTHON={machine / 'a' / 'python3.12'}" in said
        assert "Python 3.10.1: passed" in said
        assert "Python 3.12.1: FAILED (make exited with 2)" in said
        assert "Python 3.14: not found" in said

    def test_without_any_there_is_nothing_to_pass(self, machine):
        done = subprocess.run(
            [sys.executable, SCRIPTS / "pythons.py"], env={"PATH": str(machine / "b")},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1
        assert "found no Python" in done.stdout
