"""Cyclic checksums of 16 bits, as robot devices use them. Parameters after the catalogue of
parametrised CRC algorithms (https://reveng.sourceforge.io/crc-catalogue/16.htm)."""

from __future__ import annotations


def modbus(data: bytes) -> int:
    """CRC-16/MODBUS: polynomial 0x8005 reflected, begins with 0xFFFF. Its low byte is sent
    first. `modbus(b"123456789")` is 0x4B37."""
    return _reflected(_MODBUS, 0xFFFF, data)


def x25(data: bytes) -> int:
    """CRC-16/IBM-SDLC, called X-25: polynomial 0x1021 reflected, begins with 0xFFFF, inverted at
    the end. `x25(b"123456789")` is 0x906E."""
    return _reflected(_X25, 0xFFFF, data) ^ 0xFFFF


def dynamixel(data: bytes) -> int:
    """CRC-16/UMTS: polynomial 0x8005 not reflected, begins with 0. `dynamixel(b"123456789")` is
    0xFEE8."""
    crc = 0
    for byte in data:
        crc = (crc << 8) & 0xFFFF ^ _UMTS[crc >> 8 ^ byte]
    return crc


def _reflected(table: tuple[int, ...], crc: int, data: bytes) -> int:
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


def _table_reflected(polynomial: int) -> tuple[int, ...]:
    """The remainders of all bytes; `polynomial` with its bits in reversed order."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


def _table(polynomial: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (polynomial if crc & 0x8000 else 0)) & 0xFFFF
        table.append(crc)
    return tuple(table)


_MODBUS = _table_reflected(0xA001)
_X25 = _table_reflected(0x8408)
_UMTS = _table(0x8005)
