"""Marks by which a servo is known that has started anew: its power was away, for so short a time
perhaps that nobody missed an answer, and torque, goal and all that is in its RAM are gone.

The mark is the torque limit in force: one count (0.1 %) below the one that lasts, from which it
begins whenever power comes. A limit that somebody has set is a mark as it is, and is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headway.drivers.servo_family import ReadRegisters, Registers


class Marks:
    """Of servos with these `registers`."""

    def __init__(self, registers: Registers) -> None:
        self._registers = registers
        self._marks: dict[int, bytes] = {}

    def make(
        self,
        ids: Sequence[int],
        read: ReadRegisters,
        write: Callable[[int, int, bytes], object],
    ) -> None:
        """Mark those of the servos `ids` that are not marked, by `read` and by `write`, which takes
        servo, address and data. A servo that does not take its mark stays without one. Raises as
        those do."""
        registers = self._registers
        for i in ids:
            self._marks.pop(i, None)
            lasting = read(i, registers.lasting, 2)
            found = read(i, registers.limit, 2)
            counts = int.from_bytes(lasting, "little")
            if found == lasting and counts > 1:
                write(i, registers.limit, (counts - 1).to_bytes(2, "little"))
                found = read(i, registers.limit, 2)
            if found != lasting:
                self._marks[i] = found

    def lost(self, found: Mapping[int, bytes]) -> list[int]:
        """The servos whose limit `found` in force is no longer their mark."""
        return [i for i, mark in self._marks.items() if found.get(i, mark) != mark]
