"""The messages between the loop and the policy's process, over a socket that keeps messages whole
(SOCK_SEQPACKET). A message is one byte that names its kind, then JSON or a fixed struct. Arrays go
through shared memory, `Tensors`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from headway.actions import ActionSpace
from headway.edge.motion.chunks import GripKind, JointChunk
from headway.edge.policy.policy import FrameShape, Ready
from headway.edge.policy.worker.tensors import Fields
from headway.errors import PolicyError
from headway.types import Chunk, Frame, Moment, Observation, Pose

DESCRIBE, MEMORY, READY = b"D", b"M", b"R"  # the handshake, in this order
RESET, NEW, QUIT = b"S", b"O", b"Q"  # loop -> policy
CHUNK, ERROR, ANSWER = b"C", b"E", b"A"  # policy -> loop
LONGEST = 1 << 16  # bytes of a message
LONGEST_INSTRUCTION = 4096  # bytes

GRIP_KINDS = get_args(GripKind)
# What is passed on of a chunk's `meta`; other names stay in the policy's process.
META = ("candidates", "score", "cost_ms", "demonstration", "operator", "source")
# NEW and CHUNK: kind, slot, episode, number of the observation or chunk, and for CHUNK the number
# of the observation that it answers.
SLOT = struct.Struct("<cxHIQQ")


def pack(kind: bytes, content: Mapping[str, Any]) -> bytes:
    """A message of one of the kinds above with `content` as JSON. Raises PolicyError for one that
    is longer than LONGEST bytes, of which the other side would lose the rest."""
    message = kind + json.dumps(content).encode()
    if len(message) > LONGEST:
        raise PolicyError(
            f"wanted a message of at most {LONGEST} bytes between the loop and its policy, found "
            f"{len(message)}: shorten what it lists (instructions, names) or says"
        )
    return message


def unpack(message: bytes) -> Any:
    """The content of a message that `pack` made."""
    return json.loads(message[1:])


def observation_fields(
    cameras: Mapping[str, FrameShape], state: int, joints: int, steps: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The arrays of an observation, name -> (dtype, shape): a state of `state` numbers, `joints` of
    the arm, and the images of `cameras`. State and images are there for `steps` moments, the oldest
    one first."""
    fields: dict[str, tuple[str, tuple[int, ...]]] = {
        "t_ns": ("<i8", ()),
        "submitted_ns": ("<i8", ()),
        "seed": ("<i8", ()),
        "number": ("<i8", ()),
        "instruction": ("u1", (LONGEST_INSTRUCTION,)),
        "instruction_bytes": ("<i8", ()),
        "state": ("<f4", (steps, state)),
        "base_q": ("<f8", (joints,)),
        "base": ("<f8", (7,)),
    }
    for name, shape in cameras.items():
        fields[f"{name}/rgb"] = ("u1", (steps, shape.height, shape.width, 3))
        fields[f"{name}/K"] = ("<f8", (steps, 3, 3))
        if shape.depth:
            fields[f"{name}/depth"] = ("<u2", (steps, shape.height, shape.width))
    return fields


def chunk_fields(space: ActionSpace, joints: int) -> Fields:
    """The arrays of a chunk of actions in `space`, and of its waypoints in joint space, for an arm
    with `joints` joints."""
    rows = space.rows
    return {
        "times": ("<i8", (5,)),  # t0, dt, submitted, started, done [ns]
        "actions": ("<f4", (space.chunk, len(space.names))),
        "base": ("<f8", (7,)),
        "q": ("<f8", (rows, joints)),
        "grip": ("<f8", (rows,)),
        "grip_force": ("<f8", (rows,)),
        "grip_kind": ("<i8", ()),  # index in GRIP_KINDS
        "ends_at": ("<i8", ()),  # -1: none
        "residual": ("<f8", ()),
        "meta": ("<f8", (len(META),)),  # NaN: it is not there
    }


def put_observation(out: dict[str, Any], obs: Observation) -> None:
    """Copy `obs` into `out`, the arrays of `observation_fields`. Raises ValueError for images of
    another shape or type, or without depth, and for an instruction that is too long."""
    text = obs.instruction.encode()
    if len(text) > LONGEST_INSTRUCTION:
        raise ValueError(
            f"wanted an instruction of at most {LONGEST_INSTRUCTION} bytes, found {len(text)}"
        )
    out["t_ns"][...], out["instruction_bytes"][...] = obs.t_ns, len(text)
    out["seed"][...], out["number"][...] = obs.seed, obs.number
    out["instruction"][: len(text)] = np.frombuffer(text, np.uint8)
    out["base_q"][:] = obs.base_q
    out["base"][:3], out["base"][3:] = obs.base.pos, obs.base.quat
    for k, moment in enumerate((*obs.history, Moment(obs.images, obs.state))):
        out["state"][k] = moment.state
        for name, frame in moment.images.items():
            if f"{name}/rgb" in out:
                _put_frame(out, name, k, frame)


def _put_frame(out: dict[str, Any], name: str, k: int, frame: Frame) -> None:
    _same(out[f"{name}/rgb"][k], frame.rgb, f"camera {name}")
    out[f"{name}/rgb"][k] = frame.rgb
    out[f"{name}/K"][k] = frame.intrinsics
    if f"{name}/depth" in out:
        if frame.depth is None:
            raise ValueError(f"camera {name}: wanted depth, found none")
        _same(out[f"{name}/depth"][k], frame.depth, f"camera {name}, depth")
        out[f"{name}/depth"][k] = frame.depth


def _same(place: Any, found: Any, what: str) -> None:
    if place.shape != found.shape or place.dtype != found.dtype:
        raise ValueError(
            f"{what}: wanted {place.shape} {place.dtype} as at the start of the run, "
            f"found {found.shape} {found.dtype}"
        )


def get_observation(found: dict[str, Any], cameras: Mapping[str, FrameShape]) -> Observation:
    """A copy of the observation in the arrays `found`, which the loop overwrites some observations
    later."""
    moments = []
    for k, state in enumerate(found["state"].copy()):
        images = {
            name: Frame(
                found[f"{name}/rgb"][k].copy(),
                found[f"{name}/depth"][k].copy() if shape.depth else None,
                found[f"{name}/K"][k].copy(),
                name,
            )
            for name, shape in cameras.items()
        }
        moments.append(Moment(images, state))
    *history, now = moments
    base = found["base"].copy()
    # The loop may be overwriting the text: whoever calls this checks that, and drops the copy.
    text = found["instruction"][: int(found["instruction_bytes"])].tobytes()
    return Observation(
        int(found["t_ns"]), now.images, now.state, text.decode(errors="replace"),
        found["base_q"].copy(), Pose(base[:3], base[3:]), tuple(history),
        int(found["seed"]), int(found["number"]),
    )  # fmt: skip


def put_ready(out: dict[str, Any], ready: Ready) -> None:
    """Copy a chunk and its times into `out`, the arrays of `chunk_fields`."""
    chunk, joints = ready.chunk, ready.joints
    stamps = ready.submitted_ns, ready.started_ns, ready.done_ns
    out["times"][:] = (chunk.t0_ns, chunk.dt_ns, *stamps)
    out["actions"][...] = chunk.actions
    out["base"][:3], out["base"][3:] = chunk.base.pos, chunk.base.quat
    out["q"][...], out["grip"][:] = joints.q, joints.grip
    out["grip_force"][:] = np.nan if joints.grip_force is None else joints.grip_force
    out["grip_kind"][...] = GRIP_KINDS.index(joints.grip_kind)
    out["ends_at"][...] = -1 if joints.ends_at is None else joints.ends_at
    out["residual"][...] = joints.residual
    out["meta"][:] = [chunk.meta.get(name, math.nan) for name in META]


def get_ready(found: dict[str, Any]) -> Ready:
    """A copy of the chunk in the arrays `found`."""
    t0, dt, *stamps = found["times"].tolist()
    base = found["base"].copy()
    meta = {k: x for k, x in zip(META, found["meta"].tolist(), strict=True) if x == x}
    chunk = Chunk(t0, dt, found["actions"].copy(), Pose(base[:3], base[3:]), meta=meta)
    force, ends_at = found["grip_force"].copy(), int(found["ends_at"])
    joints = JointChunk(
        t0, dt, found["q"].copy(), found["grip"].copy(), float(found["residual"]),
        grip_force=None if np.isnan(force).all() else force,
        grip_kind=GRIP_KINDS[int(found["grip_kind"]) % len(GRIP_KINDS)],
        ends_at=None if ends_at < 0 else ends_at,
    )  # fmt: skip
    return Ready(chunk, joints, *stamps)


def empty_observation(
    cameras: Mapping[str, FrameShape],
    state: int,
    base_q: Any,
    base: Pose,
    instruction: str = "",
    steps: int = 1,
) -> Observation:
    """An observation to warm a policy up with: black images, a state of `state` zeros, both for
    `steps` moments, the `instruction`, and the joints `base_q` (n,) [rad] with their TCP pose
    `base` in the base frame."""
    images = {
        name: Frame(
            np.zeros((s.height, s.width, 3), np.uint8),
            np.zeros((s.height, s.width), np.uint16) if s.depth else None,
            np.eye(3),
            name,
        )
        for name, s in cameras.items()
    }
    numbers = np.zeros(state, np.float32)
    past = (Moment(images, numbers),) * (steps - 1)
    return Observation(0, images, numbers, instruction, base_q, base, past)
