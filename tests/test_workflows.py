"""Workflows are found by name, and each runs with its expert; what all of their scenes can be told,
and what people say in them."""

from __future__ import annotations

import types
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from headway import plugins, workflows
from headway.__main__ import main
from headway.edge.control import settings as run_settings
from headway.errors import BundleError, ConfigError
from headway.mcaplog import open_recording
from headway.types import OrderState

pytest.importorskip("mujoco", reason="workflows run in the simulated cell")

from workflow_rig import episode, moved, settings_of

from headway.clock import NS, VirtualClock
from headway.drivers import Context, open_device
from headway.drivers.sim.cell import Cell, CellConfig, scene_config
from headway.drivers.sim.order import Rates
from headway.drivers.sim.phrases import meant
from headway.edge.control.events import EventKind
from headway.edge.control.tasks import MOST_PHASES
from headway.tools.recorded import events_of

NAMES = sorted(p.stem for p in workflows.FOLDER.glob("*.toml"))  # not those of other packages
# Seeds of episodes that the expert does at once.
SEEDS = {"pick_place": 3_000_001}
MOST_LINES = {"shoebox": 3}  # where it is not 4: there is room for so many boxes


@pytest.mark.parametrize("name", NAMES)
def test_every_workflow_is_one_of_each_kind_with_one_robot_and_one_pace(name):
    settings = run_settings.load(workflows.config_of(name))
    assert settings.cell is not None
    assert settings.cell["scene"] == name
    assert run_settings.task(settings).kind == name
    assert name in plugins.kinds("learn.experts")
    assert settings.station == {"kind": "sim"}
    assert (settings.loop.hz, settings.loop.policy_hz, settings.loop.pro_hz) == (125.0, 5.0, 25.0)
    assert settings.cell.get("robot", "ur5e") == "ur5e"
    assert [(c["name"], c["width"], c["height"]) for c in settings.camera] == [("wrist", 96, 96)]


@pytest.mark.parametrize("name", NAMES)
def test_every_scene_of_a_workflow_has_orders_and_free_text(name):
    scene = plugins.load("drivers.sim.scenes", name)
    cfg = scene_config(CellConfig(scene=name), "test")
    assert isinstance(cfg.rates, Rates)
    assert not cfg.novel
    assert (cfg.phrasing, cfg.instruction, cfg.noise) == ("plain", None, 1.0)
    for lines in (2, MOST_LINES.get(name, 4)):
        options = {"lines_min": lines, "lines_max": lines, "phrasing": "held_out"}
        cell = Cell(CellConfig(scene=name, scene_config=options), VirtualClock(1))
        order = cell.scene.order
        assert order is not None
        assert len(order.lines) == lines
        assert order.state == OrderState(
            0, lines, cell.scene.instruction, place=0.0, barcode=0.0, scale=0.0
        )
        for line in order.lines:
            assert line.command in scene.COMMANDS
            assert line.text in line.command.held_out
    text = scene.COMMANDS[0].train[0]
    asked = Cell(CellConfig(scene=name, scene_config={"instruction": text}), VirtualClock(1))
    assert asked.scene.instruction == text
    assert len(asked.scene.order.lines) == 1
    assert asked.outcome() is False
    unheard = {"instruction": "sing a song about totes"}
    nobody = Cell(CellConfig(scene=name, scene_config=unheard), VirtualClock(1))
    assert nobody.outcome() is None


@pytest.mark.parametrize("name", NAMES)
def test_what_people_say_has_two_splits_that_share_no_sentence(name):
    scene = plugins.load("drivers.sim.scenes", name)
    said: list[str] = []
    for command in scene.COMMANDS:
        assert len(command.train) >= 20, command.plain
        assert len(command.held_out) >= 6, command.plain
        said += [command.plain, *command.train, *command.held_out]
    others = [*scene.NOT_COMMANDS_TRAIN, *scene.NOT_COMMANDS_HELD_OUT]
    assert len(others) >= 20
    assert len({*said}) == len(said)
    assert len({*others}) == len(others)
    assert not {*said} & {*others}
    for text in others:
        assert meant(text, scene.COMMANDS) is None, text
    for text in said:
        assert meant(f"  {text.upper()} .".replace(" .", "."), scene.COMMANDS) is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_expert_works_on_an_order_with_the_station_in_telemetry(name):
    settings = settings_of(name, lines_min=2, lines_max=2)
    result, log, station = episode(settings, SEEDS.get(name, 3_000_000))
    assert result.end == "done"
    assert result.success is True
    assert len(log.of(EventKind.LINE_CLOSED)) == 2
    rows = np.array(log.rows)
    for column in ("place_confirm", "barcode", "scale_match", "operator"):
        assert np.isfinite(rows[column]).all(), column
    assert rows["place_confirm"].max() == rows["scale_match"].max() == 1.0
    assert rows["phase"].max() < MOST_PHASES
    assert (np.diff(rows["retries"]) >= 0).all()
    assert station.world.scene.order.state.line == 2


def test_another_policy_takes_over_what_every_policy_is_told(tmp_path):
    found = run_settings.load(workflows.config_of("shoebox"))
    table = {**(found.policy or {}), "latency_s": 0.07}
    found = structs.replace(found, policy=table)
    assert run_settings.with_policy(found, "expert").policy == {
        "kind": "expert", "expert": "shoebox", "latency_s": 0.07,
    }  # fmt: skip
    models = workflows.config_of("shoebox").resolve().parents[2] / "models"
    for name, noise in (("workflows", {"noise": 0.0}), ("pick_place_policy", {})):
        assert run_settings.with_policy(found, str(models / name)).policy == {
            "kind": "bundle", "bundle": str(models / name), "latency_s": 0.07, **noise,
        }  # fmt: skip
    with pytest.raises(BundleError, match="bundle"):
        run_settings.with_policy(found, str(tmp_path))
    assert run_settings.with_policy(found, "ws://here:1").policy == {
        "kind": "remote", "url": "ws://here:1", "latency_s": 0.07,
    }  # fmt: skip


class TestCommand:
    def test_run_takes_a_workflow_and_replay_devices_play_its_station(self, tmp_path, capsys):
        own = moved("pick_place", tmp_path / "own.toml", ("limit_s = 42.0", "limit_s = 12.0"))
        arguments = ["--episodes", "1", "--seed", "3000001", "--out", str(tmp_path)]
        assert main(["run", "--config", str(own), "--policy", "expert", *arguments]) == 0
        recording = tmp_path / "episode_3000001.mcap"
        told = [e for e in events_of(open_recording(recording)) if e.kind is EventKind.LINE_CLOSED]
        assert told
        clock = VirtualClock(1)
        station = open_device("stations", "replay", {"path": str(recording)}, Context(clock))
        station.open(1.0)
        states = []
        while clock.now() < 11.5 * NS:
            states.append(station.read(0.0).value)
            clock.sleep_until(clock.now() + NS // 100)
        assert [s.line for s in states] == sorted(s.line for s in states)
        assert (states[0].line, states[-1].line) == (0, len(told)) == (0, 1)
        assert states[0].instruction != states[-1].instruction
        assert states[0].instruction.startswith("put the ")
        assert max(s.scale for s in states) == max(s.place for s in states) == 1.0
        assert main(["report", str(recording)]) == 0
        assert "line 1 of" in recording.with_suffix(".html").read_text()

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--workflow", "pick_plaice"], "did you mean `pick_place`?"),
            (["--workflow", "dancing"], "pick_place"),
            (["--workflow", "pick_place", "--config", "x.toml"], "leave one of them out"),
            (["--workflow", "pick_place", "--instruction", ""], "instruction"),
        ],
    )
    def test_what_does_not_fit_is_said_before_anything_moves(
        self, arguments, says, tmp_path, capsys
    ):
        assert main(["run", *arguments, "--out", str(tmp_path / "out")]) == ConfigError.exit_code
        assert says in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_an_instruction_is_an_order_of_one_line(self, tmp_path):
        out = tmp_path / "out"
        own = moved("pick_place", tmp_path / "own.toml", ("limit_s = 42.0", "limit_s = 0.5"))
        asked = "Pack the blue object."
        arguments = ["--episodes", "1", "--seed", "3", "--out", str(out), "--instruction", asked]
        assert main(["run", "--config", str(own), *arguments]) == 0
        recording = open_recording(out / "episode_3.mcap")
        assert recording.metadata["instruction"] == asked
        begun = [e for e in events_of(recording) if e.kind is EventKind.LINE_BEGUN]
        assert [(e.text, e.numbers) for e in begun] == [(asked, {"line": 0.0, "lines": 1.0})]

    @pytest.mark.parametrize("name", NAMES)
    def test_pro_goes_on_for_a_text_that_the_scene_does_not_know(self, name, tmp_path):
        """Its head wants the sensors of the station, which are there whatever is asked for."""
        own = moved(name, tmp_path / "own.toml", ("limit_s = 42.0", "limit_s = 2.0"))
        out = tmp_path / "out"
        asked = ["--instruction", "sing a song about totes", "--policy", "expert"]
        rest = ["--episodes", "1", "--seed", "3", "--out", str(out)]
        assert main(["run", "--config", str(own), *asked, *rest]) == 0
        recording = open_recording(out / "episode_3.mcap")
        assert len(recording.rows("/pro")) > 40
        rows = recording.rows("/telemetry")
        assert (rows["scale_match"] == 0.0).all()


class TestOtherPackages:
    @pytest.fixture
    def entry(self, monkeypatch):
        """An entry point that loads as what the test gives."""

        def make(found):
            point = EntryPoint("ours", "their_package:ours", workflows.GROUP)
            monkeypatch.setattr(EntryPoint, "load", lambda self: found)
            monkeypatch.setattr(workflows, "entry_points", lambda group: [point])

        return make

    @pytest.mark.parametrize("kind", [str, Path, "module"])
    def test_they_add_workflows_by_the_path_of_a_file(self, kind, entry, tmp_path):
        path = tmp_path / "ours.toml"
        path.write_text("")
        module = types.ModuleType("their_package")
        module.CONFIG = path
        entry(module if kind == "module" else kind(path))
        assert "ours" in workflows.names()
        assert workflows.config_of("ours") == path

    @pytest.mark.parametrize("found", [types.ModuleType("empty"), "/nowhere/ours.toml", 3])
    def test_an_entry_point_that_leads_nowhere_is_named(self, found, entry):
        entry(found)
        with pytest.raises(ConfigError, match=r"their_package:ours.*mend that package"):
            workflows.config_of("ours")
