"""A wrong first look of a scripted expert: what it does by it is no demonstration, and what it does
afterwards is one."""

from __future__ import annotations

import numpy as np
import pytest

from headway.clock import VirtualClock
from headway.drivers.sim.cell import Cell, CellConfig
from headway.learn.experts import pick_place, returns, shoebox
from headway.types import Observation, Pose

OPEN = {"gripper.width_ref": 0.085, "gripper.width": 0.085}
HELD = {"gripper.width_ref": 0.0, "gripper.width": 0.04, "gripper.force": 30.0}
POSE = Pose(np.array([0.4, 0.0, 0.3]), np.array([0.0, 1.0, 0.0, 0.0]))  # the tool points down


def decided(expert, **state):
    """Whether a decision over the bin says that it is a demonstration."""
    values = dict.fromkeys(expert.state_names, 0.0) | state
    row = np.array([*values.values()], np.float32)
    chunk = expert.infer(Observation(0, {}, row, "", np.zeros(6), POSE, ()))
    return chunk.meta["demonstration"] == 1.0


@pytest.mark.parametrize(
    ("scene", "module"),
    [("pick_place", pick_place), ("returns", returns), ("shoebox", shoebox)],
)
def test_a_wrong_look_lasts_until_something_is_held(scene, module):
    cell = Cell(CellConfig(scene=scene), VirtualClock(1))
    wrong = 0
    for seed in range(16):
        cell.reset(seed)
        expert = module.connect(cell, disturb=1e-9)
        if not expert.bad_look:
            assert decided(expert, **OPEN) != expert.astray  # of shoeboxes, by the wrong pad
            continue
        wrong += 1
        off = np.linalg.norm(expert.noise[:2])
        assert off >= 0.014
        assert not decided(expert, **OPEN)
        assert np.linalg.norm(expert.noise[:2]) == off  # the first attempt is made by it
        assert decided(expert, **HELD) != expert.astray
        assert not expert.bad_look
        assert scene == "shoebox" or not expert.astray
        assert np.linalg.norm(expert.noise[:2]) < 0.014  # the next attempt is no wrong one either
    assert wrong >= 2


def test_a_new_look_ends_a_wrong_one():
    cell = Cell(CellConfig(scene="pick_place"), VirtualClock(1))
    for seed in range(16):
        cell.reset(seed)
        expert = pick_place.connect(cell, disturb=1e-9)
        if expert.bad_look:
            break
    assert expert.astray
    expert.look()
    assert not expert.astray
    assert np.linalg.norm(expert.noise[:2]) < 0.014
