"""A recording gives the rollout that was there when it was made."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the cell needs mujoco: make test installs it")

from test_rollout import Thinking, needs_gl, replace, settings

from headway import shipped
from headway.clock import VirtualClock
from headway.edge.control import settings as run_settings
from headway.edge.control.build import Built
from headway.edge.control.runner import record_episode
from headway.edge.control.station import Station
from headway.errors import RecordingError, SpecMismatch
from headway.learn import rollout as r
from headway.learn.rollout_recorded import of_recording


def flat(actions):
    """As `Thinking` does with the chunk that it chooses."""
    return 2 * actions.reshape(-1)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The policy, a recording of seed 5 with images, and the rollout of that seed."""
    chosen = settings(camera=run_settings.load(shipped.CONFIG).camera)
    path = tmp_path_factory.mktemp("recorded") / "5.mcap"
    clock, policies = VirtualClock(1), []

    def wrap(policy):
        policies.append(Thinking(policy))
        return policies[-1]

    with Station(chosen, clock) as station:
        built = Built(chosen, station, clock, wrap=wrap)
        record_episode(built.loop, 5, path, metadata=built.facts)
        station.reset(5)
    with r.Runner(chosen, wrap=Thinking, images=True, to_latent=flat) as runner:
        return policies[0], path, runner.episode(5)


@needs_gl
def test_a_recording_is_the_rollout_of_its_seed(both):
    policy, path, made = both
    found = of_recording(path, policy, to_latent=flat, images=True)
    assert found.rows.tobytes() == made.rows.tobytes()
    assert (found.workflow, found.seed, found.result) == (made.workflow, made.seed, made.result)
    assert (found.events, dict(found.facts)) == (made.events, dict(made.facts))
    a, b = found.decisions, made.decisions
    assert len(a) == len(b) > 20
    for name in ("t_ns", "code", "latent", "line"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    for name in ("state", "base", "actions"):
        np.testing.assert_array_equal(getattr(a.seen, name), getattr(b.seen, name), err_msg=name)
    np.testing.assert_array_equal(a.seen.rgb["wrist"], b.seen.rgb["wrist"])
    np.testing.assert_array_equal(a.seen.depth["wrist"], b.seen.depth["wrist"])
    assert a.seen.instruction == b.seen.instruction
    assert set(a.source.tolist()) == {r.DEMONSTRATION}  # the recording says that an expert drove


@needs_gl
def test_a_recording_that_says_who_steered_is_believed(tmp_path):
    class Said(Thinking):
        recorded = ("source",)

    chosen = settings(camera=run_settings.load(shipped.CONFIG).camera)
    clock = VirtualClock(1)
    with Station(chosen, clock) as station:
        built = Built(chosen, station, clock, wrap=Said)
        path = tmp_path / "5.mcap"
        record_episode(built.loop, 5, path, metadata=built.facts)
        found = of_recording(path, built.worker.policy).decisions
    assert found.source.tolist() == [r.DEMONSTRATION] * 2 + [r.ORACLE] * (len(found) - 2)
    assert found.latent.shape == (len(found), 0)


@needs_gl
def test_a_policy_that_wants_something_else_is_refused(both):
    policy, path, _ = both

    class Other:
        def __init__(self, **changed):
            for name in ("name", "cameras", "state_names", "actions", "needs"):
                setattr(self, name, changed.get(name, getattr(policy, name)))

        def reset(self): ...

    with pytest.raises(SpecMismatch, match="wanted images of camera `overview`, found none"):
        of_recording(path, Other(cameras=("overview",)))
    with pytest.raises(SpecMismatch, match=r"wants goal\.x, which the recording does not hold"):
        of_recording(path, Other(state_names=("tcp.x", "goal.x")))
    with pytest.raises(SpecMismatch, match="3 moments per observation"):
        of_recording(path, Other(needs=replace(policy.needs, steps=3)))
    with pytest.raises(SpecMismatch, match=r"wanted chunks of actions \(1, 7\)"):
        of_recording(path, Other(actions=replace(policy.actions, chunk=1)))


@needs_gl
def test_a_recording_without_an_end_is_refused(both, tmp_path):
    policy, path, _ = both
    half = tmp_path / "half.mcap"
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordingError):
        of_recording(half, policy)
