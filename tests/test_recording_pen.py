"""The compiled pen and tally do to their memory what the Python ones do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.edge.control.audit import SAMPLES, STAGES, TIMING, PythonTally
from headway.edge.recording import ring
from headway.edge.recording.pen import Pen, PythonPen, pen
from headway.edge.recording.ring import NOTE, NOTES, PAYLOAD, Ring
from headway.edge.recording.tick import module

CAPACITY = 256
needs_cpp = pytest.mark.skipif(module("auto") is None, reason="_tick not built")


@contextmanager
def ring_of(capacity: int = CAPACITY) -> Iterator[Ring]:
    fd = os.memfd_create("test")
    os.ftruncate(fd, PAYLOAD + capacity)
    shared = Ring(fd)
    os.close(fd)
    yield shared
    shared.close()


SIZES = st.integers(0, CAPACITY)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), SIZES, SIZES),
        st.tuples(st.just("ask"), st.integers(0, 2**32 - 1), st.just(0)),
        st.tuples(st.just("take"), st.integers(1, 3), st.just(0)),
    ),
    max_size=60,
)


def take(shared: Ring, n: int) -> None:
    """As the writer process: the next `n` notes, if there are so many."""
    words = shared.words
    for _ in range(min(n, words[ring.NOTED] - words[ring.TAKEN])):
        at = ring.HEADER + words[ring.TAKEN] % NOTES * NOTE.size
        _, op, _, length, _, pos = NOTE.unpack_from(shared.memory, at)
        if op == ring.MESSAGE:
            words[ring.CONSUMED] = pos + length
        words[ring.TAKEN] += 1


def answer(made: Pen, message: tuple[Any, ...]) -> bool | str:
    try:
        return made.put(*message)
    except ValueError as e:
        return str(e)


@needs_cpp
@given(STEPS)
def test_the_same_bytes_and_answers(steps):
    with ring_of() as a, ring_of() as b:
        pens = [PythonPen(a), pen(b, "cpp")]
        for i, (kind, x, y) in enumerate(steps):
            if kind == "take":
                take(a, x)
                take(b, x)
            elif kind == "ask":
                assert pens[0].ask(ring.FLUSH, x) == pens[1].ask(ring.FLUSH, x)
            else:
                message = (7, i, i << 40, bytes([i]) * x, memoryview(bytes([255 - i]) * y))
                answers = [answer(each, message) for each in pens]
                assert answers[0] == answers[1]
                if x + y > CAPACITY:
                    assert "at most 256 bytes" in str(answers[0])
            assert a.memory[:] == b.memory[:]
        pens.clear()


@pytest.mark.parametrize("impl", ["python", pytest.param("cpp", marks=needs_cpp)])
def test_a_full_ring_of_notes_takes_none_until_one_is_taken(impl):
    with ring_of() as shared:
        made = pen(shared, impl)
        assert all(made.put(0, i, i, b"", b"") for i in range(NOTES))
        assert not made.put(0, NOTES, 0, b"", b"")
        assert not made.ask(ring.CLOSE, 0)
        before = shared.memory[:]
        assert not made.put(0, NOTES, 0, b"x", b"")
        assert shared.memory[:] == before
        take(shared, 1)
        assert made.ask(ring.CLOSE, 0)
        assert not made.put(0, 0, 0, b"", b"")
        del made


@needs_cpp
def test_structured_rows_are_copied_as_they_are():
    row = np.zeros((), [("t_ns", np.int64), ("q", np.float64, (3,)), ("mode", np.int32)])
    row["q"] = 1.5, -2.0, np.nan
    with ring_of() as a, ring_of() as b:
        ours, theirs = PythonPen(a), pen(b, "cpp")
        for value in (row, row[()]):
            assert ours.put(0, 0, 1, value, b"")
            assert theirs.put(0, 0, 1, value, b"")
            assert a.memory[:] == b.memory[:]
        assert a.memory[PAYLOAD : PAYLOAD + row.nbytes] == row.tobytes()
        del ours, theirs


@needs_cpp
def test_memory_without_room_for_a_byte_is_refused():
    with ring_of(0) as shared, pytest.raises(ValueError, match="wanted more than"):
        pen(shared, "cpp")


def tallies() -> list[tuple[np.ndarray, PythonTally]]:
    rows = [np.zeros(1, TIMING) for _ in range(2)]
    made = (PythonTally, module("cpp").Tally)
    return [
        (row, cls(row.view(np.int64), len(STAGES), len(SAMPLES)))
        for row, cls in zip(rows, made, strict=True)
    ]


@needs_cpp
@given(
    st.lists(st.integers(0, 2**62), min_size=8, max_size=8),
    st.lists(st.integers(-1, 2**62), min_size=3, max_size=3),
    st.lists(st.integers(-(2**62), 2**62), min_size=4, max_size=4),
)
def test_the_same_row(stamps, sampled, rest):
    t_ns, late, missed, at = rest
    at = abs(at)
    (a, ours), (b, theirs) = tallies()
    for tally in (ours, theirs):
        tally.begin(5)
        tally.finish(t_ns, late, missed, stamps, sampled, at)
    for name in TIMING.names or ():
        if name in ("minor_faults", "major_faults", "waits", "preemptions", "cpu"):
            assert b[name][0] >= a[name][0] or name == "cpu"  # read later, and only ever more
        else:
            assert a[name][0] == b[name][0], name


@needs_cpp
def test_what_is_no_stamp_is_refused():
    _, (_, theirs) = tallies()
    with pytest.raises(ValueError, match="a stamp per stage"):
        theirs.finish(0, 0, 0, [0] * 7, [0] * 3, 0)
    with pytest.raises(TypeError):
        theirs.finish(0, 0, 0, [0.5] * 8, [0] * 3, 0)
    with pytest.raises(OverflowError):
        theirs.finish(0, 0, 0, [1 << 70] * 8, [0] * 3, 0)
