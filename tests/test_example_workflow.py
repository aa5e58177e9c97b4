"""The workflow of docs/add-a-workflow.md comes from another package, by its entry points alone."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from headway import plugins, workflows
from headway.config import parse_toml
from headway.edge.control import settings as run_settings
from headway.errors import ConfigError

pytest.importorskip("mujoco", reason="the workflow runs in the simulated cell")

from workflow_rig import episode, settings_of

from headway.drivers.sim.phrases import meant
from headway.edge.control.events import EventKind

NAME = "press_button"
EXAMPLE = Path(__file__).parents[1] / "examples" / "my_workflow"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package, as `pip install` of it leaves it."""
    project = parse_toml((EXAMPLE / "pyproject.toml").read_text(), "pyproject.toml")["project"]
    info = tmp_path / "my_workflow-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-workflow\nVersion: 0.1\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield info
    for name in [m for m in sys.modules if m.split(".")[0] == "my_workflow"]:
        sys.modules.pop(name)


def test_all_parts_are_found_by_one_name(package):
    assert NAME in workflows.names()
    settings = run_settings.load(workflows.config_of(NAME))
    assert settings.cell is not None
    assert settings.cell["scene"] == run_settings.task(settings).kind == NAME
    for folder in ("drivers.sim.scenes", "edge.control.tasks", "learn.experts"):
        assert NAME in plugins.kinds(folder)
        assert plugins.load(folder, NAME).__name__.startswith("my_workflow.")


def test_the_expert_does_an_order_of_two_lines(package):
    result, log, station = episode(settings_of(NAME, lines_max=2), 3_000_000)
    assert (result.end, result.success) == ("done", True)
    assert len(log.of(EventKind.LINE_CLOSED)) == 2
    panel = station.world.scene.truth["panel"]
    assert panel.lit == set(panel.due)
    rows = np.array(log.rows)
    assert rows["place_confirm"].max() == rows["scale_match"].max() == 1.0
    for column in ("place_confirm", "barcode", "scale_match", "operator"):
        assert np.isfinite(rows[column]).all(), column  # else PRO is given nothing of the station
    assert set(rows["phase"].tolist()) == {0.0, 1.0, 2.0}


def test_a_line_that_a_false_alarm_closes_is_found_by_the_audit(package):
    rates = {"place_false": 60.0, "scale_miss": 1.0, "grace_s": 0.1}
    result, log, station = episode(settings_of(NAME, lines_max=2, rates=rates), 3_000_000)
    assert len(log.of(EventKind.LINE_CLOSED)) == 2
    assert station.world.scene.truth["panel"].lit != set(station.world.scene.truth["panel"].due)
    assert (result.end, result.success) == ("done", False)


def test_what_is_said_means_one_thing_each(package):
    scene = plugins.load("drivers.sim.scenes", NAME)
    said = [t for c in scene.COMMANDS for t in (c.plain, *c.train, *c.held_out)]
    others = [*scene.NOT_COMMANDS_TRAIN, *scene.NOT_COMMANDS_HELD_OUT]
    assert len({*said, *others}) == len(said) + len(others)
    for command in scene.COMMANDS:
        assert meant(command.held_out[0], scene.COMMANDS) is command
    assert all(meant(text, scene.COMMANDS) is None for text in others)


def test_its_expert_refuses_another_scene(package):
    settings = settings_of("pick_place")
    policy = {"kind": "expert", "expert": NAME}
    with pytest.raises(ConfigError, match="wants the simulated cell with the scene press_button"):
        episode(structs.replace(settings, policy=policy), 0)


def test_a_study_notices_that_its_code_has_changed(package, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="learning wants torch")
    from headway.learn.execution.sim_site import SimSite

    site = object.__new__(SimSite)
    site.name, site._path = NAME, workflows.config_of(NAME)
    before = site.made_of
    changed = tmp_path / "task.py"
    changed.write_text("# another task\n")
    monkeypatch.setattr(plugins.load("edge.control.tasks", NAME), "__file__", str(changed))
    differ = [name for name in before if before[name] != site.made_of[name]]
    assert differ == ["workflow's code"]


@pytest.mark.parametrize("name", ["Config", "build", "HOME", "TASK", "PLACES", "INSTRUCTIONS"])
def test_what_a_scene_lacks_is_named_before_anything_moves(name, package, monkeypatch):
    monkeypatch.delattr(plugins.load("drivers.sim.scenes", NAME), name)
    with pytest.raises(ConfigError, match=rf"wants `{name}` in its module my_workflow\.scene"):
        run_settings.world(settings_of(NAME), "[cell]")


def test_what_an_expert_lacks_is_named(package, monkeypatch):
    settings = settings_of(NAME)
    monkeypatch.delattr(plugins.load("learn.experts", NAME), "connect")
    with pytest.raises(ConfigError, match=r"wants `connect` in its module my_workflow\.expert"):
        episode(settings, 0)
