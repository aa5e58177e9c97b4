"""The emulator's URScript, its motions and its splitting of what comes over the wire, without
sockets and without a clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.drivers.model import load
from headway.hil.emulators._ur import programs
from headway.hil.emulators._ur.conductor import Conductor
from headway.hil.emulators._ur.faults import Fault
from headway.hil.emulators._ur.kinematics import Kinematics
from headway.hil.emulators._ur.memory import Memory
from headway.hil.emulators._ur.motion import Motion, RefusedError
from headway.hil.emulators._ur.robot import PAUSED, PLAYING, PROTECTIVE, STOPPED, Robot, Settings
from headway.hil.emulators._ur.rtde import RtdeSession
from headway.hil.emulators._ur.scripts import Splitter
from headway.hil.journal import Journal
from headway.hil.plant import PlantState

PERIOD = 2_000_000  # [ns]
VERSION = (5, 12, 0, 0)


class Rigid:
    """A plant whose joints are where they shall be, at the time that the test says."""

    joints, stroke = 6, 0.085

    def __init__(self):
        self.q, self.t = np.zeros(6), 1

    def state(self):
        still = np.zeros(6)
        return PlantState(self.t, self.q, still, self.q, still, still, 0.0, 0.0, 0.0, False)

    def follow(self, q):
        self.q = q.copy()

    def hold(self):
        pass

    def reset_protective_stop(self):
        pass


class Controller:
    def __init__(self, **inputs):
        self.said, self.now, self.plant = [], 1, Rigid()
        self.memory = Memory(VERSION, ())
        self.memory.values.update(inputs)
        self.robot = Robot(
            Settings(PERIOD, 0.0, 0.0), self.memory, Kinematics("ur5e", (0.0,) * 6), 0.2,
            self.plant, Journal(None), lambda text, level: self.said.append(text),
        )  # fmt: skip
        self.robot.cycle(self.now)

    def run(self, source, cycles=1):
        program = programs.load(source, self.robot)
        if program is not None:
            self.robot.play(program)
            self.cycles(cycles)
        return self

    def cycles(self, n):
        for _ in range(n):
            self.now += PERIOD
            self.robot.cycle(self.now)

    def out(self, index, kind="int"):
        return self.memory.values[f"output_{kind}_register_{index}"]


def value(expression, kind="float"):
    """What `expression` of URScript is, by way of an output register."""
    controller = Controller().run(
        f"def p():\n write_output_{kind}_register(1, {expression})\nend\n"
    )
    assert not [text for text in controller.said if "exception" in text or "error" in text]
    return controller.out(1, "int" if kind == "integer" else "double")


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("1 + 2 * 3 - -4", 11.0),
        ("(1 + 2) * 3 / 4", 2.25),
        ("7 % 4 + .5 + 1e-1", 3.6),
        ("[1, 2, 3][1]", 2.0),
        ("p[0.5, 2, 3, 4, 5, 6][0]", 0.5),
        ("sqrt(norm(-16)) + d2r(180)", 4.0 + np.pi),
        ("get_list_length([1, 2])", 2.0),
        ("get_steptime()", 0.002),
    ],
)
def test_what_expressions_are(expression, wanted):
    assert value(expression) == pytest.approx(wanted)


PARTS = """
def p():
  global total = 0
  def add(n, times=2):  # a comment: end
    total = total + n * times
    if total > 5 and not total == 8:
      return True
    elif total == 8 or False:
      return False
    else:
      return False
    end
  end
  a = [1, 2]
  b = a
  b[0] = 7
  i = 0
  while True:
    i = i + 1
    if i == 2:
      continue
    end
    if i > 4:
      break
    end
    add(1)
  end
  write_output_integer_register(0, total)
  write_output_integer_register(1, a[0])
  if add(0, times=3):
    write_output_boolean_register(3, True)
  end
  textmsg("total ", total)
end
"""


def test_functions_scopes_lists_and_branches():
    controller = Controller().run(PARTS)
    assert controller.out(0) == 6
    assert controller.out(1) == 1  # lists are copied
    assert controller.memory.values["output_bit_registers0_to_31"] == 0b1000
    assert "total 6" in controller.said
    assert controller.robot.runtime == STOPPED


def test_threads_take_turns_and_end_with_the_program():
    source = """
def p():
  n = 0
  thread count():
    while True:
      n = n + 1
      write_output_integer_register(2, n)
      sync()
    end
  end
  h = run count()
  sleep(0.02)
  kill h
  sleep(0.02)
end
"""
    controller = Controller().run(source, 30)
    assert controller.out(2) == 9  # it begins a cycle after the program
    assert controller.robot.runtime == STOPPED


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def p():\n x = = 1\nend\n", "line 2: wanted a name, found ="),
        ("def p():\n if x:\n", "wanted `end`, found the end of the program"),
        ("def p():\n x = 1 $ 2\nend\n", "line 2: syntax error at '$ 2'"),
        ("def p():\n force_mode(1)\nend\n", "line 2: force_mode is not defined, or not in"),
        ("def p():\n x = run nobody()\nend\n", "nobody is not defined"),
        ("sec p():\n servoj([0,0,0,0,0,0])\nend\n", "servoj is not defined"),
        ("for i in x:\n", "wanted"),
    ],
)
def test_what_does_not_compile_is_named_and_not_run(source, said):
    controller = Controller().run(source)
    assert any("compile error" in text and said in text for text in controller.said)
    assert controller.robot.runtime == STOPPED


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("x = 1 / 0", "line 3: division by zero"),
        ("x = nothing", "a variable has no value"),
        ("if 1:\n end", "wanted a boolean, found an integer"),
        ("x = [1, 2]\n y = x[2]", "line 4: list index out of range"),
        ("servoj([1, 2])", "servoj wants a list of 6 numbers"),
        ("write_output_integer_register(48, 1)", "no register output_int_register_48"),
        ("while True:\n x = 1\n end", "infinite loop"),
        ('rtde_set_watchdog("nobody", 10)', "there is no input nobody"),
        ("x = sync()", "returns nothing"),
        ("thread t():\n t()\n end\n t()", "too deeply"),
    ],
)
def test_what_fails_while_it_runs_ends_the_program_with_the_line(statement, said):
    controller = Controller().run(f"def p():\n  sync()\n {statement}\nend\n", 3)
    assert any("runtime exception in p" in text and said in text for text in controller.said)
    assert controller.robot.runtime == STOPPED


def test_a_secondary_program_leaves_the_other_running():
    controller = Controller().run("def p():\n while True:\n sync()\n end\nend\n", 2)
    controller.run("sec s():\n set_standard_digital_out(2, True)\nend\n")
    assert controller.memory.values["actual_digital_output_bits"] == 4
    assert controller.robot.runtime == PLAYING


def test_a_line_stops_the_program_that_runs():
    controller = Controller().run("def p():\n while True:\n sync()\n end\nend\n", 2)
    controller.run("stopj(2)\n", 3)
    assert controller.robot.runtime == STOPPED


def test_a_watchdog_may_pause():
    watch = 'rtde_set_watchdog("input_int_register_0", 100)'
    source = f"def p():\n {watch}\n while True:\n sync()\n end\nend\n"
    controller = Controller().run(source, 10)
    assert controller.robot.runtime == PAUSED
    assert controller.robot.resume()
    assert controller.robot.runtime == PLAYING


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
    sent = (PARTS + 'stopj(2)\n\nsec s():\n textmsg("def end")\nend\n').encode()
    edges = [0, *sorted(cuts), len(sent)]
    splitter, found = Splitter(), []
    for i, end in enumerate(edges[1:]):
        found += splitter.feed(sent[edges[i] : end])
    assert [program.split("(")[0] for program in found] == ["def p", "stopj", "sec s"]
    assert found[0] == PARTS.lstrip("\n")


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
