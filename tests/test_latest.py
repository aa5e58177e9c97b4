"""The newest sample of a device that blocks, fails, hangs or comes back; events, no sleeping."""

import queue
import threading

import pytest

from headway.clock import NS, VirtualClock
from headway.drivers import latest as module
from headway.drivers.latest import Latest
from headway.errors import DeviceError, Stale
from headway.types import Health, Info, Sample, Stamp

MS = 1_000_000
SOON = 20.0  # a bound on waiting for another thread [s]; nothing waits that long


class Wall(VirtualClock):
    """A wall clock that the test moves."""

    realtime = True


class Scripted:
    """A device that does what the test puts into `script`: a value to give, or an error to raise.
    `read` blocks until there is something."""

    info = Info("scripted", "scripted sensor")
    waits = True

    def __init__(self, clock):
        self.clock = clock
        self.script = queue.Queue()
        self.opened = self.closed = 0
        self.seq = 0
        self.reading = threading.Semaphore(0)  # released at each read
        self.open_error = None

    def open(self, timeout_s):
        self.opened += 1
        if self.open_error is not None:
            raise self.open_error

    def read(self, timeout_s):
        self.reading.release()
        step = self.script.get(timeout=SOON) if timeout_s else self.script.get_nowait()
        if isinstance(step, Exception):
            raise step
        self.seq += 1
        t = self.clock.now()
        return Sample(Stamp(t, t, self.seq), step)

    def close(self):
        self.closed += 1

    def health(self):
        return Health("ok")

    def reads(self, n):
        """Return when `read` has been called `n` more times: what came before is done with."""
        for _ in range(n):
            assert self.reading.acquire(timeout=SOON)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(module, "_BACKOFF_S", (1e-3, 2e-3))


def test_a_source_that_never_waits_is_read_without_a_thread_in_real_time():
    device = Scripted(Wall(NS))
    device.waits = False
    newest = Latest(device, device.clock, "sensor")
    before = threading.active_count()
    newest.start()
    assert threading.active_count() == before
    device.script.put("a")
    assert newest.latest(MS).value == "a"
    device.script.put(DeviceError("unplugged"))
    device.clock.sleep_until(NS + 2 * MS)
    with pytest.raises(Stale, match="unplugged"):
        newest.latest(MS)
    device.script.put("b")
    device.clock.sleep_until(NS + 100 * MS)  # after the back-off
    assert newest.latest(MS).value == "b"
    newest.close()
    assert device.closed == 2


def test_ctrl_c_while_it_waits_for_the_first_sample_closes_the_device(monkeypatch):
    device = Scripted(Wall(NS))
    newest = Latest(device, device.clock, "sensor")

    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            device.script.put(Stale("nothing came"))
            raise KeyboardInterrupt

    class Events:
        Event = Interrupted
        Thread = threading.Thread

    monkeypatch.setattr(module, "threading", Events)
    with pytest.raises(KeyboardInterrupt):
        newest.start()
    assert device.closed == 1
    assert newest._thread is None


class TestLockStep:
    """No thread: `latest` reads, and time moves when the test says so."""

    @pytest.fixture
    def device(self):
        return Scripted(VirtualClock(NS))

    @pytest.fixture
    def newest(self, device):
        made = Latest(device, device.clock, "sensor")
        made.start()
        return made

    def test_each_call_reads_one_sample(self, device, newest):
        for value in (1, 2):
            device.script.put(value)
            assert newest.latest(0).value == value
        assert newest._thread is None
        assert device.opened == 1

    def test_without_a_new_sample_the_old_one_ages_and_is_then_refused(self, device, newest):
        device.script.put(1)
        newest.latest(0)
        device.clock.sleep_until(NS + 5 * MS)
        device.script.put(Stale("nothing came"))
        assert newest.latest(5 * MS).value == 1
        device.clock.sleep_until(NS + 6 * MS)
        device.script.put(Stale("nothing came"))
        with pytest.raises(Stale, match=r"sensor of at most 5\.0 ms, found 6\.0 ms: nothing came"):
            newest.latest(5 * MS)

    def test_before_the_first_sample_it_is_stale(self, device, newest):
        device.script.put(Stale("nothing came"))
        with pytest.raises(Stale, match="has not sent a sample yet: nothing came"):
            newest.latest(NS)

    @pytest.mark.parametrize("error", [DeviceError("cable out"), OSError("cable out")])
    def test_a_failure_closes_backs_off_and_reopens(self, device, newest, error):
        device.script.put(1)
        newest.latest(0)
        device.script.put(error)
        device.clock.sleep_until(NS + MS // 2)
        with pytest.raises(Stale, match="cable out"):
            newest.latest(0)
        assert device.closed == 1
        device.script.put(2)
        device.clock.sleep_until(NS + MS)  # half a millisecond after the failure: too early
        with pytest.raises(Stale):
            newest.latest(0)
        assert device.opened == 1
        device.clock.sleep_until(NS + MS // 2 + MS)
        assert newest.latest(0).value == 2
        assert device.opened == 2

    def test_back_off_grows_to_its_cap(self, device, newest):
        tried = []
        for k in range(12):
            device.clock.sleep_until(NS + k * MS)
            before = device.seq, device.opened, device.closed
            device.script = queue.Queue()
            device.script.put(DeviceError("out"))
            with pytest.raises(Stale):
                newest.latest(0)
            if device.closed != before[2]:
                tried.append(k)
        assert tried == [0, 1, 3, 5, 7, 9, 11]


class TestThreaded:
    """One reader thread per device."""

    @pytest.fixture
    def device(self):
        return Scripted(Wall(NS))

    @pytest.fixture
    def newest(self, device):
        made = Latest(device, device.clock, "sensor")
        device.script.put(0)
        made.start(SOON)
        device.reads(2)  # the second one is waiting now
        yield made
        device.script.put(Stale("the end"))  # a read that waits is bounded: here the test ends it
        made.close()

    def test_the_newest_replaces_the_ones_before_it(self, device, newest):
        for value in range(1, 6):
            device.script.put(value)
        device.reads(5)
        assert newest.latest(0).value == 5
        assert newest.latest(0).stamp.seq == 6  # the same one again: nothing waits

    def test_a_silent_device_becomes_stale(self, device, newest):
        assert newest.latest(0).value == 0
        device.clock.sleep_until(NS + 30 * MS)
        with pytest.raises(Stale, match=r"at most 20\.0 ms, found 30\.0 ms"):
            newest.latest(20 * MS)

    def test_after_it_was_closed_it_does_not_touch_the_device(self, device, newest):
        device.script.put(Stale("the end"))
        newest.close()
        device.script.put(1)
        device.clock.sleep_until(NS + 30 * MS)
        with pytest.raises(Stale):
            newest.latest(20 * MS)
        device.script.get_nowait()  # nobody has read it
        assert (device.opened, device.closed) == (1, 1)

    @pytest.mark.parametrize("error", [DeviceError("cable out"), ValueError("library's own")])
    def test_after_a_failure_it_closes_backs_off_reopens_and_goes_on(self, device, newest, error):
        device.script.put(error)
        device.reads(1)  # reopened, and waiting again
        device.clock.sleep_until(NS + 30 * MS)
        with pytest.raises(Stale, match=str(error)):
            newest.latest(20 * MS)
        assert (device.opened, device.closed) == (2, 1)
        for value in (DeviceError("out once more"), DeviceError("and again"), 7):
            device.script.put(value)
        device.reads(3)
        assert newest.latest(0).value == 7
        assert (device.opened, device.closed) == (4, 3)

    def test_close_ends_the_thread_and_may_be_followed_by_a_start(self, device, newest):
        thread = newest._thread
        device.script.put(1)
        device.script.put(Stale("nothing more"))
        newest.close()
        assert not thread.is_alive()
        assert device.closed == 1
        device.script = queue.Queue()
        device.script.put(8)
        newest.start(SOON)
        assert newest.latest(0).value == 8

    def test_a_first_sample_that_does_not_come_is_an_error_with_the_reason(self, device):
        device.read = lambda timeout_s: (_ for _ in ()).throw(DeviceError("wrong baud rate"))
        again = Latest(device, device.clock, "sensor")
        with pytest.raises(Stale, match=r"sample of sensor.*wrong baud rate: is it"):
            again.start(0.05)
        assert again._thread is None
        assert device.closed >= 1


def test_a_device_that_hangs_in_read_does_not_hang_close(monkeypatch):
    monkeypatch.setattr(module, "_JOIN_S", 0.01)
    device = Scripted(Wall(NS))
    newest = Latest(device, device.clock)
    device.script.put(1)
    newest.start(SOON)
    device.reads(2)
    hung = newest._thread
    newest.close()
    assert hung.is_alive()
    device.script.put(2)  # now it comes back: and ends
    hung.join(SOON)
    assert not hung.is_alive()


def test_a_device_that_cannot_be_opened_is_closed_again():
    device = Scripted(VirtualClock())
    device.open_error = DeviceError("no such port")
    newest = Latest(device, device.clock)
    with pytest.raises(DeviceError, match="no such port"):
        newest.start()
    assert device.closed == 1
    assert newest.name == "scripted sensor"
    assert newest.health() == Health("ok")


def test_a_thread_that_hung_over_a_new_start_leaves_the_device_to_the_new_one(monkeypatch):
    monkeypatch.setattr(module, "_JOIN_S", 0.0)
    device = Scripted(Wall(NS))
    hangs, go, end = threading.Event(), threading.Event(), threading.Event()
    calls = queue.SimpleQueue()

    def read(timeout_s):
        calls.put(None)
        n = calls.qsize()
        if n == 2:  # of the first thread
            hangs.set()
            assert go.wait(SOON)
            raise DeviceError("closed under its hands")
        if n > 3:
            assert end.wait(SOON)
            raise Stale("the end")
        return Sample(Stamp(NS, NS, n), n)

    device.read = read
    newest = Latest(device, device.clock, "sensor")
    newest.start(SOON)
    assert hangs.wait(SOON)
    old = newest._thread
    newest.close()  # does not wait for the thread that hangs
    newest.start(SOON)
    go.set()
    old.join(SOON)
    assert not old.is_alive()
    assert (device.opened, device.closed) == (2, 1)
    assert newest.latest(NS).value == 3
    end.set()
    newest.close()
