"""The tool's weight and the sensor's bias are taken out at any orientation; contact is left."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.drivers.kinematics import mat_to_quat, rotvec_to_mat
from headway.edge.control.payload import Payload, PythonTool, ToolConfig
from headway.edge.recording.tick import module
from headway.types import Wrench

MASS, COM, TCP = 1.3, (0.01, -0.02, 0.06), (0.0, 0.01, 0.165)
vector = st.tuples(*[st.floats(-3, 3)] * 3).map(np.array)
BIAS = np.array([1.0, -2.0, 0.5, 0.05, -0.02, 0.01])


def measured(R, force=(0, 0, 0), torque=(0, 0, 0), bias=BIAS):
    """What a sensor with frame R (in the base frame) reads of the tool's weight and an external
    wrench at the TCP, both in the sensor frame."""
    weight = R.T @ np.array([0.0, 0.0, -MASS * 9.80665])
    f = weight + force
    m = np.cross(COM, weight) + np.cross(TCP, force) + torque
    return Wrench(f + bias[:3], m + bias[3:])


@given(vector, vector, vector, vector)
def test_what_is_left_is_the_contact_at_the_tcp(at_rest, later, force, torque):
    payload = Payload(ToolConfig(MASS, COM, TCP))
    R = rotvec_to_mat(at_rest)
    payload.tare([(measured(R), mat_to_quat(R))] * 3)
    np.testing.assert_allclose(payload.bias, BIAS, atol=1e-9)
    R = rotvec_to_mat(later)
    found = payload.compensate(measured(R, force, torque), mat_to_quat(R))
    np.testing.assert_allclose(found, [*force, *torque], atol=1e-9)


NUMBERS = st.one_of(st.floats(width=64), st.sampled_from([0.0, -0.0, np.inf, np.nan]))


@pytest.mark.skipif(module("auto") is None, reason="_tick not built")
@given(st.lists(NUMBERS, min_size=16, max_size=16), st.floats(-50, 50), vector, vector)
def test_compiled_and_python_tools_give_the_same_bits(values, weight, com, tcp):
    force, torque, bias, quat = np.split(np.array(values), [3, 6, 12])
    tools = [cls(weight, com, tcp) for cls in (PythonTool, module("cpp").Tool)]
    for name in ("at_sensor", "at_tcp"):
        a, b = np.zeros(6), np.zeros(6)
        for tool, out in zip(tools, (a, b), strict=True):
            getattr(tool, name)(force, torque, bias, quat, out)
        np.testing.assert_array_equal(a, b)


def test_taring_again_starts_afresh_and_averages():
    payload = Payload(ToolConfig())
    upright = mat_to_quat(np.eye(3))
    for _ in range(2):
        payload.tare([(Wrench(np.full(3, x), np.zeros(3)), upright) for x in (1.0, 2.0)])
        np.testing.assert_allclose(payload.bias, [1.5] * 3 + [0.0] * 3)


def test_the_sample_is_left_as_it_was():
    wrench = measured(np.eye(3))
    before = wrench.force.copy(), wrench.torque.copy()
    Payload(ToolConfig(MASS, COM, TCP)).compensate(wrench, mat_to_quat(np.eye(3)))
    np.testing.assert_array_equal(wrench.force, before[0])
    np.testing.assert_array_equal(wrench.torque, before[1])


def test_a_nan_stays_a_nan_for_the_guard_to_see():
    bad = Wrench(np.array([np.nan, 0, 0]), np.zeros(3))
    assert np.isnan(
        Payload(ToolConfig(MASS, COM, TCP)).compensate(bad, mat_to_quat(np.eye(3)))
    ).any()
