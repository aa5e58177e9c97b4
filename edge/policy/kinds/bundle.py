"""A policy from a bundle: observation -> engine inputs -> action chunk.

A policy that makes its chunks from noise may make several `candidates` at a time, of which a critic
takes one (`headway.edge.policy.candidates`).
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from time import perf_counter_ns
from typing import Annotated

import numpy as np
from msgspec import Meta

from headway import config
from headway.bundle import Bundle, load
from headway.bundle import Policy as PolicyInfo
from headway.bundle.trust import store_of, vouched
from headway.clock import NS
from headway.edge.engines.engine import Engine, open_bundle
from headway.edge.engines.options import EngineOptions
from headway.edge.policy.bundle_inputs import loop_names, make_inputs
from headway.edge.policy.candidates import Candidates, Judge, Thought, open_judge
from headway.edge.policy.instructions import Encoder, open_encoder
from headway.edge.policy.policy import About, ImageNeed, Needs
from headway.edge.policy.previous import Previous
from headway.errors import ConfigError, SpecMismatch
from headway.types import Chunk, Observation


class Config(config.Struct, frozen=True):
    """Keys of `[policy]` for the kind `bundle`: the folder of the bundle, and the engine that runs
    its model; `engine_cache` is the folder of built engines, "" for the usual one; `threads` of the
    CPU for the engine `ort`, beside the core that the loop has to itself.
    For a policy with noise also: the strength of that `noise`, 1 as it was trained, 0 for none; how
    many `candidates` it makes at a time; the folder of the bundle of the `critic` that takes one
    of them, "" for none; and the `temperature` of that, 0 for the best one (see `Candidates`),
    above it to collect data for learning. `trust`: the trust store that has to vouch for the
    bundles ["" or left out: that of the run]."""

    bundle: Annotated[str, Meta(min_length=1)]
    engine: str = "auto"
    engine_cache: str = ""
    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    candidates: Annotated[int, Meta(ge=1, le=1024)] = 1
    critic: str = ""
    temperature: Annotated[float, Meta(ge=0.0, le=100.0)] = 0.0
    noise: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    trust: str = ""


# Keys that are paths, relative to the configuration file.
PATHS = ("bundle", "critic", "trust", "engine_cache")


def policy_of(bundle: Bundle) -> PolicyInfo:
    """The section `policy` of `bundle`. Raises SpecMismatch for a bundle of another kind."""
    info = bundle.manifest.policy
    if info is None:
        raise SpecMismatch(
            f"wanted a bundle of kind policy, found {bundle.manifest.kind}: {bundle.path}"
        )
    return info


def described(bundle: Bundle, encoder: Encoder | None) -> About:
    """What the manifest of `bundle` says of its policy, so that it is known before a model is
    opened; `encoder` is that of its instruction, None for a policy that takes none. Raises
    SpecMismatch for a bundle of another kind."""
    info = policy_of(bundle)
    needs = Needs(
        rate_hz=info.rate_hz,
        images=tuple(
            ImageNeed(
                i.camera,
                i.height if i.fit == "exact" else None,
                i.width if i.fit == "exact" else None,
                i.encoding == "depth_mm",
            )
            for i in info.images
        ),
        instructions=() if encoder is None else encoder.texts,
        steps=info.steps,
        stride_s=info.stride_s or 0.0,
    )
    cameras = tuple(dict.fromkeys(i.camera for i in info.images))
    return About(bundle.manifest.name, cameras, loop_names(info.state), info.actions, needs)


class BundlePolicy:
    """The policy of `bundle`, whose model runs in `engine`, with what `judge`, `temperature` and
    `noise` say of its chunks (see `Candidates`). `thought` is what came before the newest chunk,
    None for a policy without noise; `candidates` how many chunks it makes at a time, 0 without
    noise. Raises SpecMismatch for a bundle of another kind, and for inputs that the loop cannot
    fill."""

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        judge: Judge | None = None,
        temperature: float = 0.0,
        noise: float = 1.0,
    ) -> None:
        manifest = bundle.manifest
        info = policy_of(bundle)
        self.bundle, self.engine, self.info, self._judge = bundle, engine, info, judge
        self._encoder: Encoder | None = None
        if info.instruction is not None:
            self._encoder = open_encoder(info.instruction, bundle.path, manifest.name)
        known = described(bundle, self._encoder)
        self.name, self.actions, self.needs = known.name, known.actions, known.needs
        self.cameras, self.state_names = known.cameras, known.state_names
        self.detail = f"{engine.kind} ({engine.device})"
        self.facts = {
            "policy_sha256": manifest.files[manifest.onnx].sha256, "policy_engine": engine.kind,
        } | vouched("policy", bundle.signed)  # fmt: skip
        self.thought: Thought | None = None
        self.candidates = 0
        self.recorded: tuple[str, ...] = ()  # of the meta of its chunks
        self._several: Candidates | None = None
        if info.noise is not None:
            self._several = several = Candidates(bundle, engine, judge, temperature, noise)
            self.candidates, self.recorded = several.count, ("score",)
            self.facts |= {"candidates": str(several.count), "noise": f"{noise:g}"}
            self.detail += f", {several.detail}" if several.detail else ""
        if judge is not None:
            self.facts |= {
                "critic": judge.name, "critic_sha256": judge.sha256,
                "temperature": f"{temperature:g}",
            }  # fmt: skip
        self._dt_ns = round(info.actions.dt_s * NS)
        self._inputs = make_inputs(bundle, engine, self._encoder)
        answer = next(t for t in manifest.outputs if t.name == info.output)
        rows, columns = info.actions.chunk, len(info.actions.names)
        # one chunk after the other
        answers = engine.bind(info.output).reshape(max(self.candidates, 1), -1, columns)
        self._answers = answers[:, :rows]
        self._gain, self._shift = answer.affine
        self._normalised = answer.normalised
        self._previous = Previous(info.actions)

    def check_instruction(self, text: str) -> None:
        """Raises SpecMismatch for an instruction that the policy was not taught, or that does not
        fit its encoder, Refused for one that its encoder refuses. A policy without an instruction
        accepts any text."""
        if self._encoder is not None:
            self._encoder.encode(text)

    def reset(self) -> None:
        """Begin an episode: its previous action is 0."""
        self._previous.reset()
        self.thought = None

    def close(self) -> None:
        """Free the models: of the policy, of its critic, and of its encoder. Idempotent."""
        self.engine.close()
        if self._judge is not None:
            self._judge.engine.close()
        if self._encoder is not None:
            self._encoder.close()

    def infer(self, obs: Observation) -> Chunk:
        """The chunk for `obs`: what the model answers, with the tensor's mean and std taken back
        and scale and offset of the action space applied. Of a policy with noise, its `meta` has the
        number of `candidates`, the critic's `score` of the chunk (without a critic: no score), and
        `cost_ms`, the time that all of this took.

        Raises SpecMismatch for images and instructions that do not fit, Refused for an instruction
        that the encoder refuses, BundleError where the model fails, PolicyError where the critic
        does."""
        begun = perf_counter_ns()
        previous = self._previous.at(obs.t_ns)
        for each in self._inputs:
            each.fill(obs, previous)
        several, chosen = self._several, 0
        if several is not None:
            several.draw(obs)
        self.engine.run()
        meta: dict[str, float] = {}
        if several is not None:
            self.thought = thought = several.choose()
            meta = {"candidates": float(several.count)}
            if thought is not None:
                chosen = thought.chosen
                score = float(thought.scores[chosen])
                if score == score:
                    meta["score"] = score
        rows = self._answers[chosen].astype(np.float64)
        if self._normalised:
            rows = rows * self._gain + self._shift
        self._previous.answered(obs.t_ns, rows)
        actions = self.actions.to_si(rows)
        if several is not None:
            meta["cost_ms"] = (perf_counter_ns() - begun) / 1e6
        return Chunk(obs.t_ns, self._dt_ns, actions, obs.base, meta=meta)


def open_policy(
    bundle: str,
    engine: str = "auto",
    candidates: int = 1,
    critic: str = "",
    temperature: float = 0.0,
    trust: str = "",
    engine_cache: str = "",
    noise: float = 1.0,
    threads: int = 1,
) -> BundlePolicy:
    """Open the policy of the bundle in the folder `bundle`, with an engine of the kind `engine`;
    the other arguments are the keys of `Config`. Raises ConfigError for several candidates without
    a critic or without noise, and for less noise of a policy that has none, BundleError,
    SpecMismatch, and what `engines.engine.open_engine` raises."""
    if candidates > 1 and not critic:
        raise ConfigError(
            f"[policy] candidates = {candidates} wants a critic that takes one of them, found "
            "none: set `critic` to the folder of its bundle, or leave `candidates` out"
        )
    if not 0.0 <= noise <= 1.0:
        raise ConfigError(f"[policy] noise wants 0 to 1, found {noise:g}")
    if candidates > 1 and noise == 0.0:
        raise ConfigError(
            f"[policy] candidates = {candidates} wants noise, by which they differ, found noise = "
            "0: leave one of the two out"
        )
    store = store_of(trust)
    made = load(Path(bundle), store)
    if noise != 1.0 and policy_of(made).noise is None:
        raise ConfigError(
            f"[policy] noise = {noise:g} wants a policy that makes its chunks from noise, found "
            f"{made.manifest.name}, which does not: leave `noise` out"
        )
    options = EngineOptions(cache=engine_cache, threads=threads)
    judge = (
        open_judge(load(Path(critic), store), made, engine, candidates, options) if critic else None
    )
    with ExitStack() as failed:  # what is open when something after it is refused
        if judge is not None:
            failed.callback(judge.engine.close)
        opened = open_bundle(made, engine, candidates, options)
        failed.callback(opened.close)
        policy = BundlePolicy(made, opened, judge, temperature, noise)
        failed.pop_all()
    return policy
