"""Where the time went: stages, ways, causes and the delay of the motion, from made-up rows whose
answer is known, and from episodes of the loop."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from loop_rig import Policy, Rig
from null_robot import NO_REALTIME, null_table, run
from rich.console import Console

from headway.clock import Tick
from headway.drivers.latest import Latest
from headway.edge.control.audit import SAMPLES, STAGES, TIMING, Audit
from headway.edge.control.log import STAMP_COLUMNS, EpisodeLog, chunk_dtype
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import ConfigError, RecordingError
from headway.mcapdiff import first_difference
from headway.mcaplog import open_recording
from headway.tools.latency.analysis import analyse
from headway.tools.latency.causes import by_cause, late_ticks
from headway.tools.latency.command import latency_command
from headway.tools.latency.motion import delay
from headway.tools.latency.rows import late_ns, until_ns
from headway.types import Stamp

PERIOD = 2_000_000
MS = 1_000_000
NONE = np.zeros(0, np.int64)


def rows(n=20):
    """On time, 10 us per stage."""
    r = np.zeros(n, TIMING)
    r["t_ns"] = r["begun"] = 5_000 * MS + np.arange(n) * PERIOD
    for s in STAGES:
        r[s] = 10_000
    r["arm_age"], r["ft_age"], r["gripper_age"] = 300_000, -1, -1
    r["waits"] = np.arange(n)
    return r


def late(r, i, ns, **grown):
    """Tick `i` begins `ns` late; counters are grown from there on."""
    r["late"][i] = ns
    r["begun"][i] += ns
    for name, by in grown.items():
        r[name][i:] += by
    return r


@pytest.mark.parametrize(
    ("grown", "cause"),
    [
        ({"gc_ns": 500_000}, "collection"),
        ({"major_faults": 1}, "page fault"),
        ({"preemptions": 1, "minor_faults": 900}, "preemption"),
        ({"minor_faults": 400}, "page fault"),
        ({"minor_faults": 3}, "wake-up"),  # three faults do not take 800 us
        ({}, "wake-up"),
    ],
)
def test_what_happened_in_the_wait_is_the_cause(grown, cause):
    (tick,) = late_ticks(late(rows(), 7, 800_000, **grown), PERIOD, 200_000, NONE)
    assert (tick.index, tick.late_us, tick.cause) == (7, 800.0, cause)
    assert tick.t_s == pytest.approx(7 * 0.002)


@pytest.mark.parametrize(
    ("stage", "cause"),
    [
        ("read", "device read"),
        ("policy", "policy hand-over"),
        ("log", "recorder"),
        ("guard", "guard"),
        ("command", "device command"),
    ],
)
def test_a_tick_that_took_too_long_makes_the_next_one_late(stage, cause):
    r = late(rows(), 7, 800_000)
    r[stage][6] = PERIOD + 700_000
    (tick,) = late_ticks(r, PERIOD, 200_000, NONE)
    assert tick.cause == cause
    if stage == "policy":
        (tick,) = late_ticks(r, PERIOD, 200_000, r["t_ns"][6:7])
        assert tick.cause == "policy adoption"


def test_skipped_deadlines_count_as_lateness():
    r = late(rows(), 7, 100_000)
    r["missed"][7] = 2
    r["t_ns"][7:] += 2 * PERIOD
    r["begun"][7:] += 2 * PERIOD
    assert late_ns(r, PERIOD)[7] == 2 * PERIOD + 100_000
    (tick,) = late_ticks(r, PERIOD, 200_000, NONE)
    assert (tick.missed, tick.late_us) == (2, 4100.0)
    assert by_cause([tick]) == [("wake-up", 1, 2, 4100.0)]


def test_rows_of_an_older_version_have_no_causes():
    r = late(rows(), 7, 800_000)
    old = np.zeros(len(r), np.dtype([(n, np.int64) for n in ("t_ns", "late", *STAGES)]))
    for name in old.dtype.names:
        old[name] = r[name]
    (tick,) = late_ticks(old, PERIOD, 200_000, NONE)
    assert tick.cause == "unknown"
    assert late_ticks(rows(), PERIOD, 200_000, NONE) == []


def test_counts_go_by_frequency():
    r = late(late(late(rows(), 3, 900_000), 7, 800_000), 12, 700_000, gc_ns=5)
    ticks = late_ticks(r, PERIOD, 200_000, NONE)
    assert by_cause(ticks) == [("wake-up", 2, 0, 900.0), ("collection", 1, 0, 700.0)]


def motion(lag_s, seconds=6.0, hz=500.0, noise=0.0):
    """(t, sent, measured) of joints that follow `lag_s` later, with an offset."""
    t = np.arange(0, seconds, 1 / hz)

    def path(at):
        at = np.maximum(at, 0.0)
        return np.stack([0.3 * np.sin(2 * at), 0.1 * np.sin(3.3 * at + 1)], axis=1)

    rng = np.random.default_rng(1)
    measured = path(t - lag_s) + np.array([0.01, -0.02]) + rng.normal(0, noise, (len(t), 2))
    return t, path(t), measured


@pytest.mark.parametrize("lag_s", [0.0, 0.0013, 0.008, 0.0652, 0.31])
def test_the_delay_of_the_motion_is_found(lag_s):
    t, sent, measured = motion(lag_s, noise=1e-4)
    found = delay(t, sent, t, measured)
    assert abs(found.delay_ms - 1e3 * lag_s) <= max(3 * found.error_ms, 0.5)
    assert found.error_ms < 2.0
    assert 4 <= found.windows <= 6
    assert 5e-5 < found.residual < 5e-4


def test_where_nothing_moves_there_is_no_delay():
    t, sent, measured = motion(0.01)
    assert delay(t, sent * 0, t, measured * 0) is None
    assert delay(t, sent, t, np.full_like(sent, np.nan)) is None
    assert delay(t, sent, t, np.zeros_like(sent)) is None  # told to move, and stood still
    assert delay(t[:2], sent[:2], t[:2], measured[:2]) is None
    assert delay(np.zeros_like(t), sent, t, measured) is None


def test_standing_still_for_a_while_changes_no_delay():
    t, sent, measured = motion(0.02)
    sent[t > 3.0], measured[t > 3.02] = sent[t <= 3.0][-1], measured[t <= 3.02][-1]
    found = delay(t, sent, t, measured)
    assert found.delay_ms == pytest.approx(20, abs=1.0)
    assert found.windows <= 4


def test_a_tick_writes_down_itself(monkeypatch):
    audit = Audit(realtime=True)
    stamps = [1000, 1500, 1600, 1700, 1800, 1900, 2000, 2600]
    try:
        audit.begin()
        audit.sampled("arm", Stamp(1200, 1300))
        audit.sampled("gripper", Stamp(1600, 1700))  # newer than the end of the stage
        audit.sampled("camera wrist", Stamp(900, 950))
        audit.sampled("camera front", Stamp(700, 990))
        audit.finish(990, Tick(3, 990, 10, 2990, missed=1), stamps)
        row = audit.rows[0]
        assert row[["t_ns", "late", "missed", "begun"]].tolist() == (990, 10, 1, 1000)
        assert [row[s] for s in STAGES] == [500, 100, 100, 100, 100, 100, 600]
        assert row[["arm_age", "ft_age", "gripper_age"]].tolist() == (300, -1, -100)
        assert audit.frame(990, 5000) == Stamp(700, 990)  # the oldest
        assert audit.frame(991, 5000) is None
        audit.finish(991, Tick(), stamps)
        assert audit.rows[0]["arm_age"] == -1
        assert audit.frame(991, 5000) is None
        for t in range(2000, 2100):  # what no chunk comes from any more is forgotten
            audit.sampled("camera wrist", Stamp(t, t))
            audit.finish(t, Tick(), stamps)
        assert audit.frame(990, 5000) is None
        assert audit.frame(2099, 5000) == Stamp(2099, 2099)
    finally:
        audit.close()


def test_counters_count_what_happens_to_the_thread():
    import gc

    audit = Audit(realtime=False)
    try:
        audit.begin()
        audit.finish(1, Tick(), [0] * 8)
        before = audit.rows[0].copy()
        gc.collect()
        block = np.ones(1 << 22)  # 32 MiB that were not there
        audit.begin()
        audit.finish(2, Tick(), [0] * 8)
        after = audit.rows[0]
        assert after["gc_ns"] > before["gc_ns"]
        assert after["minor_faults"] >= before["minor_faults"]
        assert after["cpu"] >= -1
        assert block[0] == 1
    finally:
        audit.close()
    n = len(gc.callbacks)
    audit.close()  # twice is once
    assert len(gc.callbacks) == n
    gc.collect()


def test_the_names_of_the_samples_are_those_of_the_station():
    station = Rig(null_table(), None).station
    assert tuple(s.name for s in (station.arm, station.ft, station.gripper)) == SAMPLES
    assert isinstance(station.arm, Latest)


def record(path, r, *, chunk=None, metadata=None):
    """A wall-clock recording of timing rows, and of one chunk."""
    channels = [Channel("/timing", dtype=TIMING)]
    if chunk is not None:
        channels.append(Channel("/chunk", dtype=chunk.dtype))
    facts = {"hz": "500.0", "clock": "wall", "env.cpu": "made up"}
    with Recorder(
        path, channels, metadata=facts if metadata is None else metadata, lossless=True
    ) as log:
        for row in r:
            log.write("/timing", int(row["t_ns"]), row)
        if chunk is not None:
            log.write("/chunk", int(chunk["t_ns"]), chunk)
    return path


def test_the_way_of_a_chunk_from_exposure_to_command(tmp_path):
    r = rows()
    chunk = np.zeros((), chunk_dtype(6, 7, stamped=True))
    t = int(r["t_ns"][9])
    chunk["t_ns"] = t
    begun = int(r["begun"][9])
    before = (40, 34, 30, 29, 9)  # ms before the tick that adopts it
    for name, ms in zip(STAMP_COLUMNS, before, strict=False):
        chunk[name] = begun - ms * MS
    chunk["adopted_ns"] = begun + 35_000
    found = analyse(record(tmp_path / "a.mcap", r, chunk=chunk))
    way = {x.name: x.p50 for x in found.chains}
    assert way == {
        "exposure -> arrival": 6000.0, "arrival -> hand-over": 4000.0,
        "hand-over -> inference": 1000.0, "inference": 20000.0,
        "inference -> adoption": 9035.0, "adoption -> command": 25.0,
        "exposure -> command": 40060.0, "state -> command": 350.0,
    }  # fmt: skip
    assert until_ns(r, "command")[0] == 60_000
    assert found.environment == {"cpu": "made up"}
    chunk["exposure_ns"] = chunk["arrival_ns"] = -1  # a policy without a camera
    found = analyse(record(tmp_path / "b.mcap", r, chunk=chunk))
    names = [x.name for x in found.chains]
    assert "exposure -> command" not in names
    assert names[0] == "hand-over -> inference"


def test_stages_budget_jitter_and_ages(tmp_path):
    r = late(rows(200), 50, 800_000, preemptions=1)
    r["guard"][60] = 3 * MS
    found = analyse(record(tmp_path / "a.mcap", r))
    stages = {x.name: x for x in found.stages}
    assert stages["read"].max == 10
    assert stages["guard"].max == 3000
    assert found.over == 1
    assert "pro" not in stages  # no /pro was recorded
    assert found.budget["read"] == pytest.approx(0.005)
    assert found.lateness.max == 800
    assert (found.jitter.p50, found.jitter.max) == (0, 800)
    assert [(x.name, x.p99) for x in found.ages] == [("arm sample", 300)]
    assert [t.cause for t in found.late] == ["preemption"]
    assert found.threshold_us == 200
    assert analyse(tmp_path / "a.mcap", 900.0).late == ()
    assert found.motion is None


def test_a_recording_that_does_not_say_its_rate(tmp_path):
    found = analyse(record(tmp_path / "a.mcap", rows(), metadata={"clock": "wall"}))
    assert found.hz == pytest.approx(500)
    assert any("500.0 Hz by its ticks" in note for note in found.notes)
    with pytest.raises(RecordingError, match="wanted the rate of the loop"):
        analyse(record(tmp_path / "b.mcap", rows(1), metadata={}))


def test_the_table_names_stages_ways_and_causes(tmp_path):
    path = record(tmp_path / "a.mcap", late(rows(200), 50, 800_000, preemptions=1))
    console = Console(file=io.StringIO(), width=120)
    assert latency_command([path], console=console) == 0
    text = console.file.getvalue()
    for word in ("200 ticks at 500 Hz", "guard", "state -> command", "preemption", "800", "p99.9",
                 "0 deadlines missed; 1 ticks began more than 200 us late", "cpu: made up",
                 "800 us at 0.100 s (preemption)"):  # fmt: skip
        assert word in text, text


def test_json_holds_all_and_an_error_comes_after_what_could_be_read(tmp_path, capsys):
    path = record(tmp_path / "a.mcap", late(rows(), 7, 800_000))
    empty = tmp_path / "empty.mcap"
    with Recorder(empty, [Channel("/log", kind="log")], lossless=True) as log:
        log.log(1, "info", "hello")
    console = Console(file=io.StringIO(), width=100)
    with pytest.raises(RecordingError, match=r"no /timing topic and no empty\.timing\.npy"):
        latency_command([empty, path, tmp_path / "gone.mcap"], json=True, console=console)
    (found,) = json.loads(console.file.getvalue())  # and nothing else is there
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "gone.mcap" in captured.err  # the first one is raised, and said by the command line
    assert "empty" not in captured.err
    assert found["causes"] == [{"cause": "wake-up", "ticks": 1, "missed": 0, "worst_us": 800.0}]
    assert found["late"][0]["index"] == 7
    assert found["stages"][0]["p999"] == 10
    with pytest.raises(ConfigError, match="wanted recordings"):
        latency_command([])
    with pytest.raises(ConfigError, match="late-us"):
        latency_command([path], -1.0)


def test_an_episode_in_lock_step_has_stages_and_the_delay_but_no_lateness(tmp_path):
    Rig(null_table(), Policy()).run(tmp_path / "a.mcap")
    found = analyse(tmp_path / "a.mcap")
    assert (found.clock, found.ticks, found.hz) == ("virtual", 651, 500)
    assert "a.timing.npy" in found.source
    assert (found.lateness, found.jitter, found.late, found.chains) == (None, None, (), ())
    assert [x.p50 for x in found.ages] == [0, 0, 0]
    assert found.environment == {}
    screen = io.StringIO()
    latency_command([tmp_path / "a.mcap"], console=Console(file=screen, width=100))
    said = " ".join(screen.getvalue().split())
    assert "lock-step: the times are those of the computer that made this recording" in said
    assert said.index("lock-step: ") < said.index("telemetry")
    assert "lateness and camera-to-command delays are therefore not shown" in said
    assert "longer than their period" not in said
    # The null arm is where it was told to be when it is asked: one tick later.
    assert found.motion.delay_ms == pytest.approx(2.0, abs=3 * found.motion.error_ms)


def test_the_same_seed_gives_the_same_bytes_and_no_stamp_of_the_wall_clock(tmp_path):
    for name in ("a", "b"):
        Rig(null_table(), Policy()).run(tmp_path / f"{name}.mcap")
    assert first_difference(tmp_path / "a.mcap", tmp_path / "b.mcap") == ""
    recording = open_recording(tmp_path / "a.mcap")
    assert set(STAMP_COLUMNS) & set(recording.dtype("/chunk").names) == set()
    assert "/timing" not in recording.topics
    assert not any(k.startswith("env.") for k in recording.metadata)


def test_a_run_on_the_wall_clock_can_be_explained(tmp_path, bundles, write):
    """A third of a second; only that all is there, not how long it took."""
    table = {
        "task": null_table()["task"] | {"limit_s": 0.3},
        "loop": dict.fromkeys(("max_age_s", "camera_max_age_s", "chunk_max_age_s"), 5.0),
        "realtime": NO_REALTIME,
        "policy": {"bundle": str(bundles / "policy")},
    }
    assert run(write(**table), tmp_path / "out", "--episodes", 1, "--realtime") == 0
    found = analyse(tmp_path / "out" / "episode_0.mcap")
    assert found.clock == "wall"
    assert found.lateness is not None
    assert {"scheduling", "affinity", "cores"} <= set(found.environment)
    names = [x.name for x in found.chains]
    assert names[-1] == "state -> command"
    assert "exposure -> command" in names
    assert all(x.p50 >= 0 for x in found.chains)


def test_a_log_forgets_its_callback_when_it_closes(tmp_path):
    import gc

    n = len(gc.callbacks)
    with EpisodeLog(
        tmp_path / "a.mcap", joints=6, cameras={}, chunk_shape=None, pro=None, realtime=True,
        max_ticks=10, metadata={},
    ) as log:  # fmt: skip
        assert len(gc.callbacks) == n + 1
        log.sampled("arm", Stamp(1, 2))
        log.begin()
    assert len(gc.callbacks) == n
