"""When the policy is late: its chunk to the end, a jerk-limited stop, a hold, and back."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from loop_rig import WHEN, Policy, Rig, check_log
from null_robot import null_table
from properties import examples

from headway.clock import NS
from headway.drivers.model import load
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.motion.chunks import ChunkPlayer, JointChunk
from headway.edge.motion.deadline import Deadline, Mode
from headway.types import ArmState

UR5E = load("ur5e")

CHAIN = UR5E.chain
HOME = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])
WAY_NS = NS // 10
LIMITS = UR5E.limits
ANYWHERE = GuardConfig(
    workspace_min=(-2.0, -2.0, -2.0), workspace_max=(2.0, 2.0, 2.0), force_max=80.0,
    torque_max=15.0, require_wrench=False,
)  # fmt: skip


class Run:
    """Player, deadline and guard, tick by tick, as the loop calls them."""

    def __init__(self, dt=0.002, max_age_s=1.0):
        self.dt, self.k = dt, 0
        self.player = ChunkPlayer(6, dt)
        self.deadline = Deadline(self.player, LIMITS, dt, max_age_s)
        self.deadline.reset(HOME)
        self.guard = Guard(ANYWHERE, LIMITS, dt, CHAIN)
        self.guard.reset(HOME)
        self.state = ArmState(HOME, HOME * 0, HOME, CHAIN.pose(HOME), np.zeros(6))
        self.sent, self.modes, self.changed = [], [], []

    @property
    def t_ns(self):
        return round(self.k * self.dt * NS)

    def tick(self, n=1):
        for _ in range(n):
            wanted = self.deadline.sample(self.t_ns)
            decision = self.guard.apply(
                wanted, state=self.state, wrench=None, now_ns=0, command_t_ns=0
            )
            self.sent.append(decision.q.copy())
            self.modes.append(self.deadline.mode)
            self.deadline.sent(decision.q)
            if decision.changed:
                self.changed.append(self.k)
                self.deadline.overruled(decision.q, self.t_ns)
            self.k += 1

    def adopt(self, q, t0_ns=None):
        chunk = JointChunk(self.t_ns if t0_ns is None else t0_ns, WAY_NS, q, np.zeros(len(q)), 0.0)
        assert self.player.adopt(chunk, self.t_ns)

    def check_limits(self):
        q = np.concatenate([[HOME]] * 3 + [self.sent])
        for order, most in enumerate((LIMITS.dq_max, LIMITS.ddq_max, LIMITS.dddq_max), start=1):
            found = np.abs(np.diff(q, order, axis=0)).max(0)
            assert (found <= most * self.dt**order * (1 + 1e-6) + 1e-9).all()


def walk(seed, step=0.03, h=6):
    steps = np.random.default_rng(seed).normal(0, step, (h + 1, 6))
    steps[0] = 0.0
    return HOME + np.cumsum(steps, axis=0)


def test_it_holds_until_there_is_a_chunk():
    run = Run()
    run.tick(20)
    assert set(run.modes) == {Mode.HOLD}
    assert run.deadline.why == "no chunk yet"
    np.testing.assert_array_equal(run.sent, [HOME] * 20)


@examples(40)
@given(
    seed=st.integers(0, 10_000),
    dt=st.sampled_from([0.001, 0.002, 0.008]),
    late=st.floats(0.05, 0.55),
)
def test_the_stop_is_one_that_the_guard_never_has_to_change(seed, dt, late):
    """From the middle of any motion that the guard let through: follow, stop, hold; all limits are
    kept across both seams, and the guard sends every sample as it is."""
    run = Run(dt, max_age_s=late)
    run.adopt(walk(seed))
    run.tick(round(1.2 / dt))
    run.check_limits()
    modes = np.array(run.modes)
    assert modes[0] == Mode.FOLLOW
    assert modes[-1] == Mode.HOLD
    assert (np.diff(modes) >= 0).all()
    stopping = np.flatnonzero(modes == Mode.STOP)
    assume(stopping[0] not in run.changed and stopping[0] - 1 not in run.changed)
    assert not [k for k in run.changed if k >= stopping[0]]
    assert abs(stopping[0] * dt - late) <= 2 * dt
    assert len(stopping) * dt < 0.5
    assert np.ptp(np.array(run.sent)[modes == Mode.HOLD], axis=0).max() < 1e-9


def test_a_chunk_is_played_to_its_end_before_the_stop():
    run = Run()
    run.adopt(walk(1))
    run.tick(400)
    assert run.modes[299] == Mode.FOLLOW  # 0.6 s
    assert run.modes[301] == Mode.STOP
    assert "has ended" in run.deadline.why


def test_a_chunk_that_came_late_is_not_followed_longer_than_its_age_allows():
    run = Run(max_age_s=0.3)
    run.k = 100  # 0.2 s after what it was made from
    run.adopt(walk(2), t0_ns=0)
    run.tick(100)
    assert [m for m in run.modes if m == Mode.FOLLOW] == [Mode.FOLLOW] * 51
    assert "older than loop.chunk_max_age_s" in run.deadline.why


def test_a_new_chunk_is_followed_once_the_arm_stands():
    run = Run(max_age_s=0.3)
    run.adopt(walk(3))
    run.tick(155)
    assert run.modes[-1] == Mode.STOP
    here = run.sent[-1]
    run.adopt(here + (walk(4) - HOME))
    run.tick(140)
    assert run.modes[-1] == Mode.FOLLOW
    assert Mode.STOP in run.modes[155:]  # to its end first
    assert not run.changed
    run.check_limits()


def test_the_guards_word_is_taken():
    """Where the guard sends something else, the hold is where that ends."""
    run = Run()
    run.adopt(walk(5))
    run.tick(100)
    run.guard._stopped = True  # a protective stop latches
    run.tick(200)
    assert len(run.changed) > 100
    assert np.ptp(run.sent[-50:], axis=0).max() == 0.0
    run.check_limits()


def test_in_the_loop_every_transition_is_in_the_recording(tmp_path):
    def nothing(_):
        raise RuntimeError("cable")

    class Blinks(Policy):
        def infer(self, obs):
            since = obs.t_ns - (self.first_ns or obs.t_ns)
            if WHEN * NS <= since < (WHEN + 0.55) * NS:
                nothing(None)
            return super().infer(obs)

    table = null_table()
    table["loop"] = {**table["loop"], "fault_after_s": 5.0, "chunk_max_age_s": 0.25}
    table["task"] = {**table["task"], "limit_s": 2.0}
    rig = Rig(table, Blinks())
    path = tmp_path / "e.mcap"
    result = rig.run(path)
    assert (result.end, result.rejected) == ("time limit", 0)
    rig.check_arm()
    recording = check_log(
        path, "policy failed: RuntimeError: cable", "warning: stop: the last chunk",
        "follow: a chunk is there",
    )  # fmt: skip
    mode = recording.rows("/command")["mode"]
    assert [int(m) for m in mode[np.flatnonzero(np.diff(mode, prepend=-1))]] == [2, 0, 1, 2, 0]
    watchdog = recording.rows("/telemetry")["watchdog"]
    stopped = np.flatnonzero(mode[:-1] != Mode.FOLLOW)
    assert watchdog[stopped + 1].all()  # what PRO sees is of the tick before


def test_numbers_that_are_none_end_in_a_hold():
    run = Run()
    run.adopt(walk(6))
    run.tick(100)
    run.adopt(np.full((7, 6), np.nan))
    run.tick(400)
    assert np.isfinite(run.sent).all()
    assert np.ptp(run.sent[-50:], axis=0).max() == 0.0
    run.check_limits()
