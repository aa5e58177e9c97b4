"""A checkpoint of LeRobot's SmolVLA and what LeRobot sends with it, in LeRobot's environment, for
tests/test_export_lerobot.py. Knows nothing of Headway.

    python lerobot_smolvla.py OUT

OUT/vlm has the files of a tiny vision-language model that nobody trained, so that nothing has to be
downloaded; OUT/checkpoint is a folder as LeRobot saves it, with random weights. For K chunks
OUT/reference.npz has `state` (K, 6), `images` (K, h, w, 3) uint8, `task` (K,), `noise` (K, m), the
random numbers that LeRobot drew, and `action` (K, rows, 6), what it sent to the robot.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision_operators  # noqa: F401 - before LeRobot, which imports torchvision
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from lerobot.utils.control_utils import predict_action
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

STATE, IMAGE = "observation.state", "observation.images.front"
ROWS, SIZE = 8, (48, 64)
TASKS = ("pick up the cube", "open the drawer", "pick")
SPECIAL = {
    "image_token": "<image>", "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>", "end_of_utterance_token": "<end_of_utterance>",
}  # fmt: skip
WORDS = ("<pad>", "<unk>", "<|im_start|>", *SPECIAL.values(), "pick", "up", "the", "cube", "open")


def make_vlm(out: Path) -> None:
    """The files that LeRobot asks for by `vlm_model_name`."""
    split = Tokenizer(models.WordLevel({w: k for k, w in enumerate(WORDS)}, unk_token="<unk>"))
    split.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=split, pad_token="<pad>", unk_token="<unk>", bos_token="<|im_start|>",
        eos_token="<end_of_utterance>", extra_special_tokens=SPECIAL,
    )  # fmt: skip
    heads = {"num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64}
    config = SmolVLMConfig(
        image_token_id=WORDS.index("<image>"), pad_token_id=0, scale_factor=2,
        text_config={
            "model_type": "llama", "vocab_size": 64, "num_hidden_layers": 2, "head_dim": 8,
            "num_key_value_heads": 2, "pad_token_id": 0, **heads,
        },
        vision_config={"num_hidden_layers": 1, "image_size": 64, "patch_size": 16, **heads},
    )  # fmt: skip
    config.save_pretrained(out)
    SmolVLMProcessor(
        SmolVLMImageProcessor(), tokenizer, SmolVLMVideoProcessor(), image_seq_len=4
    ).save_pretrained(out)


def main(out: Path) -> None:
    make_vlm(out / "vlm")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    config = SmolVLAConfig(
        input_features={
            STATE: PolicyFeature(FeatureType.STATE, (6,)),
            IMAGE: PolicyFeature(FeatureType.VISUAL, (3, *SIZE)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (6,))},
        vlm_model_name=str(out / "vlm"), load_vlm_weights=False, num_vlm_layers=2,
        chunk_size=ROWS, n_action_steps=ROWS, resize_imgs_with_padding=(64, 64), num_steps=3,
        device="cpu", push_to_hub=False,
    )  # fmt: skip
    policy = SmolVLAPolicy(config).eval()
    with torch.no_grad():  # as they are drawn, what is seen hardly matters
        for name, weights in policy.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight")):
                weights *= 8.0
    mean, std = torch.linspace(-40.0, 40.0, 6), torch.linspace(15.0, 30.0, 6)
    stats = {STATE: {"mean": mean, "std": std}, "action": {"mean": -mean, "std": std}}
    before, after = make_smolvla_pre_post_processors(config, stats)
    for part in (policy, before, after):
        part.save_pretrained(out / "checkpoint")

    found: dict[str, list[np.ndarray]] = {n: [] for n in ("state", "images", "noise", "action")}
    for chunk, task in enumerate(TASKS):
        for part in (policy, before, after):
            part.reset()
        state = rng.normal(mean.numpy(), std.numpy()).astype(np.float32)
        image = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        obs = {STATE: state, IMAGE: image}
        torch.manual_seed(chunk)
        sent = [
            predict_action(
                obs, policy, torch.device("cpu"), before, after, use_amp=False, task=task
            ).numpy()[0]
            for _ in range(ROWS)
        ]
        torch.manual_seed(chunk)
        noise = torch.normal(mean=0.0, std=1.0, size=(1, ROWS, config.max_action_dim))
        for name, value in (
            ("state", state), ("images", image), ("noise", noise.numpy().reshape(-1)),
            ("action", np.stack(sent)),
        ):  # fmt: skip
            found[name].append(value)
    np.savez(
        out / "reference.npz", task=np.array(TASKS), **{n: np.stack(v) for n, v in found.items()}
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
