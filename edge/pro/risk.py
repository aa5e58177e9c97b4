"""What PRO's risk does to a motion: slower above one threshold, stopped above another.

Of n successful episodes, each one's largest risk is taken, and of these the ceil((n + 1)(1 -
alpha))-th smallest is the threshold. Where the head has not seen the n episodes, as those of
`headway pro alarms BUNDLE --recordings FOLDER`, a further success of the same kind exceeds it with
a probability of at most alpha (split conformal prediction: Vovk, Gammerman & Shafer 2005;
Angelopoulos & Bates 2023). That holds on average over calibrations, for the same robot, task,
policy and PRO, and for episodes that nobody slows down. It says nothing about how many failures are
caught.

The `risk.json` that training puts into a bundle is cross-validated: each episode's risk is that of
a head which was taught the others, and of runs that are logged with their failures the part before
the failure takes the place of the successes (`Calibration.of`). The head that runs was taught all
of them, so the guarantee does not follow, and the shares are approximate.

    [risk]
    calibration = "../models/my_pro.risk.json"  # left out: the `risk.json` inside PRO's bundle

This is no safety function. A learned guess about trouble is made cheap to act on: the robot slows
down, which costs little if the guess is wrong.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headway import config
from headway.bundle import Bundle
from headway.bundle.manifest import check_rates
from headway.config import Fraction, Positive, SecondsOrNone, Struct
from headway.edge.guard.config import RiskLimit
from headway.errors import ConfigError, SpecMismatch
from headway.types import Signals

IN_BUNDLE = "risk.json"  # the calibration that a bundle itself holds
CALIBRATE = "`headway pro alarms BUNDLE --recordings FOLDER`"  # how one is made
Alpha = Annotated[float, Meta(gt=0.0, lt=1.0)]  # a share of the successful episodes


class RiskConfig(Struct, frozen=True, kw_only=True):
    """The `[risk]` section; without it PRO changes no motion."""

    # The file of a `Calibration`, relative to the configuration; None: that inside PRO's bundle.
    calibration: Annotated[str, Meta(min_length=1)] | None = None
    slow_alpha: Alpha = 0.3  # share of successes that may be slowed at all
    full_alpha: Alpha = 0.1  # share of successes that may be slowed as far as `slowest`
    abort_alpha: Alpha | None = None  # share of successes that may be stopped; None: never stop
    # [s] that the risk must last before it stops the robot: a bump that passes is no failure
    abort_after_s: SecondsOrNone = 0.5
    slowest: Fraction = 0.4  # of the planned speed
    fall_per_s: Positive = 10.0  # how fast the fraction of the planned speed may fall ...
    rise_per_s: Positive = 1.0  # ... and rise

    def __post_init__(self) -> None:
        for key in ("full_alpha", "abort_alpha"):
            alpha = getattr(self, key)
            if alpha is not None and alpha > self.slow_alpha:
                raise ValueError(
                    f"{key} wants at most slow_alpha = {self.slow_alpha}, found {alpha}: "
                    "slow down first"
                )


class Calibration(Struct, frozen=True, kw_only=True):
    """What the thresholds are taken from. `peaks` is the largest risk (0..1) of each successful
    episode, or of the fault-free part of each run, in rising order; `episodes` counts all that were
    looked at, failures too.

    `robot`, `task`, `tick_hz` and `groups` say whose episodes they were, as those of
    `bundle.manifest.Pro` do; a run that differs is refused. Left out, they state nothing."""

    kind: Literal["risk"]
    pro: str  # name of PRO's bundle
    pro_sha256: str  # of its model
    # Of the policy's model; "" for a policy without one, None where nothing says which it was.
    policy_sha256: str | None
    peaks: tuple[Annotated[float, Meta(ge=0.0, le=1.0)], ...]
    episodes: Annotated[int, Meta(ge=0)]
    data: str
    date: str
    of: Literal["successes", "fault-free parts"] = "successes"
    robot: str = ""
    task: str = ""
    tick_hz: tuple[float, float] | None = None  # lowest and highest rate of the ticks [Hz]
    groups: tuple[str, ...] = ()  # the mask bits that were known, and that a run has to give

    def __post_init__(self) -> None:
        check_rates("tick_hz", self.tick_hz)
        if not all(a <= b for a, b in zip(self.peaks, self.peaks[1:], strict=False)):
            raise ValueError("peaks want to be risks in rising order")
        if len(self.peaks) > self.episodes:
            raise ValueError(f"found {len(self.peaks)} {self.of} in {self.episodes} episodes")

    @property
    def behind(self) -> str:
        """What its thresholds rest on, in words."""
        return f"{len(self.peaks)} {self.of} of {self.episodes} episodes"

    def threshold(self, alpha: float) -> float:
        """The threshold at level `alpha`, as the module says. Raises ConfigError for too few
        successes."""
        index = conformal_index(len(self.peaks), alpha)
        if index is None:
            kind = "successful episodes" if self.of == "successes" else "runs with fault-free parts"
            raise ConfigError(
                f"alpha = {alpha} wants at least {fewest_successes(alpha)} {kind} to calibrate "
                f"with, found {len(self.peaks)}: record more, or allow a larger share"
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


def of_bundle(bundle: Bundle) -> Path | None:
    """The calibration that a PRO bundle holds, None where it holds none."""
    return bundle.path / IN_BUNDLE if IN_BUNDLE in bundle.manifest.files else None


def read(path: Path | str) -> Calibration:
    """Read the calibration at `path`. Raises ConfigError where there is none."""
    try:
        data: Any = msgspec.json.decode(Path(path).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigError(
            f"wanted a risk calibration at {path}: {e}: make one by {CALIBRATE}"
        ) from None
    return config.decode(data, Calibration, str(path))


def check_model(made: Calibration, path: Path | str, pro_sha256: str) -> None:
    """Raises SpecMismatch for a calibration, read from `path`, that was `made` for another PRO
    model than that of the checksum `pro_sha256`."""
    if made.pro_sha256 != pro_sha256:
        raise SpecMismatch(
            f"{path} was made for PRO model {made.pro_sha256[:12]} ({made.pro}), this run has "
            f"{pro_sha256[:12]}: calibrate again by {CALIBRATE}"
        )


def load(path: Path | str, pro_sha256: str) -> Calibration:
    """Read the calibration at `path`, for the PRO model of the checksum `pro_sha256`. Raises
    ConfigError where there is none, and SpecMismatch when it was made for another model."""
    found = read(path)
    check_model(found, path, pro_sha256)
    return found


class SpeedScale:
    """The fraction of the planned speed, computed once per tick of `period_s` [s]: 1 up to the risk
    `slow`, falling linearly to `cfg.slowest` at the risk `full`, and changing no faster than `cfg`
    allows. Without signals, and with a risk that is NaN, it falls towards `cfg.slowest`."""

    def __init__(self, cfg: RiskConfig, slow: float, full: float, period_s: float) -> None:
        self._slow, self._full, self._slowest = slow, full, cfg.slowest
        self._fall, self._rise = cfg.fall_per_s * period_s, cfg.rise_per_s * period_s
        self.value = 1.0

    def reset(self) -> None:
        """Begin an episode at the planned speed."""
        self.value = 1.0

    def step(self, signals: Signals | None) -> float:
        """The fraction for this tick, `cfg.slowest`..1, given PRO's `signals`."""
        want = self._slowest
        if signals is not None:
            want = self.wanted(signals.risk)
        self.value = min(max(want, self.value - self._fall), self.value + self._rise)
        return self.value

    def wanted(self, risk: float) -> float:
        """The fraction that a `risk` (0..1) leads to if it lasts."""
        if risk <= self._slow:
            return 1.0
        if not risk < self._full:  # NaN as well
            return self._slowest
        return 1.0 - (1.0 - self._slowest) * (risk - self._slow) / (self._full - self._slow)


class RiskControl:
    """The thresholds of a run with the section `cfg` and the calibration `made`, and the speed that
    follows from them in ticks of `period_s` [s]. Call `step` once per tick, `reset` before each
    episode, and give `limit` to the guard; it is None where the robot is slowed down but never
    stopped. Raises ConfigError for a calibration with too few successes."""

    def __init__(self, cfg: RiskConfig, made: Calibration, period_s: float) -> None:
        self.slow = made.threshold(cfg.slow_alpha)
        full = made.threshold(cfg.full_alpha)
        self.limit: RiskLimit | None = None
        if cfg.abort_alpha is not None:
            self.limit = RiskLimit(made.threshold(cfg.abort_alpha), cfg.abort_after_s)
            full = min(full, self.limit.most)
        self._scale = SpeedScale(cfg, self.slow, full, period_s)
        self.step, self.reset = self._scale.step, self._scale.reset
