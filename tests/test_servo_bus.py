"""headway.drivers.servo_bus: what comes over the line in time, and what comes too late."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import pytest

from headway.clock import NS, VirtualClock
from headway.drivers.codecs.feetech import PING, SYNC_WRITE
from headway.drivers.feetech_servo import Sts3215
from headway.drivers.servo_bus import ServoBus
from headway.drivers.servo_marks import Marks
from headway.errors import DeviceError

MS = 1_000_000


def answer(data: bytes) -> bytes:
    """Of servo 1, by the manual."""
    body = bytes((1, len(data) + 2, 0)) + data
    return b"\xff\xff" + body + bytes((~sum(body) & 0xFF,))


class Line:
    """A servo whose answer to its n-th request comes `delays_ms[n]` later. It answers with the
    address that is read, twice."""

    uri = "line"

    def __init__(self, clock: VirtualClock, *delays_ms: float) -> None:
        self.clock, self._delays = clock, list(delays_ms)
        self._coming: list[tuple[int, bytes]] = []

    def open(self, timeout_s: float) -> None: ...

    def close(self) -> None: ...

    def write(self, data: bytes, timeout_s: float = 0.5) -> None:
        due = self.clock.now() + round(self._delays.pop(0) * MS)
        self._coming.append((due, answer(data[5:6] * 2)))
        self._coming.sort()

    def read(self, size: int, timeout_s: float) -> bytes:
        end = self.clock.now() + round(timeout_s * NS)
        if self._coming and self._coming[0][0] <= end:
            due, data = self._coming.pop(0)
            self.clock.sleep_until(due)
            return data
        self.clock.sleep_until(end)
        return b""

    def discard(self) -> None:
        self._coming = [c for c in self._coming if c[0] > self.clock.now()]


def bus_at(*delays_ms: float) -> ServoBus:
    clock = VirtualClock(1)
    return ServoBus(Line(clock, *delays_ms), {"one": 1}, clock, 100.0, Sts3215())


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one():
    bus = bus_at(30.0, 1.5, 15.0)
    assert bus.read(1, 56, 2) == bytes((56, 56))
    assert bus.read(1, 69, 2) == bytes((69, 69))


class Servo(Line):
    """A servo with registers, whose answers to the requests `deaf` (by their number) never come."""

    def __init__(self, clock: VirtualClock, *deaf: int) -> None:
        super().__init__(clock)
        self._deaf, self._asked = deaf, 0
        self.memory = bytearray(87)
        self.memory[3:5] = word(777)

    def write(self, data: bytes, timeout_s: float = 0.5) -> None:
        self._asked += 1
        instruction, body = data[4], data[5:-1]
        if instruction == SYNC_WRITE:
            self.memory[body[0] : body[0] + body[1]] = body[3:]
            return  # nobody answers
        said = b""
        if instruction != PING:  # a read, of one or of several
            said = bytes(self.memory[body[0] : body[0] + body[1]])
        if self._asked not in self._deaf:
            self._coming.append((self.clock.now() + MS, answer(said)))


@pytest.mark.parametrize("deaf", range(1, 16))
def test_one_lost_answer_ends_neither_opening_nor_activation(deaf):
    clock = VirtualClock(0)
    line = Servo(clock, deaf)
    bus = ServoBus(line, {"one": 1}, clock, 100.0, Sts3215())
    bus.bus.start = lambda: None  # its thread is not what is tested, and the clock is not its own
    bus.open(1.0)
    bus.hold([1])
    assert (line.memory[40], bus.holding) == (1, {1})
    bus.close()


def started(bus: ServoBus) -> list[str]:
    """What is done to the thread of `bus`, of which none runs: the clock is not its own."""
    done: list[str] = []
    bus.bus.start = lambda: done.append("start")
    bus.bus.close = lambda: done.append("close")
    return done


@pytest.mark.parametrize("call", [ServoBus.hold, ServoBus.release])
def test_a_closed_line_refuses_torque_and_starts_no_thread(call):
    clock = VirtualClock(0)
    bus = ServoBus(Servo(clock), {"one": 1}, clock, 100.0, Sts3215())
    done = started(bus)
    with pytest.raises(DeviceError, match="the servo line line is closed: open it first"):
        call(bus, [1])
    bus.open(1.0)
    bus.close()
    with pytest.raises(DeviceError, match="closed"):
        call(bus, [1])
    assert done == ["start", "close"]


class Gone(Servo):
    """A servo's line that nobody answers at while it is `gone`. Opening waits for `go`."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.gone, self.opening, self.go = True, threading.Event(), threading.Event()

    def open(self, timeout_s: float) -> None:
        self.opening.set()
        assert self.go.wait(10.0)
        if self.gone:
            self.gone = False
            raise DeviceError("wanted a port, found none")


def test_the_jaw_does_not_take_a_line_for_open_that_the_arm_fails_to_open():
    clock = VirtualClock(0)
    line = Gone(clock)
    bus = ServoBus(line, {"one": 1}, clock, 100.0, Sts3215())
    done = started(bus)
    said: list[str] = []

    def open_it(name: str) -> None:
        try:
            bus.open(1.0)
            said.append(f"{name} open")
        except DeviceError:
            said.append(f"{name} failed")

    arm = threading.Thread(target=open_it, args=("arm",))
    arm.start()
    assert line.opening.wait(10.0)
    jaw = threading.Thread(target=open_it, args=("jaw",))
    jaw.start()
    jaw.join(0.02)  # what it finds while the arm is still opening the line
    line.go.set()
    arm.join(10.0)
    jaw.join(10.0)
    assert sorted(said) == ["arm failed", "jaw open"]
    assert done == ["start"]  # by the jaw, that opened the line itself
    bus.close()
    assert done == ["start", "close"]


class Noise(Line):
    """A line that is never silent."""

    def read(self, size: int, timeout_s: float) -> bytes:
        self.clock.sleep_until(self.clock.now() + 5 * MS)
        return b"\x00"


def test_a_line_that_is_never_silent_does_not_hold_it_up_for_long():
    clock = VirtualClock(0)
    bus = ServoBus(Noise(clock, 0, 0, 0), {"one": 1}, clock, 100.0, Sts3215())
    with pytest.raises(DeviceError, match="no answer of one"):
        bus.read(1, 56, 2)
    assert clock.now() < NS


def marked(lasting: int, limit: int, *, obeys: bool = True) -> tuple[Marks, dict[int, int]]:
    """Marks of a servo whose torque limits are these, and its registers afterwards."""
    registers = {Sts3215.registers.lasting: lasting, Sts3215.registers.limit: limit}

    def read(address: int, ids: Sequence[int]) -> dict[int, bytes]:
        return {i: word(registers[address]) for i in ids}

    def write(address: int, rows: Mapping[int, bytes]) -> None:
        if obeys:
            registers[address] = int.from_bytes(rows[1], "little")

    marks = Marks(Sts3215.registers)
    marks.make([1], read, write)
    return marks, registers


def word(value: int) -> bytes:
    return value.to_bytes(2, "little")


def test_a_servo_is_marked_by_one_count_of_its_torque_and_known_by_that():
    marks, registers = marked(1000, 1000)
    assert registers == {16: 1000, 48: 999}
    assert marks.lost({1: word(999)}) == []
    assert marks.lost({1: word(1000)}) == [1]


def test_a_torque_limit_that_somebody_has_set_is_left_alone():
    marks, registers = marked(1000, 400)
    assert registers == {16: 1000, 48: 400}
    assert marks.lost({1: word(1000)}) == [1]


@pytest.mark.parametrize(("lasting", "obeys"), [(1, True), (0, True), (1000, False)])
def test_a_servo_that_cannot_be_marked_never_counts_as_started_anew(lasting, obeys):
    marks, registers = marked(lasting, lasting, obeys=obeys)
    assert registers == {16: lasting, 48: lasting}
    assert marks.lost({1: word(lasting)}) == []
