"""The stream: causal, equal to the batch bit for bit, and never touched by what is not valid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels_rows import IMPLS, Rows, masks_of, quiet, scale, wild
from properties import examples

from headway import kernels
from headway.errors import ConfigError, SpecMismatch
from headway.kernels import oracle, spec
from headway.kernels.derive import NORMS
from headway.kernels.telemetry import FIELDS, Scale, empty

each_impl = pytest.mark.parametrize("impl", IMPLS)
BAD = [np.nan, np.inf, -np.inf, 1e7, -1e300]
GOOD = [5e-324, -1e-310, 0.0, -0.0]


def stream_at(impl: Any, rows: Rows, ticks: list[int], rate: float = 500.0) -> list[Any]:
    """Features and masks after each of `ticks` rows."""
    stream = kernels.feature_stream(impl, scale(rows["q"].shape[1]), rows["q"].shape[1], rate)
    out, done = [], 0
    for n in ticks:
        for row in rows[done:n]:
            stream.push(row)
        out.append(np.concatenate([a.copy() for a in stream.features()]))
        done = n
    return out


@each_impl
def test_stream_equals_batch_whatever_the_cadence(impl: Any) -> None:
    rows = wild(700, 1)
    rows["vacuum"] = np.nan
    rows["q"][300:320] = np.nan
    rows["dq"][::7] = np.nan
    features, masks = kernels.batch(rows, scale(), 500.0, 1, impl)
    whole = np.concatenate((features, masks), axis=1)
    r = np.random.default_rng(0)
    for ticks in ([700], list(range(10, 701, 10)), sorted({*r.integers(1, 700, 9).tolist(), 700})):
        np.testing.assert_array_equal(stream_at(impl, rows, ticks), whole[np.array(ticks) - 1])


@each_impl
def test_the_future_changes_nothing(impl: Any) -> None:
    a, b = wild(400, 2), wild(400, 2)
    b[300:] = wild(400, 3)[300:]
    fa, _ = kernels.batch(a, scale(), 500.0, 1, impl)
    fb, _ = kernels.batch(b, scale(), 500.0, 1, impl)
    np.testing.assert_array_equal(fa[:300], fb[:300])
    assert np.any(fa[300] != fb[300])


@each_impl
def test_what_left_the_window_is_forgotten_but_for_the_counts(impl: Any) -> None:
    """Windowed features only see the last L ticks, plus the longest filter's taps."""
    a, b = wild(900, 4), wild(900, 4)
    b[:500] = wild(900, 5)[:500]
    for rows in (a, b):
        rows[["width_ref", "wrench", "retries"]][:600] = 0
        rows["width_ref"], rows["retries"], rows["wrench"][:, 2] = 0.08, 0.0, 0.0
        rows["wrench"] *= 0.01
    fa, fb = (stream_at(impl, rows, [900])[0] for rows in (a, b))
    np.testing.assert_array_equal(fa[:56], fb[:56])


@each_impl
def test_reset_is_as_new(impl: Any) -> None:
    rows = wild(400, 6)
    stream = kernels.feature_stream(impl, scale(), 6, 500.0)
    assert not stream.features()[0].any()
    assert not stream.features()[1].any()
    for row in rows:
        stream.push(row)
    before = stream.features()[0].copy()
    stream.reset()
    assert not stream.features()[0].any()
    for row in rows:
        stream.push(row)
    np.testing.assert_array_equal(stream.features()[0], before)


@each_impl
def test_outputs_are_written_into_what_is_given(impl: Any) -> None:
    stream = kernels.feature_stream(impl, scale(), 6, 500.0)
    assert stream.impl == impl
    stream.push(wild(1, 7)[0])
    out, bits = np.full(spec.N_FEATURES, 7, np.float32), np.full(spec.N_MASKS, 7, np.float32)
    got = stream.features(out, bits)
    assert got[0] is out
    assert got[1] is bits
    fresh = stream.features()
    assert fresh[0].dtype == fresh[1].dtype == np.float32
    np.testing.assert_array_equal(fresh[0], out)
    np.testing.assert_array_equal(fresh[1], bits)


@each_impl
def test_a_step_is_a_push_and_features_into_what_is_bound(impl: Any) -> None:
    rows = wild(400, 9)
    a, b = (kernels.feature_stream(impl, scale(), 6, 500.0) for _ in range(2))
    slot = rows[:1].copy()
    row = slot[0]  # one object, filled anew every tick, as the loop does
    for i in range(200):
        slot[:] = rows[i : i + 1]
        f, m = a.step(row)
        b.push(rows[i])
        if i % 7 == 0:
            want = b.features()
            np.testing.assert_array_equal(f, want[0])
            np.testing.assert_array_equal(m, want[1])
    out, bits = np.empty(spec.N_FEATURES, np.float32), np.empty(spec.N_MASKS, np.float32)
    a.bind(out, bits)
    for i in range(200, 400):
        b.push(rows[i])
        if i % 3:  # the known row, an unknown one, and the two in turn
            slot[:] = rows[i : i + 1]
            got = a.step(row)
        else:
            got = a.step(rows[i])
        assert got[0] is out
        assert got[1] is bits
        np.testing.assert_array_equal(out, b.features()[0])
    a.reset()
    assert a.step(row)[0] is out  # a reset forgets the rows, not where to write


@each_impl
def test_a_row_that_owns_its_memory_is_read_on_every_tick(impl: Any) -> None:
    rows = wild(60, 10)
    a, b = (kernels.feature_stream(impl, scale(), 6, 500.0) for _ in range(2))
    own = rows[0].copy()
    for row in rows:
        for name in row.dtype.names:
            own[name] = row[name]
        a.push(own)
        b.push(row)
    np.testing.assert_array_equal(a.features()[0], b.features()[0])


@each_impl
def test_a_robot_without_a_gripper_masks_it(impl: Any) -> None:
    rows = wild(300, 8)
    for field in ("width", "width_ref", "grip_force", "vacuum"):
        rows[field] = np.nan
    f, m = kernels.batch(rows, scale(), 500.0, 300, impl)
    assert [n for n, bit in zip(spec.MASKS, m[0], strict=True) if not bit] == [
        "width",
        "width_ref",
        "grip_force",
        "vacuum",
    ]
    assert not f[0, spec.SLICES["gripper"]].any()
    assert f[0, spec.INDEX["load_change"]] == 0
    full, _ = kernels.batch(wild(300, 8), scale(), 500.0, 300, impl)
    for part in ("motion", "status"):
        np.testing.assert_array_equal(f[0, spec.SLICES[part]], full[0, spec.SLICES[part]])


@each_impl
def test_nothing_known_gives_nothing(impl: Any) -> None:
    f, m = kernels.batch(empty(6, 80), scale(), 500.0, 40, impl)
    assert not f.any()
    assert not m[:, : spec.N_GROUPS].any()


@each_impl
def test_a_gap_masks_then_holds_and_makes_no_spike(impl: Any) -> None:
    rows = quiet(900)
    rows["dq"] = 0.2 * np.arange(900)[:, None] * 0.002
    rows["wrench"][:, 2] = 0.5 * np.arange(900) * 0.002
    rows["q"][500:600] = rows["dq"][500:600] = rows["wrench"][500:600] = np.nan
    f, m = kernels.batch(rows, scale(), 500.0, 1, impl)
    bit = {n: m[:, i] for i, n in enumerate(spec.MASKS)}
    assert bit["force"][499] == bit["force_norm"][499] == 1
    assert not bit["force"][500:600].any()
    assert bit["force"][600:].all()  # 100 of 256 ticks missing: most of the window is there
    assert not f[500:600, spec.INDEX["Fz.mean"]].any()
    for name in ("ddq.max", "dF.max", "band.max"):
        x = f[:, spec.INDEX[name]]
        assert x[600:].max() <= 1.05 * x[200:500].max() + 1e-9, name
    rows["wrench"][300:600] = np.nan
    _, m = kernels.batch(rows, scale(), 500.0, 1, impl)
    force = m[:, spec.MASKS.index("force")]
    first = 600 + int(np.argmax(force[600:]))
    assert first == 600 + 127  # back when half of L = 256 is valid again


@each_impl
@examples(40)
@given(data=st.data())
def test_invalid_input_never_leaves_its_group(impl: Any, data: st.DataObject) -> None:
    clean = wild(70, 11)
    rows = clean.copy()
    fields = data.draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=4))
    hit: dict[str, set[int]] = {}
    for field in fields:
        flat = rows[field].reshape(70, -1)
        width = flat.shape[1]
        ticks = data.draw(st.lists(st.integers(0, 69), min_size=1, max_size=50))
        for t in ticks:
            value = data.draw(st.sampled_from(BAD + GOOD))
            flat[t, data.draw(st.integers(0, width - 1))] = value
            for mask in masks_of(field):
                hit.setdefault(mask, set())
                if value not in GOOD:
                    hit[mask].add(t)
        rows[field] = flat.reshape(rows[field].shape)
    with np.errstate(all="raise", under="ignore"):
        f, m = kernels.batch(rows, scale(), 500.0, 35, impl)
    g, _ = kernels.batch(clean, scale(), 500.0, 35, impl)
    assert np.isfinite(f).all()
    assert np.abs(f).max() <= spec.CONSTANTS["out_max"]
    for i, feature in enumerate(spec.FEATURES):
        if not set(feature.needs) & set(hit):
            np.testing.assert_array_equal(f[:, i], g[:, i], feature.name)
        for k in (0, 1):
            if not all(m[k, spec.MASKS.index(n)] for n in feature.needs):
                assert f[k, i] == 0
    for i, mask in enumerate(spec.MASKS):
        derived = ("dq", "dq_ref", "twist", *(norm for _, _, _, norm in NORMS))
        if mask in (*derived, *spec.MASK_RATES):
            continue  # derived where the pose or the vector is valid; not of telemetry
        bad = hit.get(mask, set())
        for k, n in enumerate((35, 70)):
            # a later draw may have put a good value over a bad one: recount from the rows
            part = {"force": slice(0, 3), "torque": slice(3, 6)}.get(mask, slice(None))
            fields_of = spec.MASK_FIELDS[mask]
            x = np.concatenate([rows[f].reshape(70, -1)[:n, part] for f in fields_of], 1)
            valid = np.all(np.abs(x) <= spec.CONSTANTS["in_max"], axis=1)
            assert valid.sum() >= n - len(bad)
            assert m[k, i] == (valid[-1] and valid.mean() >= 0.5), mask


@each_impl
def test_wrong_rows_and_scales_are_refused(impl: Any) -> None:
    stream = kernels.feature_stream(impl, scale(), 6, 500.0)
    with pytest.raises(SpecMismatch, match="6 joints"):
        stream.push(quiet(1, 7)[0])
    stream.push(np.array(quiet(1), dtype=np.dtype(quiet(1).dtype.descr))[0])  # equal, not identical
    with pytest.raises(ConfigError, match="shape"):
        kernels.feature_stream(impl, scale(5), 6, 500.0)
    with pytest.raises(ConfigError, match="Hz"):
        kernels.feature_stream(impl, scale(), 6, 5.0)
    one = np.ones(6)
    with pytest.raises(ConfigError, match="dq_max"):
        kernels.feature_stream(impl, Scale(-one, one, 0 * one, one), 6, 500.0)
    with pytest.raises(ConfigError, match="stroke"):
        kernels.feature_stream(impl, Scale(-one, one, one, one, stroke=np.nan), 6, 500.0)
    with pytest.raises(ConfigError, match="v_max"):  # sparc would not be a number
        kernels.feature_stream(impl, Scale(-one, one, one, one, v_max=np.inf), 6, 500.0)
    with pytest.raises(ConfigError, match="tau_max"):  # nor would tau.slope
        kernels.feature_stream(impl, Scale(-one, one, one, 1e-310 * one), 6, 500.0)
    free = Scale(-one, one, np.inf * one, np.inf * one)  # a joint without these limits
    assert np.isfinite(kernels.batch(wild(60, 1), free, 500.0, 60, impl)[0]).all()


def test_oracle_batch_is_the_module_batch() -> None:
    rows = wild(60, 12)
    a, b = oracle.batch(rows, scale(), 500.0, 20), kernels.batch(rows, scale(), 500.0, 20, "numpy")
    np.testing.assert_array_equal(a[0], b[0])
    assert a[0].shape == (3, spec.N_FEATURES)
    assert a[1].shape == (3, spec.N_MASKS)
