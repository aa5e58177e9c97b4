"""The telemetry row of a tick: every value where its name says, what is not known NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.edge.control.jitter import Jitter
from headway.edge.control.row import PythonCells, Row
from headway.edge.control.tasks import TaskAbout
from headway.edge.control.tasks.open_ended import Config, OpenEnded
from headway.edge.recording.tick import module
from headway.kernels import telemetry
from headway.types import ArmState, GripperState, Pose, Stamp

N, DT = 6, 0.002


def task():
    """One that has tried again, and is about to."""
    made = OpenEnded(Config(), TaskAbout(0, (), None, None, lambda *_: None))
    made.phase, made.retries, made.recovering = 1, 2, True
    return made


def arm(**changes):
    values = {
        "q": np.arange(6) + 0.1, "dq": np.arange(6) + 0.2, "q_ref": np.zeros(6),
        "tcp": Pose(np.array([0.3, 0.4, 0.5]), np.array([1.0, 0.0, 0.0, 0.0])),
        "twist": np.arange(6) + 0.3, "tau_ext": np.arange(6) + 0.4,
    }  # fmt: skip
    return ArmState(**values | changes)


def fill(row, state, wrench, grip, q_sent, t_ns=5, jitter=0.0):
    row.fill(t_ns, 0.25, q_sent, DT, state, wrench, grip, task(), jitter)


def test_every_value_is_where_its_name_says():
    row, sent = Row(N, task=2, limit_s=18.0), np.arange(6) + 0.5
    fill(row, arm(), np.arange(6) + 0.6, GripperState(0.04, 0.01, 12.0, 0.7), sent)
    row.ik_failure, row.clamped, row.watchdog = True, True, False
    row.seam_jump, row.chunk_disagreement = 0.11, 0.12
    fill(row, arm(), np.arange(6) + 0.6, GripperState(0.04, 0.01, 12.0, 0.7), sent + DT, 7, 3e-4)
    want = {
        "t_ns": 7, "q": np.arange(6) + 0.1, "dq": np.arange(6) + 0.2, "q_ref": sent + DT,
        "dq_ref": np.ones(6), "tau_ext": np.arange(6) + 0.4,
        "tcp": [0.3, 0.4, 0.5, 1, 0, 0, 0], "twist": np.arange(6) + 0.3,
        "wrench": np.arange(6) + 0.6, "width": 0.04, "width_ref": 0.01, "grip_force": 12.0,
        "vacuum": 0.7, "phase": 1, "elapsed": 0.25, "limit": 18.0, "retries": 2, "recovery": 1,
        "protective_stop": 0, "ik_failure": 1, "clamped": 1, "watchdog": 0, "seam_jump": 0.11,
        "chunk_disagreement": 0.12, "comms_jitter": 3e-4, "task": 2,
    }  # fmt: skip
    for name, value in want.items():
        np.testing.assert_allclose(row.data[name], value, rtol=1e-9, err_msg=name)
        np.testing.assert_array_equal(row.view[name], row.data[name])
    unknown = set(telemetry.FIELDS) - set(want)
    known_in_part = {"force_norm", "torque_norm", "touch", "speed", "spin"}
    assert unknown == {"place_confirm", "barcode", "scale_match", "operator", *known_in_part}
    assert all(np.isnan(row.data[name]) for name in unknown)


def test_what_is_not_known_is_nan_and_comes_back():
    row, sent = Row(N, task=0, limit_s=1.0), np.zeros(6)
    fill(row, None, None, None, sent)
    names = ("q", "dq", "tau_ext", "tcp", "twist", "wrench", "width", "grip_force", "vacuum")
    assert all(np.isnan(row.data[name]).all() for name in (*names, "protective_stop", "dq_ref"))
    assert (row.data["q_ref"] == 0).all()
    fill(row, arm(tau_ext=None, protective_stop=True), np.zeros(6), GripperState(0.1, 0.1, 1), sent)
    assert np.isnan(row.data["tau_ext"]).all()
    assert np.isnan(row.data["vacuum"])
    assert np.isfinite(row.data["tcp"]).all()
    assert row.data["protective_stop"] == 1
    fill(row, None, None, None, sent)
    assert row.data["protective_stop"] == 1  # as far as anybody knows


def test_an_arm_of_another_size_is_an_error():
    with pytest.raises(ValueError, match="wanted 6 numbers, found"):
        fill(Row(N, 0, 1.0), arm(q=np.zeros(7)), None, None, np.zeros(6))


PARTS = (("q", 6), ("dq", 6), ("tau_ext", 6), ("pos", 3), ("quat", 4), ("twist", 6), ("wrench", 6))
needs_cpp = pytest.mark.skipif(module("auto") is None, reason="_tick not built")
NUMBERS = st.one_of(st.floats(width=64), st.sampled_from([0.0, -0.0, 5e-324, np.inf, np.nan]))


@needs_cpp
@given(st.data(), st.sets(st.sampled_from([name for name, _ in PARTS])), st.integers(1, 3))
def test_compiled_and_python_cells_write_the_same_bytes(data, unknown, ticks):
    rows = [telemetry.empty(N, 1) for _ in range(2)]
    made = (PythonCells, module("cpp").Cells)
    cells = [cls(row.view(np.uint8), N) for row, cls in zip(rows, made, strict=True)]
    for _ in range(ticks):
        parts = [
            None
            if name in unknown
            else np.array(data.draw(st.lists(NUMBERS, min_size=n, max_size=n)))
            for name, n in PARTS
        ]
        q_ref = np.array(data.draw(st.lists(NUMBERS, min_size=N, max_size=N)))
        singles = data.draw(st.lists(NUMBERS, min_size=16, max_size=16))
        with np.errstate(all="ignore"):
            for each in cells:
                each.fill(9, q_ref, DT, *parts, *singles)
        for name in rows[0].dtype.names:  # NaN is NaN, whatever its sign
            np.testing.assert_array_equal(rows[0][name], rows[1][name], err_msg=name)


@pytest.mark.parametrize("impl", ["python", pytest.param("cpp", marks=needs_cpp)])
@pytest.mark.parametrize("part", range(1 + len(PARTS)))
def test_parts_of_another_size_are_an_error(part, impl):
    sizes = [6, *(n for _, n in PARTS)]
    sizes[part] += 1
    q_ref, *parts = map(np.zeros, sizes)
    cls = PythonCells if impl == "python" else module("cpp").Cells
    cells = cls(telemetry.empty(N, 1).view(np.uint8), N)
    with pytest.raises(ValueError, match="wanted"):
        cells.fill(0, q_ref, DT, *parts, *[0.0] * 16)


def test_jitter_is_that_of_rtp():
    jitter = Jitter()
    for i in range(5):  # a constant delay is none
        jitter.step(Stamp(i * 2_000_000, i * 2_000_000 + 900_000, i))
    assert jitter.seconds == 0.0
    late = Stamp(10_000_000, 10_000_000 + 2_500_000, 5)
    jitter.step(late)
    assert jitter.seconds == pytest.approx(1.6e-3 / 16)
    jitter.step(late)  # the same sample again
    assert jitter.seconds == pytest.approx(1.6e-3 / 16)
    jitter.step(Stamp(12_000_000, 12_900_000, 6))
    assert jitter.seconds == pytest.approx(1e-4 + (1.6e-3 - 1e-4) / 16)
