"""One row of telemetry per tick: all that PRO ever sees.

The row is a NumPy structured scalar, so that the loop fills it in place, the recorder copies it as
bytes, and files that are not ours are mapped onto it. NaN means "this robot does not have it": the
features of that group are then masked. No field ever holds simulator state. New fields come at the
end, so that the front of a row stays where the loop writes it.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import RecordingError

if TYPE_CHECKING:  # this also runs where only NumPy is
    from headway.types import Vec


# field -> (width, unit); width 0 = scalar, "J" = one value per joint
FIELDS: dict[str, tuple[int | str, str]] = {
    "q": ("J", "rad"),
    "dq": ("J", "rad/s"),
    "q_ref": ("J", "rad"),
    "dq_ref": ("J", "rad/s"),
    "tau_ext": ("J", "Nm"),  # motor torque beyond the driver's free-motion model
    "tcp": (7, "m, quat wxyz"),  # TCP in the base frame
    "twist": (6, "m/s, rad/s"),  # of the TCP, base frame
    "wrench": (6, "N, Nm"),  # on the tool, TCP frame, gravity and bias taken out
    "width": (0, "m"),
    "width_ref": (0, "m"),
    "grip_force": (0, "N"),
    "vacuum": (0, "0..1"),
    "phase": (0, "index 0..7"),  # as the controller knows it from its own sensors
    "elapsed": (0, "s"),
    "limit": (0, "s"),  # time limit of the task
    "retries": (0, "count"),
    "recovery": (0, "0/1"),
    "protective_stop": (0, "0/1"),
    "ik_failure": (0, "0/1"),
    "clamped": (0, "0/1"),  # the guard changed or rejected this tick's command
    "watchdog": (0, "0/1"),  # no fresh action chunk
    "seam_jump": (0, "rad"),  # largest joint jump between old and new chunk
    "chunk_disagreement": (0, "rad"),  # RMS difference of overlapping chunks
    "comms_jitter": (0, "s"),
    "task": (0, "index 0..2"),  # in the list of the head's bundle; NaN: it does not know the task
    "place_confirm": (0, "0/1"),
    "barcode": (0, "0/1"),
    "scale_match": (0, "0/1"),
    "operator": (0, "0/1"),
    # for robots that know no more than this; where `wrench` is valid its norms count instead
    "force_norm": (0, "N"),  # |F| on the tool, >= 0
    "torque_norm": (0, "Nm"),  # |M| on the tool, >= 0
    "touch": (0, "0..1"),  # of one tactile pad's range; 0: nothing touches it
    # likewise of the TCP's motion; where `twist` is valid its norms count instead
    "speed": (0, "m/s"),  # |v| of the TCP, >= 0
    "spin": (0, "rad/s"),  # |w| of the TCP, >= 0
}
# field -> what it is taken from: the first of these that is known
SOURCES: dict[str, tuple[str, ...]] = {
    "dq": ("dq", "q"), "dq_ref": ("dq_ref", "q_ref"), "twist": ("twist", "tcp"),
    "speed": ("twist", "tcp", "speed"), "spin": ("twist", "tcp", "spin"),
    "force_norm": ("wrench", "force_norm"), "torque_norm": ("wrench", "torque_norm"),
}  # fmt: skip


@cache
def dtype(joints: int) -> np.dtype[np.void]:
    """Structured dtype of one row: `t_ns` int64, every other field float64."""
    columns: list[tuple[str, type, tuple[int, ...]]] = [("t_ns", np.int64, ())]
    for name, (width, _) in FIELDS.items():
        n = joints if width == "J" else int(width)
        columns.append((name, np.float64, (n,) if n else ()))
    return np.dtype(columns)


def empty(joints: int, n: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """`n` rows in which nothing is known yet: every float NaN, `t_ns` 0."""
    rows = np.zeros(n, dtype(joints))
    for name in FIELDS:
        rows[name] = np.nan
    return rows


def of_recording(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Rows of /telemetry of any version of Headway, (n,) with fields by name, as rows (n,) of
    `dtype`: fields that the version did not have are NaN, and those that this one does not have are
    left out. Raises RecordingError where `t_ns` or `q` is missing, or a field has another shape."""
    names = rows.dtype.names or ()
    for name in ("t_ns", "q"):
        if name not in names:
            raise RecordingError(
                f"wanted rows of telemetry with `{name}`, found {', '.join(names) or 'none'}: "
                "record with `headway run`"
            )
    joints = int(np.prod(rows.dtype["q"].shape))
    wanted = dtype(joints)
    if rows.dtype == wanted:
        return rows
    out = empty(joints, len(rows))
    for name in wanted.names or ():
        if name not in names:
            continue
        if rows.dtype[name].shape != wanted[name].shape:
            raise RecordingError(
                f"wanted the telemetry field `{name}` of shape {wanted[name].shape}, found "
                f"{rows.dtype[name].shape}: replay it with the Headway that recorded it"
            )
        out[name] = rows[name]
    return out


@dataclass(frozen=True, slots=True)
class Scale:
    """What makes features of different robots comparable; arrays are (J,)."""

    q_min: Vec  # [rad]
    q_max: Vec
    dq_max: Vec  # [rad/s]
    tau_max: Vec  # [Nm]
    q_tol: float = 0.02  # tracking tolerance [rad]
    v_max: float = 1.0  # TCP speed [m/s]
    stroke: float = 0.085  # gripper [m]
    force_max: float = 40.0  # gripper [N]

    def to_json(self) -> str:
        """As it stands in a recording's metadata under `scale`: arrays as lists."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.dumps({k: v if isinstance(v, float) else v.tolist() for k, v in values.items()})

    @classmethod
    def from_json(cls, text: str | None, where: str) -> Scale:
        """What `to_json` wrote. Raises RecordingError for anything else, None included, which says
        `where` it was looked for."""
        arrays = [f.name for f in fields(cls) if f.default is MISSING]
        numbers = [f.name for f in fields(cls) if f.name not in arrays]
        try:
            plain = json.loads(text or "")
            if set(plain) != {*arrays, *numbers}:
                raise ValueError("other keys")
            values: dict[str, Any] = {k: float(plain[k]) for k in numbers}
            values |= {k: np.array(plain[k], np.float64) for k in arrays}
            if {values[k].shape for k in arrays} != {(len(values["q_min"]),)}:
                raise ValueError("arrays of different lengths")
        except (ValueError, TypeError):
            found = "none" if text is None else repr(text[:60])
            raise RecordingError(
                f"{where}: wanted `scale` in the metadata as JSON of {', '.join(arrays)} (lists, a "
                f"number per joint) and {', '.join(numbers)} (numbers), found {found}: record with "
                "`headway run`"
            ) from None
        return cls(**values)
