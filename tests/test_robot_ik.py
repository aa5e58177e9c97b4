"""Inverse kinematics of arms of five, six and seven joints: limits, what a short arm cannot do, and
where a long one tends to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from test_robot_model import anywhere, both, every

from headway.drivers import native
from headway.drivers.kinematics import mat_to_rotvec, rotvec_to_mat
from headway.drivers.model import load


@every
@both
def test_inverse_kinematics_comes_back_within_the_limits(name, impl):
    """From joints 0.2 rad off, for poses that the arm has."""
    model = load(name)
    chain = replace(model.chain, impl=impl)
    rng = np.random.default_rng(3)
    solved = 0
    goals = 0.7 * anywhere(model, 60) + 0.3 * model.home
    for q in goals:
        R, p = chain.fk(q)
        q0 = np.clip(q + rng.normal(0, 0.2, model.n), model.limits.q_min, model.limits.q_max)
        found, residual = chain.ik(R, p, q0, iterations=60)
        assert ((found >= model.limits.q_min) & (found <= model.limits.q_max)).all()
        if residual < 2e-5:
            solved += 1
            assert np.abs(chain.position(found) - p).max() < 4e-5
    assert solved >= 0.95 * len(goals)


@every
@pytest.mark.skipif(native.module("auto") is None, reason="C++ kinematics not built")
def test_both_implementations_agree(name):
    model = load(name)
    cpp, python = (replace(model.chain, impl=impl) for impl in ("cpp", "python"))
    rng = np.random.default_rng(4)
    for q in anywhere(model, 40):
        np.testing.assert_allclose(cpp.transforms(q), python.transforms(q), rtol=0, atol=1e-14)
        for have, want in zip(cpp.state(q), python.state(q), strict=True):
            np.testing.assert_allclose(have, want, rtol=0, atol=1e-14)
        R, p = python.fk(q)
        goal = R @ rotvec_to_mat(rng.normal(0, 0.1, 3)), p + rng.normal(0, 0.03, 3)
        for iterations in (1, 3):
            a, left = cpp.ik(*goal, q, iterations=iterations)
            b, rest = python.ik(*goal, q, iterations=iterations)
            np.testing.assert_allclose(a, b, atol=1e-7)
            assert left == pytest.approx(rest, abs=1e-7)


@both
def test_a_joint_at_its_limit_stays_there_and_the_others_go_on(impl):
    model = load("ur5e")
    limits = replace(model.chain, impl=impl, q_max=(*model.chain.q_max[:2], 1.95, *[6.0] * 3))
    free = replace(limits, q_min=(), q_max=())
    R, p = free.fk(model.home)
    goal = p + np.array([-0.1, 0.0, 0.0])  # towards the base, where the elbow has to bend more
    q, residual = free.ik(R, goal, model.home, iterations=60)
    assert residual < 2e-5
    assert q[2] > 2.0
    q, residual = limits.ik(R, goal, model.home, iterations=60)
    assert q[2] == 1.95
    assert 1e-3 < residual < 0.1
    assert np.abs(limits.position(q) - goal).max() < np.abs(p - goal).max()


@both
def test_five_joints_keep_position_and_two_turns(impl):
    """A wish that the arm cannot have, a turn about the vertical beside the pan, is left alone; a
    roll and a flex are followed."""
    model = load("so101")
    chain = replace(model.chain, impl=impl)
    R, p = chain.fk(model.home)
    frames = chain.transforms(model.home)
    wrist = frames[4][:9].reshape(3, 3)
    for axis, reached in ((wrist[:, 0], False), (wrist[:, 1], True), (wrist[:, 2], True)):
        goal = rotvec_to_mat(0.1 * axis) @ R
        q, residual = chain.ik(goal, p, model.home, iterations=60)
        assert residual < 2e-5
        assert np.abs(chain.position(q) - p).max() < 2e-5
        turn = np.linalg.norm(mat_to_rotvec(chain.fk(q)[0] @ R.T))
        assert turn == pytest.approx(0.1 if reached else 0.0, abs=0.02)
    moved, residual = chain.ik(R, p + np.array([0.0, 0.05, 0.02]), model.home, iterations=60)
    assert residual < 2e-5
    np.testing.assert_allclose(chain.position(moved), p + np.array([0.0, 0.05, 0.02]), atol=2e-5)


@both
def test_seven_joints_do_not_drift(impl):
    """After each round of a circle the joints are where they were after the round before. Without
    a posture to tend to, they are further away with every round."""
    model = load("franka")
    chain = replace(model.chain, impl=impl)
    drift, away = _after_rounds(chain, model.home)
    assert drift < 1e-3
    assert away < 0.2
    drift, away = _after_rounds(replace(chain, posture=()), model.home)
    assert drift > 0.02
    assert away > 0.4


def _after_rounds(chain, home):
    """How far the joints move in the tenth round, and are from `home` after it [rad]."""
    R, p = chain.fk(home)
    angle = np.linspace(0.0, 2 * math.pi, 41)[1:]
    round_ = np.zeros((40, 6))
    round_[:, 0], round_[:, 1] = 0.1 * np.sin(angle), 0.1 * (np.cos(angle) - 1.0)
    ends, q = [], home
    for _ in range(10):
        rows, worst = chain.ik_chunk(R, p, round_, q)
        assert worst < 1e-4
        q = rows[-1]
        ends.append(q)
    return np.abs(ends[-1] - ends[-2]).max(), np.abs(ends[-1] - home).max()


@both
def test_a_pose_that_is_reached_moves_no_joint(impl):
    model = load("franka")
    chain = replace(model.chain, impl=impl)
    for q in anywhere(model, 20):
        found, residual = chain.ik(*chain.fk(q), q)
        np.testing.assert_array_equal(found, q)
        assert residual < 1e-12


@both
def test_a_chunk_may_hold_poses_in_the_base_frame(impl):
    model = load("ur10").with_tool("ee_link")
    chain = replace(model.chain, impl=impl)
    R, p = chain.fk(model.home)
    poses = np.array(
        [
            np.concatenate([p + np.array([0.0, 0.01 * k, 0.0]), mat_to_rotvec(R)])
            for k in range(1, 4)
        ]
    )
    q, worst = chain.ik_chunk(np.eye(3), np.zeros(3), poses, model.home)
    assert worst < 2e-5
    np.testing.assert_allclose([chain.position(x) for x in q[1:]], poses[:, :3], atol=2e-5)
