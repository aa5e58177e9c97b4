"""A file without the telemetry that a head was trained with: `headway score` cannot tell of it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from msgspec import structs
from pro_head import make_head
from rich.console import Console
from score_files import npz

from headway import bundle
from headway.tools.score.command import score_command

MAP = """
[time]
key = "t"
[channels.q]
key = "q"
[channels.vacuum]
key = "vacuum"
optional = true
"""


def test_a_file_that_lacks_a_group_gets_no_alarm_and_no_all_clear_anywhere(
    tmp_path: Path,
) -> None:
    map_file = tmp_path / "map.toml"
    map_file.write_text(MAP)
    (tmp_path / "data").mkdir()
    made = make_head(tmp_path / "head")
    pro = made.manifest.pro
    assert pro is not None
    pro = structs.replace(pro, thresholds={"risk": 0.0}, groups=("q", "vacuum"))
    onnx = {"pro.onnx": made.onnx.read_bytes()}
    head = bundle.save(made.path, structs.replace(made.manifest, pro=pro), onnx).path
    files = [
        npz(tmp_path / "data/a.npz"),
        npz(tmp_path / "data/b.npz", vacuum=np.full(400, 0.5)),
    ]
    out, console = tmp_path / "out", Console(width=100, file=io.StringIO())
    assert score_command(files, map_file, head, out, console=console) == 0
    reason = "wanted vacuum, which the head knew where it was trained or calibrated"
    said = " ".join(console.file.getvalue().split())
    assert f"(a) cannot tell, no vacuum: {reason}" in said
    assert "no alarm" not in said
    with (out / "summary.csv").open(newline="", encoding="utf-8") as f:
        without, complete = csv.DictReader(f)
    assert (without["alarm_s"], without["threshold"]) == ("", "")
    assert without["verdict"].startswith(f"cannot tell, no vacuum: {reason}")
    assert complete["verdict"] == "alarm at 0.0 s"
    page = " ".join((out / "a.html").read_text().split())
    assert "Cannot tell:" in page
    assert reason in page
    index = " ".join((out / "index.html").read_text().split())
    assert "cannot tell, no vacuum" in index
    assert reason in index
    assert "1 of 1" in index  # the alarms, of the files that can be told
    assert "no alarm" not in page + index
