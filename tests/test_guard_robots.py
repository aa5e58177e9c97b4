"""Both guards agree on arms of five, six and seven joints, with turned tools, in all that they
check of a place: workspace, collisions, stops and chunks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from guard_rig import BOX, QUIET, T, needs_cpp, same_finding
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from headway.drivers.capsules import Capsule
from headway.drivers.kinematics import Chain, Step
from headway.drivers.model import RobotModel, load
from headway.drivers.rotations import rpy_to_mat
from headway.drivers.transforms import transform
from headway.edge.guard import collision
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.guard.reasons import Reason
from headway.types import ArmState, Pose, Vec

TURNED = (0.03, -0.02, 0.08, 0.4, -0.3, 0.2)
ARMS = {
    "so101": lambda: load("so101"),
    "so101 with a turned tool": lambda: load("so101", TURNED),
    "ur10 with a turned tool": lambda: load("ur10", TURNED),
    "franka": lambda: load("franka"),
    "franka with a turned tool": lambda: load("franka", TURNED),
}  # fmt: skip


def guards(model: RobotModel, **more: Any) -> tuple[Guard, Guard]:
    tcp = model.chain.position(model.home)
    cfg = GuardConfig(
        **{
            **BOX, "workspace_min": tuple(tcp - 0.015), "workspace_max": tuple(tcp + 0.01),
            "floor_z": float(tcp[2] - 0.05), **more,
        }
    )  # fmt: skip
    pair = [
        Guard(cfg, model.limits, T, replace(model.chain, impl=impl), impl)
        for impl in ("python", "cpp")
    ]
    for g in pair:
        g.reset(model.home)
    return pair[0], pair[1]


def idle(model: RobotModel) -> dict[str, Any]:
    zero = np.zeros(model.n)
    pose = Pose(model.chain.position(model.home), np.array([1.0, 0.0, 0.0, 0.0]))
    state = ArmState(model.home, zero, model.home, pose, np.zeros(6))
    return {"state": state, "wrench": QUIET, "now_ns": 0, "command_t_ns": 0}


def walk(model: RobotModel, seed: int, mode: str) -> set[str]:
    """Both guards on one motion that speeds up and slows down; returns what they said."""
    pair = guards(model, mode=mode)
    rng = np.random.default_rng(seed)
    ok = idle(model)
    toward = rng.uniform(-1.0, 1.0, model.n) * 0.5
    q, said = model.home.copy(), set()
    speed, target = np.zeros(model.n), np.zeros(model.n)
    for k in range(240):
        if k % 80 == 79:
            toward = rng.uniform(-1.0, 1.0, model.n) * 0.5
        target = target + 0.03 * (toward - target)
        speed = speed + 0.03 * (target - speed)
        q = q + speed * T
        a, b = (g.apply(q, **ok) for g in pair)
        np.testing.assert_array_equal(a.q, b.q)
        assert a.changed == b.changed
        same_finding(a.finding, b.finding)
        said.add(a.reason.name)
        if mode == "reject" and a.changed:
            q, speed, target = a.q.copy(), np.zeros(model.n), np.zeros(model.n)
    return said


@needs_cpp
@examples(4)
@given(st.integers(0, 10**6), st.sampled_from(["reject", "clamp"]))
@pytest.mark.parametrize("name", ARMS)
def test_both_guards_say_and_send_the_same(name: str, seed: int, mode: str) -> None:
    walk(ARMS[name](), seed, mode)


@needs_cpp
@pytest.mark.parametrize("name", ARMS)
def test_such_motions_are_accepted_and_refused(name: str) -> None:
    said = set().union(*(walk(ARMS[name](), seed, "reject") for seed in range(4)))
    assert "OK" in said
    assert said & {"WORKSPACE", "COLLISION"}


@needs_cpp
@pytest.mark.parametrize("name", ARMS)
def test_chunks_get_the_same_verdict(name: str) -> None:
    model = ARMS[name]()
    pair = guards(model, workspace_min=(-2.0,) * 3, workspace_max=(2.0,) * 3, floor_z=-0.05)
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(60):
        start = 0.5 * model.home + 0.5 * rng.uniform(model.limits.q_min, model.limits.q_max)
        q = start + np.cumsum(rng.normal(0, 0.03, (12, model.n)), axis=0)
        a, b = (g.check_chunk(q, 0.3) for g in pair)
        assert a.row == b.row
        same_finding(a.finding, b.finding)
        refused += a.reason is not Reason.OK
    assert 0 < refused < 60


def test_the_first_link_of_an_arm_on_a_wall_may_reach_the_floor() -> None:
    """About a vertical axis a link comes no nearer to the floor, about a level one it does."""
    stick = (Capsule("stick", 1, (0.0, 0.0, 0.0), (0.5, 0.0, 0.0), 0.02),)
    cfg = GuardConfig(**BOX, floor_z=0.0)

    def pairs(turn: Vec) -> int:
        chain = Chain((Step(transform(turn, (0.0, 0.0, 0.6)), 0),), body=stick)
        return len(collision.scene(cfg, chain.body, 2, chain.upright).pairs)

    assert pairs(np.eye(3)) == 0
    assert pairs(rpy_to_mat(np.pi, 0.0, 0.0)) == 0  # hanging from a ceiling
    assert pairs(rpy_to_mat(0.0, np.pi / 2, 0.0)) == 1
