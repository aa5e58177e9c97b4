"""headway.drivers.device_clock: offset, drift, spikes, resets and wraps of a device's clock."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.clock import NS
from headway.drivers.device_clock import DeviceClock

MS = 1_000_000


def run(clock, n, *, drift=0.0, offset=7 * NS, delay=None, start=0, period=2 * MS, wraps=0):
    """True and mapped times [ns] of `n` samples; `delay(i)` [ns] is that of sample i."""
    out = []
    for i in range(n):
        true = start + i * period
        device = round(true * (1 + drift)) - offset
        if wraps:
            device %= wraps
        arrival = true + (delay(i) if delay else 0)
        t, error = clock.map(device, arrival)
        out.append((true, t, arrival, error))
    return np.array(out)


def test_delays_that_vary_do_not_show():
    rng = np.random.default_rng(0)
    made = run(DeviceClock(), 5000, delay=lambda i: int(rng.exponential(1 * MS)))
    late = made[500:, 1] - made[500:, 0]
    assert late.min() >= 0
    assert late.max() < 0.1 * MS  # the samples themselves came up to 10 ms late
    assert (made[500:, 2] - made[500:, 0]).max() > 5 * MS


def test_a_drift_of_150_ppm_is_followed():
    for drift in (150e-6, -150e-6):
        rng = np.random.default_rng(1)
        made = run(DeviceClock(), 60_000, drift=drift, delay=lambda i, r=rng: int(r.integers(MS)))
        error = made[5000:, 1] - made[5000:, 0]
        assert np.abs(error).max() < 2.5 * MS  # 10 s of a window, 150 us each
        assert (np.abs(error) <= made[5000:, 3] + MS).all()


def test_times_never_run_backwards_and_never_lead_the_arrival():
    rng = np.random.default_rng(2)
    made = run(DeviceClock(), 3000, drift=1e-4, delay=lambda i: int(rng.exponential(5 * MS)))
    assert (np.diff(made[:, 1]) >= 0).all()
    assert (made[:, 1] <= made[:, 2]).all()


def test_a_clock_that_starts_over_is_mapped_anew():
    clock = DeviceClock()
    run(clock, 1000)
    again = run(clock, 1000, start=4 * NS, offset=4 * NS - 5)
    assert clock.resets == 1
    assert np.abs(again[:, 1] - again[:, 0]).max() < 1 * MS


def test_a_clock_that_leaps_forward_is_mapped_anew():
    clock = DeviceClock()
    run(clock, 1000)
    again = run(clock, 1000, start=2 * NS, offset=7 * NS - 3600 * NS)
    assert clock.resets == 1
    assert np.abs(again[:, 1] - again[:, 0]).max() < 1 * MS


def test_a_counter_that_wraps_is_no_reset():
    clock = DeviceClock(wraps_ns=NS)
    made = run(clock, 5000, offset=0, wraps=NS)
    assert clock.resets == 0
    assert np.abs(made[:, 1] - made[:, 0]).max() < 0.1 * MS


def test_a_pause_of_the_stream_is_no_reset():
    clock = DeviceClock()
    run(clock, 1000)
    again = run(clock, 100, start=30 * NS)
    assert clock.resets == 0
    assert np.abs(again[:, 1] - again[:, 0]).max() < 0.1 * MS


def test_the_least_delay_is_taken_off():
    made = run(DeviceClock(delay_ns=3 * MS), 100, delay=lambda i: 3 * MS)
    assert np.abs(made[:, 1] - made[:, 0]).max() < 0.1 * MS


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.integers(0, NS)), max_size=60))
def test_whatever_a_device_says_times_are_monotonic(steps):
    clock, arrival, device, before = DeviceClock(), 10 * NS, 0, 0
    for jump, passed in steps:
        device, arrival = device + jump, arrival + passed
        t, error = clock.map(device, arrival)
        assert before <= t <= arrival
        assert error >= 0
        before = t
