"""Whether a scored file raises an alarm, by the threshold that comes with the head.

It is that of the calibration inside the bundle (`risk.json`) at the asked share of false alarms,
else the one that the bundle's metrics were counted at. An alarm is the first step at which the risk
lies above it. Where a file lacks groups of telemetry that the head or its calibration was made
with, the verdict is that it cannot be told: `headway run` refuses such telemetry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headway.edge.pro import made_from, risk
from headway.edge.pro.operator import SIGNALS
from headway.edge.pro.risk import Calibration
from headway.errors import HeadwayError
from headway.tools.score.scoring import Scored
from headway.tools.score.steps import Head
from headway.tools.score.unmask import in_words


@dataclass(frozen=True)
class Threshold:
    """The risk (0..1) above which there is an alarm, None where none is known; `source` says where
    it comes from, or why there is none."""

    risk: float | None
    source: str
    made: Calibration | None = None


@dataclass(frozen=True)
class Verdict:
    """What the threshold says of a file: the alarm began at `t` [s] after its first stamp, None for
    no alarm; `threshold` as it is for this file. `lacking`: the mask bits for whose lack nothing
    can be told; there is no threshold then."""

    threshold: Threshold
    t: float | None = None
    lacking: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """In words."""
        if self.threshold.risk is None:
            return f"{self.short}: {self.threshold.source}"
        return self.short

    @property
    def short(self) -> str:
        """In words, without the reason why there is no threshold."""
        if self.lacking:
            return f"cannot tell, no {', '.join(self.lacking)}"
        if self.threshold.risk is None:
            return "no threshold"
        return "no alarm" if self.t is None else f"alarm at {self.t:.1f} s"


def threshold_of(head: Head, alpha: float) -> Threshold:
    """The threshold of a head, where a share `alpha` of false alarms is allowed."""
    made = head.bundle
    if "risk" not in head.learned:
        return Threshold(None, f"head {made.manifest.name} was not taught what a risk is")
    path = risk.of_bundle(made)
    if path is None:
        counted = head.info.thresholds.get("risk")
        if counted is None:
            return Threshold(
                None,
                f"the bundle holds no {risk.IN_BUNDLE} and names none: calibrate the head by "
                f"{risk.CALIBRATE}",
            )
        return Threshold(
            counted, f"at which the metrics of head {made.manifest.name} were counted, "
            "calibrated for no other recordings",
        )  # fmt: skip
    try:
        found = risk.load(path, made.manifest.files[made.manifest.onnx].sha256)
        level = found.threshold(alpha)
    except HeadwayError as e:
        return Threshold(None, str(e))
    what = "successes alarm" if found.of == "successes" else "runs alarm before anything goes wrong"
    return Threshold(level, f"at most {alpha:.3g} of {what}: from {found.behind}", found)


def verdict(scored: Scored, threshold: Threshold) -> Verdict:
    """What `threshold` says of a scored file. Nothing where a group never came that the head or the
    calibration was made with, and by a calibration that was made from another robot, task or rate.
    """
    made = threshold.made
    lacking = dict.fromkeys(scored.lacking)
    if made is not None:
        try:
            what = f"{risk.IN_BUNDLE} was made from"
            whose = replace(scored.given, gives=None)
            made_from.check(what, made, whose, "calibrate the head", made.task)
        except HeadwayError as e:
            return Verdict(replace(threshold, risk=None, source=str(e)))
        lacking |= dict.fromkeys(made_from.lacking_of(made, scored.given))
    if lacking and threshold.risk is not None:
        source = _without(tuple(lacking), scored.masked)
        return Verdict(replace(threshold, risk=None, source=source), lacking=tuple(lacking))
    if threshold.risk is None or scored.signal_store is None:
        return Verdict(threshold)
    at, column = 0, SIGNALS.index("risk")
    for block in scored.signal_store.blocks():
        above = np.flatnonzero(block[:, column] > threshold.risk) + at
        above = above[above * scored.every >= scored.telemetry.ready]
        if len(above):
            first = int(above[0])
            return Verdict(threshold, float(scored.times(first, first + 1)[0]))
        at += len(block)
    return Verdict(threshold)


def _without(lacking: Sequence[str], masked: Mapping[str, str]) -> str:
    """Why nothing can be told without the mask bits `lacking`, and what to do; `masked` says what
    would unmask each."""
    keys = "; ".join(in_words({m: masked[m] for m in lacking}))
    return (
        f"wanted {', '.join(lacking)}, which the head knew where it was trained or calibrated, "
        f"found masked throughout the file, which `headway run` refuses ({keys}): give what is "
        "missing, or train a head on recordings like this one by `headway pro train`"
    )
