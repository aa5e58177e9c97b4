"""`headway run` from the command line: recordings, repeatability, and an exit code for each way in
which it can refuse (see `headway.errors`)."""

from __future__ import annotations

import io
import os
import signal

import numpy as np
import pytest
from null_robot import NO_REALTIME, make_policy, null_table, run
from rich.console import Console

from headway.__main__ import main
from headway.clock import VirtualClock
from headway.edge.control.station import Station
from headway.errors import Busy
from headway.mcapdiff import first_difference
from headway.mcaplog import open_recording
from headway.tools import flags
from headway.tools.flags import Flag
from headway.tools.recorded import result_of
from headway.tools.run import command
from headway.tools.run.command import RunOptions, run_command
from headway.tools.run.panel import Panel


def test_a_run_records_its_episodes_and_says_what_ran(write, both, tmp_path, capsys):
    path, out = write(**both), tmp_path / "out"
    assert run(path, out, "--episodes", 2, "--seed", 4, "--require", "ort", "numpy") == 0
    said = capsys.readouterr().out
    assert "policy tiny on ort (cpu)" in said
    assert "policy in ort, PRO head in ort, features in numpy, guard in " in said
    for seed in (4, 5):
        recording = open_recording(out / f"episode_{seed}.mcap")
        assert recording.end["end"] == "closed"
        facts = recording.metadata
        assert (facts["seed"], facts["policy"], facts["features"]) == (str(seed), "tiny", "numpy")
        assert facts["instruction"] == null_table()["instruction"]
        rows, pro = recording.rows("/telemetry"), recording.rows("/pro")
        assert len(rows) == 651
        assert len(pro) == 66
        np.testing.assert_allclose(pro["progress"], np.arange(1, 67) / 1000, rtol=1e-5)
        np.testing.assert_allclose(pro["time_to_go"], 1000 - np.arange(1, 67), rtol=1e-5)
        # gamma * Phi(t+1) - Phi(t) - lambda * risk, Phi = -time_to_go
        want = -0.99 * pro["time_to_go"][1:] + pro["time_to_go"][:-1] - 0.1 * pro["risk"][1:]
        np.testing.assert_allclose(pro["reward"], [0.0, *want], atol=1e-9)
        timing = np.load(out / f"episode_{seed}.timing.npy")
        assert len(timing) == 651
        assert (timing["pro"] > 0).all()


def test_twice_with_one_seed_is_bit_for_bit_the_same(write, both, tmp_path):
    path = write(**both)
    for name in ("a", "b"):
        assert run(path, tmp_path / name, "--episodes", 2) == 0
    for i in range(2):
        a, b = (tmp_path / n / f"episode_{i}.mcap" for n in ("a", "b"))
        assert first_difference(a, b) == ""
        assert a.stat().st_size > 50_000


def test_the_simulated_cell_is_bit_for_bit_the_same_and_another_seed_is_not(write, both, tmp_path):
    pytest.importorskip("mujoco")
    sim = {"kind": "sim"}
    path = write(cell={}, arm=sim, ft=sim, gripper=sim, **both)
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert run(path, tmp_path / name, "--episodes", 1, "--seed", seed) == 0
    a, b = (tmp_path / n / "episode_7.mcap" for n in ("a", "b"))
    assert first_difference(a, b) == ""
    assert "metadata 'headway' differ" in first_difference(a, tmp_path / "c" / "episode_8.mcap")
    rows = [
        open_recording(tmp_path / n).rows("/telemetry")["q"]
        for n in ("a/episode_7.mcap", "c/episode_8.mcap")
    ]
    assert not np.array_equal(*rows)


def test_a_recording_that_is_there_is_kept_unless_told_otherwise(write, tmp_path, capsys):
    path, out = write(), tmp_path / "out"
    assert run(path, out, "--episodes", 1) == 0
    before = (out / "episode_0.mcap").read_bytes()
    assert run(path, out, "--episodes", 1) == 4
    assert "choose another name or overwrite it" in capsys.readouterr().err
    assert (out / "episode_0.mcap").read_bytes() == before
    assert run(path, out, "--episodes", 1, "--overwrite") == 0


def test_a_second_run_on_the_same_recording_is_busy(write, tmp_path, monkeypatch):
    """The second one starts while the first one records."""
    path, out = write(), tmp_path / "out"
    codes = []
    usual = command.record_episode

    def during(loop, *args, **kwargs):
        run_loop = loop.episode

        def episode(*a):
            monkeypatch.setattr(command, "record_episode", usual)
            codes.append(run(path, out, "--episodes", 1, "--overwrite"))
            return run_loop(*a)

        loop.episode = episode
        return usual(loop, *args, **kwargs)

    monkeypatch.setattr(command, "record_episode", during)
    assert run(path, out, "--episodes", 1) == 0
    assert codes == [Busy.exit_code]
    assert open_recording(out / "episode_0.mcap").end["end"] == "closed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGXCPU])
def test_a_signal_ends_the_run_cleanly(write, tmp_path, monkeypatch, capsys, number):
    usual = command.record_episode
    before = signal.getsignal(number)

    def during(loop, *args, **kwargs):
        run_loop = loop.episode

        def episode(instruction, log):
            os.kill(os.getpid(), number)
            return run_loop(instruction, log)

        loop.episode = episode
        return usual(loop, *args, **kwargs)

    monkeypatch.setattr(command, "record_episode", during)
    assert run(write(), tmp_path / "out", "--episodes", 5) == 130
    assert signal.getsignal(number) is before
    assert "what was recorded is complete and closed" in capsys.readouterr().out
    files = sorted(p.name for p in (tmp_path / "out").glob("*.mcap"))
    assert files == ["episode_0.mcap"]
    result = result_of(open_recording(tmp_path / "out" / files[0]))
    assert (result.end, result.success) == ("interrupted", None)


def test_after_a_fault_no_further_episode_begins(write, tmp_path, bundles, capsys):
    make_policy(tmp_path / "bad", np.full((6, 7), np.nan))
    code = run(write(policy={"bundle": "bad"}), tmp_path / "out", "--episodes", 5)
    assert code == 1
    assert len(list((tmp_path / "out").glob("*.mcap"))) == 1
    assert "NOT_FINITE" in capsys.readouterr().out


def test_in_real_time_the_same_configuration_runs_beside_threads(write, both, tmp_path):
    """A quarter of a second on the wall clock; how punctual it was is a benchmark's question."""
    table = null_table()["task"] | {"limit_s": 0.25}
    loop = {"tare_s": 0.01, "max_age_s": 5.0, "camera_max_age_s": 5.0}
    path = write(task=table, loop=loop, realtime=NO_REALTIME, **both)
    assert run(path, tmp_path / "out", "--episodes", 1, "--realtime") == 0
    recording = open_recording(tmp_path / "out" / "episode_0.mcap")
    assert recording.metadata["clock"] == "wall"
    assert len(recording.rows("/timing")) == len(recording.rows("/telemetry")) > 1
    assert not (tmp_path / "out" / "episode_0.timing.npy").exists()


def test_the_live_panel_shows_the_episode_and_its_signals(write, both, tmp_path, monkeypatch):
    panels = []
    usual = Panel.__exit__

    def leave(self, *args):
        console = Console(file=io.StringIO(), width=80)
        console.print(self.table())
        panels.append(console.file.getvalue())
        usual(self, *args)

    monkeypatch.setattr(Panel, "__exit__", leave)
    monkeypatch.setattr(command, "Console", lambda: Console(file=io.StringIO()))
    code = run_command(write(**both), RunOptions(out=tmp_path / "out", panel=True))
    assert code == 0
    for text in ("1.3 s of 1.3 s", "act", "risk 0.", "progress 0.07", "TCP [m]", "jaws [mm]"):
        assert text in panels[0]


def test_a_panel_before_the_first_episode_says_so(null_settings):
    from headway.edge.control.loop import Loop

    loop = Loop(Station(null_settings(), VirtualClock()), None, None)
    console = Console(file=io.StringIO(), width=80)
    console.print(Panel(loop, console).table())
    assert "starting" in console.file.getvalue()


def test_the_report_is_written_beside_the_recording(write, both, tmp_path):
    assert run(write(**both), tmp_path / "out", "--episodes", 1, "--report") == 0
    pages = list((tmp_path / "out").glob("*.html"))
    assert len(pages) == 1
    assert "<html" in pages[0].read_text()


def test_flags_go_with_the_recording_that_is_replaced(write, both, tmp_path, capsys):
    path, out = write(**both), tmp_path / "out"
    assert run(path, out, "--episodes", 2) == 0
    for seed in (0, 1):
        flags.add(out / f"episode_{seed}.mcap", (Flag(0.4, "the item slipped"),))
    capsys.readouterr()
    assert run(path, out, "--episodes", 1, "--seed", 1, "--overwrite", "--report") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "removed episode_1.mcap.flags.json, the flags of the recording that was here" in said
    assert flags.flags_of(out / "episode_1.mcap") == ()
    assert "the item slipped" not in (out / "episode_1.html").read_text()
    assert len(flags.flags_of(out / "episode_0.mcap")) == 1  # which was not replaced


def test_a_report_that_cannot_be_written_does_not_end_the_run(write, both, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "episode_0.html").mkdir(parents=True)
    assert run(write(**both), out, "--episodes", 2, "--report") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"wanted to write the report to {out / 'episode_0.html'}: Is a directory" in said
    assert (out / "episode_1.html").is_file()
    assert open_recording(out / "episode_1.mcap").end["end"] == "closed"


def test_an_option_that_is_not_known_is_a_mistake_of_use(capsys):
    with pytest.raises(SystemExit) as e:
        main(["run", "--nonsense"])
    assert e.value.code == 2
    assert "--nonsense" in capsys.readouterr().err
