"""Feature libraries for time series, each with its own feature set, on the same channels of one
window, on one core."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from headway.types import Vec

Timed = tuple[int, float, int]  # features per channel, seconds, channels
SETS = {
    "pycatch22": "catch22, 22 canonical features (Lubba et al. 2019), C",
    "tsfel": "all domains: statistical, temporal, spectral, fractal; NumPy and SciPy",
    "tsfresh": "EfficientFCParameters, no multiprocessing; NumPy and pandas",
}


def _pycatch22(x: Vec, rate: float) -> Timed:
    import pycatch22

    lists = [c.tolist() for c in x]  # what it takes fastest
    begun = perf_counter()
    found = [pycatch22.catch22_all(c) for c in lists]
    return len(found[0]["values"]), perf_counter() - begun, len(x)


def _tsfel(x: Vec, rate: float) -> Timed:
    import tsfel

    cfg = tsfel.get_features_by_domain()
    begun = perf_counter()
    found = tsfel.time_series_features_extractor(cfg, x.T, fs=rate, verbose=0)
    return found.shape[1] // len(x), perf_counter() - begun, len(x)


def _tsfresh(x: Vec, rate: float) -> Timed:
    import pandas
    from tsfresh.feature_extraction import EfficientFCParameters, extract_features

    n, m = x.shape
    table = pandas.DataFrame(
        {"id": np.repeat(np.arange(n), m), "t": np.tile(np.arange(m), n), "x": x.ravel()}
    )
    begun = perf_counter()
    found = extract_features(
        table,
        column_id="id",
        column_sort="t",
        default_fc_parameters=EfficientFCParameters(),
        n_jobs=0,
        disable_progressbar=True,
    )
    return found.shape[1], perf_counter() - begun, n


# All get the same channels: what a call costs by itself is a smaller part of many than of few.
LIBRARIES: dict[str, Callable[[Vec, float], Timed]] = {
    "pycatch22": _pycatch22,
    "tsfel": _tsfel,
    "tsfresh": _tsfresh,
}


def measured(x: Vec, rate: float) -> dict[str, Timed | str]:
    """Per library what it took on `x` (channels, samples), the better of two; or why it did not."""
    out: dict[str, Timed | str] = {}
    for name, run in LIBRARIES.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # theirs, about constant channels and deprecations
                run(x[:1], rate)
                times = [run(x, rate) for _ in range(2)]
        except ImportError as e:
            out[name] = f"{name} was not measured: {e}"
            continue
        except Exception as e:  # somebody else's code on our data: say so, measure the rest
            out[name] = f"{name} was not measured, it failed: {type(e).__name__}: {e}"
            continue
        out[name] = min(times, key=lambda t: t[1])
    return out


def note(name: str, found: Any) -> str:
    return found if isinstance(found, str) else f"{name}: {SETS[name]}"
