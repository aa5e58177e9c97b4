"""ur-rtde, a client that nobody here wrote, takes the emulator for a controller: it receives, sets
outputs, and controls with its own program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headway.hil.launch import Emulator

HERE = Path(__file__).parent
PEER = HERE.parent / ".venv-hil" / "bin" / "python"
PORTS = {"rtde": 30004, "primary": 30001, "script": 30002, "realtime": 30003, "dashboard": 29999}

pytestmark = [
    pytest.mark.skipif(
        not PEER.is_file(), reason=f"no {PEER.parent.parent.name}: `make hil-peers`"
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="wants more than one loopback address"),
]


def seen_by(part, **table):
    """What the `part` of the client saw of an emulator with the keys `table`, and the journal. It
    knows only the real ports, so that the emulator has a loopback address of its own."""
    if subprocess.run([PEER, "-c", "import rtde_control"], capture_output=True).returncode:
        pytest.skip("no ur-rtde in .venv-hil: `make hil-peers`")
    pid = os.getpid()
    host = f"127.85.{pid >> 8 & 255}.{pid & 255 or 1}"
    with Emulator("ur", {"host": host, **PORTS, **table}) as device:
        command = [PEER, str(HERE / "ur_rtde_client.py"), host, part]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=180)
        assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}\n{device.printed()}"
        return json.loads(ran.stdout.splitlines()[-1]), device.journal()


@pytest.fixture(scope="module")
def found():
    return seen_by("main")


def test_it_receives(found):
    seen, _ = found
    assert seen["q"] == pytest.approx([0.0, -1.9, 1.9, -1.57, -1.57, 0.0], abs=1e-6)
    assert seen["modes"] == [7, 1, 1]
    assert seen["pose"][:3] == pytest.approx([-0.35442, -0.13338, 0.46500], abs=1e-4)
    assert seen["voltage"] == 48.0
    assert 0.0 < seen["rate"] <= 510.0  # how much of 500 Hz there is depends on the machine


def test_it_sets_outputs_and_the_speed_slider(found):
    assert found[0]["io"] == [True, True, True, True]
    assert found[0]["slider"]


def test_it_controls_with_its_own_program(found):
    seen, _ = found
    assert seen["program"] == [True, True]
    assert seen["servoj"]
    assert seen["servo_stop"]
    assert seen["speedj"]
    assert seen["speed"]
    assert seen["speed_stop"]
    assert seen["rest"]
    assert seen["movej"][0]
    assert seen["movej"][1] < 1e-2
    assert seen["steady"]


def test_its_program_stops_and_is_uploaded_again(found):
    assert found[0]["stopped"]
    assert found[0]["reupload"] == [True, True]


def test_a_watchdog_that_it_does_not_feed_ends_its_program(found):
    seen, journal = found
    assert seen["watchdog"]
    assert [e.why for e in journal if e.event == "stopped"].count("watchdog") == 1


def test_a_target_that_is_not_a_number_reaches_the_controller_which_stops(found):
    """ur-rtde sends it, and says that all is well."""
    assert found[0]["nan"] == [True, True]
    assert found[0]["protective"]


def test_it_controls_a_cb3_with_the_upper_half_of_the_registers():
    table = {"model": "ur5", "firmware": "3.15.8.106339"}
    assert seen_by("upper", **table)[0] is True
