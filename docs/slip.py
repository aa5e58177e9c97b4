"""Draw the picture of docs/features.md: telemetry and PRO features while an item slips out of the
jaws, beside a hold that went well. Records both episodes in the simulated cell unless given.

python docs/slip.py --slip runs/slips/episode_1028.mcap --ordinary runs/slips/episode_1003.mcap
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.axes import Axes
from numpy.typing import NDArray
from slip_features import let_go

from headway.clock import NS, VirtualClock
from headway.edge.control import settings
from headway.edge.control.build import Built
from headway.edge.control.events import EventKind
from headway.edge.control.runner import record_episode
from headway.edge.control.station import Station
from headway.kernels import spec
from headway.mcaplog import Recording, open_recording
from headway.tools.recorded import events_of

HERE = Path(__file__).parent
CONFIG = HERE / "slips.toml"
SLIP_SEED, ORDINARY_SEED = 1028, 1003
SPAN = (-0.5, 1.0)  # [s] from "item held"
ENDS = {
    "item lost": (EventKind.ITEM_LOST,),
    "released": (EventKind.RELEASED_AT_TARGET, EventKind.RELEASED_ELSEWHERE),
}


def record(seed: int, path: Path) -> Recording:
    """What `headway run --config docs/slips.toml --episodes 1 --seed SEED` records."""
    chosen = settings.load(CONFIG)
    clock = VirtualClock(1)
    with Station(chosen, clock) as station:
        built = Built(chosen, station, clock)
        record_episode(built.loop, seed, path, metadata=built.facts)
    return open_recording(path)


@dataclass(frozen=True)
class Piece:
    """The hold that a recording is shown around; times [s] from its "item held"."""

    label: str
    events: dict[str, float]
    t: NDArray[np.float64]
    telemetry: NDArray[np.void]
    t_pro: NDArray[np.float64]
    pro: NDArray[np.void]

    def feature(self, name: str) -> NDArray[np.float32]:
        return self.pro["features"][:, spec.INDEX[name]]


def piece(recording: Recording, want: str) -> Piece:
    """Around the first "item held" that `want` ("item lost" or "released") ends. Raises ValueError
    where the recording has none."""
    held, found = None, None
    for event in events_of(recording):
        if event.kind is EventKind.ITEM_HELD:
            held = event.t_ns
        elif held is not None and event.kind in ENDS[want]:
            found = held, event.t_ns
            break
    if found is None:
        raise ValueError(f"{recording.path}: wanted an item held, then {want!r}, found none")
    held, end = found
    rows, pro = recording.rows("/telemetry"), recording.rows("/pro")
    t, t_pro = (rows["t_ns"] - held) / NS, (pro["t_ns"] - held) / NS
    events = {"item held": 0.0}
    if want == "item lost":
        let = let_go(rows["t_ns"], rows["width"], held, end)
        events["lets go"] = float(t[let])
    events[want] = (end - held) / NS
    inside, inside_pro = (t >= SPAN[0]) & (t <= SPAN[1]), (t_pro >= SPAN[0]) & (t_pro <= SPAN[1])
    return Piece(
        f"seed {recording.metadata['seed']}",
        events,
        t[inside],
        rows[inside],
        t_pro[inside_pro],
        pro[inside_pro],
    )


def _pair(axes: Axes, label: str, slip: tuple[object, object], good: tuple[object, object]) -> None:
    axes.plot(*good, color="#9a9a9a", linewidth=1.4)
    axes.plot(*slip, color="#c0392b", linewidth=1.6)
    axes.set_ylabel(label, fontsize=10)


def draw(slip: Piece, good: Piece, out: Path) -> None:
    """Telemetry (top left three), the grasp's features beside it, windowed maxima below."""
    figure, grid = plt.subplots(4, 2, figsize=(11, 9), dpi=100, sharex=True)

    def force(p: Piece) -> NDArray[np.float64]:
        return np.linalg.norm(p.telemetry["wrench"][:, :3], axis=1)

    for axes, label, of in (
        (grid[0, 0], "width [mm]", lambda p: p.telemetry["width"] * 1e3),
        (grid[1, 0], "grip force [N]", lambda p: p.telemetry["grip_force"]),
        (grid[2, 0], "force |F| [N]", force),
    ):
        _pair(axes, label, (slip.t, of(slip)), (good.t, of(good)))
    for axes, name, label in (
        (grid[3, 0], "jerk.max", "jerk.max [1]"),
        (grid[0, 1], "width_drift", "width_drift\n[of stroke]"),
        (grid[1, 1], "force_decay", "force_decay\n[1/s]"),
        (grid[2, 1], "load_change", "load_change [N]"),
        (grid[3, 1], "M.max", "M.max [Nm]"),
    ):
        pair = [(p.t_pro, p.feature(name)) for p in (slip, good)]
        _pair(axes, label, pair[0], pair[1])
    for axes in grid.ravel():
        for at in slip.events.values():
            axes.axvline(at, color="#333333", linewidth=0.9, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
        axes.margins(x=0)
    for axes in grid[0]:
        for name, at in slip.events.items():
            axes.annotate(
                name, (at, 1.02), xycoords=("data", "axes fraction"), fontsize=9, ha="center"
            )
    for axes in grid[-1]:
        axes.set_xlabel("time since “item held” [s]", fontsize=10)
    figure.align_ylabels()
    lines = [plt.Line2D([], [], color=c, linewidth=2) for c in ("#c0392b", "#9a9a9a")]
    figure.legend(
        lines,
        [f"slips ({slip.label})", f"is held ({good.label})"],
        loc="upper center",
        ncols=2,
        frameon=False,
        fontsize=10,
    )
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(out)


def main(
    slip: Path | None = None,
    ordinary: Path | None = None,
    out: Path = HERE / "img" / "slip.png",
) -> None:
    """Record what is not given, and draw."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        a = open_recording(slip) if slip else record(SLIP_SEED, work / "slip.mcap")
        b = open_recording(ordinary) if ordinary else record(ORDINARY_SEED, work / "ordinary.mcap")
        draw(piece(a, "item lost"), piece(b, "released"), out)
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
