"""The repository is laid out as it says: rooms, layers, short files, kinds that are found, not
listed, and nothing that names the machine it was written on."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import headway
from headway import plugins
from headway.config import Struct, read_toml
from headway.edge.control import tasks

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("benchmarks", "drivers", "edge", "export", "hil", "kernels", "learn", "tools")
SHIPPED = ("configs", "models")  # data that the package comes with
DEVICES = ("arms", "cameras", "ft", "grippers", "stations")
LINES = 400
SOURCES = (".py", ".hpp", ".cpp", ".cu", ".cuh", ".css", ".js")
TEXTS = (*SOURCES, ".md", ".toml", ".txt", ".cfg", ".json", ".html", ".yml", ".yaml", "")
VENDORED = ("uPlot.",)  # others' files, as they were published


def tracked():
    """Files that git knows, or would if they were added; without git (an sdist), all files."""
    try:
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout.split("\0")  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("wants a git checkout")
    paths = [ROOT / name for name in names if name]
    return [p for p in paths if p.is_file() and not p.is_symlink()]


@pytest.fixture(scope="module")
def files():
    return [p for p in tracked() if not p.name.startswith(VENDORED)]


def test_no_source_file_is_longer_than_400_lines(files):
    long = {
        str(p.relative_to(ROOT)): n
        for p in files
        if p.suffix in SOURCES and (n := len(p.read_text().splitlines())) > LINES
    }
    assert long == {}


def test_the_loop_knows_no_cell(files):
    """No task, no robot and no number of columns but in the tasks that are about them."""
    words = re.compile(
        r"pick.?(and.?)?place|\btote\b|\bur\d+e?\b|\bseven\b|\(\w+, 7\)", re.IGNORECASE
    )
    tasks = ROOT / "edge" / "control" / "tasks"
    own = [tasks / "pick_place.py", tasks / "returns.py"]
    assert all(words.search(p.read_text()) for p in own)  # they would be found
    found = {
        f"{p.relative_to(ROOT)}:{n}: {line.strip()}"
        for p in files
        if p.is_relative_to(ROOT / "edge") and p.suffix in SOURCES and p not in own
        for n, line in enumerate(p.read_text().splitlines(), start=1)
        if words.search(line)
    }
    assert found == set()


def test_no_file_lies_loose_in_edge(files):
    """Each belongs in one of its rooms."""
    loose = {p.name for p in files if p.parent == ROOT / "edge"}
    assert loose == {"__init__.py"}


@pytest.mark.parametrize("module", ["headway", "headway.__main__", "headway.cli"])
def test_an_import_is_cheap(module):
    """Neither torch nor mujoco nor onnxruntime comes with it, in an interpreter of its own."""
    heavy = ("torch", "mujoco", "onnxruntime", "onnx", "scipy", "matplotlib", "tensorrt")
    code = f"import {module}, sys; print(*sorted(set({heavy}) & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert found == []


def test_every_room_has_its_link_and_every_link_its_room():
    package = Path(headway.__file__).parent
    assert package == ROOT / "src" / "headway"
    links = {p.name: p for p in package.iterdir() if p.is_symlink()}
    assert set(links) == {*ROOMS, *SHIPPED}
    for name, link in links.items():
        target = os.readlink(link)
        assert target == f"../../{name}"  # relative: it works wherever the repository lies
        assert link.resolve() == ROOT / name
        assert (ROOT / name / "__init__.py").is_file() == (name in ROOMS)


def test_every_room_says_what_it_is():
    for room in ROOMS:
        text = (ROOT / room / "__init__.py").read_text()
        assert re.match(r'"""\w', text), f"{room}/__init__.py wants a docstring"


@pytest.mark.parametrize("folder", DEVICES)
def test_every_kind_of_device_has_a_strict_configuration_and_an_opener(folder):
    kinds = plugins.kinds(f"drivers.{folder}")
    assert {"sim", "replay", "null"} <= set(kinds)
    for kind in kinds:
        module = plugins.load(f"drivers.{folder}", kind)
        assert issubclass(module.Config, Struct), kind
        assert module.Config.__struct_config__.forbid_unknown_fields, kind
        assert module.connect.__code__.co_varnames[:2] == ("cfg", "ctx"), kind
        assert module.connect.__annotations__.get("return"), kind
        for field in msgspec.structs.fields(module.Config):
            assert field.name == field.encode_name, (kind, field.name)


def test_every_arm_says_whether_it_stops_without_the_loop():
    for kind in plugins.kinds("drivers.arms"):
        stop = plugins.load("drivers.arms", kind).remote_stop
        assert stop is None or stop.__code__.co_varnames[:1] == ("table",), kind


def test_every_world_says_what_it_asks_for_and_how_it_opens():
    kinds = plugins.kinds("drivers.worlds")
    assert "sim" in kinds
    for kind in kinds:
        module = plugins.load("drivers.worlds", kind)
        assert issubclass(module.Config, Struct), kind
        described = {"rig": {"file": str(ROOT / "examples" / "ur5e_emulated.rig.toml")}}
        cfg = module.Config(**described.get(kind, {}))
        assert module.asked(cfg, "[cell]").instructions, kind
        assert module.connect.__code__.co_varnames[:2] == ("cfg", "ctx"), kind


def test_every_task_has_a_strict_configuration_and_is_made_for_an_episode():
    kinds = plugins.kinds(tasks.FOLDER)
    assert {"pick_place", "open_ended"} <= set(kinds)
    for kind in kinds:
        module = plugins.load(tasks.FOLDER, kind)
        assert issubclass(module.Config, Struct), kind
        own = {field.name for field in msgspec.structs.fields(module.Config)}
        assert not own & {field.name for field in msgspec.structs.fields(tasks.Common)}, kind
        assert module.make.__code__.co_varnames[:2] == ("cfg", "about"), kind
        check = getattr(module, "check", None)
        words = ("cfg", "name", "asked", "where")
        assert check is None or check.__code__.co_varnames[:4] == words, kind


def test_every_backend_says_its_rank_what_it_misses_and_how_it_opens():
    kinds = plugins.kinds("edge.engines.backends")
    assert {"null", "ort"} <= set(kinds)
    ranks = []
    for kind in kinds:
        module = plugins.load("edge.engines.backends", kind)
        assert module.RANK is None or isinstance(module.RANK, int), kind
        assert isinstance(module.missing(), str), kind
        wanted = list(inspect.signature(module.open_engine).parameters)[:3]
        assert wanted == ["model", "inputs", "outputs"], kind
        ranks += [module.RANK] if module.RANK is not None else []
    assert len(set(ranks)) == len(ranks)  # "auto" has one answer


def test_every_scene_is_a_kind():
    kinds = plugins.kinds("drivers.sim.scenes")
    assert "pick_place" in kinds
    for kind in kinds:
        module = plugins.load("drivers.sim.scenes", kind)
        assert issubclass(module.Config, Struct)
        assert callable(module.build)


# An absolute path below one of these is somebody's machine. What every Linux has is fine: /dev,
# /proc, /etc and the like.
_MACHINE = re.compile(
    r"(?<![\w./:<$~})-])/(?:home|root|work|Users|mnt|media|workspace|content|scratch|data)/[\w.-]+"
)


def test_no_file_names_a_path_of_a_machine(files):
    # The whole path of the checkout, which may be as short as one name.
    here = re.compile(rf"(?<![\w./]){re.escape(str(ROOT))}(?![\w.-])")
    found = [
        f"{p.relative_to(ROOT)}:{i}: {line.strip()[:100]}"
        for p in files
        if p.suffix in TEXTS and p.stat().st_size < 2_000_000
        for i, line in enumerate(p.read_text(errors="replace").splitlines(), 1)
        if _MACHINE.search(line) or here.search(line)
    ]
    assert found == []


def test_that_search_would_find_one():
    # Put together here, so that this file may be searched as well.
    made_up = ('"{}home/ada/x"', "see {}root/.cache", "({}work/thing)", "cd {}Users/ada")
    for text in (m.format("/") for m in made_up):
        assert _MACHINE.search(text), text
    for text in ("/dev/ttyUSB0", "foxglove.dev/home/x", "https://a.b/data/c", "../data/hiro"):
        assert not _MACHINE.search(text), text


def test_shipped_models_are_small():
    models = [p for p in tracked() if p.is_relative_to(ROOT / "models")]
    assert sum(p.stat().st_size for p in models) < 20_000_000


def test_errors_have_the_exit_codes_that_the_command_line_documents():
    from headway import errors

    kinds = [k for k in vars(errors).values() if isinstance(k, type)]
    assert all(issubclass(k, errors.HeadwayError) for k in kinds)
    text = errors.__doc__ or ""
    for kind in kinds:
        assert kind.__name__ in text, kind
        assert 0 < kind.exit_code < 256
    families = {k.exit_code for k in errors.HeadwayError.__subclasses__()}
    assert len(families) == len(errors.HeadwayError.__subclasses__())


def test_every_module_is_in_the_order_that_imports_are_held_to():
    """import-linter says nothing about a module that no layer names."""
    table = read_toml(ROOT / "pyproject.toml")["tool"]["importlinter"]["contracts"][0]
    named = {name.strip() for layer in table["layers"] for name in re.split("[|:]", layer)}
    place = ROOT / "src" / "headway"
    modules = {p.stem for p in place.glob("*.py")} | {
        p.parent.name for p in place.glob("*/__init__.py")
    }
    assert {f"headway.{name}" for name in modules - {"__init__"}} == named
