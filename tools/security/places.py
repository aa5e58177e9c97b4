"""Where keys and trust stores are unless the command line says otherwise, and what it may hold."""

from __future__ import annotations

from datetime import datetime, timezone
from getpass import getpass
from pathlib import Path

from headway.config import at_home
from headway.errors import ConfigError


def keys_folder(given: Path | None) -> Path:
    """The folder of one's own keys. Raises ConfigError where there is no home folder for it."""
    return _config() / "keys" if given is None else given


def trust_folder(given: Path | None) -> Path:
    """The folder of the trust store. Raises ConfigError as `keys_folder`."""
    return _config() / "trust" if given is None else given


def day(text: str | None, option: str) -> datetime | None:
    """The begin of the day `text` (2026-01-31), or a moment (2026-01-31T12:00:00+00:00), in UTC
    where it names no zone; None for None. `option` names it in errors. Raises ConfigError."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(timezone.utc) if at.tzinfo else at.replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError):  # of a zone, at the begin or end of all years
        raise ConfigError(f"{option} wants a day such as 2026-01-31, found {text!r}") from None


def passphrase(file: Path | None, *, twice: bool = False) -> bytes | None:
    """The first line of `file`; for "-" the terminal is asked, and asked again where `twice`; None
    for None. Raises ConfigError."""
    if file is None:
        return None
    if str(file) != "-":
        try:
            return file.read_bytes().split(b"\n", 1)[0].rstrip(b"\r")
        except OSError as e:
            raise ConfigError(f"wanted a passphrase in {file}: {e.strerror}") from None
    try:
        said = getpass("passphrase of the key: ")
        if twice and getpass("the same once more: ") != said:
            raise ConfigError("the two passphrases differ: try again")
    except EOFError:
        raise ConfigError("wanted a passphrase from the terminal, found its end") from None
    return said.encode()


def _config() -> Path:
    return at_home("~/.config/headway")
