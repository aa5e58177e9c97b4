"""The plots of a channel of telemetry, for runs and for telemetry of other robots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.kernels import telemetry
from headway.tools.report.series import Array, Panel

SHARES = ("progress", "completion", "stability", "risk")  # 0..1, drawn in one plot
XYZ = ("x", "y", "z")


def known(values: NDArray[Any]) -> bool:
    """Whether any of `values` is finite."""
    return bool(np.isfinite(values).any())


def signal_panels(t: Array, signals: Mapping[str, NDArray[Any]]) -> Iterator[Panel]:
    """One plot of the PRO signals that lie in 0..1, then one for each other signal. `t` (n,) [s];
    every signal (n,)."""
    columns = {k: np.asarray(v, np.float64).reshape(len(t)) for k, v in signals.items()}
    shares = {k: columns[k] for k in SHARES if k in columns and known(columns[k])}
    if shares:
        yield Panel("PRO", "0..1", t, shares, bounds=(0.0, 1.0))
    for name, values in columns.items():
        if name in SHARES or not known(values):
            continue
        unit = "s" if name == "time_to_go" else ""
        yield Panel(name.replace("_", "-"), unit, t, {name.replace("_", "-"): values})


def wrench_panels(t: Array, wrench: Array) -> Iterator[Panel]:
    """Plots of force and torque on the tool. `t` (n,) [s]; `wrench` (n, 6) [N] and [Nm]."""
    force, torque = wrench[:, :3], wrench[:, 3:]
    if known(force):
        size = np.sqrt((force**2).sum(1))
        yield Panel("Force on the tool", "N", t, {"|F|": size, "Fz": force[:, 2]})
    if known(torque):
        yield Panel("Torque on the tool", "Nm", t, {"|M|": np.sqrt((torque**2).sum(1))})


def channel_panels(t: Array, name: str, values: NDArray[Any]) -> Iterator[Panel]:
    """Plots of any channel `values` (n,) or (n, k) at the times `t` (n,) [s]. Channels with names
    of `kernels.telemetry.FIELDS` get their units; others are drawn without."""
    y = np.asarray(values, np.float64)
    if not known(y):
        return
    y = y.reshape(len(t), -1)
    unit = telemetry.FIELDS[name][1] if name in telemetry.FIELDS else ""
    if name == "wrench" and y.shape[1] == 6:
        yield from wrench_panels(t, y)
    elif name == "tcp" and y.shape[1] == 7:
        yield Panel("TCP position", "m", t, dict(zip(XYZ, y.T[:3], strict=True)))
    elif name == "twist" and y.shape[1] == 6:
        yield Panel("TCP velocity", "m/s", t, dict(zip(XYZ, y.T[:3], strict=True)))
        yield Panel("TCP rotation", "rad/s", t, dict(zip(XYZ, y.T[3:], strict=True)))
    elif y.shape[1] == 1:
        yield Panel(name, unit, t, {name: y[:, 0]})
    else:
        yield Panel(name, unit, t, {f"{name} {i + 1}": y[:, i] for i in range(y.shape[1])})
