"""Stage 2 and the stream: the 209 PRO features in float64 NumPy, as `spec.py` names them.

Each feature is a pure function of the last L derived channels (`derive.py`) and of the state
machines (`events.py`) at the latest tick. The C++ twin computes the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.kernels import spec
from headway.kernels.derive import MASK, ROW, Derive
from headway.kernels.events import EMPTY, HOLDING
from headway.kernels.telemetry import Scale

if TYPE_CHECKING:  # this also runs where only NumPy is
    from headway.types import Vec

C = spec.CONSTANTS
AT = spec.INDEX
N6, N4 = len(spec.MOTION6) + len(spec.FORCE6), len(spec.GRIP4)
N5 = len(spec.WRENCH5)
FLOATS = NDArray[np.float32]


class FeatureStream:
    """Features of one robot's telemetry, tick by tick.

    `push` takes a row of `telemetry.dtype(joints)`, every tick of 1/rate_hz. `features` may be
    asked after any tick. Raises ConfigError for a scale or rate that does not fit.
    """

    impl = "numpy"

    def __init__(self, scale: Scale, joints: int, rate_hz: float) -> None:
        self._derive = Derive(scale, joints, rate_hz)
        self.push = self._derive.push
        self.reset = self._derive.reset
        self.scale, self.joints, self.rate_hz = scale, joints, float(rate_hz)
        length = self._derive.win.long
        span = np.asarray(scale.q_max, np.float64) - np.asarray(scale.q_min, np.float64)
        self._limited = np.isfinite(span) & (span > 0)  # a continuous joint has no limit to near
        self._span = np.where(self._limited, span, 1.0)
        self._needs = np.array([[m not in f.needs for m in spec.MASKS] for f in spec.FEATURES])
        self._rate_bits = np.array(spec.rate_bits(self.rate_hz))
        # a Hann window keeps a slow trend from leaking into the high bins
        self._hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        hz = np.arange(length // 2 + 1) * (rate_hz / length)
        weight = np.where((hz == 0) | (2 * hz >= rate_hz), 1.0, 2.0)  # one-sided spectrum
        weight[0] = 0.0
        lo, hi = self._derive.win.band
        self._bands = np.stack(
            [
                weight,
                weight * (hz > C["motion_hf_hz"]),
                weight * (hz <= C["lf_hz"]),
                weight * ((hz >= lo) & (hz <= hi)),
                weight * hz,
            ],
            axis=1,
        ) / (length * length)
        self._spectral = np.array(
            [ROW["v"], ROW["Fx"], ROW["Fy"], ROW["Fz"], *range(len(ROW), len(ROW) + joints)]
        )
        self._padded = np.zeros((joints + 4, length))
        self._slopes: dict[int, Vec] = {}
        self.bind(np.zeros(spec.N_FEATURES, np.float32), np.zeros(spec.N_MASKS, np.float32))

    def bind(self, out_features: FLOATS, out_mask: FLOATS) -> None:
        """Have `step` write features (209,) and mask bits (29,) into these arrays."""
        self._bound = out_features, out_mask

    def step(self, row: np.void) -> tuple[FLOATS, FLOATS]:
        """`push` and `features` at once, into the bound arrays: the next step overwrites them."""
        self.push(row)
        return self.features(*self._bound)

    def features(
        self, out_features: FLOATS | None = None, out_mask: FLOATS | None = None
    ) -> tuple[FLOATS, FLOATS]:
        """Features (209,) and mask bits (29,) as of the latest tick, into `out_*` where given;
        all zero before the first tick. Never NaN or infinite."""
        out = np.empty(spec.N_FEATURES, np.float32) if out_features is None else out_features
        bits = np.empty(spec.N_MASKS, np.float32) if out_mask is None else out_mask
        d = self._derive
        d.advance()
        if d.count == 0:
            out[:] = 0
            bits[:] = 0
            return out, bits
        w = d.window()
        m = w.shape[1]
        mean = np.add.reduce(w[: len(ROW)], axis=1) / m
        valid = slice(ROW["valid_q"], len(ROW))
        groups = (w[valid, -1] > 0) & (mean[valid] >= 0.5)
        present = np.concatenate((groups, self._rate_bits))
        f = np.zeros(spec.N_FEATURES)
        self._stats(f, w, mean)
        self._motion(f, w, mean)
        self._force(f, w, mean)
        self._spectra(f, w)
        self._gripper(f, w, mean)
        self._status(f, mean)
        missing = np.logical_or.reduce(~(self._needs | present), axis=1)
        np.clip(f, -C["out_max"], C["out_max"], out=f)
        f[missing] = 0.0
        out[:] = f
        bits[:] = present
        return out, bits

    def _age(self, ticks: int) -> float:
        return min(ticks / self.rate_hz, C["age_cap_s"]) / C["age_cap_s"]

    def _slope(self, m: int) -> Vec:
        """Weights of the least-squares slope over m ticks [1/s]: (t - mean t) / sum of squares."""
        if m not in self._slopes:
            t = (np.arange(m) - (m - 1) / 2) / self.rate_hz
            self._slopes[m] = np.asarray(t / max(float(t @ t), 1e-300), np.float64)
        return self._slopes[m]

    def _stats(self, f: Vec, w: Vec, mean: Vec) -> None:
        """Stats6 of the motion and force channels, Stats4 of the gripper's, Stats5 of the wrench's
        components."""
        m, n = w.shape[1], N6 + N4 + N5
        short = w[:N6, -min(m, self._derive.win.short) :]
        rms = np.sqrt(np.einsum("ij,ij->i", w[:N6], w[:N6]) / m)
        rms_short = np.sqrt(np.einsum("ij,ij->i", short, short) / short.shape[1])
        top = np.max(w[:n], axis=1)
        slope = w[:n] @ self._slope(m)
        six = np.stack(
            (w[:N6, -1], mean[:N6], rms, top[:N6], slope[:N6], rms_short / (rms + C["ratio_eps"])),
            axis=1,
        )
        cut = len(spec.MOTION6)
        at = spec.SLICES["motion"].start
        f[at : at + 6 * cut] = six[:cut].ravel()
        at = spec.SLICES["force"].start
        f[at : at + 6 * (N6 - cut)] = six[cut:].ravel()
        at += 6 * (N6 - cut)
        c = slice(N6 + N4, n)
        low = np.min(w[c], axis=1)
        f[at : at + 5 * N5] = np.stack((w[c, -1], mean[c], low, top[c], slope[c]), axis=1).ravel()
        at, c = spec.SLICES["gripper"].start, slice(N6, N6 + N4)
        f[at : at + 4 * N4] = np.stack((w[c, -1], mean[c], top[c], slope[c]), axis=1).ravel()

    def _motion(self, f: Vec, w: Vec, mean: Vec) -> None:
        d, m = self._derive, w.shape[1]
        total = m / self.rate_hz
        # ln(T^3 / v_peak^2 * integral |d2v/dt2|^2 dt), Balasubramanian et al. 2015
        peak = f[AT["v.max"]] * self.scale.v_max
        rough = total**4 * mean[ROW["vjerk2"]] / (peak * peak + C["speed_floor"] ** 2)
        f[AT["ldlj"]] = -np.log(rough + C["ldlj_eps"])
        f[AT["reversals"]] = mean[ROW["reversals"]] * m
        net = w[ROW["px"] : ROW["px"] + 3, -1] - w[ROW["px"] : ROW["px"] + 3, 0]
        path = np.add.reduce(w[ROW["path"], 1:])
        f[AT["straight"]] = min(np.sqrt(net @ net) / (path + C["path_floor"]), 1.0)  # gap: no path
        f[AT["slow"]] = np.mean(w[ROW["v"]] < C["slow_speed"] / self.scale.v_max)
        q = d.latest[d.col["q"]]
        near = np.minimum(q - self.scale.q_min, self.scale.q_max - q) / self._span
        f[AT["limit_dist"]] = np.min(near, where=self._limited, initial=1.0)
        f[AT["saturated"]] = mean[ROW["saturated"]]

    def _force(self, f: Vec, w: Vec, mean: Vec) -> None:
        c, m = self._derive.contact, w.shape[1]
        xyz = w[ROW["Fx"] : ROW["Fx"] + 3]
        x = xyz - np.add.reduce(xyz, axis=1)[:, None] / m
        x2 = x * x
        m2 = np.add.reduce(x2, axis=1) / m
        m3 = np.add.reduce(x2 * x, axis=1) / m
        m4 = np.add.reduce(x2[2] * x2[2]) / m
        floor = m2 + C["moment_floor"]
        f[AT["skew_fx"]], f[AT["skew_fy"]] = m3[:2] / floor[:2] ** 1.5
        f[AT["kurt_fz"]] = (m4 - 3 * m2[2] * m2[2]) / floor[2] ** 2
        at = AT["contact"]
        f[at : at + 7] = (
            c.on,
            mean[ROW["onset"]] * m,
            self._age(c.age),
            c.peak,
            c.impulse,
            c.work_neg,
            c.work_pos,
        )
        f[AT["lateral"]] = f[AT["Fxy.last"]] / (abs(f[AT["Fz.last"]]) + C["lateral_floor"])
        g = self._derive.grasp
        f[AT["load_change"]] = c.load - g.load if g.lifted and g.state == HOLDING else 0.0

    def _spectra(self, f: Vec, w: Vec) -> None:
        """One FFT for the speed (no window: SPARC), F and dq (mean out, Hann)."""
        m, pad = w.shape[1], self._padded
        x = w[self._spectral]
        x[1:] -= np.add.reduce(x[1:], axis=1)[:, None] / m
        x[1:] *= self._hann[-m:]
        pad[:, -m:] = x
        if m < pad.shape[1]:
            pad[:, :-m] = 0.0
        z = np.fft.rfft(pad, axis=1)
        bins = int(C["sparc_bins"])
        z0 = np.zeros(bins)
        z0[: z.shape[1]] = np.abs(z[0, :bins])  # at a low rate there are fewer bins
        a = z0 / pad.shape[1] * self.scale.v_max
        step = np.diff(a) / (a[0] + C["sparc_floor"])
        f[AT["sparc"]] = -np.sum(np.sqrt((1.0 / (bins - 1)) ** 2 + step * step))
        power = z.real[1:] ** 2 + z.imag[1:] ** 2
        force = np.add.reduce(power[:3], axis=0) @ self._bands
        joint = np.add.reduce(power[3:], axis=0) @ self._bands
        f[AT["hf_share"]] = joint[1] / (joint[0] + C["motion_floor"])
        f[AT["hf_ratio"]] = force[3] / (force[2] + force[3] + C["force_floor"])
        f[AT["centroid"]] = force[4] / (force[0] + C["force_floor"])

    def _gripper(self, f: Vec, w: Vec, mean: Vec) -> None:
        g, m = self._derive.grasp, w.shape[1]
        s = min(m, self._derive.win.short)
        drift = std = decay = 0.0
        if g.state == HOLDING:
            width = w[ROW["width"], -s:]
            off = width - np.add.reduce(width) / s
            drift = f[AT["width.last"]] - g.width
            std = 100.0 * float(np.sqrt(off @ off / s))
            decay = float(w[ROW["grip"], -s:] @ self._slope(s))
        at = AT["closed_empty"]
        f[at : at + 12] = (
            g.state == EMPTY,
            drift,
            std,
            decay,
            self._age(g.age),
            g.closes,
            g.recloses,
            g.dropped,
            mean[ROW["holding"]],
            w[ROW["vacuum"], -1],
            w[ROW["vacuum"]] @ self._slope(m),
            self._derive.task.vacuum,
        )

    def _status(self, f: Vec, mean: Vec) -> None:
        d, t = self._derive, self._derive.task
        now = {name: float(d.latest[c.start]) for name, c in d.col.items()}
        for name, count in (("phase", spec.N_PHASES), ("task", spec.N_TASKS)):
            if 0 <= (i := int(np.floor(now[name] + 0.5))) < count:
                f[AT[f"{name}_{i}"]] = 1.0
        w = d.window()
        at = AT["phase_age"]
        f[at : at + 12] = (
            self._age(t.phase_age),
            min(max(now["elapsed"], 0.0) / max(now["limit"], 1e-3), C["overtime_max"]),
            t.retries,
            t.retries - t.retries_before,
            self._age(t.retry_age),
            t.ewma,
            now["recovery"],
            now["protective_stop"],
            now["ik_failure"],
            mean[ROW["clamped"]],
            now["watchdog"],
            np.max(w[ROW["seam"]]),
        )
        f[AT["disagreement"]] = now["chunk_disagreement"]
        f[AT["jitter"]] = 1e3 * np.max(w[ROW["jitter"]])
        at = AT["place_confirm"]
        f[at : at + 4] = (
            now["place_confirm"],
            now["barcode"],
            now["scale_match"],
            self._age(t.operator_age),
        )


def batch(
    rows: NDArray[Any], scale: Scale, rate_hz: float, every: int = 1
) -> tuple[FLOATS, FLOATS]:
    """Features (n // every, 209) and masks (n // every, 29) of a recording: after each `every` rows
    exactly what a stream gives then."""
    return play(FeatureStream(scale, rows["q"].shape[1], rate_hz), rows, every)


def play(stream: Any, rows: NDArray[Any], every: int) -> tuple[FLOATS, FLOATS]:
    """As `batch`, by a stream that is there, of whatever implementation."""
    n = len(rows) // every
    features = np.zeros((n, spec.N_FEATURES), np.float32)
    masks = np.zeros((n, spec.N_MASKS), np.float32)
    for i in range(n):
        for row in rows[i * every : (i + 1) * every]:
            stream.push(row)
        stream.features(features[i], masks[i])
    return features, masks


def features_batch(windows: NDArray[Any], scale: Scale, rate_hz: float) -> tuple[FLOATS, FLOATS]:
    """Features (B, 209) and masks (B, 29) after the last row of each of B windows (B, T), each a
    stream that began with its first row."""
    features = np.zeros((len(windows), spec.N_FEATURES), np.float32)
    masks = np.zeros((len(windows), spec.N_MASKS), np.float32)
    stream = FeatureStream(scale, windows["q"].shape[2], rate_hz)
    for i, rows in enumerate(windows):
        stream.reset()
        for row in rows:
            stream.push(row)
        stream.features(features[i], masks[i])
    return features, masks


__all__ = ["MASK", "FeatureStream", "batch", "features_batch"]
