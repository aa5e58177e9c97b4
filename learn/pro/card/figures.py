"""The figures of the page as inline SVG, in the colours of the reports' style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from headway.learn.pro.card.model import Around, Reliability

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40  # margins around the plot
COLOURS = 8  # --s0 .. --s7
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A named line through `points`; `ends` are the intervals of y at its points, or none."""

    name: str
    points: Sequence[Point]
    ends: Sequence[Point] = ()


@dataclass(frozen=True)
class Axes:
    """A plot from `x` to `x`, `y` to `y`; what is drawn beyond is cut off."""

    x: Point
    y: Point
    x_title: str
    y_title: str

    def px(self, x: float) -> float:
        low, high = self.x
        return LEFT + (x - low) / ((high - low) or 1.0) * (WIDTH - LEFT - RIGHT)

    def py(self, y: float) -> float:
        low, high = self.y
        y = min(max(y, low), high)
        return HEIGHT - BOTTOM - (y - low) / ((high - low) or 1.0) * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Sequence[Point], style: str) -> str:
        at = " ".join(f"{self.px(x):.1f},{self.py(y):.1f}" for x, y in points)
        return f'<polyline points="{at}" style="fill:none;{style}"/>'

    def area(self, low: Sequence[Point], high: Sequence[Point], colour: int) -> str:
        at = " ".join(f"{self.px(x):.1f},{self.py(y):.1f}" for x, y in [*low, *reversed(high)])
        return f'<polygon points="{at}" style="fill:var(--s{colour});opacity:.18;stroke:none"/>'

    def dot(self, x: float, y: float, colour: int, radius: float = 3.0) -> str:
        return (
            f'<circle cx="{self.px(x):.1f}" cy="{self.py(y):.1f}" r="{radius:.1f}" '
            f'style="fill:var(--s{colour})"/>'
        )

    def drawn(self, body: str, x_ticks: Sequence[float], title: str, names: Sequence[str]) -> str:
        """The figure with `body` in it, ticks at `x_ticks` and a legend of `names`."""
        low, high = self.y
        grid = ""
        for i in range(6):
            y = low + (high - low) * i / 5
            grid += _line(LEFT, self.py(y), WIDTH - RIGHT, self.py(y), "stroke:var(--grid)")
            grid += _text(LEFT - 6, self.py(y) + 4, f"{y:.3g}", "end")
        for x in x_ticks:
            grid += _line(self.px(x), HEIGHT - BOTTOM, self.px(x), HEIGHT - BOTTOM + 4)
            grid += _text(self.px(x), HEIGHT - BOTTOM + 16, f"{x:g}", "middle")
        grid += _line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM)
        grid += _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, self.x_title, "middle")
        grid += (
            f'<text transform="translate(12 {HEIGHT / 2 - 14:.0f}) rotate(-90)" '
            f'text-anchor="middle" style="{TEXT}">{escape(self.y_title)}</text>'
        )
        legend = "".join(
            f'<span style="white-space:nowrap;margin-right:12px"><span style="display:inline-block;'
            f"width:12px;height:3px;background:var(--s{i % COLOURS});vertical-align:middle;"
            f'margin-right:4px"></span>{escape(n)}</span>'
            for i, n in enumerate(names)
        )
        return (
            f'<figure style="margin:0 18px 12px 0;display:inline-block;vertical-align:top;'
            f'width:{WIDTH}px;max-width:100%"><h3>{escape(title)}</h3>'
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
            f'style="max-width:100%;height:auto" aria-label="{escape(title)}">{grid}{body}</svg>'
            f'<div class="dim">{legend}</div></figure>'
        )


TEXT = "fill:var(--dim);font-size:11px"


def lines(
    title: str,
    found: Sequence[Line],
    axes: Axes,
    x_ticks: Sequence[float],
    chance: float | None = None,
) -> str:
    """Lines with their intervals; `chance` is the height of a dashed line."""
    found = [line for line in found if line.points]
    if not found:
        return ""
    body = ""
    if chance is not None:
        body += axes.path([(axes.x[0], chance), (axes.x[1], chance)], DASHED)
    for i, line in enumerate(found):
        c = i % COLOURS
        if line.ends:
            at = [x for x, _ in line.points]
            low = [(x, a) for x, (a, _) in zip(at, line.ends, strict=True)]
            high = [(x, b) for x, (_, b) in zip(at, line.ends, strict=True)]
            body += axes.area(low, high, c)
        body += axes.path(line.points, f"stroke:var(--s{c});stroke-width:{2.5 if not i else 1.5}")
        body += "".join(axes.dot(x, y, c) for x, y in line.points)
    return axes.drawn(body, x_ticks, title, [line.name for line in found])


DASHED = "stroke:var(--dim);stroke-dasharray:4 4"


def reliability(r: Reliability) -> str:
    """What the signal said against what was so; bars are the shares of the steps, whose heights go
    with the square root."""
    if r.why or not r.steps:
        return ""
    axes = Axes((0.0, 1.0), (0.0, 1.0), f"{r.signal} that the head says", "share that was so")
    body = ""
    for b in r.bins:
        tall = (b.steps / r.steps) ** 0.5
        x, w = axes.px(b.low) + 1, axes.px(b.high) - axes.px(b.low) - 2
        body += (
            f'<rect x="{x:.1f}" y="{axes.py(tall):.1f}" width="{w:.1f}" '
            f'height="{axes.py(0) - axes.py(tall):.1f}" style="fill:var(--grid)"/>'
        )
    body += axes.path([(0, 0), (1, 1)], DASHED)
    points = [(b.said, b.was) for b in r.bins if b.said is not None and b.was is not None]
    body += axes.path(points, "stroke:var(--s0);stroke-width:2")
    body += "".join(axes.dot(x, y, 0) for x, y in points)
    return axes.drawn(body, [i / 5 for i in range(6)], f"Reliability of {r.signal}", [])


def around(a: Around | None) -> str:
    """The risk around failures: the median and the quartiles."""
    if a is None:
        return ""
    axes = Axes((a.t[0], a.t[-1]), (0.0, 1.0), "seconds after the failure", "risk")
    body = axes.area(
        list(zip(a.t, a.q25, strict=True)), list(zip(a.t, a.q75, strict=True)), 0
    ) + axes.path(list(zip(a.t, a.median, strict=True)), "stroke:var(--s0);stroke-width:2.5")
    if a.t[0] <= 0 <= a.t[-1]:
        body += axes.path([(0, 0), (0, 1)], DASHED)
    whole = [float(x) for x in range(round(a.t[0]), round(a.t[-1]) + 1)]
    return axes.drawn(
        body, whole, "Risk around failures: median and quartiles of episodes", ["PRO risk"]
    )


def _line(x1: float, y1: float, x2: float, y2: float, style: str = "stroke:var(--line)") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" style="{style}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{TEXT}">{escape(text)}</text>'
    )
