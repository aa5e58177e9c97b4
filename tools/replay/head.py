"""Run the PRO head again on the recorded features; `tools.replay.replay` uses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headway import bundle as bundles
from headway.bundle import Bundle
from headway.edge.engines.engine import open_bundle
from headway.edge.pro.operator import ProOperator, pro_dtype
from headway.errors import SpecMismatch
from headway.kernels import FLOATS
from headway.kernels.telemetry import Scale, dtype


class _Recorded:
    """A feature stream that gives the recorded features and masks of `rows`, one per `push`."""

    impl = "recorded"
    _bound: tuple[FLOATS, FLOATS]  # the arrays of `bind`, which comes before `step`

    def __init__(self, rows: NDArray[np.void]) -> None:
        self._rows, self._at = rows, -1

    def push(self, row: np.void, /) -> None:
        self._at += 1

    def features(
        self, out_features: FLOATS | None = None, out_mask: FLOATS | None = None
    ) -> tuple[FLOATS, FLOATS]:
        assert out_features is not None
        assert out_mask is not None
        out_features[:] = self._rows[self._at]["features"]
        out_mask[:] = self._rows[self._at]["mask"]
        return out_features, out_mask

    def bind(self, out_features: FLOATS, out_mask: FLOATS, /) -> None:
        self._bound = out_features, out_mask

    def step(self, row: np.void, /) -> tuple[FLOATS, FLOATS]:
        self.push(row)
        return self.features(*self._bound)

    def reset(self) -> None:
        self._at = -1


def open_head(recording: Path, meta: dict[str, str], pro: Path, notes: list[str]) -> Bundle:
    """The bundle at `pro`. Raises SpecMismatch unless it is the head that `meta`, the metadata of
    `recording`, names, and BundleError for no good bundle. If the metadata name none, that is added
    to `notes`."""
    made = bundles.load(pro)
    manifest = made.manifest
    have, recorded = manifest.files[manifest.onnx].sha256, meta.get("pro_sha256")
    if recorded is None:
        notes.append("the recording does not say which head it used: assumed the given one")
    elif recorded != have:
        raise SpecMismatch(
            f"{recording} was recorded with the head {meta.get('pro', 'unknown')} "
            f"({recorded[:12]}), found {manifest.name} ({have[:12]}) in {pro}: give the bundle "
            "that it was recorded with as --pro"
        )
    return made


def signals_of(
    head: Bundle,
    want: NDArray[np.void],
    begun: NDArray[np.int64],
    scale: Scale,
    hz: float,
    head_hz: float,
) -> NDArray[np.void]:
    """Rows (n,) of /pro with the signals that the loop's operator computes with `head` from the
    recorded features in `want` (n,). `begun` (k,) are the times [ns], in order, at which lines of
    an order became due. `scale` is the recording's; `hz` and `head_hz` are the rates of the loop
    and of the head [Hz]."""
    joints = len(scale.q_min)
    engine = open_bundle(head)
    try:
        operator = ProOperator(
            head, engine, scale, joints, hz=hz, head_hz=head_hz, features="numpy"
        )
        operator.stream = _Recorded(want)
        operator.reset()
        out = np.zeros(len(want), pro_dtype())
        row = np.zeros(1, dtype(joints))[0]
        due = np.searchsorted(begun, want["t_ns"], side="right")  # lines until each step
        new = np.diff(due, prepend=0) > 0
        for i in range(len(want)):
            if new[i]:
                operator.begin_line()
            operator.step(row, 0)
            out[i] = operator.record
    finally:
        engine.close()
    return out
