"""Numbers of a card as text in its page."""

from __future__ import annotations

from html import escape
from typing import Literal

from headway.learn.pro.card.model import Estimate, Quartiles, Share
from headway.learn.pro.card.verdict import said


def estimate(e: Estimate | None) -> str:
    """The value, and its interval in brackets; "-" where there is none."""
    return "-" if e is None else said(e)


def share(s: Share) -> str:
    """A count with its share and the interval of that."""
    if not s.of:
        return "none"
    return f"{s.count} of {s.of}, {s.count / s.of:.0%} ({s.low:.0%}-{s.high:.0%})"


def quartiles(q: Quartiles, sign: Literal["", "+"] = "") -> str:
    """The median [s], and the other quartiles in brackets; with `sign` "+" each has its sign."""
    if q.median is None or q.q25 is None or q.q75 is None:
        return "-"
    return f"{q.median:{sign}.2f} ({q.q25:{sign}.2f} to {q.q75:{sign}.2f})"


def median(q: Quartiles) -> str:
    """The median with its unit."""
    return "-" if q.median is None else f"{q.median:.2f} s"


def number(x: float | None) -> str:
    """A number with three digits behind the point."""
    return "-" if x is None else f"{x:.3f}"


def dim(text: str) -> str:
    """A paragraph in grey, of plain `text`."""
    return f'<p class="dim">{escape(text)}</p>'
