"""`headway run --operator`: whoever sits at the terminal ends episodes, and gives instructions, one
per line of the standard input. Each line is answered. A program may write the lines, too."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from headway.edge.control.loop import Loop

VERDICTS = {"done": True, "failed": False, "stop": None}
NOTE = (
    "operator: a line with `done` (a success), `failed` or `stop` (no verdict) ends the episode; "
    "any other line is a new instruction"
)
_ENDS = {
    True: "the episode ends as a success",
    False: "the episode ends as a failure",
    None: "the episode ends, without a verdict of yours",
}
_LONGEST = 4096  # bytes of a line, as many as a terminal gives; of a longer one the end counts


class Operator:
    """Passes lines on to `loop`, and answers each by `say`: what happens, or why it does not.
    Nothing happens between episodes."""

    def __init__(self, loop: Loop, say: Callable[[str], None]) -> None:
        self._loop, self._say = loop, say

    def start(self, fd: int = 0) -> None:
        """Read from the file descriptor `fd` in a thread of its own, until the process ends."""
        threading.Thread(target=self.read, args=(fd,), name="operator", daemon=True).start()

    def read(self, fd: int) -> None:
        """Take every line that comes from the file descriptor `fd`, until there will be no more."""
        rest = b""
        while True:
            try:
                block = os.read(fd, _LONGEST)
            except OSError:  # a process in the background may not read from its terminal
                return
            if not block:
                return
            *lines, rest = (rest + block).split(b"\n")
            rest = rest[-_LONGEST:]
            for line in lines:
                self.take(line.decode(errors="replace"))

    def take(self, line: str) -> None:
        """Do what `line` says; an empty one says nothing."""
        text = line.strip()
        if not text:
            return
        if text.lower() in VERDICTS:
            verdict = VERDICTS[text.lower()]
            why, done = self._loop.finish(verdict), _ENDS[verdict]
        else:
            why, done = self._loop.instruct(text), f"the instruction is now {text!r}"
        self._say(f"operator: not done: {why}" if why else f"operator: {done}")
