"""Policies, and the workers that run them beside the loop.

In real time a policy has a process of its own (`headway.edge.policy.worker.process`), which always
takes the newest observation, never a queue of them. In lock-step it runs in place (`InlineWorker`),
and its chunk becomes available `latency_s` of virtual time later, so that a simulated run has the
delay of a real one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from time import monotonic_ns
from typing import NamedTuple, Protocol

import msgspec

from headway.clock import NS
from headway.drivers.kinematics import Chain
from headway.edge.motion.chunks import JointChunk, to_joints
from headway.errors import ConfigError, PolicyError
from headway.types import Chunk, Observation


class ImageNeed(msgspec.Struct, frozen=True):
    """What a policy wants of a camera: its size [px], None for any, and whether depth too."""

    camera: str
    height: int | None = None
    width: int | None = None
    depth: bool = False


class Needs(msgspec.Struct, frozen=True):
    """What a policy is made for, as far as it says.

    `rate_hz`: inferences a second. `chunk_s`: how long its chunks last. `instructions`: those that
    it knows, () for a policy that takes none, None for free text.
    """

    rate_hz: float | None = None
    chunk_s: float | None = None
    images: tuple[ImageNeed, ...] = ()
    instructions: tuple[str, ...] | None = None


class Policy(Protocol):
    """Observation in, chunk out. `cameras` and `state_names` say what it wants to see,
    `chunk_shape` is that of its actions (h, d), `needs` what has to hold before a run begins."""

    name: str
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    chunk_shape: tuple[int, int]
    needs: Needs

    def instruction(self, text: str) -> int:
        """Index of an instruction in the vocabulary. Raises SpecMismatch."""

    def reset(self) -> None: ...
    def infer(self, obs: Observation) -> Chunk:
        """A chunk relative to `obs.base`."""


class Ready(msgspec.Struct, frozen=True):
    """A chunk as inferred and as joints, and when that was on CLOCK_MONOTONIC: the observation
    handed over, inference begun, chunk done."""

    chunk: Chunk
    joints: JointChunk
    submitted_ns: int
    started_ns: int
    done_ns: int


class About(msgspec.Struct, frozen=True):
    """What the policy behind a worker is and wants."""

    name: str
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    chunk_shape: tuple[int, int]
    needs: Needs = Needs()


class FrameShape(NamedTuple):
    """What a camera's frames look like [px]."""

    height: int
    width: int
    depth: bool


class Worker(Protocol):
    """`submit` hands over an observation and never waits; `take` returns a finished chunk once, or
    None."""

    about: About

    @property
    def trouble(self) -> str:
        """Why no chunk may come for a while: the policy is being started again. Else ""."""

    def reset(self, instruction: str) -> int:
        """Begin an episode: what was asked before is dropped. Returns the instruction's index.
        Raises SpecMismatch for one that the policy does not know, PolicyError when it is gone."""

    def submit(self, obs: Observation) -> None: ...
    def take(self, now_ns: int) -> Ready | None:
        """The newest chunk that is ready by now. Raises PolicyError, once, for an inference that
        failed, and always when the policy is gone for good."""

    def close(self) -> None: ...


def about(policy: Policy) -> About:
    return About(policy.name, policy.cameras, policy.state_names, policy.chunk_shape, policy.needs)


def check_cameras(
    policy: About, cameras: Collection[str], frames: Mapping[str, FrameShape]
) -> None:
    """Whether each camera that the policy wants is among `cameras`, and gives what it wants where
    that is among `frames`. Raises ConfigError."""
    for camera in policy.cameras:
        if camera not in cameras:
            have = ", ".join(cameras) or "none"
            raise ConfigError(f"policy {policy.name} wants camera `{camera}`, found {have}")
    for need in policy.needs.images:
        if need.camera not in frames:
            continue
        height, width, depth = frames[need.camera]
        if (need.height or height, need.width or width) != (height, width):
            raise ConfigError(
                f"policy {policy.name} wants {need.width}x{need.height} from camera "
                f"`{need.camera}`, found {width}x{height}: set width = {need.width} and height = "
                f"{need.height} in its [[camera]] section"
            )
        if need.depth and not depth:
            raise ConfigError(
                f"policy {policy.name} wants depth from camera `{need.camera}`, which gives none: "
                "set depth = true in its [[camera]] section, or choose a camera with depth"
            )


def infer(policy: Policy, chain: Chain, obs: Observation, submitted_ns: int) -> Ready:
    """One inference with the joints that go with it. Raises PolicyError for whatever the policy
    raises: a policy's bug is not the loop's."""
    started = monotonic_ns()
    try:
        chunk = policy.infer(obs)
        joints = to_joints(chunk, chain, obs.base_q)
    except Exception as e:
        raise PolicyError(f"{type(e).__name__}: {e}") from e
    return Ready(chunk, joints, submitted_ns, started, monotonic_ns())


class InlineWorker:
    """In lock-step: infers in `submit`."""

    trouble = ""

    def __init__(self, policy: Policy, chain: Chain, latency_s: float) -> None:
        """`latency_s` from an observation to the tick that its chunk is ready for [s]."""
        self.policy, self._chain, self.latency_s = policy, chain, latency_s
        self.about = about(policy)
        self._latency_ns = round(latency_s * NS)
        self._ready: list[tuple[int, Ready | PolicyError]] = []

    def reset(self, instruction: str) -> int:
        self._ready = []
        self.policy.reset()
        return self.policy.instruction(instruction)

    def submit(self, obs: Observation) -> None:
        found: Ready | PolicyError
        try:
            found = infer(self.policy, self._chain, obs, monotonic_ns())
        except PolicyError as e:
            found = e
        self._ready.append((obs.t_ns + self._latency_ns, found))

    def take(self, now_ns: int) -> Ready | None:
        if not self._ready or self._ready[0][0] > now_ns:
            return None
        due = [r for t, r in self._ready if t <= now_ns]
        self._ready = [(t, r) for t, r in self._ready if t > now_ns]
        newest = due[-1]
        if isinstance(newest, PolicyError):
            raise newest
        return newest

    def close(self) -> None: ...
