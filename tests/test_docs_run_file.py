"""docs/run-file.md names every key of the run's file that the code reads, with its default."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from headway.config import tomllib
from headway.edge.control.payload import ToolConfig
from headway.edge.control.settings import LoopConfig, ProConfig, Settings, load
from headway.edge.guard.config import GuardConfig
from headway.edge.policy.config import PolicyConfig
from headway.edge.policy.kinds import bundle, expert, python, remote, teleop
from headway.edge.pro.risk import RiskConfig

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "run-file.md").read_text()
REQUIRED = "required"


def rows(section):
    """The rows (key, default) of the table of keys of `section`, one per key."""
    title, head = f"## `[{section}]`", "| key | default |"
    if section in ("pro", "risk"):
        title, head = "## `[pro]`", f"| key of `[{section}]` | default |"
    table = PAGE.split(title)[1].split(head)[1].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        cells = line.split("|")
        keys, default = re.findall(r"`(\w+)`", cells[1]), cells[2].strip()
        several = default.split(", ") if len(keys) > 1 else [default]
        yield from zip(keys, several * (len(keys) // len(several)), strict=True)


def value(text):
    """What a default in a table means in TOML; None where there is none."""
    return tomllib.loads(f"x = {text}")["x"] if text else None


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("loop", LoopConfig),
        ("guard", GuardConfig),
        ("tool", ToolConfig),
        ("policy", PolicyConfig),
        ("pro", ProConfig),
        ("risk", RiskConfig),
    ],
)
def test_a_section_has_these_keys_with_these_defaults(section, kind):
    found = dict(rows(section))
    wanted = {}
    for field in msgspec.structs.fields(kind):
        if (kind, field.name) != (PolicyConfig, "options"):  # those of the policy's kind
            wanted[field.encode_name] = REQUIRED if field.required else field.default
    assert set(found) == set(wanted)
    for key, default in wanted.items():
        said = found[key] if found[key] == REQUIRED else value(found[key])
        said = tuple(said) if isinstance(said, list) else said
        assert said == default, f"{section}.{key}"


def test_every_section_is_named():
    for field in msgspec.structs.fields(Settings):
        name = field.encode_name
        assert any(f"`{form}`" in PAGE for form in (f"[{name}]", f"[[{name}]]", name)), name


@pytest.mark.parametrize("kind", [bundle, remote, python, teleop, expert])
def test_each_kind_of_policy_has_its_keys(kind):
    name = kind.__name__.rpartition(".")[2]
    row = next(x for x in PAGE.splitlines() if re.match(r"\| [`\w, ]*`" + name + r"`", x))
    for field in msgspec.structs.fields(kind.Config):
        assert f"`{field.encode_name}`" in row.split("|", 2)[2], field.encode_name


FILE = """
trust = "{0}trust"
[arm]
kind = "null"
model = "{0}my.urdf"
[cell]
kind = "rig"
file = "{0}my.rig.toml"
[task]
kind = "open_ended"
[policy]
bundle = "{0}policy"
[pro]
bundle = "{0}pro"
engine_cache = "{0}engines"
[risk]
calibration = "{0}risk.json"
[guard]
workspace_min = [0.0, 0.0, 0.0]
workspace_max = [1.0, 1.0, 1.0]
force_max = 1.0
torque_max = 1.0
"""
RIG = """
folder = "rig"
[cell]
scene = "empty"
"""


@pytest.mark.parametrize(("before", "where"), [("", "robot"), ("~/", "home"), ("../", "")])
def test_paths_start_at_the_files_folder_and_a_tilde_is_the_home_folder(
    before, where, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "robot").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / where / "my.rig.toml").write_text(RIG)
    file = tmp_path / "robot" / "robot.toml"
    file.write_text(FILE.format(before))
    made = load(file)
    found = (
        made.trust, made.arm["model"], made.cell["file"], made.policy["bundle"],
        made.pro.bundle, made.pro.engine_cache, made.risk.calibration,
    )  # fmt: skip
    names = ("trust", "my.urdf", "my.rig.toml", "policy", "pro", "engines", "risk.json")
    assert [Path(x).resolve() for x in found] == [tmp_path / where / name for name in names]
