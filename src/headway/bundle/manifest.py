"""The manifest of a bundle, `bundle.json`, as typed records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from headway.actions import ActionSpace
from headway.bundle.tensors import Image, StateInput, Tensor
from headway.config import Hertz, NotNegative, Positive, Seconds, Struct
from headway.instructions import InstructionSpec

SCHEMA = 2


class Noise(Struct, frozen=True, kw_only=True):
    """What a policy that makes its chunks from noise has beside an ordinary one: an input `input`
    (1, a) of standard normal numbers, and two outputs. `code` (1, c) is all that the part which
    makes chunks is given; `latent` (1, a) is the chunk in that part's own units.

    The manifest states the shapes of one chunk. A model that leaves the first dimension of `input`,
    `latent` and the answer open makes several chunks in one pass (`policy.candidates` of a run).

    `eyes` is a fingerprint of the part of the model that makes the code, of the exporter's choice.
    Policies with the same one give the same codes, so a critic of one judges the other. "": the
    SHA-256 of the whole model.

    With `code` and `latent` both "" the model has neither: it makes one chunk at a time, and no
    critic can judge it.
    """

    input: str = "noise"
    code: str = "code"
    latent: str = "latent"
    eyes: str = ""

    def __post_init__(self) -> None:
        if bool(self.code) != bool(self.latent):
            raise ValueError('noise: code and latent come together; "" for both: it has neither')

    @property
    def thought(self) -> tuple[str, ...]:
        """The outputs `code` and `latent`, () where there are none."""
        return (self.code, self.latent) if self.code else ()


class Policy(Struct, frozen=True, kw_only=True):
    """What fills the inputs of a policy's model, and what its answer means.

    `actions` says what the rows of the tensor `output` are; the model's other outputs have to be
    named in `ignored_outputs`. `instruction` says how the text of the
    instruction becomes a tensor; None: the policy takes no instruction. `noise`: what a policy that
    makes its chunks from noise has beside that; None: it has none. `stride_s` is the time
    between the moments of inputs with several `steps`. `rate_hz`: inferences per second.
    """

    actions: ActionSpace
    rate_hz: Hertz
    output: str = "actions"
    images: tuple[Image, ...] = ()
    state: tuple[StateInput, ...] = ()
    instruction: InstructionSpec | None = None
    noise: Noise | None = None
    stride_s: Seconds | None = None
    ignored_outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.steps > 1 and self.stride_s is None:
            raise ValueError(
                f"policy: an input is given {self.steps} steps: wanted `stride_s`, the time "
                "between them, found none"
            )
        if self.steps == 1 and self.stride_s is not None:
            raise ValueError("policy: `stride_s` wants an input with more than 1 of `steps`")

    @property
    def steps(self) -> int:
        """The most moments that one of its inputs is given."""
        return max([1, *(i.steps for i in self.images), *(s.steps for s in self.state)])


class Pro(Struct, frozen=True, kw_only=True):
    """What a PRO head was trained on. The reward is
    gamma * Phi(t+1) - Phi(t) - risk_weight * risk - stability_weight * (1 - stability).

    `robot`, `tick_hz` and `groups` say whose recordings it learned from; a run that differs is
    refused (headway.edge.pro.made_from). Left out, they state nothing."""

    spec_hash: str  # hash of the definition of the features, see headway.kernels.spec
    rate_hz: Hertz
    hidden: Annotated[int, Meta(ge=1)]
    masks: tuple[str, ...] = ()  # channel groups, in the order of the mask input
    # Names of the tasks that it knows, in the order of the features that say which one it is.
    tasks: tuple[str, ...] = ()
    robot: str = ""  # the name of the robot; "": any
    tick_hz: tuple[float, float] | None = None  # lowest and highest rate of the ticks [Hz]
    groups: tuple[str, ...] = ()  # the mask bits that were known in all recordings
    # What it learned, of completion, risk, unstable and time_to_go; the signals of others keep
    # their neutral values. Left out: all.
    taught: tuple[str, ...] = ()
    # What completion and time_to_go are about: the episode, or the line of an order that is due.
    # Then the reward's Phi begins anew with each line.
    about: Literal["episode", "line"] = "episode"
    # Risk is about a failure within this time [s]; None: the bundle does not say.
    risk_s: Positive | None = None
    # By output. The graph already applies these; they are stated for information only.
    temperature: dict[str, float] = msgspec.field(default_factory=dict)
    # Alarm levels by signal at which the metrics in `provenance` were counted, for information
    # only: a run takes its levels from a calibration, see headway.edge.pro.risk.
    thresholds: dict[str, float] = msgspec.field(default_factory=dict)
    gamma: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    risk_weight: NotNegative = 0.0
    stability_weight: NotNegative = 0.0

    def __post_init__(self) -> None:
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"pro: wanted tasks with distinct names, found {self.tasks}")
        check_rates("pro.tick_hz", self.tick_hz)


class Critic(Struct, frozen=True, kw_only=True):
    """A critic judges the chunks that a policy could play. Its inputs are the policy's `code`
    (1, c) and `latent` (1, a), see `Noise`; its output `score` (1,) says how much better than usual
    a chunk ends, and the chunk with the highest one is played. As for `Noise`, the model leaves the
    first dimension of `latent` and `score` open.

    `eyes` is what `Manifest.eyes` of the policies says that it judges: beside others it is
    refused. `policy` is the name of the one that it was trained for, for messages.
    """

    eyes: Annotated[str, Meta(min_length=1)]
    code: str = "code"
    latent: str = "latent"
    score: str = "score"
    policy: str = ""


def check_rates(key: str, rates: tuple[float, float] | None) -> None:
    """Raises ValueError for a lowest and a highest rate [Hz] that cannot be; `key` names them."""
    if rates is not None and not 0.0 < rates[0] <= rates[1]:
        raise ValueError(f"{key} wants the lowest and the highest rate [Hz], found {list(rates)}")


class Provenance(Struct, frozen=True, kw_only=True):
    """How the model was made, in enough detail to make it again."""

    command: str
    seed: int
    data: str
    date: str
    metrics: dict[str, float] = msgspec.field(default_factory=dict)


class File(Struct, frozen=True, kw_only=True):
    """SHA-256 checksum and size [bytes] that a file of the bundle must have."""

    sha256: str
    size: int


class Manifest(Struct, frozen=True, kw_only=True):
    """The content of bundle.json. `save` fills in `files`, by relative path."""

    kind: Literal["policy", "pro", "critic"]
    name: str
    onnx: str  # relative path of the model
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    provenance: Provenance
    policy: Policy | None = None
    pro: Pro | None = None
    critic: Critic | None = None
    schema: int = SCHEMA
    files: dict[str, File] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        sections = {"policy": self.policy, "pro": self.pro, "critic": self.critic}
        has = {name: section is not None for name, section in sections.items()}
        if has != {k: k == self.kind for k in has}:
            found = ", ".join(k for k, there in has.items() if there) or "none"
            raise ValueError(
                f"a bundle of kind {self.kind} wants the section `{self.kind}` alone, found {found}"
            )
        names = [t.name for t in (*self.inputs, *self.outputs)]
        if len(set(names)) != len(names) or not self.inputs or not self.outputs:
            raise ValueError(f"wanted inputs and outputs with distinct names, found {names}")
        if self.policy is not None:
            self._check_policy(self.policy)
        if self.critic is not None:
            self._check_critic(self.critic)

    @property
    def eyes(self) -> str:
        """What the codes of a policy that has them were made by: `Noise.eyes`, or the SHA-256 of
        the model; "" for every other bundle."""
        noise = self.policy.noise if self.policy is not None else None
        return "" if noise is None else noise.eyes or self.files[self.onnx].sha256

    def _check_policy(self, policy: Policy) -> None:
        """Raises ValueError for a policy whose inputs and output do not fit the tensors."""
        inputs = {t.name: t for t in self.inputs}
        filled: dict[str, str] = {}
        parts: list[tuple[str, Image | StateInput]] = [
            *((f"image of camera {i.camera}", i) for i in policy.images),
            *(("policy.state", s) for s in policy.state),
        ]
        for what, part in parts:
            if part.input not in inputs:
                raise ValueError(
                    f"{what}: no input is named `{part.input}`: the model's are {', '.join(inputs)}"
                )
            if part.input in filled:
                raise ValueError(
                    f"two of policy.images and policy.state fill the input `{part.input}`: give "
                    "each its own"
                )
            filled[part.input] = what
            part.check(inputs[part.input])
        for name in policy.instruction.inputs if policy.instruction is not None else ():
            if name not in inputs or name in filled:
                raise ValueError(
                    f"policy.instruction: wanted an input `{name}` of its own, the model's are "
                    f"{', '.join(inputs)}"
                )
            filled[name] = "policy.instruction"
        noise = policy.noise
        if noise is not None:
            if noise.input not in inputs or noise.input in filled:
                raise ValueError(
                    f"policy.noise: wanted an input `{noise.input}` of its own, the model's are "
                    f"{', '.join(inputs)}"
                )
            filled[noise.input] = "policy.noise"
        idle = [name for name in inputs if name not in filled]
        if idle:
            raise ValueError(
                f"nobody fills the input `{idle[0]}`: name it in policy.images, policy.state, "
                "policy.instruction or policy.noise, or export the model without it"
            )
        outputs = {t.name: t for t in self.outputs}
        thought = () if noise is None else noise.thought
        read = (policy.output, *thought, *policy.ignored_outputs)
        for name in read:
            if name not in outputs:
                raise ValueError(
                    f"policy: no output is named `{name}`: the model's are {', '.join(outputs)}"
                )
        _check_answer(outputs[policy.output], policy.actions)
        if noise is not None:
            if len(set(read)) < len(read):
                raise ValueError(
                    "policy.noise: wanted policy.output, code, latent and ignored_outputs as "
                    f"different outputs, found {', '.join(read)}"
                )
            _check_noise(noise, inputs[noise.input], outputs)
            rows = outputs[policy.output].shape
            if len(rows) != 3 or rows[0] != 1:
                raise ValueError(
                    f"output `{policy.output}`: a policy with noise wants (1, h, d), one chunk in "
                    f"its first dimension, found {rows}"
                )
        unread = [n for n in outputs if n not in read]
        if unread:
            raise ValueError(
                f"nobody reads the output `{unread[0]}`: list it in policy.ignored_outputs, or "
                "export the model without it"
            )

    def _check_critic(self, critic: Critic) -> None:
        """Raises ValueError for a critic with other tensors than its section names, or others than
        a critic has."""
        for what, tensors, names in (
            ("inputs", self.inputs, (critic.code, critic.latent)),
            ("outputs", self.outputs, (critic.score,)),
        ):
            found = {t.name: t for t in tensors}
            if sorted(found) != sorted(names):
                raise ValueError(
                    f"critic: wanted the {what} {', '.join(names)} alone, the model's are "
                    f"{', '.join(found)}"
                )
            for name in names:
                _check_plain(found[name], 1 if name == critic.score else 2)


def _check_noise(noise: Noise, given: Tensor, outputs: Mapping[str, Tensor]) -> None:
    """Raises ValueError for tensors that do not fit each other or the section `noise`; `given` is
    the input."""
    for tensor in (given, *(outputs[name] for name in noise.thought)):
        _check_plain(tensor, 2)
    if not noise.thought:
        return
    latent = outputs[noise.latent]
    if latent.shape != given.shape:
        raise ValueError(
            f"output `{latent.name}`: wanted {given.shape} as the input `{given.name}`, found "
            f"{latent.shape}"
        )


def _check_plain(tensor: Tensor, axes: int) -> None:
    """Raises ValueError for a tensor that is not one row of float32 as the graph has them, with
    this many `axes`."""
    fits = len(tensor.shape) == axes and tensor.shape[0] == 1 and tensor.dtype == "float32"
    if not fits or tensor.normalised or tensor.unit:
        wanted = "(1, n)" if axes == 2 else "(1,)"
        raise ValueError(
            f"tensor `{tensor.name}`: wanted float32 {wanted} without a unit, mean and std, found "
            f"{tensor.dtype} {tensor.shape} {tensor.unit}"
        )


def _check_answer(tensor: Tensor, space: ActionSpace) -> None:
    """Raises ValueError for an output that cannot hold the rows of `space`."""
    columns, shape = len(space.names), tensor.shape
    rows = math.prod(shape) // columns  # whatever axes of length 1 come before them
    fits = shape[-1:] == (columns,) and max((1, *shape[:-1])) == rows >= space.chunk
    if not fits or not tensor.floats:
        raise ValueError(
            f"output `{tensor.name}`: wanted floats (1, {space.chunk} or more, {columns}), by the "
            f"chunk and the names of policy.actions, found {tensor.dtype} {shape}"
        )
    if tensor.unit:
        raise ValueError(
            f"output `{tensor.name}`: its units stand in policy.actions, found the unit "
            f"{tensor.unit!r} too: leave that out"
        )
