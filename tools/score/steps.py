"""Features, and signals of a head, step by step from the rows of telemetry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway import bundle as bundles
from headway.bundle import Bundle
from headway.edge.engines.engine import Engine, open_bundle
from headway.edge.pro.made_from import Given
from headway.edge.pro.operator import SIGNALS, ProOperator, pro_dtype
from headway.errors import BundleError
from headway.kernels import feature_stream, spec
from headway.tools.score.carried import Carried, carried, rate_bits
from headway.tools.score.telemetry import Rows, Telemetry
from headway.types import Vec

FOLDS = "folds/folds.json"  # in a bundle: which episodes its heads were trained on
# What a head has to be taught so that a signal says something, see bundle.Pro.taught.
TEACHES = {
    "progress": "time_to_go", "stability": "unstable", "completion": "completion", "risk": "risk",
    "time_to_go": "time_to_go", "reward": "time_to_go",
}  # fmt: skip


@dataclass(frozen=True)
class Head:
    """A PRO bundle with its engine."""

    bundle: Bundle
    engine: Engine

    @property
    def info(self) -> bundles.Pro:
        info = self.bundle.manifest.pro
        assert info is not None
        return info

    @property
    def hz(self) -> float:
        """How often the head wants to run."""
        return self.info.rate_hz

    @property
    def ahead(self) -> str:
        """How far ahead its risk looks, in words; "" where the bundle does not say."""
        risk_s = self.info.risk_s
        return "" if risk_s is None else f"its risk is that of a failure within {risk_s:g} s"

    @property
    def learned(self) -> tuple[str, ...]:
        """The signals that it learned, of `SIGNALS`; the others keep their neutral values."""
        taught = self.info.taught
        return tuple(s for s in SIGNALS if not taught or TEACHES[s] in taught)

    @cached_property
    def trained_on(self) -> frozenset[str]:
        """The names of the episodes that it was trained on, as far as its bundle lists them."""
        if FOLDS not in self.bundle.manifest.files:
            return frozenset()
        try:
            found = msgspec.json.decode((self.bundle.path / FOLDS).read_bytes())
            return frozenset(found["of"])
        except (OSError, msgspec.DecodeError, KeyError, TypeError) as e:
            raise BundleError(
                f"{self.bundle.path / FOLDS}: wanted the episodes of each fold, found {e}: train "
                "the head again"
            ) from None


def open_head(path: Path, engine: str = "auto") -> Head:
    """Load a PRO bundle, to run on `engine`. Raises BundleError, SpecMismatch."""
    made = bundles.load(path)
    if made.manifest.pro is None:
        raise BundleError(f"wanted a bundle of kind pro, found {made.manifest.kind}: {path}")
    return Head(made, open_bundle(made, engine))


def every(hz: float, step_hz: float) -> int:
    """Every how many ticks of `hz` [Hz] a step comes that is wanted at `step_hz`: at each one where
    the ticks are slower."""
    return max(1, round(hz / step_hz))


def first_step(tick: int, every: int) -> int:
    """The first step at `tick` or after it, where step k is at tick k * `every`."""
    return -(-tick // every)


def fields_of(data: Telemetry) -> set[str]:
    """The telemetry fields that a file gives."""
    phase = {"phase"} if data.phases is not None else set()
    return {*data.channels, *data.constants, "elapsed", *phase}


def given(data: Telemetry, robot: str, task: str, what: str) -> Given:
    """What the telemetry `data` of a `robot` gives PRO; `what` names it in errors. Which groups it
    gives is looked at when all is done: channels of a file may begin late."""
    return Given(robot, data.hz, None, task, what)


class Steps:
    """Takes the rows of the telemetry `data`, and gives the features and signals of the steps, one
    at every `every`-th tick. They come from the operator that runs in the control loop, tick for
    tick; features that the file's rates cannot carry are 0, for the head as well. `whose`: what the
    head is held to. Raises what ProOperator raises."""

    def __init__(
        self, head: Head | None, data: Telemetry, every: int, whose: Given | None = None
    ) -> None:
        self._every, self._tick = every, 0
        self.kept = carried(data.rates, data.hz, data.own_hz)  # (N_FEATURES,)
        bits = rate_bits(data.hz, data.own_hz)
        self._pro: ProOperator | None = None
        if head is None:
            stream = feature_stream("auto", data.scale, data.joints, data.hz)
            self._stream = Carried(stream, self.kept, bits)
        else:
            pro = self._pro = ProOperator(
                head.bundle, head.engine, data.scale, data.joints,
                hz=data.hz, head_hz=head.hz, given=whose, watched=False,
            )  # fmt: skip
            pro.stream = Carried(pro.stream, self.kept, bits)
            pro.reset()

    def of(self, rows: Rows) -> tuple[NDArray[np.float32], Vec | None]:
        """Of the steps among the next rows: features and mask (n, N_FEATURES + N_MASKS), and with a
        head the signals (n, 6)."""
        n = first_step(self._tick + len(rows), self._every) - first_step(self._tick, self._every)
        record, pro, k = np.zeros(n, pro_dtype()), self._pro, 0
        features, mask = np.zeros(spec.N_FEATURES, np.float32), np.zeros(spec.N_MASKS, np.float32)
        for row in rows:
            due = self._tick % self._every == 0
            if pro is not None:
                pro.step(row, self._tick)
            else:
                self._stream.push(row)
            if due and pro is not None:
                record[k] = pro.record
            elif due:
                self._stream.features(features, mask)
                record["features"][k], record["mask"][k] = features, mask
            k += due
            self._tick += 1
        signals = np.column_stack([record[name] for name in SIGNALS]) if pro is not None else None
        return np.hstack([record["features"], record["mask"]]), signals
