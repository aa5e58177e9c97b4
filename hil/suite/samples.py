"""Samples of a device, and what they say as plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from headway.clock import NS, Clock
from headway.drivers import Source
from headway.errors import Stale
from headway.types import ArmState, Frame, GripperState, Sample, Vec, Wrench

_MOST = 20_000  # samples of one look, of a source that never waits


@dataclass(frozen=True)
class Taken:
    """`sample` was returned at `t_ns` [ns]."""

    sample: Sample[Any]
    t_ns: int


def collect(source: Source[Any], clock: Clock, seconds: float, timeout_s: float) -> list[Taken]:
    """What `source` gives for `seconds` [s], read with `timeout_s` [s] each time; silence is passed
    over. Raises DeviceError."""
    out: list[Taken] = []
    until = clock.now() + round(seconds * NS)
    while clock.now() < until and len(out) < _MOST:
        try:
            sample = source.read(timeout_s)
        except Stale:
            continue
        out.append(Taken(sample, clock.now()))
    return out


def numbers(value: Any) -> Vec:
    """The measured numbers of a sample's value, (k,); (0,) for what has none."""
    if isinstance(value, ArmState):
        return np.concatenate([value.q, value.dq])
    if isinstance(value, Wrench):
        return np.concatenate([value.force, value.torque])
    if isinstance(value, GripperState):
        known = [value.width] if math.isnan(value.force) else [value.width, value.force]
        return np.array(known)
    if isinstance(value, Frame):
        return np.asarray(value.rgb, np.float64).ravel()
    return np.zeros(0)


def repeats(taken: list[Taken]) -> int:
    """The longest row of samples that are equal in every bit, where most samples differ from the
    one before; 0 where they do not, as with a sensor without noise."""
    same = [
        bool(np.array_equal(numbers(a.sample.value), numbers(b.sample.value)))
        for a, b in pairwise(taken)
    ]
    if not same or sum(same) > len(same) / 2:
        return 0
    longest = run = 0
    for equal in same:
        run = run + 1 if equal else 0
        longest = max(longest, run)
    return longest + 1 if longest else 0
