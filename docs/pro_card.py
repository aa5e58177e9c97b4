"""Draw the picture of docs/pro-on-your-robot.md from the JSON of a card.

headway pro card BUNDLE DATA --map MAP.toml --out card
python docs/pro_card.py card.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import tyro
from matplotlib.axes import Axes

COLOURS = {
    "PRO risk": "#d7301f",
    "trees on raw windows": "#2b8cbe",
    "|F|": "#2a9d5c",
    "elapsed time": "#8c8c8c",
}


def around(axes: Axes, score: dict[str, Any]) -> None:
    """The risk around failures: median and quartiles over episodes."""
    at = score["around"]
    colour = COLOURS["PRO risk"]
    axes.fill_between(at["t"], at["q25"], at["q75"], color=colour, alpha=0.2, lw=0)
    axes.plot(at["t"], at["median"], color=colour)
    axes.axvline(0.0, color="#444444", lw=0.8, ls=":")
    axes.set(xlabel="seconds after the failure was signalled", ylabel="risk", ylim=(-0.03, 1.03))
    axes.set_title("PRO risk around a failure, by heads that\ndid not see the run", fontsize=10)


def caught(axes: Axes, scores: list[dict[str, Any]]) -> None:
    """The share of failures that are caught at several shares of false alarms: before they happen,
    and, dotted, by half a second after."""
    for score in scores:
        if score["name"] not in COLOURS or not score["alarms"]:
            continue
        found = [a for a in score["alarms"] if a["asked"] is not None]
        asked = [100 * a["asked"] for a in found]
        colour = COLOURS[score["name"]]
        for key, style, label in (("caught_before", "o-", score["name"]), ("caught", "o:", None)):
            share = [100 * a[key]["count"] / a[key]["of"] for a in found]
            axes.plot(asked, share, style, color=colour, label=label, ms=4)
    axes.set(xlabel="runs with a false alarm [%]", ylabel="failures caught [%]", ylim=(-3, 128))
    axes.set_yticks(range(0, 101, 20))
    axes.set_title(
        "failures caught before they were signalled\n(dotted: by 0.5 s after)", fontsize=10
    )
    axes.legend(frameon=False, fontsize=7, loc="upper left", ncols=2)


def main(
    card: tyro.conf.Positional[Path], out: Path = Path(__file__).parent / "img/pro-card.png"
) -> None:
    """Draw the picture `out` of the card whose numbers are in the JSON file `card`."""
    scores = json.loads(card.read_text())["scores"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.3), dpi=110)
    around(left, scores[0])
    caught(right, scores)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(out)
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
