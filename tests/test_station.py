"""Devices are opened, held against other processes, and closed, whatever one of them does."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import types

import pytest
from null_robot import null_table, run

from headway import config, plugins
from headway.clock import VirtualClock
from headway.drivers.lock import DeviceLock, folder
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.errors import Busy, DeviceError
from headway.types import Info


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

    def test_a_device_may_have_any_name_that_a_file_has(self):
        with DeviceLock(Info("real", uri=os.fsdecode(b"/dev/tty\xff"))) as lock:
            assert lock.path.is_file()

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

    @pytest.mark.parametrize("call", ["fcntl.flock", "os.pwrite"])
    def test_what_cannot_be_locked_or_written_says_so_and_leaves_no_descriptor(
        self, monkeypatch, call
    ):
        def fails(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        before = os.listdir("/proc/self/fd")
        monkeypatch.setattr(f"headway.drivers.lock.{call}", fails)
        with (
            pytest.raises(DeviceError, match=r"wanted to lock .*: No locks available"),
            DeviceLock(self.INFO),
        ):
            pass
        assert len(os.listdir("/proc/self/fd")) == len(before)

    def test_the_folder_is_this_users_own(self, monkeypatch, tmp_path):
        assert folder().stat().st_mode & 0o77 == 0
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        assert folder() == tmp_path / f"headway-{os.getuid()}"
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        folder().rmdir()
        (tmp_path / f"headway-{os.getuid()}").symlink_to(elsewhere)
        with pytest.raises(DeviceError, match=r"a folder of this user at .*found a symbolic link"):
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
