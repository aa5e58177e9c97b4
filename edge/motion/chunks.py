"""Turns action chunks into a joint reference at every tick: `ChunkPlayer` plays what
`headway.edge.motion.actions.to_joints` has made of a chunk.

A chunk's waypoints are interpolated linearly in joint space and smoothed by three moving averages
(FIR trajectory generation, Biagiotti & Melchiorri 2012): a velocity step dv becomes an acceleration
of dv/T1 and a jerk of dv/(T1*T2), so waypoints of ordinary speed stay inside the guard's limits
(`lengths_s`).
The arm follows the waypoints with a delay of `filter_delay_s`; new chunks are planned from the
waypoint reference (`raw`), not from the delayed one.

A new chunk is adopted at the tick at which it is ready, and played from the waypoint that belongs
to that tick's time; its waypoints for earlier times are skipped. The `seam` says how it takes over:
- blend: at once; the jump between the two chunks is blended out over `BLEND_S`.
- rtc: the old chunk fades out over the time that both chunks cover, with the soft mask of real-time
  chunking (Black, Galliker & Levine 2025, eq. 5): weight c (e^c - 1) / (e - 1), where c falls from
  1 at the adoption to 0 at the old chunk's end, or `BLEND_S` after the adoption if that is later.
  In the paper the mask conditions the denoising; here it weights the waypoints, so it works with
  any policy.
- ensemble: mean of all chunks that cover the tick, weighted exp(-decay i) with i = 0 the oldest
  (temporal ensembling, Zhao et al. 2023); each chunk fades out in its last `BLEND_S`.
A jump that the seam leaves is blended out over `BLEND_S` as well, so the reference never steps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.compiled import Computed
from headway.edge.motion.play_clock import PlayClock
from headway.edge.motion.smoother import PythonSmoother, smoother
from headway.types import Limits, Vec

BLEND_S = 0.1  # [s]
TAPS_S = (0.08, 0.06, 0.02)  # lengths of the three moving averages of a quick arm [s]
# A velocity step that the moving averages make small enough for any arm [rad/s]. Policies that are
# taught by people start and stop with such steps; demonstrations are seldom faster.
ORDINARY_STEP = 1.0
Seam = Literal["blend", "rtc", "ensemble"]
_KEPT = 8  # older chunks that an ensemble keeps at most


def lengths_s(limits: Limits, dt: float) -> tuple[float, float, float]:
    """The lengths [s] of the three moving averages for the `limits` that the guard holds an arm to,
    at ticks of `dt` [s]: TAPS_S, or what it takes for a velocity step of ORDINARY_STEP to stay
    within the smallest acceleration and jerk limit of a joint. From dv/T1 and dv/(T1*T2) above, T1
    is then dv/acceleration and T2 is dv/(jerk*T1), both rounded up to whole ticks."""
    first, second, third = TAPS_S
    first = max(first, _up(ORDINARY_STEP / float(limits.ddq_max.min()), dt))
    second = max(second, _up(ORDINARY_STEP / (float(limits.dddq_max.min()) * first), dt))
    return first, second, third


def _up(seconds: float, dt: float) -> float:
    return math.ceil(seconds / dt - 1e-9) * dt


def filter_delay_s(lengths: Sequence[float], dt: float, smoothing: float = 1.0) -> float:
    """The delay [s] of the smoothed reference behind the waypoints, at ticks of `dt` [s] and moving
    averages of `lengths` [s]; for `smoothing` see `ChunkPlayer`."""
    return sum(_taps(smoothing * t, dt) - 1 for t in lengths) / 2 * dt


def _taps(seconds: float, dt: float) -> int:
    return max(1, round(seconds / dt))


# What a chunk does with the jaws. none: it leaves them as they are. binary: it opens or closes
# them, and its grip steps from waypoint to waypoint. continuous: it moves them, and its grip is
# interpolated between waypoints.
GripKind = Literal["none", "binary", "continuous"]


class JointChunk(msgspec.Struct, frozen=True):
    """A chunk as waypoints in joint space: `q` (h + 1, n) [rad] at the times t0 + k * dt, the first
    one being the joints that the chunk starts from; `grip` (h + 1,), 0 open to 1 closed; `residual`
    the largest inverse-kinematics error, position [m] or rotation [rad].

    `grip_force` (h + 1,) [N] is the force of the jaws, where NaN is the configured one
    (`loop.grip_force`); None: it is NaN throughout. `grip_kind` says what the grip does. `ends_at`
    is the waypoint at which the policy ends the episode, None where it does not.
    """

    t0_ns: int
    dt_ns: int
    q: NDArray[np.float64]
    grip: NDArray[np.float64]
    residual: float
    grip_force: NDArray[np.float64] | None = None
    grip_kind: GripKind = "binary"
    ends_at: int | None = None


class ChunkPlayer:
    """Plays the chunk that runs, for `n` joints in ticks of `dt_s` [s]; `seam` and `ensemble_decay`
    as above. `lengths` (3) [s] are those of the moving averages, see `lengths_s`, and `smoothing`
    (0..1) is the share of them that is used, 0 for none. `sample` is called once per tick. Call
    `mark` for every observation that a chunk may be made from, and `adopt` for every chunk.

    `raw` (n,) [rad] is the waypoint reference before smoothing. `grip`, `grip_force` and
    `grip_kind` are those of the chunk at the last sample, see `JointChunk`. `ended` says whether a
    waypoint has been played at which the policy ends the episode.
    `seam_jump` [rad] is the largest jump of a joint at the last adoption, `disagreement` [rad] the
    RMS difference between the two chunks there and at the next two waypoints.
    """

    def __init__(
        self,
        n: int,
        dt_s: float,
        seam: Seam = "blend",
        ensemble_decay: float = 0.01,
        smoothing: float = 1.0,
        lengths: Sequence[float] = TAPS_S,
    ) -> None:
        self.seam, self._decay = seam, ensemble_decay
        self._older: deque[JointChunk] = deque(maxlen=_KEPT if seam == "ensemble" else 1)
        self._adopted = self._made_ns = 0
        self._smoother = smoother(n, [_taps(smoothing * t, dt_s) for t in lengths])
        self._out = np.zeros(n)
        self._nothing = np.zeros(n)
        self._chunk: JointChunk | None = None
        self._clock = PlayClock(round(dt_s * NS))  # the times of `_chunk` and `_older` are its
        self._offset = np.zeros(n)
        self._offset_t0 = 0
        self.raw = np.zeros(n)  # (n,) [rad], the waypoint reference before smoothing
        self.seam_jump = 0.0  # [rad]
        self.disagreement = 0.0  # [rad]
        self.grip, self.grip_force = 0.0, math.nan  # 0 open to 1 closed; [N]
        self.grip_kind: GripKind = "binary"
        self.ended = False

    @property
    def computed_by(self) -> Computed:
        """What "auto" came to on this machine."""
        return "python" if isinstance(self._smoother, PythonSmoother) else "cpp"

    def reset(self, q: Vec) -> None:
        """Stand still at `q` (n,) [rad], without a chunk."""
        self._rest(q)
        self._clock.reset()
        self._chunk = None
        self._older.clear()
        self._offset[:] = 0.0
        self.seam_jump = self.disagreement = self.grip = 0.0
        self.grip_force, self.grip_kind, self.ended = math.nan, "binary", False

    def resync(self, q: Vec, t_ns: int) -> None:
        """Go on from `q` (n,) [rad], which the guard sent instead of the reference at `t_ns` [ns],
        and blend back to the chunk."""
        self._rest(q)
        self._older.clear()
        now = self._clock.now(t_ns)
        if self._chunk is not None and now < self._end(self._chunk):
            self._offset[:] = q - self._raw_at(self._chunk, now)
            self._offset_t0 = t_ns

    def drop(self) -> None:
        """Forget the chunk that runs. The jaws stay as it said last."""
        self._chunk = None
        self._older.clear()

    def mark(self, t_ns: int) -> None:
        """Note that an observation was made at `t_ns` [ns], from which a chunk may come."""
        self._clock.mark(t_ns)

    def adopt(self, chunk: JointChunk, t_ns: int) -> bool:
        """Let `chunk` take over at `t_ns` [ns]. Returns False, and changes nothing, when its last
        waypoint is already in the past."""
        now = self._clock.now(t_ns)
        made_ns = chunk.t0_ns
        chunk = msgspec.structs.replace(chunk, t0_ns=self._clock.played(made_ns))
        if now >= self._end(chunk):
            return False
        jump = _minus(self.raw, self._raw_at(chunk, now))
        size = sum(map(abs, jump))
        self.seam_jump = max(map(abs, jump)) if math.isfinite(size) else size
        old = self._chunk
        if old is not None and now < self._end(old):
            self.disagreement = self._difference(old, chunk, now)
        if old is not None and self.seam != "blend":
            self._older.append(old)
        self._chunk, self._adopted, self._made_ns = chunk, now, made_ns
        self._offset[:] = jump if self.seam == "blend" else self.raw - self._seam_at(chunk, now)
        self._offset_t0 = t_ns
        return True

    def age_ns(self, t_ns: int) -> int | None:
        """Age [ns] at `t_ns` [ns] of the observation that the running chunk was made from; None
        without a chunk."""
        return None if self._chunk is None else t_ns - self._made_ns

    def sample(self, t_ns: int, scale: float = 1.0) -> Vec | None:
        """The joint reference (n,) [rad] for the tick at `t_ns` [ns], in an array that the next
        call overwrites; None without a chunk, or when its last waypoint is in the past. Also sets
        what the class says of the last sample. `scale`: the fraction 0..1 of the planned speed
        since the tick before."""
        self._clock.advance(scale)
        now = self._clock.now(t_ns)
        chunk = self._chunk
        if chunk is None or now > self._end(chunk):
            return None
        k, rest = divmod(max(0, now - chunk.t0_ns), chunk.dt_ns)
        left = 1.0 - (t_ns - self._offset_t0) / (BLEND_S * NS)
        if not self._older:
            self._smoother.waypoint(chunk.q, k, rest / chunk.dt_ns, self._offset, left, self.raw)
        else:
            self.raw[:] = self._seam_at(chunk, now)
            if left > 0:
                self.raw += self._offset * left
        self._jaws(chunk, k, rest / chunk.dt_ns)
        if chunk.ends_at is not None and now >= chunk.t0_ns + chunk.ends_at * chunk.dt_ns:
            self.ended = True
        self._smoother.step(self.raw, self._out)
        return self._out

    def _jaws(self, chunk: JointChunk, k: int, u: float) -> None:
        """Set what `chunk` says of the jaws, at 0 <= u < 1 of the way from waypoint `k` on."""
        ahead, force = min(k + 1, len(chunk.grip) - 1), chunk.grip_force
        self.grip_kind = chunk.grip_kind
        self.grip = float(chunk.grip[ahead])
        self.grip_force = math.nan if force is None else float(force[ahead])
        if self.grip_kind == "continuous" and ahead > k:
            self.grip = float(chunk.grip[k]) * (1 - u) + self.grip * u
            if force is not None:
                self.grip_force = float(force[k]) * (1 - u) + self.grip_force * u

    def _seam_at(self, chunk: JointChunk, t_ns: int) -> Vec:
        """The waypoint reference of `chunk` at `t_ns`, mixed with the older chunks by the seam."""
        older = self._older
        until = self._adopted + round(BLEND_S * NS) if self.seam == "rtc" else 0
        while older and t_ns >= max(self._end(older[0]), until):
            older.popleft()
        new = self._raw_at(chunk, t_ns)
        if not older:
            return new
        if self.seam == "rtc":
            end = max(self._end(older[0]), until)
            c = (end - t_ns) / (end - self._adopted)
            w = c * math.expm1(c) / (math.e - 1)
            mixed: Vec = w * self._raw_at(older[0], t_ns) + (1 - w) * new
            return mixed
        whole = math.exp(-self._decay * len(older))
        total = new * whole
        for i, one in enumerate(older):
            # A chunk fades out in its last BLEND_S. One that ended before the oldest has weight 0.
            fade = min(1.0, max(0.0, (self._end(one) - t_ns) / (BLEND_S * NS)))
            w = math.exp(-self._decay * i) * fade
            total += w * self._raw_at(one, t_ns)
            whole += w
        mean: Vec = total / whole
        return mean

    def _difference(self, old: JointChunk, new: JointChunk, now: int) -> float:
        """RMS difference [rad] between two chunks now and at the next two waypoints."""
        gaps: list[float] = []
        for t in range(now, min(now + 3 * new.dt_ns, self._end(old)), new.dt_ns):
            gaps += _minus(self._raw_at(old, t), self._raw_at(new, min(t, self._end(new))))
        return math.sqrt(sum(x * x for x in gaps) / len(gaps))

    def _rest(self, q: Vec) -> None:
        self._smoother.rest(q)
        self.raw[:] = q

    @staticmethod
    def _end(chunk: JointChunk) -> int:
        return chunk.t0_ns + (len(chunk.q) - 1) * chunk.dt_ns

    def _raw_at(self, chunk: JointChunk, t_ns: int) -> Vec:
        k, rest = divmod(max(0, t_ns - chunk.t0_ns), chunk.dt_ns)
        here = np.empty_like(self.raw)
        self._smoother.waypoint(chunk.q, k, rest / chunk.dt_ns, self._nothing, 0.0, here)
        return here


def _minus(a: Vec, b: Vec) -> list[float]:
    """a - b, in plain floats: a NumPy function that was not called for 100 ms, the time from chunk
    to chunk, takes microseconds."""
    return [x - y for x, y in zip(a.tolist(), b.tolist(), strict=True)]
