"""Roll, pitch, yaw and the first two columns of a rotation matrix, there and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.drivers.rotations import (
    mat_to_rot6d,
    mat_to_rpy,
    rotvec_to_mat,
    rpy_to_mat,
)
from headway.edge.motion.rotation_rows import to_mats

ANGLE = st.floats(-math.pi, math.pi)
PITCH = st.floats(-math.pi / 2, math.pi / 2)
X, Y, Z = np.eye(3)


@given(ANGLE, PITCH, ANGLE)
def test_roll_pitch_and_yaw_turn_about_fixed_axes_in_that_order(roll, pitch, yaw):
    R = rpy_to_mat(roll, pitch, yaw)
    wanted = rotvec_to_mat(yaw * Z) @ rotvec_to_mat(pitch * Y) @ rotvec_to_mat(roll * X)
    np.testing.assert_allclose(R, wanted, atol=1e-12)
    found = mat_to_rpy(R)
    np.testing.assert_allclose(rpy_to_mat(*found), R, atol=1e-8)
    assert abs(found[1]) <= math.pi / 2


@given(ANGLE, st.floats(-1.5, 1.5), ANGLE)
def test_away_from_the_singularity_the_angles_come_back(roll, pitch, yaw):
    found = mat_to_rpy(rpy_to_mat(roll, pitch, yaw))
    turns = (found - (roll, pitch, yaw) + math.pi) % (2 * math.pi) - math.pi
    np.testing.assert_allclose(turns, 0, atol=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
@given(roll=ANGLE, yaw=ANGLE)
def test_at_a_pitch_of_a_quarter_turn_the_yaw_is_zero(sign, roll, yaw):
    R = rpy_to_mat(roll, sign * math.pi / 2, yaw)
    found = mat_to_rpy(R)
    assert found[2] == 0
    assert found[1] == pytest.approx(sign * math.pi / 2, abs=1e-9)
    turn = (found[0] - (roll - sign * yaw) + math.pi) % (2 * math.pi) - math.pi
    assert turn == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(rpy_to_mat(*found), R, atol=1e-9)


@given(st.tuples(*[st.floats(-3, 3)] * 3))
def test_two_columns_are_the_whole_matrix(r):
    R = rotvec_to_mat(np.array(r))
    columns = mat_to_rot6d(R)
    np.testing.assert_array_equal(columns, [*R[:, 0], *R[:, 1]])
    np.testing.assert_allclose(to_mats(columns[None], "rot6d")[0], R, atol=1e-12)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_stays_so(value):
    assert np.isnan(rpy_to_mat(0.0, value, 0.0)).any()
    assert np.isnan(mat_to_rpy(np.full((3, 3), math.nan))).all()
