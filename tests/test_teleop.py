"""`headway teleop`: a person steers in lock-step with injected keys; a leader and a follower on two
emulated lines."""

from __future__ import annotations

import io
import json
import os
import time

import numpy as np
import pytest
from loop_rig import sim_table
from null_robot import NO_REALTIME, null_table
from rich.console import Console
from test_feetech_arm import calibration

from headway import config
from headway.__main__ import main
from headway.clock import VirtualClock, WallClock
from headway.drivers.inputs.keyboard import Keys, listening
from headway.edge.control.settings import Settings, with_operator
from headway.errors import ConfigError, DeviceError, SpecMismatch
from headway.hil.launch import Emulator
from headway.mcaplog import open_recording
from headway.tools.teleop.command import TeleopOptions, check, demonstrate, finish
from headway.tools.teleop.session import Session, Steering

SO101 = {
    "workspace_min": [-2.0, -2.0, -2.0], "workspace_max": [2.0, 2.0, 2.0], "force_max": 80.0,
    "torque_max": 15.0, "require_wrench": False, "check_collision": False,
}  # fmt: skip


class Script(Session):
    """A person who presses `keys[episode][tick]`, and begins as many episodes as there are."""

    def __init__(self, keys, between=()):
        self.said = []
        super().__init__(self.said.append)
        self.script, self.between, self.episode = keys, between, -1

    def attach(self, loop, device):
        super().attach(loop, device)
        command, prepare = loop.station.arm_device.command, loop.prepare
        self.tick = 0

        def prepared(instruction, log):
            self.tick = 0
            return prepare(instruction, log)

        def commanded(q, *, deadline_ns):
            for key in self.script[self.episode].get(self.tick, ""):
                self.take(key)
            self.tick += 1
            return command(q, deadline_ns=deadline_ns)

        loop.prepare, loop.station.arm_device.command = prepared, commanded

    def wait(self):
        if self.episode >= 0 and self.episode < len(self.between):
            for key in self.between[self.episode]:
                self.take(key)
        self.episode += 1
        return self.episode < len(self.script)


def steer(table, out, person, clock=None, **options):
    """What a `person` records of the robot of `table`, and what was printed."""
    settings = with_operator(config.decode(table, Settings, "test"))
    text = io.StringIO()
    console = Console(file=text, width=200)
    made = TeleopOptions(**options)
    check(settings, made)
    done = demonstrate(
        settings, made, out, person, person.said.append, console, clock or VirtualClock(1)
    )
    return done, finish(done, made, out, console), text.getvalue()


def z_of(path):
    return open_recording(path).rows("/telemetry")["tcp"][:, 2]


def held_down(key, first, last):
    """A key that a terminal repeats every 30 ms at 500 Hz, after the arm was taken."""
    return {first - 1: " ", **dict.fromkeys(range(first, last, 15), key)}


def test_keys_move_the_arm_through_the_guard_and_mark_the_episode(tmp_path):
    person = Script([{**held_down("r", 100, 400), 600: "y"}, {50: "n"}])
    done, code, text = steer(null_table(), tmp_path, person)
    assert code == 0
    assert [(p.name, r.success, r.end) for p, r in done.items()] == [
        ("episode_0.mcap", True, "operator"), ("episode_1.mcap", False, "operator"),
    ]  # fmt: skip
    z = z_of(tmp_path / "episode_0.mcap")
    assert z[90] == pytest.approx(z[0], abs=1e-6)
    assert z[-1] - z[0] == pytest.approx(0.06 * 0.6, abs=0.012)  # 0.6 s at 6 cm/s
    assert z[-1] == pytest.approx(z[-20], abs=1e-4)  # at rest: the key was released
    assert np.ptp(z_of(tmp_path / "episode_1.mcap")) < 1e-6  # the second begins with nobody
    assert "2 episodes" in text
    recording = open_recording(tmp_path / "episode_0.mcap")
    assert recording.metadata["policy_kind"] == "teleop"
    assert set(recording.rows("/chunk")["operator"]) == {0.0, 1.0}


def test_letting_go_holds_the_arm_while_a_key_is_down(tmp_path):
    keys = held_down("r", 100, 600)
    person = Script([{**keys, 300: " "}])
    done, _, _ = steer(null_table(), tmp_path, person)
    z = z_of(next(iter(done)))
    assert z[-1] == pytest.approx(z[400], abs=1e-4)
    assert z[300] - z[0] > 0.01
    assert "teleop: the arm holds" in person.said


def test_an_episode_is_thrown_away_while_it_runs_or_afterwards(tmp_path):
    person = Script([{50: "x"}, {50: "y"}, {50: "y"}], between=["x", "", "xx"])
    done, _, _ = steer(null_table(), tmp_path, person)
    assert [p.name for p in done] == ["episode_0.mcap"]  # of the second
    assert [p.name for p in sorted(tmp_path.glob("*.mcap"))] == ["episode_0.mcap"]
    assert person.said.count("teleop: this episode is thrown away") == 2
    more = Script([{50: "y"}])
    done, _, _ = steer(null_table(), tmp_path, more)
    assert [p.name for p in done] == ["episode_1.mcap"]  # numbered on


def test_the_session_ends_when_it_is_told_or_has_enough(tmp_path):
    person = Script([{50: "z"}, {50: "y"}])
    person.wait = lambda: not person.ended() and Script.wait(person)
    person.ended = lambda: person.episode == 0
    done, _, _ = steer(null_table(), tmp_path / "a", person)
    assert [r.end for r in done.values()] == ["interrupted"]
    done, _, _ = steer(null_table(), tmp_path / "b", Script([{9: "y"}] * 5), episodes=2)
    assert len(done) == 2


def test_the_jaws_open_and_close(tmp_path):
    done, _, _ = steer(null_table(), tmp_path, Script([{50: " ", 100: "g", 300: "g", 500: "y"}]))
    width = open_recording(next(iter(done))).rows("/telemetry")["width_ref"]
    stroke = width[0]
    assert width[250] == 0.0
    assert width[-1] == stroke


def test_it_works_in_the_simulated_cell(tmp_path):
    done, _, _ = steer(sim_table(), tmp_path, Script([{**held_down("f", 100, 400), 600: "y"}]))
    (result,) = done.values()
    assert result.success is True
    z = z_of(next(iter(done)))
    assert z[-1] - z[0] < -0.02


def test_demonstrations_become_a_data_set(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("av")
    person = Script([{**held_down("r", 100, 300), 400: "y"}, {60: "x"}, {300: "n"}])
    _, code, text = steer(null_table(), tmp_path / "runs", person, dataset=tmp_path / "data")
    assert code == 0, text
    info = json.loads((tmp_path / "data" / "meta" / "info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"]) == ("v3.0", 2)
    rows = pq.read_table(next((tmp_path / "data" / "data").rglob("*.parquet"))).to_pydict()
    assert np.ptp(np.array(rows["action"]), axis=0).max() > 0.01
    with pytest.raises(ConfigError, match="found a data set"):
        steer(null_table(), tmp_path / "runs", person, dataset=tmp_path / "data")


class Breaking:
    """An input whose plug is pulled after `reads`."""

    info = type("I", (), {"kind": "broken"})
    actions = None

    def __init__(self, reads):
        self.reads, self.activated = reads, 0

    def activate(self):
        self.activated += 1

    def reset(self): ...

    def read(self):
        self.reads -= 1
        if self.reads < 0:
            raise DeviceError("gone")
        return np.zeros(7)


def test_an_input_that_fails_lets_the_arm_go_until_it_is_taken_again():
    said = []
    keys = Keys()
    device = Breaking(1)
    steering = Steering(device, keys, said.append)
    assert steering.read() is None
    keys.take(" ")
    assert steering.read() is not None
    assert steering.read() is None
    assert not keys.steering
    assert said == ["teleop: the arm holds: gone"]
    device.reads = 5
    assert steering.read() is None  # it does not go on by itself
    keys.take(" ")
    assert steering.read() is not None


def test_a_device_that_is_still_gone_is_not_taken():
    person = Script([{}])
    person._loop = object()

    class Gone(Breaking):
        def activate(self):
            raise DeviceError("still gone")

    person._device = Gone(9)
    person.take(" ")
    assert not person.keys.steering
    assert person.said == ["teleop: the arm holds: still gone"]


def feetech_table(follower, leader, folder):
    path = str(calibration(folder))
    line = {"calibration": path, "check_calibration": False}
    return null_table(
        arm={"kind": "feetech", "port": follower, **line},
        gripper={"kind": "feetech", "port": follower},
        input={"kind": "leader", "port": leader, **line},
        guard=SO101, loop={"hz": 100.0, "max_age_s": 2.0, "fault_after_s": 5.0, "watchdog_s": 0.0,
                           "tare_s": 0.0},
        task={"kind": "open_ended", "limit_s": 60.0}, camera=[], realtime=NO_REALTIME,
    ) | {"ft": None}  # fmt: skip


def test_a_follower_goes_where_its_leader_is(tmp_path):
    """Two emulated lines, in real time: the leader stands elsewhere and goes nowhere."""
    goal = np.array([0.4, -0.2, 0.3, 0.2, -0.3])
    plant = {"kind": "servo", "model": "so101"}
    with (
        Emulator("feetech", {}, plant | {"q": goal.tolist()}) as leader,
        Emulator("feetech", {}, plant | {"q": [0.0] * 5}) as follower,
    ):
        person = Script([{20: " "} | dict.fromkeys(range(21, 6000), "?")])
        take, until = person.take, time.monotonic() + 30.0

        def arrived():
            q = person._loop.station.arm.latest(10**12).value.q
            if np.abs(q - goal).max() < 0.01 or time.monotonic() > until:
                take("y")

        person.take = lambda key: arrived() if key == "?" else take(key)
        table = feetech_table(follower.uri, leader.uri, tmp_path)
        done, _, text = steer(table, tmp_path / "runs", person, WallClock(spin_ns=0))
        commands = {e.event for e in leader.journal()}
    (result,) = done.values()
    assert result.end == "operator", text
    assert not commands & {"activated", "command"}
    q = open_recording(next(iter(done))).rows("/telemetry")["q"]
    np.testing.assert_allclose(q[0], 0.0, atol=0.01)
    np.testing.assert_allclose(q[-1], goal, atol=0.02)
    assert np.abs(np.diff(q, axis=0)).max() < 0.2  # no jump


def test_the_follower_is_no_leader_and_joints_have_to_fit(tmp_path):
    table = feetech_table("/dev/a", "/dev/a", tmp_path)
    with pytest.raises(ConfigError, match="is the port of"):
        steer(table, tmp_path, Script([{}]))
    with Emulator("feetech", {}, {"kind": "servo", "model": "so101"}) as leader:
        table = null_table(input=feetech_table("/dev/a", leader.uri, tmp_path)["input"])
        with pytest.raises(SpecMismatch, match="shoulder_pan"):
            steer(table, tmp_path, Script([{}]), WallClock(spin_ns=0))


def test_the_terminal_is_as_before_however_it_ends():
    import termios

    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)

    def interrupted():
        with listening(Keys(), theirs):
            assert termios.tcgetattr(theirs) != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_enter_begins_an_episode_and_z_ends_the_session():
    session = Session(lambda line: None)

    class Running:
        stop_requested = False

        def finish(self, success=None):
            return "no episode runs at the moment"

    session.attach(Running(), Breaking(0))
    session.take("\n")  # nobody waits for it yet
    session._go.put(True)  # as little as for what was pressed before
    took = []
    answer = session._answer

    def pressing():
        took.append(session.take("\n" if len(took) == 0 else "z"))
        return answer()

    session._answer = pressing
    assert session.wait()
    assert not session.wait()
    assert not session.wait()
    assert len(took) == 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--input", "joystick"), "found `joystick`"),
        (("--input", "leader"), "`port`"),
        (("--episodes", "0"), "wanted --episodes of at least 1"),
        ((), "headway teleop reads single keys from a terminal"),
    ],
)
def test_a_session_that_cannot_be_is_refused(args, says, write, both, capsys, monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert main(["teleop", str(write(**both)), *args]) == 2
    assert says in " ".join(capsys.readouterr().err.split())
