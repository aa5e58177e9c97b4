"""Devices that last as long as a test: their end of a line is served by a thread here, with bytes
made from the manuals' facts by nothing that a driver uses."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Callable

from headway.errors import DeviceError
from headway.hil.line import SerialLine

GENEROUS = 20.0  # seconds that a test waits for something that comes at once on an idle machine


def crc16(data: bytes, polynomial: int, xor: int = 0) -> bytes:
    """Bit by bit, reflected, begins with 0xFFFF; low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (polynomial if crc & 1 else 0)
    return struct.pack("<H", crc ^ xor)


def modbus_crc(data: bytes) -> bytes:
    return data + crc16(data, 0xA001)


def ft300_frame(*counts: int) -> bytes:
    return modbus_crc(b"\x20\x4e" + struct.pack("<6h", *counts))


def bota_frame(wrench, t_us: int, status: int = 0) -> bytes:
    payload = struct.pack("<H6fIf", status, *wrench, t_us, 30.0)
    return b"\xaa" + payload + crc16(payload, 0x8408, 0xFFFF)


def rdt_record(seq: int, counts, ft_seq: int = 0, status: int = 0) -> bytes:
    return struct.pack(">III6i", seq, ft_seq, status, *counts)


def told(call: Callable[[], object]) -> str:
    """What the DeviceError says that `call` raises, "" where it raises none."""
    try:
        call()
    except DeviceError as e:
        return str(e)
    return ""


def until(true: Callable[[], bool], what: str = "it") -> None:
    """Wait for an event that another thread brings about."""
    end = time.monotonic() + GENEROUS
    while not true():
        assert time.monotonic() < end, f"{what} did not happen"
        threading.Event().wait(0.001)


def reads(source, timeout_s: float) -> None:
    """Read until it raises."""
    end = time.monotonic() + GENEROUS
    while time.monotonic() < end:
        source.read(timeout_s)


class SerialDevice:
    """A device at a pseudo-terminal. `heard` is called with what the host sends, `idle` whenever
    nothing came for a millisecond; both in a thread, between `with` and its end."""

    def __init__(self) -> None:
        self.line = SerialLine()
        self.path = self.line.path
        self.gate: threading.Semaphore | None = None  # where there is one: a release, a frame
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def heard(self, data: bytes) -> None: ...

    def idle(self) -> None: ...

    def may_stream(self) -> bool:
        return self.gate is None or self.gate.acquire(blocking=False)

    def next(self, source, frames: int = 1):
        """The sample that `source` reads once `frames` frames have been let through."""
        for _ in range(frames):
            self.gate.release()
        return source.read(GENEROUS)

    def say(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # unplugged
            self.line.write(data)

    def unplug(self) -> None:
        self._stop.set()
        self._thread.join(GENEROUS)
        self.line.close()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._stop.is_set():
            self.unplug()

    def _serve(self) -> None:
        while not self._stop.is_set():
            data = self.line.read(0.001)
            if data:
                self.heard(data)
            self.idle()


class ModbusDevice(SerialDevice):
    """Answers functions 3, 4 and 16 from `registers`; `written` is called after a write. Requests
    are told apart by their length; other bytes go to `stray`."""

    def __init__(self, slave: int = 9) -> None:
        super().__init__()
        self.slave = slave
        self.registers: dict[int, int] = {}
        self.requests: list[bytes] = []
        self.spoil = 0  # so many of the next answers have a wrong checksum
        self.mute = False
        self.refuse = 0
        self._got = b""

    def written(self, address: int, values: tuple[int, ...]) -> None: ...

    def stray(self, byte: int) -> None: ...

    def heard(self, data: bytes) -> None:
        self._got += data
        while len(self._got) >= 8:
            size = 8 if self._got[1] in (3, 4) else 9 + self._got[6]
            piece = self._got[:size]
            if self._got[0] != self.slave or self._got[1] not in (3, 4, 16):
                self.stray(self._got[0])
                self._got = self._got[1:]
            elif len(self._got) < size:
                return
            elif modbus_crc(piece[:-2]) != piece:
                self._got = self._got[1:]
            else:
                self._got = self._got[size:]
                self._answer(piece)

    def _answer(self, request: bytes) -> None:
        self.requests.append(request)
        if self.mute:
            return
        function, address, count = struct.unpack_from(">BHH", request, 1)
        if self.refuse:
            said = bytes((self.slave, function | 0x80, self.refuse))
        elif function == 16:
            values = struct.unpack_from(f">{count}H", request, 7)
            self.registers.update(enumerate(values, address))
            said = request[:6]
        else:
            values = tuple(self.registers.get(address + i, 0) for i in range(count))
            said = bytes((self.slave, function, 2 * count)) + struct.pack(f">{count}H", *values)
        said = modbus_crc(said)
        if self.spoil:
            self.spoil -= 1
            said = said[:-1] + bytes((said[-1] ^ 1,))
        self.say(said)
        if function == 16 and not self.refuse:
            self.written(address, values)
