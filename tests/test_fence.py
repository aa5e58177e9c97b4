"""Memory that processes share without a lock, on CPUs that reorder loads and stores: where the
fences stand. An x86 machine, and an emulator on one, would hide a fence that is missing, so these
tests look at the memory at the moment of each fence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from headway.edge.policy.worker import tensors
from headway.edge.recording import fence, ring, tick
from headway.hil import shared

FENCE_OF = "fence_of"


class Fences:
    """Stands in for a fence: notes what `look` says each time."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.look: Callable[[], object] = lambda: None

    def __call__(self) -> None:
        self.seen.append(self.look())

    def during(self, look: Callable[[], object]) -> list[object]:
        """The list of what is seen from now on."""
        self.look, self.seen = look, []
        return self.seen


@pytest.fixture
def fences(monkeypatch: pytest.MonkeyPatch) -> Fences:
    stand_in = Fences()
    for module in (tensors, ring, shared):
        monkeypatch.setattr(module, FENCE_OF, lambda: stand_in)
    return stand_in


class TestTheRigsState:
    @pytest.fixture
    def block(self, fences, tmp_path):
        memory = shared.Memory(tmp_path / "plant", 2, 0.1)
        return memory.arm

    def test_the_counter_is_odd_before_and_after_the_numbers_are_stored(self, fences, block):
        seen = fences.during(lambda: (block.count, block.floats.tolist()))
        with block.writing():
            block.floats[:] = 1.0, 2.0
        assert seen == [(1, [0.0, 0.0]), (1, [1.0, 2.0])]
        assert block.count == 2

    def test_the_numbers_are_loaded_between_two_looks_at_the_counter(self, fences, block):
        """The writer stores at the reader's second fence, so after the numbers were loaded."""
        seen: list[int] = []

        def look() -> None:
            seen.append(len(seen))
            if len(seen) == 2:
                block.ints[0] += 2
                block.floats[:] = 3.0, 4.0

        fences.during(look)
        _, found = block.read()
        assert found.tolist() == [3.0, 4.0]
        assert len(seen) == 4  # the first copy did not count


class TestTensors:
    @pytest.fixture
    def made(self, fences):
        made = tensors.Tensors({"x": ("f8", (2,))}, 1)
        yield made
        os.close(made.fd)
        made.close()

    def test_the_arrays_are_stored_between_the_counters(self, fences, made):
        def look() -> object:
            # Each counter alone, through what `whole` compares with.
            words = np.frombuffer(os.pread(made.fd, 24, 0), np.uint64)
            return words[1:].tolist(), made.views[0]["x"].tolist()

        seen = fences.during(look)
        made.begin(0, 7)["x"][:] = 1.0, 2.0
        made.end(0, 7)
        assert seen == [([7, 0], [0.0, 0.0]), ([7, 0], [1.0, 2.0])]

    def test_the_counters_are_loaded_after_the_arrays(self, fences, made):
        made.begin(0, 7)
        made.end(0, 7)
        fences.during(lambda: made.views and os.pwrite(made.fd, np.uint64(8).tobytes(), 8))
        assert not made.whole(0, 7)  # overwritten at the fence: the copy is of no use


class TestTheRecordersHeader:
    @pytest.fixture
    def header(self, fences):
        fd = os.memfd_create("test")
        os.ftruncate(fd, ring.PAYLOAD + 8)
        made = ring.Ring(fd)
        os.close(fd)
        yield made
        made.close()

    def test_what_failed_is_written_before_it_has_failed(self, fences, header):
        seen = fences.during(
            lambda: (header.words[ring.STATE], header.words[ring.ERROR], header.memory[64:68])
        )
        header.fail("full")
        assert seen == [(ring.STARTING, 4, b"full")]
        assert header.words[ring.STATE] == ring.FAILED
        fences.during(lambda: header.words.__setitem__(ring.ERROR, 2))
        assert header.error == "fu"  # its length is loaded after the fence


class TestWhichFence:
    def test_it_is_compiled_where_that_is_built(self, monkeypatch):
        native = SimpleNamespace(VERSION=tick.VERSION, fence=lambda: None)
        monkeypatch.setitem(sys.modules, "headway.edge.recording._tick", native)
        assert fence.fence_of() is native.fence

    @pytest.mark.skipif(tick.module("auto") is None, reason="the compiled tick is not built")
    def test_the_compiled_one_can_be_called(self):
        assert fence.fence_of("cpp")() is None

    @pytest.mark.parametrize("machine", ["aarch64", "armv8l", "riscv64", "ppc64le"])
    def test_without_it_a_cpu_that_reorders_asks_the_kernel(self, machine):
        assert fence.fence_of("python", machine) is os.sched_yield

    @pytest.mark.parametrize("machine", ["x86_64", "AMD64"])
    def test_without_it_one_that_does_not_has_nothing_to_do(self, machine):
        made = fence.fence_of("python", machine)
        assert made is not os.sched_yield
        assert made() is None
