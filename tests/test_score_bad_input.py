"""What `headway score` says about files and mappings that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_files import mapping, npz, rows_of

from headway.errors import ConfigError, HeadwayError, RecordingError
from headway.tools.score.mapping import Channel, Outcome, Time, load_mapping
from headway.tools.score.scoring import score_file


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"wrench": None, "wrenches": np.zeros((400, 6))}, "did you mean `wrenches`"),
        ({"wrench": np.zeros((400, 5))}, "wanted 6 values a sample, found 5"),
        ({"wrench": np.zeros((399, 6))}, r"wanted 400 samples .* found shape \(399, 6\)"),
        ({"wrench": np.zeros((400, 6, 2))}, r"shape \(n,\) or \(n, k\), found \(400, 6, 2\)"),
        ({"wrench": np.full((400, 6), np.nan)}, "wanted finite values, found none in 400"),
        ({"wrench": np.array(["a"] * 400)}, "wanted numbers in `wrench`"),
        ({"t": np.r_[np.arange(399), 5.0]}, "do not go back, found 398.000000 s and then 5.0"),
        (
            {"t": np.r_[np.arange(399), np.nan]},
            "wanted finite times in `t`, found nan at sample 399",
        ),
        ({"t": np.zeros(0), "q": np.zeros((0, 6))}, "wanted samples, found an empty file"),
        ({"t": np.zeros(400)}, "at least two samples at different times"),
        ({"t": np.arange(400) * 1e12}, "check `time.unit`"),
        ({"t": np.arange(400) * 1.0}, r"10\.\.4000 Hz"),
        ({"t": None}, "wanted the key `t`, found q, wrench"),
    ],
)
def test_bad_arrays_say_what_was_wanted(tmp_path: Path, arrays: Any, says: str) -> None:
    path = npz(tmp_path / "a.npz", **arrays)
    with pytest.raises(HeadwayError, match=says):
        score_file(path, mapping(), None)


def test_arrays_without_stamps_want_one_length(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", t=None, wrench=np.zeros((399, 6)))
    with pytest.raises(RecordingError, match="wanted 400 samples of `wrench`, one for each of `q`"):
        score_file(path, mapping(time=Time(rate_hz=200.0)), None)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.npz", b"", "NumPy cannot read"),
        ("a.npz", b"PK\x03\x04 cut", "NumPy cannot read"),
        ("a.csv", b"", "is the file empty"),
        ("a.csv", b"t,q\n", "0 lines"),
        ("a.csv", b"0.1,0.2\n1,2\n", "distinct column names in the first line"),
        ("a.csv", b"t,q\n1,2\n1\n", "wanted 2 cells as in the header, found 1 in line 3"),
        ("a.csv", b"\xff\xfe\x00", "wanted a CSV text file"),
        ("a.mcap", b"x", "wanted an MCAP recording"),
        ("a.xyz", b"x", r"wanted telemetry as .npz, .csv, .*, found .xyz"),
        ("a", b"x", "found no suffix"),
        ("missing.npz", None, "found none: check the path"),
        ("missing.csv", None, "No such file"),
    ],
)
def test_bad_files_say_what_was_wanted(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HeadwayError, match=says):
        score_file(path, mapping(), None)


@pytest.mark.parametrize(
    ("cells", "outcome"),
    [
        (["", "success", "", "nan", ""], True),
        (["", "success", "failure", "NaN"], False),
        (["", "", "nan"], None),
    ],
)
def test_the_outcome_is_the_last_cell_that_says_something(
    tmp_path: Path, cells: list[str], outcome: bool | None
) -> None:
    path = tmp_path / "a.csv"
    cells = [*cells, *[cells[-1]] * 20]
    path.write_text("t,q,end\n" + "".join(f"{i / 100},{i},{c}\n" for i, c in enumerate(cells)))
    m = mapping(
        {"q": Channel(key="q", unit="deg")}, outcome=Outcome(key="end", success=["success"])
    )
    assert rows_of(path, m).success is outcome


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", t=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RecordingError, match="without objects"):
        score_file(tmp_path / "a.npz", mapping(), None)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('[channel.q]\nkey = "q"', "unknown key `channel`: did you mean `channels`"),
        ('[channels.q]\nkeys = "q"', r"`channels.q.keys`: did you mean `channels.q.key`"),
        ('[channels.wrenh]\nkey = "q"', "`channels.wrenh`: did you mean `wrench`"),
        ('[channels.wrench]\nkey = "w"', "wants `frame`"),
        ('[channels.tcp]\nkey = "w"', "wants `layout`, one of xyz quat"),
        ('[channels.q]\nkey = "q"\nunit = "grad"', "unknown unit `grad`, valid: rad, deg"),
        ('[channels.q]\nkey = "q"\nframe = "tcp"', r"`frame` belongs to \[channels.wrench\]"),
        ('[channels.q]\nkey = "q"\n[constants]\nq = 1', "`constants.q` has several values"),
        ('[channels.phase]\nkey = "q"\n[phase]\nstarts = "s"', "found two of phase"),
        (
            '[channels.q]\nkey = "q"\n[time]\nrate_hz = -1',
            "`time.rate_hz` wants a finite number > 0",
        ),
        ('[channels.q]\nkey = "q"\n[time]\nunit = "min"', "min"),
        ('[channels.q]\nkey = "q"\n[events]\nlabels = "s"', "either `times` or `text`"),
        ("robot = 'x'", "wanted .channels.FIELD. sections"),
    ],
)
def test_mappings_are_strict(tmp_path: Path, toml: str, says: str) -> None:
    path = tmp_path / "map.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError, match=says) as e:
        load_mapping(path)
    assert str(path) in str(e.value)
