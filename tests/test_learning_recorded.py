"""What `headway learn` makes of recordings: whose data a PRO head was taught is known by content,
and more recordings, or other settings, teach it anew."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="wants headway[learn]")
pytest.importorskip("onnxscript", reason="wants headway[learn]")

import torch
from learning_fakes import FakeBase
from learning_rig import rollout

from headway import bundle
from headway.edge.pro import risk
from headway.errors import OutputError
from headway.learn.execution import recorded
from headway.learn.execution.judged import example
from headway.learn.execution.settings import learning
from headway.learn.pro import heads
from headway.learn.rollout import DEMONSTRATION, POLICY
from headway.tools.score.identity import sha256_of

torch.set_num_threads(1)
STEPS = {"steps": 4}
QUICK = {"base": "x", "clone": STEPS, "head": STEPS, "baseline": STEPS}


def quiet(doing, share):
    """Nobody is told anything."""


class Robot:
    """A robot whose recordings are files that name a made-up execution (`learning_rig`)."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.base = folder, FakeBase(folder)
        policy = SimpleNamespace(close=lambda: None)
        monkeypatch.setattr(recorded, "open_policy", lambda path: policy)
        monkeypatch.setattr(recorded, "of_recording", self._read)
        self.looked: list[str] = []

    def record(self, name, seed, source=POLICY):
        path = self.folder / "runs" / f"{name}.mcap"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{seed} {source}")
        return path

    def _read(self, path, policy, to_latent):
        self.looked.append(path.stem)
        seed, source = map(int, path.read_text().split())
        return rollout(seed, 0.9 if source == DEMONSTRATION else 0.7, source)[0]

    def look(self, paths):
        return recorded.look(paths, self.base, self.folder / "kept", quiet)

    def learn(self, paths, risk_s=1.0):
        """What `headway learn` makes of the recordings `paths`."""
        how = learning("1.6", {**QUICK, "process": {"steps": 4, "risk_s": risk_s}}, "test")
        recorded.improve(self.look(paths).lessons, self.base, how, self.folder / "out", 0, quiet)
        return bundle.load(self.folder / "out" / "pro")

    def judged(self, path):
        """The recording as `headway pro card` reads it: by its file's name."""
        (found,) = self.look([path]).lessons
        return replace(example(found), name=path.stem, sha256=sha256_of(path))


@pytest.fixture
def robot(tmp_path, monkeypatch):
    return Robot(tmp_path, monkeypatch)


def recordings(robot, own=range(4)):
    """Demonstrations, and rollouts of another run with the same seeds."""
    shown = [robot.record(f"shown_{s}", s, DEMONSTRATION) for s in range(4)]
    return [*shown, *(robot.record(f"own_{s}", s) for s in own)]


def test_a_head_is_judged_by_the_one_that_was_not_taught_the_recording(robot):
    paths = recordings(robot)
    made = robot.learn(paths)
    folds = heads.folds_of(made)
    assert folds is not None
    assert len(folds.of) == 8  # also of recordings with the same seed
    assert [f.sha256 for f in folds.of.values()] == [sha256_of(p) for p in paths]
    judged = [robot.judged(p) for p in paths]
    new = robot.judged(robot.record("new", 77))
    _, said = heads.held_out(made, [*judged, new])
    assert said == [*(f"held out by fold {k % 2}" for k in range(8)), "never seen"]
    path = risk.of_bundle(made)
    assert path is not None
    calibration = risk.load(path, made.manifest.files[made.manifest.onnx].sha256)
    assert calibration.episodes == 8
    assert "8 episodes recorded" in made.manifest.provenance.data


def test_more_recordings_and_other_settings_teach_the_head_anew(robot):
    first = robot.learn(recordings(robot))
    before = first.onnx.read_bytes()
    assert robot.learn(recordings(robot)).onnx.read_bytes() == before
    again = robot.learn(recordings(robot, range(6)), risk_s=3.0)
    assert again.manifest.pro.risk_s == 3.0
    assert again.manifest.provenance.metrics["episodes"] == 10
    assert again.onnx.read_bytes() != before
    assert len(robot.looked) == 10  # each recording once


def test_a_copy_of_a_recording_is_not_learned_from(robot):
    paths = recordings(robot)
    copy = paths[0].with_name("copy.mcap")
    shutil.copy(paths[0], copy)
    found = robot.look([*paths, copy])
    assert (len(found.lessons), found.copies, found.left_out) == (8, 1, [])
    assert "copy" not in robot.looked


def test_a_head_that_knows_its_episodes_by_name_alone_has_seen_nobody_knows_what(robot):
    paths = recordings(robot)
    how = learning("1.6", {**QUICK, "process": STEPS}, "test")
    run = [replace(x, sha256="") for x in robot.look(paths).lessons]  # as a unit runs them
    recorded.improve(run, robot.base, how, robot.folder / "out", 0, quiet)
    made = bundle.load(robot.folder / "out" / "pro")
    judged = robot.judged(paths[0])
    _, said = heads.held_out(made, [judged, replace(judged, name="made_up:2", sha256="")])
    assert said[0].startswith("unknown: the bundle knows its episodes by name alone")
    assert said[1] == "held out by fold 0"


def test_a_full_disk_is_not_taken_for_a_recording_that_cannot_be_read(robot, monkeypatch):
    def full(path, lesson):
        raise OutputError("the disk is full")

    monkeypatch.setattr(recorded.store, "save_lesson", full)
    with pytest.raises(OutputError, match="the disk is full"):
        robot.look([robot.record("own", 1)])


def test_recordings_are_looked_at_again_where_features_are_defined_otherwise(robot, monkeypatch):
    path = robot.record("own", 1)
    robot.look([path])
    robot.look([path])
    assert robot.looked == ["own"]
    monkeypatch.setattr(recorded.spec, "spec_hash", lambda: "another definition")
    robot.look([path])
    assert robot.looked == ["own", "own"]
