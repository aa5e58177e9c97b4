"""The layout of a policy server's messages: which keys of an observation it wants, and what its
actions mean.

`headway serve` puts its `Layout` into the metadata that every client is sent first, under the key
`headway`. For other servers, the run configuration gives it as `[policy.layout]`, or a file of its
own does (`headway run --policy URL --policy-map FILE`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, structs

from headway import config
from headway.actions import ActionSpace
from headway.bundle import Manifest
from headway.config import Hertz
from headway.edge.policy.bundle_inputs import ACTION, loop_names
from headway.edge.policy.images import Filter, Fit
from headway.edge.policy.policy import ImageNeed, Needs
from headway.errors import ConfigError, SpecMismatch
from headway.instructions import EmbeddingSpec, InstructionSpec

SECTION = "headway"  # key of the layout in a server's metadata


Size = Annotated[int, Meta(ge=1, le=65_535)]  # [px]


class ImageKey(config.Struct, frozen=True, kw_only=True):
    """The key of a camera's image in the message: (h, w, 3) uint8, or (h, w) uint16 [mm] for depth.
    `layout` "chw" sends (3, h, w). A dot in a key leads into a nested map: "images.cam_high".

    `height` and `width` [px] are the size that the server wants, None for any, which servers that
    resize by themselves accept. `fit` says how a frame of another size is brought to it before it
    is sent, and `filter` with which kernel, as for an image of a bundle
    (`headway.bundle.tensors.Image`): "exact" refuses it, "pad" is what openpi's clients do."""

    camera: str
    key: str
    encoding: Literal["rgb8", "depth_mm"] = "rgb8"
    layout: Literal["hwc", "chw"] = "hwc"
    height: Size | None = None
    width: Size | None = None
    fit: Fit = "exact"
    filter: Filter = "bilinear"

    def __post_init__(self) -> None:
        if self.fit != "exact" and (self.height is None or self.width is None):
            raise ValueError(
                f'layout: image `{self.key}` has fit = "{self.fit}": wanted the height and width '
                "that the server wants, found none"
            )

    @property
    def need(self) -> ImageNeed:
        """What it wants of the camera: an image that is fitted may have any size."""
        exact, depth = self.fit == "exact", self.encoding == "depth_mm"
        return ImageNeed(
            self.camera, self.height if exact else None, self.width if exact else None, depth
        )


class StateKey(config.Struct, frozen=True, kw_only=True):
    """The key of a part of the state in the message: a vector of float32 with the numbers `names`,
    times `scale` plus `offset` where those are set, with one number per name.

    The names are those of `headway.edge.policy.observation`, for values in SI units. `action.NAME`
    is the column NAME of the policy's previous action, as the server answered it, 0 at the start of
    an episode. A name that is a number itself, such as "0.0", stands for that number: the server
    wants something there that this robot does not have."""

    key: str
    names: tuple[str, ...]
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for key in ("scale", "offset"):
            values = getattr(self, key)
            if values is not None and len(values) != len(self.names):
                raise ValueError(
                    f"layout: state `{self.key}` has {len(self.names)} names, {len(values)} of "
                    f"{key}"
                )
            if not all(map(math.isfinite, values or ())):
                raise ValueError(f"layout: state `{self.key}`: wanted a finite {key}")
        for name in self.names:
            if not math.isfinite(constant(name) or 0.0):
                raise ValueError(
                    f"layout: state `{self.key}`: wanted a finite number, found {name}"
                )


def constant(name: str) -> float | None:
    """The number that `name` of a `StateKey` stands for, None for the name of a measured one."""
    try:
        return float(name)
    except ValueError:
        return None


class Layout(config.Struct, frozen=True, kw_only=True):
    """What a policy server wants and answers. `actions` says what the rows of its answer mean,
    which it sends under the key `answer`. `prompt`: the key of the instruction, None where the
    server wants none. `instructions`: those that the policy was taught, () for free text.
    `draw`: the key of two whole numbers for a policy that makes its chunks from noise, the seed of
    the episode and the number of the observation in it (see `Observation`), None where it wants
    none; in a message without them both are 0.
    `rate_hz`: inferences per second that the policy is made for, None for any. The policy's `name`
    and the `sha256` of its model are for messages and recordings."""

    actions: ActionSpace
    answer: str = "actions"
    images: tuple[ImageKey, ...] = ()
    state: tuple[StateKey, ...] = ()
    prompt: str | None = "prompt"
    instructions: tuple[str, ...] = ()
    draw: str | None = None
    rate_hz: Hertz | None = None
    name: str = "remote"
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.name.isprintable() or len(self.name) > 200:
            raise ValueError("layout: wanted a name of at most 200 printable characters")
        columns = self.actions.names
        for part in self.state:
            for name in part.names:
                if name.startswith(ACTION) and name.removeprefix(ACTION) not in columns:
                    raise ValueError(
                        f"layout: state `{part.key}` wants `{name}`, but the actions have the "
                        f"columns {', '.join(columns)}"
                    )

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of all numbers of the state that the loop provides, each once. The policy's
        previous action and constants are not among them: the client knows them."""
        names = dict.fromkeys(n for part in self.state for n in part.names)
        return tuple(n for n in names if not n.startswith(ACTION) and constant(n) is None)

    @property
    def needs(self) -> Needs:
        """What has to hold before a run begins."""
        if self.prompt is None:
            instructions: tuple[str, ...] | None = ()
        else:
            instructions = self.instructions or None
        return Needs(
            rate_hz=self.rate_hz,
            images=tuple(i.need for i in self.images),
            instructions=instructions,
        )


def of_bundle(manifest: Manifest) -> Layout:
    """The layout that `headway serve` uses for the bundle with this manifest. The state is sent in
    SI units, and images in the size that the model takes, unless the bundle fits other sizes by
    itself; the server applies the bundle's own units, mean and standard deviation. Actions are sent
    in SI units, with the columns that the bundle names.

    Raises SpecMismatch for a bundle that is no policy, and for one that needs several steps, or its
    previous action: the protocol has no reset, so a server must not remember anything."""
    info = manifest.policy
    if info is None:
        raise SpecMismatch(
            f"wanted a bundle of kind policy, found {manifest.kind}: {manifest.name}"
        )
    own = [n for part in info.state for n in part.names if n.startswith(ACTION)]
    if info.steps > 1 or own:
        what = f"{info.steps} steps of its inputs" if info.steps > 1 else f"`{own[0]}`"
        raise SpecMismatch(
            f"{manifest.name} wants {what}, but a policy server is told the present alone: run the "
            "bundle on the robot's own computer"
        )
    folder = {"rgb8": "image", "depth_mm": "depth"}
    names = loop_names(info.state)
    return Layout(
        name=manifest.name,
        sha256=manifest.files[manifest.onnx].sha256,
        images=tuple({
            (i.camera, i.encoding): ImageKey(
                camera=i.camera, key=f"observation/{folder[i.encoding]}/{i.camera}",
                encoding=i.encoding,
                height=i.height if i.fit == "exact" else None,
                width=i.width if i.fit == "exact" else None,
            )
            for i in info.images
        }.values()),
        state=(StateKey(key="observation/state", names=names),) if names else (),
        prompt="prompt" if info.instruction is not None else None,
        instructions=_texts(info.instruction),
        draw="observation/draw" if info.noise is not None else None,
        rate_hz=info.rate_hz,
        actions=structs.replace(info.actions, units=None, scale=None, offset=None),
    )  # fmt: skip


def _texts(spec: InstructionSpec | None) -> tuple[str, ...]:
    """The instructions that the policy was taught, () for free text."""
    if isinstance(spec, EmbeddingSpec):
        spec = spec.text
    return () if spec is None else spec.texts or ()


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
