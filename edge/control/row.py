"""Fill one telemetry row per tick from samples, in place."""

from __future__ import annotations

import math
import struct
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.compiled import Computed, Impl
from headway.edge.control.tasks import Task
from headway.edge.recording.tick import twin
from headway.kernels import telemetry
from headway.types import ArmState, GripperState, OrderState, Vec

_LAST = "comms_jitter"  # of the fields that every tick sets: the row's first ones
# The fields that a loop can know; of those that are left, other robots' files may hold some.
_NAMES = tuple(telemetry.FIELDS)
FILLED = (*_NAMES[: _NAMES.index(_LAST) + 1], "task")
# Those that it knows beside a station.
OF_STATION = ("place_confirm", "barcode", "scale_match", "operator")
_NO_GRIP = GripperState(math.nan, math.nan, math.nan)


class PythonCells:
    """Fills the front of a row, `out`; in C++ in `edge/recording/cpp/tick.cpp`."""

    def __init__(self, out: NDArray[np.uint8], joints: int) -> None:
        # Plain floats packed at once take a third of the time of assigning array by array.
        self._bytes = out.data
        places = telemetry.dtype(joints).fields
        assert places is not None
        self._pack = struct.Struct(f"=q{places[_LAST][1] // 8}d")
        self._sizes = (joints, joints, joints, 3, 4, 6, 6)
        self._before = [math.nan] * joints

    def fill(
        self, t_ns: int, q_ref: Vec, dt: float, q: Vec | None, dq: Vec | None, *rest: Any
    ) -> None:
        """`rest`: tau (n,), pos (3,), quat (4,), twist (6,) and wrench (6,), None where they are
        not known, then the single values from the jaw's width on."""
        parts: list[list[float]] = [
            _floats(v, n) for v, n in zip((q, dq, *rest[:5]), self._sizes, strict=True)
        ]
        now = _floats(q_ref, len(self._before))
        parts[2:2] = now, [(x - before) / dt for x, before in zip(now, self._before, strict=True)]
        self._before = now
        self._pack.pack_into(self._bytes, 0, t_ns, *chain(*parts), *rest[5:])


def _floats(v: Vec | None, n: int) -> list[float]:
    if v is not None and v.shape != (n,):
        raise ValueError(f"wanted {n} numbers, found {v.shape}")
    return [math.nan] * n if v is None else v.tolist()


class Row:
    """`data` is the structured scalar that PRO and the recorder read; `view[name]` its fields.

    What a tick finds out after PRO has seen the row is kept in the attributes and filled in with
    the next one: whether the guard changed the command (`clamped`), nothing fresh was there to
    follow (`watchdog`), and what the last chunk was like (`ik_failure`, `seam_jump` [rad],
    `chunk_disagreement` [rad])."""

    def __init__(self, joints: int, task: float, limit_s: float, impl: Impl = "auto") -> None:
        """For an arm with `joints` joints. `task`: index of the task among those that PRO knows,
        NaN for none of them. `limit_s` [s]: the time limit of the episode."""
        rows = telemetry.empty(joints, 1)
        self.data: np.void = rows[0]
        self.view: dict[str, Any] = {
            name: rows[name][0:1].reshape(rows[name].shape[1:]) for name in rows.dtype.names or ()
        }
        self.view["task"][...] = task
        self.ik_failure = self.clamped = self.watchdog = False
        self.seam_jump = self.chunk_disagreement = 0.0
        self._cells = twin("Cells", PythonCells, impl)(rows.view(np.uint8), joints)
        self.computed_by: Computed = "python" if isinstance(self._cells, PythonCells) else "cpp"
        self._limit, self._protective_stop = limit_s, math.nan
        self._order: OrderState | None = None  # that the row holds
        self._operator = self.view["operator"]

    def confirms(self, order: OrderState | None, operator: bool) -> None:
        """Fill in what the station confirms; None: it says nothing at this tick. `operator`:
        whether an operator has ended the episode. Only called where there is a station."""
        if order is not self._order:
            self._order, view = order, self.view
            view["place_confirm"][...] = math.nan if order is None else order.place
            view["barcode"][...] = math.nan if order is None else order.barcode
            view["scale_match"][...] = math.nan if order is None else order.scale
        self._operator[...] = operator

    def fill(
        self,
        t_ns: int,
        elapsed_s: float,
        q_sent: Vec,
        dt: float,
        state: ArmState | None,
        wrench: Vec | None,
        grip: GripperState | None,
        task: Task,
        jitter_s: float,
    ) -> None:
        """`q_sent` (n,): the last command, so that the row holds only what was known before it;
        `wrench` (6,) at the TCP. What is None is not known. `task` is as of this tick."""
        q = dq = tau = pos = quat = twist = None
        if state is not None:
            q, dq, tau, twist = state.q, state.dq, state.tau_ext, state.twist
            pos, quat = state.tcp.pos, state.tcp.quat
            self._protective_stop = state.protective_stop
        g = _NO_GRIP if grip is None else grip
        self._cells.fill(
            t_ns, q_sent, dt, q, dq, tau, pos, quat, twist, wrench,
            g.width, g.width_ref, g.force, math.nan if g.vacuum is None else g.vacuum,
            task.phase, elapsed_s, self._limit, task.retries, task.recovering,
            self._protective_stop,
            self.ik_failure, self.clamped, self.watchdog,
            self.seam_jump, self.chunk_disagreement, jitter_s,
        )  # fmt: skip
