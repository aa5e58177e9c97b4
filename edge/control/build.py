"""Builds the control loop of a run from its settings.

`Built(settings, station, clock)` loads and checks the bundles, opens the engines, starts the policy
and puts the loop together. It also says which implementation computes each part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields

import msgspec

from headway import bundle, plugins
from headway.bundle.trust import store_of, vouched
from headway.clock import Clock
from headway.compiled import Computed
from headway.edge.control import fits, risks
from headway.edge.control import settings as run_settings
from headway.edge.control.loop import Loop
from headway.edge.control.parts import Part, check, in_words
from headway.edge.control.policies import beside, in_place
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.engines.engine import FOLDER, open_bundle
from headway.edge.engines.options import EngineOptions
from headway.edge.motion import smoother
from headway.edge.motion.chunks import filter_delay_s, lengths_s
from headway.edge.policy.instructions import index_of
from headway.edge.policy.policy import About, InlineWorker, Policy, Worker, about
from headway.edge.pro import risk
from headway.edge.pro.one_launch import OneLaunch
from headway.edge.pro.operator import ProOperator
from headway.edge.pro.risk import RiskControl
from headway.errors import ConfigError, refuse


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
        wrap: Callable[[Policy], Policy] | None = None,
        operator: Policy | None = None,
    ) -> None:
        """`station` has to be open: the policy is checked against its cameras and warmed up at its
        arm's joint positions. In real time the policy gets a process of its own; with a virtual
        `clock` it runs in place, in lock-step. `require`: names of implementations, such as "ort"
        or "cpp", that have to compute everything that they can, see `parts.check`. `wrap` makes
        the policy that drives of the one that the settings name; only in lock-step. `operator`: a
        policy that drives instead, in the loop's process on any clock; it has to be quick.

        Raises Missing where one of `require` does not; BundleError, SpecMismatch and ConfigError
        for bundles, for a policy that does not fit the station or the settings or refuses the
        instruction, and for a guard
        that wants a wrench where there is no F/T sensor; PolicyError or DeviceError for a policy
        that does not start or answer; Stale for a silent camera or arm."""
        limits = station.arm_device.limits
        self.facts: dict[str, str] = {
            "robot": station.model.name,
            "joints": json.dumps(station.model.joints),
            "scale": station.scale.to_json(),
            "limits": json.dumps(
                {f.name: getattr(limits, f.name).tolist() for f in fields(limits)}
            ),
        }
        self.choices: list[str] = []
        self.parts: list[Part] = []
        self._engines = plugins.kinds(FOLDER)
        self._head: bundle.Bundle | None = None  # of PRO
        self.notes: list[str] = []
        with ExitStack() as self._close:
            fits.check_wrench(settings)
            worker = self._policy(settings, station, clock, wrap, operator)
            self.notes += fits.notes(worker.about if worker else None, station)
            pro = self._pro(settings, station)
            self.loop = Loop(station, worker, pro, self._risk(settings, pro))
            if worker is not None:
                fits.check_state(worker.about, settings, self.loop.first_task)
            pace = self.loop.pace
            if pace is not None and pace.note:
                self.notes.append(pace.note)
            if pro is not None and pro.info.tasks and math.isnan(self.loop.task_index):
                knows = ", ".join(pro.info.tasks)
                self.notes.append(
                    f"PRO was not trained on the task {self.loop.task.name} (but on {knows}): to "
                    "it the task is not known"
                )
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

    def _policy(
        self,
        settings: Settings,
        station: Station,
        clock: Clock,
        wrap: Callable[[Policy], Policy] | None,
        operator: Policy | None,
    ) -> Worker | None:
        cfg = run_settings.policy(settings)
        if cfg is None:
            return None
        worker: Worker
        if operator is not None:
            what, facts = "the terminal", getattr(operator, "facts", {})
            fits.check_joints(about(operator), station)
            worker = InlineWorker(operator, station.limb, 0.0)
        elif clock.realtime:
            if wrap is not None:
                raise ConfigError("a policy is wrapped in lock-step only, found a run in real time")
            process = beside(cfg, station, self._close)
            what, facts = f"{process.detail} in process {process.pid}", process.facts
            worker = process
        else:
            policy = in_place(cfg, station, self._close)
            what, facts = getattr(policy, "detail", cfg.kind), getattr(policy, "facts", {})
            policy = policy if wrap is None else wrap(policy)
            worker = InlineWorker(policy, station.limb, cfg.latency_s)
        name = worker.about.name
        note = check_instruction(worker.about, settings)
        if note:
            self.notes.append(note)
        free = worker.about.needs.instructions is None
        if free and settings.cell is None and settings.instruction is not None:
            worker.reset(settings.instruction)  # only the policy itself can judge free text
        if settings.trust is not None and (operator is not None or "trust" not in cfg.options):
            self.notes.append(
                f"trust: policy {name} is no bundle, so no key vouches for it; the run's bundles "
                "are checked"
            )
        by = facts.get("policy_engine", cfg.kind)
        self.parts.append(Part("policy", by, (*self._engines, "remote", "python", by)))
        space = msgspec.json.encode(worker.about.actions).decode()
        dt_s = 1.0 / settings.loop.hz
        lengths = lengths_s(settings.guard.allowed(station.arm_device.limits), dt_s)
        self.facts |= {
            "policy": name, "policy_kind": cfg.kind, "actions": space,
            "smoothing": f"{cfg.smoothing:g}",
            "filter_delay_s": repr(filter_delay_s(lengths, dt_s, cfg.smoothing)),
            **{k: v for k, v in facts.items() if k != "policy_engine"},
        }  # fmt: skip
        self.choices.append(f"policy {name} on {what}")
        return worker

    def _pro(self, settings: Settings, station: Station) -> ProOperator | None:
        cfg = settings.pro
        if cfg is None:
            return None
        made = bundle.load(cfg.bundle, store_of(settings.trust))
        manifest = made.manifest
        engine = open_bundle(made, cfg.engine, options=EngineOptions(cache=cfg.engine_cache))
        loop = settings.loop
        task = run_settings.task(settings).name
        knows = manifest.pro.tasks if manifest.pro is not None else ()
        pro = ProOperator(
            made, engine, station.scale, station.joints,
            hz=loop.hz, head_hz=loop.pro_hz, features=cfg.features,
            given=fits.given(station, task, knows),
        )  # fmt: skip
        self._head = made
        self.facts |= {
            "pro": manifest.name,
            "pro_sha256": manifest.files[manifest.onnx].sha256,
            "features": pro.stream.impl,
            **vouched("pro", made.signed),
        }
        self.parts += [
            Part("PRO head", engine.kind, self._engines),
            Part(
                "features",
                pro.stream.impl,
                ("cuda",) if cfg.features == "cuda" else ("cpp", "numpy"),
            ),
        ]
        one = ""
        if isinstance(pro.stream, OneLaunch):
            one = ", features and head in one launch"
            if not pro.stream.recorded:
                one = ", features and head on the device, launched one by one (no CUDA graph here)"
        self.choices.append(f"PRO {manifest.name} on {engine.kind} ({engine.device}){one}")
        return pro

    def _risk(self, settings: Settings, pro: ProOperator | None) -> RiskControl | None:
        cfg = settings.risk
        if cfg is None:
            return None
        if self._head is None or pro is None:
            raise ConfigError("[risk] wants PRO, found no [pro] section: add it, or drop [risk]")
        refuse(risks.misfits(cfg, self._head, pro.given, settings.loop.hz))
        path, made = risks.calibration(cfg, self._head)
        pro.hold_to(risks.made_from_what(path), made, risks.THEN, task=made.task)
        if made.policy_sha256 is None:
            self.notes.append(
                f"risk: {path} was calibrated on logs that do not say which policy drove: its "
                "shares hold for that one"
            )
        elif self.facts.get("policy_sha256", "") != made.policy_sha256:
            self.notes.append(
                f"risk: {path} was calibrated on episodes of another policy, so its shares say "
                f"nothing sure about this one: {risk.CALIBRATE}"
            )
        control = RiskControl(cfg, made, 1.0 / settings.loop.hz)
        stop = "never stops" if control.limit is None else f"stops above {control.limit.most:.3f}"
        text = f"slows above {control.slow:.3f}, {stop}"
        self.facts["risk"] = text
        self.choices.append(f"risk {text} ({made.behind})")
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
    index_of(text, known, policy.name)
    return ""
