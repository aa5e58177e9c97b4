"""headway.drivers.bus: newest command wins, faults latch, nothing waits for the port."""

from __future__ import annotations

import threading

import pytest

from headway.clock import WallClock
from headway.drivers.bus import Bus
from headway.errors import DeviceError, Stale


class Port:
    """Stands in for a port: exchanges wait until they are let through."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.fails = 0
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def exchange(self, command):
        self.entered.release()
        assert self.gate.acquire(timeout=10)
        self.sent.append(command)
        if self.fails > 0:
            self.fails -= 1
            raise DeviceError("the line is noisy")
        return len(self.sent)


@pytest.fixture
def made():
    port = Port()
    bus = Bus("the test bus", port.exchange, WallClock(0), 1000.0)
    bus.start()
    yield bus, port
    for _ in range(100):
        port.gate.release()
    bus.close()


def step(port):
    """Let the exchange that waits end, and the next one begin."""
    port.gate.release()
    assert port.entered.acquire(timeout=10)


def test_only_the_newest_command_is_sent(made):
    bus, port = made
    assert port.entered.acquire(timeout=10)  # it is in an exchange
    for i in range(5):
        bus.command(i)  # none of them waits for the exchange
    step(port)
    step(port)
    step(port)
    assert port.sent == [None, 4, None]


def test_newest_waits_for_the_first_exchange_of_a_bus_that_was_started_anew():
    go = threading.Event()
    bus = Bus("the test bus", lambda command: go.wait(10), WallClock(0), 1000.0)
    go.set()
    bus.start()
    first, _, _ = bus.newest(0, 10.0)
    bus.close()
    go.clear()
    bus.start()
    late = threading.Timer(0.05, go.set)
    late.start()
    assert bus.newest(0, 10.0)[0] > first  # not Stale at once
    late.join()
    bus.close()


def test_newest_waits_for_the_next_exchange_and_counts(made):
    bus, port = made
    with pytest.raises(Stale, match="found none"):
        bus.newest(0, 0.0)
    port.gate.release()
    number, arrival, value = bus.newest(0, 10.0)
    assert (number, value) == (1, 1)
    assert arrival > 0


def test_a_single_failure_is_tried_again_with_the_same_command(made):
    bus, port = made
    assert port.entered.acquire(timeout=10)
    bus.command("go")
    port.gate.release()
    bus.newest(0, 10.0)
    port.fails = 1
    port.gate.release()  # fails
    port.gate.release()  # again
    bus.newest(1, 10.0)
    assert port.sent == [None, "go", "go"]
    assert bus.failed == 1
    assert not bus.fault


def test_a_newer_command_takes_the_place_of_one_whose_exchange_failed(made):
    bus, port = made
    assert port.entered.acquire(timeout=10)
    bus.command("old")
    step(port)  # the exchange with it has begun
    port.fails = 1
    bus.command("new")
    step(port)  # it fails
    step(port)
    assert port.sent == [None, "old", "new"]


def test_a_fault_latches_until_it_is_reset(made):
    bus, port = made
    port.fails = 3
    for _ in range(3):
        port.gate.release()
    with pytest.raises(DeviceError, match="noisy"):
        bus.newest(0, 10.0)
    with pytest.raises(DeviceError, match="activate"):
        bus.command("move")
    bus.reset()
    for _ in range(2):
        port.gate.release()
    bus.newest(0, 10.0)
    assert "move" not in port.sent


def test_a_closed_bus_takes_no_command():
    bus = Bus("the test bus", lambda command: 0, WallClock(0), 1000.0)
    with pytest.raises(DeviceError, match="closed"):
        bus.command(1)


def test_after_it_was_started_again_the_first_value_is_waited_for():
    may_go = threading.Event()
    may_go.set()

    def exchange(command):
        assert may_go.wait(10.0)
        return "first life" if answers is None else "second life"

    answers = None
    bus = Bus("the test bus", exchange, WallClock(0), 1000.0)
    bus.start()
    assert bus.newest(0, 10.0)[2] == "first life"
    bus.close()
    answers = []
    may_go.clear()
    bus.start()
    reader = threading.Thread(target=lambda: answers.append(bus.newest(0, 10.0)[2]))
    reader.start()
    reader.join(0.05)  # without an exchange there is no answer, neither a value nor an error
    may_go.set()
    reader.join(10.0)
    bus.close()
    assert answers == ["second life"]


def test_who_waits_for_a_value_waits_over_a_pause_and_not_over_the_end(made):
    bus, port = made
    got = []

    def read():
        try:
            got.append(bus.newest(1, 30.0)[2])
        except Stale as e:
            got.append(str(e))

    port.gate.release()  # the thread may end
    bus.pause()
    asks = threading.Thread(target=read)
    asks.start()
    asks.join(0.05)  # where it is told that there is nothing, it is at once
    assert asks.is_alive()
    assert got == []
    bus.start()
    step(port)
    step(port)
    asks.join(10)
    assert isinstance(got[0], int)

    number = bus.newest(0, 10.0)[0]
    port.gate.release()
    bus.close()
    with pytest.raises(Stale):
        bus.newest(number + 10, 30.0)


def test_a_thread_left_behind_in_an_exchange_neither_speaks_nor_is_heard_again(monkeypatch):
    monkeypatch.setattr("headway.drivers.bus._JOIN_S", 0.0)
    left = threading.Event()
    hangs = threading.Event()
    by: list[threading.Thread] = []

    def exchange(command):
        by.append(threading.current_thread())
        if len(by) == 1:
            hangs.set()
            assert left.wait(10.0)
            return "of before"
        return "of now"

    bus = Bus("the test bus", exchange, WallClock(0), 1000.0)
    bus.start()
    assert hangs.wait(10.0)
    bus.close()  # does not wait for the exchange that hangs
    bus.start()
    number = bus.newest(0, 10.0)[0]
    left.set()
    by[0].join(10.0)
    assert not by[0].is_alive()  # it does not go on beside the new thread
    assert [bus.newest(n, 10.0)[2] for n in range(number, number + 5)] == ["of now"] * 5
    bus.close()
    assert by.count(by[0]) == 1


def test_a_failure_of_a_thread_left_behind_is_not_the_fault_of_the_new_one(monkeypatch):
    monkeypatch.setattr("headway.drivers.bus._JOIN_S", 0.0)
    left, hangs = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def exchange(command):
        threads.append(threading.current_thread())
        if len(threads) == 1:
            hangs.set()
            assert left.wait(10.0)
            raise DeviceError("the port was closed")
        return "of now"

    bus = Bus("the test bus", exchange, WallClock(0), 1000.0, retries=0)
    bus.start()
    assert hangs.wait(10.0)
    bus.close()
    bus.start()
    left.set()
    threads[0].join(10.0)
    assert bus.newest(0, 10.0)[2] == "of now"
    assert (bus.fault, bus.failed) == ("", 0)
    bus.close()
