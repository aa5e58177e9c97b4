"""Exchanges with Modbus devices, over any transport.

Written here and not taken from pymodbus or minimalmodbus, because those own the port and the time:
minimalmodbus sleeps for the silent interval inside each call and reads with one fixed timeout of
the port; pymodbus polls the port between sleeps and repeats a request by itself. Here an exchange
has one deadline, ends with the last byte of the answer, is never repeated in secret, and goes over
any transport: a sensor that changes between Modbus and a stream at one port, a gripper behind the
TCP port of a tool flange.
"""

from __future__ import annotations

import time

from headway.drivers.codecs.modbus_rtu import Answer, AnswerDecoder, Request
from headway.drivers.transports import Transport
from headway.errors import DeviceError


def exchange(
    transport: Transport, decoder: AnswerDecoder, request: Request, timeout_s: float
) -> Answer:
    """Send `request`, and wait at most `timeout_s` [s] for the answer. What had arrived before is
    thrown away. Raises DeviceError without a right answer, and when the connection is lost."""
    until = time.monotonic() + timeout_s
    transport.discard()
    decoder.expect(request)
    errors, heard = decoder.errors, 0
    transport.write(request.data, timeout_s)
    while True:
        left = until - time.monotonic()
        if left <= 0.0:
            break
        data = transport.read(256, left)
        heard += len(data)
        answers = decoder.feed(data)
        if answers:
            return answers[-1]
    what = "none"
    if heard:
        broken = decoder.errors > errors
        what = "one with a wrong checksum" if broken else f"{heard} bytes that are none"
    raise DeviceError(
        f"wanted an answer of the Modbus device {request.data[0]} at {transport.uri} within "
        f"{timeout_s:g} s, found {what}"
    )
