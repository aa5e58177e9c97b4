"""What the experts of all workflows have in common: how they take over from somebody else."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="workflows run in the simulated cell")

from headway import plugins
from headway.clock import VirtualClock
from headway.drivers.sim.cell import Cell, CellConfig
from headway.types import Observation, Pose

# Over nothing that is asked for, and lower than they are after a failed attempt [m].
AT = {"pick_place": 0.09, "returns": 0.09, "shoebox": 0.158}
OPEN_M = 0.085


@pytest.fixture(scope="module", params=["pick_place", "returns", "shoebox"])
def expert(request):
    cell = Cell(CellConfig(scene=request.param), VirtualClock(1))
    cell.reset(3_000_002)
    return plugins.load("learn.experts", request.param).connect(cell)


def way(expert):
    """The motion of the next chunk (3,) [m] in the base frame, at the height AT with open jaws."""
    state = dict.fromkeys(expert.state_names, 0.0)
    state |= {"gripper.width": OPEN_M, "gripper.width_ref": OPEN_M}
    values = np.array([*state.values()], np.float32)
    at = np.array([0.36, -0.10, AT[expert.cell.cfg.scene]])
    pose = Pose(at, np.array([0.0, 1.0, 0.0, 0.0]))  # pointing down
    obs = Observation(0, {}, values, "", np.zeros(6), pose, ())
    return expert.infer(obs).actions[-1, :3] * [1.0, -1.0, -1.0]  # y and z of the tool point back


def test_after_a_failed_attempt_of_somebody_else_they_go_up_first(expert):
    expert.reset()
    expert.take_over(recovering=True)
    x, y, z = way(expert)
    assert np.hypot(x, y) < 1e-3
    assert z > 0.02


def test_they_take_over_where_nothing_has_failed_as_if_they_had_driven(expert):
    expert.reset()
    alone = way(expert)
    expert.reset()
    expert.rising = True
    expert.take_over(recovering=False)
    np.testing.assert_array_equal(way(expert), alone)
    assert np.hypot(*alone[:2]) > 0.01  # it is on its way to something
