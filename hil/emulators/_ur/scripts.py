"""The ports 30001 (primary), 30002 (secondary) and 30003 (real-time) as far as programs go: a
client uploads a program, the controller starts it, in place of the one that runs.

The primary port also sends what the controller logs. The streams of state of these ports are not
emulated: RTDE has it all.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from headway.hil.emulators._ur.fields import Version
from headway.hil.emulators._ur.robot import ERROR
from headway.hil.emulators._ur.wire import Link

_ROBOT_MESSAGE, _TEXT, _VERSION, _EXCEPTION = 20, 0, 3, 10
_OPENS = re.compile(r"(def|sec|thread|while|if|for)\b")
_QUOTED = re.compile(r'"[^"\n]*"|#.*')
_LONGEST = 1 << 20  # [bytes] of a program


class ScriptSession:
    """A client of the port that is the `primary` one or not. `run(source)` starts a program."""

    def __init__(
        self, link: Link, primary: bool, version: Version, run: Callable[[str], None]
    ) -> None:
        self.link = link
        self._primary, self._run = primary, run
        self._splitter = Splitter()
        if primary:
            major, minor, bugfix, build = version
            name = b"URControl"
            numbers = struct.pack(">BBii", major, minor, bugfix, build)
            self._message(
                _VERSION, bytes((len(name),)) + name + numbers + b"22-03-2022, 00:00:00", 0
            )

    def feed(self, data: bytes, now: int) -> None:
        for program in self._splitter.feed(data):
            self._run(program)
        if self._splitter.waiting > _LONGEST:
            self.link.close()

    def end(self) -> None:
        """Half a program of a client that is gone is not run."""

    def text(self, message: str, level: int, now: int) -> None:
        """Send what the controller logs at `now` [ns], if this is the primary port."""
        if not self._primary or self.link.busy:
            return
        if level == ERROR and "line" in message:
            line = re.search(r"line (\d+)", message)
            body = struct.pack(">ii", int(line[1]) if line else 0, 0)
            self._message(_EXCEPTION, body + message.encode(), now)
        else:
            self._message(_TEXT, message.encode(), now)

    def _message(self, kind: int, body: bytes, now: int) -> None:
        head = struct.pack(">BQbb", _ROBOT_MESSAGE, now // 1000, -2, kind)
        self.link.send(struct.pack(">i", 4 + len(head) + len(body)) + head + body)


class Splitter:
    """Cuts what a client sends into programs: a `def`, `sec` or `thread` up to its `end`, or one
    line."""

    def __init__(self) -> None:
        self._rest = ""
        self._lines: list[str] = []
        self._depth = 0

    @property
    def waiting(self) -> int:
        """Characters of a program that has not ended yet."""
        return len(self._rest) + sum(map(len, self._lines))

    def feed(self, data: bytes) -> list[str]:
        """The programs that `data` completes."""
        found = []
        *lines, self._rest = (self._rest + data.decode("utf-8", "replace")).split("\n")
        for line in lines:
            bare = _QUOTED.sub('""', line).strip()
            if not bare and self._depth == 0:
                continue
            self._lines.append(line.rstrip("\r"))
            if _OPENS.match(bare):
                self._depth += 1
            elif re.match(r"end\b", bare):
                self._depth = max(0, self._depth - 1)
            if self._depth == 0:
                found.append("\n".join(self._lines) + "\n")
                self._lines = []
        return found
