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
from headway.kernels.telemetry import DERIVED
from headway.tools.score.grid import CUBIC, LINEAR

ENOUGH = 0.8  # of the ticks' rate: faster samples would show nothing more at the ticks


def too_slow(rates: Mapping[str, float], hz: float) -> dict[str, tuple[str, float]]:
    """The features that channels of these `rates` [Hz] cannot carry at ticks of `hz`: feature ->
    the field that comes too seldom, and the rate [Hz] that would do. Fields that hold their last
    value may come as seldom as they change."""
    out: dict[str, tuple[str, float]] = {}
    for feature in spec.FEATURES:
        enough = min(feature.rate_hz, ENOUGH * hz)
        fields = [f for m in feature.needs for f in spec.MASK_FIELDS.get(m, ())]
        for field in (f if f in rates else DERIVED.get(f, f) for f in fields):
            if field in CUBIC + LINEAR and rates.get(field, enough) < enough:
                out[feature.name] = field, enough
    return out


def carried(rates: Mapping[str, float], hz: float) -> NDArray[np.bool_]:
    """Which of the features (N_FEATURES,) channels of these `rates` [Hz] carry at ticks of `hz`."""
    slow = too_slow(rates, hz)
    return np.array([name not in slow for name in spec.NAMES])


def said(rates: Mapping[str, float], hz: float) -> list[str]:
    """Notes on the features that are masked, and because of which rates [Hz]. A channel of which
    all statistics are masked stands for them."""
    slow = too_slow(rates, hz)
    by_field: dict[str, dict[str, None]] = {}
    for name, (field, enough) in slow.items():
        channel = name.partition(".")[0]
        whole = all(n in slow for n in spec.NAMES if n.partition(".")[0] == channel)
        short = channel if whole else name
        by_field.setdefault(field, {})[f"{short} ({enough:g} Hz)"] = None
    return [
        f"features masked, since {field} comes at {rates[field]:g} Hz and they want more: "
        + ", ".join(names)
        for field, names in by_field.items()
    ]
