"""The features on a CUDA device: one robot's stream, batches of windows, a tick as one graph."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.errors import ConfigError, SpecMismatch
from headway.kernels import spec
from headway.kernels.cuda.driver import Argument, Driver, Graph, captured
from headway.kernels.cuda.layout import THREADS, Layout, layout, pack
from headway.kernels.cuda.params import INBOX_ROWS
from headway.kernels.telemetry import Scale, dtype

FLOATS = NDArray[np.float32]


class Head(Protocol):
    """What runs behind the features, in the same graph: reads `features` and `mask` on the device.

    `enqueue` puts its work on the CUDA stream of that handle, and nothing else: no allocation, no
    synchronisation (TensorRT: `execute_async_v3`).
    """

    def enqueue(self, stream: int) -> None: ...


class Robot:
    """A robot's parameters on the device."""

    def __init__(self, driver: Driver, made: Layout) -> None:
        self.driver, self.layout = driver, made
        self.params = driver.alloc(made.params.nbytes)
        self.turn = driver.alloc(made.turn.nbytes)
        driver.upload(self.params, np.atleast_1d(made.params).view(np.uint8))
        driver.upload(self.turn, made.turn)
        driver.synchronize()  # the sources may go

    def close(self) -> None:
        self.driver.free(self.params)
        self.driver.free(self.turn)


class FeatureStream:
    """As `oracle.FeatureStream`, within 1e-4 relative or 1e-5 absolute of it per feature.

    `push` only copies into page-locked memory; `features` launches once for all rows since then and
    waits. With `head`, its work follows in the same CUDA graph; `features_at` and `mask_at` are the
    device pointers that it reads, which `into` sets to the head's own input buffers.
    """

    impl = "cuda"

    def __init__(
        self,
        driver: Driver,
        scale: Scale,
        joints: int,
        rate_hz: float,
        *,
        into: tuple[int, int] | None = None,
        head: Head | None = None,
        graph: bool = True,
    ) -> None:
        self.scale, self.joints, self.rate_hz = scale, joints, float(rate_hz)
        self.driver = driver
        made = layout(scale, joints, rate_hz)
        self._robot = Robot(driver, made)
        self._dtype: Any = dtype(joints)
        self._seen = self._dtype
        self._columns = made.columns
        self._state = driver.alloc(made.state)
        self._owned = [self._state]
        # on an integrated device host memory is the device's: nothing to copy
        inbox, seen_at = driver.pinned(made.inbox)
        self._inbox = inbox.view(np.float64)
        self._rows = self._inbox[1:].reshape(INBOX_ROWS, made.columns)
        self._copied = not driver.integrated
        self._inbox_at = self._own(made.inbox) if self._copied else seen_at
        n = 4 * (spec.N_FEATURES + spec.N_MASKS)
        out, out_at = driver.pinned(n)
        self._out = out.view(np.float32)
        self._pinned = [inbox, out]
        if into is None:
            at = self._own(n) if self._copied else out_at
            into = at, at + 4 * spec.N_FEATURES
        self.features_at, self.mask_at = into
        self._out_at = out_at
        self._head, self._want_graph = head, graph
        self._graph: Graph | None = None
        self._n = 0
        self._bound: tuple[FLOATS, FLOATS] = (
            np.zeros(spec.N_FEATURES, np.float32),
            np.zeros(spec.N_MASKS, np.float32),
        )
        self.reset()

    @property
    def recorded(self) -> bool:
        """Whether a tick is one launch of a graph by now."""
        return self._graph is not None

    def _own(self, n: int) -> int:
        self._owned.append(self.driver.alloc(n))
        return self._owned[-1]

    def reset(self) -> None:
        """Forget everything."""
        self._n = 0
        self.driver.zero(self._state, self._robot.layout.state)

    def push(self, row: np.void) -> None:
        """Take one row. Raises SpecMismatch when its dtype is not `telemetry.dtype(joints)`."""
        if row.dtype is not self._seen:
            if row.dtype != self._dtype:
                raise SpecMismatch(
                    f"wanted telemetry rows of {self.joints} joints {self._dtype.names}, found "
                    f"{row.dtype}: make rows with kernels.telemetry.empty({self.joints}, n)"
                )
            self._seen = row.dtype
        if self._n == INBOX_ROWS:
            self._run()
        self._rows[self._n] = np.frombuffer(row.tobytes(), np.float64)[1:]
        self._n += 1

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
        """Features (209,) and mask bits (29,) as of the latest tick, as the oracle does."""
        out = np.empty(spec.N_FEATURES, np.float32) if out_features is None else out_features
        bits = np.empty(spec.N_MASKS, np.float32) if out_mask is None else out_mask
        self._run()
        out[:] = self._out[: spec.N_FEATURES]
        bits[:] = self._out[spec.N_FEATURES :]
        return out, bits

    def _run(self) -> None:
        """All rows of the inbox, then features and head; returns when the results are here."""
        self._inbox[0] = self._n
        if self._graph is not None:
            self._graph.launch()
        else:
            self._enqueue()
            if self._want_graph:
                self.driver.synchronize()  # the first run warms up what must not be captured
                self._graph = captured(self.driver, self._enqueue)
                self._want_graph = self._graph is not None
        self._n = 0
        self.driver.synchronize()

    def _enqueue(self) -> None:
        driver, made = self.driver, self._robot.layout
        if self._copied:
            driver.upload(self._inbox_at, self._inbox)
        driver.launch(
            "headway_stream", 1, THREADS, made.shared_large,
            pointers(self._robot.params, self._robot.turn, self._state, self._inbox_at,
                     self.features_at, self.mask_at),
        )  # fmt: skip
        if self._head is not None:
            self._head.enqueue(driver.stream)
        n = spec.N_FEATURES
        if self.features_at == self._out_at:
            return
        if self.mask_at == self.features_at + 4 * n:
            driver.download(self._out, self.features_at)
        else:
            driver.download(self._out[:n], self.features_at)
            driver.download(self._out[n:], self.mask_at)

    def close(self) -> None:
        """Free everything. Nothing can be pushed any more."""
        self.driver.synchronize()
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        for pointer in self._owned:
            self.driver.free(pointer)
        self._owned.clear()
        # No view of page-locked memory may stay, through which somebody could write to it later.
        self._inbox, self._rows = np.zeros(0), np.zeros((0, self._columns))
        self._out = np.zeros(0, np.float32)
        while self._pinned:
            self.driver.unpin(self._pinned.pop())
        self._robot.close()


class Batch:
    """Features of windows on the device; keeps what it needs for windows of (ticks,) rows.

    `run` is for windows that are on the device already, `features` for packed ones of the host.
    """

    def __init__(
        self, driver: Driver, scale: Scale, joints: int, rate_hz: float, ticks: int
    ) -> None:
        self.driver = driver
        made = self.layout = layout(scale, joints, rate_hz, ticks)
        self.staged = made.shared <= driver.shared
        if not self.staged and made.shared_large > driver.shared:
            raise ConfigError(
                f"wanted windows that a block of {driver.device} can work on, found {ticks} rows, "
                f"which want {made.shared_large} of its {driver.shared} bytes of shared memory: "
                "give it shorter windows, or compute them on the CPU (cpp, numpy)"
            )
        self._robot = Robot(driver, made)
        self.blocks = 2 * driver.processors  # without staging: what may run at a time
        self._workspace = 0 if self.staged else driver.alloc(self.blocks * made.workspace)

    def run(self, windows: int, n: int, features: int, masks: int) -> None:
        """Enqueue: device pointers of (n, columns, pitch), (n, 209), (n, 29) float32."""
        made, robot = self.layout, self._robot
        arguments: tuple[Argument, ...] = (
            *pointers(robot.params, robot.turn, windows),
            np.int32(n),
            *pointers(features, masks, self._workspace),
        )
        kernel = "headway_batch" if self.staged else "headway_batch_large"
        blocks = n if self.staged else min(n, self.blocks)
        shared = made.shared if self.staged else made.shared_large
        self.driver.launch(kernel, blocks, THREADS, shared, arguments)

    def features(self, packed: FLOATS) -> tuple[FLOATS, FLOATS]:
        """(B, columns, pitch) -> (B, 209) and (B, 29), all on the host."""
        n, driver = len(packed), self.driver
        features = np.empty((n, spec.N_FEATURES), np.float32)
        masks = np.empty((n, spec.N_MASKS), np.float32)
        if n == 0:
            return features, masks
        at = [driver.alloc(a.nbytes) for a in (packed, features, masks)]
        try:
            driver.upload(at[0], packed)
            self.run(at[0], n, at[1], at[2])
            driver.download(features, at[1])
            driver.download(masks, at[2])
            driver.synchronize()
        finally:
            for pointer in at:
                driver.free(pointer)
        return features, masks

    def close(self) -> None:
        self.driver.synchronize()
        self._robot.close()
        if self._workspace:
            self.driver.free(self._workspace)


def features_batch(
    driver: Driver, rows: NDArray[np.void], scale: Scale, rate_hz: float
) -> tuple[FLOATS, FLOATS]:
    """Windows (B, T) of telemetry rows -> features (B, 209), masks (B, 29): after its last row what
    a stream gives that began with its first. Inputs are rounded to float32. Raises ConfigError,
    SpecMismatch."""
    joints = rows["q"].shape[-1]
    packed = pack(rows, joints)
    made = Batch(driver, scale, joints, rate_hz, rows.shape[1])
    try:
        return made.features(packed)
    finally:
        made.close()


def pointers(*addresses: int) -> tuple[np.uint64, ...]:
    return tuple(np.uint64(a) for a in addresses)
