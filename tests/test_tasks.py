"""Kinds of tasks: those of other packages, what is wrong with them, and what a task may ask for."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from loop_rig import Policy, Rig, check_log, played
from null_robot import SENTENCES, make_pro, null_table, run

from headway.edge.control import tasks
from headway.edge.control.events import EventKind
from headway.edge.control.tasks import TaskAbout, TaskSettings
from headway.edge.control.tasks.open_ended import Config, OpenEnded
from headway.edge.policy.policy import Needs
from headway.errors import ConfigError
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of, phase_name, phases_of

# What somebody else writes to have a task of their own: this file, and an entry point.
MOVE_AWAY = '''
"""The TCP is to move away from where it began, by `metres`."""

import math

from headway.config import Positive, Struct
from headway.edge.control.events import EventKind


class Config(Struct, frozen=True):
    metres: Positive = 0.01  # [m]


class MoveAway:
    phases = ("begin", "move", "away")
    retries, recovering, goal = 0, False, None

    def __init__(self, cfg, about):
        self.cfg, self.happened = cfg, about.happened
        self.phase, self.done, self.outcome = 0, False, False
        self.start, self.numbers = None, {}

    def step(self, sensed):
        if sensed.state is None:
            return
        here = sensed.state.tcp.pos.tolist()
        if self.start is None:
            self.start = here
        away = math.dist(here, self.start)
        self.numbers["away_m"] = away
        self.phase = 0 if away < 1e-6 else 1
        if away > self.cfg.metres:
            self.phase, self.done, self.outcome = 2, True, True
            self.happened(EventKind.TASK, "far enough", {"away_m": away})


def make(cfg, about):
    return MoveAway(cfg, about)
'''
POINTS = "[headway.tasks]\nmove_away = stranger_move_away\n"


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A package with a task, in a folder that Python looks at."""
    folder = tmp_path / "site"
    info = folder / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "stranger_move_away.py").write_text(MOVE_AWAY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("stranger_move_away", None)


def test_the_task_of_a_stranger_is_found_and_runs(stranger, tmp_path):
    assert len(MOVE_AWAY.splitlines()) <= 45
    table = null_table(task={"kind": "move_away", "metres": 0.02, "name": "retreat"})
    path = tmp_path / "e.mcap"
    result = Rig(table, Policy()).run(path)
    assert (result.end, result.success) == ("done", True)
    assert 0.02 < result.numbers["away_m"] < 0.021
    recording = check_log(path, "far enough", end="done")
    (event,) = [e for e in events_of(recording) if e.kind is EventKind.TASK]
    assert event.numbers == {"away_m": result.numbers["away_m"]}
    assert phases_of(recording) == ("begin", "move", "away")
    facts = recording.metadata
    assert (facts["task"], facts["task_kind"]) == ("retreat", "move_away")
    assert set(recording.rows("/telemetry")["phase"]) == {0.0, 1.0, 2.0}


def test_the_keys_of_a_stranger_are_checked_as_ours_are(stranger):
    with pytest.raises(ConfigError, match=r"unknown key `meters`: did you mean `metres`\?"):
        tasks.decode({"kind": "move_away", "meters": 0.1}, "[task]")
    with pytest.raises(ConfigError, match=r"found `move_awya`: did you mean `move_away`\?"):
        tasks.decode({"kind": "move_awya"}, "[task]")


@pytest.mark.parametrize("name", ["Config", "make"])
def test_a_module_that_is_no_task_is_named(stranger, name):
    source = (stranger / "stranger_move_away.py").read_text()
    (stranger / "stranger_move_away.py").write_text(
        source.replace("class Config(", "class Other(").replace("cfg: Config", "cfg")
        if name == "Config"
        else source.replace("def make(", "def other(")
    )
    with pytest.raises(ConfigError, match=f"wants `{name}` in its module stranger_move_away"):
        tasks.decode({"kind": "move_away"}, "[task]")


def test_an_entry_point_that_does_not_load_is_named_with_its_package(stranger):
    (stranger / "stranger_move_away.py").write_text("import nowhere_to_be_found")
    says = (
        r"the entry point `move_away = stranger_move_away` of the group headway\.tasks, from the "
        "package stranger, found that it does not load: ModuleNotFoundError: No module named "
        "'nowhere_to_be_found': mend that package"
    )
    with pytest.raises(ConfigError, match=says):
        tasks.decode({"kind": "move_away"}, "[task]")


@pytest.mark.parametrize(
    ("old", "new", "lacks"),
    [
        ("def step(self", "def stepp(self", "step"),
        ("retries, recovering, goal = 0, False, None", "retries = 0", "recovering, goal"),
        ("self.start, self.numbers = None, {}", "self.step = None", "a method step"),
    ],
)
def test_a_task_that_lacks_something_is_refused_before_anything_moves(stranger, old, new, lacks):
    assert old in MOVE_AWAY
    (stranger / "stranger_move_away.py").write_text(MOVE_AWAY.replace(old, new))
    chosen = tasks.decode({"kind": "move_away"}, "[task]")
    with pytest.raises(ConfigError, match=f"found MoveAway without {lacks}: add"):
        chosen.make(TaskAbout(0, (), None, None, lambda *_: None))


class Many(OpenEnded):
    """A task with nine phases."""

    phases = tuple("abcdefghi")
    Config = Config

    @classmethod
    def make(cls, cfg, about):
        return cls(cfg, about)


def test_a_task_has_at_most_eight_phases():
    about = TaskAbout(0, (), None, None, lambda *_: None)
    chosen = TaskSettings("many", "sort", 1.0, Many, Config())
    with pytest.raises(ConfigError, match=r"task sort wants at most 8 phases, found 9 \(a, b, c"):
        chosen.make(about)


def test_a_task_that_does_not_fit_the_robot_is_refused_before_anything_moves(
    write, tmp_path, capsys
):
    zone = {"centre": [0.4, 0.0], "half": [0.1, 0.1]}
    path = write(task={"source": zone, "target": zone})
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("gripper")))
    assert run(path, tmp_path / "out") == 2
    assert "wants a gripper, found no [gripper]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class Asks(Policy):
    """Notes the instruction that it is given with every observation."""

    def __init__(self, needs):
        super().__init__()
        self.needs, self.seen = needs, []

    def infer(self, obs):
        self.seen.append(obs.instruction)
        return super().infer(obs)


def test_an_instruction_changes_while_the_episode_runs(tmp_path):
    rig = Rig(null_table(), policy := Asks(Needs(instructions=SENTENCES)))
    rig.at_tick(300, lambda: rig.loop.instruct(SENTENCES[2]))
    rig.run(tmp_path / "e.mcap")
    assert policy.seen == [SENTENCES[0]] * 6 + [SENTENCES[2]] * 7
    recording = open_recording(tmp_path / "e.mcap")
    (event,) = [e for e in events_of(recording) if e.kind is EventKind.INSTRUCTION]
    assert event.text == SENTENCES[2]
    assert event.t_ns == recording.rows("/telemetry")["t_ns"][301]  # the next tick


@pytest.mark.parametrize(
    ("needs", "says"),
    [
        (Needs(instructions=SENTENCES), "was not taught 'dance'"),
        (Needs(instructions=()), "takes no instruction, found 'dance'"),
    ],
)
def test_an_instruction_that_is_not_taken_is_said_and_the_old_one_stays(tmp_path, needs, says):
    policy = Asks(needs)
    rig = Rig(null_table(), policy)
    rig.at_tick(300, lambda: rig.loop.instruct("dance"))
    assert rig.run(tmp_path / "e.mcap").end == "time limit"
    check_log(tmp_path / "e.mcap", "info: dance", "warning: the instruction was not taken: policy")
    check_log(tmp_path / "e.mcap", says)
    assert set(policy.seen) == {SENTENCES[0]}


def test_free_text_reaches_the_policy_as_it_is(tmp_path):
    rig = Rig(null_table(), policy := Asks(Needs()))
    rig.at_tick(300, lambda: rig.loop.instruct("dance, π times"))
    rig.run(tmp_path / "e.mcap")
    assert policy.seen == [SENTENCES[0]] * 6 + ["dance, π times"] * 7


class Commands(OpenEnded):
    """A task that asks for another instruction halfway."""

    Config = Config
    instruction = None

    @classmethod
    def make(cls, cfg, about):
        return cls(cfg, about)

    def step(self, sensed):
        self.instruction = SENTENCES[1 if sensed.elapsed < 0.6 else 3]


def test_a_task_may_ask_for_instructions(tmp_path):
    rig = Rig(null_table(), policy := Asks(Needs(instructions=SENTENCES)))
    rig.loop.task = TaskSettings("commands", "commands", 1.3, Commands, Config())
    rig.run(tmp_path / "e.mcap")
    assert policy.seen == [SENTENCES[1]] * 6 + [SENTENCES[3]] * 7
    events = events_of(open_recording(tmp_path / "e.mcap"))
    assert [e.text for e in events if e.kind is EventKind.INSTRUCTION] == [
        SENTENCES[1], SENTENCES[3]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("known", "name", "index"),
    [
        ((), None, math.nan),
        (("sort", "open_ended"), None, 1.0),
        (("sort", "open_ended"), "shoebox", math.nan),
    ],
)
def test_pro_is_told_the_task_by_its_own_list(tmp_path, known, name, index):
    pro = make_pro(tmp_path / "pro", tasks=known)
    task = {"kind": "open_ended", "limit_s": 0.1} | ({"name": name} if name else {})
    table = null_table(task=task, pro={"bundle": str(pro), "features": "numpy"})
    recording = played(table, tmp_path / "e.mcap")
    np.testing.assert_array_equal(np.unique(recording.rows("/telemetry")["task"]), [index])


def test_a_task_that_pro_does_not_know_is_said(write, both, tmp_path, capsys):
    path = write(pro=both["pro"], task={"kind": "open_ended", "name": "sort", "limit_s": 0.1})
    assert run(path, tmp_path / "out") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "PRO was not trained on the task sort (but on pick_place, open_ended):" in said


@pytest.mark.parametrize(("code", "name"), [(1.0, "at goal"), (2.0, "phase 2"), (-1, "phase -1")])
def test_phases_are_named_for_people(code, name):
    assert phase_name(("act", "at_goal"), code) == name
