"""Builds the control loop of a run from its settings.

`Built(settings, station, clock)` loads and checks the bundles, opens the engines, starts the policy
and puts the loop together. It also says which implementation computes each part.
"""

from __future__ import annotations

import contextlib
import json
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from headway import bundle, plugins
from headway.clock import NS, Clock
from headway.compiled import Computed
from headway.drivers.latest import Latest
from headway.edge.control.loop import Loop
from headway.edge.control.parts import Part, check, in_words
from headway.edge.control.settings import PolicyConfig, Settings
from headway.edge.control.station import Station
from headway.edge.engines.engine import FOLDER, open_bundle
from headway.edge.host.realtime import split
from headway.edge.motion import smoother
from headway.edge.policy.kinds.bundle import BundlePolicy, instruction_index
from headway.edge.policy.policy import (
    About,
    FrameShape,
    InlineWorker,
    Worker,
    about,
    check_cameras,
)
from headway.edge.policy.worker.process import Care, PolicySource, ProcessWorker
from headway.edge.pro import risk
from headway.edge.pro.operator import ProOperator
from headway.edge.pro.risk import RiskControl
from headway.errors import ConfigError, Stale
from headway.types import Frame, Vec

if TYPE_CHECKING:
    from headway.edge.policy.remote.client import RemotePolicy


class Built:
    """The loop of a run (`loop`), and what it is made of. `facts` are metadata for every recording.
    `choices` (one line per part: what runs, and on what) and `notes` (remarks that the user should
    read) are for printing. `parts` says what computes each part. `close` ends the policy's process
    or connection."""

    def __init__(
        self,
        settings: Settings,
        station: Station,
        clock: Clock,
        *,
        require: tuple[str, ...] = (),
    ) -> None:
        """`station` has to be open: the policy is checked against its cameras and warmed up at its
        arm's joint positions. In real time the policy gets a process of its own; with a virtual
        `clock` it runs in place, in lock-step. `require`: names of implementations, such as "ort"
        or "cpp", that have to compute everything that they can, see `parts.check`.

        Raises Missing where one of `require` does not; BundleError, SpecMismatch and ConfigError
        for bundles, and for a policy that does not fit the station or the settings; PolicyError or
        DeviceError for a policy that does not start or answer; Stale for a silent camera or arm."""
        limits = station.arm_device.limits
        self.facts: dict[str, str] = {
            "robot": station.model.name,
            "scale": station.scale.to_json(),
            "limits": json.dumps(
                {f.name: getattr(limits, f.name).tolist() for f in fields(limits)}
            ),
        }
        self.choices: list[str] = []
        self.parts: list[Part] = []
        self._engines = plugins.kinds(FOLDER)
        self.notes: list[str] = []
        with ExitStack() as self._close:
            worker = self._policy(settings, station, clock)
            pro = self._pro(settings, station)
            self.loop = Loop(station, worker, pro, self._risk(settings))
            pace = self.loop.pace
            if pace is not None and pace.note:
                self.notes.append(pace.note)
            self.parts += [
                _twin("guard", self.loop.guard.computed_by),
                _twin("kinematics", station.chain.computed_by),
                _twin("chunk player", "python" if smoother.module("auto") is None else "cpp"),
                # Of telemetry row, payload, audit and recorder: one compiled module has them all.
                _twin("tick", station.payload.computed_by),
            ]
            check(require, self.parts)
            self.facts |= {f"computed_by.{p.name}": p.by for p in self.parts}
            self.choices.append(in_words(self.parts))
            self._close = self._close.pop_all()

    @property
    def worker(self) -> Worker | None:
        """The worker that runs the policy; None in a run without one."""
        return self.loop.worker

    def _policy(self, settings: Settings, station: Station, clock: Clock) -> Worker | None:
        cfg = settings.policy
        if cfg is None:
            return None
        worker: Worker
        if clock.realtime:
            source = self._source(cfg)
            hang_s = cfg.hang_s
            if cfg.remote is not None:  # its own timeout comes first: that error says why
                hang_s = max(hang_s, 2 * cfg.remote.timeout_s + cfg.remote.connect_s + 1.0)
            _, others = split(settings.realtime)
            care = Care(hang_s=hang_s, restarts=cfg.restarts, warm_up=cfg.warm_up, cores=others)
            beside = ProcessWorker(source, station.chain, frames(station), home(station), care)
            self._close.callback(beside.close)
            what, facts, worker = f"{beside.detail} in process {beside.pid}", beside.facts, beside
        else:
            policy = self._local(cfg.bundle, cfg.engine) if cfg.bundle else self._remote(cfg)
            check_cameras(about(policy), station.cameras, _seen(station))
            what, facts = policy.detail, policy.facts
            worker = InlineWorker(policy, station.chain, cfg.latency_s)
        name = worker.about.name
        note = check_instruction(worker.about, settings)
        if note:
            self.notes.append(note)
        self.parts.append(Part("policy", facts["policy_engine"], (*self._engines, "remote")))
        self.facts |= {"policy": name, **{k: v for k, v in facts.items() if k != "policy_engine"}}
        self.choices.append(f"policy {name} on {what}")
        return worker

    @staticmethod
    def _source(cfg: PolicyConfig) -> PolicySource:
        """How the policy's own process opens the policy."""
        if cfg.bundle is not None:
            where = str(Path(cfg.bundle).resolve())
            return PolicySource(
                "headway.edge.policy.kinds.bundle:open_policy",
                {"bundle": where, "engine": cfg.engine},
            )
        return PolicySource(
            "headway.edge.policy.remote.client:open_policy", msgspec.to_builtins(cfg.remote)
        )

    @staticmethod
    def _local(path: str, engine_kind: str) -> BundlePolicy:
        made = bundle.load(path)
        return BundlePolicy(made, open_bundle(made, engine_kind))

    def _remote(self, cfg: PolicyConfig) -> RemotePolicy:
        from headway.edge.policy.remote.client import open_policy

        policy = open_policy(**msgspec.to_builtins(cfg.remote))
        self._close.callback(policy.close)
        return policy

    def _pro(self, settings: Settings, station: Station) -> ProOperator | None:
        cfg = settings.pro
        if cfg is None:
            return None
        made = bundle.load(cfg.bundle)
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
        self.parts += [
            Part("PRO head", engine.kind, self._engines),
            Part(
                "features",
                pro.stream.impl,
                ("cuda",) if cfg.features == "cuda" else ("cpp", "numpy"),
            ),
        ]
        self.choices.append(f"PRO {manifest.name} on {engine.kind} ({engine.device})")
        return pro

    def _risk(self, settings: Settings) -> RiskControl | None:
        cfg = settings.risk
        if cfg is None:
            return None
        if settings.pro is None:
            raise ConfigError("[risk] wants PRO, found no [pro] section: add it, or drop [risk]")
        made = risk.load(cfg.calibration, self.facts["pro_sha256"])
        if self.facts.get("policy_sha256", "") != made.policy_sha256:
            self.notes.append(
                f"risk: {cfg.calibration} was calibrated on episodes of another policy, so its "
                "shares say nothing sure about this one: `python -m headway.learn.calibrate`"
            )
        control = RiskControl(cfg, made, 1.0 / settings.loop.hz)
        stop = "never stops" if control.limit is None else f"stops above {control.limit.most:.3f}"
        text = f"slows above {control.slow:.3f}, {stop}"
        self.facts["risk"] = text
        self.choices.append(f"risk {text} (n = {len(made.peaks)})")
        return control

    def close(self) -> None:
        """End the policy's process or connection. To be called after the last episode."""
        self._close.close()


def _twin(name: str, by: Computed) -> Part:
    return Part(name, by, ("cpp", "python"))


def check_instruction(policy: About, settings: Settings) -> str:
    """Check that the policy knows the instruction of the run configuration. Returns a note where an
    instruction is set and the policy takes none, else "". With a [cell], each episode has an
    instruction of its own, which `Worker.reset` checks when the episode begins.

    Raises ConfigError where an instruction is missing, SpecMismatch for one that the policy does
    not know."""
    known, text = policy.needs.instructions, settings.instruction
    if settings.cell is not None or known is None:
        return ""
    if not known:
        said = f"policy {policy.name} takes no instruction: {text!r} is only recorded"
        return said if text else ""
    if text is None:
        raise ConfigError(
            f"policy {policy.name} wants an instruction, found none: set `instruction` at the top "
            f"of the file to {', or '.join(map(repr, known))}"
        )
    instruction_index(text, known, policy.name)
    return ""


def frames(station: Station) -> dict[str, FrameShape]:
    """Size [px] and depth of the frames of an open station's cameras, by camera name. Raises Stale
    for a camera without a frame of the last 5 s."""
    return {name: _shape(camera) for name, camera in station.cameras.items()}


def _seen(station: Station) -> dict[str, FrameShape]:
    """As `frames`, without the cameras that have no frame yet. In lock-step a camera may start
    later; the policy checks the size of every frame that it is given."""
    found = {}
    for name, camera in station.cameras.items():
        with contextlib.suppress(Stale):
            found[name] = _shape(camera)
    return found


def _shape(camera: Latest[Frame]) -> FrameShape:
    frame = camera.latest(5 * NS).value
    height, width = frame.rgb.shape[:2]
    return FrameShape(height, width, frame.depth is not None)


def home(station: Station) -> Vec:
    """Measured joint positions (n,) [rad] of an open station's arm. Raises Stale."""
    return station.arm.latest(5 * NS).value.q
