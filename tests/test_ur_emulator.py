"""The emulator of a Universal Robots controller, by a client of its own that is written from the
manual: what RTDE, the ports for programs and the dashboard promise."""

from __future__ import annotations

import struct
import threading
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from ur_rig import SERVO, Client, emulated, servoing

from headway.errors import ConfigError
from headway.hil.emulators import ur
from headway.hil.journal import Journal
from headway.hil.launch import Emulator
from headway.hil.plant import ServoConfig, ServoPlant


@pytest.fixture
def cell(tmp_path):
    with emulated(tmp_path, unlock_s=0.0, power_s=0.0) as found:
        yield found


def test_what_a_client_of_rtde_is_told_first(cell):
    client = cell.rtde()
    assert struct.unpack(">4I", client.ask(b"v")) == (5, 12, 0, 1101319)
    number, kinds = client.outputs(["timestamp", "actual_q", "no_such_thing"])
    assert (number, kinds) == (0, ["DOUBLE", "VECTOR6D", "NOT_FOUND"])
    names = ["timestamp", "actual_q", "joint_mode", "actual_digital_output_bits", ""]
    answer = client.ask(b"O", struct.pack(">d", 500.0) + ",".join(names).encode())
    assert answer == b"\x01DOUBLE,VECTOR6D,VECTOR6INT32,UINT64"  # no type for an empty name
    assert client.ask(b"P") == b"\x01"


def test_version_1_of_rtde_is_refused_and_nonsense_is_named(cell):
    client = cell.rtde(agree=False)
    assert client.ask(b"V", b"\x00\x01") == b"\x00"
    client.send(b"O", struct.pack(">d", 500.0) + b"timestamp")
    client.receive(b"M")
    assert "type 79" in client.texts[0]
    client.send(b"U", b"\x09\x00")
    client.receive(b"M")
    assert client.texts[1] == "no recipe 9 of inputs with 2 bytes"


def test_states_have_the_time_of_the_controller_and_the_joints_of_the_plant(cell):
    client = cell.rtde()
    client.start()
    states = [client.data() for _ in range(20)]
    times = [s["timestamp"] for s in states]
    assert (np.diff(times) > 0).all()
    assert states[-1]["actual_q"] == pytest.approx(cell.plant.state().q, abs=1e-9)
    assert (states[-1]["robot_mode"], states[-1]["safety_mode"]) == (7, 1)


def test_an_input_belongs_to_one_client_at_a_time(tmp_path):
    with emulated(tmp_path, in_use=["input_int_register_5"]) as cell:
        first, second = cell.rtde(), cell.rtde()
        assert first.inputs(["input_int_register_0"]) == (1, ["INT32"])
        assert first.inputs(["input_int_register_0", "input_double_register_1"])[0] == 2
        assert second.inputs(["input_int_register_0"]) == (0, ["IN_USE"])
        assert second.inputs(["input_int_register_5", "nothing"]) == (0, ["IN_USE", "NOT_FOUND"])
        first.close()
        while second.inputs(["input_int_register_0"])[0] == 0:
            pass  # until the controller has noticed


def test_outputs_change_where_their_mask_has_ones(cell):
    client = cell.rtde()
    client.start(("actual_digital_output_bits", "target_speed_fraction"))
    number, _ = client.inputs(["standard_digital_output_mask", "standard_digital_output"])
    tool, _ = client.inputs(["tool_digital_output_mask", "tool_digital_output"])
    slider, _ = client.inputs(["speed_slider_mask", "speed_slider_fraction"])
    client.send(b"U", struct.pack(">3B", number, 0b1100, 0b0111))
    client.send(b"U", struct.pack(">3B", tool, 0b10, 0b10))
    client.send(b"U", struct.pack(">BId", slider, 1, 0.25))
    state = client.until(lambda s: s["target_speed_fraction"] == 0.25)
    assert state["actual_digital_output_bits"] == 0b100 | 0b10 << 16


def test_outputs_without_a_mask_change_nothing(cell):
    client = cell.rtde()
    client.start(("actual_digital_output_bits", "target_speed_fraction"))
    bare, _ = client.inputs(["standard_digital_output", "speed_slider_fraction"])
    masked, _ = client.inputs(["tool_digital_output_mask", "tool_digital_output"])
    client.send(b"U", struct.pack(">BBd", bare, 0b11, 0.25))
    client.send(b"U", struct.pack(">3B", masked, 0b10, 0b10))
    state = client.until(lambda s: s["actual_digital_output_bits"])
    assert (state["actual_digital_output_bits"], state["target_speed_fraction"]) == (2 << 16, 1.0)


def test_a_program_servos_the_arm_where_registers_say(cell):
    client, target, q = servoing(cell)
    goal = q + 0.1
    at = q
    while np.abs(goal - at).max() > 1e-3:
        at = at + np.clip(goal - at, -0.01, 0.01)
        target(at)
        client.data()
    client.until(lambda s: np.abs(s["actual_q"] - goal).max() < 1e-3)
    assert [e.event for e in cell.journal() if e.event != "connected"] == ["activated", "command"]
    target(goal, beat=-1)
    client.until(lambda s: s["runtime_state"] == 1)
    assert cell.journal()[-1].why == "program end"


def test_the_watchdog_of_rtde_ends_the_program_when_the_host_is_silent(cell):
    client, target, q = servoing(cell, hz=4.0)
    target(q + 0.1)
    client.until(lambda s: s["runtime_state"] == 1)  # nothing more is written
    stopped = [e for e in cell.journal() if e.event == "stopped"]
    assert [e.why for e in stopped] == ["watchdog"]
    numbers = stopped[0].numbers
    assert numbers["noticed_ns"] - numbers["last_ns"] > numbers["allowed_ns"] == 250_000_000
    assert any("watchdog: no input_int_register_0" in text for text in client.texts)


def test_the_arm_stops_when_the_host_is_gone(cell):
    client, target, q = servoing(cell, hz=4.0)
    watcher = cell.rtde()
    watcher.start()
    target(q + 0.15)
    client.close()
    watcher.until(lambda s: s["runtime_state"] == 1)
    assert [e.why for e in cell.journal() if e.event == "stopped"] == ["watchdog"]


def test_a_jump_brings_about_a_protective_stop_that_is_unlocked_by_hand(cell):
    client, target, q = servoing(cell)
    target(q + 0.5)
    client.until(lambda s: s["safety_mode"] == 3)
    state = client.data()
    assert state["runtime_state"] == 1
    assert np.abs(state["target_q"] - q).max() < 0.01
    assert any("C153" in text for text in client.texts)
    dashboard = cell.dashboard()
    assert dashboard.ask("safetystatus") == "Safetystatus: PROTECTIVE_STOP"
    assert dashboard.ask("unlock protective stop") == "Protective stop releasing"
    client.until(lambda s: s["safety_mode"] == 1)
    assert dashboard.ask("running") == "Program running: false"


def test_a_protective_stop_of_the_plant_cannot_be_unlocked_at_once(tmp_path):
    with emulated(tmp_path, unlock_s=60.0) as cell:
        client, dashboard = cell.rtde(), cell.dashboard()
        client.start()
        cell.plant.bump()
        client.until(lambda s: s["safety_mode"] == 3)
        assert dashboard.ask("unlock protective stop").startswith("Cannot unlock protective stop")
        assert client.data()["safety_mode"] == 3


def test_an_emergency_stop_takes_the_power_and_it_comes_back_step_by_step(cell):
    client, _, _ = servoing(cell)
    dashboard = cell.dashboard()
    assert dashboard.ask("emulator fault emergency_stop 0 0.001") == "fault: emergency_stop"
    client.until(lambda s: s["robot_mode"] == 3)
    client.until(lambda s: s["safety_mode"] == 1)
    cell.port("script").sendall(SERVO.replace("HZ", "1").encode())
    client.receive(b"M")
    while "not started" not in client.texts[-1]:
        client.receive(b"M")
    assert dashboard.ask("power on") == "Powering on"
    client.until(lambda s: s["robot_mode"] == 5)
    assert dashboard.ask("brake release") == "Brake releasing"
    client.until(lambda s: s["robot_mode"] == 7)
    assert dashboard.ask("robotmode") == "Robotmode: RUNNING"


def test_a_safeguard_stop_pauses_the_program(cell):
    client, target, q = servoing(cell)
    dashboard = cell.dashboard()
    dashboard.ask("emulator fault safeguard_stop 0 0.05")
    client.until(lambda s: (s["safety_mode"], s["runtime_state"]) == (5, 4))
    client.until(lambda s: (target(q), s["safety_mode"], s["runtime_state"])[1:] == (1, 2))


def test_a_reboot_closes_all_and_begins_the_time_anew(cell):
    client = cell.rtde()
    client.start()
    before = client.until(lambda s: s["timestamp"] > 0.2)["timestamp"]
    dashboard = cell.dashboard()
    dashboard.ask("emulator fault reboot 0 0.05")
    with pytest.raises(OSError, match=r"closed|reset"):
        client.until(lambda s: False)
    again = None
    while again is None:
        with suppress(OSError):
            again = cell.rtde()
    again.start()
    assert again.data()["timestamp"] < before


def test_local_control_refuses_programs_and_commands(tmp_path):
    with emulated(tmp_path, remote=False) as cell:
        client, dashboard = cell.rtde(), cell.dashboard()
        client.start()
        assert dashboard.ask("is in remote control") == "false"
        assert "not allowed" in dashboard.ask("power off")
        cell.port("primary").sendall(SERVO.replace("HZ", "1").encode())
        client.receive(b"M")
        assert client.texts == ["the program was refused: the robot is in local control"]


def test_what_the_dashboard_answers(cell):
    dashboard = cell.dashboard()
    assert dashboard.banner == "Connected: Universal Robots Dashboard Server"
    wanted = {
        "PolyscopeVersion": "URSoftware 5.12.0.1101319 (Mar 22 2022)",
        "get serial number": "20225500001",
        "get robot model": "UR5",
        "robotmode": "Robotmode: RUNNING",
        "safetymode": "Safetymode: NORMAL",
        "is in remote control": "true",
        "running": "Program running: false",
        "programState": "STOPPED",
        "play": "Failed to execute: play",
        "stop": "Stopped",
        "load nothing": "File not found: nothing",
        "load some.urp": "Loading program: some.urp",
        "get loaded program": "Loaded program: some.urp",
        "popup hello": "showing popup",
        "close popup": "closing popup",
        "nonsense": "could not understand: nonsense",
        "quit": "Disconnected",
    }
    assert {line: dashboard.ask(line) for line in wanted} == wanted


def test_the_program_that_ran_last_is_played_again(cell):
    client, _, _ = servoing(cell)
    dashboard = cell.dashboard()
    assert dashboard.ask("programState") == "PLAYING servo"
    assert dashboard.ask("stop") == "Stopped"
    client.until(lambda s: s["runtime_state"] == 1)
    assert dashboard.ask("play") == "Starting program"
    client.until(lambda s: s["runtime_state"] == 2)


def test_the_primary_port_says_what_does_not_compile(cell):
    port = cell.port("primary")
    port.sendall(b"def wrong():\n  x = 1\n  open_the_pod_bay_doors(x)\nend\n")
    said = b""
    while b"pod" not in said:
        said += port.recv(4096)
    assert b"URControl" in said  # the version comes first
    assert b"line 3: open_the_pod_bay_doors is not defined" in said


def test_faults_of_the_table_come_at_their_times(tmp_path):
    faults = [{"kind": "silence", "at_s": 0.05, "for_s": 0.2}, {"kind": "stuck", "at_s": 0.3}]
    with emulated(tmp_path, faults=faults) as cell:
        client = cell.rtde()
        client.start()
        times = [client.data()["timestamp"]]
        while max(np.diff([0.0, *times])[1:], default=0.0) < 0.19:
            times.append(client.data()["timestamp"])
        while len([e for e in cell.journal() if e.event == "fault"]) < 2:
            client.data()
    assert [e.why for e in cell.journal() if e.event == "fault"] == ["silence", "stuck"]


def test_a_cb3_sends_at_125_hz_what_it_knows(tmp_path):
    with emulated(tmp_path, model="ur5", firmware="3.15.8.106339") as cell:
        client = cell.rtde()
        assert client.outputs(["ft_raw_wrench"], 125.0) == (0, ["NOT_FOUND"])
        assert client.outputs(["timestamp"], 500.0)[0] == 0  # faster than its cycle
        assert client.outputs(["timestamp"], 125.0)[0] == 1
        assert cell.dashboard().ask("is in remote control").startswith("could not understand")


def test_a_model_and_a_firmware_that_do_not_go_together_are_refused():
    cfg = ur.Config(model="ur5", firmware="5.12.0.1")
    with pytest.raises(ConfigError, match=r"ur5 with 5\.12"):
        ur.serve(cfg, ServoPlant(ServoConfig()), Journal(None), print, threading.Event())


def test_it_runs_as_a_process_of_its_own():
    with Emulator("ur", {"model": "ur5e"}) as device:
        parts = urlsplit(device.uri)
        client = Client(parts.hostname, int(parse_qs(parts.query)["rtde"][0]))
        client.start()
        assert client.data()["actual_q"].shape == (6,)
        client.close()
