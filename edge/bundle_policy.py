"""A policy from a bundle: observation -> engine inputs -> action chunk."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np

from headway.bundle import Bundle, Image, load
from headway.clock import NS
from headway.edge.chunks import ACTION_NAMES
from headway.edge.engine import Engine, open_bundle
from headway.errors import SpecMismatch
from headway.types import Chunk, Frame, Observation


class BundlePolicy:
    """Runs `engine` as the bundle's manifest says. Raises SpecMismatch for what does not fit."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        info = bundle.manifest.policy
        if info is None:
            raise SpecMismatch(
                f"wanted a bundle of kind policy, found {bundle.manifest.kind}: {bundle.path}"
            )
        if info.action_names != ACTION_NAMES:
            raise SpecMismatch(
                f"{bundle.path}: this loop plays the actions {', '.join(ACTION_NAMES)}, "
                f"the bundle gives {', '.join(info.action_names)}"
            )
        self.bundle, self.engine, self.info = bundle, engine, info
        self.name = bundle.manifest.name
        self.cameras = tuple(dict.fromkeys(i.camera for i in info.images))
        self.state_names = info.state_names
        self.chunk_shape = (info.chunk, len(info.action_names))
        self.detail = f"{engine.kind} ({engine.device})"
        self.facts = {"policy_sha256": bundle.manifest.files[bundle.manifest.onnx].sha256}
        self._dt_ns = round(info.dt_s * NS)
        self._state = engine.bind("state")
        self._instruction = engine.bind("instruction")
        self._actions = engine.bind("actions")
        want = (1, info.chunk, len(ACTION_NAMES))
        if self._actions.shape != want or self._state.shape != (1, len(info.state_names)):
            raise SpecMismatch(
                f"{bundle.path}: wanted actions {want} and state (1, {len(info.state_names)}), "
                f"found {self._actions.shape} and {self._state.shape}"
            )

    def instruction(self, text: str) -> int:
        """Index in the vocabulary. Raises SpecMismatch."""
        return instruction_index(text, self.info.instructions, self.name)

    def reset(self) -> None:
        """Nothing is kept between inferences."""

    def infer(self, obs: Observation) -> Chunk:
        for image in self.info.images:
            self.engine.bind(image.input)[0] = _pixels(obs.images[image.camera], image)
        self._state[0] = obs.state
        self._instruction[0] = obs.instruction
        self.engine.run()
        return Chunk(obs.t_ns, self._dt_ns, self._actions[0].copy(), obs.base)


def open_policy(bundle: str, engine: str = "auto") -> BundlePolicy:
    """The policy of the bundle in the folder `bundle`, its engine opened. Raises BundleError,
    SpecMismatch, Missing."""
    made = load(Path(bundle))
    return BundlePolicy(made, open_bundle(made, engine))


def instruction_index(text: str, known: tuple[str, ...], policy: str) -> int:
    """Index in a policy's vocabulary: one that learned four sentences knows no fifth. Raises
    SpecMismatch."""
    if text in known:
        return known.index(text)
    near = difflib.get_close_matches(text, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(map(repr, known))}"
    raise SpecMismatch(f"policy {policy} was not taught {text!r}: {hint}")


def _pixels(frame: Frame, image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    pixels = frame.rgb if image.encoding == "rgb8" else frame.depth
    if pixels is None:
        raise SpecMismatch(f"the policy wants depth from camera {image.camera}, which gives none")
    if pixels.shape[:2] != (image.height, image.width):
        raise SpecMismatch(
            f"the policy wants {image.width}x{image.height} from camera {image.camera}, found "
            f"{pixels.shape[1]}x{pixels.shape[0]}: set the camera's width and height"
        )
    return pixels
