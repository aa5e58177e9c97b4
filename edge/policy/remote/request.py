"""Converts an observation to the message that a policy server is sent (`Message`), and back on the
server (`to_observation`); `rows` reads the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.edge.policy.bundle_inputs import ACTION
from headway.edge.policy.images import Fitting
from headway.edge.policy.remote.layout import ImageKey, Layout, StateKey, constant
from headway.errors import BadMessage, SpecMismatch
from headway.types import Frame, Observation, Pose, Vec

# The TCP pose on the server, which is not told the real one. The server does not use it: it answers
# with the columns that the policy declares, and the client knows where they start from.
_NOWHERE = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
_NO_LENS = np.eye(3)
_NO_FRAME = Frame(np.zeros((0, 0, 3), np.uint8), None, _NO_LENS)


class Message:
    """Makes the message of an observation, for a server with this `layout`."""

    def __init__(self, layout: Layout) -> None:
        self._prompt, self._draw = layout.prompt, layout.draw
        self._images = [_ImagePart(image) for image in layout.images]
        self._parts = [_StatePart(part, layout) for part in layout.state]

    def of(self, obs: Observation, previous: Vec) -> dict[str, Any]:
        """The message with the parts of `obs` that the layout wants. `previous` (d,) is the
        policy's previous action, as the server answered it. Raises SpecMismatch for an image of
        another size that is not fitted, or without depth where depth is wanted."""
        message: dict[str, Any] = {}
        for image in self._images:
            _put(message, image.key, image.pixels(obs.images[image.camera]))
        for part in self._parts:
            _put(message, part.key, part.values(obs.state, previous))
        if self._prompt is not None:
            _put(message, self._prompt, obs.instruction)
        if self._draw is not None:
            _put(message, self._draw, np.array([obs.seed, obs.number], np.int64))
        return message


class _ImagePart:
    """The image of one key of the message."""

    def __init__(self, image: ImageKey) -> None:
        self.key, self.camera = image.key, image.camera
        self._image = image
        self._fitting: Fitting | None = None
        if image.fit != "exact" and image.height is not None and image.width is not None:
            self._fitting = Fitting(
                image.camera, image.height, image.width,
                kind="rgb" if image.encoding == "rgb8" else "depth",
                fit=image.fit, filter=image.filter, layout=image.layout,
            )  # fmt: skip
        self._dtype = np.uint8 if image.encoding == "rgb8" else np.uint16

    def pixels(self, frame: Frame) -> NDArray[Any]:
        """What is sent of `frame`. Raises SpecMismatch, as `Message.of`."""
        if self._fitting is None:
            return _exact(frame, self._image)
        out = np.empty(self._fitting.shapes[0], self._dtype)
        self._fitting.write(frame, out)
        sent: NDArray[Any] = out[0]
        return sent


class _StatePart:
    """The numbers of one key of the message, `part` of `layout`."""

    def __init__(self, part: StateKey, layout: Layout) -> None:
        self.key = part.key
        state, actions = layout.state_names, layout.actions.names
        fixed = {n: x for n in part.names if (x := constant(n)) is not None}
        source = (*state, *(f"{ACTION}{n}" for n in actions), *fixed)
        self._pick = np.array([source.index(n) for n in part.names])
        self._fixed = np.array(list(fixed.values()))
        self._scale = np.array(part.scale or (1.0,))
        self._offset = np.array(part.offset or (0.0,))

    def values(self, state: NDArray[Any], previous: Vec) -> NDArray[np.float32]:
        """The numbers, from the `state` (k,) of an observation and the `previous` action (d,)."""
        known: Vec = np.concatenate([state, previous, self._fixed])[self._pick]
        return np.asarray(known * self._scale + self._offset, np.float32)


def to_observation(message: Any, layout: Layout, t_ns: int = 0) -> Observation:
    """The observation in a client's `message`, with the time `t_ns` [ns]. It has no real base pose,
    since the protocol does not send one.

    Raises BadMessage for a missing key, a value of another type or shape, a number that is not
    finite, and an instruction that the policy was not taught.
    """
    if not isinstance(message, dict):
        raise BadMessage(f"wanted a map with the observation, found {type(message).__name__}")
    images: dict[str, Frame] = {}
    for image in layout.images:
        pixels = _array(message, image.key)
        if image.layout == "chw" and pixels.ndim == 3:
            pixels = pixels.transpose(1, 2, 0)
        _check_pixels(pixels, image)
        had = images.get(image.camera, _NO_FRAME)
        if image.encoding == "rgb8":
            frame = Frame(pixels, had.depth, _NO_LENS, image.camera)
        else:
            frame = Frame(had.rgb, pixels, _NO_LENS, image.camera)
        images[image.camera] = frame
    state = [_numbers(message, part.key, len(part.names)) for part in layout.state]
    vector = np.concatenate(state) if state else np.zeros(0, np.float32)
    text = ""
    if layout.prompt is not None:
        text = _get(message, layout.prompt)
        if not isinstance(text, str):
            raise BadMessage(f"wanted text in `{layout.prompt}`, found {type(text).__name__}")
        taught = layout.instructions
        if taught and text not in taught:
            known = ", ".join(map(repr, taught[:8]))
            raise BadMessage(
                f"wanted an instruction that {layout.name} was taught, found {text[:80]!r}: it "
                f"knows {known}{', ...' if len(taught) > 8 else ''}"
            )
    seed, number = _drawn(message, layout.draw)
    return Observation(t_ns, images, vector, text, np.zeros(0), _NOWHERE, seed=seed, number=number)


def _drawn(message: dict[Any, Any], key: str | None) -> tuple[int, int]:
    """The seed and the number of the observation, 0 where the client sends none under `key`: one of
    openpi's does not know that there are such."""
    if key is None or key.split(".")[0] not in message:
        return 0, 0
    found = _array(message, key)
    if found.shape != (2,) or found.dtype.kind not in "iu" or not (found >= 0).all():
        raise BadMessage(
            f"wanted `{key}` as 2 whole numbers >= 0, found {found.dtype} {found.shape}"
        )
    seed, number = found.tolist()
    return seed, number


def rows(answer: Any, layout: Layout) -> NDArray[Any]:
    """The array of actions (>= chunk, d) in a server's answer. Raises BadMessage."""
    spec = layout.actions
    if not isinstance(answer, dict):
        raise BadMessage(f"wanted a map with actions, found {type(answer).__name__}")
    found = answer.get(layout.answer)
    shape = f"({spec.chunk} or more, {len(spec.names)}) of floats"
    if not isinstance(found, np.ndarray):
        has = ", ".join(repr(k)[:40] for k in list(answer)[:8]) or "nothing"
        what = "none" if found is None else type(found).__name__
        raise BadMessage(f"wanted an array `{layout.answer}` {shape}, found {what} among {has}")
    fits = found.ndim == 2 and len(found) >= spec.chunk and found.shape[1] == len(spec.names)
    if not fits or found.dtype.kind != "f":
        raise BadMessage(
            f"wanted actions {shape}, found {found.shape} of {found.dtype}: check "
            "`chunk` and `names` of the layout, and the policy"
        )
    return found


def printable(text: str) -> str:
    """`text` of another program with "?" for every character that is neither printable nor a new
    line, so that it cannot control a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _exact(frame: Frame, image: ImageKey) -> NDArray[Any]:
    pixels = frame.rgb if image.encoding == "rgb8" else frame.depth
    if pixels is None:
        raise SpecMismatch(f"the policy wants depth from camera {image.camera}, which gives none")
    height, width = pixels.shape[:2]
    if (image.height or height, image.width or width) != (height, width):
        raise SpecMismatch(
            f"the policy wants {image.width}x{image.height} from camera {image.camera}, found "
            f"{width}x{height}: set the camera's width and height, or `fit` of the layout"
        )
    if image.layout == "chw" and pixels.ndim == 3:
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return pixels


def _check_pixels(pixels: NDArray[Any], image: ImageKey) -> None:
    colours = (3,) if image.encoding == "rgb8" else ()
    dtype = "uint8" if image.encoding == "rgb8" else "uint16"
    height, width = pixels.shape[:2] if pixels.ndim >= 2 else (0, 0)
    want = (image.height or height, image.width or width, *colours)
    if pixels.shape != want or pixels.dtype != dtype or not pixels.size:
        raise BadMessage(
            f"wanted `{image.key}` as {dtype} {want} (h, w{', 3' if colours else ''}), found "
            f"{pixels.dtype} {pixels.shape}: resize it where it is made"
        )


def _numbers(message: dict[Any, Any], key: str, n: int) -> NDArray[np.float32]:
    array = _array(message, key)
    if array.shape != (n,) or array.dtype.kind != "f":
        raise BadMessage(f"wanted `{key}` as {n} floats, found {array.dtype} {array.shape}")
    with np.errstate(over="ignore"):
        vector = array.astype(np.float32)
    if not np.isfinite(vector).all():
        raise BadMessage(f"wanted finite numbers in `{key}`, found NaN or infinity")
    return vector


def _array(message: dict[Any, Any], key: str) -> NDArray[Any]:
    found = _get(message, key)
    if not isinstance(found, np.ndarray):
        raise BadMessage(f"wanted an array in `{key}`, found {type(found).__name__}")
    return found


def _get(message: dict[Any, Any], key: str) -> Any:
    at: Any = message
    for step in key.split("."):
        if not isinstance(at, dict) or step not in at:
            has = ", ".join(repr(k)[:40] for k in list(message)[:12]) or "nothing"
            raise BadMessage(f"wanted the key `{key}`, found {has}")
        at = at[step]
    return at


def _put(message: dict[str, Any], key: str, value: Any) -> None:
    *folders, last = key.split(".")
    at = message
    for step in folders:
        at = at.setdefault(step, {})
    at[last] = value
