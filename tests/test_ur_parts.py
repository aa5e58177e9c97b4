"""The parts of the UR emulator without sockets and without a clock: motions, kinematics, sessions,
the splitting of programs, faults."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ur_controller import VERSION, Controller

from headway.drivers.model import load
from headway.hil.emulators._ur.conductor import Conductor
from headway.hil.emulators._ur.faults import Fault
from headway.hil.emulators._ur.kinematics import Kinematics
from headway.hil.emulators._ur.memory import Memory
from headway.hil.emulators._ur.motion import Motion, RefusedError
from headway.hil.emulators._ur.robot import NORMAL, PROTECTIVE, STOPPED
from headway.hil.emulators._ur.rtde import RtdeSession
from headway.hil.emulators._ur.scripts import Splitter
from headway.hil.journal import Journal

TWO = """
def p():
  # the end of it is no end
  thread t():
    while True:
      sync()
    end
  end
  textmsg("end # of it")
  if True:
    run t()
  else:
    sync()
  end
end
"""


@given(
    gain=st.floats(100.0, 2000.0),
    lookahead=st.floats(0.03, 0.2),
    dt=st.sampled_from([0.002, 0.008]),
    target=st.lists(st.floats(-0.19, 0.19), min_size=6, max_size=6),
)
@settings(max_examples=15, deadline=None)
def test_servoj_arrives_within_the_speed_limit_for_every_gain(gain, lookahead, dt, target):
    fastest = np.full(6, np.pi)
    motion = Motion(np.zeros(6), fastest, 0.2)
    for _ in range(round(3.0 / dt)):
        motion.servoj(np.array(target), lookahead, gain)
        motion.step(dt)
        assert (np.abs(motion.dq) <= fastest).all()
    assert motion.q == pytest.approx(target, abs=1e-3)


def test_speed_scaling_makes_servoj_lag():
    lags = []
    for scale in (1.0, 0.5):
        motion = Motion(np.zeros(6), np.full(6, np.pi), 0.2)
        for i in range(500):
            motion.servoj(np.full(6, 0.001 * i), 0.05, 500.0)
            motion.step(0.002 * scale)
        lags.append(0.499 - motion.q[0])
    assert 0.0 < 1.5 * lags[0] < lags[1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 7.0, 0.21])
def test_targets_that_no_robot_takes_are_refused(bad):
    motion = Motion(np.zeros(6), np.full(6, np.pi), 0.2)
    with pytest.raises(RefusedError):
        motion.servoj(np.array([0, 0, bad, 0, 0, 0]), 0.1, 300.0)
    assert motion.resting


def test_the_speed_is_scaled_by_the_slider_and_by_the_limiter():
    moved = []
    for slider, limiter in ((1.0, 1.0), (0.5, 1.0), (0.5, 0.5)):
        controller = Controller()
        controller.memory.values["target_speed_fraction"] = slider
        controller.robot.limiter = limiter
        controller.run("def p():\n speedj([1,0,0,0,0,0], 1000, 10)\nend\n", 101)
        assert controller.memory.values["speed_scaling"] == limiter
        moved.append(controller.plant.q[0])
    assert moved == pytest.approx([0.2, 0.1, 0.05], rel=0.05)


def test_movej_and_stopj_end_at_rest():
    controller = Controller().run("def p():\n movej([0.1,0,0,0,0,0], a=2, v=1)\nend\n", 400)
    assert controller.plant.q == pytest.approx([0.1, 0, 0, 0, 0, 0])
    assert controller.robot.motion.resting
    controller.run("def p():\n speedj([1,0,0,0,0,0], 5, 0.3)\n stopj(5)\nend\n", 100)
    assert controller.robot.motion.dq[0] == pytest.approx(0.99, abs=0.02)
    controller.cycles(300)
    assert controller.robot.motion.resting
    assert controller.robot.runtime == STOPPED


def test_the_kinematics_are_those_of_the_model_in_the_base_of_the_controller():
    """Which is turned by half a turn about z against the base of the model."""
    chain, ours = load("ur5e", "tool0").chain, Kinematics("ur5e", (0.0,) * 6)
    half = np.diag([-1.0, -1.0, 1.0])
    rng = np.random.default_rng(3)
    for q, dq in zip(rng.uniform(-3, 3, (20, 6)), rng.uniform(-1, 1, (20, 6)), strict=True):
        pose, speed, R = ours.pose(q, dq)
        wanted_R, wanted_p = chain.fk(q)
        assert pose[:3] == pytest.approx(half @ wanted_p, abs=1e-9)
        assert half @ wanted_R == pytest.approx(R, abs=1e-9)
        twist = chain.motion(q, dq)[1]
        assert speed == pytest.approx([*(half @ twist[:3]), *(half @ twist[3:])], abs=1e-9)


class Wire:
    """A client that takes what is sent, or nothing while it is `busy`."""

    def __init__(self):
        self.sent, self.busy, self.closed = [], False, False

    def send(self, data):
        self.sent.append(data)

    def flush(self):
        pass

    def close(self):
        self.closed = True


def session(hz=500.0):
    wire, memory = Wire(), Memory(VERSION, ())
    client = RtdeSession(wire, memory, VERSION, 500.0)
    names = b"timestamp"
    body = np.array(hz, ">f8").tobytes() + names
    client.feed(b"\x00\x05V\x00\x02", 0)
    client.feed((3 + len(body)).to_bytes(2, "big") + b"O" + body, 0)
    client.feed(b"\x00\x03S", 0)
    wire.sent.clear()
    return client, wire, memory


def test_a_client_gets_the_rate_that_it_asks_for():
    client, wire, _ = session(125.0)
    for cycle in range(40):
        client.publish(cycle)
    assert len(wire.sent) == 10


def test_a_slow_client_gets_the_newest_once_it_has_taken_the_last():
    client, wire, memory = session()
    wire.busy = True
    for cycle in range(40):
        client.publish(cycle)
    assert wire.sent == []
    wire.busy = False
    memory.values["timestamp"] = 5.0
    client.publish(40)
    client.publish(40)
    assert len(wire.sent) == 1
    assert np.frombuffer(wire.sent[0][4:], ">f8") == [5.0]


@given(st.lists(st.binary(max_size=60), max_size=6))
@settings(max_examples=100, deadline=None)
def test_no_bytes_break_a_session_of_rtde(chunks):
    client, wire, memory = session()
    before = dict(memory.values)
    for chunk in chunks:
        client.feed(chunk, 0)
    client.publish(0)
    assert memory.values == before  # without a recipe nothing can be written
    assert wire.closed or all(data[2:3] in b"VvMOISPU" for data in wire.sent)


@given(st.lists(st.integers(0, 200), max_size=8))
@settings(max_examples=100, deadline=None)
def test_programs_are_cut_alike_however_they_come(cuts):
    sent = (TWO + 'stopj(2)\n\nsec s():\n textmsg("def end")\nend\n').encode()
    edges = [0, *sorted(cuts), len(sent)]
    splitter, found = Splitter(), []
    for i, end in enumerate(edges[1:]):
        found += splitter.feed(sent[edges[i] : end])
    assert [program.split("(")[0] for program in found] == ["def p", "stopj", "sec s"]
    assert found[0] == TWO.lstrip("\n")


def test_faults_begin_and_end_at_their_times():
    controller = Controller()
    faults = (
        Fault("speed_slider", at_s=0.01, for_s=0.01, value=0.5),
        Fault("protective_stop", at_s=0.03),
        Fault("skip", at_s=0.0, for_s=1.0, value=0.5),
    )
    conductor = Conductor(faults, 0, controller.robot, Journal(None))
    seen, quiet = [], 0
    for i in range(20):
        controller.cycles(1)
        if i == 2:
            conductor.connected(controller.now)
        conductor.step(controller.now)
        quiet += conductor.quiet(controller.now)
        seen.append(controller.memory.values["target_speed_fraction"])
    assert [i for i, v in enumerate(seen) if v == 0.5] == [7, 8, 9, 10, 11]
    assert controller.robot.safety == PROTECTIVE
    assert 0 < quiet < 20


def test_a_plant_that_leaves_its_stop_a_little_later_is_not_stopped_again():
    controller = Controller()
    robot, plant = controller.robot, controller.plant
    plant.stopped = True
    controller.cycles(2)
    assert robot.safety == PROTECTIVE
    assert robot.unlock()
    controller.cycles(5)  # the plant's process has not heard of it
    assert robot.safety == NORMAL
    plant.stopped = False
    controller.cycles(1)
    plant.stopped = True  # anew
    controller.cycles(1)
    assert robot.safety == PROTECTIVE
    assert robot.unlock()
    controller.cycles(100)  # it does not leave it
    assert robot.safety == PROTECTIVE


def test_an_arm_that_was_moved_by_hand_ends_the_program_and_stays_where_it_is():
    program = "def p():\n while True:\n  servoj([0,0,0,0,0,0], t=0.002)\n end\nend\n"
    controller = Controller().run(program, 10)
    controller.plant.q, controller.plant.generation = np.full(6, 0.7), 1
    controller.cycles(10)
    assert controller.robot.runtime == STOPPED
    assert controller.plant.q == pytest.approx([0.7] * 6)
    controller.run("def p():\n speedj([1,0,0,0,0,0], 1000, 10)\nend\n", 2)
    assert 0.7 < controller.plant.q[0] < 0.71
