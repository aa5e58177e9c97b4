"""One odd item does not end the batch, and results do not replace each other."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import Writer
from rich.console import Console
from score_files import npz

from headway.tools import report
from headway.tools.score import command, results, samples, scoring, text
from headway.tools.score.command import score_command

MAP = """
[time]
key = "t"
[channels.q]
key = "q"
[channels.wrench]
key = "wrench"
frame = "tcp"
force = "on tool"
"""


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    path = tmp_path / "map.toml"
    path.write_text(MAP)
    return path


def run(files: list[Path], map_file: Path | None, out: Path) -> tuple[int, str]:
    console = Console(record=True, width=160)
    code = score_command(files, map_file, None, out, console=console)
    return code, console.export_text()


def test_a_stamp_that_is_no_time_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with path.open("wb") as f:
        w = Writer(f)
        w.start()
        schema = w.register_schema("J", "jsonschema", b"{}")
        channel = w.register_channel("/x", "json", schema)
        for i in range(100):
            t = 2**64 - 5 if i == 50 else 1_700_000_000_000_000_000 + i * 10_000_000
            w.add_message(channel, t, b'{"q": [0.1, 0.2]}', t)
        w.finish()
    map_file = tmp_path / "map.toml"
    map_file.write_text('topic = "/x"\n[channels.q]\nkey = "q"\n')
    code, said = run([path, path.with_name("b.mcap")], map_file, tmp_path / "out")
    assert code == 1
    assert "1 of 100 messages left out, the first: log time 18446744073709551611 ns" in said
    assert "not scored" in said
    assert "1 of 2 files scored, 1 of them without parts that could not be read" in said
    assert (tmp_path / "out" / "a.features.npz").is_file()


def fails_at(monkeypatch: pytest.MonkeyPatch, bad: Path, error: BaseException) -> None:
    """Scoring the file `bad` raises `error`; others are scored."""

    def fail(path: Path, *rest: Any) -> Any:
        if path == bad:
            raise error
        return scoring.score_file(path, *rest)

    monkeypatch.setattr(command, "score_file", fail)


def test_a_mistake_of_ours_costs_one_file(
    tmp_path: Path, map_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = npz(tmp_path / "bad.npz"), npz(tmp_path / "good.npz")
    fails_at(monkeypatch, bad, OverflowError("int too big to convert"))
    code, said = run([bad, good], map_file, tmp_path / "out")
    assert code == 1
    assert "bad.npz: OverflowError: int too big to convert" in said
    assert "1 of 2 files scored" in said


def test_what_was_done_is_said_when_somebody_interrupts(
    tmp_path: Path, map_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, second = npz(tmp_path / "good.npz"), npz(tmp_path / "second.npz")
    fails_at(monkeypatch, second, KeyboardInterrupt())
    console = Console(record=True, width=160)
    with pytest.raises(KeyboardInterrupt):
        score_command([good, second], map_file, None, tmp_path / "out", console=console)
    assert "1 of 2 files scored" in console.export_text()


class Screen(io.StringIO):
    """A terminal that is closed, or a file on a disk that is full, from the table on."""

    def write(self, s: str) -> int:
        if s.strip():
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(s)


def test_the_files_about_all_results_do_not_wait_for_the_screen(
    tmp_path: Path, map_file: Path
) -> None:
    logs = [npz(tmp_path / f"{name}.npz") for name in "ab"]
    with pytest.raises(OSError, match="No space left"):
        score_command(logs, map_file, None, tmp_path / "out", console=Console(file=Screen()))
    assert {"summary.csv", "index.html"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_an_index_of_an_earlier_call_does_not_stay_beside_a_newer_summary(
    tmp_path: Path, map_file: Path
) -> None:
    a, b, c = (npz(tmp_path / f"{name}.npz") for name in "abc")
    out = tmp_path / "out"
    run([a, b], map_file, out)
    run([c], map_file, out)
    page = (out / "index.html").read_text()
    assert "c.html" in page
    assert "a.html" not in page
    rows = (out / "summary.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["name", "c"]


def test_a_folder_is_walked(tmp_path: Path, map_file: Path) -> None:
    for day in ("day1", "day2"):
        (tmp_path / "logs" / day).mkdir(parents=True)
        npz(tmp_path / "logs" / day / "log.npz")
    (tmp_path / "logs" / "notes.txt").write_text("not telemetry")
    out = tmp_path / "logs" / "scores"
    code, said = run([tmp_path / "logs"], map_file, out)
    assert code == 0
    assert sorted(p.name for p in out.glob("*.npz")) == [
        "day1-log.features.npz",
        "day2-log.features.npz",
    ]
    again, said = run([tmp_path / "logs"], map_file, out)  # its own results are no telemetry
    assert again == 0
    assert said.count("earlier results of") == 2
    code, said = run([out, tmp_path / "logs" / "day1"], map_file, out)
    assert code == 1
    assert re.search(r"not scored .*scores: wanted telemetry .* in the folder, found none", said)
    assert "1 of 2 files scored" in said


def test_what_is_no_file_in_a_folder_is_said_and_the_rest_is_done(
    tmp_path: Path, map_file: Path
) -> None:
    logs = tmp_path / "logs"
    (logs / ".cache").mkdir(parents=True)
    npz(logs / "good.npz")
    for hidden in (logs / ".x.npz", logs / ".cache" / "y.npz"):
        hidden.write_bytes(b"not telemetry")
    (logs / "gone.csv").symlink_to("nowhere.csv")
    os.mkfifo(logs / "pipe.csv")
    out = tmp_path / "out"
    code, said = run([logs], map_file, out)
    assert code == 1
    made = ["good.features.npz", "good.html", "summary.csv"]
    assert sorted(p.name for p in out.iterdir()) == made
    wrong = [line for line in said.splitlines() if "not scored" in line]
    assert len(wrong) == 2
    assert "gone.csv: wanted a file, found a link to nowhere.csv, which is not there" in wrong[0]
    assert "pipe.csv: wanted a file, found a named pipe" in wrong[1]
    assert "1 of 3 files scored" in said


def test_pipes_devices_and_names_that_cannot_be_are_refused(tmp_path: Path, map_file: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "null.csv").symlink_to("/dev/null")
    long = tmp_path / f"{'x' * 300}.csv"
    code, said = run(
        [tmp_path / "pipe.npz", tmp_path / "null.csv", long], map_file, tmp_path / "out"
    )
    assert code == 1
    for says in ("found a named pipe", "found a device", "File name too long: check the path"):
        assert says in said
    assert "0 of 3 files scored" in said


def test_names_that_are_no_text_or_too_long_get_results(tmp_path: Path, map_file: Path) -> None:
    odd = tmp_path / os.fsdecode(b"a\xffb.npz")
    try:
        npz(odd)
    except OSError as e:
        pytest.skip(f"this file system takes text only: {e}")
    long = [npz(tmp_path / f"{c}{'x' * 240}{d}.npz") for c, d in ("a1", "a2", "b2")]
    wide = npz(tmp_path / f"{'ü' * 125}.npz")
    out = tmp_path / "out"
    code, said = run([odd, *long, wide], map_file, out)
    assert code == 0, said
    names = {p.name.removesuffix(".html") for p in out.glob("*.html")} - {"index"}
    assert len(names) == 5
    assert "a\ufffdb" in names
    assert {p.name for p in out.iterdir()} == {
        *(f"{n}{end}" for n in names for end in (".html", ".features.npz")),
        "index.html",
        "summary.csv",
    }
    code, said = run([odd, *long, wide], map_file, out)
    assert code == 0
    assert said.count("earlier results of") == 5
    assert len(list(out.iterdir())) == 12


def test_results_are_all_there_or_none(
    tmp_path: Path, map_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("no page")

    good = npz(tmp_path / "good.npz")
    with monkeypatch.context() as patch:
        patch.setattr(report, "write_score_report", fail)
        code, said = run([good], map_file, tmp_path / "out")
    assert code == 1
    assert "ValueError: no page" in said
    assert list((tmp_path / "out").iterdir()) == []


def test_results_of_one_name_stay_beside_each_other(tmp_path: Path, map_file: Path) -> None:
    for day, hz in (("day1", 200.0), ("day2", 100.0)):
        (tmp_path / day).mkdir()
        npz(tmp_path / day / "log.npz", hz=hz)
    out = tmp_path / "out"
    run([tmp_path / "day1" / "log.npz"], map_file, out)
    run([tmp_path / "day2" / "log.npz"], map_file, out)
    _, said = run([tmp_path / "day2" / "log.npz"], map_file, out)
    assert "earlier results of" in said
    found = {}
    for path in out.glob("*.npz"):
        with np.load(path) as file:
            found[path.name] = str(file["source"])
    assert found == {
        "log.features.npz": str(tmp_path / "day1" / "log.npz"),
        "day2-log.features.npz": str(tmp_path / "day2" / "log.npz"),
    }


def test_results_that_are_damaged_are_left_alone(tmp_path: Path, map_file: Path) -> None:
    log, out = npz(tmp_path / "log.npz"), tmp_path / "out"
    out.mkdir()
    for damaged in (b"", b"PK\x03\x04 and no more"):
        (out / "log.features.npz").write_bytes(damaged)
        assert run([log], map_file, out)[0] == 0
        assert (out / "log.features.npz").read_bytes() == damaged


def test_every_error_names_its_file(tmp_path: Path, map_file: Path) -> None:
    slow = npz(tmp_path / "slow.npz", hz=3.0)
    short = npz(tmp_path / "short.npz", n=1)
    words = tmp_path / "words.csv"
    words.write_text("t,q,wrench\n" + "0.1,a,b\n" * 20)
    folder = tmp_path / "folder.npz"
    folder.mkdir()
    npz(folder / "inner.npz", wrench=None)
    files = [slow, short, words, folder]
    code, said = run(files, map_file, tmp_path / "out")
    assert code == 1
    lines = [line for line in said.splitlines() if "not scored" in line]
    assert len(lines) == 4
    for name, line in zip(("slow", "short", "words", "folder.npz/inner"), lines, strict=True):
        assert name in line


def test_long_files_need_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times the samples, nearly the same memory: what grows is the times, 8 bytes a sample,
    and what is worked out from them. Kept as a whole, this telemetry takes 1.5 kB a sample."""
    monkeypatch.setattr(samples, "IN_MEMORY", 1 << 18)
    monkeypatch.setattr(results, "DRAWN", 2_000)
    monkeypatch.setattr(text, "BLOCK", 2_000)
    map_file = tmp_path / "map.toml"
    map_file.write_text('[time]\nkey = "t"\n[channels.q]\nkey = ["a", "b", "c", "d", "e", "f"]\n')
    peaks = []
    for n in (40_000, 120_000):
        path = tmp_path / f"{n}.csv"
        with path.open("w", newline="") as f:
            rows = csv.writer(f)
            rows.writerow("tabcdef")
            rows.writerows([f"{i / 500:.3f}", *[f"{i % 97 / 100:.2f}"] * 6] for i in range(n))
        tracemalloc.start()
        code, said = run([path], map_file, tmp_path / "out")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert code == 0, said
    assert (peaks[1] - peaks[0]) / 80_000 < 60.0  # [bytes a sample]
