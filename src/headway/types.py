"""What the rooms exchange: frozen dataclasses in SI units.

Radians, metres, seconds, newtons; quaternions are (w, x, y, z); a wrench is the force *on the tool*
in the sensor frame. Times are `int` nanoseconds of CLOCK_MONOTONIC (or of the injected clock).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T_co = TypeVar("T_co", covariant=True)
Vec = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a sample was true and when we had it."""

    t_ns: int  # estimated acquisition time, our clock
    arrival_ns: int  # when the driver had it, our clock
    seq: int = 0  # counts up by one per sample; a gap is a loss
    device_ns: int | None = None  # the device's own clock, if it has one
    error_ns: int = 0  # bound on |t_ns - true acquisition time|


@dataclass(frozen=True, slots=True)
class Sample(Generic[T_co]):
    """A value with its stamp. `valid` is False for NaN, saturation or a device that says so."""

    stamp: Stamp
    value: T_co
    valid: bool = True
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pose:
    """Position `pos` (3,) [m] and orientation `quat` (4,) wxyz of a frame in the base frame."""

    pos: Vec
    quat: Vec


@dataclass(frozen=True, slots=True)
class ArmState:
    """Joint and TCP state; n joints. `tau_ext` is motor torque beyond the driver's own free-motion
    model [Nm], None where the robot cannot tell. `twist` is (v, w) of the TCP in the base frame."""

    q: Vec  # (n,) [rad]
    dq: Vec  # (n,) [rad/s]
    q_ref: Vec  # (n,) what the servo tracks [rad]
    tcp: Pose
    twist: Vec  # (6,) [m/s, rad/s]
    tau_ext: Vec | None = None  # (n,) [Nm]
    protective_stop: bool = False
    powered: bool = True


@dataclass(frozen=True, slots=True)
class Wrench:
    """Force [N] and torque [Nm] on the tool, in the sensor frame `frame_id`."""

    force: Vec  # (3,)
    torque: Vec  # (3,)
    frame_id: str = "ft"


@dataclass(frozen=True, slots=True)
class GripperState:
    """Jaw opening `width` [m], last commanded `width_ref` [m], grip `force` [N] (or an estimate of
    it from motor current), and `vacuum` level 0..1 where there is a cup."""

    width: float
    width_ref: float
    force: float
    vacuum: float | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A camera image. `rgb` (h, w, 3) uint8; `depth` (h, w) uint16 [mm], 0 = no reading, or None.
    `intrinsics` (3, 3) pinhole matrix [px]."""

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


@dataclass(frozen=True, slots=True)
class Sent:
    """What a device was really told, and when."""

    q: Vec
    t_ns: int


@dataclass(frozen=True, slots=True)
class Info:
    """Which device this is."""

    kind: str
    model: str = ""
    serial: str = ""
    firmware: str = ""
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """How a source has been doing since it was opened."""

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


@dataclass(frozen=True, slots=True)
class Signals:
    """What PRO says at a tick; each in 0..1, except `time_to_go` [s] and `reward`."""

    progress: float
    stability: float
    completion: float
    risk: float
    time_to_go: float
    reward: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy sees: images by camera name, proprioception (state vector as the bundle defines
    it) and the instruction's index in the bundle's vocabulary. `base_q` (n,) and `base` are the
    joints and TCP pose commanded at `t_ns`, which the answer is relative to."""

    t_ns: int
    images: dict[str, Frame]
    state: NDArray[np.float32]
    instruction: int
    base_q: Vec
    base: Pose


@dataclass(frozen=True, slots=True)
class Chunk:
    """Actions (h, d) for the times `t0_ns + (k + 1) * dt_ns`, k = 0..h-1, relative to the TCP pose
    `base` commanded at `t0_ns`. `label` (h, d): what a teacher would have done instead, for
    learning."""

    t0_ns: int
    dt_ns: int
    actions: NDArray[np.float32]
    base: Pose
    label: NDArray[np.float32] | None = None
    meta: dict[str, float] = field(default_factory=dict)
