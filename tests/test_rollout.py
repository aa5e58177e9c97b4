"""Rollouts equal recordings, survive their file, and are the same whatever ran before."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the cell needs mujoco: make test installs it")

from headway import shipped
from headway.clock import VirtualClock
from headway.drivers.sim import gl
from headway.edge.control import settings as run_settings
from headway.edge.control.build import Built
from headway.edge.control.events import Event, EventKind
from headway.edge.control.runner import record_episode
from headway.edge.control.station import Station
from headway.errors import ConfigError, RecordingError
from headway.learn import rollout as r
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of, result_of

replace = msgspec.structs.replace
needs_gl = pytest.mark.skipif(gl.backend() is None, reason="no EGL and no OSMesa on this machine")


def settings(**changed):
    """The shipped run without PRO and cameras, at 125 Hz, driven by the scripted expert."""
    made = run_settings.load(shipped.CONFIG)
    loop = replace(made.loop, hz=125.0, policy_hz=None, pro_hz=25.0)
    usual = {
        "pro": None, "camera": (), "loop": loop,
        "policy": {"kind": "expert", "expert": "pick_place"},
    }  # fmt: skip
    return replace(made, **(usual | changed))


class Thinking:
    """`policy` with thoughts: the code is the state, the latents are multiples of the actions. From
    its third decision on, chunks are said to be of an oracle."""

    def __init__(self, policy):
        self._policy, self.n, self.thought = policy, 0, None
        for name in ("name", "cameras", "state_names", "actions", "needs"):
            setattr(self, name, getattr(policy, name))
        self.check_instruction = policy.check_instruction

    def reset(self):
        self.n = 0
        self._policy.reset()

    def infer(self, obs):
        chunk = self._policy.infer(obs)
        flat = chunk.actions.reshape(-1)
        self.thought = Thought(obs.state, np.stack([flat, 2 * flat]), 1)
        self.n += 1
        return msgspec.structs.replace(
            chunk, meta={"source": float(r.ORACLE)} if self.n > 2 else {}
        )


class Thought:
    def __init__(self, code, latent, chosen):
        self.code, self.latent, self.chosen = code, latent, chosen


@pytest.fixture(scope="module")
def made():
    """Seeds 5, 6 and 5 again."""
    with r.Runner(settings(), wrap=Thinking, to_latent=lambda actions: 7 * actions) as runner:
        return [runner.episode(seed) for seed in (5, 6, 5)]


def test_a_rollout_is_what_a_recording_holds(tmp_path, made):
    path = tmp_path / "5.mcap"
    clock, chosen = VirtualClock(1), settings()
    with Station(chosen, clock) as station:
        built = Built(chosen, station, clock, wrap=Thinking)
        record_episode(built.loop, 5, path, metadata=built.facts)
    recording = open_recording(path)
    assert made[0].rows.tobytes() == recording.rows("/telemetry").tobytes()
    assert made[0].rows.dtype == recording.rows("/telemetry").dtype
    assert list(made[0].events) == events_of(recording)
    assert made[0].result == result_of(recording)
    assert made[0].facts == recording.metadata
    np.testing.assert_array_equal(made[0].decisions.t_ns, recording.rows("/chunk")["t0_ns"])


def test_a_rollout_depends_on_its_seed_alone(made):
    first, other, again = made
    assert first.rows.tobytes() == again.rows.tobytes()
    assert (first.result, first.events, first.facts) == (again.result, again.events, again.facts)
    assert first.rows.tobytes() != other.rows.tobytes()
    assert (first.workflow, first.seed, other.seed) == ("pick_place", 5, 6)


def test_decisions_hold_the_chunk_that_was_played(made):
    d = made[0].decisions
    assert len(d) > 20
    assert d.source.tolist() == [0, 0] + [r.ORACLE] * (len(d) - 2)
    assert np.isin(d.t_ns, made[0].rows["t_ns"]).all()
    # The code here is the state, whose first number is the TCP's x in the row of the decision.
    at = np.searchsorted(made[0].rows["t_ns"], d.t_ns)
    np.testing.assert_allclose(d.code[:, 0], made[0].rows["tcp"][at, 0], atol=1e-6)


def test_who_made_a_chunk_decides_whose_latent_it_has():
    with r.Runner(settings(), wrap=Thinking, images=True, to_latent=lambda a: 7 * a) as runner:
        rollout = runner.episode(5)
    d, facts = rollout.decisions, rollout.facts
    actions = d.seen.actions.reshape(len(d), -1)
    np.testing.assert_array_equal(d.latent[:2], 2 * actions[:2])  # the one that was chosen
    np.testing.assert_array_equal(d.latent[2:], 7 * actions[2:])  # an oracle thinks in actions
    assert d.seen.rgb == {}
    np.testing.assert_array_equal(d.seen.state, d.code)
    assert set(d.seen.instruction) == {facts["instruction"]}


def test_the_runner_hides_nothing_of_the_policy():
    class Several(Thinking):
        candidates, recorded = 8, ("score",)

    with r.Runner(settings(), wrap=Several) as runner:
        about = runner.built.worker.about
    assert (about.candidates, about.recorded) == (8, ("score",))


def test_without_thoughts_codes_are_empty():
    with r.Runner(settings()) as runner:
        d = runner.episode(5).decisions
    assert d.code.shape == d.latent.shape == (len(d), 0)
    assert d.seen is None


@needs_gl
def test_what_the_policy_saw_is_kept_on_request():
    camera = run_settings.load(shipped.CONFIG).camera
    with r.Runner(settings(camera=camera), images=True) as runner:
        d = runner.episode(5).decisions
    assert d.seen.rgb["wrist"].shape == (len(d), 96, 96, 3)
    assert d.seen.depth["wrist"].shape == (len(d), 96, 96)
    assert d.seen.rgb["wrist"].std(axis=0).mean() > 1.0  # the camera moves
    assert d.seen.base.shape == (len(d), 7)


def test_a_file_gives_back_what_was_saved(tmp_path, made):
    path = tmp_path / "some" / "rollouts.npz"
    r.save(path, made[:2])
    found = r.load(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    for a, b in zip(made[:2], found, strict=True):
        assert a.rows.tobytes() == b.rows.tobytes()
        assert a.rows.dtype == b.rows.dtype
        assert (a.workflow, a.seed, a.result, a.events, a.facts) == (
            b.workflow, b.seed, b.result, b.events, b.facts
        )  # fmt: skip
        for name in ("t_ns", "code", "latent", "source", "line"):
            x, y = getattr(a.decisions, name), getattr(b.decisions, name)
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


def test_no_rollouts_are_a_file_too(tmp_path):
    r.save(tmp_path / "none.npz", [])
    assert r.load(tmp_path / "none.npz") == []


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, made, monkeypatch):
    path = tmp_path / "rollouts.npz"
    r.save(path, made[:1])
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(RecordingError, match="No space left"):
        r.save(path, made[:2])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"no rollouts", lambda b: b""]
)
def test_a_damaged_file_is_refused(tmp_path, made, damage):
    path = tmp_path / "rollouts.npz"
    r.save(path, made[:1])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RecordingError, match="wanted a file of rollouts"):
        r.load(path)


def test_other_files_and_versions_are_refused(tmp_path):
    with pytest.raises(RecordingError, match="wanted a file of rollouts"):
        r.load(Path("missing.npz"))
    np.savez(tmp_path / "other.npz", rows=np.zeros(3))
    with pytest.raises(RecordingError, match="version 1, found None"):
        r.load(tmp_path / "other.npz")


def test_rollouts_of_different_policies_are_not_mixed(tmp_path, made):
    with r.Runner(settings()) as runner:
        other = runner.episode(5)
    with pytest.raises(ValueError, match="one robot and one policy"):
        r.save(tmp_path / "mixed.npz", [made[0], other])


def test_a_run_without_a_policy_is_refused():
    with pytest.raises(ConfigError, match="a rollout wants a policy"):
        r.Runner(settings(policy=None))


def test_the_line_of_a_decision_is_the_one_that_was_due():
    def begun(t_ns, line):
        numbers = {"line": float(line), "lines": 3.0}
        kind = EventKind.LINE_BEGUN
        return Event(t_ns=t_ns, kind=kind, level="info", text="", numbers=numbers)

    events = [begun(10, 0), begun(50, 1), begun(90, 2)]
    other = Event(t_ns=60, kind=EventKind.ITEM_HELD, level="info", text="", numbers={"line": 9.0})
    at = np.array([0, 10, 49, 50, 70, 95])
    assert r.lines_at(at, [*events, other]).tolist() == [0, 0, 0, 1, 1, 2]
