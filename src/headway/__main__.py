"""The entry point of the command line.

It imports the command line (`headway.cli`), which takes time, where an interrupt is caught, so that
Ctrl-C ends the program properly from the start.
"""

from __future__ import annotations

import sys


def main(args: list[str] | None = None) -> int:
    """Run the command line with `args` (without the program's name; default: those of the process).
    Returns the exit code."""
    try:
        from headway import cli

        return cli.main(args)
    except KeyboardInterrupt:
        print("headway: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
