"""What the CUDA kernels read: parameters of a robot, packed windows, where things lie in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.errors import ConfigError, SpecMismatch
from headway.kernels import spec
from headway.kernels.cuda import params as table
from headway.kernels.derive import MASK, check, columns
from headway.kernels.telemetry import Scale, dtype

C = spec.CONSTANTS
THREADS = 256
# only their latest valid value counts, so they are not kept in shared memory
LATEST = (
    "elapsed", "limit", "recovery", "protective_stop", "ik_failure", "watchdog",
    "chunk_disagreement", "task", "place_confirm", "barcode", "scale_match",
)  # fmt: skip
RING = len((*spec.MOTION6, *spec.FORCE6, *spec.GRIP4, *spec.WRENCH5)) + table.RING_EXTRA
_NUMPY = {"double": np.float64, "float": np.float32, "int": np.int32, "std::uint8_t": np.uint8}
PARAMS = np.dtype([(n, _NUMPY[k], (c,) if c > 1 else ()) for n, (k, c) in table.PARAMS.items()])
assert PARAMS.itemsize == table.PARAMS_BYTES


@dataclass(frozen=True)
class Layout:
    """`params` a record of PARAMS, `turn` (L, 2) float32 cos and sin of 2 pi i / L. A window is
    (columns, pitch) float32. Sizes in bytes; `shared` with the window in it, `shared_large`
    without (its `workspace` per block lies in global memory)."""

    params: NDArray[np.void]
    turn: NDArray[np.float32]
    joints: int
    ticks: int
    columns: int
    pitch: int
    shared: int
    shared_large: int
    workspace: int
    state: int
    inbox: int


def layout(scale: Scale, joints: int, rate_hz: float, ticks: int = 1) -> Layout:
    """For windows of `ticks` rows. Raises ConfigError."""
    check(scale, joints, rate_hz)
    if ticks < 1:
        raise ConfigError(f"wanted windows of at least 1 row, found {ticks}")
    win, p = spec.windows(float(rate_hz)), np.zeros((), PARAMS)
    length, rate = win.long, float(rate_hz)
    _fill_robot(p, scale, joints, rate)
    p["taps"][: len(win.taps)] = win.taps
    cols, pitch = columns(joints), (ticks + 3) // 4 * 4
    n = max(s.stop for s in cols.values())
    slot = 0
    p["slot"] = -1
    p["slot_of"] = 255
    for i, (name, part) in enumerate(cols.items()):
        p["column"][i] = part.start
        width = part.stop - part.start
        p["mask_of"][part] = [MASK[mask] for mask in spec.column_masks(name, width)]
        if name not in LATEST:
            p["slot"][i] = slot
            p["slot_of"][part] = np.arange(slot, slot + width)
            slot += width
    hz = np.arange(length // 2 + 1) * (rate / length)
    words = (ticks + 31) // 32
    numbers = {
        "columns": n, "ticks": ticks, "pitch": pitch, "words": words, "staged": slot,
        "longer": length, "shorter": win.short, "diff": win.diff, "diff_force": win.diff_force,
        "n_taps": len(win.taps), "history": max(2 * win.diff, win.diff_force) + 1,
        "k_motion": int(np.flatnonzero(hz <= C["motion_hf_hz"])[-1]),
        "k_low": int(np.flatnonzero(hz <= C["lf_hz"])[-1]),
    }  # fmt: skip
    band = np.flatnonzero((hz >= win.band[0]) & (hz <= win.band[1]))
    numbers |= {"k_lo": int(band[0]), "k_hi": int(band[-1])} if band.size else {"k_lo": 1}
    shared = _Space(table.PARAMS_BYTES)
    per_tick = 4 * 32 * words
    places = {
        "sh_scratch": shared.take(table.SCRATCH_BYTES),
        "sh_fold": shared.take(32 * (length // 2 + 1)),
        "sh_table": shared.take(8 * length),
    }
    stream_only = shared.used
    places |= {
        "sh_words": shared.take(4 * spec.N_GROUPS * words),
        "sh_flags": shared.take(2 * per_tick),
        **{name: shared.take(per_tick) for name in ("sh_power", "sh_band")},
    }
    large = shared.used
    places["sh_x"] = shared.take(4 * slot * pitch)
    state = _Space(table.HEAD_BYTES)
    places |= {
        "at_valid": state.take(4 * numbers["history"]),
        "at_taps": state.take(24 * len(win.taps)),
        "at_rows": state.take(8 * numbers["history"] * n),
        "at_flags": state.take(8 * length),
        "at_ring": state.take(8 * length * (RING + joints)),
    }
    for name, value in (numbers | places).items():
        p[name] = value
    turn = 2 * np.pi * np.arange(length) / length
    return Layout(
        p, np.stack((np.cos(turn), np.sin(turn)), axis=1).astype(np.float32), joints, ticks, n,
        pitch, shared.used, max(large, stream_only), 4 * slot * pitch, state.used,
        8 * (1 + table.INBOX_ROWS * n),
    )  # fmt: skip


class _Space:
    """Bytes handed out one after the other, aligned to 16."""

    def __init__(self, used: int) -> None:
        self.used = (used + 15) // 16 * 16

    def take(self, n: int) -> int:
        at = self.used
        self.used += (n + 15) // 16 * 16
        return at


def _fill_robot(p: NDArray[np.void], scale: Scale, joints: int, rate: float) -> None:
    dt = 1.0 / rate
    for name in ("q_tol", "v_max", "stroke", "force_max"):
        p[name] = getattr(scale, name)
    for name in ("q_min", "q_max", "dq_max", "tau_max"):
        p[name][:joints] = getattr(scale, name)
    dq_max = np.asarray(scale.dq_max, np.float64)
    p["dq_inv"][:joints] = 1.0 / dq_max
    p["tau_inv"][:joints] = 1.0 / np.asarray(scale.tau_max, np.float64)
    dead, top = C["reversal_deadband"], C["saturated"]
    for j, most in enumerate(dq_max.tolist()):
        p["dq_dead"][j] = _last(dead, most, equal=True)
        p["dq_sat"][j] = np.nextafter(_last(top, most, equal=False), np.float32(np.inf))
    p["joints"], p["rate"], p["joint_norm"] = joints, rate, joints**-0.5
    p["load_gain"] = 1.0 - math.exp(-dt / C["load_tau_s"])
    p["settle"], p["settle_min"] = C["settle_s"] / dt, C["settle_min_s"] / dt
    p["slow2"] = C["slow_speed"] ** 2


def _last(limit: float, most: float, *, equal: bool) -> np.float32:
    """The largest float32 x with x / most < limit, or <= limit, in float64."""

    def holds(x: np.float32) -> bool:
        return float(x) / most <= limit if equal else float(x) / most < limit

    x, up, down = np.float32(limit * most), np.float32(np.inf), np.float32(-np.inf)
    while not holds(x):
        x = np.float32(np.nextafter(x, down))
    while holds(higher := np.float32(np.nextafter(x, up))):
        x = higher
    out: np.float32 = x
    return out


def pack(rows: NDArray[np.void], joints: int) -> NDArray[np.float32]:
    """Windows (B, T) of telemetry.dtype(joints) -> (B, columns, pitch) float32, columns as the
    fields lie in a row without t_ns, pitch = T rounded up to 4. Raises SpecMismatch."""
    if rows.dtype != dtype(joints) or rows.ndim != 2:
        raise SpecMismatch(
            f"wanted windows (B, T) of telemetry of {joints} joints, found {rows.ndim} dimensions "
            f"of {rows.dtype}: make rows with kernels.telemetry.empty({joints}, n)"
        )
    (b, t), wide = rows.shape, rows.dtype.itemsize // 8
    flat = np.ascontiguousarray(rows).view(np.float64).reshape(b, t, wide)[:, :, 1:]
    out = np.zeros((b, flat.shape[2], (t + 3) // 4 * 4), np.float32)
    with np.errstate(over="ignore"):  # beyond float32 is beyond in_max as well
        out[:, :, :t] = flat.transpose(0, 2, 1)
    return out


__all__ = ["THREADS", "Layout", "layout", "pack"]
