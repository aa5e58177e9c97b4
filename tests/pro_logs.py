"""Small logs with failures that a head can learn, for tests of training PRO on logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

MAP = """
robot = "bumper"
task = "bumps"
[time]
key = "t"
[channels.force_norm]
key = "f"
[channels.speed]
key = "v"
[events]
times = "at"
labels = "what"
failures = ["bump"]
end_after_s = 0.5
"""


def write_log(
    path: Path, seed: int, bump: float | None = 4.0, hz: float = 20.0, **more: Any
) -> Path:
    """Eight seconds of noise, in which the force rises by 8 N from 0.2 s before `bump` [s] on and
    the speed falls."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, 8.0, 1.0 / hz)
    force = 2.0 + rng.normal(0, 0.3, len(t))
    speed = 0.2 + 0.05 * np.sin(t + rng.uniform(0, 6)) + rng.normal(0, 0.005, len(t))
    if bump is not None:
        after = t >= bump - 0.2
        force[after] += 8.0
        speed[after] *= 0.2
    path.parent.mkdir(parents=True, exist_ok=True)
    at = [] if bump is None else [bump]
    what = np.array(["bump"] * len(at), dtype="U8")
    np.savez(path, t=t, f=np.abs(force), v=np.abs(speed), at=np.array(at), what=what, **more)
    return path


def write_logs(folder: Path, n: int = 12, **more: Any) -> tuple[Path, Path]:
    """`n` logs in `folder`, two thirds of them with a failure, and their mapping file."""
    rng = np.random.default_rng(0)
    for i in range(n):
        bump = None if i % 3 == 2 else float(rng.uniform(3.0, 7.0))
        write_log(folder / f"run_{i}.npz", i, bump, **more)
    mapping = folder.parent / "map.toml"
    mapping.write_text(MAP)
    return folder, mapping
