"""What the features of a data set mean to Headway: joints, jaws, telemetry and PRO's signals.

Data sets that Headway wrote say so by their names (`q.JOINT`, `gripper.width`, `telemetry.dq`).
Those of others name joints, but not their units: these have to be said then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray

from headway import units
from headway.edge.pro.operator import OUTPUTS
from headway.errors import ConfigError
from headway.kernels import telemetry
from headway.kernels.telemetry import FIELDS
from headway.tools.dataset import layout
from headway.tools.dataset.layout import Feature
from headway.wire import Rows

_JAWS = re.compile(r"gripper|jaw|finger", re.IGNORECASE)
_SUFFIX = re.compile(r"[._](pos|position|q)$")


@dataclass(frozen=True)
class Meaning:
    """`q` and `q_ref`: columns of the state and of the action that hold the positions and commands
    of `joints`, () where that is not known, in units of `factor` [rad]. `width`: the column of the
    state with the opening of the jaws [m]. `fields`: telemetry by the name of its feature.
    `signals`: PRO's, likewise. `used`: features of which nothing is left over."""

    joints: tuple[str, ...] = ()
    q: tuple[int, ...] = ()
    q_ref: tuple[int, ...] = ()
    factor: float = 1.0
    width: int | None = None
    fields: dict[str, str] = field(default_factory=dict)
    signals: dict[str, str] = field(default_factory=dict)
    used: frozenset[str] = frozenset()

    def rows(self, columns: Mapping[str, NDArray[Any]], times: NDArray[np.int64]) -> Rows:
        """Telemetry (n,) at `times` [ns], with the fields that the data set knows. A command that
        belongs to a frame is in the row of the next one, as in the loop's own rows, which hold
        only what was known before them."""
        rows = telemetry.empty(len(self.joints), len(times))
        rows["t_ns"] = times
        rows["elapsed"] = (times - times[0]) / 1e9
        state = _wide(columns[layout.STATE])
        rows["q"] = state[:, list(self.q)] * self.factor
        if self.width is not None:
            rows["width"] = state[:, self.width]
        if self.q_ref:
            rows["q_ref"][1:] = _wide(columns[layout.ACTION])[:-1, list(self.q_ref)] * self.factor
        for name, feature in self.fields.items():
            rows[name] = columns[feature].reshape(rows[name].shape)
        known = [n for n in FIELDS if np.isfinite(rows[n]).any()]
        found: Rows = repack_fields(rows[["t_ns", *known]])
        return found

    def signal_rows(self, columns: Mapping[str, NDArray[Any]], times: NDArray[np.int64]) -> Rows:
        """PRO's signals (n,) at `times` [ns]."""
        dtype: list[tuple[str, type]] = [("t_ns", np.int64)]
        rows = np.zeros(len(times), dtype + [(name, np.float64) for name in self.signals])
        rows["t_ns"] = times
        for name, feature in self.signals.items():
            rows[name] = columns[feature].reshape(-1)
        return rows


def meaning_of(features: Mapping[str, Feature], joint_unit: str | None) -> Meaning:
    """What `features` mean. `joint_unit`: the unit of joints that do not bear Headway's names; None
    where that is not known. Raises ConfigError for a `joint_unit` that cannot be used."""
    state, action = features.get(layout.STATE), features.get(layout.ACTION)
    names = (state.names if state is not None else None) or ()
    ours = tuple(i for i, n in enumerate(names) if n.startswith(layout.JOINT))
    if ours:
        if joint_unit is not None:
            raise ConfigError(
                f"wanted no --joint-unit for a data set that Headway wrote, found {joint_unit}: "
                "its joints are in rad, leave it out"
            )
        return _ours(features, names, ours)
    if joint_unit is None:
        return Meaning()
    if state is None or not names:
        raise ConfigError(
            f"wanted names of joints in `{layout.STATE}` for --joint-unit, found none: leave it "
            "out, and score the topics by a mapping"
        )
    factor = units.alternatives("rad")[joint_unit]
    q = tuple(i for i, n in enumerate(names) if not _JAWS.search(n))
    commands = (action.names if action is not None else None) or ()
    q_ref = tuple(commands.index(names[i]) for i in q if names[i] in commands)
    used = frozenset({layout.STATE}) if len(q) == len(names) else frozenset[str]()
    return Meaning(
        tuple(_SUFFIX.sub("", names[i]) for i in q), q, q_ref if len(q_ref) == len(q) else (),
        factor, used=used,
    )  # fmt: skip


def _ours(features: Mapping[str, Feature], names: tuple[str, ...], q: tuple[int, ...]) -> Meaning:
    joints = tuple(names[i].removeprefix(layout.JOINT) for i in q)
    width = names.index(layout.WIDTH) if layout.WIDTH in names else None
    dtype = telemetry.dtype(len(joints))
    fields = {
        name: layout.TELEMETRY + name
        for name in FIELDS
        if (f := features.get(layout.TELEMETRY + name)) is not None
        and f.shape == (dtype[name].shape or (1,))
    }
    signals = {n: layout.PRO + n for n in OUTPUTS if layout.PRO + n in features}
    left = set(names) - {names[i] for i in q} - {layout.WIDTH}
    used = {*fields.values(), *signals.values()} | (set() if left else {layout.STATE})
    return Meaning(joints, q, (), 1.0, width, fields, signals, frozenset(used))


def _wide(x: NDArray[Any]) -> NDArray[Any]:
    return x.reshape(len(x), -1)
