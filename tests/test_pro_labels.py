"""What PRO is to expect: labels from telemetry."""

from __future__ import annotations

import numpy as np
import pytest

from headway.clock import NS
from headway.kernels import telemetry
from headway.learn.pro.recordings import (
    HARD_CONTACT_HORIZON_S,
    HARD_CONTACT_N,
    _within,
    hard_contacts,
)


def rows_of(forces: list[float]) -> np.ndarray:
    """A row every 0.1 s, pressed along the tool."""
    rows = telemetry.empty(6, len(forces))
    rows["t_ns"] = np.arange(len(forces)) * NS // 10
    rows["wrench"] = 0.0
    rows["wrench"][:, 2] = forces
    return rows


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_hard_contact_is_where_the_force_rises_above_the_limit(sign: float) -> None:
    low, high = sign * (HARD_CONTACT_N - 0.1), sign * (HARD_CONTACT_N + 0.1)
    rows = rows_of([low, high, high, low, 0.0, high, low])
    assert hard_contacts(rows) == [0.1, 0.5]
    assert hard_contacts(rows_of([high, low, sign * HARD_CONTACT_N])) == []  # was there already


def test_no_reading_is_no_contact() -> None:
    rows = rows_of([0.0, np.nan, 0.0, np.nan, 2 * HARD_CONTACT_N])
    assert hard_contacts(rows) == [0.4]


def test_the_time_before_it_is_labelled() -> None:
    t = np.arange(0.0, 4.0, 0.1)
    label = _within(t, [2.0], HARD_CONTACT_HORIZON_S)
    np.testing.assert_array_equal(
        label, ((t >= 2.0 - HARD_CONTACT_HORIZON_S) & (t <= 2.0)).astype(np.float32)
    )
