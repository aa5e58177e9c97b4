"""Text tables as programs write them: delimiters, decimal commas, comments, units, stamps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_files import mapping, rows_of

from headway.errors import HeadwayError, RecordingError
from headway.tools.score.dialect import sniff
from headway.tools.score.mapping import Channel, Time
from headway.tools.score.stamps import date_ns

N = 100
Q = np.column_stack([np.linspace(0, 0.5, N), np.linspace(1, 0.25, N)])
MAP = mapping({"q": Channel(key=["a", "b"])}, time=Time(key="t", rate_hz=100.0))


def lines(delimiter: str = ",", form: str = "{:.9f}") -> list[str]:
    return [delimiter.join(form.format(x) for x in (i / 100, *Q[i])) for i in range(N)]


def write(path: Path, text: list[str], **how: Any) -> Path:
    path.write_text("\n".join(text) + "\n", **how)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (["t,a,b", *lines()], ""),
        (["t;a;b", *lines(";")], "separated by semicolons"),
        (["t\ta\tb", *lines("\t")], ""),
        (["t a b", *lines(" ")], "separated by spaces"),
        (["t   a  b", *lines("   ")], "separated by spaces"),
        (["t, a, b", *lines(", ")], ""),
        (["# robot UR5e, 2024", "", "t,a,b", *lines()], "comment before the header skipped: 1"),
        (["# t,a,b", *lines()], "names taken from the comment line"),
        (["# made by hand", "# t a b", *lines(" ")], "names taken from the comment line `t a b`"),
        (["t,a,b", "s,rad,rad", *lines()], "taken as units: s, rad, rad"),
        (["t,a,b", "[s],[rad],[rad]", *lines()], "taken as units"),
        (["t;a;b", *(x.replace(".", ",") for x in lines(";"))], "decimal commas"),
        (["t\ta\tb", *(x.replace(".", ",") for x in lines("\t"))], "decimal commas"),
        (["\ufefft,a,b", *lines()], ""),
        (['"t","a","b"', *lines()], ""),
        (["t,a,b", *lines()[:50], "", "# paused", *lines()[50:]], ""),
        (["t,a,b", *lines(form="{:.12e}")], ""),
        ([",t,a,b", *(f"{i},{x}" for i, x in enumerate(lines()))], "column 1 has no name"),
        (["t,,a,b", *(x.replace(",", ",0,", 1) for x in lines())], "called `column 2`"),
        (["t,a,b,", *(x + "," for x in lines())], "the empty column behind the last of commas"),
        (["t;a;b", *(x + ";" for x in lines(";"))], "the empty column behind the last of semi"),
        (["t,a,b", *(x + ", " for x in lines())], "the empty column behind the last of commas"),
        (
            ["t\ta\tb\t", *(x.replace(".", ",") + "\t" for x in lines("\t"))],
            "the empty column behind the last of tabs",
        ),
        (["t,a,b,", "s,rad,rad,", *(x + "," for x in lines())], "taken as units: s, rad, rad"),
        (["t,a,b,a", *(x + ",9" for x in lines())], "column 4 is the second `a`, called `a (2)`"),
        (
            ["Robot log, exported by Foo", "t,a,b", *lines()],
            "above the header skipped: 1, the first",
        ),
        (["My log, from Foo, 2026", "t,a,b", *lines()], "above the header skipped: 1, the first"),
        (
            ["Log,,", "of robot 7,,", "t,a,b", *lines()],
            "above the header skipped: 2, the first: `Log",
        ),
        (["Log,,", "t,a,b", "s,rad,rad", *lines()], "taken as units: s, rad, rad"),
        (["sep=;", "t;a;b", *lines(";")], "above the header skipped: 1, the first: `sep=;`"),
        (["t,a,b", *lines()[:50], *(x + "," for x in lines()[50:])], ""),
        (
            ["Robot: UR5e", "", "Date: 2026-11-28, 12:00", "t,a,b", "s,rad,rad", *lines()],
            "above the header skipped: 2, the first: `Robot: UR5e`",
        ),
        (["t,a,b", "", "# units", "s,rad,rad", *lines()], "taken as units: s, rad, rad"),
        (["t,a,b", "s,-,1", *lines()], "taken as units: s"),
    ],
)
def test_every_way_of_writing_gives_the_same_numbers(
    tmp_path: Path, text: list[str], says: str
) -> None:
    got = rows_of(write(tmp_path / "a.csv", text, encoding="utf-8"), MAP)
    np.testing.assert_allclose(got.rows["q"], Q, atol=1e-8)
    assert says in " | ".join(got.notes)


def test_utf16_as_a_spreadsheet_saves_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["t\ta\tb", *lines("\t")], encoding="utf-16")
    np.testing.assert_allclose(rows_of(path, MAP).rows["q"], Q, atol=1e-8)


def test_units_of_a_row_are_acted_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["t,a,b", "ms,deg,deg", *lines()])
    got = rows_of(path, mapping({"q": Channel(key=["a", "b"])}, time=Time(rate_hz=4000.0)))
    assert got.rates["q"] == 100_000.0  # a hundredth of a millisecond
    np.testing.assert_allclose(got.rows["q"][0], np.deg2rad(Q[0]))
    assert any("stamps are taken from the column `t`" in n for n in got.notes)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("sec,grad,grad", "column `a` in line 2, found 'grad', valid: 1, %, m, .*rad, deg"),
        ("s,rad,furlong", "column `b` in line 2, found 'furlong', valid: "),
        ("fortnight,rad,rad", "column `t` in line 2, found 'fortnight', valid: "),
        ("[s],-,[furlong]", "column `b` in line 2, found '\\[furlong\\]', valid: "),
    ],
)
def test_an_unknown_unit_in_a_row_of_units_is_refused(tmp_path: Path, row: str, says: str) -> None:
    path = write(tmp_path / "a.csv", ["t,a,b", row, *lines()])
    with pytest.raises(RecordingError, match=says) as e:
        rows_of(path, MAP)
    assert str(path) in str(e.value)


def test_an_unknown_unit_of_a_column_that_nothing_uses_is_said(tmp_path: Path) -> None:
    text = ["t,a,b,motor", "sec,deg,deg,A", *(x + ",1.5" for x in lines())]
    got = rows_of(write(tmp_path / "a.csv", text), MAP)
    np.testing.assert_allclose(got.rows["q"], np.deg2rad(Q), atol=1e-8)
    assert any("not known, of columns not used: A (`motor`)" in n for n in got.notes)


def test_units_of_force_in_a_row_with_others(tmp_path: Path) -> None:
    text = ["t," + ",".join("abcdef"), "s,kgf,kgf,kgf,Nm,Nm,Nm"]
    text += [f"{i / 100},1,2,3,4,5,6" for i in range(N)]
    wrench = Channel(key=list("abcdef"), frame="tcp", force="on tool")
    m = mapping({"wrench": wrench}, time=Time(key="t", rate_hz=100.0))
    got = rows_of(write(tmp_path / "a.csv", text), m).rows["wrench"]
    np.testing.assert_allclose(got[50], [9.80665, 2 * 9.80665, 3 * 9.80665, 4, 5, 6], rtol=1e-6)


@pytest.mark.parametrize("rows", [["walk,s,m", "walk,s,m"], ["nan,s,m", "1,2,3"]])
def test_a_row_of_words_among_samples_is_no_row_of_units(tmp_path: Path, rows: list[str]) -> None:
    found = sniff(write(tmp_path / "a.csv", ["label,state,kind", *rows]))
    assert (found.skip, found.units_line) == (1, 0)


def test_latin_1_is_read_and_said(tmp_path: Path) -> None:
    text = ["# at 20 °C", "t,a [°],b [°]", *lines()]
    m = mapping({"q": Channel(key=["a [°]", "b [°]"])}, time=Time(key="t", rate_hz=100.0))
    got = rows_of(write(tmp_path / "a.csv", text, encoding="latin-1"), m)
    np.testing.assert_allclose(got.rows["q"], np.deg2rad(Q), atol=1e-8)
    assert any("read as Latin-1" in n for n in got.notes)


def test_a_byte_that_was_damaged_in_utf_8_costs_its_cell(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["# at 20 °C", "t,a,b", *lines()], encoding="utf-8")
    raw = bytearray(path.read_bytes())
    raw[-3] = 0xFF
    path.write_bytes(raw)
    got = rows_of(path, MAP)
    assert np.flatnonzero(np.isnan(got.rows["q"][:, 1])).tolist() == [N - 1]
    assert any("1 cells that are no numbers" in n for n in got.notes)


def test_names_with_commas_in_a_table_of_semicolons(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["t;a, rad;b, rad", *lines(";")])
    m = mapping({"q": Channel(key=["a, rad", "b, rad"])}, time=Time(key="t", rate_hz=100.0))
    np.testing.assert_allclose(rows_of(path, m).rows["q"], Q, atol=1e-8)


def test_cells_that_are_no_numbers_are_masked_and_named(tmp_path: Path) -> None:
    text = lines()
    for i, word in ((10, ""), (11, "null"), (12, "NaN"), (13, "n/a"), (20, "#REF!")):
        t, a, _ = text[i].split(",")
        text[i] = f"{t},{a},{word}"
    got = rows_of(write(tmp_path / "a.csv", ["t,a,b", *text]), MAP)
    assert np.flatnonzero(np.isnan(got.rows["q"][:, 1])).tolist() == [10, 11, 12, 13, 20]
    notes = " | ".join(got.notes)
    assert "1 cells that are no numbers: masked, the first: line 22, `b`: '#REF!'" in notes


def test_a_cut_line_is_left_out_and_named(tmp_path: Path) -> None:
    text = lines()
    text[-1] = text[-1][:9]
    got = rows_of(write(tmp_path / "a.csv", ["t,a,b", *text]), MAP)
    assert len(got.rows) == N - 1
    assert any("wanted 3 cells as in the header, found 1 in line 101" in n for n in got.notes)


def test_a_line_without_a_time_is_left_out(tmp_path: Path) -> None:
    text = ["t,a,b", *lines()[:9], "oops,1,2", *lines()[9:]]
    got = rows_of(write(tmp_path / "a.csv", text), MAP)
    np.testing.assert_allclose(got.rows["q"], Q, atol=1e-8)
    notes = " | ".join(got.notes)
    assert "1 lines without a time left out" in notes
    assert "line 11, `t`: 'oops'" in notes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (["t,a,", *lines()], "wanted the key `b`, found t, a, column 3"),
        (["t,a,b", "furlong,fathom,ell", *lines()[:5]], "line 2, `t`: 'furlong'"),
        (['"t","a","b"', *(f'"{i}",{x}' for i, x in enumerate(lines()))], "found 4 in line 2"),
        ([",,", *lines()], "found none in the columns 1, 2, 3"),
        (
            [
                "t,a,b",
                *(f"12:00:{i % 60:02}.123{x[x.index(',') :]}" for i, x in enumerate(lines())),
            ],
            "found line 2, `t`: '12:00:00.123' .* write times as numbers, or as dates of ISO 8601",
        ),
        (
            ["t;a;b", *("28.11.2026 12:00:00" + x[x.index(";") :] for x in lines(";"))],
            "found line 2, `t`: '28.11.2026 12:00:00' .* dates of ISO 8601",
        ),
        (lines(), "wanted distinct column names in the first line"),
        (["t,a,b"], "0 lines"),
        (["t,a,b", *(x.replace("0.", "x.") for x in lines())], r"line \d+, `.`: 'x"),
        (["t,a,b", *lines()[:50], *(x + ",9" for x in lines()[50:])], "found 4 in line 52"),
        (
            ["t,a,b", *("nan" + x[x.index(",") :] for x in lines())],
            "finite times in `t`, found none in 100",
        ),
    ],
)
def test_tables_that_cannot_be_read_say_where(tmp_path: Path, text: list[str], says: str) -> None:
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(HeadwayError, match=says) as e:
        rows_of(path, MAP)
    assert str(path) in str(e.value)


def stamps(kind: str) -> tuple[list[str], list[str], Time]:
    """(header, cells of each line, what the mapping says of the time)."""
    ns = 1_790_000_000_123_456_789 + np.arange(N) * 10_000_000
    if kind == "two":
        cells = [f"{t // 10**9},{t % 10**9}" for t in ns.tolist()]
        return ["sec", "nanosec"], cells, Time(key=["sec", "nanosec"], rate_hz=100.0)
    if kind == "ms":
        return ["t"], [str(t // 10**6) for t in ns.tolist()], Time(key="t", unit="ms", rate_hz=100)
    if kind == "named ms":
        return ["time_ms"], [str(t // 10**6) for t in ns.tolist()], Time(rate_hz=100.0)
    zone = {"iso": "", "zulu": "Z", "zone": "+02:00"}[kind]
    words = [str(np.datetime64(t, "ns")) + zone for t in ns.tolist()]
    return ["stamp"], words, Time(key="stamp", rate_hz=100.0)


@pytest.mark.parametrize("kind", ["two", "ms", "named ms", "iso", "zulu", "zone"])
def test_stamps_as_programs_write_them(tmp_path: Path, kind: str) -> None:
    names, cells, time = stamps(kind)
    text = [",".join([*names, "a", "b"])]
    text += [f"{c},{Q[i, 0]:.9f},{Q[i, 1]:.9f}" for i, c in enumerate(cells)]
    got = rows_of(
        write(tmp_path / "a.csv", text), mapping({"q": Channel(key=["a", "b"])}, time=time)
    )
    np.testing.assert_allclose(got.rows["q"], Q, atol=1e-8)
    assert got.rates["q"] == 100.0
    start = got.origin_ns + (7_200_000_000_000 if kind == "zone" else 0)
    assert abs(start - 1_790_000_000_123_456_789) < 1_000_000


def test_datetime64_in_an_npz(tmp_path: Path) -> None:
    t = np.datetime64("2026-11-28T21:20:38.123456789") + np.arange(N) * np.timedelta64(10, "ms")
    np.savez(tmp_path / "a.npz", t=t, q=Q)
    got = rows_of(
        tmp_path / "a.npz", mapping({"q": Channel(key="q")}, time=Time(key="t", rate_hz=100.0))
    )
    np.testing.assert_array_equal(got.rows["q"], Q)
    assert got.origin_ns == int(t[0].astype("datetime64[ns]").astype(np.int64))


def test_dates() -> None:
    assert date_ns("1970-01-01T00:00:01.5Z") == 1_500_000_000
    assert date_ns("1970-01-01 02:00:01,000000001+02:00") == 1_000_000_001
    assert date_ns("1970-01-02") == 86_400_000_000_000
    for word in ("", "12", "tomorrow", "2026-13-01", "2026-01-01T25:00"):
        assert date_ns(word) is None


def test_a_dialect_names_its_columns(tmp_path: Path) -> None:
    found = sniff(write(tmp_path / "a.csv", ["t [ms];f_x [kN];g", *lines(";")]))
    assert found.names == ("t [ms]", "f_x [kN]", "g")
    assert found.units == ("ms", "kN", None)
