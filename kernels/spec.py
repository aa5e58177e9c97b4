"""The only definition of the PRO features: names, units, meanings, constants, and their hash.

209 features in four groups (Motion 62, Force/torque 86, Gripper 32, Status 29) and 29 mask bits.
This file needs nothing but the standard library, because the build reads it to write the C++ header
(`cpp/generate.py`); no constant is typed twice. The arithmetic is in `oracle.py`.

Rules that hold for every feature
- Causal. One tick is 1/rate_hz; `t_ns` is not used, so a skipped tick counts as no time.
- Windows end at the latest tick and hold m = min(ticks since reset, L) of them, statistics are over
  what there is. Spectra are zero-padded in front to L, so their bins stay at the same frequencies.
- Stats6 = last, mean_L, RMS_L, max_L, least-squares slope_L [1/s], RMS_S / (RMS_L + eps).
  Stats5 = last, mean_L, min_L, max_L, slope_L. Stats4 = last, mean_L, max_L, slope_L.
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
and `twist` that are missing are derived from `q`, `q_ref` and `tcp`. `force_norm` and `torque_norm`
are the norms of the wrench's force and torque wherever those are valid, whatever the fields say,
and else the fields; so are `speed` and `spin` the norms of the twist's two halves, derived or not.
The spin is in rad/s for every robot, as forces are in N: no limit of it is stated to divide by.

The rate has mask bits of its own: `rate_N` is 1 from N Hz on. A feature that needs N Hz needs that
bit, so that a head is told by one and the same mask what a robot lacks and what its rate cannot
carry, and a recording says both. Below the rate that it needs, a feature would mean something else:
a difference over 10 ms would be one over 50 ms, a band up to 200 Hz would be another band.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

VERSION = 3  # goes up with any change of the arithmetic that the constants below do not show

LOWEST_HZ, HIGHEST_HZ = 10.0, 4000.0  # of the ticks that features are computed at

# mask bit -> telemetry fields that must all be valid
MASK_FIELDS: dict[str, tuple[str, ...]] = {
    "q": ("q",),
    "dq": ("dq",),  # or derived from q
    "ref": ("q_ref",),
    "dq_ref": ("dq_ref",),  # or derived from q_ref
    "tau": ("tau_ext",),
    "tcp": ("tcp",),
    "twist": ("twist",),  # or derived from tcp
    "speed": ("speed",),  # or derived from twist
    "spin": ("spin",),  # or derived from twist
    "force": ("wrench",),  # its first three columns
    "torque": ("wrench",),  # the others
    "force_norm": ("force_norm",),  # or derived from force
    "torque_norm": ("torque_norm",),  # or derived from torque
    "width": ("width",),
    "width_ref": ("width_ref",),
    "grip_force": ("grip_force",),
    "touch": ("touch",),
    "vacuum": ("vacuum",),
    "phase": ("phase",),
    "clock": ("elapsed", "limit"),
    "task": ("task",),
    "retries": ("retries", "recovery"),
    "safety": ("protective_stop", "ik_failure", "clamped", "watchdog"),
    "chunk": ("seam_jump", "chunk_disagreement", "comms_jitter"),
    "station": ("place_confirm", "barcode", "scale_match", "operator"),
}
SPLIT = {"wrench": 3}  # field of two masks -> how many of its columns are of the first one
# mask bit -> the lowest rate of ticks [Hz] at which it is 1
MASK_RATES: dict[str, float] = {f"rate_{hz}": float(hz) for hz in (50, 100, 200, 400)}
MASKS: tuple[str, ...] = (*MASK_FIELDS, *MASK_RATES)
N_PHASES, N_TASKS = 8, 3  # one-hot
N_GROUPS = len(MASK_FIELDS)  # the first so many bits are of groups of telemetry fields

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

MOTION6 = ("dq", "v", "w", "ddq", "jerk", "q_err", "dq_err", "tau", "dtau")
FORCE6 = ("F", "M", "Fxy", "dF", "power", "band", "touch")
GRIP4 = ("width", "width_err", "width_rate", "grip", "grip_rate")
WRENCH5 = ("Fx", "Fy", "Fz", "Mx", "My", "Mz")  # signed: a norm does not tell where it came from
STATS6 = ("last", "mean", "rms", "max", "slope", "ratio")
STATS5 = ("last", "mean", "min", "max", "slope")
STATS4 = ("last", "mean", "max", "slope")
# the rows of the window, in this order, then one dq/dq_max row per joint
EXTRA = (
    "vjerk2", "reversals", "px", "py", "pz", "path", "saturated",
    "onset", "holding", "vacuum", "clamped", "seam", "jitter",
)  # fmt: skip
CHANNELS: tuple[str, ...] = (
    *MOTION6, *FORCE6, *GRIP4, *WRENCH5, *EXTRA, *(f"valid_{m}" for m in MASK_FIELDS)
)  # fmt: skip


class Feature(NamedTuple):
    """`needs` are the mask bits without which the feature is 0."""

    name: str
    unit: str
    meaning: str
    needs: tuple[str, ...]

    @property
    def rate_hz(self) -> float:
        """The lowest rate of ticks [Hz] that can carry the feature."""
        return max((MASK_RATES[m] for m in self.needs if m in MASK_RATES), default=LOWEST_HZ)


def _stats(
    channels: dict[str, tuple[str, str, str]], stats: tuple[str, ...]
) -> tuple[Feature, ...]:
    def unit(u: str, s: str) -> str:
        return {"slope": f"{u}/s", "ratio": "1"}.get(s, u)

    def needed(needs: str, s: str) -> tuple[str, ...]:
        # S wants a few ticks; where the channel wants a faster rate, that will do
        return (*needs.split(), *(("rate_50",) if s == "ratio" and "rate_" not in needs else ()))

    return tuple(
        Feature(f"{c}.{s}", unit(u, s), f"{s} of {meaning}", needed(needs, s))
        for c, (u, meaning, needs) in channels.items()
        for s in stats
    )


def _list(text: str) -> tuple[Feature, ...]:
    rows = [[p.strip() for p in line.split("|", 3)] for line in text.strip().splitlines()]
    return tuple(Feature(n, u, m, tuple(needs.split())) for n, u, needs, m in rows)


MOTION = _stats(
    {
        "dq": ("1", "|dq / dq_max|", "dq"),
        "v": ("1", "TCP speed / v_max", "speed"),
        "w": ("rad/s", "TCP angular speed", "spin"),
        "ddq": ("1", "|ddq / dq_max| accel_s", "dq rate_50"),
        "jerk": ("1", "|dddq / dq_max| accel_s^2", "dq rate_100"),
        "q_err": ("1", "|(q_ref - q) / q_tol|", "q ref"),
        "dq_err": ("1", "|(dq_ref - dq) / dq_max|", "dq dq_ref"),
        "tau": ("1", "|tau_ext / tau_max|", "tau"),
        "dtau": ("1", "|d tau_ext/dt / tau_max| accel_s", "tau rate_100"),
    },
    STATS6,
) + _list("""
ldlj | 1 | twist rate_100 | log dimensionless jerk of v_tcp over L (Balasubramanian et al. 2015)
sparc | 1 | speed rate_50 | spectral arc length of the speed, 6 bins (Balasubramanian et al. 2015)
reversals   | 1 | dq rate_50 | sign reversals of dq in L beyond a deadband, per joint
hf_share    | 1 | dq rate_100 | share of the energy of dq above 20 Hz (Hann window, mean taken out)
straight    | 1 | tcp   | net TCP displacement over path length in L
slow        | 1 | speed | fraction of L with TCP speed below 2 mm/s
limit_dist  | 1 | q     | distance to the nearest joint limit over that joint's range
saturated   | 1 | dq    | fraction of L with a joint at 98 % of its speed limit
""")
FORCE = (
    _stats(
        {
            "F": ("N", "|F|", "force_norm"),
            "M": ("Nm", "|M|", "torque_norm"),
            "Fxy": ("N", "|Fxy|, TCP frame", "force"),
            "dF": ("N", "|F(t) - F(t - 5 ms)|, of the vector", "force rate_200"),
            "power": ("W", "F.v + M.w, done on the tool", "force torque tcp twist"),
            "band": ("N", "|F| after the 50 Hz .. 0.4 rate band-pass", "force rate_400"),
            "touch": ("1", "tactile pad, of its range", "touch"),
        },
        STATS6,
    )
    + _stats(
        {
            **{f"F{a}": ("N", f"F{a}, TCP frame", "force") for a in "xyz"},
            **{f"M{a}": ("Nm", f"M{a}, TCP frame", "torque") for a in "xyz"},
        },
        STATS5,
    )
    + _list("""
skew_fx     | 1  | force rate_50 | skewness of Fx in L (biased)
skew_fy     | 1  | force rate_50 | skewness of Fy in L (biased)
kurt_fz     | 1  | force rate_50 | excess kurtosis of Fz in L (biased)
contact     | 1  | force_norm    | contact bit, on at |F| >= 3 N, off at <= 1.5 N
onsets      | 1  | force_norm    | contact onsets in L
onset_age   | 1  | force_norm    | age of the last onset
peak        | N  | force_norm    | peak |F| since onset, contact only
impulse     | Ns | force_norm    | integral of |F| since onset, contact only
work_neg | J | force torque tcp twist | work taken from the tool since onset (Hannaford & Ryu 2002)
work_pos | J | force torque tcp twist | work done on the tool since onset (Hannaford & Ryu 2002)
lateral     | 1  | force         | |Fxy| / (|Fz| + 0.5 N)
load_change | N | force_norm tcp width width_ref | low-passed |F| less that at the lift, while held
hf_ratio    | 1  | force rate_400 | energy of F: band / (band + below 20 Hz)
centroid    | Hz | force rate_400 | spectral centroid of F (three axes, Hann window, mean out)
""")
)
GRIPPER = _stats(
    {
        "width": ("1", "width / stroke", "width"),
        "width_err": ("1", "(width - width_ref) / stroke", "width width_ref"),
        "width_rate": ("1/s", "d width/dt / stroke", "width rate_50"),
        "grip": ("1", "grip force / force_max", "grip_force"),
        "grip_rate": ("1/s", "d grip force/dt / force_max", "grip_force rate_100"),
    },
    STATS4,
) + _list("""
closed_empty | 1   | width width_ref | 1 from closing on nothing until the next open or close
width_drift  | 1   | width width_ref | width since the grasp settled, change / stroke, while held
hold_std     | 1   | width width_ref rate_50 | 100 x deviation of width / stroke over S, while held
force_decay  | 1/s | width width_ref grip_force rate_50 | slope over S of `grip`, while held
close_age    | 1   | width width_ref | age of the last close command
closes       | 1   | width width_ref | close commands so far
recloses     | 1   | width width_ref tcp | closes so far that no lift had gone before
dropped      | 1   | width width_ref | 1 from losing what was held until the next open or close
hold_duty    | 1   | width width_ref | fraction of L in which something was held
vacuum       | 1   | vacuum          | vacuum level
vacuum_slope | 1/s | vacuum          | its slope over L
vacuum_on    | 1   | vacuum          | vacuum present, on at 0.5, off at 0.3
""")
STATUS = _list(
    "\n".join(f"phase_{i} | 1 | phase | controller is in phase {i}" for i in range(N_PHASES))
    + """
phase_age    | 1  | phase      | time in this phase
elapsed      | 1  | clock      | elapsed / limit, at most 2
retries      | 1  | retries    | retries so far
retries_phase| 1  | retries phase | retries in this phase
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
task_0       | 1  | task       | task 0 of the head's list
task_1       | 1  | task       | task 1 of the head's list
task_2       | 1  | task       | task 2 of the head's list
place_confirm| 1  | station    | place confirmed
barcode      | 1  | station    | barcode read
scale_match  | 1  | station    | scale agrees
operator_age | 1  | station    | age of the last operator flag"""
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


def rate_bits(rate_hz: float) -> tuple[bool, ...]:
    """The bits of `MASK_RATES`, in their order, of ticks at `rate_hz` [Hz]."""
    return tuple(rate_hz >= least for least in MASK_RATES.values())


def feature_mask(bits: Sequence[Any], rate_hz: float) -> tuple[bool, ...]:
    """Which of the N_FEATURES features can be had. `bits` (N_MASKS,) is a mask as a stream gives
    it, of 0 and 1 or False and True in the order of `MASKS`: of it the groups count, while the bits
    of the rate follow from `rate_hz`, the rate of the ticks [Hz]; 10 Hz is the lowest.

        bits = [m in ("force_norm", "touch") for m in spec.MASKS]
        names = list(itertools.compress(spec.NAMES, spec.feature_mask(bits, 20.0)))

    Raises ValueError for another number of bits, or a rate outside of LOWEST_HZ to HIGHEST_HZ."""
    if len(bits) != N_MASKS:
        raise ValueError(f"wanted {N_MASKS} mask bits ({', '.join(MASKS)}), found {len(bits)}")
    if not LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
        raise ValueError(f"wanted {LOWEST_HZ:g}..{HIGHEST_HZ:g} Hz, found {rate_hz}")
    whole = (*(bool(b) for b in list(bits)[:N_GROUPS]), *rate_bits(rate_hz))
    here = {m for m, b in zip(MASKS, whole, strict=True) if b}
    return tuple(here.issuperset(f.needs) for f in FEATURES)


def column_masks(field: str, width: int) -> tuple[str, ...]:
    """The mask of each of the `width` columns of a telemetry field."""
    masks = [mask for mask, fields in MASK_FIELDS.items() if field in fields]
    first = SPLIT.get(field, width)
    return (masks[0],) * first + (masks[-1],) * (width - first)


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
        [VERSION, FEATURES, MASK_FIELDS, SPLIT, MASK_RATES, CHANNELS, CONSTANTS],
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).hexdigest()
