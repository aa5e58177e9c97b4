"""The thread that infers beside a loop in real time."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from loop_rig import Policy
from null_robot import null_table

from headway import config
from headway.clock import VirtualClock
from headway.edge.policy import PolicyWorker
from headway.edge.settings import Settings
from headway.edge.station import Station
from headway.types import Observation


class Wall(VirtualClock):
    realtime = True


class Slow(Policy):
    """Answers when told to."""

    def __init__(self):
        super().__init__()
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.error = None

    def infer(self, obs):
        self.begun.release()
        assert self.go.acquire(timeout=20)
        if self.error is not None:
            raise self.error
        return super().infer(obs)


@pytest.fixture
def policy():
    return Slow()


@pytest.fixture
def worker(policy):
    station = Station(config.decode(null_table(), Settings, "test"), VirtualClock())
    worker = PolicyWorker(policy, station.chain, Wall(), 0.0)
    worker.reset()
    yield worker
    policy.go.release(10)
    worker.close()
    assert not worker._thread.is_alive()


def observation(worker, t_ns):
    q = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])
    return Observation(t_ns, {}, np.zeros(3, np.float32), 0, q, worker._chain.pose(q))


def submit(worker, policy, t_ns):
    worker.submit(observation(worker, t_ns), lambda: 0)
    assert policy.begun.acquire(timeout=20)


def test_it_takes_the_newest_observation_and_gives_each_chunk_once(worker, policy):
    submit(worker, policy, 1)
    for t in (2, 3, 4):
        worker.submit(observation(worker, t), lambda: 0)
    assert worker.take(10) is None
    policy.go.release()
    assert policy.begun.acquire(timeout=20)  # the first one is done: at the newest now
    assert worker.take(10).chunk.t0_ns == 1
    assert worker.take(10) is None
    policy.go.release()
    submit(worker, policy, 9)
    assert worker.take(10).chunk.t0_ns == 4


def test_a_chunk_begun_in_an_episode_that_is_over_is_dropped(worker, policy):
    submit(worker, policy, 1)
    worker.reset()
    policy.go.release()
    submit(worker, policy, 2)
    assert worker.take(10) is None


def test_a_failure_is_raised_by_take_until_the_next_episode(worker, policy):
    policy.error = RuntimeError("out of memory")
    submit(worker, policy, 1)
    policy.go.release()
    submit(worker, policy, 2)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            worker.take(10)
    policy.error = None
    worker.reset()
    policy.go.release()
    submit(worker, policy, 3)
    assert worker.take(10) is None
    policy.go.release()
    submit(worker, policy, 4)
    assert worker.take(10).chunk.t0_ns == 3
