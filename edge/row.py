"""Fill one telemetry row per tick from samples, in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.edge.monitor import TaskMonitor
from headway.kernels import telemetry
from headway.types import ArmState, GripperState, Vec


class Row:
    """`data` is the structured scalar that PRO and the recorder read; `view[name]` its fields."""

    def __init__(self, joints: int, task: int, limit_s: float) -> None:
        rows = telemetry.empty(joints, 1)
        self.data: np.void = rows[0]
        self._rows = rows
        self.view: dict[str, Any] = {
            name: rows[name][0:1].reshape(rows[name].shape[1:]) for name in rows.dtype.names or ()
        }
        self._q_before = np.full(joints, np.nan)
        v = self.view
        v["task"][...] = task
        v["limit"][...] = limit_s
        for name in ("ik_failure", "clamped", "watchdog", "seam_jump", "chunk_disagreement"):
            v[name][...] = 0.0

    def time(self, t_ns: int, elapsed_s: float) -> None:
        self.view["t_ns"][...] = t_ns
        self.view["elapsed"][...] = elapsed_s

    def arm(self, state: ArmState | None, q_sent: Vec, dt: float) -> None:
        """`q_sent` (n,): the last command, so that the row holds only what was known before it."""
        v = self.view
        np.subtract(q_sent, self._q_before, out=v["dq_ref"])
        v["dq_ref"] /= dt
        self._q_before[:] = q_sent
        v["q_ref"][:] = q_sent
        if state is None:
            for name in ("q", "dq", "tau_ext", "tcp", "twist"):
                v[name][:] = np.nan
            return
        v["q"][:] = state.q
        v["dq"][:] = state.dq
        v["tau_ext"][:] = np.nan if state.tau_ext is None else state.tau_ext
        v["tcp"][:3] = state.tcp.pos
        v["tcp"][3:] = state.tcp.quat
        v["twist"][:] = state.twist
        v["protective_stop"][...] = state.protective_stop

    def wrench(self, w: Vec | None) -> None:
        self.view["wrench"][:] = np.nan if w is None else w

    def gripper(self, state: GripperState | None) -> None:
        v = self.view
        if state is None:
            for name in ("width", "width_ref", "grip_force", "vacuum"):
                v[name][...] = np.nan
            return
        v["width"][...] = state.width
        v["width_ref"][...] = state.width_ref
        v["grip_force"][...] = state.force
        v["vacuum"][...] = np.nan if state.vacuum is None else state.vacuum

    def status(self, monitor: TaskMonitor) -> None:
        v = self.view
        v["phase"][...] = monitor.phase
        v["retries"][...] = monitor.retries
        v["recovery"][...] = monitor.phase == 7
