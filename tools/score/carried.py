"""Which features the rate of a channel can carry.

A feature of fast motion or of high frequencies means nothing where samples come too seldom: 100
samples a second do not hold the band from 50 to 200 Hz, however they are interpolated. Such a
feature is masked, which means that it is 0 and named in the results. `tests/test_score_rates.py`
checks that the other features of a motion are the same at all rates.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headway.kernels import spec

# Feature, with all of its statistics -> the fields that it may be made of, of which the first that
# the file has counts, and the rate [Hz] that it wants of that field.
WANTED: dict[str, tuple[tuple[str, ...], float]] = {
    "ddq": (("dq", "q"), 50.0),
    "jerk": (("dq", "q"), 100.0),  # a difference over 10 ms answers most to 50 Hz
    "hf_share": (("dq", "q"), 100.0),
    "reversals": (("dq", "q"), 50.0),
    "dtau": (("tau_ext",), 100.0),
    "ldlj": (("twist", "tcp"), 100.0),
    "dF": (("wrench",), 200.0),  # a difference over 5 ms
    "band": (("wrench",), 400.0),  # up to 200 Hz
    "hf_ratio": (("wrench",), 400.0),
    "centroid": (("wrench",), 400.0),
    "skew_fx": (("wrench",), 50.0),
    "skew_fy": (("wrench",), 50.0),
    "kurt_fz": (("wrench",), 50.0),
    "width_rate": (("width",), 50.0),
    "grip_rate": (("grip_force",), 100.0),
}
ENOUGH = 0.8  # of the ticks' rate: faster samples would show nothing more at the ticks


def too_slow(rates: Mapping[str, float], hz: float) -> dict[str, tuple[str, float]]:
    """The features that channels of these `rates` [Hz] cannot carry at ticks of `hz`: feature ->
    the field that comes too seldom, and the rate [Hz] that would do."""
    out: dict[str, tuple[str, float]] = {}
    for feature, (fields, wanted) in WANTED.items():
        field = next((f for f in fields if f in rates), None)
        enough = min(wanted, ENOUGH * hz)
        if field is not None and rates[field] < enough:
            out[feature] = field, enough
    return out


def carried(rates: Mapping[str, float], hz: float) -> NDArray[np.bool_]:
    """Which of the 176 features channels of these `rates` [Hz] carry at ticks of `hz`."""
    slow = too_slow(rates, hz)
    return np.array([name.partition(".")[0] not in slow for name in spec.NAMES])


def said(rates: Mapping[str, float], hz: float) -> list[str]:
    """Notes on the features that are masked, and because of which rates [Hz]."""
    by_field: dict[str, list[str]] = {}
    for feature, (field, enough) in too_slow(rates, hz).items():
        by_field.setdefault(field, []).append(f"{feature} ({enough:g} Hz)")
    return [
        f"features masked, since {field} comes at {rates[field]:g} Hz and they want more: "
        + ", ".join(names)
        for field, names in by_field.items()
    ]
