"""Which PRO features tell a slip: each feature's AUROC around the moment the jaws let go of an
item, against holds that went well. Writes docs/slip_features.json, which docs/features.py prints.

headway run --episodes 200 --seed 0 --out runs/shipped
headway run --config docs/slips.toml --episodes 200 --seed 1000 --out runs/slips
python docs/slip_features.py --shipped runs/shipped --slippery runs/slips

A slip begins when the width has fallen `GAVE` below that at the event "item held", before the event
"item lost". Each head step of a slip is held against the steps of other episodes' holds at the
same time since "item held" (incident/dynamic AUROC: Heagerty & Zheng 2005), so that a clock, or
what every lift looks like, tells nothing. A hold is a control when the item was released over the
target, and only until `CLEAR_S` before that. Intervals: bootstrap over the episodes of both sides.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from headway.clock import NS
from headway.edge.control.events import EventKind
from headway.kernels import spec
from headway.mcaplog import Recording, open_recording
from headway.tools.recorded import events_of
from headway.tools.statistics import FEWEST

OUT = Path(__file__).with_name("slip_features.json")
GAVE = 1e-3  # [m]
CLEAR_S = 0.5
ENDS = (EventKind.ITEM_LOST, EventKind.RELEASED_AT_TARGET, EventKind.RELEASED_ELSEWHERE)
PERIODS = {"before": (-0.2, 0.0), "after": (0.0, 0.2)}  # [s] from letting go
BOOTSTRAPS = 300
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Hold:
    """From "item held" to its loss or release. `t` (n,) [s] since "item held", `features` (n, 209),
    of the whole episode; `slip_s`: when it let go, `end_s`: when it was released."""

    episode: int
    t: NDArray[np.float64]
    features: Features
    slip_s: float | None
    end_s: float


def let_go(t_ns: NDArray[np.int64], width: NDArray[np.float64], held_ns: int, lost_ns: int) -> int:
    """The last tick before the event "item lost" whose width [m] is still that of the grasp."""
    a, b = (int(i) for i in np.searchsorted(t_ns, [held_ns, lost_ns]))
    stays = np.flatnonzero(width[a : b + 1] >= np.median(width[max(0, a - 10) : a + 1]) - GAVE)
    return a + (int(stays[-1]) if len(stays) else 0)


def holds(recording: Recording) -> list[Hold]:
    rows, pro = recording.rows("/telemetry"), recording.rows("/pro")
    t, width = rows["t_ns"], rows["width"]
    found: list[Hold] = []
    held = None
    for event in events_of(recording):
        if event.kind is EventKind.ITEM_HELD:
            held = event.t_ns
        elif held is not None and event.kind in ENDS:
            slip = None
            if event.kind is EventKind.RELEASED_ELSEWHERE:
                # Neither: the policy may have let go of what was slipping.
                held = None
                continue
            if event.kind is EventKind.ITEM_LOST:
                slip = float(t[let_go(t, width, held, event.t_ns)] - held) / NS
            found.append(
                Hold(
                    int(recording.metadata["seed"]),
                    (pro["t_ns"] - held) / NS,
                    pro["features"],
                    slip,
                    (event.t_ns - held) / NS,
                )
            )
            held = None
    return found


def seen(hold: Hold, feature: str, until_s: float) -> bool:
    """Whether `feature` was ever above 0 from "item held" to `until_s`."""
    inside = (hold.t >= 0) & (hold.t <= until_s)
    return bool(np.any(hold.features[inside, spec.INDEX[feature]] > 0))


def wins(slip: Hold, period: tuple[float, float], controls: list[Hold]) -> NDArray[np.float64]:
    """(controls, 209): share of the period's steps in which the slip's feature is above that of the
    control at the same age, ties half; NaN where the control is the same episode or too short."""
    assert slip.slip_s is not None
    a, b = slip.slip_s + period[0], slip.slip_s + period[1]
    steps = np.flatnonzero((slip.t >= a) & (slip.t < b))
    x = slip.features[steps]
    out = np.full((len(controls), spec.N_FEATURES), np.nan)
    for i, c in enumerate(controls):
        if c.episode == slip.episode or c.end_s - CLEAR_S < b:
            continue
        y = c.features[np.clip(np.searchsorted(c.t, slip.t[steps] - 0.01), 0, len(c.t) - 1)]
        out[i] = np.mean((x > y) + 0.5 * (x == y), axis=0)
    return out


def aurocs(
    slips: list[Hold], controls: list[Hold], period: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(209,) and its 95 % interval (2, 209)."""
    table = np.stack([wins(s, period, controls) for s in slips])
    known = np.isfinite(table[:, :, 0])
    table = np.nan_to_num(table)
    episodes = sorted({h.episode for h in (*slips, *controls)})
    of_slip = np.array([episodes.index(s.episode) for s in slips])
    of_control = np.array([episodes.index(c.episode) for c in controls])

    def mean(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.einsum("sc,scf->f", weights, table) / weights.sum()

    rng = np.random.default_rng(0)
    n = len(episodes)
    draws = rng.multinomial(n, np.full(n, 1 / n), BOOTSTRAPS)
    pairs = [d[of_slip][:, None] * d[of_control][None] * known for d in draws]
    boots = [mean(p) for p in pairs if p.any()]  # a draw may lack slips or holds
    return mean(known.astype(np.int64)), np.percentile(boots, (2.5, 97.5), axis=0)


def measure(folder: Path) -> dict[str, object]:
    """Raises ValueError where fewer than FEWEST items slipped, or were held well."""
    found: list[Hold] = []
    files = sorted(folder.glob("*.mcap"))
    for path in files:
        found += holds(open_recording(path))
    slips = [h for h in found if h.slip_s is not None]
    controls = [h for h in found if h.slip_s is None]
    if min(len(slips), len(controls)) < FEWEST:
        raise ValueError(
            f"wanted at least {FEWEST} slips and holds in {folder}, found {len(slips)} and "
            f"{len(controls)}: record more episodes"
        )
    everything = np.concatenate([h.features for h in found])
    gone = [(s, s.slip_s) for s in slips if s.slip_s is not None]
    result: dict[str, object] = {
        "episodes": len(files),
        "slips": len(slips),
        "slip_episodes": len({s.episode for s in slips}),
        "holds": len(controls),
        "holds_recognised": sum(seen(c, "hold_duty", c.end_s) for c in controls),
        "slips_recognised": sum(seen(s, "hold_duty", t) for s, t in gone),
        "slips_dropped": sum(seen(s, "dropped", t + 1.0) for s, t in gone),
        "median_s_from_held": float(np.median([t for _, t in gone])),
        "constant": [
            n for n, c in zip(spec.NAMES, np.ptp(everything, axis=0) == 0, strict=True) if c
        ],
    }
    for name, period in PERIODS.items():
        steps = sum(int(np.sum((s.t >= t + period[0]) & (s.t < t + period[1]))) for s, t in gone)
        value, (low, high) = aurocs(slips, controls, period)
        result[f"{name}_steps"] = steps
        result[name] = {
            f: [round(float(v), 3) for v in (value[i], low[i], high[i])]
            for i, f in enumerate(spec.NAMES)
        }
    return result


def main(shipped: Path, slippery: Path, out: Path = OUT) -> None:
    """Measure both folders of recordings."""
    found = {"shipped": measure(shipped), "slippery": measure(slippery)}
    text = json.dumps({"spec": spec.spec_hash(), **found}, indent=1)
    # one feature a line
    out.write_text(
        text.replace("[\n    ", "[").replace(",\n    ", ", ").replace("\n   ]", "]") + "\n"
    )
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
