"""Which features the rates of a file can carry.

A feature of fast motion or of high frequencies means nothing where samples come too seldom: 100
samples a second do not hold the band from 50 to 200 Hz, however they are interpolated. Such a
feature is 0, for a head as in the results, and is named in the notes. The bits of the mask that
tell the rate (`rate_50`, ...) say what the file's samples carry, not how often they were brought to
ticks; the bits of the groups stay as they are, since a slow channel is known all the same.
`tests/test_score_rates.py` checks that the other features of a motion are the same at all rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.kernels import FLOATS, FeatureStream, spec
from headway.kernels.telemetry import SOURCES
from headway.tools.score.grid import CUBIC, LINEAR

ENOUGH = 0.8  # of the ticks' rate: faster samples would show nothing more at the ticks


def rate_bits(hz: float, own_hz: float) -> tuple[bool, ...]:
    """The bits of spec.MASK_RATES, in their order, at ticks of `hz` [Hz] to which samples of at
    most `own_hz` were brought."""
    return tuple(
        hz >= least and own_hz >= min(least, ENOUGH * hz) for least in spec.MASK_RATES.values()
    )


def too_slow(rates: Mapping[str, float], hz: float) -> dict[str, tuple[str, float]]:
    """The features that channels of these `rates` [Hz] cannot carry at ticks of `hz`: feature ->
    the field that comes too seldom, and the rate [Hz] that would do. Fields that hold their last
    value may come as seldom as they change."""
    out: dict[str, tuple[str, float]] = {}
    for feature in spec.FEATURES:
        least = feature.rate_hz
        enough = least if hz < least else min(least, ENOUGH * hz)
        fields = [f for m in feature.needs for f in spec.MASK_FIELDS.get(m, ())]
        sources = [[s for s in SOURCES.get(f, (f,)) if s in rates] for f in fields]
        for field in (found[0] for found in sources if found):
            if field in CUBIC + LINEAR and rates[field] < enough:
                out[feature.name] = field, enough
    return out


def carried(rates: Mapping[str, float], hz: float, own_hz: float) -> NDArray[np.bool_]:
    """Which of the features (N_FEATURES,) channels of these `rates` [Hz], the fastest of `own_hz`,
    carry at ticks of `hz`."""
    slow = too_slow(rates, hz)
    bits = dict(zip(spec.MASK_RATES, rate_bits(hz, own_hz), strict=True))
    return np.array(
        [f.name not in slow and all(bits.get(m, True) for m in f.needs) for f in spec.FEATURES]
    )


class Carried:
    """A stream of features in which those are 0 that the file cannot carry."""

    def __init__(self, stream: FeatureStream, kept: NDArray[np.bool_], bits: Any) -> None:
        """`kept` (N_FEATURES,): which to keep; `bits`: those of spec.MASK_RATES, in their order."""
        self._stream, self.impl = stream, stream.impl
        self._lost = np.flatnonzero(~kept)
        off = ~np.asarray(bits, bool)
        self._off = spec.N_GROUPS + np.flatnonzero(off)

    def push(self, row: np.void, /) -> None:
        self._stream.push(row)

    def features(
        self, out_features: FLOATS | None = None, out_mask: FLOATS | None = None
    ) -> tuple[FLOATS, FLOATS]:
        return self._without(*self._stream.features(out_features, out_mask))

    def bind(self, out_features: FLOATS, out_mask: FLOATS, /) -> None:
        self._stream.bind(out_features, out_mask)

    def step(self, row: np.void, /) -> tuple[FLOATS, FLOATS]:
        return self._without(*self._stream.step(row))

    def reset(self) -> None:
        self._stream.reset()

    def _without(self, features: FLOATS, mask: FLOATS) -> tuple[FLOATS, FLOATS]:
        features[self._lost] = 0.0
        mask[self._off] = 0.0
        return features, mask


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
