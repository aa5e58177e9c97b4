"""Cameras; each module is a kind: it has a strict `Config` and `connect(cfg, ctx)`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

# A camera's name is part of the names of topics, and policies ask for it.
CameraName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Pixels = Annotated[int, Meta(ge=1, le=8192)]  # width or height of an image
