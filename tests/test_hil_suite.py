"""The conformance suite finds each promise that is broken, and none that is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import hil_devices as devices
import pytest
from msgspec import structs

from headway import plugins
from headway.child import environment
from headway.errors import ConfigError, Missing
from headway.hil import partners
from headway.hil.partners import recordings
from headway.hil.proxy.faults import APPLIES
from headway.hil.proxy.process import ProxyProcess
from headway.hil.pytest_plugin import Bench
from headway.hil.suite import command, outputs, robots, runner
from headway.hil.suite.promises import PROMISES
from headway.hil.suite.results import QUICK, Result
from headway.hil.suite.subject import Subject

# No verdict of these tests hangs on how fast the machine is.
BOUNDS = structs.replace(
    QUICK,
    window_s=0.3,
    rate_share=0.9,
    periods=50.0,
    slack_s=5.0,
    latency_s=5.0,
    cycles=10,
    tries=2,
)
BY_NAME = {p.name: p for p in PROMISES}


def verdict(subject, promise, bounds=BOUNDS):
    with subject:
        return runner.check(subject, BY_NAME[promise], bounds)


def broken(subject, promise, words):
    result = verdict(subject, promise)
    assert result.verdict == "broken", result
    assert words in result.said, result.said


@pytest.mark.parametrize("folder", ["arms", "ft", "grippers", "cameras", "stations"])
def test_null_devices_keep_what_they_promise(folder):
    table = {"rate_hz": 50.0} | ({"servo_rad_s": 60.0} if folder == "arms" else {})
    with Subject(folder, "null", table) as subject:
        results = list(runner.run(subject, BOUNDS))
    assert [r for r in results if r.verdict == "broken"] == []
    kept = {r.promise for r in results if r.verdict == "kept"}
    assert kept >= {"identity", "lifecycle", "rate", "stamps", "leaks"}
    if folder == "arms":
        assert kept >= {"reactivation", "limits", "latency", "stops", "power off"}


def test_the_simulated_arm_keeps_what_it_promises():
    pytest.importorskip("mujoco", reason="the simulated cell is MuJoCo's")
    with next(s for s in robots.of_all() if getattr(s, "name", "") == "arms sim") as subject:
        results = list(runner.run(subject, BOUNDS, ("identity", "lifecycle", "limits")))
    assert [r.verdict for r in results] == ["kept"] * 3, results


def test_a_sample_that_is_stamped_anew_is_found():
    broken(devices.sensor(devices.ReStamps), "stamps", "stamped anew")


def test_a_stamp_that_may_be_off_by_a_minute_is_found():
    broken(devices.sensor(devices.KnowsNoTime), "stamps", "a stamp may be off by 60000 ms")


def test_a_stamp_that_goes_back_is_found():
    broken(devices.sensor(devices.GoesBack), "stamps", "goes back")


def test_a_descriptor_that_stays_open_is_found():
    try:
        broken(devices.sensor(devices.LeaksDescriptors), "leaks", "10 file descriptors")
    finally:
        for fd in devices.LeaksDescriptors.opened:
            os.close(fd)
        devices.LeaksDescriptors.opened.clear()


def test_samples_of_a_closed_device_are_found():
    broken(devices.sensor(devices.ReadsWhenClosed), "lifecycle", "after it was closed")


def test_another_device_than_expected_is_found():
    broken(devices.sensor(devices.AnotherKind), "identity", "'another'")


def test_a_driver_that_takes_nan_is_found():
    broken(devices.arm(devices.TakesNan), "limits", "NaN is accepted")


def test_a_driver_that_refuses_what_it_has_sent_is_found():
    words = "a joint above its range is refused, and moves it by"
    broken(devices.arm(devices.SendsAndRefuses), "limits", words)


def test_a_stop_that_does_nothing_is_found():
    bounds = structs.replace(BOUNDS, tries=1)
    result = verdict(devices.arm(devices.StopDoesNothing), "stops", bounds)
    assert result.verdict == "broken"
    assert "after stop(2) it goes on to its goal" in result.said
    assert "after stop(1) it takes a command before it is activated again" in result.said
    broken(devices.arm(devices.StopDoesNothing), "power off", "after stop(0) it takes a command")


def test_an_arm_that_obeys_without_being_activated_is_found():
    broken(devices.arm(devices.ForgetsToWait), "reactivation", "before it was activated")


def test_an_arm_that_does_not_move_is_found():
    broken(devices.arm(devices.NeverMoves), "latency", "not moved within 1 s")


def test_an_arm_that_only_says_that_it_clamps_is_found():
    subject = devices.arm(devices.SaysItClamps)
    subject.kind = "another"  # those without a controller need not refuse a jump
    broken(subject, "jump", "it says that it was clamped to 0.050 rad, and moves by")


def test_jaws_that_are_sent_out_of_their_stroke_are_found():
    broken(devices.gripper(devices.NoStroke), "jaws", "its commanded width is -0.043 m")
    assert verdict(devices.gripper(), "jaws").verdict == "kept"


def test_images_that_are_written_into_or_of_another_kind_are_found():
    broken(devices.camera(devices.KeepsOneDepth), "image", "a depth image is written into later")
    broken(devices.camera(devices.Grey, depth=False), "image", "not uint8 (h, w, 3)")
    assert verdict(devices.camera(depth=False), "image").verdict == "not applicable"


def test_what_hangs_is_left_behind():
    bounds = structs.replace(BOUNDS, deadline_s=0.2)
    with devices.sensor(devices.Hangs) as subject:
        first = runner.check(subject, BY_NAME["identity"], bounds)
        second = runner.check(subject, BY_NAME["rate"], bounds)
    devices.Hangs.let_go.set()
    assert first.verdict == "broken"
    assert "hangs" in first.said
    assert second.verdict == "not applicable"


def test_a_real_arm_is_not_moved_unless_that_is_allowed():
    real = Subject("arms", "ur_for_example")
    assert real.hardware
    assert not real.may_move
    assert not real.may_fault
    results = [runner.check(real, p, BOUNDS) for p in PROMISES if p.name in ("limits", "stops")]
    assert {r.verdict for r in results} == {"not applicable"}
    assert "--move" in results[0].said


@pytest.mark.parametrize("kind", ["flip", "truncate", "silence", "unplug"])
def test_a_good_driver_comes_through_faults_on_its_line(kind):
    with devices.streamed(devices.StreamSensor) as subject:
        result = verdict(subject, f"fault {kind}")
    assert result.verdict == "kept", result
    assert result.numbers["hits"] > 0
    assert result.numbers["wrong_values"] == result.numbers["hangs"] == 0


def test_a_driver_that_checks_no_checksum_is_found():
    def careless(clock, table):
        return devices.StreamSensor(clock, table, checks=False)

    bounds = structs.replace(BOUNDS, fault_s=1.5)  # of some 50 flipped bits, one is a high one
    with devices.streamed(careless) as subject:
        result = verdict(subject, "fault flip", bounds)
    assert result.verdict == "broken"
    assert result.numbers["wrong_values"] > 0


def test_a_driver_that_stamps_anew_in_silence_is_found():
    bounds = structs.replace(BOUNDS, periods=3.0)
    with devices.streamed(devices.StaleStream) as subject:
        result = verdict(subject, "fault silence", bounds)
    assert result.verdict == "broken"
    assert result.numbers["made_up"] > 0


def test_a_device_that_dies_of_a_fault_that_hits_no_byte_is_found(monkeypatch):
    alive, usual = threading.Event(), ProxyProcess.inject
    alive.set()

    def inject(proxy, fault):
        alive.clear()
        return usual(proxy, fault)

    monkeypatch.setattr(ProxyProcess, "inject", inject)
    bounds = structs.replace(BOUNDS, recover_s=0.5)
    with devices.streamed(devices.StreamSensor, alive.is_set) as subject:
        result = verdict(subject, "fault truncate", bounds)
    assert result.verdict == "broken", result
    assert "no samples within 0.5 s after the fault" in result.said


def test_a_fault_that_its_line_cannot_have_is_not_tried():
    with devices.streamed(devices.StreamSensor) as subject:
        result = verdict(subject, "fault reorder")
    assert "reorder" not in APPLIES["serial"]
    assert result.verdict == "not applicable"


@pytest.mark.slow  # an emulator has its fault after some seconds
@pytest.mark.parametrize(("kind", "fault"), [("ft300", "silent"), ("bota", "clock_back")])
def test_a_fault_of_the_device_itself_is_told_and_passes(kind, fault):
    with Subject("ft", kind, partner=partners.partners()["ft", kind]) as subject:
        result = runner.check(subject, BY_NAME[f"fault device {fault}"], QUICK)
    assert result.verdict == "kept", result
    assert result.numbers["samples"] > 0


def test_a_fault_that_the_emulator_does_not_know_is_not_tried():
    subject = Subject("ft", "ft300", partner=partners.partners()["ft", "ft300"])
    result = runner.check(subject, BY_NAME["fault device nan"], BOUNDS)
    assert (result.verdict, "knows no such fault" in result.said) == ("not applicable", True)
    result = runner.check(Subject("ft", "null"), BY_NAME["fault device nan"], BOUNDS)
    assert result.verdict == "not applicable"


# Partners.


def emulator(monkeypatch, **names):
    """Let there be one emulator, `made_up`, whose module has `names`."""
    module = ModuleType("made_up")
    vars(module).update(names)
    monkeypatch.setattr(
        partners.plugins, "kinds", lambda f: ["made_up"] if f == "hil.emulators" else []
    )

    def load(folder, kind, wants=()):
        for name in wants:
            if not hasattr(module, name):
                raise ConfigError(f"wanted {name}")
        return module

    monkeypatch.setattr(partners.plugins, "load", load)


def test_an_emulator_says_which_driver_it_is_a_partner_of(monkeypatch):
    emulator(
        monkeypatch, DRIVERS=(("ft", "this"), ("arms", "that")), WIRE=("tcp", ("host", "port")),
        table=lambda folder, uri: {"host": uri, "port": 7, "rate_hz": 5.0}, Config=object,
        serve=print,
    )  # fmt: skip
    found = partners.partners()
    assert set(found) == {("ft", "this"), ("arms", "that")}
    one = found["arms", "that"]
    table = one.table("127.0.0.1")
    assert one.wire.address(table) == "127.0.0.1:7"
    moved = one.wire.moved(table, "127.0.0.1:900")
    assert moved == {"host": "127.0.0.1", "port": 900, "rate_hz": 5.0}
    assert one.host_gone == "stops"
    assert one.needs is None
    assert one.plant == {"kind": "servo"}


def test_an_emulator_without_the_contract_is_a_partner_of_none(monkeypatch):
    emulator(monkeypatch, Config=object, serve=print)
    assert partners.partners() == {}
    emulator(monkeypatch, DRIVERS=(("ft", "this"),), Config=object, serve=print)
    with pytest.raises(ConfigError, match="WIRE"):
        partners.partners()


def test_every_kind_is_found_and_one_without_a_partner_is_said():
    chosen = list(robots.of_all())
    named = {s.name if isinstance(s, Subject) else s.device for s in chosen}
    for folder in ("arms", "ft", "grippers", "cameras", "stations"):
        assert {f"{folder} {kind}" for kind in plugins.kinds(f"drivers.{folder}")} <= named
    without = {r.device: r for r in chosen if isinstance(r, Result)}
    assert "no partner" in without["cameras rig"].said
    played = {s.name for s in chosen if isinstance(s, Subject) and s.played}
    assert played >= {"cameras uvc", "cameras realsense", "arms replay"}


RECORDED = {  # what makes each recording takes as long as it lasts, or a run
    "uvc": (), "realsense": pytest.mark.slow, "replay": pytest.mark.slow
}  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "kind"), [pytest.param(*k, marks=RECORDED.get(k[1], ())) for k in recordings()]
)
def test_a_driver_keeps_its_promises_from_a_recording(folder, kind):
    try:
        with Subject(folder, kind, recorded=recordings()[folder, kind]) as subject:
            assert not subject.hardware
            found = list(runner.run(subject, BOUNDS))
    except Missing as e:
        pytest.skip(str(e))
    kept = {r.promise for r in found if r.verdict == "kept"}
    assert [r for r in found if r.verdict == "broken"] == []
    assert kept >= {"identity", "lifecycle", "rate", "stamps", "leaks"}
    assert not kept & {"limits", "latency", "stops", "jaws"}  # nothing obeys


def test_devices_are_chosen_by_the_beginnings_of_their_names(tmp_path):
    wanted = command.Options(devices=("ft null", "stations"), only=("identity",), out=tmp_path)
    assert command.hil_command(None, True, wanted, lambda _: None) == 0
    found = {r["device"] for r in json.loads((tmp_path / outputs.JSON).read_text())}
    assert found == {"ft null", *(f"stations {k}" for k in plugins.kinds("drivers.stations"))}
    nobody = command.Options(devices=("ft nobody",), out=tmp_path)
    with pytest.raises(ConfigError, match="--devices wants some of arms"):
        command.hil_command(None, True, nobody, lambda _: None)


def test_a_recording_whose_library_is_missing_does_not_apply(tmp_path):
    def record(folder):
        raise Missing("pip install 'headway[uvc]'")

    subject = Subject("cameras", "uvc", recorded=record)
    (found,) = command.check_all([subject], command.Options(out=tmp_path), BOUNDS, lambda _: None)
    assert (found.verdict, found.said) == ("not applicable", "pip install 'headway[uvc]'")
    found = Bench(BOUNDS).check(subject, PROMISES[0])
    assert found.verdict == "not applicable"


def test_under_pytest_each_promise_is_a_test(write, tmp_path):
    robot = write()
    plugin = ("-p", "headway.hil.pytest_plugin", "--pyargs", "headway.hil")
    chosen = ("--robot", str(robot), "--quick", "-k", "identity or limits")
    done = pytest_run(tmp_path, *plugin, *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "arm_null-limits" in done.stdout
    assert "arm_null-identity" in done.stdout


def pytest_run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """`pytest ARGS` in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *args],
        cwd=folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
