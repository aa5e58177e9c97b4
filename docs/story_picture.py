"""Draw the pictures of docs/story.md: an order of each workflow by the shipped policy, and what PRO
says of it, in which a failure is foretold and made good.

python docs/story_picture.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import tyro
from picture import panels, record

from headway.clock import NS
from headway.edge.control import settings
from headway.edge.control.events import RETRIES, EventKind
from headway.mcaplog import Recording
from headway.tools.recorded import events_of
from headway.workflows import config_of

# Found by looking from seed 9,000,000 on for orders that were right in the end and in which the
# risk rose above 0.5 before a failure.
SEEDS = {"pick_place": 9_000_010, "shoebox": 9_000_004, "returns": 9_000_011}


def draw(recording: Recording, out: Path) -> None:
    """Frames in a row, PRO's signals below them with failures and closed lines."""
    figure, axes, t0 = panels(recording, 8, 4.4, (1.0, 1.5), 0.3)
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
