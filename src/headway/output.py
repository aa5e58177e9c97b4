"""Standard output and standard error of every command: characters that a terminal cannot show, and
output that cannot be written (a full disk, a pipe whose reader has gone)."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import IO

# For terminals without Unicode: frames of tables and the few signs that help and reports use.
ASCII = {
    "─": "-", "━": "-", "═": "=", "│": "|", "┃": "|", "║": "|", "•": "*", "·": ".", "…": "...",
    "–": "-", "—": "-", "−": "-", "±": "+-", "×": "x", "→": "->", "←": "<-", "↑": "^", "↓": "v",
    "≤": "<=", "≥": ">=", "µ": "u", "μ": "u", "°": "deg", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
BOX_DRAWING = range(0x2500, 0x2580)  # corners and crossings become "+"
ERRORS = "headway.ascii"


def prepare() -> None:
    """Let no character fail on stdout and stderr: one that their encoding lacks is replaced."""
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
    """Why what was printed cannot be written, None when it can. `probe`: find out by an empty line,
    since an unbuffered stream has nothing left to try again after it failed once."""
    try:
        if probe:
            print(flush=True)
        elif sys.stdout is not None:
            sys.stdout.flush()
    except OSError as e:
        return e
    return None


def discard(stream: IO[str] | None = None) -> None:
    """Give up `stream` (stdout), so that the interpreter does not try to write the rest of it again
    at its end."""
    with contextlib.suppress(OSError, ValueError):  # closed already, or no file at all
        number = (stream or sys.stdout).fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def complain(line: str) -> None:
    """Print to stderr; when that fails as well, there is nobody to tell."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
