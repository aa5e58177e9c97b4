"""Fits a camera's images to what a policy was trained on: size, order of the channels, layout,
numbers.

Colour is resized by Pillow, as most training pipelines do. Its filters `bilinear` and `area` take
the mean over all pixels that fall together when an image is made smaller (antialiasing). Depth
always takes the nearest pixel, by the rule of Pillow's `nearest`: a mean over the edge of an object
is a depth at which there is nothing, and a mean with 0 takes "no reading" for a distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headway.errors import SpecMismatch
from headway.types import Frame, Vec

Fit = Literal["exact", "stretch", "crop", "pad"]
Filter = Literal["bilinear", "nearest", "area"]
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Which part of a source image becomes which part of the target, [px]: the rows and columns
    from `top`, `left` of the source, `crop` of them, are resized to `size` and put at `at` in the
    target. `crop`, `size` and `at` are (rows, columns)."""

    top: int
    left: int
    crop: tuple[int, int]
    size: tuple[int, int]
    at: tuple[int, int]


@lru_cache(maxsize=64)
def place(source: tuple[int, int], target: tuple[int, int], fit: Fit) -> Placement:
    """Where an image of the size `source` goes in one of the size `target`, both (height, width)
    [px]. "exact" is for equal sizes. "crop" takes the largest part about the centre with the
    target's aspect ratio, in whole pixels. "pad" keeps the aspect ratio between two bars, with the
    rounding of openpi's `resize_with_pad`."""
    (h, w), (H, W) = source, target
    if source == target or fit in ("exact", "stretch"):
        return Placement(0, 0, source, target, (0, 0))
    if fit == "crop":
        tall, wide = min(h, max(1, round(w * H / W))), min(w, max(1, round(h * W / H)))
        return Placement((h - tall) // 2, (w - wide) // 2, (tall, wide), target, (0, 0))
    ratio = max(w / W, h / H)
    # A side of less than a pixel, which openpi refuses, is one.
    size = max(1, int(h / ratio)), max(1, int(w / ratio))
    return Placement(0, 0, source, size, ((H - size[0]) // 2, (W - size[1]) // 2))


@lru_cache(maxsize=64)
def _nearest(start: int, length: int, size: int) -> NDArray[np.intp]:
    """The pixels of the source (size,) that Pillow's `nearest` takes for `length` pixels from
    `start` resized to `size`. Its sums are repeated as it rounds them."""
    step = length / size
    sums = np.cumsum([step * 0.5, *[step] * (size - 1)])
    return start + np.minimum(sums.astype(np.intp), length - 1)


@dataclass(frozen=True)
class Fitting:
    """How the images of `camera` become a tensor. `height` and `width` [px] are the tensor's.

    `kind`: "rgb" takes the frame's colours, "depth" its depth in mm. `fit`: "exact" wants images of
    that size; "stretch" resizes them; "crop" and "pad" keep the aspect ratio, see `place`. `filter`
    is for colours, see above. `order` of the channels: "rgb" or "bgr". `layout`: "hwc" writes
    (1, h, w, 3), "chw" (1, 3, h, w).

    A tensor of floats is given (x scale - mean) / std for a pixel x: 0 to 255 for colours, mm for
    depth, so that a `scale` of 1/255 or of 0.001 m/mm is usual. `mean` and `std` have one value, or
    one per channel in the tensor's order. The bars of "pad" are black, x = 0, or depth without a
    reading, 0 too. A tensor of whole numbers is given x itself. Raises ValueError for values that
    do not go together."""

    camera: str
    height: int
    width: int
    kind: Literal["rgb", "depth"] = "rgb"
    fit: Fit = "exact"
    filter: Filter = "bilinear"
    order: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["hwc", "chw"] = "hwc"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ValueError(f"wanted at least 1 x 1 pixels, found {self.width} x {self.height}")
        for name, valid in (
            ("kind", ("rgb", "depth")), ("fit", ("exact", "stretch", "crop", "pad")),
            ("filter", tuple(_FILTERS)), ("order", ("rgb", "bgr")), ("layout", ("hwc", "chw")),
        ):  # fmt: skip
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"{name}: wanted {', '.join(valid)}, found {getattr(self, name)!r}"
                )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self._channels):
                raise ValueError(
                    f"{name}: wanted 1 value{f' or {self._channels}' * (self._channels > 1)}, "
                    f"found {len(values)}"
                )
        if not np.isfinite([self.scale, *self.mean, *self.std]).all() or min(self.std) <= 0.0:
            raise ValueError("scale, mean and std: wanted finite numbers, std > 0")

    @property
    def _channels(self) -> int:
        return 3 if self.kind == "rgb" else 1

    @property
    def plain(self) -> bool:
        """Whether pixels are given as they are: scale 1, mean 0, std 1."""
        return self.scale == 1.0 and not any(self.mean) and set(self.std) == {1.0}

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that the tensor may have. Depth has no axis of channels, or one of length 1;
        or, as uint8 in the layout "hwc", of length 2: the low and the high byte of the number of
        mm, for models that cannot take uint16."""
        h, w = self.height, self.width
        if self.kind == "rgb":
            return ((1, h, w, 3),) if self.layout == "hwc" else ((1, 3, h, w),)
        if self.layout == "chw":
            return (1, h, w), (1, 1, h, w)
        return (1, h, w), (1, h, w, 1), (1, h, w, 2)

    def check(self, shape: tuple[int, ...], dtype: str) -> None:
        """Raises ValueError where a tensor of that `shape` and `dtype` cannot hold the images."""
        whole = "uint8" if self.kind == "rgb" or self._pair(shape) else "uint16"
        floats = dtype.startswith("float") and not self._pair(shape)
        if shape not in self.shapes or not (dtype == whole or floats):
            valid = " or ".join(map(str, self.shapes))
            extra = ", uint8 for the last" if len(self.shapes) == 3 else ""
            usual = "uint8" if self.kind == "rgb" else "uint16"
            raise ValueError(
                f"image of camera {self.camera} ({self.kind}): wanted {usual} or floats {valid}"
                f"{extra}, found {dtype} {shape}"
            )
        if not floats and not self.plain:
            raise ValueError(
                f"image of camera {self.camera} ({self.kind}): scale, mean and std want a tensor "
                f"of floats, found {dtype}: normalise inside the graph"
            )

    def _pair(self, shape: tuple[int, ...]) -> bool:
        return self.kind == "depth" and shape == self.shapes[-1] and self.layout == "hwc"

    @property
    def _gains(self) -> list[tuple[int, float, float]]:
        """Per channel of the tensor: that of the frame, and the gain and offset of its values."""
        n = self._channels
        mean, std = (v * (n // len(v)) for v in (self.mean, self.std))
        source = range(n) if self.order == "rgb" else range(n - 1, -1, -1)
        return [(c, self.scale / s, -m / s) for c, m, s in zip(source, mean, std, strict=True)]

    def write(self, frame: Frame, out: NDArray[Any]) -> None:
        """Write the image of `frame` into the buffer `out`, of a shape and dtype that `check`
        accepts. Raises SpecMismatch for a frame without depth where depth is wanted, and for one of
        another size where `fit` is "exact"."""
        pixels = frame.rgb if self.kind == "rgb" else frame.depth
        if pixels is None:
            raise SpecMismatch(
                f"the policy wants depth from camera {self.camera}, which gives none"
            )
        h, w = pixels.shape[:2]
        if self.fit == "exact" and (h, w) != (self.height, self.width):
            raise SpecMismatch(
                f"the policy wants {self.width}x{self.height} from camera {self.camera}, found "
                f"{w}x{h}: set the camera's width and height, or let the bundle state how to `fit`"
            )
        spot = place((h, w), (self.height, self.width), self.fit)
        image = self._image(out)
        if spot.size != (self.height, self.width):
            (top, left), (tall, wide) = spot.at, spot.size
            for part in (
                image[:top], image[top + tall :], image[:, :left], image[:, left + wide :],
            ):  # fmt: skip
                part[...] = [offset for _, _, offset in self._gains]
            image = image[top : top + tall, left : left + wide]
        self._put(self._resized(pixels, spot), image)

    def _image(self, out: NDArray[Any]) -> NDArray[Any]:
        """`out` as (h, w, channels), a view."""
        image: NDArray[Any] = out[0]
        if self._pair(out.shape):
            image = image.view("<u2")
        if self.kind == "depth":
            return image.reshape(self.height, self.width, 1)
        return image if self.layout == "hwc" else image.transpose(1, 2, 0)

    def _resized(self, pixels: NDArray[Any], spot: Placement) -> NDArray[Any]:
        """The part of `pixels` that is shown, in the size that it has in the target."""
        (tall, wide), size = spot.crop, spot.size
        if spot.crop == size:
            return pixels[spot.top : spot.top + tall, spot.left : spot.left + wide]
        if self.kind == "depth":
            rows, columns = _nearest(spot.top, tall, size[0]), _nearest(spot.left, wide, size[1])
            return pixels[rows[:, None], columns]
        part = pixels[spot.top : spot.top + tall, spot.left : spot.left + wide]
        image = Image.fromarray(part).resize(size[::-1], _FILTERS[self.filter])
        return np.asarray(image)

    def _put(self, pixels: NDArray[Any], image: NDArray[Any]) -> None:
        """Write `pixels` (h, w, 3) or (h, w) into `image` (h, w, channels), which is of the same
        size."""
        pixels = pixels.reshape(image.shape)
        gains = self._gains
        if self.layout == "hwc" and self.order == "rgb" and len({g[1:] for g in gains}) == 1:
            _scale(pixels, image, *gains[0][1:])
            return
        # Channel by channel, since NumPy is slow along an axis of three.
        for k, (c, gain, offset) in enumerate(gains):
            _scale(pixels[..., c], image[..., k], gain, offset)


def _scale(x: NDArray[Any], out: NDArray[Any], gain: float, offset: float) -> None:
    """Write x gain + offset into `out`."""
    if gain == 1.0 and offset == 0.0:
        out[...] = x
        return
    # The type is given, or NumPy 1 would compute the products of uint8 in half precision.
    np.multiply(x, gain, out=out, dtype=np.result_type(out.dtype, np.float32), casting="same_kind")
    if offset:
        out += offset


def fitted_intrinsics(K: Vec, source: tuple[int, int], fitting: Fitting) -> Vec:
    """The pinhole matrix (3, 3) [px] of the image that `fitting` makes of one of the size `source`
    (height, width) with the matrix `K`. Coordinates begin at the image's corner, as in the
    intrinsics of the simulated cameras: the centre of the first pixel is at (0.5, 0.5). So a point
    u of the source comes to (u - left) s + at, where s is how much larger the image becomes."""
    spot = place(source, (fitting.height, fitting.width), fitting.fit)
    sy, sx = (n / part for n, part in zip(spot.size, spot.crop, strict=True))
    x = spot.at[1] - spot.left * sx
    y = spot.at[0] - spot.top * sy
    return np.array([[sx, 0, x], [0, sy, y], [0, 0, 1]]) @ K
