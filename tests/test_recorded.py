"""Events and results of recordings: typed ones, and the lines of text of version 0.1."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest
from loop_rig import Policy, Rig, sim_table
from null_robot import null_table, run

from headway.clock import NS
from headway.edge.control.events import Event, EventKind
from headway.edge.control.log import json_channel
from headway.edge.control.result import Result
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import RecordingError
from headway.mcapdiff import first_difference
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of, result_of

RESULT = Result(
    end="time limit", success=False, seconds=2.5, ticks=1251, retries=2, rejected=3, missed=1,
    peak_force=12.5, reward=-3.25,
)  # fmt: skip


@pytest.fixture
def written(tmp_path):
    """`written(events, result)`: a recording of both as JSON."""

    def written(events=(), result=None):
        path = tmp_path / "typed.mcap"
        channels = [
            Channel("/event", **json_channel(Event)),
            Channel("/result", **json_channel(Result)),
        ]
        with Recorder(path, channels, lossless=True, overwrite=True) as log:
            for t_ns, plain in enumerate(events):
                log.json("/event", t_ns, msgspec.json.encode(plain))
            if result is not None:
                log.json("/result", 9, msgspec.json.encode(result))
        return open_recording(path)

    return written


@pytest.fixture
def lines(tmp_path):
    """`lines(*texts)`: a recording of version 0.1 with these lines in its log, 1 s apart."""

    def lines(*texts):
        path = tmp_path / "old.mcap"
        with Recorder(path, [Channel("/log", kind="log")], lossless=True, overwrite=True) as log:
            for i, text in enumerate(texts):
                log.log(i * NS, "warning", text)
        return open_recording(path)

    return lines


def test_an_event_is_read_as_it_was_written(written):
    event = Event(
        t_ns=7, kind=EventKind.GUARD, level="warning", text="guard: FORCE: 40 N", subject="FORCE",
        numbers={"found": 40.0, "nothing": math.nan},
    )  # fmt: skip
    (found,) = events_of(written([event]))
    assert found == msgspec.structs.replace(event, numbers={"found": 40.0, "nothing": None})


def test_a_result_is_read_as_it_was_written(written):
    assert result_of(written(result=RESULT)) == RESULT
    nan = msgspec.structs.replace(RESULT, success=None, peak_force=math.nan)
    found = result_of(written(result=nan))
    assert found.success is None
    assert math.isnan(found.peak_force)
    assert result_of(written()) is None


def test_kinds_of_a_later_version_are_others(written):
    plain = {"t_ns": 1, "kind": "levitated", "level": "info", "text": "the item floats"}
    (found,) = events_of(written([plain]))
    assert (found.kind, found.text) == (EventKind.OTHER, "the item floats")


def test_what_is_no_event_and_no_result_is_refused(written):
    with pytest.raises(RecordingError, match=r"typed.mcap: wanted events .* `kind`"):
        events_of(written([{"t_ns": 1, "level": "info", "text": "?"}]))
    with pytest.raises(RecordingError, match="wanted results"):
        result_of(written(result={"end": "done"}))


def test_lines_of_version_0_1_have_their_kinds(lines):
    recording = lines(
        "item held", "item lost", "closed on nothing", "released over the target",
        "released outside the target", "done", "guard: FORCE: 40.00 N", "risk: full speed again",
        "chunk: VELOCITY: waypoint 3: joint 2", "stop: the last chunk has ended", "inject: a jump",
        "arm has not sent a sample yet", 'result {"end": "done"',
    )  # fmt: skip
    found = [(e.kind.name, e.subject) for e in events_of(recording)]
    assert found == [
        ("ITEM_HELD", ""), ("ITEM_LOST", ""), ("CLOSED_ON_NOTHING", ""), ("RELEASED_AT_TARGET", ""),
        ("RELEASED_ELSEWHERE", ""), ("TASK_DONE", ""), ("GUARD", "FORCE"), ("SPEED", ""),
        ("CHUNK", "VELOCITY"), ("MODE", "stop"), ("INJECTED", ""), ("OTHER", ""),
    ]  # fmt: skip
    assert [e.t_ns for e in events_of(recording)] == [i * NS for i in range(12)]
    assert result_of(recording) is None


def test_a_result_of_version_0_1_counts_as_results_count_now(lines):
    said = msgspec.to_builtins(RESULT)
    assert result_of(lines("item held", "result " + json.dumps(said))) == RESULT
    # That version wrote the station's word for episodes that were asked to end, too.
    asked = said | {"end": "interrupted", "success": True}
    assert result_of(lines("result " + json.dumps(asked))).success is None


def test_labels_come_from_kinds_and_not_from_words(written, lines):
    recordings = pytest.importorskip("headway.learn.pro.recordings")

    def event(second, kind, text, subject=""):
        return Event(t_ns=second * NS, kind=kind, level="info", text=text, subject=subject)

    events = [
        event(1, EventKind.ITEM_LOST, "verloren"),
        event(2, EventKind.GUARD, "zu viel", "FORCE"),
        event(3, EventKind.GUARD, "guard: FORCE", "VELOCITY"),
        event(4, EventKind.ITEM_HELD, "item lost"),
        event(5, EventKind.CLOSED_ON_NOTHING, ""),
        event(6, EventKind.RELEASED_ELSEWHERE, "done"),
    ]
    failures, retries = recordings.failures_of(events_of(written(events)))
    assert (failures, retries) == ([1.0, 2.0, 5.0, 6.0], [1.0, 5.0, 6.0])
    old = lines("item held", "item lost", "guard: FORCE: 40 N", "guard: RISK: 0.9", "done")
    assert recordings.failures_of(events_of(old)) == ([1.0, 2.0], [1.0])


def test_an_episode_is_the_same_wherever_in_a_run_it_comes(write, both, tmp_path):
    world = {k: v for k, v in sim_table().items() if k in ("cell", "arm", "ft", "gripper", "tool")}
    path = write(**both, **world)
    assert run(path, tmp_path / "alone", "--seed", 4, "--episodes", 1) == 0
    assert run(path, tmp_path / "third", "--seed", 2, "--episodes", 3) == 0
    alone, third = (tmp_path / part / "episode_4.mcap" for part in ("alone", "third"))
    assert np.ptp(open_recording(alone).rows("/command")["sent"], axis=0).max() > 1e-3  # it moves
    assert first_difference(alone, third) == ""


def test_a_run_records_its_result_and_the_numbers_of_its_events(tmp_path):
    rig = Rig(null_table(), Policy(lambda a: a * 40.0))
    path = tmp_path / "e.mcap"
    result = rig.run(path)
    recording = open_recording(path)
    assert result_of(recording) == result
    guard = [e for e in events_of(recording) if e.kind is EventKind.GUARD]
    assert guard
    for e in guard:
        assert e.text.startswith(f"guard: {e.subject}: ")
        assert set(e.numbers) == {"index", "found", "limit"}
    broken = [e for e in guard if e.subject in ("POSITION", "VELOCITY", "ACCELERATION", "JERK")]
    assert broken
    for e in broken:
        found, limit = e.numbers["found"], e.numbers["limit"]
        assert abs(found) > abs(limit) > 0.0
        assert 0 <= e.numbers["index"] < 6
