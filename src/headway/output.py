"""Standard output and standard error of every command: what to do about characters that a terminal
cannot show, and about output that cannot be written (a full disk, a pipe that was closed)."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import IO

# Replacements for terminals without Unicode: table frames and the few signs used in messages.
ASCII = {
    "─": "-", "━": "-", "═": "=", "│": "|", "┃": "|", "║": "|", "•": "*", "·": ".", "…": "...",
    "–": "-", "—": "-", "−": "-", "±": "+-", "×": "x", "→": "->", "←": "<-", "↑": "^", "↓": "v",
    "≤": "<=", "≥": ">=", "µ": "u", "μ": "u", "°": "deg", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
BOX_DRAWING = range(0x2500, 0x2580)  # corners and crossings become "+"
ERRORS = "headway.ascii"
# Characters that steer a terminal, but for tabs and ends of lines, and how they are shown.
_STEERS = {c: f"\\x{c:02x}" for c in (*range(32), *range(0x7F, 0xA0)) if chr(c) not in "\t\n"}


def prepare() -> None:
    """Set up stdout and stderr so that characters which their encoding lacks are replaced, instead
    of raising UnicodeEncodeError. Where stdin, stdout or stderr were closed, the null device takes
    their places: else the next file that is opened gets one of them, and what a library or a child
    process prints is written into that file."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # noqa: PERF203 - three times
            with contextlib.suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number
    codecs.register_error(ERRORS, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def _replace(e: UnicodeError) -> tuple[str, int]:
    if not isinstance(e, UnicodeEncodeError):
        raise e
    found = e.object[e.start : e.end]
    return "".join(ASCII.get(c, "+" if ord(c) in BOX_DRAWING else "?") for c in found), e.end


def failure(*, probe: bool = False) -> OSError | None:
    """Flush stdout. Returns the error when that fails, else None. `probe`: print an empty line
    first, because an unbuffered stream that failed has nothing left to flush."""
    try:
        if probe:
            print(flush=True)
        elif sys.stdout is not None:
            sys.stdout.flush()
    except OSError as e:
        return e
    return None


def discard(stream: IO[str] | None = None) -> None:
    """Redirect `stream` (default: stdout) to the null device, so that the interpreter does not fail
    again at exit when it flushes what is left."""
    with contextlib.suppress(OSError, ValueError):  # already closed, or not a file
        number = (stream or sys.stdout).fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def complain(line: str) -> None:
    """Print `line` to stderr, where names out of somebody else's file steer no terminal. An error
    is ignored: there is no place left to report it."""
    with contextlib.suppress(OSError):
        print(line.translate(_STEERS), file=sys.stderr, flush=True)
