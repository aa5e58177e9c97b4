"""How many readings of a line of six servos their codecs decode in a second, on one core: Feetech
STS3215 and Dynamixel X, as bytes of 64 at a time, as a USB adapter brings them."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.drivers.codecs import dynamixel, feetech
from headway.drivers.dynamixel_servo import DynamixelX
from headway.drivers.feetech_servo import Sts3215
from headway.drivers.servo_bus import Family

FULL_HZ = 200.0  # of reading and writing six servos at 1 Mbit/s
TIMES = 20.0
PIECE = 64  # bytes
SERVOS = 6
READINGS = 1000
REPEATS = 20


def measure(effort: float = 1.0) -> Findings:
    makes: tuple[tuple[Family, Callable[[int, bytes], bytes]], ...] = (
        (Sts3215(), lambda i, data: feetech.packet(i, 0, data)),
        (DynamixelX(), lambda i, data: dynamixel.packet(i, dynamixel.STATUS, b"\0" + data)),
    )
    rows, numbers = [], []
    for family, answer in makes:
        _, count = family.registers.present
        data = b"".join(answer(i, bytes(range(i, i + count))) for i in range(1, SERVOS + 1))
        stream = data * READINGS
        pieces = [stream[i : i + PIECE] for i in range(0, len(stream), PIECE)]
        rates = []
        for _ in range(max(3, round(REPEATS * effort))):
            decoder, found, got = family.decoder(), [], 0
            begun = perf_counter()
            for piece in pieces:
                found += [s.data for s in decoder.feed(piece)]
                while len(found) >= SERVOS:
                    family.reading(found[:SERVOS])
                    found, got = found[SERVOS:], got + 1
            rates.append(got / (perf_counter() - begun))
        rows.append((family.name, percentiles(rates, 1e-3)))
        slowest = rows[-1][1][0] * 1e3 / FULL_HZ
        name = f"{family.name} decoded beside {FULL_HZ:g} Hz"
        numbers.append(Number(name, slowest, "x", target=TIMES, at_most=False))
    return Findings(
        "servo codecs", numbers, [Table("readings a second", PERCENTILES, tuple(rows), "kHz")]
    )
