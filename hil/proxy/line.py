"""What happens to the bytes of one direction: chunks with times in, chunks with times out."""

from __future__ import annotations

import heapq
import random as chance
from collections import Counter
from dataclasses import dataclass

from headway.clock import NS
from headway.hil.proxy.faults import BREAKS, Fault, Random

_MS = 1_000_000
_LOSES = ("silence", "drop")
_ALTERS = ("truncate", "flip", "garbage")


@dataclass
class _Window:
    """`fault` holds from `begin_ns` to `end_ns` [ns]; None: until it has hit one chunk."""

    fault: Fault
    begin_ns: int
    end_ns: int | None


class Line:
    """The line of one direction, with the faults of `random`, drawn from `seed`; `plan` adds those
    of a script. `datagrams`: chunks are datagrams, which stay whole and may overtake each other;
    the chunks of a stream keep their order. The same calls always give the same bytes."""

    def __init__(self, random: Random, seed: int, datagrams: bool = False) -> None:
        self._random, self._datagrams = random, datagrams
        self._draw = chance.Random(seed)
        self._windows: list[_Window] = []
        self._waiting: list[tuple[int, int, bytes, bool]] = []  # due [ns], order, chunk, joined
        self._order = 0
        self._last_ns = 0  # when the last chunk of a stream is due
        self._free_ns = 0  # when a slow line has passed on what it has
        self._slow_until_ns = 0
        self.backlog = 0  # bytes that wait
        self.hits: Counter[str] = Counter()  # chunks, by the kind of fault that has hit them

    def plan(self, fault: Fault, zero_ns: int) -> None:
        """Let `fault` begin `fault.at_s` after `zero_ns` [ns]."""
        if fault.kind in BREAKS:
            return
        begin = zero_ns + round(fault.at_s * NS)
        end = begin + round(fault.for_s * NS) if fault.for_s > 0.0 else None
        if fault.kind == "slow" and end is not None:
            self._slow_until_ns = max(self._slow_until_ns, end)
        self._windows.append(_Window(fault, begin, end))

    def feed(self, data: bytes, t_ns: int) -> None:
        """`data` was sent at `t_ns` [ns]."""
        self._windows = [w for w in self._windows if w.end_ns is None or t_ns < w.end_ns]
        for kind in _LOSES:
            fault = self._hit(kind, t_ns)
            if fault is not None:
                return
        for kind in _ALTERS:
            fault = self._hit(kind, t_ns)
            if fault is not None:
                data = self._altered(data, fault)
        twice = self._hit("duplicate", t_ns)
        for _ in range(1 if twice is None else 2):
            self._send(data, t_ns)

    def take(self, t_ns: int) -> list[bytes]:
        """What arrives until `t_ns` [ns], in its order."""
        out: list[bytes] = []
        before = -1  # when the chunk before was due, if it is joined
        while self._waiting and self._waiting[0][0] <= t_ns:
            due, _, data, joined = heapq.heappop(self._waiting)
            self.backlog -= len(data)
            if joined and due == before:
                out[-1] += data
            else:
                out.append(data)
            before = due if joined else -1
        return out

    def next_ns(self) -> int | None:
        """When the next chunk arrives [ns], None while there is none."""
        return self._waiting[0][0] if self._waiting else None

    def clear(self) -> None:
        """Lose all that is on its way, as when a cable is pulled."""
        self._waiting.clear()
        self.backlog = 0

    def _hit(self, kind: str, t_ns: int) -> Fault | None:
        """The fault of `kind` that hits a chunk sent at `t_ns` [ns]."""
        for window in self._windows:
            fault = window.fault
            if fault.kind != kind or t_ns < window.begin_ns:
                continue
            if fault.share < 1.0 and self._draw.random() >= fault.share:
                continue
            if window.end_ns is None:
                self._windows.remove(window)
            self.hits[kind] += 1
            return fault
        share = self._random.share(kind)
        if share == 0.0 or self._draw.random() >= share:
            return None
        self.hits[kind] += 1
        return self._at_random(kind, t_ns)

    def _at_random(self, kind: str, t_ns: int) -> Fault:
        """A fault of `kind` with a measure of its own; a silence goes on from `t_ns` [ns]."""
        draw, cfg = self._draw, self._random
        if kind == "silence":
            fault = Fault("silence", for_s=cfg.silence_s)
            self.plan(fault, t_ns)
            return fault
        if kind == "delay":
            return Fault("delay", ms=draw.uniform(*cfg.delay_ms))
        if kind == "garbage":
            return Fault("garbage", count=draw.randint(1, 64))
        count = 1 if kind == "flip" else draw.randint(2, 5)
        return Fault(kind, count=count, ms=draw.uniform(1.0, 20.0))  # type: ignore[arg-type]

    def _altered(self, data: bytes, fault: Fault) -> bytes:
        draw = self._draw
        if fault.kind == "garbage":
            return bytes(draw.randrange(256) for _ in range(fault.count)) + data
        if not data:
            return data
        if fault.kind == "truncate":
            return data[: draw.randrange(len(data))]
        flipped = bytearray(data)
        for _ in range(fault.count):
            flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        return bytes(flipped)

    def _send(self, data: bytes, t_ns: int) -> None:
        """Put `data` on its way, in pieces and with delays."""
        pieces = [(data, t_ns)]
        fault = self._hit("split", t_ns)
        if fault is not None:
            cuts = sorted(self._draw.randrange(len(data) + 1) for _ in range(fault.count - 1))
            ends = zip([0, *cuts], [*cuts, len(data)], strict=True)
            gap = round(fault.ms * _MS)
            pieces = [(data[a:b], t_ns + i * gap) for i, (a, b) in enumerate(ends)]
        late = 0
        for kind in ("delay", "reorder"):
            fault = self._hit(kind, t_ns)
            if fault is not None:
                late += round(fault.ms * _MS)
        joined = self._hit("coalesce", t_ns)
        slow = self._hit("slow", t_ns)
        for piece, sent_ns in pieces:
            due = sent_ns + late
            if joined is not None:
                hold = max(1, round(joined.ms * _MS))
                due = -(-due // hold) * hold
            if slow is not None:
                self._free_ns = max(self._free_ns, due) + round(len(piece) / slow.bytes_s * NS)
                due = max(due, min(self._free_ns, self._slow_until_ns))
            if not self._datagrams:
                due = self._last_ns = max(due, self._last_ns)
            if piece or self._datagrams:
                self._order += 1
                self.backlog += len(piece)
                heapq.heappush(self._waiting, (due, self._order, piece, joined is not None))
