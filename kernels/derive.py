"""Stage 1: telemetry rows -> derived channels, causally.

Rows are collected by `push`, which only copies, and derived in blocks (`advance`) when somebody
asks or the block is full. All arithmetic is element-wise or reduces within a row, so that the
result does not depend on where a block ends.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from headway.errors import ConfigError, SpecMismatch
from headway.kernels import spec
from headway.kernels.events import Contact, Grasp, Task
from headway.kernels.telemetry import FIELDS, Scale, dtype

if TYPE_CHECKING:  # this also runs where only NumPy is
    from headway.types import Vec

C = spec.CONSTANTS
BLOCK = 64
LEAST = 1e-9  # of what inputs are divided by: features stay finite
MASK = {name: i for i, name in enumerate(spec.MASKS)}
ROW = {name: i for i, name in enumerate(spec.CHANNELS)}
# mask of a vector, its field, its first column there, field and mask of its norm
NORMS = (
    ("force", "wrench", 0, "force_norm"),
    ("torque", "wrench", 3, "torque_norm"),
    ("twist", "twist", 0, "speed"),
    ("twist", "twist", 3, "spin"),
)


@cache
def columns(joints: int) -> dict[str, slice]:
    """Field -> its columns, in a row seen as float64 without the leading `t_ns`."""
    out, at = {}, 0
    for name, (width, _) in FIELDS.items():
        n = joints if width == "J" else max(1, int(width))
        out[name] = slice(at, at + n)
        at += n
    return out


def check(scale: Scale, joints: int, rate_hz: float) -> None:
    """Raises ConfigError for a scale that is not `joints` wide, or has a number below LEAST or one
    that is infinite and not a joint's, and for an odd rate."""
    if not 1 <= joints <= 16:
        raise ConfigError(f"PRO features want 1..16 joints, found {joints}: check the arm")
    if not spec.LOWEST_HZ <= rate_hz <= spec.HIGHEST_HZ:
        raise ConfigError(
            f"PRO features want {spec.LOWEST_HZ:g}..{spec.HIGHEST_HZ:g} Hz, found {rate_hz}: "
            "resample the telemetry"
        )
    for name in ("q_min", "q_max", "dq_max", "tau_max"):
        found = np.asarray(getattr(scale, name))
        if found.shape != (joints,):
            raise ConfigError(
                f"Scale.{name} wants shape ({joints},), found {found.shape}: check the arm's limits"
            )
        if name in ("dq_max", "tau_max") and not np.all(found >= LEAST):
            raise ConfigError(
                f"Scale.{name} wants values of at least {LEAST:g}, found {found}: check the limits"
            )
    for name in ("q_tol", "v_max", "stroke", "force_max"):
        if not LEAST <= getattr(scale, name) < math.inf:
            raise ConfigError(
                f"Scale.{name} wants a finite number of at least {LEAST:g}, found "
                f"{getattr(scale, name)}: set it"
            )


class Derive:
    """Derived channels of the latest ticks.

    `ring` (channels + J, 2 L) holds every sample twice, so that `window(m)` is one view. `contact`,
    `grasp`, `task` and `latest` (the last held row, float64) are as of the last derived tick.
    """

    def __init__(self, scale: Scale, joints: int, rate_hz: float) -> None:
        check(scale, joints, rate_hz)
        self.scale, self.joints, self.rate = scale, joints, float(rate_hz)
        self.win = spec.windows(float(rate_hz))
        self.dtype = dtype(joints)
        self.col = columns(joints)
        self.taps = np.array(self.win.taps)
        self.history = max(2 * self.win.diff, self.win.diff_force, len(self.taps) - 1)
        self.group = np.zeros(self.dtype.itemsize // 8 - 1, np.intp)  # column -> mask bit
        for f, part in self.col.items():
            masks = spec.column_masks(f, part.stop - part.start)
            self.group[part] = [MASK[mask] for mask in masks]
        starts = np.flatnonzero(np.diff(self.group, prepend=-1))
        self._starts, self._start_group = starts, self.group[starts]
        self._joint_norm = joints**-0.5
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        n = self.history + BLOCK
        self._rows = np.zeros(n, self.dtype)
        self._x = self._rows.view(np.float64).reshape(n, -1)[:, 1:]
        self._valid = np.zeros((n, spec.N_GROUPS), np.bool_)
        force, known = self._x[:, self.col["wrench"]][:, :3], self._valid[:, MASK["force"]]
        self._force_view = sliding_window_view(force, len(self.taps), axis=0)
        self._known_view = sliding_window_view(known, len(self.taps))
        self._done = self._head = self.history  # rows [done, head) are not derived yet
        self._full = n
        self._seen: Any = self.dtype
        self._sign: Vec = np.zeros((1, self.joints))
        self.ring = np.zeros((len(ROW) + self.joints, 2 * self.win.long))
        self.count = 0
        dt = 1.0 / self.rate
        self.contact, self.grasp, self.task = Contact(dt), Grasp(dt), Task(dt)
        self.latest = np.zeros(self._x.shape[1])

    def push(self, row: np.void) -> None:
        """Take one row. Raises SpecMismatch when its dtype is not `telemetry.dtype(joints)`."""
        if row.dtype is not self._seen:
            self._check_dtype(row.dtype)
        if self._head == self._full:
            self.advance()
            h = self.history
            for a in (self._rows, self._valid):
                a[:h] = a[-h:]
            self._done = self._head = h
        self._rows[self._head] = row
        self._head += 1

    def _check_dtype(self, found: np.dtype[Any]) -> None:
        if found != self.dtype:
            raise SpecMismatch(
                f"wanted telemetry rows of {self.joints} joints {self.dtype.names}, "
                f"found {found}: make rows with kernels.telemetry.empty({self.joints}, n)"
            )
        self._seen = found

    def window(self) -> Vec:
        """The last m = min(count, L) samples of every channel, (channels + J, m), a view."""
        m, length = min(self.count, self.win.long), self.win.long
        end = (self.count - 1) % length + 1 + length if self.count else length
        return self.ring[:, end - m : end]

    def advance(self) -> None:
        """Derive all rows taken so far."""
        while self._done < self._head:
            stop = min(self._head, self._done + self.win.long)
            self._derive(self._done, stop)
            self._done = stop

    def _derive(self, a: int, b: int) -> None:
        x, valid, col = self._x, self._valid, self.col
        self._validate(a, b)
        n = b - a
        out = np.zeros((n, len(ROW) + self.joints))
        s, k, kf = self.scale, self.win.diff, self.win.diff_force

        def at(field: str, back: int = 0) -> Vec:
            return x[a - back : b - back, col[field]]

        def ok(mask: str, *backs: int) -> NDArray[np.bool_]:
            v = valid[a:b, MASK[mask]]
            for back in backs:
                v = v & valid[a - back : b - back, MASK[mask]]
            return v

        def rate(field: str, mask: str) -> Vec:
            """Backward difference over k ticks per second, 0 across a gap."""
            good = ok(mask, k)
            return (at(field) - at(field, k)) * (self.rate / k) * good[:, None]

        def norm(v: Vec) -> Vec:
            return cast("Vec", np.sqrt(np.add.reduce(v * v, axis=1)))

        def put(name: str, v: Any) -> None:
            out[:, ROW[name]] = v

        jn = self._joint_norm
        dq = at("dq") / s.dq_max
        curve = (self.rate / k) ** 2
        jerk = at("dq") - 2 * at("dq", k) + at("dq", 2 * k)
        acc = C["accel_s"]
        put("dq", norm(dq) * jn)
        put("ddq", norm(rate("dq", "dq") / s.dq_max) * (acc * jn))
        put("jerk", norm(jerk / s.dq_max) * (curve * acc * acc * jn) * ok("dq", k, 2 * k))
        put("q_err", norm(at("q_ref") - at("q")) * (jn / s.q_tol))
        put("dq_err", norm((at("dq_ref") - at("dq")) / s.dq_max) * jn)
        put("tau", norm(at("tau_ext") / s.tau_max) * jn)
        put("dtau", norm(rate("tau_ext", "tau") / s.tau_max) * (acc * jn))
        v = at("twist")[:, :3]
        put("v", at("speed")[:, 0] / s.v_max)
        put("w", at("spin")[:, 0])
        vj = v - 2 * at("twist", k)[:, :3] + at("twist", 2 * k)[:, :3]
        put("vjerk2", np.add.reduce(vj * vj, axis=1) * (curve * curve) * ok("twist", k, 2 * k))
        put("reversals", self._reversals(dq))
        p = at("tcp")[:, :3]
        out[:, ROW["px"] : ROW["px"] + 3] = p
        put("path", norm(p - at("tcp", 1)[:, :3]) * ok("tcp", 1))
        put("saturated", np.max(np.abs(dq), axis=1) >= C["saturated"])
        out[:, len(ROW) :] = dq

        w = at("wrench")
        put("F", at("force_norm")[:, 0])
        put("M", at("torque_norm")[:, 0])
        out[:, ROW["Fx"] : ROW["Fx"] + 6] = w
        put("Fxy", norm(w[:, :2]))
        step = norm(w[:, :3] - at("wrench", kf)[:, :3]) * (C["diff_force_s"] * self.rate / kf)
        put("dF", step * ok("force", kf))
        base = rotate(at("tcp")[:, 3:], w.reshape(n, 2, 3)).reshape(n, 6)
        power = np.add.reduce(base * at("twist"), axis=1)
        put("power", power)
        put("band", self._band(a, b))

        width, ref = at("width") / s.stroke, at("width_ref") / s.stroke
        width_rate = rate("width", "width") / s.stroke
        put("width", width[:, 0])
        put("width_err", (width - ref)[:, 0])
        put("width_rate", width_rate[:, 0])
        put("grip", at("grip_force")[:, 0] / s.force_max)
        put("grip_rate", rate("grip_force", "grip_force")[:, 0] / s.force_max)
        put("touch", at("touch")[:, 0])
        put("vacuum", at("vacuum")[:, 0])
        put("clamped", at("clamped")[:, 0])
        put("seam", at("seam_jump")[:, 0])
        put("jitter", at("comms_jitter")[:, 0])
        out[:, ROW["valid_q"] : len(ROW)] = valid[a:b]
        self._events(
            out,
            valid[a:b].tolist(),
            np.column_stack(
                (
                    power * (ok("force") & ok("torque") & ok("tcp") & ok("twist")),
                    p[:, 2],
                    ref,
                    at("phase"),
                    at("retries"),
                    at("operator"),
                )
            ).tolist(),
        )
        self.latest = x[b - 1].copy()
        self._store(out.T, n)

    def _events(self, out: Vec, valid: list[list[bool]], rows: list[list[float]]) -> None:
        """Step the state machines through a block; fills `onset` and `holding`."""
        contact, grasp, task = self.contact, self.grasp, self.task
        norm, tcp = MASK["force_norm"], MASK["tcp"]
        jaws, told = MASK["width"], MASK["width_ref"]
        phased, retried, station = MASK["phase"], MASK["retries"], MASK["station"]
        vac = MASK["vacuum"]
        channels = out[:, [ROW["F"], ROW["width"], ROW["vacuum"]]].tolist()
        events = []
        for (force, width, vacuum), ok, (power, z, ref, phase, retries, operator) in zip(
            channels, valid, rows, strict=True
        ):
            onset = contact.step(ok[norm], force, power)
            holding = grasp.step(ok[jaws] and ok[told], width, ref)
            grasp.lift(ok[tcp], z, contact.load)
            task.step_phase(ok[phased], phase)
            task.step_retries(ok[retried], retries)
            task.step_flags(ok[station], operator, ok[vac], vacuum)
            events.append((onset, holding))
        out[:, ROW["onset"] : ROW["onset"] + 2] = events

    def _validate(self, a: int, b: int) -> None:
        """Find each group's valid ticks; derive what is missing but derivable; hold the rest."""
        x, col = self._x[a:b], self.col
        good = np.abs(x) <= C["in_max"]  # False for NaN
        valid = np.ones((b - a, spec.N_GROUPS), np.bool_)
        parts = np.logical_and.reduceat(good, self._starts, axis=1)
        for i, g in enumerate(self._start_group):
            valid[:, g] &= parts[:, i]
        self._valid[a:b] = valid
        if good.all():
            self._norms(x, valid)
            return
        x[~good] = 0.0  # so that nothing non-finite takes part in what follows
        k = self.win.diff
        for source, target, field, of in (
            ("q", "dq", "dq", "q"),
            ("ref", "dq_ref", "dq_ref", "q_ref"),
            ("tcp", "twist", "twist", "tcp"),
        ):
            t, s = MASK[target], MASK[source]
            use = ~valid[:, t] & valid[:, s] & self._valid[a - k : b - k, s]
            if use.any():
                now, then = x[:, col[of]], self._x[a - k : b - k, col[of]]
                diff = _twist(now, then) if target == "twist" else now - then
                x[use, col[field]] = (diff * (self.rate / k))[use]
                valid[:, t] |= use
        self._norms(x, valid)
        self._valid[a:b] = valid
        if valid.all():
            return
        # last valid sample at or before each tick, per column; row a - 1 holds already
        keep = valid[:, self.group]
        src = np.maximum.accumulate(np.where(keep, np.arange(1, b - a + 1)[:, None], 0), axis=0)
        held = np.take_along_axis(self._x[a - 1 : b], src, axis=0)
        x[:] = held

    def _norms(self, x: Vec, valid: NDArray[np.bool_]) -> None:
        """Where a vector is valid its norm counts, whatever the norm's own field says."""
        for whole, field, first, norm in NORMS:
            known = valid[:, MASK[whole]]
            if known.any():
                part = x[known, self.col[field]][:, first : first + 3]
                x[known, self.col[norm].start] = np.sqrt(np.add.reduce(part * part, axis=1))
                valid[:, MASK[norm]] |= known

    def _reversals(self, dq: Vec) -> Vec:
        """Sign changes of dq/dq_max beyond the deadband, per tick, mean over joints."""
        dead = C["reversal_deadband"]
        sign = np.concatenate((self._sign, np.sign(dq) * (np.abs(dq) > dead)))
        at = np.maximum.accumulate(np.where(sign != 0, np.arange(len(sign))[:, None], 0), axis=0)
        sign = np.take_along_axis(sign, at, axis=0)  # holds the last sign beyond the deadband
        self._sign = sign[-1:]
        return cast("Vec", np.add.reduce(sign[1:] * sign[:-1] < 0, axis=1) / self.joints)

    def _band(self, a: int, b: int) -> Vec:
        """|band-passed F| per tick; 0 where one of the filter's forces is missing."""
        a, b = a - len(self.taps) + 1, b - len(self.taps) + 1
        y = np.add.reduce(self._force_view[a:b] * self.taps, axis=2)  # taps are symmetric
        known = np.logical_and.reduce(self._known_view[a:b], axis=1)
        return cast("Vec", np.sqrt(np.add.reduce(y * y, axis=1)) * known)

    def _store(self, block: Vec, n: int) -> None:
        length = self.win.long
        at = self.count % length
        self.ring[:, at : at + n] = block
        low = min(n, length - at)  # of these many, the twin lies L further, of the rest L before
        self.ring[:, at + length : at + length + low] = block[:, :low]
        if low < n:
            self.ring[:, : n - low] = block[:, low:]
        self.count += n


def _dot(a: Vec, b: Vec) -> Vec:
    return cast("Vec", np.add.reduce(a * b, axis=1))


def _cross(a: Vec, b: Vec) -> Vec:
    out = np.empty(b.shape)
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        out[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    return out


def rotate(quat: Vec, v: Vec) -> Vec:
    """`v` (n, k, 3) turned by `quat` (n, 4) wxyz of any length; 0 for a zero quaternion."""
    u, w = quat[:, None, 1:], quat[:, None, :1]
    n2 = np.add.reduce(quat * quat, axis=1)[:, None, None]
    t = 2.0 * _cross(u, v)
    return cast(
        "Vec", np.where(n2 > 1e-12, v + (w * t + _cross(u, t)) / np.maximum(n2, 1e-12), 0.0)
    )


def _twist(now: Vec, then: Vec) -> Vec:
    """Translation and rotation vector (length 2 sin(angle/2)) from `then` to `now`, base frame."""
    out = np.empty((len(now), 6))
    out[:, :3] = now[:, :3] - then[:, :3]
    a, b = now[:, 3:], then[:, 3:]
    n2 = np.sqrt(_dot(a, a)[:, None] * _dot(b, b)[:, None])
    w = _dot(a, b)[:, None]  # of a * conj(b)
    u = b[:, :1] * a[:, 1:] - a[:, :1] * b[:, 1:] - _cross(a[:, 1:], b[:, 1:])
    out[:, 3:] = np.where(n2 > 1e-12, 2.0 * np.where(w < 0, -u, u) / np.maximum(n2, 1e-12), 0.0)
    return out
