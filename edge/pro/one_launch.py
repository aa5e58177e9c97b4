"""Features and head in one launch: telemetry to the device, the feature kernel, the head's engine,
its state, the signals back, as one CUDA graph.

The features never leave the device between kernel and head, and the state of the head never leaves
it at all.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from headway.edge.engines.engine import Engine
from headway.edge.engines.trt.runtime import DeviceEngine
from headway.kernels.cuda.driver import Driver
from headway.kernels.cuda.params import INBOX_ROWS
from headway.kernels.cuda.stream import FLOATS, FeatureStream
from headway.kernels.telemetry import Scale


def fits(engine: Engine, features: str, every: int) -> TypeGuard[DeviceEngine]:
    """Whether the head in `engine` can be launched with the `features` ("cuda" or others) that come
    before it; it runs every `every` ticks, whose rows have to fit into one launch."""
    return features == "cuda" and hasattr(engine, "enqueue") and every <= INBOX_ROWS


class OneLaunch:
    """As a feature stream whose `step` also runs the head: its outputs are in the buffers of
    `engine` afterwards. `driver` is the one that the engine was opened on."""

    impl = "cuda"

    def __init__(
        self, driver: Driver, engine: DeviceEngine, scale: Scale, joints: int, rate_hz: float
    ) -> None:
        self.scale, self.joints, self.rate_hz = scale, joints, float(rate_hz)
        self._engine = engine
        engine.feed_back("h_out", "h")
        self._features = FeatureStream(
            driver, scale, joints, rate_hz, head=self,
            into=(engine.pointer("features"), engine.pointer("mask")),
        )  # fmt: skip

    @property
    def recorded(self) -> bool:
        """Whether a step is one launch by now; it goes on without where there can be no graph."""
        return self._features.recorded

    def enqueue(self, stream: int) -> None:
        """The head's part of the launch, see `kernels.cuda.stream.Head`."""
        self._engine.enqueue(stream)
        self._engine.fetch()

    def reset(self) -> None:
        """Forget everything, the head's state too."""
        self._features.reset()
        self._engine.clear("h")

    def bind(self, features: FLOATS, mask: FLOATS) -> None:
        """Have `step` write features (209,) and mask bits (29,) into these arrays."""
        self._features.bind(features, mask)

    def push(self, row: np.void) -> None:
        """Take one row, see `kernels.cuda.stream.FeatureStream`."""
        self._features.push(row)

    def step(self, row: np.void) -> tuple[FLOATS, FLOATS]:
        """Take one row and run features and head of all rows since the last step."""
        return self._features.step(row)

    def features(
        self, out_features: FLOATS | None = None, out_mask: FLOATS | None = None
    ) -> tuple[FLOATS, FLOATS]:
        """Run features and head of all rows since the last step, as `step` without a new row."""
        return self._features.features(out_features, out_mask)

    def close(self) -> None:
        self._features.close()
