"""What a person says about a recording afterwards: at these moments something failed.

It is kept in a small file of JSON beside the recording, NAME.mcap.flags.json, and the recording
itself is not touched. The file holds the SHA-256 of the recording that it is about, so that it is
not taken for one about another recording which has replaced that.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from headway import config
from headway.edge.control.events import Event, EventKind
from headway.errors import ConfigError, RecordingError
from headway.files import whole

_SUFFIX = ".flags.json"


class Flag(config.Struct, frozen=True):
    """A failure, `t_s` [s] after the recording's first tick, and what it was, in words."""

    t_s: float
    text: str = ""

    @property
    def words(self) -> str:
        return self.text or "a failure"


class _File(config.Struct, frozen=True):
    """The content of a file of flags, in the order of time."""

    sha256: str
    flags: tuple[Flag, ...]


def beside(recording: Path) -> Path:
    """Where the flags of the file `recording` are."""
    return recording.with_name(recording.name + _SUFFIX)


def flags_of(recording: Path) -> tuple[Flag, ...]:
    """The flags of the file `recording`, in the order of time. Raises RecordingError for a file of
    flags that cannot be read, or that is about another recording."""
    path = beside(recording)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as e:
        raise RecordingError(f"cannot read the flags {path}: {e.strerror}") from None
    try:
        found = config.decode(msgspec.json.decode(data), _File, str(path))
    except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as e:
        raise RecordingError(
            f"wanted flags as `headway patch` writes them in {path}, found others ({e}): remove "
            "the file, and flag the recording again"
        ) from None
    if found.sha256 != _sha256(recording):
        raise RecordingError(
            f"{path} flags another recording than the one that is at {recording} now: remove it "
            "(`headway patch --clear`), or bring that recording back"
        )
    return found.flags


def add(recording: Path, new: tuple[Flag, ...]) -> tuple[Flag, ...]:
    """Flag the file `recording` at further moments; returns all its flags. A flag at a moment that
    has one already replaces it. Raises RecordingError as `flags_of`, and where the file of flags
    cannot be written."""
    known = {f.t_s: f for f in (*flags_of(recording), *new)}
    flags = tuple(known[t] for t in sorted(known))
    data = msgspec.json.format(msgspec.json.encode(_File(_sha256(recording), flags)), indent=1)
    path = beside(recording)
    try:
        with whole(path) as part:
            part.write_bytes(data + b"\n")
    except OSError as e:
        raise RecordingError(f"cannot write the flags {path}: {e.strerror}") from None
    return flags


def clear(recording: Path) -> bool:
    """Remove all flags of the file `recording`. Returns whether there were any. Raises
    RecordingError where they cannot be removed."""
    try:
        beside(recording).unlink()
    except FileNotFoundError:
        return False
    except OSError as e:
        raise RecordingError(f"cannot remove {beside(recording)}: {e.strerror}") from None
    return True


def as_events(flags: tuple[Flag, ...], t0_ns: int) -> list[Event]:
    """The `flags` of a recording whose first tick is at `t0_ns` [ns] as events of it."""
    return [
        Event(
            t_ns=t0_ns + round(f.t_s * 1e9), kind=EventKind.FLAGGED, level="warning", text=f.words
        )
        for f in flags
    ]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as f:
            while block := f.read(1 << 20):
                digest.update(block)
    except OSError as e:
        raise RecordingError(f"cannot read {path}: {e.strerror}") from None
    return digest.hexdigest()
