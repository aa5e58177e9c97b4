"""The entry point. It imports nothing that takes time, so that Ctrl-C is answered from the start:
what the command line needs (`headway.cli`) is imported where an interrupt is caught."""

from __future__ import annotations

import sys


def main(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        from headway import cli

        return cli.main(args)
    except KeyboardInterrupt:
        print("headway: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
