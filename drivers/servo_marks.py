"""Marks by which a servo is known that has started anew: its power was away, for so short a time
perhaps that nobody missed an answer, and torque, goal and all that is in its RAM are gone.

The mark is the torque limit in force: one count (0.1 %) below the one that lasts, from which it
begins whenever power comes. If the limit in force already differs from the lasting one, somebody
has set it: it serves as the mark and is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headway.drivers.servo_family import Registers


class Marks:
    """Of servos with these `registers`."""

    def __init__(self, registers: Registers) -> None:
        self._registers = registers
        self._marks: dict[int, bytes] = {}

    def make(
        self,
        ids: Sequence[int],
        read: Callable[[int, Sequence[int]], Mapping[int, bytes]],
        write: Callable[[int, Mapping[int, bytes]], object],
    ) -> None:
        """Mark those of the servos `ids` that are not marked, by `read`, which takes an address and
        ids and gives 2 bytes by id, and by `write`, which takes those. A servo that does not take
        its mark stays without one. Raises as those do."""
        lasting = read(self._registers.lasting, ids)
        found = dict(read(self._registers.limit, ids))
        counts = {i: int.from_bytes(lasting[i], "little") for i in ids}
        fresh = {
            i: (counts[i] - 1).to_bytes(2, "little")
            for i in ids
            if found[i] == lasting[i] and counts[i] > 1
        }
        if fresh:
            write(self._registers.limit, fresh)
            found |= read(self._registers.limit, tuple(fresh))
        for i in ids:
            self._marks.pop(i, None)
            if found[i] != lasting[i]:
                self._marks[i] = found[i]

    def lost(self, found: Mapping[int, bytes]) -> list[int]:
        """The servos whose limit `found` in force is no longer their mark."""
        return [i for i, mark in self._marks.items() if found.get(i, mark) != mark]
