"""`headway run` from the command line: recordings, repeatability, and an exit code for each way in
which it can refuse (see `headway.errors`)."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import signal
import types

import numpy as np
import pytest
import tomli
from null_robot import make_policy, make_pro, null_table
from rich.console import Console

from headway import config, plugins
from headway.__main__ import main
from headway.clock import VirtualClock
from headway.drivers.lock import DeviceLock, folder
from headway.edge import command
from headway.edge.command import run_command
from headway.edge.settings import Settings
from headway.edge.station import Station
from headway.edge.view import View
from headway.errors import Busy, DeviceError
from headway.kernels import spec
from headway.mcaplog import open_recording
from headway.types import Info


def toml(value):
    """A TOML inline value; enough for a configuration."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@pytest.fixture
def write(tmp_path):
    """Write a configuration of null devices, with sections replaced; returns its path."""

    def write(**changes):
        path = tmp_path / "robot.toml"
        table = null_table(**changes)
        path.write_text("".join(f"{k} = {toml(v)}\n" for k, v in table.items()))
        assert tomli.loads(path.read_text()) == table
        return path

    return write


@pytest.fixture
def both(bundles):
    return {
        "policy": {"bundle": str(bundles / "policy")},
        "pro": {"bundle": str(bundles / "pro"), "features": "numpy"},
    }


def run(path, out, *args):
    return main(["run", "--config", str(path), "--out", str(out), *map(str, args)])


def test_a_run_records_its_episodes_and_says_what_ran(write, both, tmp_path, capsys):
    path, out = write(**both), tmp_path / "out"
    assert run(path, out, "--episodes", 2, "--seed", 4, "--require", "ort", "numpy") == 0
    said = capsys.readouterr().out
    assert "policy tiny on ort (cpu)" in said
    assert "PRO tiny pro on ort (cpu), features on numpy" in said
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
        a, b = ((tmp_path / n / f"episode_{i}.mcap").read_bytes() for n in ("a", "b"))
        assert a == b
        assert len(a) > 50_000


def test_the_simulated_cell_is_bit_for_bit_the_same_and_another_seed_is_not(write, both, tmp_path):
    pytest.importorskip("mujoco")
    sim = {"kind": "sim"}
    path = write(cell={}, arm=sim, ft=sim, gripper=sim, **both)
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert run(path, tmp_path / name, "--episodes", 1, "--seed", seed) == 0
    a, b = ((tmp_path / n / "episode_7.mcap").read_bytes() for n in ("a", "b"))
    assert a == b
    rows = [
        open_recording(tmp_path / n).rows("/telemetry")["q"]
        for n in ("a/episode_7.mcap", "c/episode_8.mcap")
    ]
    assert not np.array_equal(*rows)


class TestRefusals:
    """Each with its exit code, before anything moves; nothing is left in the output folder."""

    @pytest.fixture
    def refused(self, tmp_path, capsys):
        def refused(path, *args, code, says):
            assert run(path, tmp_path / "out", *args) == code
            error = capsys.readouterr().err
            assert error.startswith("headway: ")
            assert says in error, error
            assert not list((tmp_path / "out").glob("*"))

        return refused

    def test_unknown_key(self, write, refused):
        path = write(loop={"hzz": 500.0})
        refused(path, code=2, says=f"{path}: unknown key `loop.hzz`: did you mean `loop.hz`?")

    def test_unknown_key_of_a_device(self, write, refused):
        path = write(arm={"kind": "null", "rate": 500.0})
        refused(path, code=2, says="[arm]: unknown key `rate`: did you mean `rate_hz`?")

    def test_unknown_kind_and_none(self, write, refused):
        refused(write(ft={"kind": "nul"}), code=2, says="did you mean `null`?")
        refused(write(ft={}), code=2, says="[ft] wants a key `kind`")

    def test_no_configuration(self, tmp_path, refused):
        refused(tmp_path / "none.toml", code=2, says="wanted a configuration at")

    @pytest.mark.parametrize("episodes", [0, -3])
    def test_episodes(self, write, refused, episodes):
        refused(write(), "--episodes", episodes, code=2, says="--episodes of at least 1")

    def test_missing_bundle(self, write, refused, tmp_path):
        path = write(policy={"bundle": "models/none"})
        refused(path, code=3, says=f"wanted a bundle folder at {tmp_path / 'models/none'}")

    def test_corrupt_bundle(self, write, refused, bundles, tmp_path):
        broken = tmp_path / "broken"
        shutil.copytree(bundles / "policy", broken)
        data = bytearray((broken / "p.onnx").read_bytes())
        data[len(data) // 2] ^= 1
        (broken / "p.onnx").write_bytes(data)
        refused(write(policy={"bundle": "broken"}), code=3, says="p.onnx was altered")

    def test_policy_where_pro_belongs(self, write, refused, bundles):
        swapped = {"bundle": str(bundles / "policy")}
        refused(write(pro=swapped), code=3, says="wanted a bundle of kind pro, found policy")
        swapped = {"bundle": str(bundles / "pro")}
        refused(write(policy=swapped), code=3, says="wanted a bundle of kind policy, found pro")

    def test_bundle_of_another_feature_spec(self, write, refused, tmp_path):
        make_pro(tmp_path / "old", spec_hash="0" * 64)
        says = f"wants PRO spec 000000000000, kernels provide {spec.spec_hash()[:12]}"
        refused(write(pro={"bundle": "old"}), code=3, says=says)

    def test_bundle_of_another_rate(self, write, refused, tmp_path):
        make_pro(tmp_path / "slow", rate_hz=25.0)
        refused(write(pro={"bundle": "slow"}), code=3, says="trained at 25.0 Hz")

    def test_camera_of_another_size(self, write, tmp_path, bundles, capsys):
        camera = [{"kind": "null", "name": "wrist", "width": 32, "height": 24}]
        path = write(camera=camera, policy={"bundle": str(bundles / "policy")})
        assert run(path, tmp_path / "out", "--episodes", 1) == 1  # a fault of the first episode
        said = " ".join(capsys.readouterr().out.split())
        assert "wants 16x16 from camera wrist, found 32x24" in said
        assert "(fault, 0.2 s" in said

    def test_camera_that_is_not_there(self, write, refused, bundles):
        path = write(camera=[], policy={"bundle": str(bundles / "policy")})
        refused(path, code=2, says="wants camera `wrist`, found none")

    def test_instruction_that_was_not_taught(self, write, tmp_path, both, capsys):
        path = write(instruction="put the rde item in the tote", **both)
        assert run(path, tmp_path / "out") == 3
        assert "did you mean 'put the red item in the tote'?" in capsys.readouterr().err
        log = open_recording(tmp_path / "out" / "episode_0.mcap").logs("/log")
        assert any("was not taught" in line.text for line in log)

    def test_requirement_that_is_not_met(self, write, refused, both):
        path = write(**both)
        refused(path, "--require", "tensorrt", code=5, says="--require tensorrt: this run would")
        both["pro"]["features"] = "numpy"
        refused(path, "--require", "cpp", code=5, says="features on numpy")

    def test_simulated_devices_without_a_cell(self, write, refused):
        refused(write(arm={"kind": "sim"}), code=2, says="want a [cell] section")

    def test_output_that_is_no_folder(self, write, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert run(write(), tmp_path / "file") == 4
        assert "wanted a folder for recordings at" in capsys.readouterr().err


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


class TestDeviceLock:
    INFO = Info("real", "real arm", "SN7", uri="tcp://192.0.2.7")

    @pytest.fixture(autouse=True)
    def runtime(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))

    def test_one_holder_at_a_time_named_by_its_pid(self):
        with DeviceLock(self.INFO):
            with (
                pytest.raises(Busy, match=f"real arm at tcp://192.0.2.7.*process {os.getpid()} "),
                DeviceLock(self.INFO),
            ):
                pass
            with DeviceLock(Info("real", uri="tcp://192.0.2.8")):  # another device
                pass
        with DeviceLock(self.INFO):
            pass

    def test_a_holder_that_is_killed_leaves_nothing_behind(self):
        context = multiprocessing.get_context("fork")
        ready = context.Event()

        def hold():
            with DeviceLock(self.INFO):
                ready.set()
                signal.pause()

        holder = context.Process(target=hold)
        holder.start()
        assert ready.wait(20)
        with pytest.raises(Busy, match=f"process {holder.pid} holds it"), DeviceLock(self.INFO):
            pass
        holder.kill()
        holder.join(20)
        with DeviceLock(self.INFO):
            pass

    def test_the_folder_is_this_users_own(self, monkeypatch, tmp_path):
        assert folder().stat().st_mode & 0o77 == 0
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        assert folder() == tmp_path / f"headway-{os.getuid()}"
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        folder().rmdir()
        (tmp_path / f"headway-{os.getuid()}").symlink_to(elsewhere)
        with pytest.raises(DeviceError, match="wanted a folder of this user"):
            folder()

    @pytest.fixture
    def real(self, monkeypatch):
        """A kind `real` of arms, as a third party would add it: with an address."""
        from headway.drivers.arms import null

        made = []

        def connect(cfg, ctx):
            arm = null.connect(cfg, ctx)
            arm.info = self.INFO
            made.append(arm)
            return arm

        module = types.ModuleType("third_party")
        module.Config, module.connect = null.Config, connect
        usual = plugins.load
        monkeypatch.setattr(
            plugins, "load", lambda f, kind: module if kind == "real" else usual(f, kind)
        )
        return made

    def test_a_second_run_on_the_same_device_is_busy_and_opens_nothing(
        self, real, write, tmp_path, capsys
    ):
        path = write(arm={"kind": "real"})
        with Station(
            config.decode(null_table(arm={"kind": "real"}), Settings, "x"), VirtualClock()
        ):
            assert run(path, tmp_path / "out") == Busy.exit_code == 5
            assert f"process {os.getpid()} holds it" in capsys.readouterr().err
            assert [arm.health().state for arm in real] == ["ok", "closed"]
        assert run(path, tmp_path / "out", "--episodes", 1) == 0
        assert real[-1].health().state == "closed"

    def test_a_station_that_cannot_open_a_device_closes_the_others_and_lets_go(self, real):
        station = Station(
            config.decode(null_table(arm={"kind": "real"}), Settings, "x"), VirtualClock()
        )

        def fails(timeout_s):
            raise DeviceError("no sensor")

        station.ft.source.open = fails
        with pytest.raises(DeviceError, match="no sensor"), station:
            pass
        assert real[0].health().state == "closed"
        with DeviceLock(self.INFO):
            pass


def test_a_device_that_fails_to_close_hides_no_error_and_keeps_no_other_open():
    station = Station(config.decode(null_table(), Settings, "x"), VirtualClock())

    def fails():
        raise DeviceError("stuck")

    station.ft.source.close = fails
    with pytest.raises(ValueError, match="what happened"), station:
        raise ValueError("what happened")
    assert station.arm_device.health().state == "closed"
    with pytest.raises(DeviceError, match="stuck"), station:
        pass
    assert station.arm_device.health().state == station.gripper.health().state == "closed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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
    assert (
        '"end": "interrupted"'
        in list(open_recording(tmp_path / "out" / files[0]).logs("/log"))[-1].text
    )


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
    path = write(task=table, loop=loop, **both)
    assert run(path, tmp_path / "out", "--episodes", 1, "--realtime") == 0
    recording = open_recording(tmp_path / "out" / "episode_0.mcap")
    assert recording.metadata["clock"] == "wall"
    assert len(recording.rows("/timing")) == len(recording.rows("/telemetry")) > 1
    assert not (tmp_path / "out" / "episode_0.timing.npy").exists()


def test_the_live_panel_shows_the_episode_and_its_signals(write, both, tmp_path, monkeypatch):
    panels = []
    usual = View.__exit__

    def leave(self, *args):
        console = Console(file=io.StringIO(), width=80)
        console.print(self.panel())
        panels.append(console.file.getvalue())
        usual(self, *args)

    monkeypatch.setattr(View, "__exit__", leave)
    monkeypatch.setattr(command, "Console", lambda: Console(file=io.StringIO()))
    code = run_command(write(**both), 1, 0, tmp_path / "out", False, True, False, False, ())
    assert code == 0
    for text in ("1.3 s of 1.3 s", "approach", "risk 0.", "progress 0.07", "TCP [m]", "jaws [mm]"):
        assert text in panels[0]


def test_a_panel_before_the_first_episode_says_so(null_settings):
    from headway.edge.loop import Loop

    loop = Loop(Station(null_settings(), VirtualClock()), None, None)
    console = Console(file=io.StringIO(), width=80)
    console.print(View(loop, console).panel())
    assert "starting" in console.file.getvalue()


def test_the_report_is_written_beside_the_recording(write, both, tmp_path):
    assert run(write(**both), tmp_path / "out", "--episodes", 1, "--report") == 0
    pages = list((tmp_path / "out").glob("*.html"))
    assert len(pages) == 1
    assert "<html" in pages[0].read_text()


def test_the_command_line_knows_its_commands(capsys):
    with pytest.raises(SystemExit) as e:
        main(["run", "--nonsense"])
    assert e.value.code == 2
    with pytest.raises(SystemExit) as e:
        main(["--help"])
    assert e.value.code == 0
    assert {"run", "doctor", "replay", "score", "report"} <= set(capsys.readouterr().out.split())
