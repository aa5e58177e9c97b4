"""Modbus RTU, the functions that grippers and F/T sensors use: read registers (3, 4) and write
registers (16). After "MODBUS over Serial Line" V1.02 and "MODBUS Application Protocol" V1.1b3.

The end of a frame is found by its length, not by 3.5 characters of silence, which USB adapters do
not keep.
"""

from __future__ import annotations

import struct

import msgspec

from headway.drivers.codecs import crc

HOLDING, INPUT, WRITE = 3, 4, 16

_REASONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, not done yet",
    6: "busy",
}


class Request(msgspec.Struct, frozen=True):
    """A request, ready to be sent as `data`. An answer begins with `begins` and has `size` bytes;
    registers begin after the first `skip`."""

    data: bytes
    begins: bytes
    size: int
    skip: int


class Answer(msgspec.Struct, frozen=True):
    """What a device answered: the `registers` that were read, () after a write. `refused` is the
    exception code of Modbus, 0 when it did as asked."""

    registers: tuple[int, ...] = ()
    refused: int = 0

    @property
    def why(self) -> str:
        """`refused` in words."""
        return _REASONS.get(self.refused, f"exception {self.refused}")


def read(slave: int, address: int, count: int, function: int = HOLDING) -> Request:
    """Read `count` registers from `address` on."""
    data = _summed(struct.pack(">BBHH", slave, function, address, count))
    return Request(data, bytes((slave, function, 2 * count)), 5 + 2 * count, 3)


def write(slave: int, address: int, registers: tuple[int, ...]) -> Request:
    """Write `registers` from `address` on."""
    count = len(registers)
    head = struct.pack(">BBHH", slave, WRITE, address, count)
    data = _summed(head + bytes((2 * count,)) + struct.pack(f">{count}H", *registers))
    return Request(data, head, 8, 6)


class AnswerDecoder:
    """A `Decoder` of answers to the newest request, which `expect` names. Other bytes, as an echo
    of the request or the rest of a stream, are skipped."""

    def __init__(self) -> None:
        self.errors = self.skipped = 0
        self._rest = b""
        self._wanted: Request | None = None

    def expect(self, request: Request) -> None:
        """From now on, answers to `request` are looked for; what came before is forgotten."""
        self._rest, self._wanted = b"", request

    def feed(self, data: bytes) -> list[Answer]:
        wanted = self._wanted
        if wanted is None:
            self.skipped += len(data)
            return []
        rest, at, answers = self._rest + data, 0, []
        refusal = bytes((wanted.begins[0], wanted.begins[1] | 0x80))
        while at < len(rest):
            if _may_begin(rest, at, wanted.begins):
                size, refused = wanted.size, False
            elif _may_begin(rest, at, refusal):
                size, refused = 5, True
            else:
                at += 1
                self.skipped += 1
                continue
            if len(rest) - at < size:
                break
            piece = rest[at : at + size]
            if crc.modbus(piece[:-2]) != int.from_bytes(piece[-2:], "little"):
                self.errors += 1
                at += 1
                self.skipped += 1
                continue
            at += size
            answers.append(_answer(piece, wanted, refused))
        self._rest = rest[at:]
        return answers

    def reset(self) -> None:
        """Forget an answer that has begun."""
        self._rest = b""


def _summed(data: bytes) -> bytes:
    return data + crc.modbus(data).to_bytes(2, "little")


def _may_begin(rest: bytes, at: int, with_: bytes) -> bool:
    """Whether `rest` from `at` on begins with `with_`, as far as it goes."""
    piece = rest[at : at + len(with_)]
    return with_.startswith(piece)


def _answer(piece: bytes, wanted: Request, refused: bool) -> Answer:
    if refused:
        return Answer(refused=piece[2])
    count = (len(piece) - 2 - wanted.skip) // 2
    return Answer(struct.unpack_from(f">{count}H", piece, wanted.skip))
