"""The policy in its own process: newest first, warm, looked after, gone with its loop."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from headway.clock import NS
from headway.drivers.model import load
from headway.edge.motion.actions import Limb
from headway.edge.policy.policy import FrameShape
from headway.edge.policy.worker import protocol
from headway.edge.policy.worker.process import Care, ProcessWorker
from headway.edge.policy.worker.source import PolicySource
from headway.errors import BundleError, ConfigError, Missing, PolicyError
from headway.types import Frame, Observation

UR5E = load("ur5e")

CHAIN = UR5E.chain
LIMB = Limb(CHAIN, UR5E.joints)
Q = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])
CAMERA = {"wrist": FrameShape(8, 6, True)}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("headway.edge.policy.worker.process._BACKOFF_S", (0.0,))


@pytest.fixture
def gate(tmp_path):
    """A pipe whose other end the policy may wait at; nobody waits to write."""
    os.mkfifo(tmp_path / "gate")
    fd = os.open(tmp_path / "gate", os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.fixture
def start(tmp_path, gate):
    made = []

    def start(factory="Scripted", frames=CAMERA, care=None, **arguments):
        if factory == "Scripted":
            arguments.setdefault("gate", str(tmp_path / "gate"))
        source = PolicySource(f"policies:{factory}", arguments)
        made.append(ProcessWorker(source, LIMB, frames, Q, care))
        return made[-1]

    yield start
    for worker in made:
        worker.close()
        worker.close()  # idempotent
        assert worker._process.poll() is not None


def observation(t_ns=NS, asked=0.0, value=255, shape=(8, 6), depth=True):
    rgb = np.full((*shape, 3), value, np.uint8)
    frame = Frame(rgb, np.full(shape, 500, np.uint16) if depth else None, np.eye(3), "wrist")
    state = np.array([asked, 0.04], np.float32)
    return Observation(t_ns, {"wrist": frame}, state, "go", Q, CHAIN.pose(Q))


def answer(worker, t_ns=2 * NS):
    """The next chunk, or what `take` raises."""
    return until(lambda: worker.take(t_ns), "no answer")


def until(found, what):
    """What `found()` gives once it is not None or False; a bound on waiting for another process."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if got := found():
            return got
        os.sched_yield()
    raise AssertionError(f"{what} in 20 s")


def ended(process):
    process.wait(timeout=20)


def recovered(worker, restarts):
    until(lambda: worker.restarts == restarts and not worker.trouble, "not started again")


def test_an_observation_goes_out_and_its_chunk_comes_back(start):
    worker = start()
    assert worker.about.name == "scripted"
    worker.reset("come")
    assert worker.take(NS) is None
    worker.submit(observation())
    ready = answer(worker)
    assert ready.chunk.t0_ns == NS
    assert ready.chunk.actions.shape == (4, 7)
    np.testing.assert_allclose(ready.chunk.actions[:, 5], 1.0)  # it saw the white image
    assert ready.joints.q.shape == (5, 6)
    np.testing.assert_array_equal(ready.joints.q[0], Q)
    R, p = CHAIN.fk(ready.joints.q[-1])
    np.testing.assert_allclose(p, CHAIN.pose(Q).pos + R[:, 2] * 0.004, atol=1e-3)
    assert 0 < ready.submitted_ns <= ready.started_ns <= ready.done_ns
    assert worker.take(2 * NS) is None


def test_it_was_warm_before_the_first_observation(start):
    worker = start(care=Care(warm_up=5))
    assert len(worker.warm_up_ns) == 5
    worker.reset("go")
    worker.submit(observation())
    assert answer(worker).chunk.actions[0, 6] == 6


def test_the_newest_observation_is_answered_not_a_queue(start, gate, tmp_path):
    worker = start(care=Care(warm_up=1, hang_s=100.0))
    worker.reset("go")
    worker.submit(observation(1 * NS, asked=7))  # busy until the gate opens
    until((tmp_path / "gate.reached").exists, "not begun")
    for t in range(2, 9):
        worker.submit(observation(t * NS, value=t))
    os.write(gate, b".")
    times = [answer(worker).chunk.t0_ns]
    if times[-1] != 8 * NS:  # the newest of the seven, after the one that was under way
        times.append(answer(worker).chunk.t0_ns)
    assert times in ([1 * NS, 8 * NS], [8 * NS])  # both may be there at once: the newest counts


def test_a_chunk_begun_in_an_episode_that_is_over_is_dropped(start, gate):
    worker = start()
    worker.reset("go")
    worker.submit(observation(NS, asked=7))
    os.write(gate, b".")
    worker.reset("go")
    worker.submit(observation(3 * NS))
    assert answer(worker).chunk.t0_ns == 3 * NS


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (3, "ValueError: a bug"),
        (5, r"wanted a chunk of actions \(4, 7\) of floats.*found \(2, 7\)"),
        (6, "MemoryError: no more"),
        (8, "ValueError: a bug, .a bug, .a bug"),
    ],
)
def test_a_failed_inference_is_raised_once_and_the_next_one_counts(start, asked, says):
    worker = start()
    worker.reset("go")
    worker.submit(observation(asked=asked))
    with pytest.raises(PolicyError, match=says):
        answer(worker)
    assert worker.take(NS) is None
    worker.submit(observation(3 * NS))
    assert answer(worker).chunk.t0_ns == 3 * NS
    assert worker.restarts == 0


def test_nan_comes_through_as_it_is_for_the_guard_to_refuse(start):
    worker = start()
    worker.reset("go")
    worker.submit(observation(asked=4))
    ready = answer(worker)
    assert np.isnan(ready.chunk.actions).all()
    assert np.isnan(ready.joints.q[1:]).all()


def test_one_that_crashes_is_started_again_and_knows_the_episode(start):
    worker = start()
    worker.reset("come")
    before = worker.pid
    worker.submit(observation(asked=2))
    recovered(worker, 1)
    assert worker.pid != before
    worker.submit(observation(5 * NS))
    assert answer(worker).chunk.t0_ns == 5 * NS


def test_one_that_hangs_is_killed_and_started_again(start):
    worker = start(care=Care(hang_s=0.5))
    worker.reset("go")
    worker.submit(observation(NS, asked=1))
    worker.submit(observation(NS + NS // 4))
    assert worker.trouble == ""
    hung = worker._process
    worker.submit(observation(2 * NS))
    assert "gave no answer for 0.5 s" in worker.trouble
    ended(hung)
    assert hung.returncode == -signal.SIGKILL
    recovered(worker, 1)
    worker.submit(observation(3 * NS))
    assert answer(worker).chunk.t0_ns == 3 * NS


def test_after_too_many_restarts_it_is_gone_until_the_run_ends(start):
    worker = start(care=Care(restarts=1))
    worker.reset("go")
    worker.submit(observation(asked=2))
    recovered(worker, 1)
    worker.submit(observation(asked=2))
    worker._keeper.join(20)
    for _ in range(2):
        with pytest.raises(PolicyError, match=r"SIGKILL.*1 restarts were not enough"):
            worker.take(NS)
    with pytest.raises(PolicyError, match="were not enough"):
        worker.reset("go")
    worker.submit(observation())  # harmless


def test_one_that_dies_before_the_first_episode_is_started_again(start):
    worker = start()
    os.kill(worker.pid, signal.SIGKILL)
    recovered(worker, 1)
    worker.reset("go")
    worker.submit(observation())
    assert answer(worker) is not None


def test_a_message_that_would_be_cut_is_refused():
    with pytest.raises(PolicyError, match=r"a message of at most 65536 bytes.* found 70"):
        protocol.pack(protocol.DESCRIBE, {"instructions": ["x" * 70_000]})


def test_an_episode_may_begin_while_it_is_being_started_again(start):
    worker = start()
    worker.reset("go")
    os.kill(worker.pid, signal.SIGKILL)
    ended(worker._process)
    worker.reset("come")
    worker.submit(observation(3 * NS))
    assert answer(worker).chunk.t0_ns == 3 * NS


def test_another_policy_after_a_restart_is_refused(start, tmp_path):
    folder = tmp_path / "count"
    folder.mkdir()
    worker = start("changes", frames={}, folder=str(folder))
    worker.reset("go")
    os.kill(worker.pid, signal.SIGKILL)
    worker._keeper.join(20)
    with pytest.raises(PolicyError, match="wanted the policy that was there before"):
        worker.take(NS)


@pytest.mark.parametrize(
    ("factory", "error", "says"),
    [
        ("missing", Missing, "install beads"),
        ("dies", PolicyError, "ended while it started: SIGKILL"),
        ("nobody", PolicyError, "AttributeError"),
    ],
)
def test_one_that_cannot_be_opened_says_why(factory, error, says):
    with pytest.raises(error, match=says):
        ProcessWorker(PolicySource(f"policies:{factory}"), LIMB, CAMERA, Q)


def test_a_camera_that_is_not_there(start):
    with pytest.raises(ConfigError, match="wants camera `wrist`, found none"):
        start(frames={})


def test_an_instruction_that_it_does_not_know(start):
    worker = start()
    with pytest.raises(BundleError, match="was not taught 'sing'"):
        worker.reset("sing")
    worker.reset("go")


def test_images_of_another_shape_are_refused_here(start):
    worker = start()
    worker.reset("go")
    with pytest.raises(PolicyError, match=r"camera wrist: wanted \(8, 6, 3\).*found \(9, 6, 3\)"):
        worker.submit(observation(shape=(9, 6)))
    with pytest.raises(PolicyError, match="wanted depth, found none"):
        worker.submit(observation(depth=False))
    worker.submit(observation(3 * NS))
    assert answer(worker).chunk.t0_ns == 3 * NS


def test_it_ends_with_its_loop_even_in_the_middle_of_an_inference(tmp_path):
    """A loop that is killed leaves no policy behind, hung or not."""
    script = textwrap.dedent("""
        import sys, numpy as np
        from test_policy_process import CAMERA, LIMB, Q, PolicySource, ProcessWorker, observation
        worker = ProcessWorker(PolicySource("policies:Scripted", {}), LIMB, CAMERA, Q)
        worker.reset("go")
        worker.submit(observation(asked=1))
        print(worker.pid, flush=True)
        sys.stdin.read()
    """)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    loop = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    )
    policy = os.pidfd_open(int(loop.stdout.readline()))
    loop.kill()
    loop.communicate()
    poll = select.poll()
    poll.register(policy, select.POLLIN)
    assert poll.poll(20_000)
    os.close(policy)


def test_nothing_is_left_open(start):
    before = set(os.listdir("/proc/self/fd"))
    worker = ProcessWorker(PolicySource("policies:Scripted", {}), LIMB, CAMERA, Q)
    worker.close()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_nothing_is_left_open_by_one_that_fails_to_warm_up():
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(PolicyError, match="not warm"):
        ProcessWorker(PolicySource("policies:cold"), LIMB, CAMERA, Q)
    assert set(os.listdir("/proc/self/fd")) <= before
