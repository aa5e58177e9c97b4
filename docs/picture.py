"""Draw the README's picture: the cell during one recorded episode, PRO's signals under it.

python docs/picture.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import msgspec
import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headway.clock import NS, VirtualClock
from headway.edge.control import settings
from headway.edge.control.build import Built
from headway.edge.control.events import EventKind
from headway.edge.control.runner import record_episode
from headway.edge.control.station import Station
from headway.edge.guard.reasons import Reason
from headway.mcaplog import Recording, open_recording
from headway.tools.recorded import events_of

SIGNALS = {
    "progress": "#2a9d5c",
    "stability": "#2b8cbe",
    "completion": "#6a51a3",
    "risk": "#d7301f",
}


CROP = np.s_[40:400, 20:420]  # of the overview camera's image
ALIKE_S = 0.5


def record(base: settings.Settings, seed: int, path: Path) -> Recording:
    """An episode of the run that `base` describes, with the overview camera switched on."""
    overview = {"kind": "sim", "name": "overview", "width": 440, "height": 440, "depth": False}
    chosen = msgspec.structs.replace(base, camera=[*base.camera, overview])
    clock = VirtualClock(1)
    with Station(chosen, clock) as station:
        built = Built(chosen, station, clock)
        record_episode(built.loop, seed, path, metadata=built.facts)
    return open_recording(path)


def panels(
    recording: Recording, frames: int, height: float, rows: tuple[float, float], hspace: float
) -> tuple[Figure, Axes, int]:
    """A figure of `height` [inch] with so many frames in a row and PRO's signals below them, which
    take the shares `rows` of it, `hspace` apart; the axes of the signals, and the time of the first
    tick [ns]."""
    pro = recording.rows("/pro")
    t0 = int(recording.rows("/telemetry")["t_ns"][0])
    t = (pro["t_ns"] - t0) / NS
    images = list(recording.images("/camera/overview/rgb"))
    figure = plt.figure(figsize=(12, height), dpi=110)
    grid = figure.add_gridspec(2, frames, height_ratios=rows, hspace=hspace, wspace=0.03)
    for i, at in enumerate(np.linspace(2, len(images) - 1, frames).astype(int)):
        t_ns, image = images[at]
        axes = figure.add_subplot(grid[0, i])
        axes.imshow(image[CROP])
        axes.set_title(f"{(t_ns - t0) / NS:.1f} s", fontsize=9)
        axes.set_axis_off()
    axes = figure.add_subplot(grid[1, :])
    for name, colour in SIGNALS.items():
        axes.plot(t, pro[name], label=name, color=colour, linewidth=1.8)
    axes.set(xlim=(0, t[-1]), ylim=(-0.02, 1.02), xlabel="time [s]", ylabel="PRO signal")
    axes.legend(loc="center left", frameon=False, fontsize=9, bbox_to_anchor=(1.0, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes, t0


def told(recording: Recording) -> list[tuple[float, str]]:
    """The events worth a label, with their times [s]; what the guard does within ALIKE_S is one."""
    t0 = int(recording.rows("/telemetry")["t_ns"][0])
    found: list[tuple[float, str]] = []
    guarded = -ALIKE_S
    for event in events_of(recording):
        at = (event.t_ns - t0) / NS
        if event.kind is EventKind.MODE or event.subject == Reason.NO_COMMAND.name:
            continue
        if event.kind is not EventKind.GUARD:
            found.append((at, event.text))
        elif at - guarded >= ALIKE_S:
            found.append((at, "guard"))
            guarded = at
    return found


def label(axes: Axes, events: list[tuple[float, str]]) -> None:
    """Write the `events` above the signals, each in the lowest row in which it has room."""
    ends: list[float] = []  # of the last label in each row [s]
    letter = axes.get_xlim()[1] * 0.0062  # about the width of one [s]
    for at, text in events:
        half = letter * (len(text) + 2) / 2
        row = next((k for k, end in enumerate(ends) if at - half > end), len(ends))
        ends[row : row + 1] = [at + half]
        axes.axvline(at, color="#888888", linewidth=0.8, linestyle=":")
        axes.text(at, 1.04 + 0.085 * row, text, fontsize=8, ha="center", color="#555555")


def draw(recording: Recording, out: Path) -> None:
    """Frames in a row, signals below them with the events that the controller logged."""
    figure, axes, _ = panels(recording, 6, 4.9, (1.0, 1.3), 0.3)
    label(axes, told(recording))
    figure.suptitle(f"“{recording.metadata['instruction']}”", fontsize=11, y=0.97)
    figure.savefig(out, bbox_inches="tight")


def main(seed: int = 7, out: Path = Path("docs/img/cell.png")) -> None:
    """Record an episode and draw it."""
    with tempfile.TemporaryDirectory() as folder:
        base = settings.load(Path("configs/pick_place_sim.toml"))
        draw(record(base, seed, Path(folder) / "episode.mcap"), out)
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
