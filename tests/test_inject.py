"""Faults on purpose: each stops the arm as configured, keeps every limit, and is in the recording;
so does any sequence of them."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loop_rig import Policy, Rig, check_log
from null_robot import null_table, run
from properties import examples

from headway.clock import NS, VirtualClock
from headway.edge.control.events import EventKind
from headway.edge.control.log import NullLog
from headway.edge.motion.deadline import Mode
from headway.errors import ConfigError, SpecMismatch
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of
from headway.tools.run import inject
from headway.tools.run.inject import KINDS, Faults, FaultyWorker, Injection, parse


@pytest.mark.parametrize(
    ("text", "is_"),
    [
        ("policy_hang@5s", Injection("policy_hang", 5.0)),
        ("ft_stall@2:0.3", Injection("ft_stall", 2.0, 0.3)),
        ("overrun@0.5s", Injection("overrun", 0.5, 0.05)),
        ("policy_late@1s:0.25s", Injection("policy_late", 1.0, 0.25)),
    ],
)
def test_faults_are_written_as(text, is_):
    assert parse(text) == is_


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("policy_hung@5s", "did you mean policy_hang"),
        ("xyz", "there are policy_hang"),
        ("policy_hang", "KIND@SECONDS"),
        ("policy_hang@soon", "KIND@SECONDS"),
        ("policy_hang@1.2.3", "KIND@SECONDS"),
        ("policy_hang@nan", "KIND@SECONDS"),
        ("policy_hang@inf", "KIND@SECONDS"),
        ("policy_hang@-1", "KIND@SECONDS"),
        ("policy_hang@", "KIND@SECONDS"),
        ("policy_hang@.", "KIND@SECONDS"),
        ("policy_hang@" + "9" * 400, "KIND@SECONDS"),
        ("overrun@1:" + "9" * 400, "KIND@SECONDS"),
        ("policy_hang@1:", "KIND@SECONDS"),
        ("ft_stall@1:0", "a duration of 0"),
        ("overrun@1s:0.0s", "a duration of 0"),
        ("", "there are policy_hang"),
    ],
)
def test_what_is_no_fault(text, says):
    with pytest.raises(ConfigError, match=says):
        parse(text)


def faulty(path, *wanted, seconds=2.0, policy=None, **loop):
    """An episode on null devices with faults; the result and the rig."""
    table = null_table()
    table["loop"] = {**table["loop"], "fault_after_s": 0.4, "ft_stuck_s": 0.05, **loop}
    table["task"] = {**table["task"], "limit_s": seconds}
    rig = Rig(table, policy or Policy())
    # A null sensor is as still as a stuck one: this one is as noisy as a real one.
    noise = np.random.default_rng(0)
    ft = rig.station.ft.source
    still = ft.sample
    ft.sample = lambda: _noisy(still(), noise)
    faults = Faults(tuple(map(parse, wanted)), rig.clock)
    faults.install(rig.station)
    faults.attach(rig.loop)
    return rig.run(path), rig


def _noisy(wrench, noise):
    return type(wrench)(wrench.force + noise.normal(0, 0.1, 3), wrench.torque)


FOR_GOOD = {
    "policy_hang": "the last chunk",
    "policy_kill": "the last chunk",
    "policy_nan": "NOT_FINITE",
    "policy_error": "injected: inference failed",
    "camera_stall": "camera wrist",
    "ft_stall": "NO_WRENCH",
    "ft_stuck": "the F/T sensor gives the same",
    "ft_nan": "wrench.fz, which no sensor gives",
    "arm_stall": "sample of arm",
    "arm_unplugged": "the arm is unplugged",
}


@pytest.mark.parametrize("kind", FOR_GOOD)
def test_a_fault_for_good_ends_in_a_stop_and_a_fault(tmp_path, kind):
    result, rig = faulty(tmp_path / "e.mcap", f"{kind}@0.6")
    assert result.end == "fault"
    rig.check_arm()
    rig.check_came_to_rest()
    check_log(tmp_path / "e.mcap", f"inject: {KINDS[kind]}", FOR_GOOD[kind])


@pytest.mark.parametrize("kind", FOR_GOOD)
def test_a_fault_that_passes_lets_the_episode_go_on(tmp_path, kind):
    result, rig = faulty(tmp_path / "e.mcap", f"{kind}@0.6:0.3")
    assert (result.end, result.why) == ("time limit", "")
    rig.check_arm()
    modes = open_recording(tmp_path / "e.mcap").rows("/command")["mode"]
    assert modes[-1] == Mode.FOLLOW


@pytest.mark.parametrize(
    ("wanted", "end"),
    [
        ("policy_late@0.4", "time limit"),
        ("policy_jump@0.4", "time limit"),
        ("sigterm@0.4", "interrupted"),
    ],
)
def test_what_is_no_fault_of_the_devices(tmp_path, wanted, end):
    result, rig = faulty(tmp_path / "e.mcap", wanted)
    assert result.end == end
    rig.check_arm()


def test_an_overrun_is_a_missed_deadline_and_no_burst(tmp_path):
    result, rig = faulty(tmp_path / "e.mcap", "overrun@0.6:0.05")
    assert result.end == "time limit"
    assert result.missed == 24 or result.missed == 25
    rows = open_recording(tmp_path / "e.mcap").rows("/command")
    assert rows["missed"].max() == result.missed
    assert np.diff(rows["t_ns"]).min() == 2_000_000
    rig.check_arm()


def test_the_second_fault_of_a_kind_happens_too_and_each_says_its_own_number(tmp_path):
    result, rig = faulty(tmp_path / "e.mcap", "overrun@1.2:0.1", "overrun@0.6:0.05")
    assert result.missed in range(24 + 49, 25 + 50 + 1)
    texts = [e.text for e in events_of(open_recording(tmp_path / "e.mcap"))]
    assert [t for t in texts if t.startswith("inject")] == [
        "inject: one tick takes 0.05 seconds", "inject: one tick takes 0.1 seconds"
    ]  # fmt: skip
    rig.check_arm()


def test_of_two_delays_of_the_policy_the_later_one_counts():
    clock = VirtualClock(5)
    faults = Faults((parse("policy_late@1:0.1"), parse("policy_late@2:0.3")), clock)
    log = NullLog()
    faults.begin(log)
    begun, found = clock.now(), []
    for t_s in (1.5, 2.5):
        clock.sleep_until(begun + round(t_s * 1e9))
        found.append(faults.active("policy_late").for_s)
    assert found == [0.1, 0.3]
    assert [e.text for e in log.events] == [
        "inject: every chunk comes 0.1 seconds later", "inject: every chunk comes 0.3 seconds later"
    ]  # fmt: skip


def test_faults_that_this_run_cannot_have(tmp_path):
    rig = Rig(null_table(camera=[]), None)
    for kind, lacks in (
        ("policy_hang", "policy"),
        ("overrun", "policy"),
        ("camera_stall", "camera"),
    ):
        faults = Faults((parse(f"{kind}@1"),), rig.clock)
        with pytest.raises(ConfigError, match=rf"{kind}: this run has nothing .* no {lacks}"):
            faults.attach(rig.loop)
    rig = Rig(null_table(camera=[]), Policy())
    with pytest.raises(ConfigError, match=r"camera_stall: this run has nothing .* no camera"):
        faults.attach(rig.loop)


def test_devices_fail_in_a_run_without_a_policy_too(tmp_path):
    rig = Rig(null_table(camera=[]), None)
    faults = Faults((parse("arm_stall@0.3"),), rig.clock)
    faults.install(rig.station)
    faults.attach(rig.loop)
    assert rig.run(tmp_path / "e.mcap").end == "fault"
    check_log(tmp_path / "e.mcap", "sample of arm")


def test_a_process_that_was_stopped_for_a_while_goes_on(monkeypatch):
    """In real time: by SIGCONT, unless another process was started in its place."""

    class Process:
        about, pid = None, 77

        def submit(self, obs): ...

        def take(self, now_ns): ...

    sent = []
    monkeypatch.setattr(inject, "ProcessWorker", Process)
    monkeypatch.setattr(inject.os, "kill", lambda pid, number: sent.append((pid, number)))
    clock = VirtualClock(0)
    for pid, wanted in ((77, [signal.SIGSTOP, signal.SIGCONT]), (78, [signal.SIGSTOP])):
        faults, process = Faults((parse("policy_hang@1:0.5"),), clock), Process()
        worker = FaultyWorker(process, faults, None)
        begun = clock.now()
        faults.begin(NullLog())
        for t_s in (0.5, 1.0, 1.2, 1.6, 1.7):
            clock.sleep_until(begun + round(t_s * NS))
            worker.submit(None)
            process.pid = pid if t_s > 1.0 else 77
            worker.take(clock.now())
        assert [number for _, number in sent] == wanted
        sent.clear()


def test_on_the_command_line(write, both, tmp_path, capsys):
    path = write(**both)
    code = run(path, tmp_path / "o", "--episodes", 1, "--inject", "policy_hang@0.3", "ft_nan@5")
    assert code == 1
    said = capsys.readouterr().out
    assert "fault" in said
    assert "--inject ft_nan@5: this fault will not happen, an episode ends after 1.3 s" in said
    assert "policy_hang@0.3: this fault" not in said
    check_log(tmp_path / "o" / "episode_0.mcap", "inject: the policy gives no answer")
    assert run(path, tmp_path / "p", "--inject", "nonsense@3") == 2


def test_a_policy_process_that_is_killed_in_real_time_is_started_again(write, both, tmp_path):
    table = {**both, "task": {**null_table()["task"], "limit_s": 1.0}}
    path = write(**table)
    # the second one finds no process, or the one that was started again
    faults = ("policy_kill@0.3", "policy_kill@0.31")
    run(path, tmp_path / "o", "--episodes", 1, "--realtime", "--inject", *faults)
    made = tmp_path / "o" / "episode_0.mcap"
    recording = check_log(made, "inject: the policy's process is killed", "process ended: SIGKILL")
    assert np.isfinite(recording.rows("/command")["sent"]).all()


faults_at = st.tuples(
    st.sampled_from(sorted(set(KINDS) - {"sigterm"})), st.floats(0.0, 3.5), st.floats(0.002, 0.6)
)


@examples(12)  # each starts the recorder's process
@given(wanted=st.lists(faults_at, min_size=1, max_size=8), seed=st.integers(0, 99))
def test_no_sequence_of_faults_gets_a_bad_command_through(tmp_path_factory, wanted, seed):
    """Thousands of ticks of a policy that wanders, with faults that come and go: whatever happens,
    commands are finite and inside every limit, the arm is stopped in the end, and the recording
    holds every command."""

    class Wanders(Policy):
        def infer(self, obs):
            chunk = super().infer(obs)
            r = np.random.default_rng([seed, obs.t_ns % 2**32])
            chunk.actions[:, :6] = np.cumsum(r.normal(0, 0.006, (6, 6)), axis=0)
            return chunk

    path = tmp_path_factory.mktemp("f") / "e.mcap"
    texts = [f"{kind}@{at:.3f}:{span:.3f}" for kind, at, span in wanted]
    try:
        result, rig = faulty(path, *texts, seconds=4.0, policy=Wanders(), fault_after_s=3.0)
    except SpecMismatch as e:  # pragma: no cover - a fault must never surface as a bug
        raise AssertionError(texts) from e
    rig.check_arm()
    assert result.end in ("time limit", "fault")
    recording = open_recording(path)
    assert not recording.truncated
    np.testing.assert_array_equal(recording.rows("/command")["sent"], rig.sent)


def test_time_counts_from_each_episodes_begin():
    clock = VirtualClock(5)
    faults = Faults((parse("ft_nan@1:0.5"),), clock)
    log = NullLog()
    assert faults.active("ft_nan") is None  # no episode yet
    for _ in range(2):
        faults.begin(log)
        begun = clock.now()
        assert faults.active("ft_nan") is None
        clock.sleep_until(begun + 1_200_000_000)
        assert faults.first("ft_nan") is not None
        assert faults.first("ft_nan") is None
        assert faults.active("ft_nan") is not None
        clock.sleep_until(begun + 1_600_000_000)
        assert faults.active("ft_nan") is None
    assert [e.text for e in log.events] == ["inject: a wrench of NaN"] * 2
    assert {(e.kind, e.subject) for e in log.events} == {(EventKind.INJECTED, "ft_nan")}
    faults.begin(log)
    clock.sleep_until(clock.now() + 1_200_000_000)
    faults.end()
    assert faults.active("ft_nan") is None  # between two episodes
