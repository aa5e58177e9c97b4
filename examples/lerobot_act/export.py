"""Makes of a checkpoint of LeRobot's ACT what `headway bundle` wants: the network as ONNX, and a
mapping file that says what its inputs and outputs mean. It runs in LeRobot's environment, which
need not have Headway. See README.md beside this file.

    python export.py CHECKPOINT --out DIR

CHECKPOINT is a folder as LeRobot saves it, with config.json, model.safetensors,
policy_preprocessor.json and policy_postprocessor.json. DIR then has policy.onnx and policy.toml.
The arm is an SO-101: for another one, change `JOINTS` and look at the units in `mapping`.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision_operators  # noqa: F401 - before LeRobot, which imports torchvision
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from safetensors.torch import load_file

STATE, IMAGES, ACTION = "observation.state", "observation.images.", "action"
# The joints of the SO-101's arm, as LeRobot and the robot's URDF both name them, in the order of
# the columns of LeRobot's state and action. The jaw is the sixth column.
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
OPSET = 17
Stats = dict[str, dict[str, list[float]]]  # by feature, then by "mean", "std", "min", "max"


class Network(torch.nn.Module):
    """The network of an ACT policy with one argument per input: the normalised state (1, 6), then
    the normalised images (1, 3, h, w) in the order of the configuration. Returns the normalised
    actions (1, chunk_size, 6)."""

    def __init__(self, policy: ACTPolicy) -> None:
        super().__init__()
        self.model = policy.model

    def forward(self, state: torch.Tensor, *images: torch.Tensor) -> torch.Tensor:
        actions: torch.Tensor = self.model({STATE: state, "observation.images": list(images)})[0]
        return actions


def load_policy(checkpoint: Path) -> ACTPolicy:
    """The policy of the folder `checkpoint`, on the CPU, without looking anything up on the net."""
    config = PreTrainedConfig.from_pretrained(checkpoint, local_files_only=True)
    config.device = "cpu"
    # Or building the network would download the weights that the training began with.
    config.pretrained_backbone_weights = None
    policy = ACTPolicy.from_pretrained(checkpoint, config=config, local_files_only=True)
    return policy.eval()


def statistics(checkpoint: Path, processor: str, step: str) -> Stats:
    """What the step `step` in the file `processor` of the folder `checkpoint` normalises with."""
    content = json.loads((checkpoint / processor).read_text())
    for each in content["steps"]:
        if each.get("registry_name") == step:
            tensors = load_file(checkpoint / each["state_file"])
            found: Stats = {}
            for key, value in tensors.items():
                feature, what = key.rsplit(".", 1)
                found.setdefault(feature, {})[what] = value.double().flatten().tolist()
            return found
    sys.exit(f"wanted the step {step} in {checkpoint / processor}, found none")


def export(policy: ACTPolicy, file: Path) -> None:
    """Write the network of `policy` to `file`, with LeRobot's names of inputs and output."""
    shapes = {STATE: policy.config.robot_state_feature.shape}
    shapes |= {name: f.shape for name, f in policy.config.image_features.items()}
    example = tuple(torch.zeros(1, *shape) for shape in shapes.values())
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer of TorchScript takes seconds; torch.export takes minutes to unroll ACT's loop
        # over the pixels of a feature map.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Network(policy),
            example,
            file,
            input_names=list(shapes),
            output_names=[ACTION],
            opset_version=OPSET,
            dynamo=False,
        )


def mapping(policy: ACTPolicy, before: Stats, after: Stats, name: str, fps: float) -> str:
    """The mapping file for `headway bundle`, of the statistics of the checkpoint's pre- and
    postprocessor. `fps`: frames per second of the data that the policy was trained on."""
    config = policy.config
    columns = len(JOINTS) + 1
    for key, feature in ((STATE, config.robot_state_feature), (ACTION, config.action_feature)):
        if feature is None or tuple(feature.shape) != (columns,):
            found = None if feature is None else tuple(feature.shape)
            sys.exit(f"wanted {key} with {columns} numbers, those of an SO-101, found {found}")
    if config.temporal_ensemble_coeff is not None:
        sys.exit(
            "wanted a policy whose chunks are played as they are, found temporal_ensemble_coeff = "
            f"{config.temporal_ensemble_coeff}: set it to null in config.json, and n_action_steps "
            "to the rows between two answers; Headway blends chunks as `policy.seam` says"
        )
    # LeRobot asks again when n_action_steps rows are used up, and the arm waits for the answer.
    # Headway plays on while the policy computes, so it wants rows left over: half a chunk.
    steps = min(config.n_action_steps, max(config.chunk_size // 2, 1))
    modes = {str(k): str(v.value) for k, v in config.normalization_mapping.items()}
    lines = [
        "# For `headway bundle policy.onnx --map policy.toml`, written by export.py from LeRobot's",
        "# config.json and the statistics of its processors.",
        f"name = {_text(name)}",
        f"rate_hz = {fps / steps!r}  # every {steps} rows of {config.chunk_size}",
        f"output = {_text(ACTION)}",
        "",
        "[actions]",
        f"names = {_texts((*JOINTS, 'grip'))}",
        'space = "joint"',
        'mode = "absolute"',
        "# LeRobot counts the joints in degrees (`use_degrees`, its default for this arm), and the",
        "# jaw in per cent of its opening, 0 closed. For data with joints from -100 to 100 add",
        "# `scale` per column here, half of the joint's calibrated range [deg] / 100 and 1 for the",
        "# jaw, and their inverses in [[state]].",
        f"units = {_texts(('deg',) * len(JOINTS) + ('%',))}",
        'grip = "normalised"',
        "grip_open = 1.0",
        "grip_closed = 0.0",
        f"chunk = {config.chunk_size}",
        f"dt_s = {1.0 / fps!r}",
        "",
        "[[state]]",
        f"input = {_text(STATE)}",
        f"names = {_texts((*(f'q.{j}' for j in JOINTS), 'gripper.closed'))}",
        f"units = {_texts(('deg',) * len(JOINTS) + ('%',))}",
        "# The jaw counts from closed to open: 100 - closed [%].",
        f"scale = {_numbers([1.0] * len(JOINTS) + [-1.0])}",
        f"offset = {_numbers([0.0] * len(JOINTS) + [100.0])}",
    ]
    for key, feature in config.image_features.items():
        _, height, width = feature.shape
        lines += [
            "",
            "[[images]]",
            f"input = {_text(key)}",
            f"camera = {_text(key.removeprefix(IMAGES))}",
            f"height = {height}",
            f"width = {width}",
            'fit = "exact"             # stretch, crop or pad for a camera of another size',
            'layout = "chw"',
            f"scale = {1.0 / 255.0!r}",
        ]
        if modes.get("VISUAL") == "MEAN_STD" and key in before:
            lines += [f"{k} = {_numbers(before[key][k])}" for k in ("mean", "std")]
        elif modes.get("VISUAL", "IDENTITY") != "IDENTITY":
            sys.exit(f"{key}: wanted images normalised by MEAN_STD, found {modes['VISUAL']}")
    for key, kind, stats in ((STATE, "STATE", before), (ACTION, "ACTION", after)):
        lines += _normalised(key, modes.get(kind, "IDENTITY"), stats)
    return "\n".join(lines) + "\n"


def _normalised(key: str, mode: str, stats: Stats) -> list[str]:
    """The lines that say how the tensor `key` is normalised."""
    if mode == "IDENTITY" or key not in stats:
        return []
    keys = {"MEAN_STD": ("mean", "std"), "MIN_MAX": ("min", "max")}.get(mode)
    if keys is None:
        sys.exit(f"{key}: wanted MEAN_STD, MIN_MAX or IDENTITY, found normalisation by {mode}")
    ours = {"min": "low", "max": "high"}
    values = [f"{ours.get(k, k)} = {_numbers(stats[key][k])}" for k in keys]
    return ["", f"[tensors.{_text(key)}]", *values]


def _text(value: str) -> str:
    return json.dumps(value)  # a string of JSON is one of TOML


def _texts(values: Any) -> str:
    return "[" + ", ".join(map(_text, values)) + "]"


def _numbers(values: list[float]) -> str:
    return "[" + ", ".join(repr(float(v)) for v in values) + "]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="lerobot_act", help="the policy's name in recordings")
    parser.add_argument("--fps", type=float, default=30.0, help="of the dataset (default: 30)")
    args = parser.parse_args()
    policy = load_policy(args.checkpoint)
    before = statistics(args.checkpoint, "policy_preprocessor.json", "normalizer_processor")
    after = statistics(args.checkpoint, "policy_postprocessor.json", "unnormalizer_processor")
    args.out.mkdir(parents=True, exist_ok=True)
    text = mapping(policy, before, after, args.name, args.fps)
    export(policy, args.out / "policy.onnx")
    (args.out / "policy.toml").write_text(text)
    print(f"{args.out}: policy.onnx and policy.toml")


if __name__ == "__main__":
    main()
