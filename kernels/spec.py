"""The only definition of the PRO features: names, units, meanings, constants, and their hash.

176 features in four groups (Motion 56, Force/torque 56, Gripper 32, Status 32) and 16 mask bits.
This file needs nothing but the standard library, because the build reads it to write the C++ header
(`cpp/generate.py`); no constant is typed twice. The arithmetic is in `oracle.py`.

Rules that hold for every feature
- Causal. One tick is 1/rate_hz; `t_ns` is not used, so a skipped tick counts as no time.
- Windows end at the latest tick and hold m = min(ticks since reset, L) of them, statistics are over
  what there is. Spectra are zero-padded in front to L, so their bins stay at the same frequencies.
- Stats6 = last, mean_L, RMS_L, max_L, least-squares slope_L [1/s], RMS_S / (RMS_L + eps).
  Stats4 = last, mean_L, max_L, slope_L.
- A derivative is the difference over `diff_s` (k ticks) divided by k dt, an FIR that a raw
  difference's noise would drown: at 500 Hz k = 5 cuts jerk noise 25-fold. It is 0 where one of its
  samples is missing, so a gap makes no spike.
- Joint norms are |x| / sqrt(J), so that arms of 5 to 8 joints compare.
- A quotient is a / (b + eps) with a floor below which a signal is noise: smooth, never 0/0.
- Ages are min(age, age_cap_s) / age_cap_s; 1 = long ago or never.
- Every output is clipped to +-`out_max` and is 0 where an input group that it needs is masked.

Masking: a tick of an input group is valid when all of the group's fields are finite and within
+-`in_max`. An invalid tick holds the last valid values (0 before the first). The group's bit is 1
when its latest tick is valid and so are at least half of the ticks in the window. `dq`, `dq_ref`
and `twist` that are missing are derived from `q`, `q_ref` and `tcp`.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache
from typing import NamedTuple

VERSION = 2  # goes up with any change of the arithmetic that the constants below do not show

# mask bit -> telemetry fields that must all be valid
MASK_FIELDS: dict[str, tuple[str, ...]] = {
    "q": ("q",),
    "dq": ("dq",),  # or derived from q
    "ref": ("q_ref",),
    "dq_ref": ("dq_ref",),  # or derived from q_ref
    "tau": ("tau_ext",),
    "tcp": ("tcp",),
    "twist": ("twist",),  # or derived from tcp
    "wrench": ("wrench",),
    "gripper": ("width", "width_ref"),
    "grip_force": ("grip_force",),
    "vacuum": ("vacuum",),
    "controller": ("phase", "elapsed", "limit", "task"),
    "retries": ("retries", "recovery"),
    "safety": ("protective_stop", "ik_failure", "clamped", "watchdog"),
    "chunk": ("seam_jump", "chunk_disagreement", "comms_jitter"),
    "station": ("place_confirm", "barcode", "scale_match", "operator"),
}
MASKS: tuple[str, ...] = tuple(MASK_FIELDS)

# every number that a formula uses; seconds, newtons, metres, hertz, or relative where it says so
CONSTANTS: dict[str, float] = {
    "window_short_s": 0.128,  # S = 64 ticks at 500 Hz
    "window_long_s": 0.512,  # L = 256 ticks at 500 Hz
    "diff_s": 0.010,  # baseline of derivatives
    "diff_force_s": 0.005,  # baseline of |dF|
    "accel_s": 0.1,  # ddq, dtau times this, jerk times its square: dimensionless, order 1
    "in_max": 1e6,  # a finite input beyond this is no measurement
    "out_max": 1e4,
    "ratio_eps": 1e-6,  # RMS_S / RMS_L
    "age_cap_s": 10.0,
    "speed_floor": 0.01,  # [m/s] below it log dimensionless jerk rates noise
    "ldlj_eps": 1e-6,
    "sparc_bins": 6,  # 0..9.8 Hz
    "sparc_floor": 1e-3,  # [m/s]
    "reversal_deadband": 0.01,  # of dq_max
    "motion_hf_hz": 20.0,
    "motion_floor": 1e-6,  # energy, (dq/dq_max)^2
    "path_floor": 1e-3,  # [m]
    "slow_speed": 2e-3,  # [m/s]
    "saturated": 0.98,  # of dq_max
    "contact_on": 3.0,  # [N]
    "contact_off": 1.5,
    "moment_floor": 2.5e-3,  # [N^2], (0.05 N)^2: skew and kurtosis of less are sensor noise
    "lateral_floor": 0.5,  # [N]
    "force_floor": 1e-4,  # [N^2] spectral energy
    "band_lo_hz": 50.0,  # band 50 Hz .. 0.4 rate; low end at most 0.2 rate
    "band_lo_rate": 0.2,
    "band_hi_rate": 0.4,
    "band_taps_s": 0.066,  # FIR length
    "lf_hz": 20.0,
    "load_tau_s": 0.1,  # low-pass of |F|: the quasi-static load
    "lift_m": 0.02,  # TCP this far above where the grasp settled = lifted
    "close_travel": 0.15,  # width_ref turns back by this [stroke] = a close or an open
    "settle_min_s": 0.2,  # a gripper may take that long to start
    "settle_s": 0.1,
    "settle_travel": 0.01,  # [stroke] jaws that stay this near one width for settle_s are at rest
    "hold_gap": 0.02,  # settled this far [stroke] short of width_ref = something is held
    "drop_gap": 0.01,
    "vacuum_on": 0.5,
    "vacuum_off": 0.3,
    "retry_tau_s": 10.0,
    "overtime_max": 2.0,  # cap of elapsed / limit
}

MOTION6 = ("dq", "v", "ddq", "jerk", "q_err", "dq_err", "tau", "dtau")
FORCE6 = ("F", "M", "Fz", "Fxy", "dF", "power", "band")
GRIP4 = ("width", "width_err", "width_rate", "grip", "grip_rate")
STATS6 = ("last", "mean", "rms", "max", "slope", "ratio")
STATS4 = ("last", "mean", "max", "slope")
# the rows of the window, in this order, then one dq/dq_max row per joint
EXTRA = (
    "vjerk2", "reversals", "px", "py", "pz", "path", "saturated", "Fx", "Fy",
    "onset", "holding", "vacuum", "clamped", "seam", "jitter",
)  # fmt: skip
CHANNELS: tuple[str, ...] = (*MOTION6, *FORCE6, *GRIP4, *EXTRA, *(f"valid_{m}" for m in MASKS))


class Feature(NamedTuple):
    """`needs` are the mask bits without which the feature is 0."""

    name: str
    unit: str
    meaning: str
    needs: tuple[str, ...]


def _stats(
    channels: dict[str, tuple[str, str, str]], stats: tuple[str, ...]
) -> tuple[Feature, ...]:
    def unit(u: str, s: str) -> str:
        return {"slope": f"{u}/s", "ratio": "1"}.get(s, u)

    return tuple(
        Feature(f"{c}.{s}", unit(u, s), f"{s} of {meaning}", tuple(needs.split()))
        for c, (u, meaning, needs) in channels.items()
        for s in stats
    )


def _list(text: str) -> tuple[Feature, ...]:
    rows = [[p.strip() for p in line.split("|", 3)] for line in text.strip().splitlines()]
    return tuple(Feature(n, u, m, tuple(needs.split())) for n, u, needs, m in rows)


MOTION = _stats(
    {
        "dq": ("1", "|dq / dq_max|", "dq"),
        "v": ("1", "TCP speed / v_max", "twist"),
        "ddq": ("1", "|ddq / dq_max| accel_s", "dq"),
        "jerk": ("1", "|dddq / dq_max| accel_s^2", "dq"),
        "q_err": ("1", "|(q_ref - q) / q_tol|", "q ref"),
        "dq_err": ("1", "|(dq_ref - dq) / dq_max|", "dq dq_ref"),
        "tau": ("1", "|tau_ext / tau_max|", "tau"),
        "dtau": ("1", "|d tau_ext/dt / tau_max| accel_s", "tau"),
    },
    STATS6,
) + _list("""
ldlj        | 1 | twist | log dimensionless jerk of v_tcp over L (Balasubramanian et al. 2015)
sparc       | 1 | twist | spectral arc length of the speed, 6 bins (Balasubramanian et al. 2015)
reversals   | 1 | dq    | sign reversals of dq in L beyond a deadband, per joint
hf_share    | 1 | dq    | share of the energy of dq above 20 Hz (Hann window, mean taken out)
straight    | 1 | tcp   | net TCP displacement over path length in L
slow        | 1 | twist | fraction of L with TCP speed below 2 mm/s
limit_dist  | 1 | q     | distance to the nearest joint limit over that joint's range
saturated   | 1 | dq    | fraction of L with a joint at 98 % of its speed limit
""")
FORCE = _stats(
    {
        "F": ("N", "|F|", "wrench"),
        "M": ("Nm", "|M|", "wrench"),
        "Fz": ("N", "Fz, TCP frame", "wrench"),
        "Fxy": ("N", "|Fxy|, TCP frame", "wrench"),
        "dF": ("N", "|F(t) - F(t - 5 ms)|", "wrench"),
        "power": ("W", "F.v + M.w, done on the tool", "wrench tcp twist"),
        "band": ("N", "|F| after the 50 Hz .. 0.4 rate band-pass", "wrench"),
    },
    STATS6,
) + _list("""
skew_fx     | 1  | wrench           | skewness of Fx in L (biased)
skew_fy     | 1  | wrench           | skewness of Fy in L (biased)
kurt_fz     | 1  | wrench           | excess kurtosis of Fz in L (biased)
contact     | 1  | wrench           | contact bit, on at |F| >= 3 N, off at <= 1.5 N
onsets      | 1  | wrench           | contact onsets in L
onset_age   | 1  | wrench           | age of the last onset
peak        | N  | wrench           | peak |F| since onset, contact only
impulse     | Ns | wrench           | integral of |F| since onset, contact only
work_neg    | J  | wrench tcp twist | work taken from the tool since onset (Hannaford & Ryu 2002)
work_pos    | J  | wrench tcp twist | work done on the tool since onset (Hannaford & Ryu 2002)
lateral     | 1  | wrench           | |Fxy| / (|Fz| + 0.5 N)
load_change | N  | wrench tcp gripper | low-passed |F| against its value at lift, while held
hf_ratio    | 1  | wrench           | energy of F: band / (band + below 20 Hz)
centroid    | Hz | wrench           | spectral centroid of F (three axes, Hann window, mean out)
""")
GRIPPER = _stats(
    {
        "width": ("1", "width / stroke", "gripper"),
        "width_err": ("1", "(width - width_ref) / stroke", "gripper"),
        "width_rate": ("1/s", "d width/dt / stroke", "gripper"),
        "grip": ("1", "grip force / force_max", "grip_force"),
        "grip_rate": ("1/s", "d grip force/dt / force_max", "grip_force"),
    },
    STATS4,
) + _list("""
closed_empty | 1   | gripper            | 1 from closing on nothing until the next open or close
width_drift  | 1   | gripper            | width since the grasp settled, change / stroke, while held
hold_std     | 1   | gripper            | 100 x deviation of width / stroke over S, while held
force_decay  | 1/s | gripper grip_force | slope over S of grip force / force_max, while held
close_age    | 1   | gripper            | age of the last close command
closes       | 1   | gripper            | close commands so far
recloses     | 1   | gripper tcp        | closes so far that no lift had gone before
dropped      | 1   | gripper            | 1 from losing what was held until the next open or close
hold_duty    | 1   | gripper            | fraction of L in which something was held
vacuum       | 1   | vacuum             | vacuum level
vacuum_slope | 1/s | vacuum             | its slope over L
vacuum_on    | 1   | vacuum             | vacuum present, on at 0.5, off at 0.3
""")
STATUS = _list(
    "\n".join(f"phase_{i} | 1 | controller | controller is in phase {i}" for i in range(8))
    + """
phase_age    | 1  | controller | time in this phase
elapsed      | 1  | controller | elapsed / limit, at most 2
retries      | 1  | retries    | retries so far
retries_phase| 1  | retries controller | retries in this phase
retry_age    | 1  | retries    | age of the last retry
retry_ewma   | 1  | retries    | retries, forgotten with a time constant of 10 s
recovery     | 1  | retries    | recovery active
stop         | 1  | safety     | protective stop
ik_failure   | 1  | safety     | inverse kinematics failed
clamp_rate   | 1  | safety     | fraction of L in which the guard changed the command
watchdog     | 1  | safety     | no fresh action chunk
seam         | rad| chunk      | largest joint jump at a chunk seam in L
disagreement | rad| chunk      | RMS difference of overlapping chunks
jitter       | ms | chunk      | largest communication jitter in L
task_0       | 1  | controller | task 0
task_1       | 1  | controller | task 1
task_2       | 1  | controller | task 2
place_confirm| 1  | station    | place confirmed
barcode      | 1  | station    | barcode read
scale_match  | 1  | station    | scale agrees
operator_age | 1  | station    | age of the last operator flag
spare_0      | 1  |            | always 0
spare_1      | 1  |            | always 0
spare_2      | 1  |            | always 0"""
)
GROUPS: dict[str, tuple[Feature, ...]] = {
    "motion": MOTION,
    "force": FORCE,
    "gripper": GRIPPER,
    "status": STATUS,
}
FEATURES: tuple[Feature, ...] = MOTION + FORCE + GRIPPER + STATUS
NAMES: tuple[str, ...] = tuple(f.name for f in FEATURES)
UNITS: tuple[str, ...] = tuple(f.unit for f in FEATURES)
INDEX: dict[str, int] = {n: i for i, n in enumerate(NAMES)}
N_FEATURES, N_MASKS = len(FEATURES), len(MASKS)


def group_slices() -> dict[str, slice]:
    """Where each group lies in the feature vector."""
    out, at = {}, 0
    for name, members in GROUPS.items():
        out[name] = slice(at, at + len(members))
        at += len(members)
    return out


SLICES = group_slices()


class Windows(NamedTuple):
    """Constants in ticks of one rate; `band` [Hz], `taps` of the band-pass."""

    short: int
    long: int
    diff: int
    diff_force: int
    band: tuple[float, float]
    taps: tuple[float, ...]


@cache
def windows(rate_hz: float) -> Windows:
    """Windows and filter at `rate_hz`. The band-pass is a Hamming-windowed sinc, linear phase,
    odd length (Oppenheim & Schafer, Discrete-Time Signal Processing, 7.5)."""
    c = CONSTANTS

    def ticks(s: str) -> int:
        return max(1, math.floor(c[s] * rate_hz + 0.5))

    lo, hi = min(c["band_lo_hz"], c["band_lo_rate"] * rate_hz), c["band_hi_rate"] * rate_hz
    half = max(2, math.floor(c["band_taps_s"] * rate_hz / 2))
    a, b = lo / rate_hz, hi / rate_hz
    window = [0.54 + 0.46 * math.cos(math.pi * i / half) for i in range(-half, half + 1)]
    ideal = [
        (math.sin(2 * math.pi * b * i) - math.sin(2 * math.pi * a * i)) / (math.pi * i)
        if i
        else 2 * (b - a)
        for i in range(-half, half + 1)
    ]
    dc = sum(x * w for x, w in zip(ideal, window, strict=True)) / sum(window)
    taps = [(x - dc) * w for x, w in zip(ideal, window, strict=True)]  # a constant gives 0
    return Windows(
        ticks("window_short_s"),
        ticks("window_long_s"),
        ticks("diff_s"),
        ticks("diff_force_s"),
        (lo, hi),
        tuple(taps),
    )


@cache
def spec_hash() -> str:
    """SHA-256 of names, units, meanings, needs, masks and constants; the same for every robot."""
    text = json.dumps(
        [VERSION, FEATURES, MASK_FIELDS, CHANNELS, CONSTANTS], sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()
