"""PRO features of the compiled stream, recorded on one machine and compared on another.

    python same_bits.py record FILE.npz      rows of telemetry, and the features of them
    python same_bits.py compare FILE.npz     the features again, from the rows in the file

The rows lie in the file, so that nothing depends on how another machine makes random numbers. The
exit status of `compare` is 1 where one bit differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.kernels import native, spec
from headway.kernels.telemetry import FIELDS, Scale, empty

# Joints, rate [Hz], ticks: an arm at the rates of the loop, a small and a large one.
STREAMS = (
    (6, 500.0, 6000),
    (7, 1000.0, 3000),
    (6, 125.0, 3000),
    (1, 62.5, 1500),
    (14, 500.0, 3000),
)


def scale(joints: int) -> Scale:
    """The limits of an arm of `joints` joints."""
    one = np.ones(joints)
    return Scale(-3 * one, 3 * one, 2 * one, 50 * one)


def telemetry(joints: int, ticks: int, seed: int) -> NDArray[Any]:
    """Rows (ticks,) of random walks, steps, contacts, grasps and retries. Of the numbers 2 in 100
    are not known and 1 in 1000 is very large or very small."""
    draw = np.random.default_rng(seed)
    rows, i = empty(joints, ticks), np.arange(ticks)
    for field in FIELDS:
        rows[field] = np.cumsum(draw.normal(0, 0.02, rows[field].shape), axis=0)
    rows["tcp"][:, 3] += 1.0
    rows["wrench"] = 10 * rows["wrench"] + 8.0 * (i // 90 % 2)[:, None]
    rows["phase"], rows["retries"], rows["limit"] = i // 97 % 9, i // 131, 10.0
    rows["width_ref"] = np.where(i // 200 % 2, 0.0, 0.08)
    rows["width"] = np.where(i // 200 % 2, 0.03, 0.08) + 1e-4 * rows["width"]
    for field in FIELDS:
        shape = rows[field].shape
        odd = draw.random(shape) < 1e-3
        rows[field] = np.where(
            odd, rows[field] * 10.0 ** draw.integers(-300, 7, shape), rows[field]
        )
        rows[field] = np.where(draw.random(shape) < 0.02, np.nan, rows[field])
    return rows


def features(rows: NDArray[Any], rate_hz: float) -> NDArray[np.float32]:
    """Features and mask bits after each of the rows, side by side: (ticks, features + bits)."""
    found, mask = native.batch(rows, scale(rows["q"].shape[1]), rate_hz)
    return np.concatenate([found, mask], axis=1)


def record(path: Path) -> int:
    """Write rows and features of all STREAMS. Returns the exit status."""
    kept: dict[str, NDArray[Any]] = {"spec": np.array(spec.spec_hash())}
    for seed, (joints, rate_hz, ticks) in enumerate(STREAMS):
        rows = telemetry(joints, ticks, seed)
        name = f"{joints} joints, {rate_hz:g} Hz"
        kept[f"rows: {name}"] = rows.view(np.float64).reshape(ticks, -1)
        kept[f"features: {name}"] = features(rows, rate_hz)
        print(f"{name}: {ticks} ticks", flush=True)
    np.savez(path, allow_pickle=False, **kept)
    return 0


def compare(path: Path) -> int:
    """Compare the features here with those in the file. Returns the exit status."""
    differ = total = 0
    with np.load(path, allow_pickle=False) as kept:
        if (found := str(kept["spec"])) != spec.spec_hash():
            want = spec.spec_hash()
            print(f"wanted features of the spec {want:.12}, found {found:.12}: record again")
            return 1
        for joints, rate_hz, ticks in STREAMS:
            name, begun = f"{joints} joints, {rate_hz:g} Hz", time.monotonic()
            rows = empty(joints, ticks)
            rows.view(np.float64).reshape(ticks, -1)[:] = kept[f"rows: {name}"]
            have, want = features(rows, rate_hz), kept[f"features: {name}"]
            apart = int((have.view(np.uint32) != want.view(np.uint32)).sum())  # also what is NaN
            differ, total = differ + apart, total + want.size
            took = time.monotonic() - begun
            print(f"{name}: {apart} of {want.size} values differ ({took:.1f} s)", flush=True)
    print(f"features: {differ} of {total} values differ from the recorded ones")
    return 1 if differ or not total else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    args = parser.parse_args()
    return record(args.file) if args.what == "record" else compare(args.file)


if __name__ == "__main__":
    sys.exit(main())
