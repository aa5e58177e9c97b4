"""headway.drivers.stream_source: what every streaming device does with its frames, and with their
absence. Time is the test's own: silence passes in no time."""

from __future__ import annotations

import pytest

from headway.clock import NS
from headway.drivers.stream_source import StreamSource
from headway.errors import DeviceError, Stale
from headway.types import Info, Sample, Stamp

PERIOD = NS // 100


class Clock:
    realtime = True

    def __init__(self) -> None:
        self.t = NS

    def now(self) -> int:
        return self.t


class Line:
    """A transport that gives out what is in `pieces`: bytes, a time to pass [ns], or an error. When
    they are used up there is silence, for as long as is waited for it."""

    uri = "a line"

    def __init__(self, clock) -> None:
        self.clock, self.pieces = clock, []
        self.opened = self.closed = 0

    def open(self, timeout_s: float) -> None:
        self.opened += 1

    def read(self, size: int, timeout_s: float) -> bytes:
        if self.pieces and isinstance(self.pieces[0], int):
            self.clock.t += self.pieces.pop(0)
            return b""
        if not self.pieces:
            self.clock.t += round(timeout_s * NS)
            return b""
        if isinstance(self.pieces[0], bytes):
            return self.pieces.pop(0)
        raise self.pieces[0]

    def write(self, data: bytes, timeout_s: float = 0.5) -> None: ...

    def discard(self) -> None: ...

    def close(self) -> None:
        self.closed += 1


class Letters:
    """Every byte is a frame; a question mark is a broken one."""

    errors = skipped = 0

    def feed(self, data: bytes) -> list[str]:
        self.errors += data.count(b"?")
        return list(data.replace(b"?", b"").decode())

    def reset(self) -> None: ...


class Speaker(StreamSource[str, str]):
    says_goodbye = 0
    refuses = ""

    def greet(self, timeout_s: float) -> None:
        if self.refuses:
            raise DeviceError(self.refuses)

    def sample(self, frame: str, arrival_ns: int) -> Sample[str] | None:
        if frame == ".":  # an answer to a command
            return None
        t = arrival_ns - self.behind * PERIOD
        return Sample(Stamp(t, arrival_ns, self.counts.sample(t)), frame)

    def part(self) -> None:
        self.says_goodbye += 1


@pytest.fixture
def source():
    clock = Clock()
    made = Speaker(clock, Info("test", "speaker"), Line(clock), Letters(), 100.0)
    made.open(1.0)
    return made


def says(source, *pieces) -> None:
    source.transport.pieces.extend(pieces)


def test_each_frame_is_given_once_and_in_order(source):
    says(source, b"a", 5_000_000, b"bc")
    assert [source.read(1.0).value for _ in range(3)] == ["a", "b", "c"]
    assert source.health().received == 3


def test_frames_that_come_together_are_a_period_apart(source):
    says(source, b"abc")
    stamps = [source.read(1.0).stamp for _ in range(3)]
    assert [s.arrival_ns - s.t_ns for s in stamps] == [2 * PERIOD, PERIOD, 0]


def test_datagrams_that_piled_up_are_all_taken_and_the_oldest_dropped(source):
    says(source, *(bytes([65 + i]) for i in range(20)))
    assert source.read(1.0).value == chr(65 + 20 - source.most_behind)
    assert source.health().lost == 20 - source.most_behind


def test_what_is_dropped_is_not_counted_twice_where_frames_have_numbers(source):
    source.numbered = True
    says(source, b"abcdefghijkl")
    source.read(1.0)
    assert source.health().lost == 0


def test_a_flood_ends(source):
    class Endless(list):
        def __bool__(self) -> bool:
            return True

        def __getitem__(self, i: int) -> bytes:
            return b"x"

        def pop(self, i: int = 0) -> bytes:
            return b"x"

    source.transport.pieces = Endless()
    assert source.read(1.0).value == "x"


def test_silence_is_stale_and_counted(source):
    says(source, b"a")
    source.read(0.0)
    with pytest.raises(Stale, match=r"within 0\.05 s, found silence"):
        source.read(0.05)
    assert source.health().timeouts == 1
    assert source.health().state == "stale"


def test_answers_alone_are_no_sample(source):
    says(source, b".", b".")
    with pytest.raises(Stale, match="found none"):
        source.read(0.02)


def test_long_silence_is_a_fault_and_broken_frames_are_silence(source):
    says(source, b"?", b"?")
    with pytest.raises(DeviceError, match="no whole frame for 1 s") as e:
        source.read(10.0)
    assert not isinstance(e.value, Stale)
    assert (source.health().state, source.health().crc_errors) == ("fault", 2)


def test_a_lost_connection_is_a_fault_at_once(source):
    says(source, DeviceError("unplugged"))
    begun = source.clock.now()
    with pytest.raises(DeviceError, match="unplugged"):
        source.read(10.0)
    assert source.clock.now() == begun
    assert source.health().state == "fault"


def test_what_came_before_the_connection_was_lost_is_given_first(source):
    says(source, b"ab", DeviceError("unplugged"))
    assert [source.read(1.0).value for _ in range(2)] == ["a", "b"]
    with pytest.raises(DeviceError, match="unplugged"):
        source.read(1.0)


def test_opened_again_after_a_fault_it_counts_and_forgets(source):
    says(source, b"a", DeviceError("unplugged"))
    source.read(1.0)
    with pytest.raises(DeviceError):
        source.read(1.0)
    source.close()
    source.transport.pieces.clear()
    source.open(1.0)
    says(source, b"z")
    assert source.read(1.0).value == "z"
    health = source.health()
    assert (health.state, health.reconnects, health.received) == ("ok", 1, 2)
    assert source.says_goodbye == 0  # nobody to say it to


def test_open_is_done_once_and_close_says_goodbye(source):
    source.open(1.0)
    assert source.transport.opened == 1
    source.close()
    assert (source.says_goodbye, source.transport.closed) == (1, 1)
    assert source.health().state == "closed"
    with pytest.raises(DeviceError, match="open it before reading"):
        source.read(1.0)


def test_a_device_that_refuses_leaves_the_port_closed():
    clock = Clock()
    made = Speaker(clock, Info("test", "speaker"), Line(clock), Letters(), 100.0)
    made.refuses = "another device"
    with pytest.raises(DeviceError, match="another device"):
        made.open(1.0)
    assert made.transport.closed == 1
    assert made.health().state == "closed"
