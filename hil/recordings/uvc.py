"""A video for the driver of USB cameras: noise, as of a sensor, so no image is like another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headway.drivers.cameras.uvc import library
from headway.errors import Missing
from headway.hil.recordings import SECONDS

DRIVERS = (("cameras", "uvc"),)
WIDTH, HEIGHT, RATE_HZ = 160, 120, 30.0


def record(folder: Path) -> dict[str, Any]:
    """Write it. Raises Missing without OpenCV, or where OpenCV writes no MJPG."""
    cv2 = library()
    path = folder / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise Missing("wanted OpenCV to write MJPG, found that it cannot: take its wheel of PyPI")
    rng = np.random.default_rng(0)
    for _ in range(round(SECONDS * RATE_HZ)):
        writer.write(rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8))
    writer.release()
    return {"file": str(path), "width": WIDTH, "height": HEIGHT, "rate_hz": RATE_HZ}
