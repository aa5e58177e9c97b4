"""What the loop does when its guard holds the arm, or a tick comes late: the jaws keep what they
hold, motion is planned within what the guard allows, nobody is asked less often than agreed."""

from __future__ import annotations

import numpy as np
import pytest
from loop_rig import WHEN, Policy, Rig
from msgspec import structs
from null_robot import HORIZON, null_table

from headway import config
from headway.clock import NS
from headway.edge.control.settings import Settings
from headway.errors import ConfigError
from headway.types import Wrench


@pytest.fixture
def path(tmp_path):
    return tmp_path / "e.mcap"


class PutsDown(Policy):
    """Closes the jaws, and opens them at the end of each chunk."""

    def infer(self, obs):
        chunk = super().infer(obs)
        chunk.actions[:, 6] = 1.0
        chunk.actions[4:, 6] = 0.0
        return chunk


def hit(usual):
    def read(*args, **kwargs):
        return structs.replace(
            usual(*args, **kwargs), value=Wrench(np.array([0.0, 0.0, 200.0]), np.zeros(3))
        )

    return read


def test_the_jaws_keep_what_they_hold_while_the_guard_holds_the_arm(path):
    table = null_table()
    table["guard"]["force_max"] = 80.0
    table["loop"]["policy_hz"] = 2.0
    rig = Rig(table, PutsDown())
    widths, gripper = [], rig.station.gripper_device
    command = gripper.command

    def spy(width, *, force):
        widths.append(width)
        return command(width, force=force)

    gripper.command = spy
    rig.after(WHEN, rig.station.ft.source, "read", hit)
    result = rig.run(path)
    assert result.refused["FORCE"] > 100
    assert widths[-1] == 0.0  # closed before the trip, and never opened after it


class BackAndForth(Policy):
    """Goes along the tool's axis at 0.2 m/s, and comes to rest now and then."""

    def infer(self, obs):
        chunk = super().infer(obs)
        rests = obs.number // 8 % 2
        chunk.actions[:, 2] = 0.0 if rests else 0.02 * np.arange(1, HORIZON + 1)
        return chunk


@pytest.mark.parametrize(
    "scales",
    [{}, {"dq_scale": 0.5, "ddq_scale": 0.25}, {"ddq_scale": 0.25, "dddq_scale": 0.25}],
)
def test_ordinary_motion_fits_the_limits_that_the_guard_allows(path, scales):
    table = null_table()
    table["guard"] |= scales
    rig = Rig(table, BackAndForth())
    result = rig.run(path)
    assert result.rejected == 0, result.refused
    assert np.ptp(rig.sent, axis=0).max() > 0.05


def test_the_stop_of_a_late_policy_fits_the_limits_that_the_guard_allows(path):
    table = null_table()
    table["guard"] |= {"ddq_scale": 0.25, "dddq_scale": 0.25}
    rig = Rig(table, Policy(lambda actions: actions[:0]))
    result = rig.run(path)
    assert (result.end, result.rejected) == ("fault", 0), result.refused
    rig.check_came_to_rest()


class Counting(Policy):
    def __init__(self):
        super().__init__()
        self.asked = 0

    def infer(self, obs):
        self.asked += 1
        return super().infer(obs)


def test_a_question_whose_tick_was_skipped_is_asked_at_the_next_one(path):
    """One tick in 50 takes more than two periods, the one before the policy would be asked."""
    asked = []
    for late in (False, True):
        rig = Rig(null_table(), Counting())
        command = rig.arm.command

        def slow(q, *, deadline_ns, rig=rig, command=command, late=late):
            tick = round((deadline_ns - rig.begun) / rig.loop.dt / NS) - 1
            if late and tick % 50 == 4:
                rig.clock.sleep_until(rig.clock.now() + round(2.2 * rig.loop.dt * NS))
            return command(q, deadline_ns=deadline_ns)

        rig.arm.command = slow
        result = rig.run(path, overwrite=True)
        assert result.end == "time limit"
        assert bool(result.missed) == late
        asked.append(rig.worker.policy.asked)
    assert asked[0] == asked[1] > 10


def test_a_command_that_was_made_too_long_ago_is_refused(path):
    table = null_table()
    table["guard"]["max_command_age_s"] = 0.05
    rig = Rig(table, Policy())
    policy_asked = rig.worker.submit

    def hangs(obs):
        if obs.number == 3:  # as a page fault of the whole process would
            rig.clock.sleep_until(rig.clock.now() + NS // 10)
        return policy_asked(obs)

    rig.worker.submit = hangs
    result = rig.run(path)
    assert result.refused["LATE"] >= 1


def test_the_arm_is_stopped_while_the_watchdog_still_watches(path):
    rig = Rig(null_table(), Policy())

    class Dog:
        def arm(self, path):
            rig.calls.append("arm")

        def beat(self):
            return True

        def disarm(self):
            rig.calls.append("disarm")

    rig.loop.watchdog = Dog()
    assert rig.run(path).end == "time limit"
    assert rig.calls[-2:] == ["stop", "disarm"]


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_policy_is_not_asked_with_a_state_that_is_not_finite(path, value):
    """The wrench is only seen, the guard does without it."""
    table = null_table()
    table["guard"]["require_wrench"] = False
    rig = Rig(table, Policy())

    def pressed(usual):
        return lambda: structs.replace(usual(), force=np.array([0.0, 0.0, value]))

    rig.after(WHEN, rig.station.ft.source, "sample", pressed)
    result = rig.run(path)
    assert "wants wrench.fz, which no sensor gives" in result.why


def test_a_lost_arm_is_called_so(path):
    rig = Rig(null_table(), Policy())

    def lost(usual):
        def read(*_, **__):
            raise OSError("no packet")

        return read

    rig.after(WHEN, rig.station.arm.source, "read", lost)
    result = rig.run(path)
    assert result.why.startswith("guard: NO_STATE: ")
    assert result.refused["NO_STATE"] > 10
    assert "NO_WRENCH" not in result.refused


def test_a_grip_force_beyond_what_the_guard_allows_is_refused_before_anything_moves():
    table = null_table()
    table["guard"]["grip_force_max"] = 5.0
    with pytest.raises(ConfigError, match=r"loop\.grip_force.* at most .*5 N, found 15"):
        config.decode(table, Settings, "test")
