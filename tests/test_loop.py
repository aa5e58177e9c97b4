"""Whatever goes wrong in an episode: what reaches the arm stays finite and inside its limits, the
arm is stopped, and the recording is complete and says why."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal

import numpy as np
import pytest
from loop_rig import TABLES, WHEN, Policy, Rig, check_log
from msgspec import structs
from null_robot import null_table

from headway.clock import NS, VirtualClock
from headway.edge.control.log import EpisodeLog
from headway.errors import ArmStopped, CommandRejected, DeviceError, RecordingError, Stale
from headway.mcaplog import open_recording
from headway.types import Wrench

on_both = pytest.mark.parametrize("table", TABLES, indirect=True)


@pytest.fixture
def table(request):
    return TABLES[getattr(request, "param", "null")]()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "e.mcap"


@on_both
def test_an_episode_that_goes_well_runs_to_its_time_limit(table, path):
    rig = Rig(table, Policy())
    result = rig.run(path)
    assert (result.end, result.why, result.rejected, result.missed) == ("time limit", "", 0, 0)
    assert result.ticks == 651
    rig.check_arm()
    recording = check_log(path, end="time limit")
    np.testing.assert_array_equal(recording.rows("/command")["sent"], rig.sent)
    assert len(recording.rows("/chunk")) == 13
    assert len(recording.rows("/telemetry")) == 651


def raises(_):
    raise RuntimeError("out of GPU memory")


@pytest.mark.parametrize(
    ("then", "says"),
    [
        (lambda a: a * np.nan, ("NOT_FINITE",)),
        (lambda a: a + np.float32(np.inf), ("NOT_FINITE",)),
        (lambda a: a[:, :6], ("the last chunk", "wanted a chunk of actions (6, 7)", "(6, 6)")),
        (lambda a: a[:3], ("the last chunk", "wanted a chunk of actions (6, 7)", "(3, 7)")),
        (lambda a: a.astype(str), ("the last chunk", "the policy failed: SpecMismatch")),
        (lambda a: None, ("the last chunk", "the policy failed: SpecMismatch")),
        (raises, ("the last chunk", "the policy failed: RuntimeError: out of GPU memory")),
    ],
)
def test_a_policy_that_goes_bad_ends_the_episode_as_a_fault(table, path, then, says):
    rig = Rig(table, Policy(then))
    result = rig.run(path)
    assert result.end == "fault"
    assert all(text in result.why for text in says)
    # the chunk before WHEN is played to its end, then comes fault_after_s
    assert WHEN + 0.2 < result.seconds < WHEN + 0.2 + 0.7
    rig.check_arm()
    rig.check_came_to_rest()
    check_log(path, *says, "error: fault: ")


@on_both
def test_a_policy_that_leaps_is_rejected_and_may_go_on(table, path):
    rig = Rig(table, Policy(lambda a: a + 0.3))
    result = rig.run(path)
    assert result.end == "time limit"
    assert result.rejected > 50
    rig.check_arm()
    check_log(path, "warning: guard: ")


def test_a_policy_that_never_answers_is_a_fault(table, path):
    rig = Rig(table, Policy(), latency_s=1e6)
    result = rig.run(path)
    assert (result.end, result.seconds) == ("fault", pytest.approx(0.2))
    assert result.why == "no chunk yet"
    rig.check_arm()
    check_log(path, "error: fault: no chunk yet")


def nan_wrench(usual):
    return lambda: Wrench(np.full(3, np.nan), usual().torque)


def nan_joints(usual):
    return lambda: structs.replace(usual(), q=np.full(6, np.nan))


def no_orientation(usual):
    def sample():
        state = usual()
        pose = structs.replace(state.tcp, quat=np.zeros(4))
        return structs.replace(state, tcp=pose)

    return sample


def nan_width(usual):
    return lambda: structs.replace(usual(), width=float("nan"))


def invalid(usual):
    return lambda timeout_s: structs.replace(usual(timeout_s), valid=False, flags=("saturated",))


def fails(error):
    def replacement(usual):
        def call(*_, **__):
            raise error

        return call

    return replacement


@pytest.mark.parametrize(
    ("device", "method", "replacement", "says"),
    [
        ("arm", "sample", nan_joints, ("BAD_STATE", "nan")),
        ("arm", "read", fails(Stale("no packet")), ("sample of arm", "no packet")),
        ("arm", "read", fails(DeviceError("link down")), ("sample of arm", "link down")),
        ("arm", "sample", no_orientation, ("the arm gives the TCP orientation 0, 0, 0, 0",)),
        ("arm", "read", invalid, ("arm: invalid sample", "saturated")),
        ("ft", "sample", nan_wrench, ("wants wrench.fz, which no sensor gives",)),
        ("ft", "read", fails(Stale("no frame")), ("NO_WRENCH", "F/T sensor", "no frame")),
        ("ft", "read", fails(OSError("EIO")), ("NO_WRENCH", "OSError: EIO")),
        ("gripper", "sample", nan_width, ("the last chunk", "wants gripper.width, which")),
        ("gripper", "read", fails(Stale("no reply")), ("the last chunk", "gripper", "no reply")),
        ("camera", "read", fails(DeviceError("USB gone")), ("the last chunk", "wrist", "USB gone")),
        (
            "camera",
            "read",
            fails(Stale("no frame")),
            ("the last chunk", "camera wrist", "no frame"),
        ),
    ],
)
def test_a_sensor_that_fails_for_good_ends_the_episode_as_a_fault(
    table, path, device, method, replacement, says
):
    rig = Rig(table, Policy())
    source = rig.station.cameras["wrist"] if device == "camera" else getattr(rig.station, device)
    rig.after(WHEN, source.source, method, replacement)
    result = rig.run(path)
    assert result.end == "fault"
    assert all(text in result.why for text in says), result.why
    rig.check_arm()
    rig.check_came_to_rest()
    assert len(check_log(path, "error: fault: ").rows("/telemetry")) == result.ticks


@on_both
@pytest.mark.parametrize("device", ["arm", "ft"])
def test_a_sensor_that_comes_back_lets_the_episode_go_on(table, path, device):
    rig = Rig(table, Policy())
    source = getattr(rig.station, device).source
    rig.after(WHEN, source, "read", fails(DeviceError("link down")))
    rig.after(WHEN + 0.15, source, "read", lambda _: type(source).read.__get__(source))
    result = rig.run(path)
    assert (result.end, result.why) == ("time limit", "")
    rig.check_arm()
    check_log(path, "link down")


def test_a_sensor_that_is_not_well_at_rest_is_an_error_before_anything_moves(table, path):
    rig = Rig(table, Policy())
    sample = rig.station.ft.source.sample
    rig.station.ft.source.sample = nan_wrench(sample)
    with pytest.raises(DeviceError, match="wanted finite wrenches of an arm at rest"):
        rig.run(path)
    assert rig.sent == []
    assert rig.calls == ["stop"]
    check_log(path, "fatal: DeviceError: wanted finite wrenches")


def test_an_arm_outside_its_limits_does_not_start(path):
    rig = Rig(null_table(arm={"kind": "null", "q": [7.0, -1.9, 1.9, -1.57, -1.57, 0.0]}), Policy())
    with pytest.raises(CommandRejected, match="joint 0"):
        rig.run(path)
    assert rig.calls == ["stop"]
    check_log(path, "fatal: CommandRejected")


@on_both
def test_a_protective_stop_ends_the_episode(table, path):
    rig = Rig(table, Policy())
    stopped = lambda usual: lambda: structs.replace(usual(), protective_stop=True)  # noqa: E731
    rig.after(WHEN, rig.arm, "sample", stopped)
    result = rig.run(path)
    assert (result.end, result.seconds) == ("protective stop", pytest.approx(WHEN))
    rig.check_arm()
    check_log(path, "guard: PROTECTIVE_STOP", end="protective stop")


@on_both
def test_an_arm_that_refuses_a_command_since_it_was_stopped_ends_the_episode(table, path):
    """Before a sample says so: drivers know it earlier."""
    rig = Rig(table, Policy())
    rig.after(WHEN, rig.arm, "command", fails(ArmStopped("the arm is in protective stop")))
    result = rig.run(path)
    assert (result.end, result.why) == ("protective stop", "the arm is in protective stop")
    assert result.seconds == pytest.approx(WHEN)
    rig.check_arm()
    check_log(path, "protective stop: the arm is in", end="protective stop")


@on_both
def test_a_request_to_stop_ends_the_episode(table, path):
    rig = Rig(table, Policy(lambda a: setattr(rig.loop, "stop_requested", True) or a))
    result = rig.run(path)
    # the policy has its turn halfway between two of PRO's
    assert (result.end, result.seconds) == ("interrupted", pytest.approx(WHEN + 0.01))
    rig.check_arm()
    check_log(path, end="interrupted")


@pytest.mark.parametrize("error", [DeviceError("connection lost"), ValueError("a bug")])
def test_an_arm_that_refuses_a_command_is_stopped_and_the_error_shown(table, path, error):
    rig = Rig(table, Policy())
    rig.after(WHEN, rig.arm, "command", fails(error))
    with pytest.raises(type(error), match=str(error)):
        rig.run(path)
    rig.check_arm()
    check_log(path, f"fatal: {type(error).__name__}: {error}")


def test_an_arm_that_does_not_take_the_stop_hides_nothing(path):
    rig = Rig(null_table(), Policy())
    rig.after(WHEN, rig.arm, "command", fails(DeviceError("connection lost")))
    rig.after(WHEN, rig.arm, "stop", fails(DeviceError("really lost")))
    rig.after(WHEN, rig.arm, "close", fails(DeviceError("not closed either")))
    with pytest.raises(DeviceError, match="connection lost"):
        rig.run(path)
    check_log(path, "fatal: DeviceError: connection lost", "did not take the stop: really lost")


def test_interrupts_stop_the_arm_and_leave_the_collector_as_it_was(path):
    rig = Rig(null_table(), Policy())
    rig.after(WHEN, rig.arm, "sample", fails(KeyboardInterrupt()))
    assert gc.isenabled()
    with pytest.raises(KeyboardInterrupt):
        rig.run(path)
    assert gc.isenabled()
    rig.check_arm()
    check_log(path, "fatal: KeyboardInterrupt")


def test_nothing_is_collected_once_the_arm_is_active(path, monkeypatch):
    """A collection holds the interpreter, and an arm that hears nothing for 0.1 s stops itself."""
    rig = Rig(null_table(), Policy())
    order = []
    monkeypatch.setattr(VirtualClock, "realtime", True)
    monkeypatch.setattr("headway.edge.control.loop.gc.collect", lambda: order.append("collect"))
    activate = rig.arm.activate

    def spy():
        order.append(f"activate, collector on: {gc.isenabled()}")
        activate()
        raise KeyboardInterrupt

    rig.arm.activate = spy
    with pytest.raises(KeyboardInterrupt):
        rig.run(path)
    assert order == ["collect", "activate, collector on: False"]
    assert gc.isenabled()


@pytest.fixture
def recorders(monkeypatch):
    """The recorders that are made."""
    made = []

    class Log(EpisodeLog):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self.recorder)

    monkeypatch.setattr("headway.edge.control.runner.EpisodeLog", Log)
    return made


@pytest.mark.parametrize("how", ["killed", "full"])
def test_without_a_recorder_the_arm_is_stopped_before_the_error_surfaces(
    table, path, how, recorders
):
    struck = []

    def strike(actions):
        writer = recorders[0].writer_pid
        with contextlib.suppress(RecordingError):  # later: the loop is to find it by itself
            recorders[0].flush()  # a first piece is in the file, or what was to come cannot be
        if not struck:
            struck.append(writer)
            if how == "killed":
                os.kill(writer, signal.SIGKILL)
            else:  # the file may not grow any more: what a full disk does
                size = path.stat().st_size + 1000
                resource.prlimit(writer, resource.RLIMIT_FSIZE, (size, size))
        return actions

    rig = Rig(table, Policy(strike, when=0.6))
    says = r"ended with signal 9" if how == "killed" else "File too large.*free space"
    with pytest.raises(RecordingError, match=says):
        rig.run(path)
    rig.check_arm()
    assert 300 < len(rig.sent) < 651  # pieces are written every 0.5 s
    recording = open_recording(path)
    assert recording.truncated
    rows = recording.rows("/command")
    np.testing.assert_array_equal(rows["sent"], rig.sent[: len(rows)])


def test_a_recorder_that_fails_does_not_hide_what_went_wrong_first(path, recorders):
    rig = Rig(null_table(), Policy())

    def both(*_, **__):
        os.kill(recorders[0].writer_pid, signal.SIGKILL)
        raise DeviceError("power lost")

    rig.after(WHEN, rig.arm, "command", lambda _: both)
    with pytest.raises(DeviceError, match="power lost"):
        rig.run(path)
    rig.check_arm()


def test_without_a_policy_the_arm_holds_and_that_is_no_fault(path):
    rig = Rig(null_table(), None)
    result = rig.run(path)
    assert result.end == "time limit"
    rig.check_arm()
    assert np.ptp(rig.sent, axis=0).max() == 0.0


def test_a_jaw_command_only_comes_with_a_number(path):
    """From WHEN on the policy's grip is NaN: the jaws that it had closed stay closed."""

    class Closing(Policy):
        def infer(self, obs):
            chunk = super().infer(obs)
            chunk.actions[:, 6] = np.nan if obs.t_ns - self.first_ns >= WHEN * NS else 1.0
            return chunk

    rig = Rig(null_table(), Closing())
    assert rig.run(path).end == "fault"
    widths = open_recording(path).rows("/telemetry")["width_ref"]
    assert widths[0] == rig.station.stroke
    assert (widths[100:] == 0.0).all()


def test_a_grip_far_outside_its_range_is_refused_and_the_motion_goes_on(path):
    """From WHEN on the policy's grip is -5: the jaws that it had closed stay closed, and the log
    says so once a second."""

    def far(actions):
        actions[:, 6] = -5.0
        return actions

    class Closing(Policy):
        def infer(self, obs):
            chunk = super().infer(obs)
            chunk.actions[:, 6] += 1.0 if chunk.actions[0, 6] == 0.0 else 0.0
            return chunk

    rig = Rig(null_table(), Closing(far))
    result = rig.run(path)
    assert (result.end, result.rejected) == ("time limit", 0)
    recording = check_log(path, "warning: guard: GRIP: grip of -5, allowed -0.25..1.25")
    assert (recording.rows("/telemetry")["width_ref"][100:] == 0.0).all()
    assert sum("GRIP" in line.text for line in recording.logs("/log")) == 1  # the episode is 1.3 s
