"""Telemetry files and mappings for the tests of `headway score`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headway.tools.score.files import open_source
from headway.tools.score.mapping import Channel, Mapping, Time, check
from headway.tools.score.samples import Samples, Store
from headway.tools.score.telemetry import telemetry_of

Q = Channel(key="q")
WRENCH = Channel(key="wrench", frame="tcp", force="on tool")


def mapping(channels: dict[str, Channel] | None = None, **keys: Any) -> Mapping:
    keys.setdefault("time", Time(key="t"))
    return check(Mapping(channels=channels or {"q": Q, "wrench": WRENCH}, **keys), "map.toml")


def npz(path: Path, n: int = 400, hz: float = 200.0, **arrays: Any) -> Path:
    r = np.random.default_rng(0)
    plain: dict[str, Any] = {
        "t": np.arange(n) / hz,
        "q": np.cumsum(r.normal(0, 1e-3, (n, 6)), axis=0),
        "wrench": r.normal(0, 2, (n, 6)),
    }
    plain |= arrays
    np.savez(path, **{k: v for k, v in plain.items() if v is not None})
    return path


def load(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


def rows_of(path: Path, m: Mapping | None) -> Any:
    return telemetry_of(*open_source(path, m))


def from_arrays(t: Any, x: Any) -> Samples:
    """Of `x` (n, k) at the times `t` (n,) [ns]."""
    store = Store(x.shape[1])
    store.append(x)
    return Samples(np.asarray(t, np.int64), store)
