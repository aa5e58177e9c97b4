"""Labelled episodes that are made up, and heads whose quality is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headway.kernels import spec
from headway.learn.pro.examples import Example, Moment

HZ, SECONDS = 10.0, 12.0
GROUPS = ("force_norm", "torque_norm")
Signals = dict[str, Any]


def episode(
    i: int,
    rng: np.random.Generator,
    *,
    failed: bool,
    session: str = "",
    outcome: bool = True,
    kind: str = "slip",
    bias: float = 0.0,
) -> Example:
    """An episode whose force rises by 5 N at the failure, if there is one. `bias` [N] is added to
    the force of the whole episode; without `outcome` nothing is known of how it ended."""
    n = int(rng.integers(100, 121))
    t = np.arange(n) / HZ
    end = t[-1]
    at = float(rng.uniform(4.0, end - 1.0))
    risk = np.zeros(n, np.float32)
    if failed:
        risk[(t >= at - 1.0) & (t < at + 2.0)] = np.nan
        risk[(t >= at - 0.25) & (t <= at + 0.5)] = 1.0
    force = 5.0 + bias + rng.normal(0, 1.0, n) + 5.0 * (failed & (np.abs(t - at) < 0.5))
    features = np.zeros((n, spec.N_FEATURES), np.float32)
    features[:, spec.INDEX["F.last"]] = force
    features[:, spec.INDEX["M.last"]] = rng.normal(0, 0.1, n)
    mask = np.zeros((n, spec.N_MASKS), np.float32)
    mask[:, [spec.MASKS.index(g) for g in GROUPS]] = 1.0
    unknown = np.full(n, np.nan, np.float32)
    return Example(
        name=f"episode {i}",
        session=session,
        hz=HZ,
        t=t,
        features=features,
        mask=mask,
        success=not failed if outcome else None,
        failures=(Moment(at, kind),) if failed else (),
        retries=(),
        time_to_go=(end - t).astype(np.float32) if outcome and not failed else unknown,
        completion=np.full(n, float(not failed), np.float32) if outcome else unknown,
        risk=risk,
        unstable=unknown,
        force=force.astype(np.float32),
    )


def episodes(n: int = 40, *, seed: int = 0, **kwargs: Any) -> list[Example]:
    """`n` episodes, of which every other one fails."""
    rng = np.random.default_rng(seed)
    return [episode(i, rng, failed=bool(i % 2), **kwargs) for i in range(n)]


def near(e: Example) -> Any:
    """(n,) a failure is near or happens."""
    return e.risk == 1


def perfect(e: Example) -> Signals:
    """A head that knows everything."""
    n = len(e)
    failed = bool(e.failures)
    end = e.t[-1] if n else 0.0
    left = end - e.t if not failed else np.full(n, 20.0) + 0.1 * np.sin(e.t)
    return {
        "risk": np.where(near(e), 0.95, 0.02) + 1e-3 * np.cos(7 * e.t),
        "stability": np.full(n, 1.0),
        "completion": np.full(n, 0.03 if failed else 0.97),
        "time_to_go": left,
        "progress": np.clip(1 - left / 12.0, 0, 1),
    }


def clock(e: Example) -> Signals:
    """A head that only knows how late it is."""
    share = e.t / 15.0
    return {
        "risk": share,
        "stability": 1 - share,
        "completion": share,
        "time_to_go": np.maximum(0.0, 12.0 - e.t),
        "progress": share,
    }


def guessing(e: Example, seed: int) -> Signals:
    """A head that guesses."""
    rng = np.random.default_rng(seed)
    return {n: rng.uniform(0, 1, len(e)) for n in perfect(e)}


def noisy(e: Example, seed: int, sigma: float) -> Signals:
    """A head whose risk is the label and noise: its AUROC is Phi(1 / (sigma sqrt 2))."""
    rng = np.random.default_rng(seed)
    return {**perfect(e), "risk": near(e) + rng.normal(0, sigma, len(e))}


def untaught(e: Example) -> Signals:
    """What a head says of everything that it was not taught."""
    n = len(e)
    return {
        "risk": np.zeros(n), "stability": np.ones(n), "completion": np.full(n, 0.5),
        "time_to_go": np.zeros(n), "progress": np.zeros(n),
    }  # fmt: skip


def of(head: Any, examples: Sequence[Example]) -> list[Signals]:
    return [head(e) for e in examples]
