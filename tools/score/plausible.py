"""Numbers that no robot has: notes give the number seen, the plausible ones, the likely cause."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.tools.score.samples import Store
from headway.types import Vec

REST_S = 0.5  # at the start of a recording, in which usually nothing is touched
REST_N = 5.0  # [N] what a tared sensor then reads at most


class Range(NamedTuple):
    """What a field's values usually are, and what other values hint at. `whole`: whether they are
    integers."""

    low: float
    high: float
    unit: str
    hint: str
    whole: bool = False


_ANGLE = Range(-4 * np.pi, 4 * np.pi, "rad", 'degrees? then `unit = "deg"`')
_SPEED = Range(-20.0, 20.0, "rad/s", 'degrees? then `unit = "deg/s"`')
_FLAG = Range(0.0, 1.0, "", "a flag is 0 or 1: `scale` and `offset` can make it so")
RANGES: dict[str, tuple[Range, ...]] = {
    "q": (_ANGLE,),
    "q_ref": (_ANGLE,),
    "dq": (_SPEED,),
    "dq_ref": (_SPEED,),
    "tau_ext": (Range(-1000.0, 1000.0, "Nm", 'mNm? then `unit = "mNm"`'),),
    "tcp": (
        Range(-10.0, 10.0, "m", 'millimetres? then `unit = ["mm", "rad"]`'),
        Range(-6.4, 6.4, "rad", 'degrees? then `unit = ["m", "deg"]`'),  # of rpy and rotvec
    ),
    "twist": (
        Range(-10.0, 10.0, "m/s", 'millimetres? then `unit = ["mm/s", "rad/s"]`'),
        Range(-30.0, 30.0, "rad/s", 'degrees? then `unit = ["m/s", "deg/s"]`'),
    ),
    "speed": (Range(0.0, 10.0, "m/s", 'millimetres? then `unit = "mm/s"`; a norm is at least 0'),),
    "spin": (Range(0.0, 30.0, "rad/s", 'degrees? then `unit = "deg/s"`; a norm is at least 0'),),
    "wrench": (
        Range(-2000.0, 2000.0, "N", "raw counts? then `scale`"),
        Range(-500.0, 500.0, "Nm", 'millimetres? then `unit = ["N", "Nmm"]`'),
    ),
    "width": (Range(-0.02, 1.0, "m", 'millimetres? then `unit = "mm"`; counts? then `scale`'),),
    "width_ref": (Range(-0.02, 1.0, "m", 'millimetres? then `unit = "mm"`; counts? then `scale`'),),
    "grip_force": (Range(-1000.0, 1000.0, "N", "raw counts? then `scale`"),),
    "vacuum": (Range(-0.05, 1.05, "", 'percent? then `unit = "%"`; a pressure? then `scale`'),),
    "phase": (Range(0.0, 7.0, "", "phases are numbered 0 to 7", whole=True),),
    "task": (Range(0.0, 2.0, "", "tasks are numbered 0 to 2", whole=True),),
    "retries": (Range(0.0, 1000.0, "", "a count", whole=True),),
    **dict.fromkeys(
        ("recovery", "protective_stop", "ik_failure", "clamped", "watchdog", "place_confirm",
         "barcode", "scale_match", "operator"), (_FLAG,)
    ),
}  # fmt: skip


class Plausible:
    """`see` all values of a field, block by block, then ask for `notes`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ranges = RANGES.get(name, ())
        self._outside = [0] * len(self._ranges)
        self._farthest = [0.0] * len(self._ranges)
        self._broken = 0  # values that should be integers and are not
        self._seen = 0
        self._largest_raw = 0.0

    def see(self, raw: Vec, x: Vec) -> None:
        """Take in samples: `x` (n, k) in SI units, `raw` (n, k) as the file has them."""
        self._seen += len(x)
        for i, r in enumerate(self._ranges):
            part = x if len(self._ranges) == 1 else x[:, 3 * i : 3 * i + 3]
            known = part[np.isfinite(part)]
            out = known[(known < r.low) | (known > r.high)]
            self._outside[i] += len(out)
            if len(out):
                self._farthest[i] = max(self._farthest[i], out[np.abs(out).argmax()], key=abs)
            if r.whole:
                self._broken += int(np.count_nonzero(known != np.rint(known)))
        known = raw[np.isfinite(raw)]
        if len(known):
            self._largest_raw = max(self._largest_raw, float(np.abs(known).max()))

    def notes(self, t: NDArray[np.int64], store: Store, unit: str, *, tared: bool) -> list[str]:
        """What to say about all values that were seen. `store` holds them in SI units at the times
        `t` (n,) [ns]; `unit` is what the mapping gives, `tared` whether it takes out a mean."""
        out = []
        for r, outside, farthest in zip(self._ranges, self._outside, self._farthest, strict=True):
            if outside:
                out.append(
                    f"check {self._name}: found {farthest:.4g} {r.unit}".rstrip()
                    + f" ({outside} values outside), plausible is {r.low:.4g} to {r.high:.4g}: "
                    + r.hint
                )
        if self._broken:
            out.append(
                f"check {self._name}: {self._broken} of {self._seen} values are no whole numbers: "
                + self._ranges[0].hint
            )
        if self._name in ("q", "q_ref") and unit == "deg" and 0 < self._largest_raw < 3.2:
            out.append(
                f"check {self._name}: no angle is above {self._largest_raw:.3g} degrees: radians? "
                'then `unit = "rad"`'
            )
        if self._name == "wrench" and not tared:
            n = int(np.searchsorted(t, t[0] + round(REST_S * NS), side="right"))
            force = np.sqrt((store.read(0, n)[:, :3] ** 2).sum(axis=1))
            force = force[np.isfinite(force)]
            if len(force) and float(np.median(force)) > REST_N:
                out.append(
                    f"check wrench: |F| is {np.median(force):.3g} N over the first {REST_S:g} s, "
                    f"below {REST_N:g} N is plausible for a tared sensor at rest: if nothing is "
                    "touched there, `tare_s = 0.5` takes weight and bias out"
                )
        return out
