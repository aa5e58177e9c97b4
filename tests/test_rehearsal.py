"""The understudy goes through every tick, and nothing of it is to be seen."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from loop_rig import WHEN, Policy, Rig
from msgspec import structs
from null_robot import HORIZON, null_table
from pro_head import make_head

from headway import config
from headway.clock import NS, Tick, VirtualClock
from headway.edge.control.log import EpisodeLog, NullLog
from headway.edge.control.loop import Loop
from headway.edge.control.rehearsal import Rehearsal
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.engines.engine import open_bundle
from headway.edge.motion.deadline import Mode
from headway.edge.policy.policy import About
from headway.edge.policy.worker.practice import Practice
from headway.edge.pro.operator import ProOperator
from headway.errors import DeviceError
from headway.mcaplog import open_recording
from headway.tools.latency.analysis import analyse

PERIOD = 2_000_000


class QuickClock(VirtualClock):
    """Says that it is the wall clock, and never waits."""

    realtime = True


def pro_operator(station: Station, folder: Path) -> ProOperator:
    made = make_head(folder)
    engine = open_bundle(made)
    loop = station.settings.loop
    return ProOperator(made, engine, station.scale, station.joints, hz=loop.hz, head_hz=loop.pro_hz)


class RealRig(Rig):
    """A rig on the quick clock, with PRO; rehearsed or not."""

    def __init__(self, folder, rehearsed, policy=None):
        super().__init__(null_table(), policy or Policy())
        self.clock = QuickClock(1)
        self.station.clock = self.clock
        for source in self.station.sources:
            source.clock = source.source.clock = self.clock
        self.loop = Loop(self.station, self.worker, pro_operator(self.station, folder / "head"))
        self.rehearsal = Rehearsal(self.loop)
        if rehearsed:
            self.loop.rehearsal = self.rehearsal


def test_a_rehearsed_episode_is_the_one_without_to_the_bit(tmp_path):
    found = []
    for rehearsed in (True, False):
        rig = RealRig(tmp_path / str(rehearsed), rehearsed)
        done = []
        step = rig.rehearsal.step
        rig.rehearsal.step = lambda tick, step=step, done=done: done.append(step(tick)) or done[-1]
        path = tmp_path / f"{rehearsed}.mcap"
        rig.run(path)
        rig.check_arm()
        recording = open_recording(path)
        rows = [recording.rows(topic).tobytes() for topic in ("/telemetry", "/command", "/pro")]
        lines = [(line.t_ns, line.text) for line in recording.logs("/log")]
        found.append((rows, lines, len(rig.calls), len(recording.rows("/timing"))))
        if rehearsed:
            assert done == [700_000] * (len(recording.rows("/timing")) - 1)
            assert (recording.rows("/timing")["spare"][1:] == 700_000).all()
            assert rig.rehearsal.trouble == ""
        else:
            assert done == []
            assert not recording.rows("/timing")["spare"].any()
    assert found[0] == found[1]


def test_the_understudy_does_what_the_loop_is_about_to_do(tmp_path):
    """Same ticks, the head on the same ones, the robot where it was seen last."""
    rig = RealRig(tmp_path, True)
    ours, theirs = [], []
    for loop, seen in ((rig.loop, ours), (rig.rehearsal._loop, theirs)):
        step = loop.pro.step

        def spy(row, tick, step=step, pro=loop.pro, seen=seen):
            signals = step(row, tick)
            seen.append((tick, pro.updated, row["t_ns"].item(), row["q"].tolist()))
            return signals

        loop.pro.step = spy
    rig.run(tmp_path / "a.mcap")
    assert [(i, head, t) for i, head, t, _ in theirs] == [(i, h, t) for i, h, t, _ in ours[1:]]
    assert [q for *_, q in theirs] == [q for *_, q in ours[:-1]]  # of the tick before
    assert np.ptp([q for *_, q in ours], axis=0).max() > 1e-3


def test_a_loop_without_time_does_not_rehearse(tmp_path):
    rig = RealRig(tmp_path, True)
    with rig.station:
        rig.loop.prepare(None)
        rig.rehearsal.begin(NullLog(), None)
        now = rig.clock.now()
        assert rig.rehearsal.step(Tick(4, now - 3 * PERIOD, 0, now - 2 * PERIOD)) == 0
        assert rig.rehearsal.step(Tick(4, now - PERIOD, 0, now + 600_000)) == 0
        assert rig.clock.now() == now
        assert rig.rehearsal.step(Tick(4, now - PERIOD, 0, now + 900_000)) == 700_000


def test_an_understudy_that_fails_is_left_out_and_said_once(tmp_path):
    rig = RealRig(tmp_path, True)
    begin = rig.rehearsal.begin

    def broken(log, instruction):
        begin(log, instruction)

        def read(log):
            raise DeviceError("nothing to see")

        rig.rehearsal._loop.senses.read = read

    rig.rehearsal.begin = broken
    result = rig.run(tmp_path / "a.mcap")
    assert result.end == "time limit"
    said = [x.text for x in open_recording(tmp_path / "a.mcap").logs("/log") if "rehears" in x.text]
    assert said == ["no more rehearsals in this episode: DeviceError: nothing to see"]


def test_a_fault_of_the_robot_is_the_loops_own_to_find(tmp_path):
    """The understudy sees the same and ends as well, which ends nothing else."""
    rig = RealRig(tmp_path, True)
    read = rig.arm.sample

    def stopped():
        late = rig.begun is not None and rig.clock.now() - rig.begun > WHEN * NS
        state = read()
        return structs.replace(state, protective_stop=late)

    rig.arm.sample = stopped
    assert rig.run(tmp_path / "a.mcap").end == "protective stop"


def test_late_ticks_name_the_rehearsal_that_overran(tmp_path):
    rig = RealRig(tmp_path, True)
    step, at = rig.rehearsal.step, 300

    def slow(tick):
        spare = step(tick)
        if tick.index == at:
            rig.clock.sleep_until(tick.deadline_ns + 500_000)
            return -500_000
        return spare

    rig.rehearsal.step = slow
    rig.run(tmp_path / "a.mcap")
    rows = open_recording(tmp_path / "a.mcap").rows("/timing")
    assert rows["late"][at + 1] == 500_000
    causes = {tick.index: tick.cause for tick in analyse(tmp_path / "a.mcap").late}
    assert causes[at + 1] == "rehearsal"


def test_practice_records_nothing(tmp_path):
    rig = RealRig(tmp_path, False)
    with rig.station:
        pro = rig.loop.pro
        with EpisodeLog(
            tmp_path / "a.mcap", joints=6, cameras={}, chunk_shape=(HORIZON, 7), pro=pro,
            realtime=True, max_ticks=10, metadata={},
        ) as log:  # fmt: skip
            practice = log.practice()
            row = np.zeros((), log.recorder._channels[0].dtype)
            for t in range(3000):  # more than its memory holds
                practice.begin()
                practice.telemetry(t, row)
                practice.timing(t, Tick(t, t))
                practice.event(t, "info", "nothing")
            assert log.recorder.written == log.recorder.dropped == 0
            log.telemetry(7, row)
    found = open_recording(tmp_path / "a.mcap")
    assert len(found.rows("/telemetry")) == 1
    assert len(found.rows("/timing")) == len(found.logs("/log")) == 0
    assert "dropped" in found.end
    assert found.end["dropped"] == "0"


def test_the_practice_policy_stands_still_and_answers_while_the_real_one_is_awaited():
    awaited = [True]
    before = set(os.listdir("/proc/self/fd"))
    worker = Practice(
        About("x", ("wrist",), ("tcp_x", "width"), (HORIZON, 7)), 6, lambda: awaited[0]
    )
    table = null_table(camera=[])
    station = Station(config.decode(table, Settings, "test"), VirtualClock(1))
    with station:
        loop = Loop(station, worker, None)
        result = loop.episode("anything", NullLog())
        assert loop.planner.deadline.mode is Mode.FOLLOW
        assert (result.end, result.rejected) == ("time limit", 0)
        adopted = []
        adopt = loop.planner.player.adopt
        loop.planner.player.adopt = lambda *a: adopted.append(a) or adopt(*a)
        loop.episode("anything", NullLog())
        assert len(adopted) > 500  # nearly every tick
        awaited[0], adopted[:] = False, []
        assert loop.episode("anything", NullLog()).end == "fault"  # nobody plans anything
        assert adopted == []
    worker.close()
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("hz", [500.0, 1000.0, 100.0])
def test_rehearsals_leave_at_least_half_of_the_period_to_sleep(tmp_path, hz):
    table = null_table()
    table["loop"] |= {"hz": hz, "pro_hz": 50.0}
    station = Station(config.decode(table, Settings, "test"), QuickClock(1))
    rehearsal = Rehearsal(Loop(station, None, None))
    assert 0 < rehearsal._ahead_ns <= min(700_000, 0.4 * NS / hz)
