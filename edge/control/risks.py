"""The calibration of `[risk]`, held to PRO's head, the robot and the task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headway.bundle import Bundle
from headway.edge.pro import made_from, risk
from headway.edge.pro.made_from import Given
from headway.edge.pro.risk import Calibration, RiskConfig, RiskControl
from headway.errors import ConfigError, HeadwayError, SpecMismatch

THEN = f"calibrate on this robot's recordings by {risk.CALIBRATE}"


def calibration(cfg: RiskConfig, head: Bundle) -> tuple[Path | str, Calibration]:
    """The calibration that the section `cfg` names, or that the bundle of PRO's `head` holds, and
    its path. Raises ConfigError where there is none."""
    path = cfg.calibration or risk.of_bundle(head)
    if path is None:
        raise ConfigError(
            f"[risk] wants a `calibration`, found none, and no {risk.IN_BUNDLE} in {head.path} "
            f"either: make one by {risk.CALIBRATE}"
        )
    return path, risk.read(path)


def made_from_what(path: Path | str) -> str:
    """What messages call the recordings that the calibration at `path` was made from."""
    return f"{path} was made from"


def misfits(cfg: RiskConfig, head: Bundle, given: Given, hz: float) -> Iterator[HeadwayError]:
    """An error for each thing for which a run at `hz` [Hz] refuses the calibration of `cfg`, with
    PRO's `head` and the telemetry that is `given`."""
    try:
        path, made = calibration(cfg, head)
    except ConfigError as e:
        yield e
        return
    try:
        made_from.check(made_from_what(path), made, given, THEN, made.task)
    except SpecMismatch as e:
        yield e
    try:
        risk.check_model(made, path, head.manifest.files[head.manifest.onnx].sha256)
    except SpecMismatch as e:
        yield e
    try:
        RiskControl(cfg, made, 1.0 / hz)
    except ConfigError as e:
        yield e
