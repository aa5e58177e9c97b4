"""Cameras. Each module is a kind, with a strict struct `Config` and a `connect(cfg, ctx)`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

# A camera's name becomes part of topic names, and a policy names the cameras that it needs.
CameraName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Pixels = Annotated[int, Meta(ge=1, le=8192)]  # width or height of an image
