"""Which keys of an observation a policy server wants, and what its actions mean.

`headway serve` puts its `Layout` into the metadata that every client is sent first, under the key
`headway`; for other servers it stands in the run configuration as `[policy.remote.layout]`.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway import config
from headway.bundle import Manifest
from headway.drivers.kinematics import mat_to_rotvec, quat_to_mat, rotvec_to_mat
from headway.edge.chunks import ACTION_NAMES
from headway.edge.remote import MAX_BYTES
from headway.errors import BadMessage, ConfigError, SpecMismatch
from headway.types import Pose, Vec

SECTION = "headway"  # of the metadata
LONGEST = 4096  # rows of a chunk; recordings have room for all of them
IGNORED = "-"  # name of a column of the answer that is not used


class ImageKey(config.Struct, frozen=True, kw_only=True):
    """Where a camera's picture goes: (h, w, 3) uint8, or (h, w) uint16 [mm] for depth. `order`
    "chw" sends (3, h, w). A dot in a key leads into a nested map: "images.cam_high"."""

    camera: str
    key: str
    encoding: Literal["rgb8", "depth_mm"] = "rgb8"
    order: Literal["hwc", "chw"] = "hwc"
    height: int | None = None  # None: any, which servers that resize by themselves accept
    width: int | None = None


class StateKey(config.Struct, frozen=True, kw_only=True):
    """Where part of the state goes, as a vector of float32; names as in `headway.edge.observe`."""

    key: str
    names: tuple[str, ...]


class Actions(config.Struct, frozen=True, kw_only=True):
    """What a row of the answer means. Headway plays TCP motion: position [m], rotation vector
    [rad] and grip, 0 open to 1 closed, relative to the TCP pose at the chunk's start.

    `relative_to`: "chunk", or "previous" for steps that add up. `axes`: those of the "tcp" at the
    chunk's start (of the previous pose, for steps), or of the robot's "base". `scale`: factors, one
    per column, before anything else. `grip_open` and `grip_closed`: what the server says for them.
    """

    chunk: int  # rows used; a server may send more
    dt_s: float
    key: str = "actions"
    names: tuple[str, ...] = ACTION_NAMES
    relative_to: Literal["chunk", "previous"] = "chunk"
    axes: Literal["tcp", "base"] = "tcp"
    scale: tuple[float, ...] | None = None
    grip_open: float = 0.0
    grip_closed: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.chunk <= LONGEST or not 0.0 < self.dt_s < math.inf:
            raise ValueError(
                f"actions: wanted a chunk of 1 to {LONGEST} and dt_s > 0, found {self.chunk}, "
                f"{self.dt_s}"
            )
        used = [n for n in self.names if n != IGNORED]
        if sorted(used) != sorted(ACTION_NAMES):
            raise ValueError(
                f"actions: wanted the names {', '.join(ACTION_NAMES)} in any order, and "
                f"{IGNORED!r} for columns to ignore; found {', '.join(self.names)}"
            )
        if self.scale is not None and len(self.scale) != len(self.names):
            raise ValueError(f"actions: {len(self.names)} names, {len(self.scale)} scales")
        if self.grip_open == self.grip_closed:
            raise ValueError("actions: wanted grip_open and grip_closed to differ")

    @property
    def plain(self) -> bool:
        """Rows are what Headway plays: they pass unchanged, bit for bit."""
        return (
            self.names == ACTION_NAMES
            and (self.relative_to, self.axes, self.scale) == ("chunk", "tcp", None)
            and (self.grip_open, self.grip_closed) == (0.0, 1.0)
        )


class Layout(config.Struct, frozen=True, kw_only=True):
    """`instructions`: what the policy was taught; empty: the prompt is free text. `prompt`: its
    key; None: the server wants none."""

    actions: Actions
    images: tuple[ImageKey, ...] = ()
    state: tuple[StateKey, ...] = ()
    prompt: str | None = "prompt"
    instructions: tuple[str, ...] = ()
    name: str = "remote"
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.name.isprintable() or len(self.name) > 200:
            raise ValueError("layout: wanted a name of at most 200 printable characters")

    @property
    def state_names(self) -> tuple[str, ...]:
        return tuple(n for part in self.state for n in part.names)


class RemoteConfig(config.Struct, frozen=True):
    """`[policy.remote]`. `layout` is for servers that do not describe themselves; one that does is
    believed instead."""

    url: str  # ws://HOST:PORT or wss://HOST:PORT
    timeout_s: float = 2.0  # of an inference, the way there and back included
    connect_s: float = 5.0
    max_bytes: int = MAX_BYTES  # of a message
    layout: Layout | None = None


def of_bundle(manifest: Manifest) -> Layout:
    """The keys by which `headway serve` is asked. Raises SpecMismatch for a bundle that is no
    policy."""
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
        state=(StateKey(key="observation/state", names=info.state_names),),
        instructions=info.instructions,
        actions=Actions(chunk=info.chunk, dt_s=info.dt_s, names=info.action_names),
    )  # fmt: skip


def to_metadata(layout: Layout) -> dict[str, Any]:
    """Plain data, as it goes over the wire."""
    data: dict[str, Any] = msgspec.to_builtins(layout)
    return {SECTION: data}


def from_metadata(metadata: dict[Any, Any], where: str) -> Layout | None:
    """None when the server does not describe itself. Raises SpecMismatch."""
    if SECTION not in metadata:
        return None
    try:
        return config.decode(metadata[SECTION], Layout, f"{where}: metadata `{SECTION}`")
    except (ConfigError, TypeError) as e:  # TypeError: keys that are no strings
        raise SpecMismatch(f"{e}: use the same version of Headway on both sides") from None


def to_actions(rows: NDArray[Any], spec: Actions, base: Pose) -> NDArray[np.float32]:
    """Rows (>= chunk, d) as a server sent them -> actions (chunk, 7) as Headway plays them, at the
    TCP pose `base`. Steps compose as T_k = T_(k-1) * S_k in the axes of the TCP; in those of the
    base, p_k = p_(k-1) + dp_k and R_k = exp(r_k) R_(k-1). Raises BadMessage for NaN or infinity."""
    used = rows[: spec.chunk]
    if spec.plain and used.dtype == np.float32:
        actions: NDArray[np.float32] = used.copy()
    else:
        with np.errstate(over="ignore"):
            table = used.astype(np.float64)
            if spec.scale is not None:
                table = table * np.asarray(spec.scale)
            _finite(table.astype(np.float32))
            actions = (table if spec.plain else _played(table, spec, base)).astype(np.float32)
    _finite(actions)
    return actions


def _finite(actions: NDArray[np.float32]) -> None:
    if not np.isfinite(actions).all():
        raise BadMessage("wanted finite actions, found NaN or infinity: check the policy")


def _played(table: Vec, spec: Actions, base: Pose) -> Vec:
    table = table[:, [spec.names.index(n) for n in ACTION_NAMES]]
    out: Vec = table.copy()
    out[:, 6] = (table[:, 6] - spec.grip_open) / (spec.grip_closed - spec.grip_open)
    if spec.axes == "base":  # a rotation about base axes is one about the same axes, seen from R
        R = quat_to_mat(base.quat)
        out[:, :3], out[:, 3:6] = table[:, :3] @ R, table[:, 3:6] @ R
    if spec.relative_to == "previous":
        p, R_k = np.zeros(3), np.eye(3)
        for row in out:
            step = rotvec_to_mat(row[3:6])
            p = p + (R_k @ row[:3] if spec.axes == "tcp" else row[:3])
            R_k = R_k @ step if spec.axes == "tcp" else step @ R_k
            row[:3], row[3:6] = p, mat_to_rotvec(R_k)
    return out
