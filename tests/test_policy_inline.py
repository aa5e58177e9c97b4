"""The worker of lock-step runs: infers in place, hands over after its latency."""

from __future__ import annotations

import numpy as np
import pytest
from loop_rig import Policy
from null_robot import null_table

from headway import config
from headway.clock import VirtualClock
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.policy.policy import InlineWorker
from headway.errors import PolicyError
from headway.types import Observation

Q = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])


def raises(_):
    raise ValueError("out of memory")


@pytest.fixture
def make():
    station = Station(config.decode(null_table(), Settings, "test"), VirtualClock())

    def make(then=None):
        worker = InlineWorker(Policy(then, when=0.0), station.limb, 10e-9)
        worker.reset("anything")
        return worker

    return make


def observation(t_ns):
    pose = Station(config.decode(null_table(), Settings, "test"), VirtualClock()).chain.pose(Q)
    return Observation(t_ns, {}, np.zeros(3, np.float32), "anything", Q, pose)


def test_a_chunk_comes_after_the_latency_and_once(make):
    worker = make()
    worker.submit(observation(100))
    assert worker.take(109) is None
    assert worker.take(110).chunk.t0_ns == 100
    assert worker.take(111) is None


def test_the_newest_of_several_wins(make):
    worker = make()
    for t in (100, 105):
        worker.submit(observation(t))
    assert worker.take(120).chunk.t0_ns == 105
    assert worker.take(120) is None


def test_a_failure_comes_when_the_chunk_would_have_and_once(make):
    worker = make(raises)
    worker.submit(observation(100))
    assert worker.take(109) is None
    with pytest.raises(PolicyError, match="ValueError: out of memory"):
        worker.take(110)
    assert worker.take(111) is None


def test_an_episode_begins_without_the_one_before(make):
    worker = make()
    worker.submit(observation(100))
    worker.reset("anything")
    assert worker.take(1000) is None
