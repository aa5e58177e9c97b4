"""RTDE, version 2 of the protocol: one session per client.

Source: Universal Robots' RTDE guide. Version 1 is not spoken: a client that asks for it is refused.
"""

from __future__ import annotations

import struct

from headway.hil.emulators._ur.fields import Recipe, Version
from headway.hil.emulators._ur.memory import Memory
from headway.hil.emulators._ur.robot import ERROR, WARNING
from headway.hil.emulators._ur.wire import Link

_HEADER = struct.Struct(">HB")
_VERSION, _CONTROLLER, _TEXT, _DATA = 86, 118, 77, 85
_OUTPUTS, _INPUTS, _START, _PAUSE = 79, 73, 83, 80
_LONGEST = 4096  # [bytes] of a package of a client


class RtdeSession:
    """A client of RTDE at a controller of `version` whose control cycle runs at `rate` [Hz]."""

    def __init__(self, link: Link, memory: Memory, version: Version, rate: float) -> None:
        self.link, self.started = link, False
        self._memory, self._version, self._rate = memory, version, rate
        self._in = bytearray()
        self._agreed = False
        self._outputs: Recipe | None = None
        self._inputs: list[Recipe] = []
        self._every, self._next = 1, 0  # cycles

    def feed(self, data: bytes, now: int) -> None:
        self._in += data
        while len(self._in) >= _HEADER.size and not self.link.closed:
            size, kind = _HEADER.unpack_from(self._in)
            if not _HEADER.size <= size <= _LONGEST:
                self.text(f"a package of {size} bytes makes no sense", ERROR)
                self.link.close()
                return
            if len(self._in) < size:
                return
            body = bytes(self._in[_HEADER.size : size])
            del self._in[:size]
            self._take(kind, body, now)

    def end(self) -> None:
        self._memory.release(self)

    def publish(self, cycle: int) -> None:
        """Send the outputs in the control cycle of the number `cycle`, if it is their turn. A
        client that has not taken the last ones gets the newest once it has."""
        if not self.started or self._outputs is None or cycle < self._next:
            return
        self.link.flush()
        if self.link.busy:
            return
        self._next = max(self._next + self._every, cycle + 1)
        self._send(_DATA, self._outputs.pack(1, self._memory.values))

    def text(self, message: str, level: int) -> None:
        """Send a text message, unless the client does not even take its data."""
        if self.link.busy:
            return
        said = message.encode()[:255]
        source = b"URControl"
        body = bytes((len(said),)) + said + bytes((len(source),)) + source + bytes((level,))
        self._send(_TEXT, body)

    def _send(self, kind: int, body: bytes) -> None:
        self.link.send(_HEADER.pack(_HEADER.size + len(body), kind) + body)

    def _take(self, kind: int, body: bytes, now: int) -> None:
        if kind == _DATA:
            self._take_data(body, now)
        elif kind == _VERSION and len(body) == 2:
            self._agreed = body == b"\x00\x02"
            self._send(_VERSION, bytes((self._agreed,)))
        elif kind == _CONTROLLER and not body:
            self._send(_CONTROLLER, struct.pack(">4I", *self._version))
        elif kind == _OUTPUTS and self._agreed and len(body) >= 8:
            self._set_outputs(struct.unpack(">d", body[:8])[0], _names(body[8:]))
        elif kind == _INPUTS and self._agreed:
            self._add_inputs(_names(body))
        elif kind == _START:
            self.started = self._outputs is not None
            self._next = 0
            self._send(_START, bytes((self.started,)))
        elif kind == _PAUSE:
            self.started = False
            self._send(_PAUSE, b"\x01")
        else:
            self.text(
                f"the package of type {kind} with {len(body)} bytes was not understood", ERROR
            )

    def _set_outputs(self, hz: float, names: list[str]) -> None:
        kinds = [self._memory.outputs.get(name, "NOT_FOUND") for name in names]
        good = bool(names) and "NOT_FOUND" not in kinds and 0.0 < hz <= self._rate
        if good:
            self._outputs = Recipe(names, kinds)
            self._every = max(1, round(self._rate / hz))
        self._send(_OUTPUTS, bytes((good,)) + ",".join(kinds).encode())

    def _add_inputs(self, names: list[str]) -> None:
        kinds = self._memory.claim(self, names)
        good = bool(names) and not {"NOT_FOUND", "IN_USE"} & set(kinds) and len(self._inputs) < 255
        if good:
            self._inputs.append(Recipe(names, kinds))
        number = len(self._inputs) if good else 0
        self._send(_INPUTS, bytes((number,)) + ",".join(kinds).encode())

    def _take_data(self, body: bytes, now: int) -> None:
        number = body[0] if body else 0
        if not 1 <= number <= len(self._inputs) or len(body) != self._inputs[number - 1].size:
            self.text(f"no recipe {number} of inputs with {len(body)} bytes", WARNING)
            return
        self._memory.write(self._inputs[number - 1].unpack(body), now)


def _names(body: bytes) -> list[str]:
    """The names in `body`; an empty one, as after a trailing comma, is none."""
    return [name.strip() for name in body.decode("ascii", "replace").split(",") if name.strip()]
