"""Bota Systems SensONE, Rokubi and their kin of generation 0, over a serial line, usually at 460800
bit/s.

A frame has 37 bytes, little-endian: AA, status (u16), force [N] and torque [Nm] (6 x f32), time
[us] (u32, starts over after 71.6 minutes), temperature [°C] (f32), CRC-16/X-25 of the 34 bytes
between. Commands are lines of ASCII; `C` ends the stream and `R` begins it.
"""

from __future__ import annotations

import struct

import msgspec

from headway.drivers.codecs import crc
from headway.drivers.codecs.fixed import FixedFrames

HEADER = b"\xaa"
SIZE = 37
BANNER = b"App Init"  # printed when the sensor has started
# How `c` says the speed [bit/s], after Bota's own ROS driver
# (RokubiminiSerialImpl::setCommunicationSetup), which knows no others.
SPEEDS = {9600: 0, 57_600: 1, 115_200: 2, 230_400: 3, 460_800: 4}
SINC_S = 19.53125e-6  # a sample takes `sinc_length` times as long [s]
WRAPS_NS = 2**32 * 1000

THROTTLED, OVERRANGE, INVALID, RAW = 1, 2, 4, 8  # bits of the status

_PAYLOAD = struct.Struct("<H6fIf")
_SUM = struct.Struct("<H")


class BotaFrame(msgspec.Struct, frozen=True):
    """One measurement: `wrench` (6,) force [N] and torque [Nm], the sensor's clock `t_us` [us], and
    its temperature [°C]. `status` has the bits above."""

    status: int
    wrench: tuple[float, ...]
    t_us: int
    temperature: float


class BotaDecoder(FixedFrames[BotaFrame]):
    """A `Decoder` of the stream."""

    def __init__(self) -> None:
        super().__init__(HEADER, SIZE, _intact, _unpack)


def configure(*, temperature_compensation: bool, baud: int) -> bytes:
    """Calibrated values as binary frames, at `baud`, one of SPEEDS [bit/s]. It has to be the speed
    of the line: Bota's driver changes a sensor's by this, a save and a restart."""
    return b"c,%d,1,0,%d\n" % (temperature_compensation, SPEEDS[baud])


def filters(sinc_length: int, *, chop: bool, fast: bool, fir: bool) -> bytes:
    """Of the digital filters: `sinc_length` sets rate and bandwidth; `chop` removes drift at a
    lower rate; `fast` lets steps settle sooner; `fir`: the filter behind them is on."""
    return b"f,%d,%d,%d,%d\n" % (sinc_length, chop, fast, not fir)


CONFIGURE_MODE, SAVE, RUN = b"C\n", b"s\n", b"R\n"


def answer(said: bytes, command: bytes) -> int | None:
    """The result in the answer to `command` that is somewhere in the bytes `said`: 0 for done, else
    an error of the sensor; None where there is no whole answer yet."""
    at = said.rfind(b"r,0,%c," % command[0])
    if at < 0:
        return None
    line, ended, _ = said[at + 6 :].partition(b"\n")
    digits = line.strip()
    return int(digits) if ended and digits.isdigit() else None


def _intact(piece: bytes) -> bool:
    return bool(crc.x25(piece[1:35]) == _SUM.unpack_from(piece, 35)[0])


def _unpack(piece: bytes) -> BotaFrame:
    status, *wrench, t_us, temperature = _PAYLOAD.unpack_from(piece, 1)
    return BotaFrame(status, tuple(wrench), t_us, temperature)
