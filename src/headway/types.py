"""The frozen records that the packages of Headway exchange, in SI units.

Units are radians, metres, seconds and newtons. Quaternions are (w, x, y, z). A wrench is the force
and torque *on the tool*, in the sensor frame. Times are `int` nanoseconds of the run's clock, which
is CLOCK_MONOTONIC in real time and virtual in lock-step.

Records that are made while the loop runs are msgspec Structs: making one takes a seventh of the
time that a frozen dataclass takes. `msgspec.structs.replace` makes a copy with other values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

T_co = TypeVar("T_co", covariant=True)
Vec = NDArray[np.float64]


class Stamp(msgspec.Struct, frozen=True):
    """When a sample was measured, and when it arrived."""

    t_ns: int  # estimated time of measurement, on the run's clock [ns]
    arrival_ns: int  # when the driver had the sample, on the run's clock [ns]
    seq: int = 0  # grows by one per sample, so a gap is a loss
    device_ns: int | None = None  # time on the device's own clock, if it has one [ns]
    error_ns: int = 0  # bound on |t_ns - true time of measurement| [ns]


class Sample(msgspec.Struct, Generic[T_co], frozen=True):
    """A value with its stamp. `valid` is False for NaN or saturation, or when the device reports
    the value as invalid; `flags` then say why."""

    stamp: Stamp
    value: T_co
    valid: bool = True
    flags: tuple[str, ...] = ()


class Pose(msgspec.Struct, frozen=True):
    """Position `pos` (3,) [m] and orientation `quat` (4,) (w, x, y, z) in the base frame."""

    pos: Vec
    quat: Vec


class ArmState(msgspec.Struct, frozen=True):
    """State of an arm with n joints. `tau_ext` is the motor torque beyond what the robot's model of
    free motion explains, None if the robot does not report it. `twist` is the linear, then the
    angular velocity of the TCP in the base frame."""

    q: Vec  # (n,) [rad]
    dq: Vec  # (n,) [rad/s]
    q_ref: Vec  # (n,) reference of the joint servo [rad]
    tcp: Pose
    twist: Vec  # (6,) [m/s] and [rad/s]
    tau_ext: Vec | None = None  # (n,) [Nm]
    protective_stop: bool = False
    powered: bool = True


class Wrench(msgspec.Struct, frozen=True):
    """Force and torque on the tool, in the sensor frame `frame_id`."""

    force: Vec  # (3,) [N]
    torque: Vec  # (3,) [Nm]
    frame_id: str = "ft"


class GripperState(msgspec.Struct, frozen=True):
    """Jaw opening `width` [m], commanded opening `width_ref` [m], grip `force` [N] (measured, or
    estimated from motor current; NaN where it is not known), and the `vacuum` level 0..1,
    None without a suction cup."""

    width: float
    width_ref: float
    force: float
    vacuum: float | None = None


class Frame(msgspec.Struct, frozen=True):
    """A camera image: `rgb` (h, w, 3); `depth` (h, w) [mm], where 0 is no reading, or None;
    `intrinsics`, the pinhole matrix (3, 3) [px]; and the camera's name `frame_id`."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.uint16] | None
    intrinsics: Vec
    frame_id: str = "camera"


@dataclass(frozen=True, slots=True)
class Limits:
    """Joint limits of an arm; every array is (n,)."""

    q_min: Vec  # [rad]
    q_max: Vec  # [rad]
    dq_max: Vec  # [rad/s]
    ddq_max: Vec  # [rad/s^2]
    dddq_max: Vec  # [rad/s^3]
    tau_max: Vec  # [Nm]


class Sent(msgspec.Struct, frozen=True):
    """The command that was really sent to an arm, and when."""

    q: Vec  # (n,) [rad]
    t_ns: int  # on the run's clock [ns]


@dataclass(frozen=True, slots=True)
class OrderState:
    """What the station says about the order that the robot works on. An order has `lines` lines,
    one item each. `line` is the index of the one that is due, `lines` once all are closed, and
    `instruction` what the robot is asked to do for it, "" once all are closed.

    The station's sensors confirm what they see, with misses and false alarms. A confirm stays 1 for
    about a second, so that whoever reads slowly sees it; NaN: the station has no such sensor."""

    line: int
    lines: int
    instruction: str
    place: float = math.nan  # something has arrived where the line's item belongs: 0 or 1
    barcode: float = math.nan  # a barcode was read: 0 or 1
    scale: float = math.nan  # the scale agrees with the line's article: 0 or 1
    mismatch: bool = False  # the scale has found another weight, and still does


@dataclass(frozen=True, slots=True)
class Info:
    """Which device this is: its driver's `kind`, and what the device says about itself."""

    kind: str
    model: str = ""
    serial: str = ""
    firmware: str = ""
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """State of a source, its rate [Hz], the age of its newest sample [ns], and counts since it was
    opened."""

    state: str = "closed"  # closed | ok | stale | fault
    rate_hz: float = 0.0
    age_ns: int = 0
    received: int = 0
    invalid: int = 0
    lost: int = 0
    reordered: int = 0
    crc_errors: int = 0
    timeouts: int = 0
    reconnects: int = 0


class Signals(msgspec.Struct, frozen=True):
    """The signals of the PRO head at a tick, each in 0..1, except `time_to_go` [s] and `reward`."""

    progress: float
    stability: float
    completion: float
    risk: float
    time_to_go: float
    reward: float


class Moment(msgspec.Struct, frozen=True):
    """What was seen at an earlier time: images by camera name, and the `state` vector (k,)."""

    images: dict[str, Frame]
    state: NDArray[np.float32]


class Observation(msgspec.Struct, frozen=True):
    """The input of a policy: images by camera name, the `state` vector (k,) of the numbers that the
    policy asks for by name, and the `instruction` as text, "" where there is none. `base_q` (n,)
    [rad] and `base` are the joints and TCP pose commanded at `t_ns` [ns], which the policy's
    actions may be relative to. `history` has what was seen before, the oldest moment first, for
    policies that want several steps.

    `seed` (>= 0) of the episode, and `number`, how many observations of it the policy was given
    before, are for policies that draw random numbers: whoever draws them from both alone decides
    the same again in a run that is repeated, whatever came between."""

    t_ns: int
    images: dict[str, Frame]
    state: NDArray[np.float32]
    instruction: str
    base_q: Vec
    base: Pose
    history: tuple[Moment, ...] = ()
    seed: int = 0
    number: int = 0


class Chunk(msgspec.Struct, frozen=True):
    """The output of a policy: `actions` (h, d), whose columns the policy's `ActionSpace` explains,
    for the times `t0_ns + (k + 1) * dt_ns` [ns], k = 0..h-1. Actions that are relative start from
    the TCP pose `base` that was commanded at `t0_ns`. `label` (h, d) has the actions that a teacher
    would have chosen, for learning. `meta` has further numbers to record."""

    t0_ns: int
    dt_ns: int
    actions: NDArray[np.float32]
    base: Pose
    label: NDArray[np.float32] | None = None
    meta: dict[str, float] = {}
