"""Units that bundles may name."""

import math

import pytest

from headway import units


@pytest.mark.parametrize(
    ("found", "wanted", "factor"),
    [
        ("mm", "m", 0.001),
        ("m", "mm", 1000.0),
        ("cm", "m", 0.01),
        ("deg", "rad", math.pi / 180),
        ("mm/s", "m/s", 0.001),
        ("deg/s", "rad/s", math.pi / 180),
        ("kN", "N", 1000.0),
        ("Nmm", "Nm", 0.001),
        ("ms", "s", 0.001),
        ("%", "1", 0.01),
        ("N", "N", 1.0),
    ],
)
def test_values_are_multiplied_by(found, wanted, factor):
    assert units.factor(found, wanted) == pytest.approx(factor, rel=1e-15)


def test_the_same_unit_changes_nothing():
    assert all(units.factor(u, u) == 1.0 for u in units.UNITS)


@pytest.mark.parametrize(
    ("found", "wanted", "says"),
    [
        ("milimeter", "m", "wanted a unit, found 'milimeter': valid: 1, %, m, cm"),
        ("m/sec", "m/s", "did you mean `m/s`"),
        ("mm", "rad", r"wanted a unit of angle \(rad, deg\), found 'mm'"),
        ("", "m", "wanted a unit, found ''"),
    ],
)
def test_what_is_no_unit_of_that_dimension(found, wanted, says):
    with pytest.raises(ValueError, match=says):
        units.factor(found, wanted)
