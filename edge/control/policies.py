"""Opens the policy of a run: beside the loop in real time, in its place in lock-step."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack

from headway.clock import NS
from headway.drivers.latest import Latest
from headway.edge.control import fits
from headway.edge.control.station import Station
from headway.edge.host.realtime import split
from headway.edge.policy.config import PolicyConfig, kind_of
from headway.edge.policy.policy import FrameShape, Policy, about, check_cameras
from headway.edge.policy.worker.lockstep import Waiting
from headway.edge.policy.worker.process import Care, ProcessWorker
from headway.edge.policy.worker.source import PolicySource, Process
from headway.errors import ConfigError, Stale
from headway.types import Frame, Vec


def beside(cfg: PolicyConfig, station: Station, close: ExitStack) -> ProcessWorker:
    """The policy of `cfg` in a process of its own, warmed up at the joints of the open `station`'s
    arm. `close` gets what ends the process. Raises ConfigError for a policy that only runs in
    lock-step, and what `ProcessWorker` raises."""
    module, own = kind_of(cfg)
    if hasattr(module, "open_in_place"):
        raise ConfigError(
            f"a policy of kind {cfg.kind} only runs in lock-step: run without --realtime, or "
            "choose another policy"
        )
    process = module.process(own) if hasattr(module, "process") else Process()
    hang_s = max(cfg.hang_s, module.patience_s(own) if hasattr(module, "patience_s") else 0.0)
    _, others = split(station.settings.realtime)
    care = Care(hang_s=hang_s, restarts=cfg.restarts, warm_up=cfg.warm_up, cores=others)
    source = PolicySource(f"{module.__name__}:open_policy", cfg.options, process)
    worker = ProcessWorker(source, station.limb, frames(station), home(station), care)
    close.callback(worker.close)
    fits.check_joints(worker.about, station)
    return worker


def in_place(cfg: PolicyConfig, station: Station, close: ExitStack) -> Policy:
    """The policy of `cfg` for a run in lock-step, which asks it and waits; `close` gets what closes
    it. Raises what opening it raises, and ConfigError and SpecMismatch for a policy that does not
    fit the open `station`."""
    module, own = kind_of(cfg)
    policy: Policy
    if hasattr(module, "open_in_place"):
        policy = module.open_in_place(own, station.world, tuple(station.cameras))
    elif hasattr(module, "process"):
        policy = Waiting(beside(cfg, station, close))
    else:
        policy = module.open_policy(**cfg.options)
        if hasattr(policy, "close"):
            close.callback(policy.close)
    known = about(policy)
    fits.check_joints(known, station)
    check_cameras(known, station.cameras, _seen(station))
    return policy


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
