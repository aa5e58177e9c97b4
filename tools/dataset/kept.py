"""What a recording knows beside its frames, as a data set keeps it for each episode: the column
`layout.RECORDING` of the episodes' table, in JSON. LeRobot passes over it."""

from __future__ import annotations

from typing import Any

import msgspec

from headway.errors import RecordingError


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A camera's pinhole matrix (3, 3) [px], its image size [px] and its frame."""

    intrinsics: list[list[float]]
    height: int
    width: int
    frame_id: str


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """`start_ns`: when the first frame was, on the recording's clock. `metadata` and `run` of the
    recording, its `result` and `events` as recorded, and the `calibration` by camera."""

    name: str
    start_ns: int
    metadata: dict[str, str] = {}
    run: dict[str, str] = {}
    success: bool | None = None
    result: dict[str, Any] | None = None
    events: list[dict[str, Any]] = []
    calibration: dict[str, Calibration] = {}

    def to_json(self) -> str:
        """As text. Numbers that are not finite become null."""
        return msgspec.json.encode(self).decode()


def from_json(text: str, where: str) -> Kept:
    """What `to_json` wrote. Raises RecordingError for anything else, which says `where` it was
    found."""
    try:
        return msgspec.json.decode(text, type=Kept)
    except (msgspec.DecodeError, TypeError) as e:
        raise RecordingError(
            f"{where}: wanted what `headway dataset export` keeps of a recording, found {e}: "
            "export it again"
        ) from None
