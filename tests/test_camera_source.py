"""The thread that calls a camera's library: images that are new, frozen, dropped or late, a library
that hangs, and a camera that comes back. Events, no sleeping."""

from __future__ import annotations

import threading

import pytest
from camera_rig import MS, SOON, Scripted, Wall, camera

from headway.clock import NS, VirtualClock
from headway.drivers import latest as latest_module
from headway.drivers.camera_source import Ended
from headway.drivers.latest import Latest
from headway.errors import DeviceError, Stale


@pytest.fixture
def made():
    """`made(clock, *grabbers)`: a camera of these sessions, closed at the end."""
    cameras = []

    def make(clock, *grabbers, **more):
        left = list(grabbers)
        cameras.append(camera(clock, lambda: left.pop(0), **more))
        return cameras[-1]

    yield make
    for one in cameras:
        one.close()


def test_the_newest_image_is_given_once_with_its_stamp(made):
    clock, grabber = Wall(NS), Scripted()
    source = made(clock, grabber)
    source.open(SOON)
    assert source.info.serial == "7"
    grabber.give(5, 10, NS - MS)
    sample = source.read(SOON)
    assert (sample.value.rgb[0, 0, 0], sample.stamp.t_ns, sample.stamp.seq) == (10, NS - MS, 1)
    with pytest.raises(Stale, match="found no image"):
        source.read(0.0)
    assert source.health().state == "ok"


def test_a_gap_in_the_numbers_is_counted_and_an_older_image_is_not_given(made):
    clock, grabber = Wall(NS), Scripted()
    source = made(clock, grabber)
    source.open(SOON)
    for number, fill in ((5, 1), (9, 2)):
        grabber.give(number, fill, NS)
        assert source.read(SOON).value.rgb[0, 0, 0] == fill
    grabber.give(7, 3, NS)
    grabber.give(10, 4, NS)
    sample = source.read(SOON)
    assert sample.value.rgb[0, 0, 0] == 4
    assert sample.stamp.seq == 6  # three were lost before it
    health = source.health()
    assert (health.received, health.lost, health.reordered) == (3, 3, 1)


def test_a_number_that_starts_anew_is_no_loss(made):
    clock, grabber = Wall(NS), Scripted()
    source = made(clock, grabber)
    source.open(SOON)
    for k, number in enumerate((70_000, 1, 2)):
        grabber.give(number, k, NS)
        source.read(SOON)
    assert (source.health().lost, source.health().reordered) == (0, 0)


@pytest.mark.parametrize("number", [5, 6])
def test_a_frozen_image_is_not_given_again_and_then_the_camera_has_failed(made, number):
    """By its number, or by its pixels with a fresh one."""
    clock, grabber = Wall(NS), Scripted()
    source = made(clock, grabber, dead_s=0.5)
    source.open(SOON)
    grabber.give(5, 10, NS)
    source.read(SOON)
    grabber.give(number, 10, NS)
    while source.health().invalid == 0:
        with pytest.raises(Stale):
            source.read(0.01)
    with pytest.raises(Stale, match="again and again"):
        source.read(0.0)
    clock.sleep_until(NS + 600 * MS)
    with pytest.raises(DeviceError, match=r"within 0\.5 s, found .* again and again"):
        source.read(SOON)
    assert source.health().state == "fault"
    assert source.health().invalid == 1


def test_a_depth_image_that_moves_is_a_new_image(made):
    clock, grabber = Wall(NS), Scripted()
    source = made(clock, grabber)
    source.open(SOON)
    for number, deep in ((1, 500), (2, 501)):
        grabber.give(number, 0, NS, depth=deep)
        assert source.read(SOON).value.depth[0, 0] == deep


def test_a_test_pattern_may_repeat_where_the_configuration_says_so(made):
    clock, grabber = Wall(NS), Scripted()
    source = made(clock, grabber, repeats=True)
    source.open(SOON)
    for number in (1, 2):
        grabber.give(number, 10, NS)
        assert source.read(SOON).stamp.seq == number


def test_a_library_that_hangs_when_it_starts_is_abandoned_and_stops_itself_later(made):
    go = threading.Event()
    hangs, works = Scripted(on_start=lambda: go.wait(SOON)), Scripted()
    source = made(Wall(NS), hangs, works)
    with pytest.raises(DeviceError, match=r"start within 0\.01 s, found that its library still"):
        source.open(0.01)
    assert source.abandoned == 1
    source.open(SOON)
    works.give(1, 1, NS)
    go.set()
    assert hangs.stopped.wait(SOON)
    assert source.read(SOON).value.rgb[0, 0, 0] == 1


def test_a_library_that_hangs_when_it_stops_does_not_hang_close(made):
    go = threading.Event()
    hangs, works = Scripted(on_stop=lambda: go.wait(SOON)), Scripted()
    source = made(Wall(NS), hangs, works, stop_s=0.01)
    source.open(SOON)
    source.close()
    assert (source.abandoned, source.health().state) == (1, "closed")
    source.open(SOON)
    hangs.give(1, 99, NS)  # what it still brings is nobody's
    works.give(1, 1, NS)
    assert source.read(SOON).value.rgb[0, 0, 0] == 1
    go.set()
    assert hangs.stopped.wait(SOON)


@pytest.mark.parametrize("error", [DeviceError("no such camera"), RuntimeError("no such camera")])
def test_a_camera_that_does_not_start_says_why_at_once(made, error):
    def fail():
        raise error

    source = made(Wall(NS), Scripted(on_start=fail))
    with pytest.raises(DeviceError, match="no such camera"):
        source.open(SOON)
    assert source.health().state == "fault"


def test_a_file_that_has_been_played_is_stale_and_not_opened_again(made):
    clock, grabber = VirtualClock(NS), Scripted()
    source = made(clock, grabber)
    source.open(SOON)
    for number in (1, 2, 3):
        grabber.give(number, number, NS)
    grabber.script.put(Ended())
    # In lock-step the file waits for its reader: no image is lost.
    assert [source.read(SOON).value.rgb[0, 0, 0] for _ in range(3)] == [1, 2, 3]
    clock.sleep_until(9 * NS)
    with pytest.raises(Stale, match="has been played"):
        source.read(0.01)


def test_before_open_it_is_closed(made):
    with pytest.raises(DeviceError, match="closed: open it"):
        made(Wall(NS), Scripted()).read(0.0)


class TestWithLatest:
    """A camera that stops is opened again, and nothing old is served meanwhile."""

    @pytest.fixture(autouse=True)
    def no_waiting(self, monkeypatch):
        monkeypatch.setattr(latest_module, "_BACKOFF_S", (1e-3, 2e-3))

    def wait_for(self, newest, fill):
        done = threading.Event()
        for _ in range(int(SOON / 0.01)):
            if newest.last is not None and newest.last.value.rgb[0, 0, 0] == fill:
                return
            done.wait(0.01)
        raise AssertionError(f"no image {fill}")

    @pytest.mark.parametrize("how", ["silent", "frozen", "unplugged"])
    def test_it_comes_back(self, made, how):
        clock, first, second = Wall(NS), Scripted(), Scripted()
        first.give(1, 10, NS)
        source = made(clock, first, second, dead_s=0.2)
        newest = Latest(source, clock, "camera")
        newest.start(SOON)
        assert newest.latest(100 * MS).value.rgb[0, 0, 0] == 10
        if how == "frozen":
            for number in range(2, 40):
                first.give(number, 10, NS + 300 * MS)
        if how == "unplugged":
            first.script.put(DeviceError("unplugged"))
        clock.sleep_until(NS + 300 * MS)
        with pytest.raises(Stale, match=r"at most 100\.0 ms, found 300\.0 ms"):
            newest.latest(100 * MS)
        assert first.stopped.wait(SOON)
        second.give(1, 20, NS + 300 * MS)
        self.wait_for(newest, 20)
        assert newest.latest(100 * MS).value.rgb[0, 0, 0] == 20
        assert source.health().reconnects == 1
        newest.close()
        assert second.stopped.is_set()

    def test_a_camera_that_takes_seconds_to_start_has_them_again(self, made):
        """As long as the first start was given, not less."""
        clock, given = Wall(NS), []
        first, second = Scripted(), Scripted()
        first.give(1, 10, NS)
        source = made(clock, first, second)
        opens = source.open

        def noted(timeout_s):
            given.append(timeout_s)
            opens(timeout_s)

        source.open = noted
        newest = Latest(source, clock, "camera")
        newest.start(SOON)
        first.script.put(DeviceError("unplugged"))
        second.give(1, 20, NS)
        self.wait_for(newest, 20)
        newest.close()
        assert given == [SOON, SOON]
