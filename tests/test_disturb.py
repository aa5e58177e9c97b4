"""Disturbances of a policy: drawn from the seed, on time, and only what they say."""

import math

import numpy as np
import pytest
from null_robot import tcp_actions

from headway.clock import NS
from headway.edge.policy.policy import Needs
from headway.learn.disturb import KINDS, Disturbance, Disturbed, drawn
from headway.types import Chunk, Observation, Pose

H = 5
ACTIONS = np.arange(H * 7, dtype=np.float32).reshape(H, 7) / 100


def disturbance(kind="press", **changes):
    values = {
        "start": 2.0, "length": 1.0, "period": math.inf, "size": 0.05, "growth": 0.5, "angle": 0.5,
    }  # fmt: skip
    return Disturbance(kind, **{**values, **changes})


@pytest.mark.parametrize(
    ("t", "share"), [(0.0, 0), (1.99, 0), (2.0, 1), (2.99, 1), (3.0, 0), (4.5, 0), (100.0, 0)]
)
def test_once_is_once(t, share):
    assert disturbance().share(t) == share


@pytest.mark.parametrize(
    ("t", "share"),
    [
        (1.9, 0),
        (2.5, 1),
        (3.1, 0),
        (3.9, 0),
        (4.1, 1.5),
        (5.1, 0),
        (6.1, 2.0),
        (7.5, 0),
        (8.0, 2.5),
    ],
)
def test_again_and_again_is_larger_each_time(t, share):
    assert disturbance(period=2.0).share(t) == share


def test_each_kind_changes_its_own_columns_and_nothing_outside_its_time():
    columns = {"press": {2}, "aside": {0, 1}, "open": {6}, "still": set(range(6))}
    assert set(columns) == set(KINDS)
    for kind, wanted in columns.items():
        given = ACTIONS.copy()
        out = disturbance(kind).apply(given, 2.5)
        assert given.tobytes() == ACTIONS.tobytes()
        assert out.dtype == np.float32
        assert set(np.flatnonzero((out != ACTIONS).any(axis=0))) == wanted
        assert disturbance(kind).apply(given, 3.5) is given


def test_a_press_ends_at_its_size_along_the_tool_and_never_beyond_12_cm():
    away = disturbance().apply(ACTIONS, 2.5) - ACTIONS
    assert away[:, 2] == pytest.approx(0.05 * np.arange(1, H + 1) / H)
    away = disturbance(period=1.5).apply(ACTIONS, 2.1 + 20 * 1.5) - ACTIONS
    assert away[-1, 2] == pytest.approx(0.12)
    away = disturbance("aside").apply(ACTIONS, 2.5) - ACTIONS
    assert away[-1, :2] == pytest.approx([0.05 * math.cos(0.5), 0.05 * math.sin(0.5)], abs=1e-6)


def test_the_draw_is_the_seeds_alone_and_of_every_kind():
    assert drawn(7) == drawn(7)
    found = [drawn(seed) for seed in range(400)]
    for kind, share in KINDS.items():
        assert sum(d.kind == kind for d in found) / 400 == pytest.approx(share, abs=0.08)
    assert sum(KINDS.values()) == pytest.approx(1.0)
    assert {math.isinf(d.period) for d in found} == {True, False}
    assert all(d.period > d.length for d in found)


class Still:
    name, cameras, state_names = "still", (), ("tcp.x",)
    actions, needs = tcp_actions(H), Needs()
    checked = ()

    def check_instruction(self, text):
        self.checked += (text,)

    def reset(self):
        self.resets = getattr(self, "resets", 0) + 1

    def infer(self, obs):
        return Chunk(obs.t_ns, NS // 10, ACTIONS, obs.base)


def test_time_counts_from_each_episodes_first_observation():
    policy = Disturbed(Still())
    seed = next(s for s in range(100) if drawn(s).kind == "press")
    policy.redraw(seed)
    start = drawn(seed).start
    pose = Pose(np.zeros(3), np.array([1.0, 0, 0, 0]))
    for begun in (5 * NS, 900 * NS):
        policy.reset()

        def changed(after, begun=begun):
            t = begun + round(after * NS)
            obs = Observation(t, {}, np.zeros(1, np.float32), "", np.zeros(6), pose)
            return (policy.infer(obs).actions != ACTIONS).any()

        assert [changed(x) for x in (0.0, start - 0.01, start + 0.01)] == [False, False, True]
    policy.check_instruction("x")
    assert (policy._policy.checked, policy._policy.resets) == (("x",), 2)
