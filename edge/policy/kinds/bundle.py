"""A policy from a bundle: observation -> engine inputs -> action chunk."""

from __future__ import annotations

from pathlib import Path

from headway.bundle import Bundle, load
from headway.clock import NS
from headway.edge.engines.engine import Engine, open_bundle
from headway.edge.motion.actions import of_policy, to_actions
from headway.edge.motion.chunks import ACTION_NAMES
from headway.edge.policy.bundle_inputs import Scaling, make_inputs
from headway.edge.policy.instructions import index_of
from headway.edge.policy.observation import renamed
from headway.edge.policy.policy import ImageNeed, Needs
from headway.errors import SpecMismatch
from headway.types import Chunk, Observation

ACTIONS = "actions"  # the only output of a policy's model


class BundlePolicy:
    """The policy of `bundle`, whose model runs in `engine`. Raises SpecMismatch for a bundle of
    another kind, and for inputs, outputs or units that do not fit the manifest or that the loop
    cannot fill or play."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        manifest, where = bundle.manifest, str(bundle.path)
        info = manifest.policy
        if info is None:
            raise SpecMismatch(
                f"wanted a bundle of kind policy, found {manifest.kind}: {bundle.path}"
            )
        self.bundle, self.engine, self.info = bundle, engine, info
        self.name = manifest.name
        self.cameras = tuple(dict.fromkeys(i.camera for i in info.images))
        self.state_names = renamed(info.state_names)
        self.chunk_shape = (info.chunk, len(ACTION_NAMES))
        self.needs = Needs(
            rate_hz=info.rate_hz,
            chunk_s=info.chunk * info.dt_s,
            images=tuple(
                ImageNeed(i.camera, i.height, i.width, i.encoding == "depth_mm")
                for i in info.images
            ),
            instructions=info.instructions,
        )
        self.detail = f"{engine.kind} ({engine.device})"
        self.facts = {
            "policy_sha256": manifest.files[manifest.onnx].sha256, "policy_engine": engine.kind,
        }  # fmt: skip
        self._dt_ns = round(info.dt_s * NS)
        self._inputs = make_inputs(manifest, engine, where)
        unread = [t.name for t in manifest.outputs if t.name != ACTIONS]
        if unread:
            raise SpecMismatch(
                f"{where}: nobody reads its output `{unread[0]}`: the loop plays `{ACTIONS}`; "
                "export the model without the others"
            )
        answer = manifest.outputs[0]
        want = (1, info.chunk, len(info.action_names))
        if answer.shape != want or not answer.floats:
            raise SpecMismatch(
                f"{where}: wanted `{ACTIONS}` as floats {want}, by policy.chunk and "
                f"policy.action_names, found {answer.dtype} {answer.shape}"
            )
        if answer.unit:
            raise SpecMismatch(
                f"{where}: output `{ACTIONS}`: its units stand in policy.action_units, found the "
                f"unit {answer.unit!r} too: leave that out"
            )
        try:
            self._spec = of_policy(info)
        except ValueError as e:
            raise SpecMismatch(f"{where}: {e}") from None
        self._answer = engine.bind(ACTIONS)
        self._scaling = Scaling(answer, 1.0)

    def instruction(self, text: str) -> int:
        """Index of the instruction `text` among those that the policy knows; 0 for any text where
        the policy takes no instruction. Raises SpecMismatch for an unknown one."""
        if not self.info.instructions:
            return 0
        return index_of(text, self.info.instructions, self.name)

    def reset(self) -> None:
        """Does nothing: this policy keeps no state between inferences."""

    def infer(self, obs: Observation) -> Chunk:
        """The chunk for `obs`: what the model answers, as actions (h, 7) in SI units relative to
        `obs.base`, see `motion.actions.to_actions`. Raises SpecMismatch for images that do not fit,
        BundleError where the model fails."""
        for each in self._inputs:
            each.fill(obs)
        self.engine.run()
        rows = self._scaling.back(self._answer[0])
        return Chunk(obs.t_ns, self._dt_ns, to_actions(rows, self._spec, obs.base), obs.base)


def open_policy(bundle: str, engine: str = "auto") -> BundlePolicy:
    """Open the policy of the bundle in the folder `bundle`, with an engine of the kind `engine`.
    Raises BundleError, SpecMismatch, and what `engines.engine.open_engine` raises."""
    made = load(Path(bundle))
    return BundlePolicy(made, open_bundle(made, engine))
