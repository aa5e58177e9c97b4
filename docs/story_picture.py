"""Draw the pictures of docs/story.md: an order of each workflow by the shipped policy, and what PRO
says of it, in which a failure is foretold and made good.

python docs/story_picture.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tyro
from picture import CROP, SIGNALS, record

from headway.clock import NS
from headway.edge.control import settings
from headway.edge.control.events import RETRIES, EventKind
from headway.mcaplog import Recording
from headway.tools.recorded import events_of
from headway.workflows import config_of

# Found by looking from seed 9,000,000 on for orders that were right in the end and in which the
# risk rose above 0.5 before a failure.
SEEDS = {"pick_place": 9_000_010, "shoebox": 9_000_004, "returns": 9_000_063}
FRAMES = 8


def draw(recording: Recording, out: Path) -> None:
    """Frames in a row, PRO's signals below them with failures and closed lines."""
    pro = recording.rows("/pro")
    t0 = int(recording.rows("/telemetry")["t_ns"][0])
    t = (pro["t_ns"] - t0) / NS
    images = list(recording.images("/camera/overview/rgb"))
    figure = plt.figure(figsize=(12, 4.4), dpi=110)
    grid = figure.add_gridspec(2, FRAMES, height_ratios=[1.0, 1.5], hspace=0.3, wspace=0.03)
    for i, at in enumerate(np.linspace(2, len(images) - 1, FRAMES).astype(int)):
        axes = figure.add_subplot(grid[0, i])
        axes.imshow(images[at][1][CROP])
        axes.set_title(f"{(images[at][0] - t0) / NS:.1f} s", fontsize=9)
        axes.set_axis_off()
    axes = figure.add_subplot(grid[1, :])
    for name, colour in SIGNALS.items():
        axes.plot(t, pro[name], label=name, color=colour, linewidth=1.8)
    marked = 0
    for event in events_of(recording):
        failed = event.kind in RETRIES
        if not failed and event.kind is not EventKind.LINE_CLOSED:
            continue
        at_s = (event.t_ns - t0) / NS
        colour = "#b2182b" if failed else "#1b7837"
        axes.axvline(at_s, color=colour, linewidth=1.2, linestyle=":" if failed else "-")
        text = event.kind.value.replace("_", " ") if failed else "line closed"
        axes.text(at_s, 1.04 + 0.08 * (marked % 2), text, fontsize=8, ha="center", color=colour)
        marked += 1
    axes.set(xlim=(0, t[-1]), ylim=(-0.02, 1.02), xlabel="time [s]", ylabel="PRO signal")
    axes.legend(loc="center left", frameon=False, fontsize=9, bbox_to_anchor=(1.0, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, bbox_inches="tight")


def main(folder: Path = Path("docs/img")) -> None:
    """Record the order of each workflow and draw it into `folder`."""
    with tempfile.TemporaryDirectory() as work:
        for name, seed in SEEDS.items():
            recording = record(settings.load(config_of(name)), seed, Path(work) / f"{name}.mcap")
            out = folder / f"story-{name}.png"
            draw(recording, out)
            print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
