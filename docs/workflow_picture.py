"""Draw the picture of the workflows: an order of each, as the scripted expert works on it.

python docs/workflow_picture.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tyro
from picture import CROP, record

from headway.clock import NS
from headway.edge.control import settings
from headway.edge.control.events import EventKind
from headway.mcaplog import Recording
from headway.tools.recorded import events_of
from headway.workflows import config_of

FRAMES = 7


def row(recording: Recording, axes: np.ndarray) -> None:
    """Pictures of the episode into `axes` (n,), each with the time and the line that is due."""
    images = list(recording.images("/camera/overview/rgb"))
    begun = [e for e in events_of(recording) if e.kind is EventKind.LINE_BEGUN]
    t0 = int(recording.rows("/telemetry")["t_ns"][0])
    for at, i in zip(axes, np.linspace(4, len(images) - 2, len(axes)).astype(int), strict=True):
        t_ns, image = images[i]
        due = [e.text for e in begun if e.t_ns <= t_ns]
        at.imshow(image[CROP])
        said = (due or [""])[-1].replace(" into ", "\ninto ").replace(" in the ", "\nin the ")
        at.set_title(f"{(t_ns - t0) / NS:.1f} s\n{said}", fontsize=7)
        at.set_axis_off()


def main(seed: int = 12, out: Path = Path("docs/img/workflows.png")) -> None:
    """Record an order of each workflow and draw all of them."""
    names = ("pick_place", "shoebox", "returns")
    figure, axes = plt.subplots(len(names), FRAMES, figsize=(12, 5.6), dpi=110)
    with tempfile.TemporaryDirectory() as folder:
        for name, cells in zip(names, axes, strict=True):
            base = settings.with_policy(settings.load(config_of(name)), settings.EXPERT)
            row(record(base, seed, Path(folder) / f"{name}.mcap"), cells)
    figure.subplots_adjust(wspace=0.04, hspace=0.34)
    figure.savefig(out, bbox_inches="tight")
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
