"""A force/torque sensor at 1 kHz over a pseudo-terminal: does every sample arrive, and how old is
the newest one when a control loop of 500 Hz looks?

Bota's emulator in a process of its own, our driver with its reader thread. 20 s with an effort of
1; `--effort 30` is the ten minutes of the record. What the emulator cannot write because nobody
reads is lost, as on a wire; the driver finds losses by the sensor's own times. The age counts from
the time of measurement that the driver estimates, 0.8 ms before the frame left: so long it would be
on a real line.
"""

from __future__ import annotations

import time

import numpy as np

from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.clock import NS, Rate, WallClock
from headway.drivers import Context
from headway.drivers.codecs import bota as codec
from headway.drivers.ft import bota
from headway.drivers.latest import Latest
from headway.hil.launch import Emulator

SECONDS = 20.0
SHORTEST = 51  # of the filter: 1004 Hz
LOOP_HZ = 500.0
_OPEN_S = 20.0
_BUCKETS = 1 << 14  # of 10 us each: ten minutes do not grow
_BUCKET_NS = 10_000


def measure(effort: float = 1.0) -> Findings:
    seconds = max(1.0, SECONDS * effort)
    clock = WallClock(spin_ns=0)
    counts = np.zeros(_BUCKETS, int)
    with Emulator("bota", {"sinc_length": SHORTEST, "boot_s": 0.1}) as device:
        sensor = bota.connect(bota.Config(port=device.uri, sinc_length=SHORTEST), Context(clock))
        latest = Latest(sensor, clock)
        latest.start(_OPEN_S)
        begun, before = time.monotonic(), sensor.health()
        for _ in Rate(LOOP_HZ, clock):
            sample = latest.last
            assert sample is not None  # `start` has waited for one
            age = clock.now() - sample.stamp.t_ns
            counts[min(max(age, 0) // _BUCKET_NS, _BUCKETS - 1)] += 1
            if time.monotonic() - begun >= seconds:
                break
        took, after = time.monotonic() - begun, sensor.health()
        latest.close()
    got = after.received - before.received
    lost = after.lost - before.lost
    bad = after.crc_errors - before.crc_errors + after.invalid - before.invalid
    seen = np.flatnonzero(counts)
    spread = np.repeat(seen, np.maximum(1, counts[seen] * 100_000 // max(100_000, counts.sum())))
    ages = percentiles((spread + 0.5) * _BUCKET_NS, 1e3 / NS)
    rate = 1.0 / (SHORTEST * codec.SINC_S)
    numbers = [
        Number("samples lost", float(lost), "", target=0.0),
        Number("samples invalid or damaged", float(bad), "", target=0.0),
        Number(
            f"samples received, of {rate:.0f} Hz", 100.0 * got / (rate * took), "%", 99.5, False
        ),
        Number("reopened", float(after.reconnects - before.reconnects), "", target=0.0),
        Number("samples", float(got)),
    ]
    table = Table("age of the newest sample", PERCENTILES, (("at 500 Hz", ages),), "ms")
    return Findings("Force/torque at 1 kHz", numbers, [table], [f"for {took:.0f} s"])
