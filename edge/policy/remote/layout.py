"""The layout of a policy server's messages: which keys of an observation it wants, and what its
actions mean.

`headway serve` puts its `Layout` into the metadata that every client is sent first, under the key
`headway`. For other servers, the run configuration gives it as `[policy.remote.layout]`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from headway import config
from headway.bundle import Manifest
from headway.config import Hertz, Seconds
from headway.edge.motion.actions import Actions, to_actions
from headway.edge.policy.observation import renamed
from headway.edge.policy.policy import ImageNeed, Needs
from headway.edge.policy.remote import MAX_BYTES
from headway.errors import BadMessage, ConfigError, SpecMismatch
from headway.types import Pose

SECTION = "headway"  # key of the layout in a server's metadata


Size = Annotated[int, Meta(ge=1, le=65_535)]  # [px]


class ImageKey(config.Struct, frozen=True, kw_only=True):
    """The key of a camera's image in the message: (h, w, 3) uint8, or (h, w) uint16 [mm] for depth.
    `order` "chw" sends (3, h, w). A dot in a key leads into a nested map: "images.cam_high"."""

    camera: str
    key: str
    encoding: Literal["rgb8", "depth_mm"] = "rgb8"
    order: Literal["hwc", "chw"] = "hwc"
    height: Size | None = None  # None: any, which servers that resize by themselves accept
    width: Size | None = None


class StateKey(config.Struct, frozen=True, kw_only=True):
    """The key of a part of the state in the message: a vector of float32 with the numbers `names`,
    which are those of `headway.edge.policy.observation`."""

    key: str
    names: tuple[str, ...]


class Layout(config.Struct, frozen=True, kw_only=True):
    """What a policy server wants and answers. `prompt`: the key of the instruction, None where the
    server wants none. `instructions`: those that the policy was taught, () for free text.
    `rate_hz`: inferences per second that the policy is made for, None for any. The policy's `name`
    and the `sha256` of its model are for messages and recordings."""

    actions: Actions
    images: tuple[ImageKey, ...] = ()
    state: tuple[StateKey, ...] = ()
    prompt: str | None = "prompt"
    instructions: tuple[str, ...] = ()
    rate_hz: Hertz | None = None
    name: str = "remote"
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.name.isprintable() or len(self.name) > 200:
            raise ValueError("layout: wanted a name of at most 200 printable characters")

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of all numbers of the state, part by part."""
        return tuple(n for part in self.state for n in part.names)

    @property
    def needs(self) -> Needs:
        """What has to hold before a run begins."""
        if self.prompt is None:
            instructions: tuple[str, ...] | None = ()
        else:
            instructions = self.instructions or None
        return Needs(
            rate_hz=self.rate_hz,
            chunk_s=self.actions.chunk * self.actions.dt_s,
            images=tuple(
                ImageNeed(i.camera, i.height, i.width, i.encoding == "depth_mm")
                for i in self.images
            ),
            instructions=instructions,
        )


class RemoteConfig(config.Struct, frozen=True):
    """The `[policy.remote]` section. `layout` is for servers that do not describe themselves; the
    description of one that does is used instead."""

    url: str  # ws://HOST:PORT or wss://HOST:PORT
    timeout_s: Seconds = 2.0  # of an inference, with the transfer in both directions
    connect_s: Seconds = 5.0  # of connecting
    max_bytes: Annotated[int, Meta(ge=1, le=1 << 31)] = MAX_BYTES  # of a message
    layout: Layout | None = None


def of_bundle(manifest: Manifest) -> Layout:
    """The layout that `headway serve` uses for the bundle with this manifest. The state is sent in
    SI units, actions in m, rad and grip 0..1; the server applies the bundle's own units, mean and
    standard deviation. Actions stay in the bundle's axes, since the server is not told the pose of
    the TCP. Raises SpecMismatch for a bundle that is no policy."""
    info = manifest.policy
    if info is None:
        raise SpecMismatch(
            f"wanted a bundle of kind policy, found {manifest.kind}: {manifest.name}"
        )
    folder = {"rgb8": "image", "depth_mm": "depth"}
    return Layout(
        name=manifest.name,
        sha256=manifest.files[manifest.onnx].sha256,
        images=tuple(
            ImageKey(
                camera=i.camera, key=f"observation/{folder[i.encoding]}/{i.camera}",
                encoding=i.encoding, height=i.height, width=i.width,
            )
            for i in info.images
        ),
        state=(StateKey(key="observation/state", names=renamed(info.state_names)),),
        prompt="prompt" if info.instructions else None,
        instructions=info.instructions,
        rate_hz=info.rate_hz,
        actions=Actions(chunk=info.chunk, dt_s=info.dt_s, axes=info.axes),
    )  # fmt: skip


def to_metadata(layout: Layout) -> dict[str, Any]:
    """The metadata of a server with this layout, as plain data."""
    data: dict[str, Any] = msgspec.to_builtins(layout)
    return {SECTION: data}


def from_metadata(metadata: dict[Any, Any], where: str) -> Layout | None:
    """The layout in a server's metadata, None when the server does not describe itself. `where`
    names the server in errors. Raises SpecMismatch for a layout that does not fit."""
    if SECTION not in metadata:
        return None
    try:
        return config.decode(metadata[SECTION], Layout, f"{where}: metadata `{SECTION}`")
    except (ConfigError, TypeError) as e:  # TypeError: keys that are no strings
        raise SpecMismatch(f"{e}: use the same version of Headway on both sides") from None


def finite_actions(rows: NDArray[Any], spec: Actions, base: Pose) -> NDArray[np.float32]:
    """Convert `rows` (>= chunk, d), as a server sent them, to actions (chunk, 7) as Headway plays
    them, see `motion.actions.to_actions`. Raises BadMessage for NaN or infinity."""
    actions = to_actions(rows, spec, base)
    if not np.isfinite(actions).all():
        raise BadMessage("wanted finite actions, found NaN or infinity: check the policy")
    return actions
