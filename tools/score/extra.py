"""Packages that only some kinds of files want."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from headway.errors import Missing


@contextmanager
def wanted_by(files: str) -> Iterator[None]:
    """Around the imports that reading `files` needs. Raises Missing for a package that is not
    there, which says how to get it."""
    try:
        yield
    except ImportError as e:
        raise Missing(
            f"{files} want the package {e.name or e}, found none: pip install 'headway[logs]'"
        ) from None
