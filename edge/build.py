"""From settings to a loop: bundles checked, engines opened, choices said aloud."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from headway import bundle
from headway.clock import NS, Clock
from headway.edge.bundle_policy import BundlePolicy
from headway.edge.engine import open_bundle
from headway.edge.loop import Loop
from headway.edge.operator import ProOperator
from headway.edge.policy import InlineWorker, Worker
from headway.edge.realtime import split
from headway.edge.settings import Settings
from headway.edge.station import Station
from headway.edge.worker.process import Care, PolicySource, ProcessWorker
from headway.edge.worker.wire import FrameShape
from headway.errors import ConfigError, Missing
from headway.kernels.telemetry import Scale
from headway.types import Vec


class Built:
    """A loop with what it was made of. `facts` goes into every recording; `choices` is printed."""

    def __init__(
        self,
        settings: Settings,
        root: Path,
        station: Station,
        clock: Clock,
        *,
        require: tuple[str, ...] = (),
    ) -> None:
        """`root`: bundle paths are relative to it. `require`: names that must be among the choices,
        such as "ort" or "cpp". Raises what loading bundles raises."""
        self.facts: dict[str, str] = {"scale": scale_json(station.scale)}
        self.choices: list[str] = []
        worker = self._policy(settings, root, station, clock)
        pro = self._pro(settings, root, station)
        chosen = {word for line in self.choices for word in line.split()}
        for name in require:
            if name not in chosen:
                raise Missing(
                    f"--require {name}: this run would use {'; '.join(self.choices)}: install what "
                    f"{name} needs (see `headway doctor`), or do not require it"
                )
        self.loop = Loop(station, worker, pro)
        self.worker = worker

    def _policy(
        self, settings: Settings, root: Path, station: Station, clock: Clock
    ) -> Worker | None:
        self.chunk_shape: tuple[int, int] | None = None
        cfg = settings.policy
        if cfg is None:
            return None
        made = bundle.load(root / cfg.bundle)
        manifest = made.manifest
        self.facts |= {
            "policy": manifest.name,
            "policy_sha256": manifest.files[manifest.onnx].sha256,
        }
        worker: Worker
        if clock.realtime:
            source = PolicySource(
                "headway.edge.bundle_policy:open_policy",
                {"bundle": str(made.path), "engine": cfg.engine},
            )
            _, others = split(settings.realtime)
            care = Care(hang_s=cfg.hang_s, restarts=cfg.restarts, warm_up=cfg.warm_up, cores=others)
            beside = ProcessWorker(source, station.chain, frames(station), home(station), care)
            what, worker = f"{beside.detail} in process {beside.pid}", beside
        else:
            policy = BundlePolicy(made, open_bundle(made, cfg.engine))
            what, worker = policy.detail, InlineWorker(policy, station.chain, cfg.latency_s)
        for camera in worker.about.cameras:
            if camera not in station.cameras:
                have = ", ".join(station.cameras) or "none"
                raise ConfigError(f"policy {manifest.name} wants camera `{camera}`, found {have}")
        self.chunk_shape = worker.about.chunk_shape
        self.choices.append(f"policy {manifest.name} on {what}")
        return worker

    def _pro(self, settings: Settings, root: Path, station: Station) -> ProOperator | None:
        cfg = settings.pro
        if cfg is None:
            return None
        made = bundle.load(root / cfg.bundle)
        manifest = made.manifest
        engine = open_bundle(made, cfg.engine)
        loop = settings.loop
        pro = ProOperator(
            made, engine, station.scale, station.joints,
            hz=loop.hz, head_hz=loop.pro_hz, features=cfg.features,
        )  # fmt: skip
        self.facts |= {
            "pro": manifest.name,
            "pro_sha256": manifest.files[manifest.onnx].sha256,
            "features": pro.stream.impl,
        }
        self.choices.append(
            f"PRO {manifest.name} on {engine.kind} ({engine.device}), features on {pro.stream.impl}"
        )
        return pro

    def close(self) -> None:
        if self.worker is not None:
            self.worker.close()


def frames(station: Station) -> dict[str, FrameShape]:
    """What the cameras of a running station give. Raises Stale."""
    found = {}
    for name, camera in station.cameras.items():
        frame = camera.latest(5 * NS).value
        height, width = frame.rgb.shape[:2]
        found[name] = FrameShape(height, width, frame.depth is not None)
    return found


def home(station: Station) -> Vec:
    """Where the arm of a running station stands: (n,) [rad]."""
    return station.arm.latest(5 * NS).value.q


def scale_json(scale: Scale) -> str:
    values = {f.name: getattr(scale, f.name) for f in fields(scale)}
    return json.dumps({k: v if isinstance(v, float) else v.tolist() for k, v in values.items()})
