"""What PRO's risk does to a motion: slower above one threshold, stopped above another.

The thresholds are conformal. From the largest risk of each of n successful episodes, the
ceil((n + 1)(1 - alpha))-th smallest is taken: a further success of the same kind exceeds it with a
probability of at most alpha (split conformal prediction: Vovk, Gammerman & Shafer 2005;
Angelopoulos & Bates 2023). That holds on average over calibrations, for the same robot, task,
policy and PRO, and for episodes that nobody slows down. It says nothing about how many failures are
caught.

    [risk]
    calibration = "../models/pick_place_pro.risk.json"

No safety function: it makes a learned guess about trouble cheap to act on.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, structs

from headway import config
from headway.config import Fraction, Positive, SecondsOrNone, Struct
from headway.errors import ConfigError, SpecMismatch
from headway.types import Signals

Alpha = Annotated[float, Meta(gt=0.0, lt=1.0)]  # a share of successes


class RiskConfig(Struct, frozen=True, kw_only=True):
    """The `[risk]` section; without it PRO changes no motion."""

    calibration: str  # made by `python -m headway.learn.calibrate`; relative to the config file
    slow_alpha: Alpha = 0.3  # share of successes that may be slowed at all
    full_alpha: Alpha = 0.1  # ... and as far as `slowest`
    abort_alpha: Alpha | None = None  # share of successes that may be stopped; None: never stop
    # for so long without a break: a bump that passes is no failure
    abort_after_s: SecondsOrNone = 0.5
    slowest: Fraction = 0.4  # of the planned speed
    fall_per_s: Positive = 10.0  # how fast that fraction may fall and rise
    rise_per_s: Positive = 1.0

    def __post_init__(self) -> None:
        for key in ("full_alpha", "abort_alpha"):
            alpha = getattr(self, key)
            if alpha is not None and alpha > self.slow_alpha:
                raise ValueError(
                    f"{key} wants at most slow_alpha = {self.slow_alpha}, found {alpha}: "
                    "slow down first"
                )


class Calibration(Struct, frozen=True, kw_only=True):
    """What thresholds are taken from. `peaks`: the largest risk of each successful episode, sorted;
    `episodes` counts the failures too."""

    kind: Literal["risk"]
    pro: str  # name of the bundle
    pro_sha256: str  # of its model
    policy_sha256: str
    peaks: tuple[Annotated[float, Meta(ge=0.0, le=1.0)], ...]
    episodes: Annotated[int, Meta(ge=0)]
    data: str
    date: str

    def __post_init__(self) -> None:
        if not all(a <= b for a, b in zip(self.peaks, self.peaks[1:], strict=False)):
            raise ValueError("peaks want to be risks in rising order")
        if len(self.peaks) > self.episodes:
            raise ValueError(f"found {len(self.peaks)} successes in {self.episodes} episodes")

    def threshold(self, alpha: float) -> float:
        """The conformal threshold at level `alpha`. Raises ConfigError for too few successes."""
        index = conformal_index(len(self.peaks), alpha)
        if index is None:
            raise ConfigError(
                f"alpha = {alpha} wants at least {fewest_successes(alpha)} successful episodes to "
                f"calibrate with, found {len(self.peaks)}: record more, or allow a larger share"
            )
        return self.peaks[index]


def conformal_index(n: int, alpha: float) -> int | None:
    """Index of the threshold at level `alpha` (0..1) among `n` peaks in rising order: that of the
    ceil((n + 1)(1 - alpha))-th smallest, counted from 0. None where `n` is less than
    `fewest_successes(alpha)`."""
    rank = max(1, math.ceil((n + 1) * (1.0 - alpha) - 1e-9))  # 1e-9: the product is rounded
    return rank - 1 if rank <= n else None


def fewest_successes(alpha: float) -> int:
    """How many successes a threshold at level `alpha` (0..1) wants."""
    return math.ceil(1.0 / alpha - 1.0 - 1e-9)


def load(path: Path | str, pro_sha256: str) -> Calibration:
    """Read a calibration made for the PRO model of `pro_sha256`. Raises ConfigError, and
    SpecMismatch when it was made for another one."""
    try:
        data: Any = msgspec.json.decode(Path(path).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigError(
            f"wanted a risk calibration at {path}: {e}: make one by "
            "`python -m headway.learn.calibrate`"
        ) from None
    found = config.decode(data, Calibration, str(path))
    if found.pro_sha256 != pro_sha256:
        raise SpecMismatch(
            f"{path} was made for PRO model {found.pro_sha256[:12]} ({found.pro}), this run has "
            f"{pro_sha256[:12]}: calibrate again by `python -m headway.learn.calibrate`"
        )
    return found


class SpeedScale:
    """Fraction of the planned speed, once per tick: 1 up to the risk `slow`, falling linearly to
    `slowest` at `full`, and changing no faster than given. Without signals, or with a risk that is
    no number, it falls."""

    def __init__(self, cfg: RiskConfig, slow: float, full: float, period_s: float) -> None:
        self._slow, self._full, self._slowest = slow, full, cfg.slowest
        self._fall, self._rise = cfg.fall_per_s * period_s, cfg.rise_per_s * period_s
        self.value = 1.0

    def reset(self) -> None:
        self.value = 1.0

    def step(self, signals: Signals | None) -> float:
        """The fraction for this tick, `slowest`..1."""
        want = self._slowest
        if signals is not None:
            want = self.wanted(signals.risk)
        self.value = min(max(want, self.value - self._fall), self.value + self._rise)
        return self.value

    def wanted(self, risk: float) -> float:
        """What a lasting `risk` leads to."""
        if risk <= self._slow:
            return 1.0
        if not risk < self._full:  # NaN as well
            return self._slowest
        return 1.0 - (1.0 - self._slowest) * (risk - self._slow) / (self._full - self._slow)


class RiskControl:
    """A run's thresholds and its speed: `step` once per tick, then `judged` for the guard. `abort`
    is the guard's `risk_max`, None where nothing is to be stopped."""

    def __init__(self, cfg: RiskConfig, made: Calibration, period_s: float) -> None:
        self.slow = made.threshold(cfg.slow_alpha)
        self.abort = None if cfg.abort_alpha is None else made.threshold(cfg.abort_alpha)
        full = made.threshold(cfg.full_alpha)
        if self.abort is not None:
            full = min(full, self.abort)
        self._scale = SpeedScale(cfg, self.slow, full, period_s)
        self.step = self._scale.step
        self._patience, self._above = round(cfg.abort_after_s / period_s), 0

    def reset(self) -> None:
        self._scale.reset()
        self._above = 0

    def judged(self, signals: Signals | None) -> Signals | None:
        """What the guard is to see, once per tick: a risk above `abort` counts from when it has
        lasted `abort_after_s`, and is held down to it until then."""
        if self.abort is None or signals is None or not signals.risk > self.abort:
            self._above = 0
            return signals
        self._above += 1
        if self._above > self._patience:
            return signals
        return structs.replace(signals, risk=self.abort)
