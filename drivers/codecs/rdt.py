"""Raw Data Transfer (RDT) of ATI's Net F/T and Axia, and of OnRobot's (OptoForce's) HEX sensors:
UDP port 49152, big-endian.

    request, 8 bytes: 0x1234 (u16), command (u16), count (u32)
    record, 36 bytes: sequence of records (u32), of measurements (u32), status (u32), Fx Fy Fz Tx Ty
    Tz (i32) in counts

Counts per force and torque are the sensor's own: ATI's tell them in `netftapi2.xml`, OnRobot's are
fixed. UDP carries a checksum, so a datagram is right, or the wrong length, or lost.
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET

import msgspec

PORT = 49152
SIZE = 36
STOP, START = 0, 2
FILTER, PERIOD_MS, BIAS = 0x81, 0x82, 0x42  # OnRobot: their value is sent as `count`

_REQUEST = struct.Struct(">HHI")
_RECORD = struct.Struct(">III6i")

_FORCE = {  # N
    "n": 1.0, "kn": 1000.0, "lbf": 4.4482216152605, "klbf": 4448.2216152605, "kgf": 9.80665,
    "gf": 0.00980665,
}  # fmt: skip
_TORQUE = {  # Nm
    "nm": 1.0, "knm": 1000.0, "nmm": 0.001, "lbfin": 0.1129848290276167,
    "lbfft": 1.3558179483314004, "kgfcm": 0.0980665, "kgfmm": 0.00980665,
}  # fmt: skip


class Record(msgspec.Struct, frozen=True):
    """One record. `counts` (6,): forces, then torques. `seq` counts what was sent since streaming
    began, `ft_seq` what was measured; both start over at 2**32."""

    seq: int
    ft_seq: int
    status: int
    counts: tuple[int, ...]


class Scale(msgspec.Struct, frozen=True):
    """Counts per N and per Nm, and what else the sensor says about itself, "" where it does not."""

    force: float
    torque: float
    model: str = ""
    serial: str = ""
    firmware: str = ""


ONROBOT = Scale(10_000.0, 100_000.0)


def request(command: int, count: int = 0) -> bytes:
    """A request. For `START`, a `count` of 0 means until `STOP`."""
    return _REQUEST.pack(0x1234, command, count)


class RecordDecoder:
    """A `Decoder` that is fed whole datagrams: one record each, or several."""

    def __init__(self) -> None:
        self.errors = self.skipped = 0

    def feed(self, data: bytes) -> list[Record]:
        if len(data) % SIZE:
            self.errors += 1
            self.skipped += len(data)
            return []
        return [
            Record(seq, ft_seq, status, tuple(counts))
            for seq, ft_seq, status, *counts in _RECORD.iter_unpack(data)
        ]

    def reset(self) -> None:
        """Datagrams do not depend on each other: there is nothing to forget."""


def scale(document: bytes) -> Scale:
    """What `netftapi2.xml` says. Raises ValueError, with what is wrong with it."""
    if b"<!DOCTYPE" in document or b"<!ENTITY" in document:
        raise ValueError("a document with declarations, which no sensor sends")
    try:
        root = ET.fromstring(document)
    except ET.ParseError as e:
        raise ValueError(f"no XML: {e}") from None
    text = {e.tag: (e.text or "").strip() for e in root.iter()}
    force = _per_si(text, "cfgcpf", "scfgfu", _FORCE)
    torque = _per_si(text, "cfgcpt", "scfgtu", _TORQUE)
    return Scale(
        force,
        torque,
        text.get("prodname", ""),
        text.get("setserial", ""),
        text.get("setfwver", ""),
    )


def _per_si(text: dict[str, str], counts: str, unit: str, units: dict[str, float]) -> float:
    """Counts per N or Nm, from the elements named `counts` and `unit`."""
    for name in (counts, unit):
        if name not in text:
            raise ValueError(f"no <{name}>")
    try:
        per = float(text[counts])
    except ValueError:
        raise ValueError(f"<{counts}> {text[counts]!r}, which is no number") from None
    known = text[unit].lower().replace("-", "").replace(" ", "").replace(".", "")
    if known not in units:
        raise ValueError(f"<{unit}> {text[unit]!r}, a unit that is not known")
    if not 0.0 < per < 1e12:
        raise ValueError(f"<{counts}> {per:g}, which no sensor has")
    return per / units[known]
