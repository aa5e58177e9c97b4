"""What a user gets who installs the wheel into an empty environment and starts in an empty folder.
`make test-wheel` builds and installs it, and names the environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from headway.drivers.sim import gl

pytestmark = pytest.mark.wheel
ROOT = Path(__file__).parent.parent
WAIT = 600
needs_gl = pytest.mark.skipif(gl.backend() is None, reason="no EGL and no OSMesa on this machine")


@pytest.fixture(scope="module")
def bin_folder(request):
    venv = request.config.getoption("--wheel-venv")
    if venv is None:
        pytest.skip("wants Headway's wheel in an environment of its own: make test-wheel")
    return venv.resolve() / "bin"


@pytest.fixture
def user(bin_folder, tmp_path):
    """`user("headway", "run")`: in an empty folder, with nothing of this tree on Python's path."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def user(program, *args, cwd=tmp_path, code=0):
        done = subprocess.run(
            [bin_folder / program, *args], cwd=cwd, env=env, timeout=WAIT, capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return user


def python(user, code):
    return json.loads(user("python", "-c", f"import headway, json; {code}"))


def test_it_is_the_wheel_that_is_tested(user, bin_folder):
    where = Path(python(user, "print(json.dumps(headway.__file__))"))
    assert where.is_relative_to(bin_folder.parent)
    assert not where.is_relative_to(ROOT / "src")


def test_the_wheel_has_every_module_and_every_shipped_file(user):
    code = "from headway import shipped; print(json.dumps(str(shipped.ROOT)))"
    there = Path(python(user, code))
    kinds = (".py", ".toml", ".json", ".onnx", ".css", ".js", ".typed", ".script")
    source = ROOT / "src" / "headway"
    links = [p for p in source.iterdir() if p.is_symlink()]
    wanted = [p.relative_to(source) for p in source.glob("*.*")] + [
        Path(link.name) / p.relative_to(link.resolve())
        for link in links
        for p in link.resolve().rglob("*")
    ]
    wanted = [p for p in wanted if p.suffix in kinds]
    assert len(links) == 10
    assert len(wanted) > 200
    assert [str(p) for p in wanted if not (there / p).is_file()] == []


def test_the_release_and_the_first_screen(user):
    assert re.fullmatch(r"headway \d+\.\d+\.\d+\n", user("headway", "--version"))
    assert "headway init my_cell" in user("headway")


@needs_gl
def test_an_episode_runs_in_an_empty_folder_and_replays(user, tmp_path):
    said = user("headway", "run", "--episodes", "1", "--seed", "7", "--report")
    assert "configuration" in said
    folder = tmp_path / "runs" / "pick_place_sim-7"
    assert {p.suffix for p in folder.iterdir()} >= {".mcap", ".html"}
    user("headway", "replay", str(folder / "episode_7.mcap"))


@needs_gl
def test_the_starting_folder_runs_as_it_says(user, tmp_path):
    said = user("headway", "init", "cell")
    command = re.search(r"^next: cd cell && headway (.*)$", said, re.M)
    assert command
    user("headway", *command[1].split(), "--episodes", "1", "--seed", "7", cwd=tmp_path / "cell")
    assert (tmp_path / "cell" / "runs" / "pick_place_sim-7" / "episode_7.mcap").is_file()


def test_the_models_can_be_served_from_where_they_are(user):
    code = (
        "from headway import bundle, shipped; "
        "print(json.dumps([bundle.load(p).manifest.kind for p in (shipped.POLICY, shipped.PRO)]))"
    )
    assert python(user, code) == ["policy", "pro"]
