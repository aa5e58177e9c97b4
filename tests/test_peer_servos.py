"""The emulators of servo buses are accepted by the libraries of the servos' makers."""

from __future__ import annotations

from peer_rig import ask, needs

from headway.hil.launch import Emulator

PLANT = {"model": "so101"}


@needs("scservo_sdk")
def test_feetechs_library_finds_reads_and_moves_all_servos():
    with Emulator("feetech", {"paced": True}, plant=PLANT) as device:
        found = ask("peer_servos.py", "feetech", device.uri)
        events = [entry.event for entry in device.journal()]
    assert found["ping"] == [[777, 0, 0]] * 6
    assert found["start"][0] == 2048  # the home of that arm
    assert found["start"][5] == 2048 + round(1.75 * 4096 / 6.283185307)  # open
    assert found["torque"] == [0, 0]
    assert found["before"] == found["start"]
    assert found["reached"]
    assert found["back"]
    assert found["volts"] == 7.4
    assert found["held"] == [1] * 6
    assert events[0] == "connected"
    assert events.count("activated") == 6
    assert events.count("command") == 6
    assert "held" in events


@needs("scservo_sdk")
def test_feetechs_library_sees_an_overload_a_wrong_voltage_and_a_silent_servo():
    faults = [
        {"at_s": 1.0, "kind": "silent", "target": 2},
        {"at_s": 1.0, "kind": "overload", "target": 3},
        {"at_s": 1.0, "kind": "voltage", "target": 4},
    ]
    with Emulator("feetech", {"faults": faults}, plant=PLANT) as device:
        found = ask("peer_servos.py", "feetech_faults", device.uri)
        whys = [entry.why for entry in device.journal() if entry.event in ("fault", "stopped")]
    assert found["overload"] == 32
    assert found["voltage"] == 1
    assert found["says"] == "[RxPacketError] Overload error!"
    assert found["torque"] == [1, 0, 1]
    assert found["others"] == [0, 777]
    assert "no status packet" in found["silent"]
    assert sorted(whys) == ["overload", "overload", "silent", "voltage"]


@needs("scservo_sdk")
def test_a_servo_at_another_speed_is_not_understood():
    with Emulator("feetech", plant=PLANT) as device:
        found = ask("peer_servos.py", "feetech_baud", device.uri)
    assert "no status packet" in found["wrong"] or "Incorrect" in found["wrong"]
    assert found["right"] == 777


@needs("lerobot")
def test_lerobots_bus_configures_calibrates_and_moves_all_servos():
    with Emulator("feetech", plant=PLANT) as device:
        found = ask("peer_servos.py", "lerobot", device.uri)
    assert found["firmware"] == 3
    assert found["all"] == {str(id_): 777 for id_ in range(1, 7)}
    assert set(found["centred"].values()) <= {2046, 2047, 2048}
    assert found["calibrated"]
    assert found["reached"]
    assert set(found["torque"].values()) == {1}


@needs("dynamixel_sdk")
def test_robotis_library_finds_reads_and_moves_all_servos():
    with Emulator("dynamixel", {"paced": True}, plant=PLANT) as device:
        found = ask("peer_servos.py", "dynamixel", device.uri)
        events = [(entry.event, entry.why) for entry in device.journal()]
    assert found["ping"] == [[1060, 0, 0]] * 6
    assert found["all"] == [1, 2, 3, 4, 5, 6]
    assert found["start"][0] == 2048
    assert found["fast"] == found["start"]
    mixed = [position if n % 2 == 0 else 0 for n, position in enumerate(found["start"])]
    assert found["bulk"] == mixed
    assert found["fast bulk"] == mixed[:3]
    assert found["stuffed"] == [0, 0]
    assert found["read back"] == 0x00FDFFFF
    assert found["torque"] == [0, 0]
    assert found["locked"] == 7  # access: the EEPROM cannot be written with torque
    assert found["limit"] == 6  # out of the limits of the goal
    assert found["reached"]
    assert found["watchdog"] == 255
    assert found["refused"] == 4
    assert found["cleared"] == 0
    assert found["accepted"] == 0
    assert ("stopped", "bus watchdog") in events


@needs("dynamixel_sdk")
def test_robotis_library_sees_an_alert_until_it_reboots_the_servo():
    faults = [{"at_s": 0.5, "kind": "overload", "target": 2, "for_s": 1.0}]
    with Emulator("dynamixel", {"faults": faults}, plant=PLANT) as device:
        found = ask("peer_servos.py", "dynamixel_faults", device.uri)
    assert found["alert"] == 0x80
    assert found["status"] == 0x20
    assert found["torque"] == 0
    assert found["other"] == [0, 1]
    assert found["still"] == 0x80
    assert found["reboot"] == 0
    assert found["after"]
    assert found["status after"] == 0
