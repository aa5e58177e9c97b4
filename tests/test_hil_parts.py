"""What emulators share: the table of faults, the Modbus slave, the pace, the port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway import config
from headway.child import environment
from headway.errors import ConfigError
from headway.hil import modbus
from headway.hil.device_port import DevicePort
from headway.hil.emulators import ft300
from headway.hil.faults_table import Fault, FaultsTable
from headway.hil.journal import Journal, entries
from headway.hil.pace import Pace


class Clock:
    """A clock that stands where it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_an_emulator_without_input_runs_until_it_is_told_to_end(name):
    """As one in the background of a shell; with a pipe it would end with whoever holds that."""
    command = [sys.executable, "-m", "headway.hil.emulators", "ft300"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    ) as process:  # fmt: skip
        assert b"uri" in process.stdout.readline()
        process.send_signal(name)
        assert (process.wait(20.0), process.stderr.read()) == (0, b"")


def test_an_emulator_ends_with_the_pipe_of_who_started_it():
    command = [sys.executable, "-m", "headway.hil.emulators", "ft300"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as process:
        assert b"uri" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(20.0) == 0


def test_a_fault_begins_and_ends_for_its_target_only(tmp_path):
    clock = Clock()
    journal = Journal(tmp_path / "j")
    faults = (
        Fault(2.0, "overload", 1.0, target=3),
        Fault(1.0, "silent"),
    )
    table = FaultsTable(faults, ("silent", "overload"), journal, clock)
    clock.now = 500.0
    assert not table.active("silent")  # nobody has connected
    assert table.starting() == []
    table.begin()
    clock.now = 501.0
    table.begin()  # a later connection changes nothing
    assert [f.kind for f in table.starting()] == ["silent"]
    assert table.active("silent", 7)
    assert not table.active("overload", 3)
    clock.now = 502.5
    assert [f.target for f in table.starting()] == [3]
    assert table.starting() == []
    assert table.active("overload", 3)
    assert not table.active("overload", 4)
    assert table.active("overload")
    clock.now = 503.0
    assert not table.active("overload", 3)
    assert table.active("silent")
    journal.close()
    assert [e.why for e in entries(tmp_path / "j")] == ["silent", "overload"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"at_s": 1.0, "kind": "silnt"}, "did you mean `silent`"),
        ({"at_s": -1.0, "kind": "silent"}, "at_s"),
        ({"at_s": 0.0, "kind": "silent", "id": 3}, "id"),
        ({"kind": "silent"}, "at_s"),
    ],
)
def test_a_wrong_fault_is_refused_with_what_was_wanted(fault, words):
    def table():
        cfg = config.decode({"faults": [fault]}, ft300.Config, "ft300")
        return FaultsTable(cfg.faults, ft300.KINDS, Journal(None))

    with pytest.raises(ConfigError, match=words):
        table()


def test_a_pace_gives_times_on_its_grid_and_does_not_make_up_for_an_absence():
    clock = Clock()
    pace = Pace(100.0, clock)
    assert pace.due() == []
    assert pace.wait_s() == pytest.approx(0.01)
    clock.now += 0.0351
    assert pace.due() == pytest.approx([100.01, 100.02, 100.03])
    assert pace.wait_s() == pytest.approx(0.0049)
    clock.now += 10.0
    assert len(pace.due()) == 1


def slave(clock=None):
    held = {n: n for n in range(10)}

    def read(register, count):
        if register + count > 10:
            raise modbus.RefusedError
        return [held[n] for n in range(register, register + count)]

    def write(register, values):
        read(register, len(values))
        held.update(zip(range(register, register + len(values)), values, strict=True))

    return modbus.Slave(9, read, write, clock or Clock()), held


def framed(text):
    body = bytes.fromhex(text)
    return body + modbus.crc(body)


def test_the_checksum_is_that_of_the_manuals():
    assert modbus.crc(b"123456789") == bytes.fromhex("374b")
    assert framed("090300B40001") == bytes.fromhex("090300B40001C564")
    assert framed("0910 03E8 0003 06 0100 0000 0000") == bytes.fromhex(
        "091003E8000306010000000000" + "72E1"
    )


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("09 03 0002 0002", "09 03 04 0002 0003"),
        ("09 04 0000 0001", "09 04 02 0000"),
        ("09 06 0001 1234", "09 06 0001 1234"),
        ("09 10 0001 0002 04 AAAA BBBB", "09 10 0001 0002"),
        ("09 17 0001 0001 0001 0001 02 CAFE", "09 17 02 CAFE"),
        ("09 03 0009 0002", "09 83 02"),  # no such register
        ("09 03 0000 0000", "09 83 03"),  # no such count
        ("09 10 0001 0002 02 AAAA", "09 90 03"),
    ],
)
def test_the_slave_answers_as_the_standard_says(request_, answer):
    assert slave()[0].feed(framed(request_)) == [framed(answer)]


def test_the_slave_obeys_a_broadcast_and_ignores_frames_for_others():
    one, held = slave()
    assert one.feed(framed("00 06 0001 1234")) == []
    assert held[1] == 0x1234
    assert one.feed(framed("08 06 0001 4321") + framed("09 03 0001 0001")) == [
        framed("09 03 02 1234")
    ]


def test_a_frame_that_stands_still_is_forgotten():
    clock = Clock()
    one, _ = slave(clock)
    frame = framed("09 03 0002 0002")
    assert one.feed(frame[:5]) == []
    clock.now += 0.2
    assert one.feed(frame[5:]) == []
    assert len(one.feed(frame)) == 1


@given(
    st.binary(max_size=40),
    st.lists(st.integers(1, 7), max_size=8),
    st.integers(0, 7),
    st.integers(1, 255),
)
def test_the_slave_finds_a_frame_after_garbage_however_it_is_cut_and_none_that_is_damaged(
    garbage, cuts, at, flip
):
    frame = framed("09 03 0002 0002")
    one, _ = slave()
    data, answers = garbage + frame, []
    for cut in cuts:
        answers += one.feed(data[:cut])
        data = data[cut:]
    answers += one.feed(data)
    assert answers[-1:] == [framed("09 03 04 0002 0003")]
    damaged = bytearray(frame)
    damaged[at] ^= flip
    assert slave()[0].feed(bytes(damaged)) == []


def test_a_port_tells_who_opens_and_closes_it(tmp_path):
    journal = Journal(tmp_path / "j")
    port = DevicePort(19200, "", journal)
    assert port.read(0.0) == b""
    assert port.opened == 0
    for n in (1, 2):
        host = os.open(port.path, os.O_RDWR | os.O_NOCTTY)
        port.read(0.0)
        assert port.opened == n
        os.close(host)
    port.read(0.0)
    port.close()
    journal.close()
    assert [e.event for e in entries(tmp_path / "j")] == ["connected", "disconnected"] * 2


def test_a_paced_answer_takes_the_time_of_its_bytes():
    import serial

    port = DevicePort(19200, "", Journal(None), paced=True)
    with serial.Serial(port.path, 19200, timeout=20.0) as host:
        before = time.monotonic()
        host.write(b"12345678")
        assert port.read(20.0) == b"12345678"
        port.answer(bytes(16), delay_s=0.001)
        assert time.monotonic() - before >= 0.001 + 24 * 10 / 19200
        assert host.read(16) == bytes(16)
        host.baudrate = 9600
        port.answer(bytes(16))
        assert 0 not in host.read(16)
        host.write(b"1234")
        heard = port.read(20.0)
        assert all(a != b for a, b in zip(heard, b"1234", strict=True))
    port.close()
