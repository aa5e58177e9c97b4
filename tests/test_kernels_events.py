"""Gripper and status features: scripts of what happens, and what must be said about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernels_rows import IMPLS, Rows, last, quiet

pytestmark = pytest.mark.parametrize("impl", IMPLS)
DT, S, STROKE = 0.002, 64, 0.085


def closing(n: int, at: int, stop_width: float) -> Rows:
    """Jaws told to close at tick `at` start 50 ms later, 0.2 m/s, and stop at `stop_width`."""
    rows = quiet(n)
    t = np.arange(n)
    rows["width_ref"] = np.where(t < at, 0.08, 0.0)
    rows["width"] = np.clip(0.08 - 0.2 * DT * (t - at - 25), stop_width, 0.08)
    return rows


def test_stats_are_in_strokes(impl: Any) -> None:
    rows = quiet(400)
    rows["width"], rows["width_ref"] = 0.04, 0.034
    rows["grip_force"] = 10 + 5 * np.arange(400) * DT
    f = last(rows, impl)
    assert f["width.last"] == pytest.approx(0.04 / STROKE)
    assert f["width_err.max"] == pytest.approx(0.006 / STROKE)
    assert f["grip.slope"] == pytest.approx(5 / 40, rel=1e-4)
    assert f["grip_rate.last"] == pytest.approx(5 / 40, rel=1e-4)


def test_a_grasp_holds_drifts_and_drops(impl: Any) -> None:
    rows = closing(1500, 100, 0.03)
    assert last(rows[:180], impl)["hold_duty"] == 0  # still moving
    f = last(rows[:600], impl)
    assert (f["closes"], f["closed_empty"], f["dropped"], f["hold_duty"]) == (1, 0, 0, 1)
    assert f["close_age"] == pytest.approx(499 * DT / 10)
    assert (f["width_drift"], f["hold_std"]) == pytest.approx((0, 0), abs=1e-9)

    rows["width"][800:] = 0.0295  # gives a little: 0.5 mm
    rows["grip_force"][:] = 20 - 8 * np.arange(1500) * DT
    f = last(rows[:832], impl)
    assert f["width_drift"] == pytest.approx(-0.0005 / STROKE, rel=1e-4)
    assert f["hold_std"] == pytest.approx(100 * 0.0005 / STROKE / 2, rel=1e-4)  # half of S each
    assert f["force_decay"] == pytest.approx(-8 / 40, rel=1e-4)

    rows["width"][1000:] = 0.0
    f = last(rows[:1010], impl)
    assert (f["dropped"], f["width_drift"], f["closed_empty"]) == (1, 0, 0)
    f = last(rows, impl)
    assert (f["dropped"], f["closed_empty"], f["hold_duty"]) == (1, 1, 0)


def test_an_encoder_of_a_tenth_of_a_millimetre_sees_the_hold(impl: Any) -> None:
    """Its noise over `diff_s` is three times as fast as jaws that creep."""
    rows = closing(1500, 100, 0.03)
    rows["width"] += np.random.default_rng(0).normal(0.0, 1e-4, len(rows))
    f = last(rows[:700], impl)
    assert (f["closed_empty"], f["dropped"], f["hold_duty"]) == (0, 0, 1)
    assert abs(f["width_drift"]) < 5e-4 / STROKE
    rows["width"][800:] -= 0.03  # lost
    f = last(rows, impl)
    assert (f["dropped"], f["closed_empty"], f["hold_duty"]) == (1, 1, 0)


def test_jaws_that_creep_are_not_at_rest(impl: Any) -> None:
    rows = closing(1500, 100, 0.0)
    slow = 0.15 * STROKE  # [m/s]
    rows["width"] = np.maximum(0.08 - slow * DT * np.maximum(np.arange(1500) - 125, 0), 0.0)
    assert last(rows, impl)["hold_duty"] == 0
    rows["width"][900:] = rows["width"][900]
    assert last(rows, impl)["hold_duty"] == 1


def test_closing_on_nothing_lasts_until_the_jaws_open(impl: Any) -> None:
    rows = closing(900, 100, 0.0)
    assert last(rows[:600], impl)["closed_empty"] == 1
    rows["width_ref"][700:] = 0.08
    f = last(rows, impl)
    assert (f["closed_empty"], f["closes"], f["dropped"]) == (0, 1, 0)


def test_jaws_whose_zero_is_a_little_off_close_and_open_as_others_do(impl: Any) -> None:
    rows = np.concatenate((closing(600, 100, 0.03), closing(600, 100, 0.03)))
    rows["width_ref"] -= 0.004
    f = last(rows[:600], impl)
    assert (f["closes"], f["hold_duty"], f["closed_empty"]) == (1, 1, 0)
    f = last(rows[:690], impl)  # told to open again
    assert (f["closes"], f["hold_duty"] < 1) == (1, True)
    assert last(rows, impl)["closes"] == 2
    rows["width_ref"] -= 0.1  # all of it below zero
    assert last(rows[:600], impl)["closes"] == 1


def test_recloses_count_only_without_a_lift(impl: Any) -> None:
    first, second = closing(600, 100, 0.03), closing(600, 100, 0.03)
    twice = np.concatenate((first, second))
    assert (last(twice, impl)["closes"], last(twice, impl)["recloses"]) == (2, 1)
    twice["tcp"][450:, 2] = 0.05  # lifted in between
    assert (last(twice, impl)["closes"], last(twice, impl)["recloses"]) == (2, 0)


def test_vacuum(impl: Any) -> None:
    rows = quiet(700)
    rows["vacuum"] = np.clip(0.001 * np.arange(700), 0, 1)
    f = last(rows, impl)
    assert f["vacuum"] == pytest.approx(0.699)
    assert f["vacuum_slope"] == pytest.approx(0.5, rel=1e-4)
    assert f["vacuum_on"] == 1
    assert last(rows[:500], impl)["vacuum_on"] == 0
    rows["vacuum"][600:] = 0.31
    assert last(rows, impl)["vacuum_on"] == 1  # hysteresis
    rows["vacuum"][650:] = 0.3
    assert last(rows, impl)["vacuum_on"] == 0


def test_phase_time_and_retries(impl: Any) -> None:
    rows = quiet(1200)
    t = np.arange(1200)
    rows["phase"] = np.where(t < 700, 2, 5)
    rows["retries"] = (t >= 300).astype(float) + (t >= 900)
    rows["elapsed"], rows["limit"] = 6.0, 8.0
    rows["recovery"] = 1
    f = last(rows, impl)
    assert [i for i in range(8) if f[f"phase_{i}"]] == [5]
    assert f["phase_age"] == pytest.approx(499 * DT / 10)
    assert f["elapsed"] == pytest.approx(0.75)
    assert (f["retries"], f["retries_phase"], f["recovery"]) == (2, 1, 1)
    assert f["retry_age"] == pytest.approx(299 * DT / 10)
    want = np.exp(-899 * DT / 10) + np.exp(-299 * DT / 10)
    assert f["retry_ewma"] == pytest.approx(want, rel=1e-4)
    rows["elapsed"], rows["limit"] = 30.0, 8.0
    assert last(rows, impl)["elapsed"] == 2


def test_retries_known_from_the_start_are_not_events(impl: Any) -> None:
    rows = quiet(50)
    rows["retries"] = 3
    f = last(rows, impl)
    assert (f["retries"], f["retries_phase"], f["retry_age"], f["retry_ewma"]) == (3, 0, 1, 0)


def test_status_flags_and_rates(impl: Any) -> None:
    rows = quiet(600)
    rows["clamped"][-64:] = 1
    rows["seam_jump"][500], rows["comms_jitter"][400] = 0.3, 0.004
    rows["chunk_disagreement"], rows["task"] = 0.02, 1
    rows["operator"][199] = 1
    for name in ("protective_stop", "ik_failure", "watchdog", "place_confirm", "barcode"):
        rows[name][-1] = 1
    f = last(rows, impl)
    assert f["clamp_rate"] == pytest.approx(0.25)
    assert f["seam"] == pytest.approx(0.3)
    assert f["jitter"] == pytest.approx(4.0)
    assert f["disagreement"] == pytest.approx(0.02)
    assert [f[f"task_{i}"] for i in range(3)] == [0, 1, 0]
    assert f["operator_age"] == pytest.approx(400 * DT / 10)
    assert f["stop"] == f["ik_failure"] == f["watchdog"] == f["place_confirm"] == f["barcode"] == 1
    assert f["scale_match"] == 0


def test_a_phase_that_is_none_of_eight_is_none(impl: Any) -> None:
    rows = quiet(20)
    for value in (-1, 8, 1e5):
        rows["phase"] = value
        f = last(rows, impl)
        assert not any(f[f"phase_{i}"] for i in range(8))
