"""Parity with the oracle on fresh random telemetry, with nothing but NumPy: a machine with a GPU
may have no test runner."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import Missing
from headway.kernels import oracle, spec
from headway.kernels.cuda.driver import Driver
from headway.kernels.cuda.layout import pack
from headway.kernels.cuda.stream import Batch, FeatureStream
from headway.kernels.telemetry import FIELDS, Scale, dtype


def robot(joints: int) -> Scale:
    one = np.ones(joints)
    return Scale(-3 * one, 3 * one, 2 * one, 50 * one)


def walk(windows: int, ticks: int, seed: int, joints: int) -> Any:
    """Random walks with contacts, grasps, retries and phases: (windows, ticks) rows, float32
    values."""
    r = np.random.default_rng(seed)
    rows = np.zeros((windows, ticks), dtype(joints))
    for field in FIELDS:
        rows[field] = np.cumsum(r.normal(0, 0.02, rows[field].shape), axis=1)
    i = np.arange(ticks)
    rows["tcp"][..., 3] += 1.0
    rows["wrench"] = 10 * rows["wrench"] + 8.0 * (i // 90 % 2)[:, None]
    rows["phase"], rows["retries"], rows["limit"] = i // 97 % 9, i // 131, 10.0
    rows["operator"] = r.random((windows, ticks)) < 0.01
    closed = (i + r.integers(0, 100)) // 120 % 2
    rows["width_ref"] = np.where(closed, 0.0, 0.08)
    rows["width"] = np.where(closed, 0.03, 0.08) + 1e-4 * rows["width"]
    for field in FIELDS:
        rows[field] = rows[field].astype(np.float32)
    return rows


def worst(want: Any, have: Any) -> tuple[float, str]:
    """The largest difference in units of 1e-4 relative or 1e-5 absolute, and of which feature; NaN
    is infinitely wrong."""
    error = np.abs(want.astype(float) - have) / np.maximum(1e-5, 1e-4 * np.abs(want))
    error = np.where(np.isfinite(error), error, np.inf)
    at = int(error.max(axis=0).argmax())
    return float(error.max()), spec.NAMES[at]


def check(driver: Driver, seed: int, windows: int = 8) -> dict[str, tuple[float, str]]:
    """Case -> worst difference in tolerances (at most 1 is right). Outputs start out as NaN; masks
    that differ are infinitely wrong."""
    r = np.random.default_rng(seed)
    out = {}
    for joints, rate in ((6, 500.0), (5, 125.0), (7, 1000.0), (14, 500.0), (8, 2000.0)):
        rows = walk(windows, spec.windows(rate).long, int(r.integers(1 << 30)), joints)
        for name in FIELDS:
            hit = r.random(rows[name][::2].shape) < 0.01
            rows[name][::2][hit] = r.choice([np.nan, np.inf, 1e7], int(hit.sum()))
        have = _poisoned(driver, rows, joints, rate)
        each = [oracle.batch(w, robot(joints), rate, len(w)) for w in rows]
        want = tuple(np.concatenate([e[i] for e in each]) for i in (0, 1))
        out[f"batch, {joints} joints, {rate:g} Hz"] = _verdict(want, have)
    for graph in (False, True) if _has_graphs(driver) else (False,):
        rows = walk(1, 400, int(r.integers(1 << 30)), 6)[0]
        rows["dq"][100:130], rows["wrench"][200:210] = np.nan, np.inf
        ours = FeatureStream(driver, robot(6), 6, 500.0, graph=graph)
        theirs = oracle.FeatureStream(robot(6), 6, 500.0)
        found = []
        for i, row in enumerate(rows):
            ours.push(row)
            theirs.push(row)
            if i % 13 == 0:
                a, b = theirs.features(), ours.features()
                found.append(_verdict((a[0][None], a[1][None]), (b[0][None], b[1][None])))
        if graph and not ours.recorded:  # it goes on without
            found.append((float("inf"), "no graph was recorded"))
        ours.close()
        out[f"stream, {'graph' if graph else 'plain launch'}"] = max(found)
    return out


def _has_graphs(driver: Driver) -> bool:
    try:
        driver.capture(lambda: None).close()
    except Missing:
        return False
    return True


def _verdict(want: Any, have: Any) -> tuple[float, str]:
    if not np.array_equal(want[1], have[1]):
        return float("inf"), "mask"
    return worst(want[0], have[0])


def _poisoned(driver: Driver, rows: NDArray[np.void], joints: int, rate: float) -> Any:
    n = len(rows)
    packed = pack(rows, joints)
    features = np.full((n, spec.N_FEATURES), np.nan, np.float32)
    masks = np.full((n, spec.N_MASKS), np.nan, np.float32)
    made = Batch(driver, robot(joints), joints, rate, rows.shape[1])
    at = [driver.alloc(a.nbytes) for a in (packed, features, masks)]
    for pointer, a in zip(at, (packed, features, masks), strict=True):
        driver.upload(pointer, a)
    made.run(at[0], n, at[1], at[2])
    driver.download(features, at[1])
    driver.download(masks, at[2])
    driver.synchronize()
    for pointer in at:
        driver.free(pointer)
    made.close()
    return features, masks
