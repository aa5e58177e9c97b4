"""Stand-ins that the benchmarks run: null devices, a policy that moves slowly to and fro, and a PRO
head of the shipped one's size with weights that nobody trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from msgspec import structs

from headway import bundle, config
from headway.actions import ActionSpace
from headway.benchmarks._head import untrained_head
from headway.clock import NS, Clock
from headway.edge.control.loop import Loop
from headway.edge.control.policies import home
from headway.edge.control.settings import Settings
from headway.edge.control.settings import load as load_settings
from headway.edge.control.station import Station
from headway.edge.engines.engine import open_bundle
from headway.edge.policy.policy import InlineWorker, Needs, Worker
from headway.edge.policy.worker.process import Care, ProcessWorker
from headway.edge.policy.worker.source import PolicySource
from headway.edge.pro.operator import ProOperator
from headway.errors import Missing
from headway.learn.state_names import CLONING_STATE
from headway.types import Chunk, Observation

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "pick_place_sim.toml"
PRO_BUNDLE = ROOT / "models" / "pick_place_pro"
POLICY_BUNDLE = ROOT / "models" / "pick_place_policy"
_HORIZON, _DT_NS = 6, 100_000_000
_SPEED = 0.04  # [m/s]
_TURN_NS = 1_500_000_000


class ToAndFro:
    """A policy without a network: chunks of a slow straight motion, open jaws. No camera."""

    name = "to and fro"
    cameras: tuple[str, ...] = ()
    state_names = CLONING_STATE
    actions = ActionSpace(
        names=("x", "y", "z", "rx", "ry", "rz", "grip"), chunk=_HORIZON, dt_s=_DT_NS / NS
    )
    needs = Needs()
    detail = "a straight line"

    def check_instruction(self, text: str) -> None: ...

    def reset(self) -> None: ...

    def infer(self, obs: Observation) -> Chunk:
        actions = np.zeros((_HORIZON, len(self.actions.names)), np.float32)
        sign = 1.0 if obs.t_ns // _TURN_NS % 2 == 0 else -1.0
        actions[:, 0] = sign * _SPEED * 1e-9 * _DT_NS * np.arange(1, _HORIZON + 1)
        return Chunk(obs.t_ns, _DT_NS, actions, obs.base)


CHUNK_SHAPE = (ToAndFro.actions.chunk, len(ToAndFro.actions.names))


def null_settings(hz: float, seconds: float, *, threaded: bool = False) -> Settings:
    """Arm, F/T sensor and gripper of kind `null` at the loop's rate, no camera. `threaded`: each
    with a reader thread, as devices behind a socket or a port have."""
    device = {"kind": "null", "rate_hz": hz, "threaded": threaded}
    table = {
        "instruction": "none",
        "arm": device,
        "ft": device,
        "gripper": device,
        "task": {"kind": "open_ended", "limit_s": seconds},
        # a reader thread that a busy machine stalls is late, not a fault: lateness is measured
        "loop": {"hz": hz, "tare_s": 0.02, "max_age_s": 0.5},
        "guard": {
            "workspace_min": [-1.5, -1.5, 0.0],
            "workspace_max": [1.5, 1.5, 1.5],
            "force_max": 80.0,
            "torque_max": 15.0,
        },
    }
    return config.decode(table, Settings, "the benchmark's null robot")


def cell_settings(seconds: float, *, camera: bool = False) -> Settings:
    """The shipped configuration with the time limit given, by default without its cameras."""
    settings = load_settings(CONFIG)
    task = {**settings.task, "limit_s": seconds}
    return structs.replace(settings, task=task, camera=settings.camera if camera else [])


def pro_operator(station: Station, features: str = "auto") -> tuple[ProOperator | None, str]:
    """The shipped head, else one of its size, with the word for which; None without `onnx`."""
    loop = station.settings.loop
    with TemporaryDirectory() as folder:
        if (PRO_BUNDLE / bundle.MANIFEST).is_file():
            made, what = bundle.load(PRO_BUNDLE), "PRO head: the shipped one"
        else:
            try:
                made, what = untrained_head(Path(folder) / "pro"), "PRO head: untrained, same size"
            except Missing as e:
                return None, f"no PRO head: {e}"
        engine = open_bundle(made)
        pro = ProOperator(
            made, engine, station.scale, station.joints,
            hz=loop.hz, head_hz=loop.pro_hz, features=features,
        )  # fmt: skip
    return pro, f"{what}, on {engine.kind}; features on {pro.stream.impl}"


@contextmanager
def robot(
    settings: Settings,
    clock: Clock,
    *,
    features: str = "auto",
    plan: bool = True,
    beside: Worker | None = None,
) -> Iterator[tuple[Loop, str]]:
    """A loop on an open station, with the stub policy (if `plan`) and a PRO head; and which.
    `beside`: a worker that is there already, and stays."""
    with Station(settings, clock) as station:
        pro, what = pro_operator(station, features)
        worker: Worker | None = beside
        if plan and beside is None:
            worker = InlineWorker(ToAndFro(), station.limb, 0.02)
        loop = Loop(station, worker, pro)
        yield loop, what


@contextmanager
def policy_process(
    settings: Settings, clock: Clock, cores: tuple[int, ...] = ()
) -> Iterator[Worker]:
    """The stub policy in a process of its own, for robots of `settings`; `cores`: where it runs."""
    with Station(settings, clock) as station:
        source = PolicySource("headway.benchmarks._robot:ToAndFro")
        care = Care(cores=cores)
        worker = ProcessWorker(source, station.limb, {}, home(station), care)
    try:
        yield worker
    finally:
        worker.close()
