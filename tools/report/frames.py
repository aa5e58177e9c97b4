"""Camera strips of the report: some frames of every camera, evenly spaced in time, as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headway.errors import RecordingError
from headway.mcaplog import Recording

FRAMES = 24  # most frames in a strip
WIDTH = 320  # [px]; larger frames are scaled down to it


@dataclass(frozen=True)
class Strip:
    """Frames of one image topic: the data URIs `uris` at `times` [s]. `note` explains the colours,
    or says why there are no frames."""

    name: str
    times: tuple[float, ...]
    uris: tuple[str, ...]
    note: str = ""


def strips(recording: Recording, t0_ns: int) -> list[Strip]:
    """A strip for every image topic of `recording` that has images; its times count from `t0_ns`
    [ns]. A topic whose images cannot be read gives a strip without frames."""
    found = []
    for topic in recording.topics:
        if recording.schema(topic) != "foxglove.RawImage":
            continue
        name = topic.removeprefix("/camera/").replace("/", " ").removesuffix(" rgb")
        try:
            picked = _evenly(recording.images(topic))
        except RecordingError as e:  # the other cameras are still shown
            found.append(Strip(name, (), (), f"cannot be shown: {e}"))
            continue
        if not picked:
            continue
        images = [image for _, image in picked]
        note = ""
        if images[0].dtype != np.uint8:
            images, note = _as_grey(images)
        found.append(
            Strip(
                name,
                tuple((t - t0_ns) / 1e9 for t, _ in picked),
                tuple(_uri(image) for image in images),
                note,
            )
        )
    return found


def _evenly(frames: Iterable[tuple[int, NDArray[Any]]]) -> list[tuple[int, NDArray[Any]]]:
    """At most `FRAMES` of the frames, with the first and the last, in one pass. It never holds more
    than four times as many, however long the recording is."""
    kept: list[tuple[int, NDArray[Any]]] = []
    last, every = None, 1
    for i, frame in enumerate(frames):
        last = frame
        if i % every == 0:
            kept.append(frame)
            if len(kept) >= 4 * FRAMES:
                kept, every = kept[::2], every * 2
    if last is not None and kept[-1][0] != last[0]:
        kept.append(last)
    if len(kept) <= FRAMES:
        return kept
    times = np.array([t for t, _ in kept], np.float64)
    wanted = np.linspace(times[0], times[-1], FRAMES)
    return [kept[i] for i in sorted({int(np.abs(times - t).argmin()) for t in wanted})]


def _as_grey(images: list[NDArray[Any]]) -> tuple[list[NDArray[Any]], str]:
    """Depth images as grey with one scale for all: near is bright, and no reading (0 or NaN) is
    black. Also the note that says so."""
    unit = 1e-3 if images[0].dtype == np.uint16 else 1.0
    metres = [np.asarray(i, np.float64) * unit for i in images]
    valid = np.concatenate([m[np.isfinite(m) & (m > 0)] for m in metres])
    if not len(valid):
        return [np.zeros(m.shape, np.uint8) for m in metres], "no reading"
    near, far = (float(x) for x in np.percentile(valid, (1, 99)))
    out: list[NDArray[Any]] = []
    for m in metres:
        ok = np.isfinite(m) & (m > 0)
        share = (far - np.where(ok, m, far)) / max(far - near, 1e-9)
        out.append(np.where(ok, 40 + 215 * share.clip(0, 1), 0).astype(np.uint8))
    return out, f"bright {near:.2f} m, dark {far:.2f} m, black no reading"


def _uri(pixels: NDArray[Any]) -> str:
    if not pixels.size:
        return "data:,"
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((WIDTH, WIDTH))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def strips_html(found: list[Strip]) -> str:
    """The strips as HTML: each with its name, its note, and its images with their times."""
    out = []
    for s in found:
        figures = "".join(
            f'<figure><img src="{uri}" alt="{escape(s.name)} at {t:.2f} s">'
            f"<figcaption>{t:.2f} s</figcaption></figure>"
            for t, uri in zip(s.times, s.uris, strict=True)
        )
        note = f' <span class="dim">{escape(s.note)}</span>' if s.note else ""
        out.append(f"<h3>{escape(s.name)}{note}</h3>")
        if figures:
            out.append(f'<div class="strip" data-name="{escape(s.name)}">{figures}</div>')
    return "".join(out)
