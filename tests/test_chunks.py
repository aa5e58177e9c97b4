"""From chunks to joint references: no step at seams, the stated delay, an end; NaN is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from null_robot import TCP, tcp_actions
from properties import examples

from headway.drivers.model import load
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.guard.reasons import Reason
from headway.edge.motion.actions import Limb, to_joints
from headway.edge.motion.chunks import (
    BLEND_S,
    TAPS_S,
    ChunkPlayer,
    JointChunk,
    filter_delay_s,
)
from headway.types import ArmState, Chunk

UR5E = load("ur5e")

DT = 0.002
DT_NS = 2_000_000
WAY_NS = 100_000_000  # between waypoints
CHAIN = UR5E.chain
HOME = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])


def joint_chunk(t0, q, grip=None):
    q = np.asarray(q, float)
    return JointChunk(t0, WAY_NS, q, np.zeros(len(q)) if grip is None else np.array(grip), 0.0)


def play(player, start_tick, n):
    return [player.sample((start_tick + k) * DT_NS).copy() for k in range(n)]


def ramp(speed, h, q0=0.0, n=1):
    return q0 + speed * 0.1 * np.arange(h + 1)[:, None] * np.ones(n)


def test_a_ramp_is_followed_by_exactly_the_stated_delay():
    player = ChunkPlayer(1, DT)
    player.reset(np.zeros(1))
    player.adopt(joint_chunk(0, ramp(0.5, 10)), 0)
    out = np.array(play(player, 0, 500))[:, 0]
    t = np.arange(500) * DT
    settled = t > sum(TAPS_S) + BLEND_S
    np.testing.assert_allclose(
        out[settled], 0.5 * (t[settled] - filter_delay_s(TAPS_S, DT)), atol=1e-9
    )
    assert filter_delay_s(TAPS_S, DT) == pytest.approx((sum(TAPS_S) - 3 * DT) / 2)


speeds = st.floats(-1.0, 1.0)


@given(st.lists(st.tuples(speeds, st.integers(10, 55)), min_size=2, max_size=6))
@examples(40)
def test_seams_step_neither_position_nor_velocity(chunks):
    """Whatever the next chunk says and whenever it comes: acceleration and jerk of the reference
    stay bounded by the largest velocity step, T1 and T2 (Biagiotti & Melchiorri 2012)."""
    player = ChunkPlayer(1, DT)
    player.reset(np.zeros(1))
    out, tick, v_max = [0.0, 0.0, 0.0], 0, 0.0
    for speed, ticks in chunks:
        before = player.raw.copy()
        player.adopt(joint_chunk(tick * DT_NS, ramp(speed, 6, q0=before[0] + 0.01)), tick * DT_NS)
        assert player.seam_jump == pytest.approx(0.01)
        v_max = max(v_max, abs(speed) + 0.01 / BLEND_S)
        got = play(player, tick, ticks)
        out += [float(q[0]) for q in got]
        tick += ticks
    velocity = np.diff(out) / DT
    acceleration = np.diff(velocity) / DT
    jerk = np.diff(acceleration) / DT
    step = 2 * v_max + 1e-6  # from full speed one way to full speed the other
    assert np.abs(acceleration).max() <= step / TAPS_S[0] * 1.01
    assert np.abs(jerk).max() <= 2 * step / (TAPS_S[0] * TAPS_S[1]) * 1.01


def test_the_waypoint_reference_is_continuous_where_a_chunk_takes_over():
    player = ChunkPlayer(2, DT)
    player.reset(np.zeros(2))
    player.adopt(joint_chunk(0, ramp(0.3, 6, n=2)), 0)
    play(player, 0, 40)
    before = player.raw.copy()
    t = 40 * DT_NS
    player.adopt(joint_chunk(t - 5 * DT_NS, ramp(-0.2, 6, q0=0.5, n=2)), t)
    player.sample(t)
    np.testing.assert_allclose(player.raw, before, atol=1e-12)
    # old: 0.3 t, new: 0.5 - 0.2 (t - t0): their distance over three waypoints, root mean square
    gap = np.array([0.3 * u - (0.5 - 0.2 * (u - 0.07)) for u in (0.08, 0.18, 0.28)])
    assert player.disagreement == pytest.approx(np.sqrt(np.mean(gap**2)))


SEAMS = ("blend", "rtc", "ensemble")


@given(st.lists(st.tuples(speeds, st.integers(10, 320)), min_size=2, max_size=6))
@examples(40)
@pytest.mark.parametrize("seam", SEAMS)
def test_no_seam_steps_the_waypoint_reference(seam, chunks):
    """From tick to tick it moves by no more than the chunks' speeds and the blends of their
    distances allow."""
    player = ChunkPlayer(1, DT, seam)
    player.reset(np.zeros(1))
    raw, tick = [0.0], 0
    # speed, a blend of at most the chunks' spread, and the soft mask's steepest fall, 2.6
    most = 1.0 + (1 + 2.6) * 1.2 / BLEND_S
    for speed, ticks in chunks:
        player.adopt(joint_chunk(tick * DT_NS, ramp(speed, 6, q0=speed / 10)), tick * DT_NS)
        times = ((tick + k) * DT_NS for k in range(ticks))
        raw += [float(player.raw[0]) for t in times if player.sample(t) is not None]
        tick += ticks
    assert np.abs(np.diff(raw)).max() <= most * DT


def test_rtc_begins_with_the_old_chunk_and_ends_with_the_new_one():
    player = ChunkPlayer(1, DT, "rtc")
    player.reset(np.zeros(1))
    player.adopt(joint_chunk(0, ramp(0.3, 6)), 0)
    play(player, 0, 101)
    t = 100 * DT_NS
    player.adopt(joint_chunk(t, ramp(-0.2, 6, q0=0.06)), t)
    player.sample(t)
    assert player.raw[0] == pytest.approx(0.3 * 0.2)
    player.sample(t + 2 * WAY_NS)  # half of the overlap is left: c = 1/2
    w = 0.5 * (np.e**0.5 - 1) / (np.e - 1)
    assert player.raw[0] == pytest.approx(w * 0.3 * 0.4 + (1 - w) * (0.06 - 0.2 * 0.2))
    player.sample(t + 4 * WAY_NS)  # the old one has ended
    assert player.raw[0] == pytest.approx(0.06 - 0.2 * 0.4)


def test_an_ensemble_is_the_weighted_mean_of_what_covers_the_tick():
    player = ChunkPlayer(1, DT, "ensemble", 0.5)
    player.reset(np.zeros(1))
    for k, speed in enumerate((0.1, 0.2, -0.3)):
        t = k * WAY_NS
        player.adopt(joint_chunk(t, ramp(speed, 6)), t)
        play(player, k * 50, 50)
    t = 4 * WAY_NS
    player.sample(t)
    w = np.exp(-0.5 * np.arange(3))
    values = np.array([0.1 * 0.4, 0.2 * 0.3, -0.3 * 0.2])
    assert player.raw[0] == pytest.approx(float(w @ values / w.sum()))


def test_in_an_ensemble_a_chunk_that_ended_before_the_oldest_has_no_weight():
    player = ChunkPlayer(1, DT, "ensemble", 0.5)
    player.reset(np.zeros(1))
    player.adopt(joint_chunk(0, ramp(0.1, 20)), 0)
    player.adopt(joint_chunk(0, ramp(0.9, 2)), 0)  # shorter: it ends first
    player.adopt(joint_chunk(WAY_NS, ramp(0.2, 20)), WAY_NS)
    t = 10 * WAY_NS
    player.sample(t)
    w = np.exp(-0.5 * np.array([0, 2]))
    values = np.array([0.1 * 1.0, 0.2 * 0.9])
    assert player.raw[0] == pytest.approx(float(w @ values / w.sum()))


@pytest.mark.parametrize("seam", SEAMS)
def test_after_the_guard_overruled_older_chunks_no_longer_count(seam):
    player = ChunkPlayer(1, DT, seam)
    player.reset(np.zeros(1))
    player.adopt(joint_chunk(0, ramp(0.3, 6)), 0)
    play(player, 0, 50)
    player.adopt(joint_chunk(50 * DT_NS, ramp(-0.3, 6)), 50 * DT_NS)
    player.resync(np.array([0.5]), 60 * DT_NS)
    player.sample(60 * DT_NS)
    assert player.raw[0] == pytest.approx(0.5)
    player.sample(60 * DT_NS + round(BLEND_S * 1e9))
    assert player.raw[0] == pytest.approx(-0.3 * 0.12)


def test_past_its_last_waypoint_a_chunk_is_over_and_cannot_be_adopted():
    player = ChunkPlayer(1, DT)
    player.reset(np.zeros(1))
    assert player.sample(0) is None
    chunk = joint_chunk(0, ramp(0.1, 2))
    assert player.adopt(chunk, 0)
    assert player.sample(2 * WAY_NS) is not None
    assert player.sample(2 * WAY_NS + 1) is None
    assert not player.adopt(chunk, 2 * WAY_NS)
    player.reset(np.ones(1))
    assert player.sample(0) is None


def test_a_chunk_from_the_future_waits_at_its_first_waypoint():
    player = ChunkPlayer(1, DT)
    player.reset(np.zeros(1))
    player.adopt(joint_chunk(10 * WAY_NS, ramp(1.0, 6), grip=[0, 1, 1, 1, 1, 1, 1]), 0)
    play(player, 0, 100)
    np.testing.assert_allclose(player.raw, 0.0)


def test_the_grip_is_that_of_the_waypoint_ahead():
    player = ChunkPlayer(1, DT)
    player.reset(np.zeros(1))
    player.adopt(joint_chunk(0, ramp(0.0, 3), grip=[0.1, 0.1, 0.2, 0.3]), 0)
    seen = []
    for t in (0, WAY_NS - 1, WAY_NS, 2 * WAY_NS, 3 * WAY_NS):
        player.sample(t)
        seen.append(player.grip)
    assert seen == [0.1, 0.1, 0.2, 0.3, 0.3]


def test_after_the_guard_sent_something_else_the_reference_goes_on_from_there():
    player = ChunkPlayer(1, DT)
    player.reset(np.zeros(1))
    player.adopt(joint_chunk(0, ramp(0.0, 6, q0=0.02)), 0)
    play(player, 0, 30)
    player.resync(np.array([0.3]), 29 * DT_NS)
    out = np.array(play(player, 30, 200))[:, 0]
    assert abs(out[0] - 0.3) < 1e-3
    assert np.abs(np.diff(out)).max() < 0.28 / BLEND_S * DT * 1.01  # never faster than the blend
    np.testing.assert_allclose(out[-50:], 0.02, atol=1e-9)


def actions(h=4, **columns):
    a = np.zeros((h, len(TCP)), np.float32)
    for name, value in columns.items():
        a[:, TCP.index(name)] = value
    return a


def joints(a):
    chunk = Chunk(0, WAY_NS, a, CHAIN.pose(HOME))
    return to_joints(chunk, tcp_actions(len(a)), Limb(CHAIN, UR5E.joints), HOME)


def test_actions_are_in_the_frame_of_the_base_pose():
    made = joints(actions(z=0.05, rz=0.2, grip=0.7))
    np.testing.assert_array_equal(made.q[0], HOME)
    assert made.residual < 1e-4
    np.testing.assert_allclose(made.grip, 0.7, rtol=1e-6)
    R0, p0 = CHAIN.fk(HOME)
    for q in made.q[1:]:
        R, p = CHAIN.fk(q)
        np.testing.assert_allclose(p, p0 + 0.05 * R0[:, 2], atol=1e-4)
        assert (R0.T @ R)[0, 0] == pytest.approx(np.cos(0.2), abs=1e-4)


def test_out_of_reach_is_told_by_the_residual():
    assert joints(actions(x=5.0)).residual > 1.0


@pytest.mark.parametrize("column", ["x", "rz", "grip"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_reaches_the_guard_as_one_and_is_rejected(column, value):
    a = actions()
    a[1, TCP.index(column)] = value
    made = joints(a)
    assert np.isnan(made.q[2]).all()
    assert np.isfinite(made.q[[0, 1]]).all()

    cfg = GuardConfig(
        workspace_min=(-2, -2, -2), workspace_max=(2, 2, 2), force_max=1, torque_max=1,
        require_wrench=False,
    )  # fmt: skip
    guard = Guard(cfg, UR5E.limits, DT, CHAIN.position)
    guard.reset(HOME)
    player = ChunkPlayer(6, DT)
    player.reset(HOME)
    player.adopt(made, 0)
    still = np.zeros(6)
    state = ArmState(HOME, still, HOME, CHAIN.pose(HOME), still)
    reasons = set()
    for k in range(100):
        t = k * DT_NS
        wanted = player.sample(t)
        sent = guard.apply(wanted, state=state, wrench=None, now_ns=t, command_t_ns=t)
        assert np.isfinite(sent.q).all()
        reasons.add(sent.reason)
        if sent.changed:
            player.resync(sent.q, t)
    assert reasons == {Reason.OK, Reason.NOT_FINITE}


def test_a_slower_player_stays_on_the_path_and_in_step_with_its_observations():
    """At half speed the reference moves half as fast, and a chunk that says the same as the one
    before it makes no jump, although it was made from an observation some ticks ago."""
    player = ChunkPlayer(1, DT)
    player.reset(np.zeros(1))
    player.mark(0)
    player.adopt(joint_chunk(0, ramp(0.3, 40)), 0)
    line, seams = [], []
    base, begun = 0.0, 0
    for k in range(1, 400):
        t = k * DT_NS
        if k % 50 == 0:  # observed here, adopted ten ticks later
            player.mark(t)
            base, begun = float(player.raw[0]), t
        if k % 50 == 10 and begun:
            assert player.adopt(joint_chunk(begun, ramp(0.3, 40, q0=base)), t)
            seams.append(player.seam_jump)
        scale = 1.0 if k < 100 else 0.5
        player.sample(t, scale)
        line.append(float(player.raw[0]))
    # A chunk starts from the reference of the tick before its observation, so the tick of every
    # seam repeats one.
    speed = np.delete(np.diff(line) / DT, [k - 2 for k in range(60, 400, 50)])
    np.testing.assert_allclose(speed[:97], 0.3, atol=1e-9)
    np.testing.assert_allclose(speed[99:], 0.15, atol=1e-6)
    assert len(seams) == 7
    assert max(seams) <= 1e-9


def test_a_stop_in_the_player_is_a_stop_of_its_clock():
    player = ChunkPlayer(1, DT)
    player.reset(np.zeros(1))
    player.adopt(joint_chunk(0, ramp(0.3, 6)), 0)
    for k in range(1, 1000):  # far longer than the chunk lasts at full speed
        assert player.sample(k * DT_NS, 0.01) is not None
    assert player.raw[0] == pytest.approx(0.3 * 0.01 * 999 * DT, abs=1e-9)
