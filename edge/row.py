"""Fill one telemetry row per tick from samples, in place."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from headway.edge.monitor import TaskMonitor
from headway.kernels import telemetry
from headway.types import ArmState, GripperState, Vec

_LAST = "comms_jitter"  # of the fields that every tick sets: the row's first ones
_NO_GRIP = GripperState(math.nan, math.nan, math.nan)


class Row:
    """`data` is the structured scalar that PRO and the recorder read; `view[name]` its fields.

    What a tick finds out after PRO has seen the row is kept in the attributes and filled in with
    the next one: whether the guard changed the command (`clamped`), nothing fresh was there to
    follow (`watchdog`), and what the last chunk was like (`ik_failure`, `seam_jump` [rad],
    `chunk_disagreement` [rad])."""

    def __init__(self, joints: int, task: int, limit_s: float) -> None:
        rows = telemetry.empty(joints, 1)
        self.data: np.void = rows[0]
        self.view: dict[str, Any] = {
            name: rows[name][0:1].reshape(rows[name].shape[1:]) for name in rows.dtype.names or ()
        }
        self.view["task"][...] = task
        self.ik_failure = self.clamped = self.watchdog = False
        self.seam_jump = self.chunk_disagreement = 0.0
        # Plain floats packed at once take a third of the time of assigning array by array.
        self._bytes = rows.view(np.uint8).data
        places = rows.dtype.fields
        assert places is not None
        self._pack = struct.Struct(f"=q{places[_LAST][1] // 8}d")
        self._before = [math.nan] * joints
        self._unknown = [math.nan] * joints
        self._limit, self._protective_stop = limit_s, math.nan

    def fill(
        self,
        t_ns: int,
        elapsed_s: float,
        q_sent: Vec,
        dt: float,
        state: ArmState | None,
        wrench: Vec | None,
        grip: GripperState | None,
        monitor: TaskMonitor,
        jitter_s: float,
    ) -> None:
        """`q_sent` (n,): the last command, so that the row holds only what was known before it;
        `wrench` (6,) at the TCP. What is None is not known."""
        q_ref, q, dq, tau = q_sent.tolist(), self._unknown, self._unknown, self._unknown
        dq_ref = [(x - before) / dt for x, before in zip(q_ref, self._before, strict=True)]
        self._before = q_ref
        pos, quat, twist = _NAN3, _NAN4, _NAN6
        if state is not None:
            q, dq, twist = state.q.tolist(), state.dq.tolist(), state.twist.tolist()
            pos, quat = state.tcp.pos.tolist(), state.tcp.quat.tolist()
            if state.tau_ext is not None:
                tau = state.tau_ext.tolist()
            self._protective_stop = float(state.protective_stop)
        force = _NAN6 if wrench is None else wrench.tolist()
        g = _NO_GRIP if grip is None else grip
        phase = monitor.phase
        self._pack.pack_into(
            self._bytes, 0, t_ns, *q, *dq, *q_ref, *dq_ref, *tau, *pos, *quat, *twist, *force,
            g.width, g.width_ref, g.force, math.nan if g.vacuum is None else g.vacuum,
            phase, elapsed_s, self._limit, monitor.retries, phase == 7, self._protective_stop,
            self.ik_failure, self.clamped, self.watchdog,
            self.seam_jump, self.chunk_disagreement, jitter_s,
        )  # fmt: skip


_NAN3, _NAN4, _NAN6 = ([math.nan] * n for n in (3, 4, 6))
