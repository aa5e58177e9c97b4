"""What the rooms exchange: frozen records in SI units.

What is made anew while the loop runs is a msgspec Struct: making one takes a seventh of the time
that a frozen dataclass takes. `msgspec.structs.replace` gives one with other values.

Radians, metres, seconds, newtons; quaternions are (w, x, y, z); a wrench is the force *on the tool*
in the sensor frame. Times are `int` nanoseconds of CLOCK_MONOTONIC (or of the injected clock).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

T_co = TypeVar("T_co", covariant=True)
Vec = NDArray[np.float64]


class Stamp(msgspec.Struct, frozen=True):
    """When a sample was true and when we had it."""

    t_ns: int  # estimated acquisition time, our clock
    arrival_ns: int  # when the driver had it, our clock
    seq: int = 0  # counts up by one per sample; a gap is a loss
    device_ns: int | None = None  # the device's own clock, if it has one
    error_ns: int = 0  # bound on |t_ns - true acquisition time|


class Sample(msgspec.Struct, Generic[T_co], frozen=True):
    """A value with its stamp. `valid` is False for NaN, saturation or a device that says so."""

    stamp: Stamp
    value: T_co
    valid: bool = True
    flags: tuple[str, ...] = ()


class Pose(msgspec.Struct, frozen=True):
    """Position `pos` (3,) [m] and orientation `quat` (4,) wxyz of a frame in the base frame."""

    pos: Vec
    quat: Vec


class ArmState(msgspec.Struct, frozen=True):
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


class Wrench(msgspec.Struct, frozen=True):
    """Force [N] and torque [Nm] on the tool, in the sensor frame `frame_id`."""

    force: Vec  # (3,)
    torque: Vec  # (3,)
    frame_id: str = "ft"


class GripperState(msgspec.Struct, frozen=True):
    """Jaw opening `width` [m], last commanded `width_ref` [m], grip `force` [N] (or an estimate of
    it from motor current), and `vacuum` level 0..1 where there is a cup."""

    width: float
    width_ref: float
    force: float
    vacuum: float | None = None


class Frame(msgspec.Struct, frozen=True):
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


class Sent(msgspec.Struct, frozen=True):
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


class Signals(msgspec.Struct, frozen=True):
    """What PRO says at a tick; each in 0..1, except `time_to_go` [s] and `reward`."""

    progress: float
    stability: float
    completion: float
    risk: float
    time_to_go: float
    reward: float


class Observation(msgspec.Struct, frozen=True):
    """What a policy sees: images by camera name, proprioception (state vector as the bundle defines
    it) and the instruction's index in the bundle's vocabulary. `base_q` (n,) and `base` are the
    joints and TCP pose commanded at `t_ns`, which the answer is relative to."""

    t_ns: int
    images: dict[str, Frame]
    state: NDArray[np.float32]
    instruction: int
    base_q: Vec
    base: Pose


class Chunk(msgspec.Struct, frozen=True):
    """Actions (h, d) for the times `t0_ns + (k + 1) * dt_ns`, k = 0..h-1, relative to the TCP pose
    `base` commanded at `t0_ns`. `label` (h, d): what a teacher would have done instead, for
    learning."""

    t0_ns: int
    dt_ns: int
    actions: NDArray[np.float32]
    base: Pose
    label: NDArray[np.float32] | None = None
    meta: dict[str, float] = {}
