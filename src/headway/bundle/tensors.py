"""The tensors of a model's graph, as a bundle declares them, and what observations fill them with:
images, numbers of the state, and the instruction."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from headway import units
from headway.config import Struct

DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "uint16", "bool")
BETWEEN = (-1.0, 1.0)  # what `low` and `high` of a tensor become unless it says otherwise
Steps = Annotated[int, Meta(ge=1, le=64)]  # moments that an input is given, the newest one last


class Tensor(Struct, frozen=True, kw_only=True):
    """An input or output of the ONNX graph, and how its values relate to physical ones.

    `unit` is the unit of its values, among `headway.units.UNITS`; "" is the unit that Headway uses
    for that quantity. The values may be normalised, in one of two ways, each with one number or one
    per element of the last axis, and only for a tensor of floats:

    - `mean` and `std`: the graph is given (x - mean) / std for an input x, and an output y stands
      for y * std + mean.
    - `low` and `high`, which are the smallest and largest values of the training data or their
      quantiles: they become the two numbers `between`, and what lies between them is linear.

    Without either, the graph normalises by itself.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    between: tuple[float, float] = BETWEEN

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"tensor {self.name}: dtype {self.dtype}, valid: {', '.join(DTYPES)}")
        if any(d < 1 for d in self.shape):
            raise ValueError(f"tensor {self.name}: wanted dimensions >= 1, found {self.shape}")
        if self.unit:
            try:
                units.check(self.unit)
            except ValueError as e:
                raise ValueError(f"tensor {self.name}: {e}") from None
        for first, second in (("mean", "std"), ("low", "high")):
            if (getattr(self, first) is None) != (getattr(self, second) is None):
                raise ValueError(f"tensor {self.name}: {first} and {second} come together")
        if self.low is None and self.between != BETWEEN:  # bundle.json holds the usual one always
            raise ValueError(
                f"tensor {self.name}: `between` {list(self.between)} says what `low` and `high` "
                "become, found neither: give both, or leave `between` out"
            )
        if self.mean is not None and self.low is not None:
            raise ValueError(
                f"tensor {self.name}: wanted mean and std, or low and high, found both: keep the "
                "pair that the model was trained with"
            )
        if self.normalised and not self.floats:
            raise ValueError(
                f"tensor {self.name}: mean and std, low and high want a tensor of floats, found "
                f"{self.dtype}: normalise inside the graph"
            )
        for key in ("mean", "std", "low", "high"):
            values = getattr(self, key)
            if values is None:
                continue
            if len(values) not in (1, self.shape[-1] if self.shape else 1):
                raise ValueError(
                    f"tensor {self.name}: {key} has {len(values)} values for shape {self.shape}"
                )
            if not np.isfinite(values).all():
                raise ValueError(f"tensor {self.name}: {key} wants finite values, found {values}")
        if self.std is not None and min(self.std) <= 0.0:
            raise ValueError(
                f"tensor {self.name}: std wants numbers > 0, found {min(self.std)}: a number that "
                "never changed in training has none; leave it out of the model, or give it std 1"
            )
        if self.low is not None and self.high is not None:
            width = np.subtract(self.high, self.low)
            if width.min() <= 0.0:
                raise ValueError(
                    f"tensor {self.name}: wanted low < high for every element, found a width of "
                    f"{width.min():g}: a number that never changed in training has none; leave it "
                    "out of the model, or widen its bounds"
                )
            if not self.between[0] < self.between[1]:
                raise ValueError(
                    f"tensor {self.name}: `between` wants two rising numbers, found {self.between}"
                )

    @property
    def floats(self) -> bool:
        """Whether its elements are floating-point numbers."""
        return self.dtype.startswith("float")

    @property
    def normalised(self) -> bool:
        """Whether its values are normalised outside the graph."""
        return self.mean is not None or self.low is not None

    @property
    def affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(gain, shift), each (1,) or (last axis,): a value x is y = (x - shift) / gain in the
        graph, so x = y * gain + shift."""
        if self.low is not None and self.high is not None:
            a, b = self.between
            low = np.array(self.low, np.float64)
            gain = (np.array(self.high, np.float64) - low) / (b - a)
            return gain, low - a * gain
        return np.array(self.std or (1.0,), np.float64), np.array(self.mean or (0.0,), np.float64)


class Image(Struct, frozen=True, kw_only=True):
    """An image input, `height` x `width` [px], of the camera named `camera`.

    `fit` says how a frame of another size becomes one of this size: "exact" refuses it, "stretch"
    resizes both axes alone, "crop" cuts the middle of the frame to this aspect ratio first, and
    "pad" resizes the whole frame and fills what is left with black, as openpi's `resize_with_pad`
    does. `filter` is the kernel of the resizing; depth always takes the nearest pixel.

    The tensor is (1, h, w, 3) for rgb8, or (1, 3, h, w) with `layout` "chw". For depth_mm it is
    (1, h, w), which may have an axis of length 1 for the channel; or (1, h, w, 2) of uint8 with the
    low and the high byte, for models that cannot take uint16. With `steps` > 1 there is a further
    axis of that length behind the first one, with the oldest frame first. It has whole numbers
    (uint8, uint16 [mm]) or floats of the same values, which are multiplied by `scale`; then `mean`
    is subtracted and the result divided by `std`, each with a number per channel.
    """

    camera: str
    input: str  # name of the tensor
    height: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=1)]
    encoding: Literal["rgb8", "depth_mm"] = "rgb8"
    fit: Literal["exact", "stretch", "crop", "pad"] = "exact"
    filter: Literal["bilinear", "nearest", "area"] = "bilinear"
    order: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["hwc", "chw"] = "hwc"
    scale: float = 1.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    steps: Steps = 1

    def __post_init__(self) -> None:
        what = f"image of camera {self.camera} ({self.encoding})"
        channels = 3 if self.encoding == "rgb8" else 1
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"{what}: mean and std come together")
        for key in ("mean", "std"):
            values = getattr(self, key)
            if values is not None and (
                len(values) not in (1, channels)
                or not np.isfinite(values).all()
                or (key == "std" and min(values) <= 0.0)
            ):
                raise ValueError(
                    f"{what}: {key} wants 1 or {channels} finite numbers"
                    f"{' > 0' if key == 'std' else ''}, found {values}"
                )
        if not (np.isfinite(self.scale) and self.scale > 0.0):
            raise ValueError(f"{what}: scale wants a finite number > 0, found {self.scale}")
        if self.encoding == "depth_mm" and self.order != "rgb":
            raise ValueError(f"{what}: depth has no colours, leave `order` out")

    @property
    def plain(self) -> bool:
        """Whether the pixels are used as they are, without scale, mean and std."""
        return self.scale == 1.0 and self.mean is None

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that its tensor may have."""
        h, w = self.height, self.width
        sizes: tuple[tuple[int, ...], ...] = ((3, h, w),)
        if self.layout == "hwc":
            sizes = ((h, w, 3),) if self.encoding == "rgb8" else ((h, w), (h, w, 1), (h, w, 2))
        elif self.encoding == "depth_mm":
            sizes = (h, w), (1, h, w)
        first = (1, self.steps) if self.steps > 1 else (1,)
        return tuple((*first, *size) for size in sizes)

    def check(self, tensor: Tensor) -> None:
        """Raises ValueError when shape, dtype or unit of `tensor` do not fit this image."""
        rgb = self.encoding == "rgb8"
        pair = not rgb and tensor.shape[-1:] == (2,) and self.layout == "hwc" and self.width != 2
        dtype, unit = ("uint8", "1") if rgb else ("uint8" if pair else "uint16", "mm")
        what = f"image of camera {self.camera} ({self.encoding})"
        floats = tensor.floats and not pair
        if tensor.shape not in self.shapes or not (tensor.dtype == dtype or floats):
            raise ValueError(
                f"{what}: wanted its input `{tensor.name}` as {dtype} or floats "
                f"{' or '.join(map(str, self.shapes))}, found {tensor.dtype} {tensor.shape}"
            )
        if not (self.plain or floats):
            raise ValueError(
                f"{what}: scale, mean and std want a tensor of floats, found {tensor.dtype}"
            )
        if self.mean is not None and tensor.normalised:
            raise ValueError(
                f"{what}: wanted mean and std once, found those of the image and those of its "
                f"input `{tensor.name}`"
            )
        if tensor.unit and not tensor.floats and tensor.unit != unit:
            raise ValueError(
                f"{what}: wanted whole numbers with the unit {unit!r}, found {tensor.unit!r}"
            )
        if rgb and tensor.unit not in ("", "1"):
            raise ValueError(f"{what}: wanted no unit (0 to 255), found {tensor.unit!r}")


class StateInput(Struct, frozen=True, kw_only=True):
    """An input that is given numbers of the robot's state, in the order of `names`, which are those
    of `headway.edge.policy.observation`; `action.NAME` is the policy's previous action, as it
    answered it.

    Each number is given in its unit of `units`, among `headway.units.UNITS` ("" or no `units`: SI),
    times `scale` plus `offset`, where those are set. With `steps` > 1 the input is given that many
    moments, the oldest one first. The tensor may have any shape with steps * len(names) elements.
    """

    input: str  # name of the tensor
    names: tuple[str, ...]
    units: tuple[str, ...] = ()
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    steps: Steps = 1

    def __post_init__(self) -> None:
        what = f"state of the input {self.input}"
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"{what}: wanted different names, found {', '.join(self.names)}")
        for key in ("units", "scale", "offset"):
            values = getattr(self, key)
            if values and len(values) != len(self.names):
                raise ValueError(f"{what}: {len(self.names)} names, {len(values)} of {key}")
        for unit in self.units:
            if unit:
                try:
                    units.check(unit)
                except ValueError as e:
                    raise ValueError(f"{what}: {e}") from None
        if not np.isfinite((*(self.scale or ()), *(self.offset or ()))).all():
            raise ValueError(f"{what}: scale and offset want finite numbers")
        if self.scale is not None and 0.0 in self.scale:
            raise ValueError(f"{what}: a scale of 0 drops a number: leave its name out instead")

    def check(self, tensor: Tensor) -> None:
        """Raises ValueError when shape or dtype of `tensor` do not fit these numbers."""
        wanted = self.steps * len(self.names)
        if math.prod(tensor.shape) != wanted or not tensor.floats:
            raise ValueError(
                f"input `{tensor.name}`: wanted {wanted} floats, one per name"
                f"{f' and step ({self.steps})' if self.steps > 1 else ''}, found {tensor.dtype} "
                f"{tensor.shape}"
            )
        if tensor.unit and self.units:
            raise ValueError(
                f"input `{tensor.name}`: wanted its unit once, found {tensor.unit!r} for the whole "
                f"tensor and units per name"
            )
