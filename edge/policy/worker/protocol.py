"""The messages between the loop and the policy's process, over a socket that keeps messages whole
(SOCK_SEQPACKET). A message is one byte that names its kind, then JSON or a fixed struct. Arrays go
through shared memory, `Tensors`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from headway.edge.motion.chunks import JointChunk
from headway.edge.policy.policy import FrameShape, Ready
from headway.edge.policy.worker.tensors import Fields
from headway.types import Chunk, Frame, Observation, Pose

DESCRIBE, MEMORY, READY = b"D", b"M", b"R"  # the handshake, in this order
RESET, NEW, QUIT = b"S", b"O", b"Q"  # loop -> policy
CHUNK, ERROR, ANSWER = b"C", b"E", b"A"  # policy -> loop
LONGEST = 1 << 16  # bytes of a message

# NEW and CHUNK: kind, slot, episode, number of the observation or chunk, and for CHUNK the number
# of the observation that it answers.
SLOT = struct.Struct("<cxHIQQ")


def pack(kind: bytes, content: Mapping[str, Any]) -> bytes:
    """A message of one of the kinds above with `content` as JSON. Sockets refuse one that is longer
    than LONGEST bytes: whoever passes text on cuts it first."""
    return kind + json.dumps(content).encode()


def unpack(message: bytes) -> Any:
    """The content of a message that `pack` made."""
    return json.loads(message[1:])


def observation_fields(
    cameras: Mapping[str, FrameShape], state: int, joints: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The arrays of an observation, name -> (dtype, shape): a state of `state` numbers, `joints` of
    the arm, and the images of `cameras`."""
    fields: dict[str, tuple[str, tuple[int, ...]]] = {
        "t_ns": ("<i8", ()),
        "submitted_ns": ("<i8", ()),
        "instruction": ("<i8", ()),
        "state": ("<f4", (state,)),
        "base_q": ("<f8", (joints,)),
        "base": ("<f8", (7,)),
    }
    for name, shape in cameras.items():
        fields[f"{name}/rgb"] = ("u1", (shape.height, shape.width, 3))
        fields[f"{name}/K"] = ("<f8", (3, 3))
        if shape.depth:
            fields[f"{name}/depth"] = ("<u2", (shape.height, shape.width))
    return fields


def chunk_fields(chunk: tuple[int, int], joints: int) -> Fields:
    """The arrays of a chunk with actions of the shape `chunk`, (h, d), and of its waypoints in
    joint space, for `joints` of the arm."""
    h, d = chunk
    return {
        "times": ("<i8", (5,)),  # t0, dt, submitted, started, done [ns]
        "actions": ("<f4", (h, d)),
        "base": ("<f8", (7,)),
        "q": ("<f8", (h + 1, joints)),
        "grip": ("<f8", (h + 1,)),
        "residual": ("<f8", ()),
    }


def put_observation(out: dict[str, Any], obs: Observation) -> None:
    """Copy `obs` into `out`, the arrays of `observation_fields`. Raises ValueError for images of
    another shape or type, or without depth."""
    out["t_ns"][...], out["instruction"][...] = obs.t_ns, obs.instruction
    out["state"][:] = obs.state
    out["base_q"][:] = obs.base_q
    out["base"][:3], out["base"][3:] = obs.base.pos, obs.base.quat
    for name, frame in obs.images.items():
        _same(out[f"{name}/rgb"], frame.rgb, f"camera {name}")
        out[f"{name}/rgb"][...] = frame.rgb
        out[f"{name}/K"][...] = frame.intrinsics
        if f"{name}/depth" in out:
            if frame.depth is None:
                raise ValueError(f"camera {name}: wanted depth, found none")
            _same(out[f"{name}/depth"], frame.depth, f"camera {name}, depth")
            out[f"{name}/depth"][...] = frame.depth


def _same(place: Any, found: Any, what: str) -> None:
    if place.shape != found.shape or place.dtype != found.dtype:
        raise ValueError(
            f"{what}: wanted {place.shape} {place.dtype} as at the start of the run, "
            f"found {found.shape} {found.dtype}"
        )


def get_observation(found: dict[str, Any], cameras: Mapping[str, FrameShape]) -> Observation:
    """A copy of the observation in the arrays `found`, which the loop overwrites some observations
    later."""
    images = {
        name: Frame(
            found[f"{name}/rgb"].copy(),
            found[f"{name}/depth"].copy() if shape.depth else None,
            found[f"{name}/K"].copy(),
            name,
        )
        for name, shape in cameras.items()
    }
    base = found["base"].copy()
    return Observation(
        int(found["t_ns"]), images, found["state"].copy(), int(found["instruction"]),
        found["base_q"].copy(), Pose(base[:3], base[3:]),
    )  # fmt: skip


def put_ready(out: dict[str, Any], ready: Ready) -> None:
    """Copy a chunk and its times into `out`, the arrays of `chunk_fields`."""
    chunk, joints = ready.chunk, ready.joints
    stamps = ready.submitted_ns, ready.started_ns, ready.done_ns
    out["times"][:] = (chunk.t0_ns, chunk.dt_ns, *stamps)
    out["actions"][...] = chunk.actions
    out["base"][:3], out["base"][3:] = chunk.base.pos, chunk.base.quat
    out["q"][...], out["grip"][:] = joints.q, joints.grip
    out["residual"][...] = joints.residual


def get_ready(found: dict[str, Any]) -> Ready:
    """A copy of the chunk in the arrays `found`."""
    t0, dt, *stamps = found["times"].tolist()
    base = found["base"].copy()
    chunk = Chunk(t0, dt, found["actions"].copy(), Pose(base[:3], base[3:]))
    joints = JointChunk(t0, dt, found["q"].copy(), found["grip"].copy(), float(found["residual"]))
    return Ready(chunk, joints, *stamps)


def empty_observation(
    cameras: Mapping[str, FrameShape], state: int, base_q: Any, base: Pose
) -> Observation:
    """An observation to warm a policy up with: black images, a state of `state` zeros, and the
    joints `base_q` (n,) [rad] with their TCP pose `base` in the base frame."""
    images = {
        name: Frame(
            np.zeros((s.height, s.width, 3), np.uint8),
            np.zeros((s.height, s.width), np.uint16) if s.depth else None,
            np.eye(3),
            name,
        )
        for name, s in cameras.items()
    }
    return Observation(0, images, np.zeros(state, np.float32), 0, base_q, base)
