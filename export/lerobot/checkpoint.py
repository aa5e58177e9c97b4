"""A checkpoint folder of LeRobot: configuration, processors and the statistics that they normalise
with. Runs in LeRobot's environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.utils import prepare_observation_for_inference
from numpy.typing import NDArray
from safetensors.torch import load_file

STATE, IMAGES, ACTION = "observation.state", "observation.images.", "action"
# Steps of LeRobot's processors whose work the exported graph does, or that do none there.
_KNOWN = (
    "rename_observations_processor", "to_batch_processor", "device_processor",
    "normalizer_processor", "unnormalizer_processor", "tokenizer_processor",
    "smolvla_new_line_processor",
)  # fmt: skip
_BOUNDS = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
_EPS = 1e-8  # what LeRobot adds to a standard deviation, and takes for a width of 0
Stats = dict[str, dict[str, torch.Tensor]]  # by feature, then by "mean", "std", "min", "max"


class ExportError(Exception):
    """A checkpoint that cannot be exported; the message says why."""


class Normalise(torch.nn.Module):
    """LeRobot's normalisation of a feature, by its `mode` and its statistics; `inverse` is the way
    back. The order of the operations is LeRobot's, so that rounding is, too."""

    def __init__(self, mode: str, stats: dict[str, torch.Tensor], *, inverse: bool) -> None:
        super().__init__()
        self.mode, self.inverse = mode if stats else "IDENTITY", inverse
        if self.mode == "MEAN_STD":
            self.register_buffer("a", stats["mean"].float())
            self.register_buffer("b", stats["std"].float())
        elif self.mode in _BOUNDS:
            low, high = (stats[k].float() for k in _BOUNDS[self.mode])
            width = high - low
            width = torch.where(width == 0, torch.full_like(width, _EPS), width)
            self.register_buffer("a", low)
            self.register_buffer("b", width)
        elif self.mode != "IDENTITY":
            raise ExportError(
                f"wanted MEAN_STD, MIN_MAX, QUANTILES, QUANTILE10 or IDENTITY, found {mode}"
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mode == "IDENTITY":
            return x
        if self.mode == "MEAN_STD":
            return x * self.b + self.a if self.inverse else (x - self.a) / (self.b + _EPS)
        if self.inverse:
            return (x + 1) / 2 * self.b + self.a
        return 2 * (x - self.a) / self.b - 1

    @property
    def unit(self) -> NDArray[Any]:
        """One unit of the normalised numbers in the others."""
        if self.mode == "IDENTITY":
            return np.ones(1)
        width = self.b if self.mode == "MEAN_STD" else self.b / 2
        return np.abs(width.numpy().astype(np.float64)).reshape(-1)


class Checkpoint:
    """The policy of the folder `path`, with LeRobot's own processors; nothing is looked up on the
    net. Raises ExportError for a step of them that the graph does not do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: Any = PreTrainedConfig.from_pretrained(path, local_files_only=True)
        self.config.device = "cpu"
        if hasattr(self.config, "pretrained_backbone_weights"):
            self.config.pretrained_backbone_weights = None  # or building it downloads them
        if hasattr(self.config, "load_vlm_weights"):
            self.config.load_vlm_weights = False
        kind = get_policy_class(self.config.type)
        self.policy: Any = kind.from_pretrained(path, config=self.config, local_files_only=True)
        self.policy.eval().requires_grad_(requires_grad=False)
        self.before, self.after = make_pre_post_processors(self.config, str(path))
        self.renamed: dict[str, str] = {}
        self.given, self.taken = (
            self._stats(f"policy_{which}processor.json") for which in ("pre", "post")
        )
        self.modes = {str(k): str(v.value) for k, v in self.config.normalization_mapping.items()}
        if self.config.action_feature is None:
            raise ExportError(f"wanted an output `{ACTION}` in {path / 'config.json'}, found none")

    def _stats(self, name: str) -> Stats:
        file = self.path / name
        if not file.is_file():
            raise ExportError(
                f"wanted {name} in {self.path}, found none: it is of an older LeRobot; convert it "
                "with lerobot's migrate_policy_normalization"
            )
        found: Stats = {}
        for step in json.loads(file.read_text())["steps"]:
            kind = step.get("registry_name")
            if kind not in _KNOWN:
                raise ExportError(
                    f"{file}: the step {kind} is not known: wanted {', '.join(_KNOWN)}; a policy "
                    'that wants it can run by [policy] kind = "python"'
                )
            if kind == "rename_observations_processor":
                self.renamed = dict(step["config"].get("rename_map") or {})
            if "state_file" in step:
                for key, value in load_file(self.path / step["state_file"]).items():
                    feature, what = key.rsplit(".", 1)
                    found.setdefault(feature, {})[what] = value
        return found

    @property
    def images(self) -> dict[str, tuple[int, int]]:
        """Height and width [px] of each image feature."""
        return {k: tuple(f.shape[1:]) for k, f in self.config.image_features.items()}

    def camera(self, feature: str) -> str:
        """The camera of the image `feature`, as the data set names it."""
        given = {v: k for k, v in self.renamed.items()}.get(feature, feature)
        return given.removeprefix(IMAGES)

    def normalise(self, feature: str, kind: str) -> Normalise:
        """The normalisation of `feature`, of the kind "STATE" or "VISUAL"."""
        return Normalise(
            self.modes.get(kind, "IDENTITY"), self.given.get(feature, {}), inverse=False
        )

    def unnormalise(self) -> Normalise:
        """From the network's actions to the data set's."""
        mode = self.modes.get("ACTION", "IDENTITY")
        return Normalise(mode, self.taken.get(ACTION, {}), inverse=True)

    def observation(self, sample: dict[str, NDArray[Any]], task: str = "") -> dict[str, Any]:
        """What LeRobot's preprocessor makes of one moment: `sample` has the state (1, n) and the
        images (1, h, w, 3)."""
        given = {k: v[0] for k, v in sample.items() if k.startswith("observation.")}
        names = {v: k for k, v in self.renamed.items()}
        raw = {names.get(k, k): v.copy() for k, v in given.items()}
        found: dict[str, Any] = self.before(
            prepare_observation_for_inference(raw, torch.device("cpu"), task)
        )
        return found

    def drawn(self, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """A made-up moment: a state as its statistics have it, and pictures of coloured patches."""
        stats = {k: v.double().numpy() for k, v in self.given.get(STATE, {}).items()}
        size = self.config.robot_state_feature.shape[0]
        if {"mean", "std"} <= set(stats):
            state = rng.normal(stats["mean"], stats["std"])
        elif {"min", "max"} <= set(stats):
            state = rng.uniform(stats["min"], stats["max"])
        else:
            state = rng.normal(size=size)
        made: dict[str, NDArray[Any]] = {STATE: state.astype(np.float32).reshape(1, size)}
        for name, (height, width) in self.images.items():
            patches = rng.integers(0, 256, (12, 16, 3))
            rows, columns = np.arange(height) * 12 // height, np.arange(width) * 16 // width
            noise = rng.integers(-20, 21, (height, width, 3))
            picture = np.clip(patches[rows][:, columns] + noise, 0, 255)
            made[name] = picture.astype(np.uint8)[None]
        return made
