"""Codecs of devices: how many times a device's full rate one core decodes.

Bytes are fed as a port gives them when the reader keeps up, one frame at a time, and in pieces of
4096 bytes, as after a stall. UDP records and answers to Modbus come one by one in either case. A
frame of RTDE has the fields that the driver asks for, and is made into arrays of the joints; those
of Feetech and Dynamixel are the answers of six servos, one each.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import numpy as np

from headway.benchmarks._findings import Findings, Number, Table
from headway.drivers.codecs import (
    bota,
    crc,
    dynamixel,
    feetech,
    modbus_rtu,
    rdt,
    robotiq_2f,
    robotiq_stream,
    rtde,
)
from headway.drivers.ur.fields import TYPES, Reader, outputs

TARGET = 20.0  # times the device's full rate
FRAMES = 20_000
SERVOS, REGISTERS = 6, 15  # that each answers with
RATES = {  # [Hz]
    "RTDE": 500.0,
    "Feetech": SERVOS * 400.0,
    "Dynamixel": SERVOS * 400.0,
    "FT 300": 100.0,
    "Bota": 1004.0,
    "RDT": 7000.0,
    "2F status": 200.0,
}


def measure(effort: float = 1.0) -> Findings:
    n = max(200, round(FRAMES * effort))
    answers = modbus_rtu.AnswerDecoder()
    asked = robotiq_2f.ask()
    record = struct.pack(">III6i", 7, 49, 0, *range(6))

    def answer(data: bytes) -> list[Any]:
        answers.expect(asked)
        return [robotiq_2f.status(a.registers) for a in answers.feed(data)]

    feeds: dict[str, tuple[bytes, Callable[[bytes], Any], bool]] = {
        "RTDE": (*_rtde(), True),
        "Feetech": (_feetech(), feetech.StatusDecoder(REGISTERS).feed, True),
        "Dynamixel": (_dynamixel(), dynamixel.StatusDecoder(REGISTERS).feed, True),
        "FT 300": (_ft300(), robotiq_stream.StreamDecoder().feed, True),
        "Bota": (_bota(), bota.BotaDecoder().feed, True),
        "RDT": (record, rdt.RecordDecoder().feed, False),
        "2F status": (_status(), answer, False),
    }
    rows, numbers = [], []
    for name, (frame, feed, stream) in feeds.items():
        alone = _rate(feed, [frame] * n, n)
        heap = frame * n
        pieces = [heap[i : i + 4096] for i in range(0, len(heap), 4096)] if stream else []
        piled = _rate(feed, pieces, n) if stream else alone
        rows.append((name, (RATES[name], alone, piled)))
        times = min(alone, piled) / RATES[name]
        numbers.append(Number(f"{name}: times its {RATES[name]:g} Hz", times, "x", TARGET, False))
    table = Table(
        "frames per second on one core", ("device", "one by one", "piled up"), tuple(rows), "1/s"
    )
    return Findings("Codecs of devices", numbers, [table])


def _rate(feed: Callable[[bytes], Any], pieces: list[bytes], frames: int) -> float:
    """Frames per second, the median of five turns. Raises AssertionError where some are missing."""
    took = np.zeros(5)
    for turn in range(len(took)):
        got = 0
        begun = perf_counter_ns()
        for piece in pieces:
            got += len(feed(piece))
        took[turn] = perf_counter_ns() - begun
        assert got == frames, f"{got} of {frames} frames"
    return frames / (float(np.median(took)) * 1e-9)


def _rtde() -> tuple[bytes, Callable[[bytes], Any]]:
    names = outputs(0)
    recipe = rtde.Recipe(1, names, tuple(TYPES.get(name, "INT32") for name in names))
    decoder, reader = rtde.RtdeDecoder(), Reader(recipe)
    decoder.expect(recipe)
    data = recipe.pack(*range(sum(n for _, n in recipe.at.values())))
    return data, lambda piece: [reader.state(p.payload) for p in decoder.feed(piece)]


def _feetech() -> bytes:
    return feetech.packet(1, 0, bytes(range(REGISTERS)))  # no error in place of the instruction


def _dynamixel() -> bytes:
    return dynamixel.packet(1, dynamixel.STATUS, b"\0" + bytes(range(REGISTERS)))


def _ft300() -> bytes:
    head = robotiq_stream.HEADER + struct.pack("<6h", 100, -250, 1234, 10, -20, 30)
    return head + crc.modbus(head).to_bytes(2, "little")


def _bota() -> bytes:
    payload = struct.pack("<H6fIf", 0, 1.0, -2.0, 3.0, 0.1, -0.2, 0.3, 123_456, 31.5)
    return bota.HEADER + payload + crc.x25(payload).to_bytes(2, "little")


def _status() -> bytes:
    head = bytes.fromhex("090406F90000000D00")
    return head + crc.modbus(head).to_bytes(2, "little")
