"""Units that bundles and mappings may name, and the factors between them."""

from __future__ import annotations

import math

from headway import config

# Per unit its dimension, and its size in the SI unit of that dimension.
_UNITS = {
    "1": ("number", 1.0),
    "%": ("number", 0.01),
    "m": ("length", 1.0),
    "cm": ("length", 1e-2),
    "mm": ("length", 1e-3),
    "rad": ("angle", 1.0),
    "deg": ("angle", math.pi / 180.0),
    "s": ("time", 1.0),
    "ms": ("time", 1e-3),
    "us": ("time", 1e-6),
    "ns": ("time", 1e-9),
    "m/s": ("speed", 1.0),
    "cm/s": ("speed", 1e-2),
    "mm/s": ("speed", 1e-3),
    "rad/s": ("angular speed", 1.0),
    "deg/s": ("angular speed", math.pi / 180.0),
    "rpm": ("angular speed", math.pi / 30.0),
    "N": ("force", 1.0),
    "mN": ("force", 1e-3),
    "kN": ("force", 1e3),
    "kgf": ("force", 9.80665),
    "lbf": ("force", 4.4482216152605),
    "Nm": ("torque", 1.0),
    "mNm": ("torque", 1e-3),
    "Nmm": ("torque", 1e-3),
}
UNITS = tuple(_UNITS)


def check(unit: str) -> None:
    """Raises ValueError for a unit that is not among `UNITS`."""
    if unit not in _UNITS:
        raise ValueError(f"wanted a unit, found {unit!r}: {config.suggest(unit, UNITS)}")


def alternatives(wanted: str) -> dict[str, float]:
    """The units of the same dimension as `wanted`, itself included, each with the factor that turns
    its values into values in `wanted`. Raises ValueError for an unknown unit."""
    check(wanted)
    dimension = _UNITS[wanted][0]
    return {u: factor(u, wanted) for u, (d, _) in _UNITS.items() if d == dimension}


def factor(found: str, wanted: str) -> float:
    """The factor that turns values in the unit `found` into values in the unit `wanted`: 0.001 for
    "mm" and "m". Raises ValueError for an unknown unit, and for two of different dimensions."""
    check(found)
    check(wanted)
    (dimension, size), (other, unit) = _UNITS[found], _UNITS[wanted]
    if dimension != other:
        valid = ", ".join(u for u, (d, _) in _UNITS.items() if d == other)
        raise ValueError(f"wanted a unit of {other} ({valid}), found {found!r}")
    return size / unit
