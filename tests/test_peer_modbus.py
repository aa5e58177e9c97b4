"""The emulators of Robotiq's devices are accepted by others' Modbus clients."""

from __future__ import annotations

import pytest
from peer_rig import ask, needs

from headway.hil.launch import Emulator


@needs("minimalmodbus")
def test_minimalmodbus_reads_the_registers_of_the_ft300():
    with Emulator("ft300", {"serial": "FTS-70000", "year": 2023, "paced": True}) as device:
        found = ask("peer_modbus.py", "ft300", device.uri)
    assert bytes(b for r in found["firmware"] for b in divmod(r, 256)) == b"FTS\x02\x00\x01"
    assert found["serial"][:2] == [0x4654, 0x5300]
    assert found["serial"][2] + found["serial"][3] * 65536 == 70000
    assert found["year"] == 2023
    assert any(found["wrench"])
    assert all(abs(v) < 10.0 for v in found["wrench"])
    assert found["nowhere"] == "SlaveReportedException" or "Illegal" in found["nowhere"]


@needs("minimalmodbus")
def test_the_stream_of_the_ft300_starts_by_minimalmodbus_and_ends_by_a_jam():
    with Emulator("ft300") as device:
        found = ask("peer_modbus.py", "stream", device.uri)
        events = [entry.event for entry in device.journal()]
    assert found["bytes"] == 960
    assert found["good"] == 60
    assert found["after"] >> 8 == ord("F")
    assert events[:3] == ["connected", "activated", "stopped"]


@needs("minimalmodbus")
def test_minimalmodbus_activates_and_closes_the_gripper_on_an_object():
    with Emulator("robotiq_2f", plant={"object_m": 0.03}) as device:
        found = ask("peer_modbus.py", "registers", device.uri)
    assert found["first"][0] >> 8 == 0
    assert found["active"][0] >> 8 & 0x39 == 0x39  # gACT, gGTO, gSTA 3
    assert found["active"][1] >> 8 == 0
    closed = found["closed"]
    assert closed[0] >> 14 == 2
    assert closed[2] >> 8 == pytest.approx((0.085 - 0.03) / 0.00039, abs=2)
    assert found["open"][2] >> 8 == 3
    assert found["after silence"][1] >> 8 == 9
    assert found["then"][1] >> 8 == 0


@needs("pyrobotiqgripper")
def test_pyrobotiqgripper_activates_closes_opens_and_moves_the_gripper():
    with Emulator("robotiq_2f", plant={"object_m": 0.03}) as device:
        found = ask("peer_modbus.py", "pyrobotiqgripper", device.uri)
        events = [entry.event for entry in device.journal()]
    assert found["activated"]
    assert found["closed at"] == pytest.approx(141, abs=2)
    assert found["object"] == 2
    assert found["open at"] == 3
    assert found["moved to"] == pytest.approx(100, abs=2)
    assert "activated" in events
    assert "command" in events
