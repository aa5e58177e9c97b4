"""`headway devices`: what is plugged in, by USB ids and by asking, and a first configuration."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlparse

import pytest
from emulator_rig import served
from rich.console import Console
from test_feetech_arm import calibration
from ur_stand_in import Controller

from headway import plugins
from headway.__main__ import main
from headway.drivers.finding import Found, Port, Seen, find_all
from headway.drivers.ft import rdt
from headway.edge.control.settings import load
from headway.errors import ConfigError
from headway.hil.plant import ServoConfig, ServoPlant
from headway.tools.devices.command import NOTHING, devices_command
from headway.tools.devices.draft import draft
from headway.tools.devices.look import cameras, look

CH343 = {"vid": 0x1A86, "pid": 0x55D3, "serial_number": "5A68", "product": "USB Single Serial"}


def comport(path, **keys):
    return SimpleNamespace(
        **{"device": path, "vid": None, "pid": None, "serial_number": None, "product": None, **keys}
    )


def looked(*ports, by_id=Path("/none"), **keys):
    return look(ports=lambda: ports, by_id=by_id, **keys)


def shown(seen, *, camera_list=list, json_=False, write=None, overwrite=False):
    """Exit code and output of the command, for what is `seen`."""
    out = io.StringIO()
    code = devices_command(
        (), (), seen.probe, json_, write, overwrite, seen=lambda *_: seen,
        camera_list=camera_list, console=Console(file=out, width=200),
    )  # fmt: skip
    return code, out.getvalue()


def test_ports_of_usb_are_listed_by_what_stays_the_same(tmp_path):
    node = tmp_path / "ttyACM0"
    node.touch()
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (by_id / "usb-1a86_5A68").symlink_to(node)
    seen = looked(comport("/dev/ttyS0"), comport(str(node), **CH343), by_id=by_id)
    (port,) = seen.ports
    assert port.address == str(by_id / "usb-1a86_5A68")
    assert (port.vid, port.serial, port.named) == (0x1A86, "5A68", False)
    named = looked(comport(str(node), **CH343), by_id=by_id, named=[port.link])
    assert [p.named for p in named.ports] == [True]
    other = looked(comport(str(node), **CH343), by_id=by_id, named=[str(by_id)])
    assert [p.path for p in other.ports] == [str(by_id)]
    with pytest.raises(ConfigError, match="wanted a serial port at /dev/none"):
        looked(named=["/dev/none"])
    with pytest.raises(ConfigError, match="NAME or NAME:PORT"):
        looked(hosts=["robot:x"])


def test_an_adapter_says_what_it_may_be_and_nobody_is_asked():
    port = Port("/dev/ttyACM0", "", 0x1A86, 0x55D3, "5A68")
    code, text = shown(Seen((port, Port("/dev/ttyUSB9", "", 0x1234, 1, "", "Scope"))))
    assert code == 0
    assert "perhaps STS3215 servos" in text
    assert "by its USB adapter" in text
    assert "port /dev/ttyUSB9 (USB 1234:0001 Scope): not known" in text
    assert "--probe asks them" in text


def test_nothing_found_says_what_to_check():
    code, text = shown(Seen())
    assert code == NOTHING
    for word in ("dialout", "video", "udev", "cable", "--host"):
        assert word in text
    code, text = shown(Seen(), json_=True)
    assert (code, json.loads(text)) == (
        NOTHING, {"devices": [], "other_ports": [], "troubles": []},
    )  # fmt: skip


def test_servos_are_asked_and_do_not_move(tmp_path):
    plant = ServoPlant(ServoConfig(model="so101"))
    before = plant.state().q.copy()
    with served("feetech", tmp_path, plant) as device:
        code, text = shown(Seen((Port(device.uri, named=True),), probe=True), json_=True)
        events = {e.event for e in device.journal()}
    assert code == 0
    arm, jaw = json.loads(text)["devices"]
    assert (arm["folder"], arm["kind"], arm["uri"]) == ("arms", "feetech", device.uri)
    assert arm["model"] == "6 STS3215 servos, 7.4 V"
    assert arm["sure"]
    assert (jaw["folder"], jaw["kind"]) == ("grippers", "feetech")
    assert (plant.state().q == before).all()
    assert not events & {"activated", "command"}


def test_a_servo_that_reports_an_error_is_found(tmp_path):
    """It answers, with the bit of its error, until somebody looks after it."""
    fault = {"kind": "overload", "at_s": 0.0, "target": 3}
    plant = ServoPlant(ServoConfig(model="so101"))
    with served("feetech", tmp_path, plant, faults=[fault]) as device:
        code, text = shown(Seen((Port(device.uri, named=True),), probe=True), json_=True)
    assert code == 0
    assert json.loads(text)["devices"][0]["model"] == "6 STS3215 servos, 7.4 V"


def test_a_port_where_nobody_answers_is_told(tmp_path):
    gone = str(tmp_path / "gone")
    code, text = shown(Seen((Port(gone, named=True),), probe=True))
    assert code == NOTHING
    assert f"port {gone}: nobody whom a driver knows answers there" in text


# What the emulators below say of themselves.
SENSORS = [
    ("ft300", {"streams": False}, "ft", "Robotiq FT 300, FTS-", "FTS-"),
    ("ft300", {"streams": True}, "ft", "Robotiq FT 300, which streams already", ""),
    ("bota", {"boot_s": 0.1}, "ft", "Bota Systems serial gen0", ""),
    ("robotiq_2f", {}, "grippers", "Robotiq gripper, not activated", ""),
]


@pytest.mark.parametrize(("kind", "setup", "folder", "model", "serial"), SENSORS)
def test_a_device_at_a_serial_port_is_known_by_what_it_says(
    tmp_path, kind, setup, folder, model, serial
):
    with served(kind, tmp_path, **setup) as device:
        port = Port(device.uri, named=True)
        (found,) = plugins.load(f"drivers.{folder}", kind).find(Seen((port,), probe=True))
        events = {e.event for e in device.journal()}
    assert found.sure
    assert (found.kind, found.keys["port"]) == (kind, device.uri)
    assert found.model.startswith(model)
    assert found.serial.startswith(serial)
    assert ("serial" in found.keys) == bool(serial)
    # A Bota sensor starts to stream when its port is opened, whoever does it.
    assert not events & {"command", "stopped", *(() if kind == "bota" else {"activated"})}


@pytest.mark.parametrize(
    ("folder", "kind", "other"),
    [
        ("arms", "feetech", "bota"),
        ("ft", "ft300", "bota"),
        ("ft", "ft300", "robotiq_2f"),
        ("grippers", "robotiq_2f", "ft300"),
        pytest.param("ft", "bota", "ft300", marks=pytest.mark.slow),  # waits for one to start
    ],
)
def test_another_device_at_a_named_port_is_none(tmp_path, folder, kind, other):
    with served(other, tmp_path) as device:
        port = Port(device.uri, named=True)
        assert plugins.load(f"drivers.{folder}", kind).find(Seen((port,), probe=True)) == []


def test_an_adapter_of_many_makers_is_taken_for_none_of_them():
    port = Port("/dev/ttyUSB0", "", 0x0403, 0x6015, "DN01")
    found, troubles = find_all(Seen((port,)))
    assert not troubles
    assert {f.kind for f in found} == {"ft300", "bota", "robotiq_2f"}
    assert not any(f.sure for f in found)
    assert all(f.model.startswith("perhaps a ") for f in found)


def test_a_port_whose_device_is_known_is_not_asked_by_others(monkeypatch):
    asked = []

    def first(seen):
        return [Found("arms", "first", p.address, sure=True) for p in seen.ports[:1]]

    def second(seen):
        asked.extend(p.path for p in seen.ports)
        return []

    finders = {"first": SimpleNamespace(find=first), "second": SimpleNamespace(find=second)}
    monkeypatch.setattr(
        plugins, "kinds", lambda folder: list(finders) if folder.endswith("arms") else []
    )
    monkeypatch.setattr(plugins, "load", lambda folder, kind: finders[kind])
    found, _ = find_all(Seen((Port("/dev/a"), Port("/dev/b")), probe=True))
    assert [f.uri for f in found] == ["/dev/a"]
    assert asked == ["/dev/b"]


def test_a_sensor_of_ati_is_known_by_its_page_and_is_not_told_to_stream(tmp_path):
    with served("rdt", tmp_path) as device:
        port = parse_qs(urlparse(device.uri).query)["http"][0]
        (found,) = rdt.find(Seen(hosts=(f"127.0.0.1:{port}", "127.0.0.1:1")))
        assert not device.journal()
    assert (found.model, found.serial, found.sure) == ("Ethernet Axia", "FT12345", True)
    assert found.keys == {"host": "127.0.0.1", "http_port": int(port), "serial": "FT12345"}


def test_a_port_that_cannot_be_opened_is_told_and_the_others_are_asked(tmp_path):
    gone = Port(str(tmp_path / "gone"), named=True)
    with Controller() as robot:
        host = f"127.0.0.1:{robot.ports[0]}"
        found, troubles = find_all(Seen((gone,), (host,), probe=True))
    assert [(f.kind, f.uri) for f in found] == [("ur", host)]
    assert found[0].model == "Universal Robots, software 5.12.0.100"
    assert len(troubles) == 1
    assert troubles[0].startswith(f"wanted a serial port at {gone.path}")


def test_a_host_without_a_controller_is_none():
    found, troubles = find_all(Seen(hosts=("127.0.0.1:1",)))
    assert (found, troubles) == ([], [])


class FakeRealSense:
    """pyrealsense2, with one camera."""

    class camera_info:  # noqa: N801 - the SDK's name
        serial_number, name = "serial", "name"

    def context(self):
        camera = SimpleNamespace(
            get_info=lambda key: {"serial": "0331", "name": "RealSense D435"}[key]
        )
        return SimpleNamespace(query_devices=lambda: [camera])


def no_module(name):
    raise ImportError(name)


def test_cameras_are_listed_once(tmp_path):
    for name in ("usb-Logi_C920_AB-video-index0", "usb-Logi_C920_AB-video-index1",
                 "usb-Intel_RealSense_D435_0331-video-index0"):  # fmt: skip
        (tmp_path / name).touch()
    found = cameras(tmp_path, lambda name: FakeRealSense())
    assert [(f.kind, f.model) for f in found] == [
        ("realsense", "RealSense D435"), ("uvc", "Logi C920 AB"),
    ]  # fmt: skip
    assert found[0].keys == {"serial": "0331"}
    assert len(cameras(tmp_path, no_module)) == 2
    assert cameras(tmp_path / "none", no_module) == []


def test_the_file_that_is_written_is_refused_only_for_what_must_be_filled_in(tmp_path):
    port = Port("/dev/ttyACM0", "", 0x1A86, 0x55D3, "5A68")
    camera = Found("cameras", "null", "/dev/video0", "a camera", sure=True)
    path = tmp_path / "robot.toml"
    code, text = shown(Seen((port,)), camera_list=lambda: [camera, camera], write=path)
    assert code == 0
    assert f"wrote {path}" in text
    with pytest.raises(ConfigError, match=r"robot\.toml.*calibration"):
        load(path)
    written = path.read_text()
    assert 'calibration = ""    # FILL IN: the file that `lerobot-calibrate`' in written
    path.write_text(written.replace('""', f'"{calibration(tmp_path)}"'))
    settings = load(path)
    assert settings.arm["port"] == "/dev/ttyACM0"
    assert settings.gripper == {"kind": "feetech", "port": "/dev/ttyACM0"}
    assert [c["name"] for c in settings.camera] == ["wrist", "overview"]
    assert not settings.guard.require_wrench
    assert settings.loop.max_age_s == pytest.approx(10 / 200)
    with pytest.raises(ConfigError, match="wanted a new file"):
        shown(Seen((port,)), write=path)
    shown(Seen((port,)), write=path, overwrite=True)
    assert path.read_text() != written  # without the cameras


def test_a_first_configuration_lets_a_slow_sensor_be_as_old_as_its_line_makes_it(tmp_path):
    arm = Found("arms", "null", "", "an arm", sure=True)
    path = tmp_path / "r.toml"
    path.write_text(draft([arm], "r.toml"))
    assert load(path).loop.max_age_s == pytest.approx(10 / 500)
    sensor = Found("ft", "ft300", "/dev/a", sure=True, keys={"port": "/dev/a"})
    path.write_text(draft([arm, sensor], "r.toml"))
    assert load(path).loop.max_age_s == pytest.approx(0.06)


def test_a_second_arm_and_an_unknown_kind_are_comments(tmp_path):
    arms = [Found("arms", "null", f"port{k}", "an arm", sure=True) for k in (1, 2)]
    other = Found("ft", "unheard_of", "port3", "a sensor", "7", True, {"port": "port3"})
    path = tmp_path / "r.toml"
    path.write_text(draft([*arms, other], "r.toml"))
    assert load(path).ft is None
    text = path.read_text()
    assert "# [arm]" in text
    assert "no driver of the kind unheard_of" in text
    path.write_text(draft([other], "r.toml"))
    assert load(path).arm == {"kind": "null", "model": "ur5e"}


def test_paths_of_devices_start_at_the_configuration(tmp_path, monkeypatch):
    path, home = tmp_path / "r.toml", tmp_path / "home"
    arm = {"port": "/dev/a", "calibration": "so101.json"}
    path.write_text(draft([Found("arms", "feetech", "/dev/a", sure=True, keys=arm)], "r.toml"))
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", str(home))
    assert load(path).arm["calibration"] == str(tmp_path / "so101.json")
    camera = '[[camera]]\nkind = "uvc"\nname = "{}"\nfile = "{}"\n'
    with path.open("a") as f:
        f.write(camera.format("a", "clips/a.mp4") + camera.format("b", "~/b.mp4"))
    files = [table["file"] for table in load(path).camera]
    assert files == [str(tmp_path / "clips/a.mp4"), str(home / "b.mp4")]


def test_the_command(tmp_path, capsys):
    assert main(["devices", "--port", "/dev/none"]) == 2
    assert "wanted a serial port at /dev/none" in capsys.readouterr().err
