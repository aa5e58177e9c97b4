"""What is asked of the operating system: granted or refused, it is said, and given back. The
operating system is made up."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from headway.edge.host.environment import ranges
from headway.edge.host.realtime import RealtimeConfig, realtime, split
from headway.edge.host.system import MALLOC_DEFAULTS, MALLOC_KEEP, System

STEPS = (
    "malloc", "huge pages off", "locked memory", "thread switching", "idle states off", "core",
    "SCHED_FIFO",
)  # fmt: skip
OTHER = (os.SCHED_OTHER, 0)


class Fake(System):
    """A machine of four cores that grants everything but `refused`, and knows what was done."""

    def __init__(self, tmp_path, refused=(), cores=(0, 1, 2, 3), limit=None):
        self.root, self.refused, self.limit = tmp_path, refused, limit
        self.where = {0: set(cores), 11: set(cores), 12: set(cores)}
        self.policy, self.locked, self.huge, self.held = OTHER, False, True, []
        self.malloc = dict(MALLOC_DEFAULTS)

    def _may(self, what):
        if what in self.refused:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    def scheduler(self):
        return self.policy

    def set_scheduler(self, policy, priority):
        self._may("SCHED_FIFO")
        self.policy = policy, priority

    def affinity(self, tid):
        return set(self.where[tid])

    def set_affinity(self, tid, cores):
        self._may("core")
        self.where[tid] = set(cores)

    def helpers(self):
        return [11, 12]

    def lock_limit(self):
        return self.limit

    def mlockall(self):
        self._may("locked memory")
        self.locked = True

    def munlockall(self):
        self.locked = False

    def mallopt(self, option, value):
        self._may("malloc")
        self.malloc[option] = value

    def huge_pages(self, on):
        self._may("huge pages off")
        self.huge = on

    def hold_latency(self, us):
        self._may("idle states off")
        self.held.append(us)
        return self.held.clear

    @property
    def all(self):
        cores = {k: tuple(v) for k, v in self.where.items()}
        return self.policy, self.locked, self.huge, list(self.held), dict(self.malloc), cores


CFG = RealtimeConfig(prefault_mib=1)


def test_all_that_is_granted_is_said_and_given_back(tmp_path):
    fake = Fake(tmp_path)
    before, switch = fake.all, sys.getswitchinterval()
    with realtime(CFG, fake) as setup:
        assert [g.name for g in setup.granted] == list(STEPS)
        assert all(g.ok for g in setup.granted)
        assert "SCHED_FIFO: granted: priority 50" in setup.lines
        assert "core: granted: 3 for the loop, 0-2 for all else" in setup.lines
        assert fake.policy == (os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 50)
        assert fake.malloc == dict(MALLOC_KEEP)
        assert (fake.locked, fake.huge, fake.held) == (True, False, [0])
        assert sys.getswitchinterval() == pytest.approx(CFG.switch_interval_s)
        assert setup.facts == {"env.rt_granted": ", ".join(STEPS), "env.loop_core": "3"}
    assert fake.all == before
    assert sys.getswitchinterval() == switch


def test_the_loop_has_its_core_for_an_episode_and_all_else_the_others(tmp_path):
    fake = Fake(tmp_path)
    with realtime(CFG, fake) as setup:
        assert (setup.core, setup.others) == (3, (0, 1, 2))
        for _ in range(2):
            with setup.pinned():
                assert fake.where == {0: {3}, 11: {0, 1, 2}, 12: {0, 1, 2}}
            assert set(map(len, fake.where.values())) == {4}


@pytest.mark.parametrize("name", [s for s in STEPS if s != "thread switching"])
def test_a_step_that_is_refused_says_why_and_stops_no_other(tmp_path, name):
    fake = Fake(tmp_path, {name})
    with realtime(CFG, fake) as setup:
        refused = [g for g in setup.granted if not g.ok]
        assert [g.name for g in refused] == [name]
        assert "Operation not permitted" in str(refused[0])
        assert setup.facts["env.rt_refused"] == name
        with setup.pinned():
            assert fake.where[0] == ({0, 1, 2, 3} if name == "core" else {3})
    if name in ("SCHED_FIFO", "locked memory"):
        assert "limits.d" in str(refused[0])


def test_memory_is_not_locked_where_later_allocations_would_fail(tmp_path):
    fake = Fake(tmp_path, limit=64 << 20)
    with realtime(CFG, fake) as setup:
        assert not fake.locked
    (said,) = (line for line in setup.lines if line.startswith("locked memory"))
    assert "refused: the limit is 64 MiB" in said
    assert "memlock unlimited" in said


def test_each_step_can_be_turned_off(tmp_path):
    off = RealtimeConfig(
        fifo=False, pin=False, lock_memory=False, keep_memory=False, no_huge_pages=False,
        switch_interval_s=0.0, no_idle_states=False,
    )  # fmt: skip
    fake = Fake(tmp_path)
    before = fake.all
    with realtime(off, fake) as setup, setup.pinned():
        assert setup.granted == ()
        assert fake.all == before
    assert split(off, fake) == (None, ())


@pytest.mark.parametrize(
    ("cores", "isolated", "core", "want"),
    [
        ((0, 1, 2, 3), "", -1, (3, (0, 1, 2))),
        ((0, 1, 2, 3), "2-3", -1, (2, (0, 1))),  # 3 is kept free of all else, too
        ((0, 1), "2-3", -1, (2, (0, 1))),  # isolated cores are in nobody's mask
        ((0, 1, 2, 3), "", 1, (1, (0, 2, 3))),
        ((0,), "", -1, (None, ())),
        ((0, 1), "nonsense", -1, (1, (0,))),
    ],
)
def test_which_core_is_the_loops(tmp_path, cores, isolated, core, want):
    place = tmp_path / "sys/devices/system/cpu"
    place.mkdir(parents=True)
    (place / "isolated").write_text(isolated + "\n")
    assert split(RealtimeConfig(core=core), Fake(tmp_path, cores=cores)) == want


def test_one_core_is_said(tmp_path):
    with realtime(CFG, Fake(tmp_path, cores=(0,))) as setup:
        assert any("there is one core only" in line for line in setup.lines)
        assert setup.core is None


def test_this_machines_own_calls(tmp_path):
    """What can be tried without changing this process: reading, and a file in place of a device."""
    system = System()
    assert system.scheduler()[0] in (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE)
    assert system.affinity(0) == os.sched_getaffinity(0)
    assert system.affinity(2**22 + 1) == set()  # above any pid: gone
    system.set_affinity(2**22 + 1, {0})
    system.root = tmp_path
    with pytest.raises(FileNotFoundError):
        system.hold_latency(0)
    (tmp_path / "dev").mkdir()
    device = tmp_path / "dev" / "cpu_dma_latency"
    device.touch()
    release = system.hold_latency(7)
    release()
    assert device.read_bytes() == (7).to_bytes(4, sys.byteorder)


def test_children_are_found():
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        pytest.skip("this kernel does not list children")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in System().helpers()
        assert os.getpid() not in System().helpers()
    finally:
        child.communicate(b"\n")
    assert child.pid not in System().helpers()


def test_cores_in_words():
    assert ranges({0, 1, 2, 5, 7, 8}) == "0-2,5,7-8"
    assert ranges(set()) == ""
