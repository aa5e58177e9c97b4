"""The bundles of a run and the engines that would compute them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from headway import bundle
from headway.bundle import Bundle
from headway.bundle.trust import store_of
from headway.edge.control import fits, risks
from headway.edge.control import settings as run_settings
from headway.edge.control.settings import ProConfig, Settings
from headway.edge.control.station import Station
from headway.edge.engines.engine import open_bundle
from headway.edge.engines.options import EngineOptions
from headway.edge.policy import candidates
from headway.edge.policy.config import COMMON, kind_of
from headway.edge.policy.instructions import Encoder, open_encoder
from headway.edge.policy.kinds.bundle import described
from headway.edge.policy.policy import About
from headway.edge.pro import operator
from headway.edge.pro.made_from import Given
from headway.errors import HeadwayError
from headway.kernels import feature_stream
from headway.tools.check.lines import Line, judged, kept, refused, unasked

GROUP = "bundles"


@dataclass
class Models:
    """The bundles of a run, each None where there is none or it does not load. `about` and
    `encoder` are those of the policy, None where it is no bundle. `whole`: whether each bundle
    that the run names has loaded."""

    policy: Bundle | None = None
    critic: Bundle | None = None
    pro: Bundle | None = None
    about: About | None = None
    encoder: Encoder | None = None
    whole: bool = True
    lines: list[Line] = field(default_factory=list)


def with_bundle(settings: Settings, made: Bundle) -> Settings:
    """`settings` with the bundle `made` for what it is: the policy, its critic, or PRO's head."""
    path = str(made.path.absolute())
    old = settings.policy or {}
    if made.manifest.kind == "pro":
        pro = ProConfig(bundle=path)
        if settings.pro is not None:
            pro = structs.replace(settings.pro, bundle=path)
        return structs.replace(settings, pro=pro)
    if made.manifest.kind == "critic":
        return structs.replace(settings, policy={**old, "critic": path})
    same = old.get("kind", "bundle") == "bundle"
    table = {k: v for k, v in old.items() if same or k in COMMON}
    return structs.replace(settings, policy={**table, "kind": "bundle", "bundle": path})


def load(settings: Settings) -> Models:
    """The bundles that `settings` name."""
    out = Models()
    options = _options(settings)
    if options is not None:
        out.policy = _load(out, "policy", options.bundle, options.trust)
        if options.critic:
            out.critic = _load(out, "critic", options.critic, options.trust)
    if settings.pro is not None:
        out.pro = _load(out, "PRO head", settings.pro.bundle, settings.trust or "")
    if out.policy is not None:
        try:
            info = out.policy.manifest.policy
            if info is not None and info.instruction is not None:
                name = out.policy.manifest.name
                out.encoder = open_encoder(info.instruction, out.policy.path, name)
            out.about = described(out.policy, out.encoder)
        except HeadwayError as e:
            out.lines.append(refused(GROUP, "policy", "a policy, and its instruction's encoder", e))
            out.policy, out.whole = None, False
    return out


def _options(settings: Settings) -> Any:
    """The keys of the policy's kind, None where it is not a bundle."""
    cfg = run_settings.policy(settings)
    return None if cfg is None or cfg.kind != "bundle" else kind_of(cfg)[1]


def _load(out: Models, name: str, path: str, trust: str) -> Bundle | None:
    """The bundle at `path`: what loading it refuses (files, hashes, sizes, a signature that the
    store `trust` does not vouch for) is said."""
    wanted = f"a bundle at {os.path.normpath(path)}"
    try:
        made = bundle.load(Path(path), store_of(trust))
    except HeadwayError as e:
        out.lines.append(refused(GROUP, name, wanted, e))
        out.whole = False
        return None
    m, size = made.manifest, sum(f.size for f in made.manifest.files.values())
    files = f"{len(m.files)} file{'s' if len(m.files) > 1 else ''} of {size / 1e6:.2f} MB"
    found = f"{m.kind} {m.name}, {files}, as {bundle.MANIFEST} says"
    out.lines.append(kept(GROUP, name, wanted, found))
    return made


def engine_lines(settings: Settings, models: Models) -> list[Line]:
    """Which engine runs each model here, and that the model has the tensors that its bundle says.
    Each is opened and closed again. Whatever an engine says of its choice, such as that it came
    from a cache of built ones, is in `Engine.chosen`."""
    lines = []
    options = _options(settings)
    wanted: list[tuple[str, Bundle | None, str, EngineOptions, int]] = []
    if options is not None:
        kind, count = options.engine, options.candidates
        how = EngineOptions(cache=options.engine_cache, threads=options.threads)
        wanted.append(("policy", models.policy, kind, how, count))
        if options.critic:
            wanted.append(("critic", models.critic, kind, how, count))
    if (pro := settings.pro) is not None:
        how = EngineOptions(cache=pro.engine_cache)
        wanted.append(("PRO head", models.pro, pro.engine, how, 1))
    for name, made, kind, how, count in wanted:
        if made is None:
            lines.append(unasked("engines", name, "its bundle does not load"))
            continue
        several = f", {count} chunks at a time" if count > 1 else ""
        want = f"engine {kind}{several}"
        try:
            engine = open_bundle(made, kind, count, how)
        except HeadwayError as e:
            lines.append(refused("engines", name, want, e))
            continue
        lines.append(
            kept("engines", name, want, f"{engine.kind} ({engine.device}); {engine.chosen}")
        )
        engine.close()
    return lines


def critic_lines(settings: Settings, models: Models) -> list[Line]:
    """Whether the critic was trained for the eyes of this policy."""
    options = _options(settings)
    if options is None or not options.critic:
        return [unasked("policy", "critic", "there is none")]
    if models.critic is None or models.policy is None:
        return [unasked("policy", "critic", "a bundle does not load")]
    eyes = models.policy.manifest.eyes[:12]
    return judged(
        "policy", "critic", "a critic for the eyes of this policy", f"eyes {eyes} of both",
        candidates.misfits(models.critic, models.policy),
    )  # fmt: skip


def pro_lines(settings: Settings, models: Models, station: Station) -> list[Line]:
    """Whether PRO's head fits the features, the robot, its rates and telemetry. `station` may be
    closed."""
    cfg, made = settings.pro, models.pro
    if cfg is None:
        return [unasked("PRO", "head", "there is no [pro]")]
    if made is None:
        return [unasked("PRO", "head", "its bundle does not load")]
    task, info, loop = run_settings.task(settings).name, made.manifest.pro, settings.loop
    given = fits.given(station, task, info.tasks if info is not None else ())
    wanted, found = "a head for these features", ""
    if info is not None:
        robot = info.robot or "any robot"
        wanted = f"spec {info.spec_hash[:12]} of {robot}, head at {info.rate_hz:g} Hz"
        wanted += f", with {', '.join(info.groups)}" if info.groups else ""
        found = f"{given.robot} at {given.hz:g} Hz, head at {loop.pro_hz:g} Hz"
    lines = judged("PRO", "head", wanted, found, operator.misfits(made, given, loop.pro_hz))
    lines += _risk_lines(settings, made, given)
    try:
        stream = feature_stream(cfg.features, station.scale, station.joints, loop.hz)
    except HeadwayError as e:
        return [*lines, refused("PRO", "features", f"computed by {cfg.features}", e)]
    return [*lines, kept("PRO", "features", f"computed by {cfg.features}", stream.impl)]


def _risk_lines(settings: Settings, made: Bundle, given: Given) -> list[Line]:
    """Whether the calibration of [risk] is for this head, robot and task."""
    if settings.risk is None:
        return [unasked("PRO", "risk", "there is no [risk]")]
    found = f"it is for {made.manifest.name} on {given.robot}"
    misfits = risks.misfits(settings.risk, made, given, settings.loop.hz)
    return judged("PRO", "risk", "a calibration of this head", found, misfits)
