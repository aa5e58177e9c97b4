"""How many states of a Universal Robots controller its codec decodes in a second, on one core: the
fields that the driver asks for, as bytes of 1448 at a time, as Ethernet brings them.

The driver beside it also makes arrays of the joints."""

from __future__ import annotations

from time import perf_counter

from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.drivers.codecs.rtde import Recipe, RtdeDecoder
from headway.drivers.ur.fields import TYPES, Reader, outputs

FULL_HZ = 500.0  # of an e-Series controller
TIMES = 20.0
SEGMENT = 1448  # bytes
STATES = 5000
REPEATS = 20


def measure(effort: float = 1.0) -> Findings:
    names = outputs(0)
    recipe = Recipe(1, names, tuple(TYPES.get(name, "INT32") for name in names))
    count = sum(n for _, n in recipe.at.values())
    data = recipe.pack(*range(count)) * STATES
    pieces = [data[i : i + SEGMENT] for i in range(0, len(data), SEGMENT)]
    reader, repeats = Reader(recipe), max(3, round(REPEATS * effort))
    rows = []
    for name, call in (("values", recipe.unpack), ("states with arrays", reader.state)):
        rates = []
        for _ in range(repeats):
            decoder = RtdeDecoder()
            decoder.expect(recipe)
            begun, got = perf_counter(), 0
            for piece in pieces:
                for package in decoder.feed(piece):
                    call(package.payload)
                    got += 1
            rates.append(got / (perf_counter() - begun))
        rows.append((name, percentiles(rates, 1e-3)))
    slowest = rows[-1][1][0] * 1e3 / FULL_HZ
    numbers = [
        Number("decoded beside 500 Hz", slowest, "x", target=TIMES, at_most=False),
        Number("bytes of a state", float(recipe.size), "B"),
    ]
    table = Table("states a second", PERCENTILES, tuple(rows), "kHz")
    return Findings("RTDE codec", numbers, [table])
