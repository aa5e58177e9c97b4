"""The arm without a robot: any model, and a servo that moves like joints with inertia."""

from __future__ import annotations

import math

import numpy as np
import pytest
from null_robot import null_table, toml
from urdf_rig import TWO, put

from headway.clock import NS, VirtualClock
from headway.drivers import Context, open_device
from headway.drivers.model import load, shipped
from headway.edge.control import settings
from headway.errors import ConfigError, DeviceError

TICK = NS // 500


def arm(clock=None, **table):
    made = open_device("arms", "null", table, Context(clock or VirtualClock()))
    made.open(1.0)
    return made


@pytest.mark.parametrize("name", shipped())
def test_it_is_any_robot_at_home(name):
    made = arm(model=name)
    state = made.read(0.0).value
    model = load(name)
    np.testing.assert_array_equal(state.q, model.home)
    np.testing.assert_allclose(state.tcp.pos, model.chain.position(model.home))
    assert made.model is model
    assert made.limits is model.limits
    assert state.tau_ext.shape == (model.n,)
    made.activate()
    with pytest.raises(DeviceError, match=f"wants {model.n} finite joint positions"):
        made.command(np.zeros(model.n + 1), deadline_ns=0)


def test_without_a_servo_a_command_is_reached_at_once():
    made = arm()
    made.activate()
    q = made.model.home + 0.3
    made.command(q, deadline_ns=0)
    state = made.read(0.0).value
    np.testing.assert_array_equal(state.q, q)
    np.testing.assert_array_equal(state.dq, 0.0)


def test_the_servo_moves_as_the_equation_of_a_critically_damped_body_says():
    """x(t) = x0 (1 + w t) exp(-w t) from rest, where no limit of the speed is met."""
    clock = VirtualClock()
    made = arm(clock, servo_rad_s=20.0)
    made.activate()
    q0 = made.model.home
    made.command(q0 + 0.1, deadline_ns=0)
    begun = clock.now()
    for _ in range(100):
        clock.sleep_until(clock.now() + TICK)
        state = made.read(0.0).value
        t = (clock.now() - begun) / NS
        decay = math.exp(-20.0 * t)
        np.testing.assert_allclose(state.q, q0 + 0.1 * (1 - (1 + 20.0 * t) * decay), atol=1e-9)
        np.testing.assert_allclose(state.dq, 0.1 * 400.0 * t * decay, atol=1e-9)
    np.testing.assert_allclose(state.twist, made.chain.jacobian(state.q) @ state.dq, atol=1e-12)
    np.testing.assert_array_equal(state.q_ref, q0 + 0.1)


@pytest.mark.parametrize("pause", [TICK, NS // 3, 5 * NS])
def test_the_servo_keeps_the_speed_of_the_model_and_arrives_without_overshoot(pause):
    clock = VirtualClock()
    made = arm(clock, servo_rad_s=50.0, model="so101")
    made.activate()
    q0, most = made.model.home, made.limits.dq_max
    goal = q0 + np.array([1.5, 0.0, 0.0, 0.0, 0.0])
    made.command(goal, deadline_ns=0)
    before, t = q0, clock.now()
    while clock.now() < t + 6 * NS:
        clock.sleep_until(clock.now() + pause)
        state = made.read(0.0).value
        assert (np.abs(state.dq) <= most + 1e-12).all()
        assert (np.abs(state.q - before) <= most * pause / NS + 1e-12).all()
        assert state.q[0] <= goal[0] + 1e-9
        before = state.q
    np.testing.assert_allclose(state.q, goal, atol=1e-6)


def test_a_stop_holds_where_the_arm_is():
    clock = VirtualClock()
    made = arm(clock, servo_rad_s=20.0)
    made.activate()
    made.command(made.model.home + 0.5, deadline_ns=0)
    clock.sleep_until(clock.now() + NS // 10)
    made.stop(1)
    at = made.read(0.0).value.q
    clock.sleep_until(clock.now() + 2 * NS)
    end = made.read(0.0).value
    assert np.abs(end.q - at).max() < 0.1
    assert np.abs(end.dq).max() < 1e-6
    with pytest.raises(DeviceError, match="activate"):
        made.command(end.q, deadline_ns=0)


def test_a_stop_activates_nothing():
    made = arm()
    made.stop(2)
    with pytest.raises(DeviceError, match="activate"):
        made.command(made.model.home, deadline_ns=0)
    made.activate()
    made.stop(2)
    made.command(made.model.home, deadline_ns=0)  # it goes on after this one
    made.stop(0)
    made.stop(2)
    with pytest.raises(DeviceError, match="activate"):
        made.command(made.model.home, deadline_ns=0)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"model": "ur99"}, "found 'ur99'"),
        ({"q": [0.0]}, "`q` wants 6 numbers, the joints of ur5e, found 1"),
        ({"tool": "hook"}, "wanted a tool frame, found 'hook'"),
        ({"tool": [0.0]}, "wanted a position of 3 numbers"),
        ({"servo_rad_s": -1.0}, "`servo_rad_s` wants"),
    ],
)
def test_what_does_not_fit_is_named(table, says):
    with pytest.raises(ConfigError, match=says):
        arm(**table)


def test_the_path_of_a_model_starts_at_the_folder_of_the_configuration(tmp_path):
    put(tmp_path, TWO)
    table = null_table()
    table["arm"] = {"kind": "null", "model": "r.urdf", "tool": [0.0, 0.0, 0.1]}
    path = tmp_path / "run.toml"
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in table.items()))
    loaded = settings.load(path)
    assert loaded.arm["model"] == str(tmp_path / "r.urdf")
    made = arm(**{k: v for k, v in loaded.arm.items() if k != "kind"})
    assert made.model.joints == ("one", "two")
