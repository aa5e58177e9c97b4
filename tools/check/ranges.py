"""Normalisation against what the robot can do at all. A mean and a standard deviation in degrees,
or of another robot's joints, give numbers that no value of this robot can have.

For numbers between `low` and `high` with the mean m, the standard deviation is at most
sqrt((high - m) (m - low)) (Bhatia and Davis 2000, "A better bound on the variance"). What exceeds
that bound by half is said to be impossible; less is left to those who choose rounded numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headway.actions import ActionSpace
from headway.bundle import Bundle, Image, StateInput, Tensor
from headway.edge.guard.guard import GuardConfig
from headway.edge.policy.bundle_inputs import ACTION, affine_of
from headway.edge.policy.observation import unit_of
from headway.errors import SpecMismatch
from headway.types import Limits

SLACK = 0.05  # of the width of a range: encoders and sensors go a little beyond
TOLERANCE = 1.5  # by which a standard deviation may exceed the largest possible one
WIDER = 3.0  # times as wide as the range may be what `low` and `high` span
MOST = 100.0  # a pixel that becomes a larger number was scaled wrongly


@dataclass(frozen=True)
class Range:
    """What a number can be, `low` to `high` in SI units, and `what` says so."""

    low: float
    high: float
    what: str


class Robot:
    """The ranges of the numbers of one robot: its `joints` with their `limits`; the gripper's
    `stroke` [m], None where it is not known; the largest force [N] and torque [Nm] that the F/T
    sensor measures, `wrench_max`, None where that is not known; and its guard's settings."""

    def __init__(
        self,
        joints: tuple[str, ...],
        limits: Limits,
        stroke: float | None,
        wrench_max: tuple[float, float] | None,
        guard: GuardConfig,
    ) -> None:
        self._joints = {name: i for i, name in enumerate(joints)}
        self._limits, self._stroke, self._guard = limits, stroke, guard
        self._wrench, self._of_wrench = wrench_max, "the F/T sensor's range"
        if wrench_max is None or not all(map(math.isfinite, wrench_max)):
            self._wrench = guard.force_max, guard.torque_max
            self._of_wrench = "the guard's limit"

    def state(self, name: str) -> Range | None:
        """The range of the number `name` of the state, None where none is known."""
        prefix, _, rest = name.partition(".")
        at, limits = self._joints.get(rest), self._limits
        if prefix in ("q", "q_ref", "dq", "tau"):
            if at is None:
                return None
            if prefix in ("q", "q_ref"):
                return _whole(limits.q_min[at], limits.q_max[at], "the joint's limits")
            if prefix == "dq":
                return _whole(-limits.dq_max[at], limits.dq_max[at], "the joint's speed limit")
            return _whole(-limits.tau_max[at], limits.tau_max[at], "the joint's torque limit")
        if prefix == "wrench":
            assert self._wrench is not None
            most = self._wrench[rest.startswith("t")]
            return _whole(-most, most, self._of_wrench)
        if name in ("gripper.width", "gripper.width_ref"):
            return self._opening()
        if prefix == "tcp" and rest in ("x", "y", "z"):
            return self._workspace("xyz".index(rest))
        if prefix in ("tcp", "goal") and unit_of(name) == "rad":
            return Range(-math.pi, math.pi, "an angle")
        if prefix in ("tcp", "goal") and unit_of(name) == "1":
            return Range(-1.0, 1.0, "a part of a rotation")
        shares = ("gripper", "phase", "pro", "station", "retried", "recovering")
        if prefix in shares and unit_of(name) == "1":
            return Range(0.0, 1.0, "a share")
        return None

    def action(self, space: ActionSpace, column: int) -> Range | None:
        """The range of the numbers in a `column` of actions, None where none is known."""
        columns, name = space.columns, space.names[column]
        if column == columns.grip:
            return self._opening() if space.grip == "width" else None
        if column in columns.joints and (at := self._joints.get(name)) is not None:
            low, high = self._limits.q_min[at], self._limits.q_max[at]
            fastest = self._limits.dq_max[at]
            if space.mode == "absolute":
                return _whole(low, high, "the joint's limits")
            if space.mode == "velocity":
                return _whole(-fastest, fastest, "the joint's speed limit")
            if space.mode == "step":
                step = fastest * space.dt_s
                return _whole(-step, step, "what the joint moves in dt_s at its speed limit")
            return _whole(low - high, high - low, "the width of the joint's limits")
        if column in columns.position and space.mode == "absolute":
            return self._workspace(columns.position.index(column))
        return None

    def _opening(self) -> Range | None:
        return None if self._stroke is None else Range(0.0, self._stroke, "the gripper's stroke")

    def _workspace(self, axis: int) -> Range | None:
        low, high = self._guard.workspace_min[axis], self._guard.workspace_max[axis]
        return _whole(low, high, "the guard's workspace")


def _whole(low: float, high: float, what: str) -> Range | None:
    finite = math.isfinite(low) and math.isfinite(high) and low < high
    return Range(float(low), float(high), what) if finite else None


def misfits(bundle: Bundle, robot: Robot) -> Iterator[SpecMismatch]:
    """An error for each number of the policy in `bundle` whose normalisation is impossible on
    `robot`."""
    info = bundle.manifest.policy
    assert info is not None
    tensors = {t.name: t for t in (*bundle.manifest.inputs, *bundle.manifest.outputs)}
    for part in info.state:
        yield from _of_state(bundle.manifest.name, tensors[part.input], part, robot)
    for image in info.images:
        if why := _of_image(tensors[image.input], image):
            yield SpecMismatch(f"policy {bundle.manifest.name}: image of {image.camera}: {why}")
    yield from _of_actions(bundle.manifest.name, tensors[info.output], info.actions, robot)


def counted(bundle: Bundle) -> int:
    """How many tensors and images of the policy in `bundle` are normalised outside the graph."""
    info = bundle.manifest.policy
    assert info is not None
    tensors = {t.name: t for t in (*bundle.manifest.inputs, *bundle.manifest.outputs)}
    filled = [tensors[part.input].normalised for part in info.state]
    images = [i.mean is not None or tensors[i.input].normalised for i in info.images]
    return sum(filled) + sum(images) + (tensors[info.output].normalised or bool(info.actions.scale))


def _of_state(
    policy: str, tensor: Tensor, part: StateInput, robot: Robot
) -> Iterator[SpecMismatch]:
    if not tensor.normalised:
        return
    shape = (part.steps, len(part.names))
    gain, offset = (np.broadcast_to(x, shape)[-1] for x in affine_of(tensor, part))
    own = [np.broadcast_to(x.reshape(-1, min(x.size, shape[1])), shape)[-1] for x in tensor.affine]
    for k, name in enumerate(part.names):
        # numbers that are given as they are: mean 0 and standard deviation 1
        plain = tensor.low is None and own[0][k] == 1.0 and own[1][k] == 0.0
        within = None if plain or name.startswith(ACTION) else robot.state(name)
        if within is None:
            continue
        if tensor.low is not None:
            ends = sorted((y - offset[k]) / gain[k] for y in tensor.between)
            why = _spans(ends[0], ends[1], within)
        else:
            why = _spreads(-offset[k] / gain[k], 1.0 / abs(gain[k]), within)
        if why:
            yield SpecMismatch(_text(policy, f"state {name}", unit_of(name), why))


def _of_actions(
    policy: str, tensor: Tensor, space: ActionSpace, robot: Robot
) -> Iterator[SpecMismatch]:
    if not tensor.normalised and space.scale is None:
        return
    gain, shift = (np.broadcast_to(x, (len(space.names),)) for x in tensor.affine)
    between = tensor.between if tensor.low is not None else (0.0, 1.0)
    rows = [np.tile(y * gain + shift, (space.chunk, 1)) for y in between]
    first, second = (space.to_si(row)[0].astype(float) for row in rows)
    for k in space.columns.used:
        within = robot.action(space, k)
        if within is None:
            continue
        if tensor.low is not None:
            why = _spans(min(first[k], second[k]), max(first[k], second[k]), within)
        else:
            why = _spreads(first[k], abs(second[k] - first[k]), within)
        if why:
            yield SpecMismatch(_text(policy, f"action {space.names[k]}", space.si_unit(k), why))


def _of_image(tensor: Tensor, image: Image) -> str:
    """What is wrong with the numbers that pixels become, "" where nothing is."""
    if image.encoding != "rgb8" or not (image.mean or tensor.normalised):
        return ""
    std, mean = tensor.affine
    if image.mean is not None and image.std is not None:
        mean, std = np.array(image.mean), np.array(image.std)
    most = float(max(np.abs((x * image.scale - mean) / std).max() for x in (0.0, 255.0)))
    if most <= MOST:
        return ""
    return (
        f"its mean and std turn pixels of 0 to 255 into numbers up to {most:.4g}: set scale to "
        "0.00392157 (1/255) if they are for pixels from 0 to 1"
    )


def _spreads(mean: float, std: float, within: Range) -> str:
    """Why no numbers `within` a range have this mean and standard deviation, "" where some may."""
    slack = SLACK * (within.high - within.low)
    low, high = within.low - slack, within.high + slack
    said = f"mean {mean + 0.0:.4g} and std {std:.4g}"  # + 0.0: no minus zero
    if not low <= mean <= high:
        return f"{said}, outside {_words(within)}"
    most = math.sqrt((high - mean) * (mean - low))
    if std > TOLERANCE * most:
        return f"{said}, where {_words(within)} allows a std of {most:.3g} at most"
    return ""


def _spans(low: float, high: float, within: Range) -> str:
    """Why numbers `within` a range do not go from `low` to `high`, "" where they may."""
    width = within.high - within.low
    said = f"low {low:.4g} and high {high:.4g}"
    if high < within.low - SLACK * width or low > within.high + SLACK * width:
        return f"{said}, outside {_words(within)}"
    if high - low > WIDER * width:
        return f"{said}, more than {WIDER:g} times as wide as {_words(within)}"
    return ""


def _words(within: Range) -> str:
    return f"{within.low:.4g} to {within.high:.4g} ({within.what})"


def _text(policy: str, what: str, unit: str, why: str) -> str:
    return (
        f"policy {policy}: {what} is normalised by {why}, all in {unit}: state the unit that the "
        "policy was trained with (units in policy.state or policy.actions, deg for degrees), or "
        "name a policy of this robot"
    )
