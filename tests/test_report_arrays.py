"""Reports of arrays: decimation, spans, scored telemetry, and what ships with the page."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_page import Page

from headway.tools.report import write_score_report
from headway.tools.report.series import LIMIT, Span, decimate, merge, spans_of


def test_decimation_keeps_peaks_ends_and_gaps() -> None:
    n = 100_003
    t = np.arange(n) / 500
    y = np.zeros((n, 2))
    y[777, 0], y[778, 0], y[60_000, 1] = 5.0, -7.0, np.inf
    y[30_000:40_000, 1] = np.nan
    at, out = decimate(t, y)
    assert len(at) == len(out) <= LIMIT
    assert (np.diff(at) >= 0).all()
    assert (at[0], at[-1]) == (t[0], t[-1])
    assert (out[:, 0].max(), out[:, 0].min()) == (5.0, -7.0)
    assert out[:, 0].argmax() < out[:, 0].argmin()
    assert abs(at[out[:, 0].argmax()] - t[777]) < 35 / 500
    gap = np.isnan(out[:, 1])
    assert at[gap].min() == pytest.approx(60, abs=0.1)
    assert at[gap].max() == pytest.approx(80, abs=0.1)
    assert decimate(t[:5], y[:5])[1] is not None
    assert len(decimate(t[:5], y[:5])[0]) == 5


def test_spans_and_their_merging() -> None:
    t = np.arange(6) * 0.1
    assert spans_of(t, np.array([1, 1, 0, 0, 1, 2]), 0.1) == [
        (0.0, pytest.approx(0.2), 1), (pytest.approx(0.2), pytest.approx(0.4), 0),
        (pytest.approx(0.4), pytest.approx(0.5), 1), (pytest.approx(0.5), pytest.approx(0.6), 2),
    ]  # fmt: skip
    assert spans_of(t[:0], np.array([], int), 0.1) == []
    many = [Span(i * 0.004, i * 0.004 + 0.002, ("jerk", "force")[i % 2], "x") for i in range(9000)]
    fewer = merge(many)
    assert len(fewer) <= 300
    assert (fewer[0].start, fewer[-1].end) == (many[0].start, many[-1].end)
    assert [s.text for s in fewer] == ["on and off: jerk, force"]
    phases = [Span(i * 1.0, i + 1.0, f"p{i % 3}", "p0") for i in range(400)]
    assert merge(phases) == phases  # each long enough to be seen


def test_score_report(tmp_path: Path) -> None:
    n = 400
    t = 1.7e9 + np.arange(n) / 200
    wrench = np.zeros((n, 6))
    wrench[:, 2] = -8.0
    out = write_score_report(
        tmp_path / "s.html",
        title="snap assembly 12",
        t_s=t,
        signals={"progress": np.linspace(0, 1, n), "risk": np.zeros(n), "time_to_go": np.ones(n)},
        channels={"wrench": wrench, "q": np.zeros((n, 6)), "width": np.full(n, np.nan)},
        masked={"map channels.width": ["gripper", "status"]},
        notes=["200 Hz, resampled from 199.8 Hz"],
        events=[(t[100], "contact")],
    )
    page = Page(out)
    assert list(page.panels) == [
        "PRO",
        "time-to-go",
        "Force on the tool",
        "Torque on the tool",
        "q",
    ]
    assert page.series("Force on the tool", "|F|").max() == 8
    assert page.times("q")[-1] == pytest.approx((n - 1) / 200, abs=1e-5)
    assert page.data["events"] == [[pytest.approx(0.5, abs=1e-5), "info", "contact"]]
    assert "gripper, status" in page.text.split("Masked:")[1]
    assert "resampled" in page.text
    assert re.search(r"Without a value:\s+width; not drawn", page.text)
    assert re.search(r"rate\s+200 Hz", page.text)


@pytest.mark.parametrize(
    ("t", "y", "found"),
    [
        (np.arange(3.0), np.ones(4), "wanted 3 values of 'risk'"),
        (np.array([0.0, 2.0, 1.0]), np.ones(3), "do not decrease"),
        (np.array([0.0, np.nan, 1.0]), np.ones(3), "do not decrease"),
    ],
)
def test_score_report_of_arrays_that_do_not_fit(tmp_path: Path, t: Any, y: Any, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        write_score_report(
            tmp_path / "s.html", title="x", t_s=t, signals={"risk": y}, channels={}, masked={},
            notes=[], events=[],
        )  # fmt: skip


@pytest.mark.parametrize("n", [0, 1])
def test_score_report_of_almost_nothing(tmp_path: Path, n: int) -> None:
    out = write_score_report(
        tmp_path / "s.html", title="x", t_s=np.zeros(n), signals={"risk": np.full(n, 1e300)},
        channels={"q": np.zeros((n, 6))}, masked={}, notes=[], events=[],
    )  # fmt: skip
    page = Page(out)
    assert len(page.data["panels"]) == 2 * n
    assert "NaN" not in page.data_text


def test_static_files_ship_with_their_licence() -> None:
    folder = files("headway.tools.report") / "static"
    assert "v1.6.32" in (folder / "uPlot.iife.min.js").read_text(encoding="utf-8")[:80]
    assert "MIT" in (folder / "uPlot.LICENSE").read_text(encoding="utf-8")
    for name in ("uPlot.min.css", "report.css", "report.js"):
        assert (folder / name).is_file()
