"""`python -m headway.kernels.cuda`: the kernels checked and measured on this machine's GPU.

Needs NumPy, nvcc (or a shipped fatbin) and pycuda or cuda-bindings; no installation of
headway: `PYTHONPATH=src python3 -m headway.kernels.cuda`. Where one of them or the GPU is not there
it says what is missing and returns 0; 1 when a feature is wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
from pathlib import Path
from typing import Any

from headway.errors import HeadwayError, Missing
from headway.kernels import cuda, spec
from headway.kernels.cuda import build
from headway.kernels.cuda.compiled import image
from headway.kernels.cuda.driver import PROVIDERS, Driver, open_driver
from headway.kernels.cuda.measure import Measured, measure
from headway.kernels.cuda.selfcheck import check


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m headway.kernels.cuda")
    parser.add_argument("--out", type=Path, help="write DEVICE.json into this folder")
    parser.add_argument("--seed", type=int, help="of the telemetry; fresh by default")
    parser.add_argument("--provider", choices=sorted(PROVIDERS), help="the first that is here")
    asked = parser.parse_args(arguments)
    missing = cuda.missing()
    if missing:
        return _without(missing)
    try:
        driver = open_driver(image, asked.provider)
        seed = secrets.randbits(31) if asked.seed is None else asked.seed
        return report(driver, seed, asked.out)
    except Missing as e:  # no kernels: the engines of TensorRT want none
        return _without(e)
    except HeadwayError as e:
        print(f"CUDA features: {e}", file=sys.stderr)
        return e.exit_code


def _without(missing: object) -> int:
    print(f"CUDA features neither checked nor measured here: {missing}")
    return 0


def report(driver: Driver, seed: int, out: Path | None, **effort: int) -> int:
    """Print and write; 1 when a feature is off by more than its tolerance."""
    major, minor = driver.capability
    print(f"{driver.device}, sm_{major}{minor}, by {driver.provider}, seed {seed}")
    parity = check(driver, seed)
    for case, (error, name) in parity.items():
        word = "ok" if error <= 1 else "WRONG"
        print(f"  {word:5} {case}: worst {error:.3g} tolerances ({name})")
    measured = measure(driver, **effort)
    for name, (value, unit, target, at_most) in measured.numbers.items():
        print(f"  {name}: {value:.4g} {unit}{_judged(value, target, at_most)}")
    for n, (packing, gpu, cpu) in measured.crossover.items():
        print(
            f"  {n} windows host to host: {packing:.1f} us to pack and {gpu:.1f} us on the GPU, "
            f"{cpu:.1f} us in C++ on all cores"
        )
    for note in measured.notes:
        print(f"  {note}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"gpu-{'-'.join(re.findall(r'[a-z0-9]+', driver.device.lower()))}.json"
        path.write_text(json.dumps(as_json(driver, seed, parity, measured), indent=1) + "\n")
        print(f"wrote {path}")
    return int(any(error > 1 for error, _ in parity.values()))


def _judged(value: float, target: float | None, at_most: bool) -> str:
    if target is None:
        return ""
    met = value <= target if at_most else value >= target
    return f" (target {'<=' if at_most else '>='} {target:g}: {'met' if met else 'missed'})"


def as_json(
    driver: Driver, seed: int, parity: dict[str, tuple[float, str]], measured: Measured
) -> dict[str, Any]:
    return {
        "device": driver.device,
        "capability": driver.capability,
        "provider": driver.provider,
        "spec": spec.spec_hash(),
        "kernels": build.digest(),
        "seed": seed,
        "parity_in_tolerances": {case: error for case, (error, _) in parity.items()},
        "numbers": {n: {"value": v[0], "unit": v[1]} for n, v in measured.numbers.items()},
        "crossover_us": {str(n): list(v) for n, v in measured.crossover.items()},
        "notes": list(measured.notes),
    }


if __name__ == "__main__":
    sys.exit(main())
