"""What every command shares: the first screen, the release, terminals without Unicode, output that
cannot be written; and `headway init`."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from null_robot import run

import headway
from headway import bundle, output, shipped
from headway.__main__ import main
from headway.cli import COMMANDS
from headway.edge.control import settings

WAIT = 120


def headway_process(*args, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "headway", *args], stderr=subprocess.PIPE, timeout=WAIT, **kwargs
    )


@pytest.mark.parametrize("args", [[], ["-h"], ["--help"]])
def test_the_first_screen_says_what_headway_does_and_how_to_begin(args, capsys):
    assert main(args) == 0
    said = capsys.readouterr().out
    assert said.startswith("Headway runs learned manipulation policies")
    for command in ("headway doctor", "headway run --report", "headway init my_cell"):
        assert f"\n  {command} " in said
    listed = {line.split()[0] for line in said.splitlines() if line.startswith("  ")}
    assert set(COMMANDS) <= listed
    assert max(map(len, said.splitlines())) < 80


def test_the_release_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"headway {headway.__version__}\n"


@pytest.mark.parametrize("command", [[], *([name, "--help"] for name in COMMANDS)])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_is_readable_on_a_terminal_without_unicode(command, encoding):
    env = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict", "TERM": "dumb"}
    done = headway_process(*command, env=env, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode(encoding)
    assert "headway" in said
    assert "?" not in said


def test_tables_and_errors_are_readable_there_as_well(tmp_path):
    env = os.environ | {"PYTHONIOENCODING": "ascii:strict", "TERM": "dumb"}
    done = headway_process("doctor", env=env, stdout=subprocess.PIPE)
    assert b"UnicodeEncodeError" not in done.stderr
    assert "run is possible here" in done.stdout.decode("ascii")
    done = headway_process("report", str(tmp_path / "größe.mcap"), env=env, stdout=subprocess.PIPE)
    assert done.returncode == 4
    assert "gr??e.mcap" in done.stderr.decode("ascii")


def test_signs_that_have_an_ascii_form_take_it():
    raw = io.BytesIO()
    stream, before = io.TextIOWrapper(raw, encoding="ascii"), sys.stdout
    sys.stdout = stream
    try:
        output.prepare()
        print("╭─┼│ ± … → 3 °C 漢", flush=True)
    finally:
        sys.stdout = before
    assert raw.getvalue() == b"+-+| +- ... -> 3 degC ?\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="wants /dev/full")
@pytest.mark.parametrize("args", [["--version"], [], ["run", "--help"], ["doctor"]])
def test_a_full_disk_under_the_output_is_said_in_one_line(args):
    with open("/dev/full", "w") as full:
        done = headway_process(*args, stdout=full)
    assert done.returncode == 8
    assert done.stderr.decode().splitlines() == [
        "headway: cannot write to the standard output: No space left on device: make room, or "
        "redirect it to where there is some"
    ]


@pytest.mark.parametrize(
    "args", [["--version"], [], ["run", "--help"], ["doctor"], ["doctor", "--json"]]
)
def test_a_reader_that_has_had_enough_is_no_error(args):
    here, there = os.pipe()
    os.close(here)
    try:
        done = headway_process(*args, stdout=there)
    finally:
        os.close(there)
    assert done.stderr == b""
    assert done.returncode == 141  # as of a program that SIGPIPE has ended


def test_without_any_output_a_command_still_does_its_work(tmp_path):
    command = (
        f"{shlex.quote(sys.executable)} -m headway init {shlex.quote(str(tmp_path / 'x'))} >&-"
    )
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, timeout=WAIT)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "x" / "README.md").is_file()


def test_what_somebody_elses_file_says_steers_no_terminal(capsys):
    output.complain("headway: unknown key `\x1b[2J\x9b1m\r`:\n\tremove it")
    assert capsys.readouterr().err == "headway: unknown key `\\x1b[2J\\x9b1m\\x0d`:\n\tremove it\n"


def test_no_file_takes_the_place_of_an_output_that_was_closed(tmp_path):
    """What a library or a child prints would be written into it."""
    script = (
        "import subprocess, sys; from headway import output; output.prepare();"
        "f = open(sys.argv[1], 'w+'); n = f.fileno();"
        "subprocess.run(['sh', '-c', 'echo out; echo err >&2'], check=True);"
        "sys.exit(n < 3 or f.read() != '')"
    )
    words = " ".join(map(shlex.quote, (sys.executable, "-c", script, str(tmp_path / "x"))))
    done = subprocess.run(["sh", "-c", f"{words} <&- >&- 2>&-"], timeout=WAIT)
    assert done.returncode == 0


def test_an_error_of_the_system_that_is_not_the_outputs_is_not_hidden(monkeypatch):
    def broken():
        raise BrokenPipeError(32, "of a device")

    monkeypatch.setitem(COMMANDS, "doctor", broken)
    with pytest.raises(BrokenPipeError, match="of a device"):
        main(["doctor"])


@pytest.mark.parametrize("option", [["--seconds", "3.0"], ["--hz", "1000"]])
def test_how_to_measure_where_nothing_is_measured(option, capsys):
    assert main(["doctor", *option]) == 2
    said = f"{' '.join(option)} is for measuring rates: wanted --rt too, found none"
    assert said in capsys.readouterr().err


def test_a_seed_that_no_scene_has_is_refused(write, tmp_path, capsys):
    assert run(write(), tmp_path / "out", "--seed", -1) == 2
    assert "wanted --seed of at least 0, found -1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "after"),
    [
        (["init", ""], "headway init"),
        (["score", "a.csv", ""], "headway score a.csv"),
        (["score", "a.csv", "--out", ""], "headway score a.csv --out"),
        (["run", "--config="], "--config"),
    ],
)
def test_an_empty_word_is_not_taken_for_this_folder(args, after, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    assert f"wanted a name or value after `{after}`, found an empty one" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "args",
    [
        ["devices", "--host", "a", "--host", "b"],
        ["devices", "--host=a", "--host=b"],
        ["run", "--view-host", "a", "--view_host", "b"],
    ],
)
def test_an_option_that_is_there_twice_is_refused_and_none_of_its_values_lost(args, capsys):
    assert main(args) == 2
    said = capsys.readouterr().err
    assert "host once, found it 2 times" in said
    assert "all of them after it, as in `--" in said


@pytest.mark.parametrize(("module", "args"), [("tyro", ["doctor"]), ("mcap", ["score", "a.csv"])])
def test_ctrl_c_while_modules_are_imported_is_said_in_one_line(module, args, tmp_path):
    (tmp_path / f"{module}.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"PYTHONPATH": path}
    done = headway_process(*args, env=env, stdout=subprocess.PIPE, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr.decode().splitlines() == ["headway: interrupted"]


@pytest.mark.parametrize("command", ["report", "replay", "latency"])
def test_a_named_pipe_is_no_recording(command, tmp_path, capsys):
    pipe = tmp_path / "pipe.mcap"
    os.mkfifo(pipe)
    assert main([command, str(pipe)]) == 4
    assert f"wanted a recording at {pipe}, found no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["serve", "LONG"], "wanted a bundle folder at LONG, found nothing"),
        (["score", "a.csv", "--pro", "LONG"], "wanted a bundle folder at LONG, found nothing"),
        (["score", "a.csv", "--out", "LONG"], "0 of 1 files scored"),
        (["score", "LONG.csv"], "0 of 1 files scored"),
        (["report", "LONG.mcap"], "wanted a recording at LONG.mcap"),
        (["replay", "LONG.mcap"], "wanted a recording at LONG.mcap"),
        (["run", "--config", "LONG.toml"], "cannot read LONG.toml"),
    ],
)
def test_a_name_that_no_file_can_have_is_said(args, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("t,q\n" + "".join(f"{i / 100},{i / 1e4}\n" for i in range(99)))
    long = "x" * 300
    assert main([a.replace("LONG", long) for a in args]) != 0
    captured = capsys.readouterr()
    assert says.replace("LONG", long) in captured.out + captured.err


@pytest.mark.parametrize("path", ["/", ".", ".."])
def test_a_folder_is_no_recording_to_report_on(path, capsys):
    assert main(["report", path]) == 4
    assert f"wanted a recording at {path}" in capsys.readouterr().err


class TestInit:
    def test_it_writes_a_folder_that_loads_and_says_how_to_run_it(self, tmp_path, capsys):
        folder = tmp_path / "my cell"
        assert main(["init", str(folder)]) == 0
        config = folder / "configs" / "pick_place_sim.toml"
        said = capsys.readouterr().out
        assert f"cd '{folder}' && headway run --config configs/pick_place_sim.toml" in said
        assert config.read_bytes() == shipped.CONFIG.read_bytes()
        made = settings.load(config)
        assert made.policy is not None
        assert made.pro is not None
        for name in (made.policy["bundle"], made.pro.bundle):
            assert bundle.load(config.parent / name).manifest
        text = (folder / "README.md").read_text()
        for line in text.splitlines():
            if line.startswith("| `"):
                assert (folder / line.split("`")[1]).exists(), line
        assert not [p for p in folder.rglob("*") if p.is_symlink() or p.name.endswith(".part")]

    def test_what_is_there_is_kept_unless_told_otherwise(self, tmp_path, capsys):
        assert main(["init", str(tmp_path)]) == 0
        config = tmp_path / "configs" / "pick_place_sim.toml"
        config.write_text("# mine\n")
        (tmp_path / "README.md").unlink()
        assert main(["init", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert "configs/pick_place_sim.toml" in said
        assert "--overwrite" in said
        assert config.read_text() == "# mine\n"
        assert not (tmp_path / "README.md").exists()
        assert main(["init", str(tmp_path), "--overwrite"]) == 0
        assert config.read_bytes() == shipped.CONFIG.read_bytes()

    def test_a_place_that_cannot_be_written_is_said(self, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        for place in (tmp_path / "file", tmp_path / ("x" * 300)):
            assert main(["init", str(place)]) == 2
            assert f"cannot write {place}" in capsys.readouterr().err
