"""A policy from a bundle: observation -> engine inputs -> action chunk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from headway import config
from headway.bundle import Bundle, load
from headway.clock import NS
from headway.edge.engines.engine import Engine, open_bundle
from headway.edge.policy.bundle_inputs import loop_names, make_inputs
from headway.edge.policy.instructions import Encoder, open_encoder
from headway.edge.policy.policy import ImageNeed, Needs
from headway.edge.policy.previous import Previous
from headway.errors import SpecMismatch
from headway.types import Chunk, Observation


class Config(config.Struct, frozen=True):
    """Keys of `[policy]` for the kind `bundle`: the folder of the bundle, and the engine that runs
    its model."""

    bundle: Annotated[str, Meta(min_length=1)]
    engine: str = "auto"


PATHS = ("bundle",)  # keys that are paths, relative to the configuration file


class BundlePolicy:
    """The policy of `bundle`, whose model runs in `engine`. Raises SpecMismatch for a bundle of
    another kind, and for inputs that the loop cannot fill."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        manifest = bundle.manifest
        info = manifest.policy
        if info is None:
            raise SpecMismatch(
                f"wanted a bundle of kind policy, found {manifest.kind}: {bundle.path}"
            )
        self.bundle, self.engine, self.info = bundle, engine, info
        self.name, self.actions = manifest.name, info.actions
        self.cameras = tuple(dict.fromkeys(i.camera for i in info.images))
        self.state_names = loop_names(info.state)
        self._encoder: Encoder | None = None
        if info.instruction is not None:
            self._encoder = open_encoder(info.instruction, bundle.path, self.name)
        self.needs = Needs(
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
            instructions=() if self._encoder is None else self._encoder.texts,
            steps=info.steps,
            stride_s=info.stride_s or 0.0,
        )
        self.detail = f"{engine.kind} ({engine.device})"
        self.facts = {
            "policy_sha256": manifest.files[manifest.onnx].sha256, "policy_engine": engine.kind,
        }  # fmt: skip
        self._dt_ns = round(info.actions.dt_s * NS)
        self._inputs = make_inputs(bundle, engine, self._encoder)
        answer = next(t for t in manifest.outputs if t.name == info.output)
        rows, columns = info.actions.chunk, len(info.actions.names)
        self._answer = engine.bind(info.output).reshape(-1, columns)[:rows]
        self._gain, self._shift = answer.affine
        self._normalised = answer.normalised
        self._previous = Previous(info.actions)

    def check_instruction(self, text: str) -> None:
        """Raises SpecMismatch for an instruction that the policy was not taught, or that does not
        fit its encoder. A policy without an instruction accepts any text."""
        if self._encoder is not None:
            self._encoder.encode(text)

    def reset(self) -> None:
        """Begin an episode: its previous action is 0."""
        self._previous.reset()

    def infer(self, obs: Observation) -> Chunk:
        """The chunk for `obs`: what the model answers, with the tensor's mean and std taken back
        and scale and offset of the action space applied. Raises SpecMismatch for images and
        instructions that do not fit, BundleError where the model fails."""
        previous = self._previous.at(obs.t_ns)
        for each in self._inputs:
            each.fill(obs, previous)
        self.engine.run()
        rows = self._answer.astype(np.float64)
        if self._normalised:
            rows = rows * self._gain + self._shift
        self._previous.answered(obs.t_ns, rows)
        return Chunk(obs.t_ns, self._dt_ns, self.actions.to_si(rows), obs.base)


def open_policy(bundle: str, engine: str = "auto") -> BundlePolicy:
    """Open the policy of the bundle in the folder `bundle`, with an engine of the kind `engine`.
    Raises BundleError, SpecMismatch, and what `engines.engine.open_engine` raises."""
    made = load(Path(bundle))
    return BundlePolicy(made, open_bundle(made, engine))
