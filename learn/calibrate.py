"""Calibrate the thresholds of `[risk]` from recorded episodes of the policy and PRO head in use.

    headway run --episodes 150 --seed 3000000 --out runs/calibration
    python -m headway.learn.calibrate --recordings runs/calibration --out risk.json

The episodes must be new to the PRO head, that is, not from its training or test split. They must be
recorded without `[risk]`, because slowing a motion changes its risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import msgspec
import numpy as np

from headway.edge.pro.risk import Calibration, fewest_successes
from headway.errors import RecordingError
from headway.mcaplog import Recording, open_recording
from headway.tools.recorded import result_of

LEVELS = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)


def calibrate(recordings: Sequence[Recording], data: str) -> Calibration:
    """The calibration from those of `recordings` that have an outcome; `data` describes them for
    people. Raises RecordingError for recordings without PRO, with different models, made with
    `[risk]`, or without any success."""
    peaks: list[float] = []
    made_by: set[tuple[str, str, str]] = set()
    episodes = 0
    for log in recordings:
        facts = log.metadata
        if "/pro" not in log.topics or "pro_sha256" not in facts:
            raise RecordingError(f"wanted PRO in {log.path}, found none: record it with [pro]")
        if "risk" in facts:
            raise RecordingError(
                f"wanted episodes at their own speed, found {log.path} recorded with [risk]: "
                "record without that section"
            )
        made_by.add((facts.get("pro", ""), facts["pro_sha256"], facts.get("policy_sha256", "")))
        result = result_of(log)
        if result is None or result.success is None:
            continue
        episodes += 1
        if result.success:
            peaks.append(float(np.max(log.rows("/pro")["risk"])))
    if len(made_by) != 1:
        raise RecordingError(
            f"wanted recordings of one policy and one PRO, found {len(made_by)} pairs in {data}"
        )
    if not peaks:
        raise RecordingError(f"wanted successful episodes in {data}, found none of {episodes}")
    ((pro, pro_sha256, policy_sha256),) = made_by
    return Calibration(
        kind="risk", pro=pro, pro_sha256=pro_sha256, policy_sha256=policy_sha256,
        peaks=tuple(sorted(peaks)), episodes=episodes, data=data, date=date.today().isoformat(),
    )  # fmt: skip


def main(recordings: Path, out: Path) -> None:
    """Calibrate from the recordings in a folder, write the file `out`, and print the thresholds."""
    files = sorted(recordings.glob("*.mcap"))
    made = calibrate([open_recording(p, strict=True) for p in files], f"{len(files)} recordings")
    out.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
    print(f"{len(made.peaks)} successes in {made.episodes} episodes")
    for alpha in LEVELS:
        if len(made.peaks) >= fewest_successes(alpha):
            print(f"alpha {alpha:g}: risk > {made.threshold(alpha):.3f}")
        else:
            print(f"alpha {alpha:g}: wants {fewest_successes(alpha)} successes")
    print(f"wrote {out}")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
