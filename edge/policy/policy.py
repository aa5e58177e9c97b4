"""What a policy is, and the workers that run one beside the loop.

In real time a policy has a process of its own (`headway.edge.policy.worker.process`), which always
answers the newest observation and drops older ones. In lock-step it runs in the loop's process
(`InlineWorker`), and its chunk becomes available `latency_s` of virtual time after the observation,
so that a simulated run has the delay of a real one.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from time import monotonic_ns
from typing import NamedTuple, Protocol

import msgspec

from headway.actions import ActionSpace
from headway.clock import NS
from headway.edge.motion.actions import Limb, to_joints
from headway.edge.motion.chunks import JointChunk
from headway.errors import ConfigError, HeadwayError, PolicyError, refuse
from headway.types import Chunk, Observation


class ImageNeed(msgspec.Struct, frozen=True):
    """What a policy wants of a camera: the image size [px], None for any, and whether depth too."""

    camera: str
    height: int | None = None
    width: int | None = None
    depth: bool = False


class Needs(msgspec.Struct, frozen=True):
    """What a policy is made for, as far as it says.

    `rate_hz`: inferences per second. `images`: what it wants of cameras. `instructions`: those that
    it knows, () for a policy that takes none, None for free text. `steps`: how many moments an
    observation has to show, the present one included, `stride_s` [s] apart.
    """

    rate_hz: float | None = None
    images: tuple[ImageNeed, ...] = ()
    instructions: tuple[str, ...] | None = None
    steps: int = 1
    stride_s: float = 0.0


class Policy(Protocol):
    """Turns an observation into a chunk. `cameras` and `state_names` say what it wants to see,
    `actions` what the rows of its chunks mean, and `needs` has to be met before a run begins. A
    policy that chooses among chunks may also have `candidates`, how many it makes at a time, and
    one whose chunks have numbers to be recorded in their `meta` may name them in `recorded`."""

    name: str
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    actions: ActionSpace
    needs: Needs

    def check_instruction(self, text: str) -> None:
        """Raises SpecMismatch for an instruction that the policy does not know, Refused for one
        that it takes for nothing that it can carry out. A policy that takes no instruction accepts
        any text."""

    def reset(self) -> None:
        """Begin an episode: forget what was kept from the one before."""

    def infer(self, obs: Observation) -> Chunk:
        """The chunk for `obs`, with actions relative to `obs.base`. May raise anything. After
        Refused, the arm stops and holds until there is another instruction."""


class Ready(msgspec.Struct, frozen=True):
    """A chunk as inferred, the same in joint space, and the times on CLOCK_MONOTONIC [ns] at which
    the observation was handed over, the inference began, and the chunk was done."""

    chunk: Chunk
    joints: JointChunk
    submitted_ns: int
    started_ns: int
    done_ns: int


class About(msgspec.Struct, frozen=True):
    """Description of the policy behind a worker; the fields are those of `Policy`. `candidates`:
    how many chunks it makes at a time, of which it answers one; 0 where it does not say.
    `recorded`: the numbers in the `meta` of its chunks that a recording keeps."""

    name: str
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    actions: ActionSpace
    needs: Needs = Needs()
    candidates: int = 0
    recorded: tuple[str, ...] = ()

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """The shape (h, d) of its chunks."""
        return self.actions.chunk, len(self.actions.names)


class FrameShape(NamedTuple):
    """Size [px] of a camera's frames, and whether they have depth."""

    height: int
    width: int
    depth: bool


class Worker(Protocol):
    """Runs a policy beside the loop. `submit` hands over an observation and never waits; `take`
    returns a finished chunk once, else None. `about` describes the policy."""

    about: About

    @property
    def trouble(self) -> str:
        """Why the policy is being started again, so that no chunk comes for a while; else ""."""

    def reset(self, instruction: str) -> None:
        """Begin an episode: observations and chunks of the one before are dropped. Raises
        SpecMismatch for an instruction that the policy does not know, PolicyError when the policy
        is gone."""

    def submit(self, obs: Observation) -> None:
        """Hand over the observation `obs`, to be answered by a chunk. Never waits for the policy's
        process."""

    def take(self, now_ns: int) -> Ready | None:
        """The newest chunk that is ready at `now_ns` [ns], None without a new one. Raises
        PolicyError once for an inference that failed, Refused where it was for its instruction, and
        PolicyError at every call when the policy is gone for good."""

    def close(self) -> None:
        """End the policy's process, if the worker has started one."""


def about(policy: Policy) -> About:
    """The description of `policy`, as a worker carries it."""
    return About(
        policy.name, policy.cameras, policy.state_names, policy.actions, policy.needs,
        getattr(policy, "candidates", 0), getattr(policy, "recorded", ()),
    )  # fmt: skip


def check_cameras(
    policy: About, cameras: Collection[str], frames: Mapping[str, FrameShape]
) -> None:
    """Raises the first of `camera_misfits`."""
    refuse(camera_misfits(policy, cameras, frames))


def camera_misfits(
    policy: About, cameras: Collection[str], frames: Mapping[str, FrameShape]
) -> Iterator[ConfigError]:
    """An error for each camera that the policy wants and that is not among `cameras`, and for each
    in `frames` whose frames have not the size or the depth that it wants."""
    for camera in policy.cameras:
        if camera not in cameras:
            have = ", ".join(cameras) or "none"
            yield ConfigError(
                f"policy {policy.name} wants camera `{camera}`, found {have}: add a [[camera]] "
                f'section with name = "{camera}", or rename one'
            )
    for need in policy.needs.images:
        if need.camera not in frames:
            continue
        height, width, depth = frames[need.camera]
        if (need.height or height, need.width or width) != (height, width):
            yield ConfigError(
                f"policy {policy.name} wants {need.width}x{need.height} from camera "
                f"`{need.camera}`, found {width}x{height}: set width = {need.width} and height = "
                f"{need.height} in its [[camera]] section"
            )
        if need.depth and not depth:
            yield ConfigError(
                f"policy {policy.name} wants depth from camera `{need.camera}`, which gives none: "
                "set depth = true in its [[camera]] section, or choose a camera with depth"
            )


def place_of(e: BaseException) -> str:
    """Where somebody else's code raised `e`, as the end of a message: " (nod.py:12, in infer)".
    That is the last frame that is neither in Headway nor in an installed package, else the last one
    that is not in Headway; "" where there is none, and for Headway's own errors, which say it all.
    """
    if isinstance(e, HeadwayError):
        return ""
    found = theirs = ""
    library = sysconfig.get_path("stdlib")
    at = e.__traceback__
    while at is not None:
        module = str(at.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        code = at.tb_frame.f_code
        if module not in ("headway", "importlib"):
            found = f" ({Path(code.co_filename).name}:{at.tb_lineno}, in {code.co_name})"
            path = Path(code.co_filename)
            installed = {"site-packages", "dist-packages"} & set(path.parts)
            if not installed and not path.is_relative_to(library):
                theirs = found
        at = at.tb_next
    return theirs or found


def infer(policy: Policy, limb: Limb, obs: Observation, submitted_ns: int) -> Ready:
    """One inference of `policy`, and its chunk in the joint space of `limb`.
    `submitted_ns` [ns]: when `obs` was handed over, on CLOCK_MONOTONIC. Raises PolicyError for
    whatever the policy raises, so that a bug of a policy does not end the loop."""
    started = monotonic_ns()
    try:
        chunk = policy.infer(obs)
        joints = to_joints(chunk, policy.actions, limb, obs.base_q)
    except PolicyError:  # of a policy behind a process, or that refuses its instruction
        raise
    except Exception as e:
        raise PolicyError(f"{type(e).__name__}: {e}{place_of(e)}") from e
    return Ready(chunk, joints, submitted_ns, started, monotonic_ns())


class InlineWorker:
    """The worker of lock-step runs: infers within `submit`, in the loop's process."""

    trouble = ""

    def __init__(self, policy: Policy, limb: Limb, latency_s: float) -> None:
        """`limb`: the arm that it moves; `latency_s` [s]: virtual time from an observation to the
        tick at which its chunk is ready."""
        self.policy, self._limb, self.latency_s = policy, limb, latency_s
        self.about = about(policy)
        self._latency_ns = round(latency_s * NS)
        self._ready: list[tuple[int, Ready | PolicyError]] = []

    def reset(self, instruction: str) -> None:
        """As `Worker.reset`, for which the policy is reset too."""
        self._ready = []
        self.policy.reset()
        self.policy.check_instruction(instruction)

    def submit(self, obs: Observation) -> None:
        """Infer the chunk for `obs` before returning. An inference that fails raises nothing here:
        `take` raises its error when the chunk would have been ready."""
        found: Ready | PolicyError
        try:
            found = infer(self.policy, self._limb, obs, monotonic_ns())
        except PolicyError as e:
            found = e
        self._ready.append((obs.t_ns + self._latency_ns, found))

    def take(self, now_ns: int) -> Ready | None:
        """As `Worker.take`. A chunk is ready `latency_s` after the time of its observation. Where
        several are ready, the older ones are dropped, errors among them."""
        if not self._ready or self._ready[0][0] > now_ns:
            return None
        due = [r for t, r in self._ready if t <= now_ns]
        self._ready = [(t, r) for t, r in self._ready if t > now_ns]
        newest = due[-1]
        if isinstance(newest, PolicyError):
            raise newest
        return newest

    def close(self) -> None:
        """Does nothing: there is no process to end."""
