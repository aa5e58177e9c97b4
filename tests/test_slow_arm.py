"""An arm whose model gives no accelerations: the chunk player's moving averages follow its limits,
so that motion of ordinary speed is within them."""

from __future__ import annotations

import numpy as np
import pytest
from loop_rig import Policy, Rig
from null_robot import null_table

from headway import config
from headway.actions import ActionSpace
from headway.clock import NS, VirtualClock
from headway.drivers.model import load
from headway.edge.control.build import Built
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.motion.chunks import TAPS_S, filter_delay_s, lengths_s
from headway.learn.dataset import delay_s
from headway.types import Chunk, Limits

JOINTS = ("turn", "lift", "bend")
URDF = """<robot name="slow"><link name="base"/>{}</robot>"""
JOINT = """
<link name="l{i}"/>
<joint name="{name}" type="revolute">
  <parent link="{parent}"/><child link="l{i}"/><origin xyz="0 0 0.2"/><axis xyz="{axis}"/>
  <limit lower="-3" upper="3" velocity="2" effort="50"/>
</joint>"""


@pytest.fixture
def slow(tmp_path):
    """The path of a URDF: joints of 2 rad/s, for which 8 rad/s^2 and 160 rad/s^3 are taken."""
    parents, axes = ("base", "l0", "l1"), ("0 0 1", "0 1 0", "0 1 0")
    parts = (JOINT.format(i=i, name=JOINTS[i], parent=parents[i], axis=axes[i]) for i in range(3))
    path = tmp_path / "slow.urdf"
    path.write_text(URDF.format("".join(parts)))
    return str(path)


class Targets(Policy):
    """Joint waypoints `after` (seconds since the first observation -> angle) for every joint."""

    cameras, state_names = (), ()

    def __init__(self, angle, chunk=10, dt_s=0.1):
        super().__init__()
        self.angle = angle
        self.actions = ActionSpace(
            names=JOINTS, space="joint", mode="absolute", chunk=chunk, dt_s=dt_s, hold_s=0.5
        )

    def infer(self, obs):
        self.first_ns = obs.t_ns if self.first_ns is None else self.first_ns
        begun, space = (obs.t_ns - self.first_ns) / NS, self.actions
        times = begun + space.dt_s * np.arange(1, space.chunk + 1)
        rows = np.repeat(np.float32([[self.angle(t)] for t in times]), 3, axis=1)
        return Chunk(obs.t_ns, round(space.dt_s * NS), rows, obs.base)


def table_of(model, mode, limit_s):
    guard = {
        "workspace_min": [-2.0, -2.0, -2.0], "workspace_max": [2.0, 2.0, 2.0], "force_max": 80.0,
        "torque_max": 15.0, "mode": mode, "check_collision": False,
    }  # fmt: skip
    return null_table(
        arm={"kind": "null", "model": model},
        camera=[],
        guard=guard,
        task={"kind": "open_ended", "limit_s": limit_s},
    )


@pytest.mark.parametrize("model", ["ur5e", "ur10", "so101"])
def test_quick_arms_have_the_usual_moving_averages(model):
    assert lengths_s(load(model).limits, 0.002) == TAPS_S


def test_the_second_joint_of_the_franka_accelerates_slowly():
    limits = load("franka").limits
    assert limits.ddq_max.min() == 7.5
    assert lengths_s(limits, 0.002) == pytest.approx((0.134, 0.06, 0.02))  # 1 / 7.5, in ticks


@pytest.mark.parametrize("dt", [0.001, 0.002, 0.003, 0.008, 0.05])
@pytest.mark.parametrize(("ddq", "dddq"), [(8.0, 160.0), (3.0, 10.0), (0.5, 1000.0)])
def test_a_step_of_ordinary_speed_stays_within_the_limits(dt, ddq, dddq):
    whole = np.ones(2)
    limits = Limits(-whole, whole, whole, np.array([20.0, ddq]), np.array([1000.0, dddq]), whole)
    first, second, third = lengths_s(limits, dt)
    assert 1.0 / first <= ddq * (1 + 1e-9)
    assert 1.0 / (first * second) <= dddq * (1 + 1e-9)
    assert third == TAPS_S[2]


def test_what_a_model_without_accelerations_gives(slow):
    limits = load(slow).limits
    assert [x.tolist() for x in (limits.dq_max, limits.ddq_max, limits.dddq_max)] == [
        [2.0] * 3, [8.0] * 3, [160.0] * 3,
    ]  # fmt: skip
    assert lengths_s(limits, 0.002) == pytest.approx((0.126, 0.06, 0.02))


def test_far_targets_are_reached_where_the_guard_clamps(slow, tmp_path):
    rig = Rig(table_of(slow, "clamp", 2.0), Targets(lambda t: 0.9))
    result = rig.run(tmp_path / "e.mcap")
    assert (result.end, result.rejected, result.refused) == ("time limit", 0, {})
    assert result.clamped > 50
    np.testing.assert_allclose(rig.sent[-1], 0.9, atol=1e-3)
    rig.check_arm()


@pytest.mark.parametrize("chunk", [1, 10])
def test_motion_of_ordinary_speed_passes_the_guard(slow, tmp_path, chunk):
    """0.65 rad/s to and fro, with a rest at either end."""
    policy = Targets(lambda t: 0.65 * float(np.interp(t, [0, 1, 1.5, 2.5], [0, 1, 1, 0])), chunk)
    rig = Rig(table_of(slow, "reject", 4.0), policy)
    result = rig.run(tmp_path / "e.mcap")
    assert (result.end, result.rejected, result.clamped) == ("time limit", 0, 0)
    assert np.ptp(rig.sent, axis=0).min() > 0.5
    rig.check_arm()


def test_recordings_are_told_how_far_the_commands_lag_behind(slow, tmp_path):
    (tmp_path / "still.py").write_text(
        "class Still:\n"
        "    cameras = state_names = ()\n"
        f"    actions = dict(names={JOINTS}, space='joint', mode='step', chunk=4, dt_s=0.1)\n"
        "    def infer(self, obs):\n"
        "        return [[0.0] * 3] * 4\n"
    )
    table = table_of(slow, "reject", 0.1) | {
        "policy": {"kind": "python", "target": "still:Still", "folder": str(tmp_path)}
    }
    clock = VirtualClock(1)
    with Station(config.decode(table, Settings, "test"), clock) as station:
        made = Built(station.settings, station, clock)
        made.close()
    said = made.facts["filter_delay_s"]
    assert float(said) == filter_delay_s(lengths_s(load(slow).limits, 0.002), 0.002)
    assert float(said) == pytest.approx((0.126 + 0.06 + 0.02 - 3 * 0.002) / 2)
    assert delay_s(made.facts, 0.002) == float(said)


def test_the_delay_of_older_recordings_is_that_of_the_usual_moving_averages():
    assert delay_s({}, 0.002) == filter_delay_s(TAPS_S, 0.002)
    assert delay_s({"smoothing": "0.5"}, 0.002) == filter_delay_s(TAPS_S, 0.002, 0.5)
    assert delay_s({"smoothing": "0"}, 0.002) == 0.0
