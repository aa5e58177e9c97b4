"""Emulators of force/torque sensors are accepted by others' clients, one of them the vendor's."""

from __future__ import annotations

from itertools import pairwise

import pytest
from peer_rig import ask, needs

from headway.hil.launch import Emulator


@needs("NetFT")
def test_netft_measures_streams_and_stops():
    with Emulator("rdt") as device:
        found = ask("peer_sensors.py", "netft", device.uri)
        events = [entry.event for entry in device.journal()]
    assert any(found["one"])
    assert all(abs(count) < 10e6 for count in found["one"])
    assert len(found["stream"]) == 10
    assert found["stopped"]
    assert found["tare"] == 6
    assert events == ["connected", "activated", "activated", "stopped", "activated"]


@pytest.mark.parametrize("units", [("N", "Nm", 1e6), ("lbf", "Nmm", 1000.0)])
@needs("pynetft")
def test_pynetft_discovers_the_calibration_and_loses_nothing(units):
    force, torque, counts = units
    table = {
        "force_unit": force, "torque_unit": torque,
        "counts_per_force": counts, "counts_per_torque": counts,
    }  # fmt: skip
    with Emulator("rdt", table) as device:
        found = ask("peer_sensors.py", "pynetft", device.uri)
    assert found["product"] == "Ethernet Axia"
    assert found["counts"] == counts
    assert any(found["first"])
    assert all(abs(value) < 10.0 for value in found["first"][:3])
    assert found["status"] == [0]
    assert found["steps"] == [1]
    assert [found[k] for k in ("lost", "duplicate", "out of order", "malformed")] == [0] * 4


@pytest.mark.parametrize("streams", [True, False])
@needs("bota_driver")
def test_the_vendors_driver_configures_bota_s_sensor_and_reads_frames(streams):
    with Emulator("bota", {"boot_s": 1.0, "streams": streams}) as device:
        found = ask("peer_sensors.py", "bota", device.uri)
    assert found["configured"]
    assert found["activated"]
    assert found["status"] == [0]
    assert any(found["force"])
    assert all(abs(f) < 10.0 for f in found["force"])
    assert all(abs(t) < 1.0 for t in found["torque"])
    assert found["temperature"] == 31.5
    assert found["step"] == 5000
    times = found["times"][1:]  # the first is what `activate` has read already
    steps = [b - a for a, b in pairwise(times)]
    assert all(step > 0 and step % 5000 in (0, 1, 4999) for step in steps)
    assert found["ended"] == [True, True, True]
