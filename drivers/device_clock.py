"""The clock of a device, in terms of this computer's.

A device stamps its samples when they are measured, which is better than the time of their arrival:
buses and schedulers delay them by a varying time. But its clock runs from another start and at a
slightly other rate. Arrival minus device time is the offset of the clocks plus the delay of that
sample, and a delay is never negative; so the smallest differences, the lower envelope, follow the
offset. This is how network time and the clocks of cameras are usually mapped.
"""

from __future__ import annotations

from collections import deque

from headway.clock import NS

MOST_DRIFT = 200e-6  # of a crystal against another [s/s]
_BUCKET_NS = NS // 4  # one smallest difference is kept for each
_JUMP_NS = 50_000_000  # a clock that steps back by more than this was set anew


class DeviceClock:
    """Maps times of a device's clock to the run's clock.

    `window_s` [s]: so far back the smallest difference counts. `delay_ns` [ns]: the shortest delay
    that a sample can have on its way, from the manual or the length of a frame at the line's rate;
    it cannot be found from one side. `wraps_ns` [ns]: the period of a clock that starts over, as
    2**32 microseconds; 0 for one that does not. `resets` counts how often the device's clock was
    found to have started anew."""

    def __init__(self, *, window_s: float = 10.0, delay_ns: int = 0, wraps_ns: int = 0) -> None:
        self._delay_ns, self._wraps_ns = delay_ns, wraps_ns
        self._keep = max(1, round(window_s * NS / _BUCKET_NS))
        self._lows: deque[tuple[int, int]] = deque(maxlen=self._keep)  # (bucket, difference)
        self._last = 0  # unwrapped device time [ns]
        self._turns = 0  # how often a wrapping clock has started over
        self._last_arrival = 0
        self._given = 0  # the last time that was given out
        self.resets = 0

    def map(self, device_ns: int, arrival_ns: int) -> tuple[int, int]:
        """The time of measurement and a bound of its error, both [ns] of the run's clock, of a
        sample that the device stamped with `device_ns` and that arrived at `arrival_ns`. The times
        never run backwards and are never later than the arrival."""
        t = self._unwrapped(device_ns)
        if self._lows and self._jumped(t, arrival_ns):
            self.resets += 1
            self._lows.clear()
            self._turns = 0
            t = device_ns
        self._last, self._last_arrival = t, arrival_ns
        difference, bucket = arrival_ns - t, arrival_ns // _BUCKET_NS
        if self._lows and self._lows[-1][0] == bucket:
            low = min(difference, self._lows[-1][1])
            self._lows[-1] = (bucket, low)
        else:
            self._lows.append((bucket, difference))
        # An older smallest difference may have drifted away since then, in either direction: each
        # counts with what it may have grown to, so that an early quick sample does not rule on.
        offset = min(
            low + round(MOST_DRIFT * (bucket - when) * _BUCKET_NS) for when, low in self._lows
        )
        measured = min(t + offset - self._delay_ns, arrival_ns)
        self._given = max(self._given, measured)
        first = self._lows[0][0]
        error = self._delay_ns + round(MOST_DRIFT * (bucket - first + 1) * _BUCKET_NS)
        return min(self._given, arrival_ns), error

    def restart(self) -> None:
        """Forget the offset, as after a new connection."""
        self._lows.clear()
        self._turns = 0

    def _unwrapped(self, device_ns: int) -> int:
        if not self._wraps_ns or not self._lows:
            return device_ns
        t = device_ns + self._turns * self._wraps_ns
        if t < self._last - self._wraps_ns // 2:
            self._turns += 1
            t += self._wraps_ns
        return t

    def _jumped(self, t: int, arrival_ns: int) -> bool:
        """Whether the device's clock has been set anew since the last sample."""
        step, passed = t - self._last, arrival_ns - self._last_arrival
        return step < -_JUMP_NS or step > passed + passed * MOST_DRIFT + NS
