"""SmolVLA (Shukor et al. 2025): a vision-language model reads images, instruction and state once,
and a small transformer beside it moves noise to a chunk in steps, looking at the keys and values
that the first one left behind.

The first stage gives these keys and values; a step is the second transformer, with the embedding of
its time as a constant. Needs the files of the vision-language model that the checkpoint names
(`vlm_model_name`: its config.json, processor and tokenizer, not its weights), which have to be in
the cache of Hugging Face or in a folder, and the package num2words.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from lerobot.policies.smolvla.modeling_smolvla import create_sinusoidal_pos_embedding
from numpy.typing import NDArray

from headway.export.lerobot.checkpoint import STATE, Checkpoint, ExportError
from headway.export.lerobot.stages import Loop, Stage, Stages

TOKENS, MASK = "observation.language.tokens", "observation.language.attention_mask"
TOKENIZER = "tokenizer.json"
# What LeRobot is asked to do when it is compared with; any text serves.
TASKS = ("pick up the cube", "put the red block into the box", "open the drawer", "stop")


class Patches(torch.nn.Module):
    """The embeddings of SmolVLM's patches for images of one size, `image` (h, w) [px]: theirs look
    up each patch's place by operators that ONNX has not."""

    def __init__(self, theirs: Any, image: tuple[int, int]) -> None:
        super().__init__()
        self.patch_embedding, self.position_embedding = (
            theirs.patch_embedding, theirs.position_embedding,
        )  # fmt: skip
        side = theirs.num_patches_per_side
        bounds = torch.arange(1 / side, 1.0, 1 / side)

        def places(patches: int) -> torch.Tensor:
            at = torch.arange(patches, dtype=torch.float32) / patches * (1 - 1e-6)
            return torch.bucketize(at, bounds, right=True)

        rows, columns = (places(n // theirs.patch_size) for n in image)
        self.register_buffer("places", (rows[:, None] * side + columns).reshape(1, -1))

    def forward(
        self, pixel_values: torch.Tensor, patch_attention_mask: torch.Tensor
    ) -> torch.Tensor:
        """`pixel_values` (1, 3, h, w), all of whose patches are looked at."""
        seen = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        found: torch.Tensor = seen + self.position_embedding(self.places)
        return found


class First(torch.nn.Module):
    """From the raw state (1, n), pixels (1, h, w, 3) uint8, tokens and their mask (1, length) int64
    and noise (1, m), to the noise as a chunk (1, rows, d), which part of the prefix is no padding
    (1, p) int64, and the keys and values of each layer."""

    def __init__(self, checkpoint: Checkpoint, model: Any) -> None:
        super().__init__()
        self.policy, self.config, self.model = checkpoint.policy, checkpoint.config, model
        self.state = checkpoint.normalise(STATE, "STATE")
        self.names = list(checkpoint.images)
        self.images = torch.nn.ModuleList(checkpoint.normalise(n, "VISUAL") for n in self.names)

    def forward(self, state: torch.Tensor, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        *pixels, tokens, mask, noise = given
        seen = {
            name: normal(p.float().permute(0, 3, 1, 2) / 255)
            for name, normal, p in zip(self.names, self.images, pixels, strict=True)
        }
        images, there = self.policy.prepare_images(seen)
        numbers = self.state(state)
        numbers = torch.nn.functional.pad(
            numbers, (0, self.config.max_state_dim - numbers.shape[-1])
        )
        embedded, real, later = self.model.embed_prefix(
            images, there, tokens, mask.bool(), state=numbers
        )
        real, order = real.long(), later.long().cumsum(1)
        sees = (order[:, None, :] <= order[:, :, None]) & (real[:, None, :] * real[:, :, None] > 0)
        _, kept = self.model.vlm_with_expert(
            attention_mask=sees, position_ids=real.cumsum(1) - 1, past_key_values=None,
            inputs_embeds=[embedded, None], use_cache=True, fill_kv_cache=True,
        )  # fmt: skip
        x = noise.reshape(1, self.config.chunk_size, self.config.max_action_dim)
        flat = [kept[k][what] for k in sorted(kept) for what in ("key_states", "value_states")]
        return (x, real, *flat)


class Step(torch.nn.Module):
    """One step of length `dt` along the velocity that the action expert sees. `when` (1, w) is the
    embedding of the time."""

    def __init__(self, model: Any, dt: float) -> None:
        super().__init__()
        self.model, self.dt = model, dt

    def forward(
        self, x: torch.Tensor, when: torch.Tensor, real: torch.Tensor, *kept: torch.Tensor
    ) -> torch.Tensor:
        actions = self.model.action_in_proj(x)
        both = torch.cat([actions, when[:, None, :].expand_as(actions)], dim=2)
        both = torch.nn.functional.silu(self.model.action_time_mlp_in(both))
        embedded = self.model.action_time_mlp_out(both)
        rows = x.shape[1]
        order = torch.arange(rows)
        prefix = (real > 0)[:, None, :].expand(1, rows, real.shape[1])
        sees = torch.cat([prefix, (order[None, :] <= order[:, None])[None]], dim=2)
        layers = {
            k: {"key_states": kept[2 * k], "value_states": kept[2 * k + 1]}
            for k in range(len(kept) // 2)
        }
        (_, found), _ = self.model.vlm_with_expert(
            attention_mask=sees, position_ids=real.sum(1)[:, None] + order[None],
            past_key_values=layers, inputs_embeds=[None, embedded], use_cache=True,
            fill_kv_cache=False,
        )  # fmt: skip
        velocity = self.model.action_out_proj(found[:, -rows:].float())
        moved: torch.Tensor = x + self.dt * velocity
        return moved


class Last(torch.nn.Module):
    """The chunk in the units of the data set, without the columns that pad it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.columns = checkpoint.config.action_feature.shape[0]
        self.actions = checkpoint.unnormalise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.actions(x[..., : self.columns])
        return rows


def stages(checkpoint: Checkpoint) -> Stages:
    """The prefix, a step and the end. Raises ExportError for settings that the graph does not
    have."""
    config, policy = checkpoint.config, checkpoint.policy
    for name, found in (
        ("adapt_to_pi_aloha", config.adapt_to_pi_aloha),
        ("rtc_config.enabled", config.rtc_config is not None and config.rtc_config.enabled),
        ("empty_cameras", config.empty_cameras),
    ):
        if found:
            raise ExportError(f"wanted a SmolVLA policy without {name}, found {name} = {found}")
    if config.resize_imgs_with_padding is None or not config.use_cache:
        raise ExportError("wanted resize_imgs_with_padding and use_cache, found one of them off")
    model = copy.deepcopy(policy.model)
    vision = model.vlm_with_expert.get_vlm_model().vision_model
    width, height = config.resize_imgs_with_padding
    vision.embeddings = Patches(vision.embeddings, (height, width))

    tokenizer = policy.model.vlm_with_expert.processor.tokenizer
    length, shape = config.tokenizer_max_length, (config.chunk_size, config.max_action_dim)
    tasks: dict[bytes, str] = {}

    def draw(rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        task = TASKS[int(rng.integers(len(TASKS)))]
        made = checkpoint.drawn(rng)
        given = tokenizer(
            f"{task}\n", padding="max_length", padding_side="right", max_length=length,
            return_tensors="np",
        )  # fmt: skip
        made[TOKENS] = given["input_ids"].astype(np.int64)
        made[MASK] = given["attention_mask"].astype(np.int64)
        tasks[made[TOKENS].tobytes()] = task
        made["noise"] = rng.standard_normal((1, int(np.prod(shape))), np.float32)
        return made

    def truth(given: dict[str, NDArray[Any]]) -> NDArray[Any]:
        policy.reset()
        task = tasks[given[TOKENS].tobytes()]
        seen = {n: v for n, v in given.items() if n not in (TOKENS, MASK, "noise")}
        noise = torch.from_numpy(given["noise"]).reshape(1, *shape)
        with torch.inference_mode():
            obs = checkpoint.observation(seen, task)
            chunk = checkpoint.after(policy.predict_action_chunk(dict(obs), noise=noise))
            for k in range(config.n_action_steps):  # what LeRobot sends to the robot
                sent = checkpoint.after(policy.select_action(dict(obs), noise=noise))
                assert torch.equal(sent, chunk[:, k]), "select_action differs from the chunk"
        answer: NDArray[Any] = chunk.numpy()
        return answer

    sample = draw(np.random.default_rng(0))
    names = (STATE, *checkpoint.images, TOKENS, MASK, "noise")
    inputs = {n: torch.from_numpy(sample[n]) for n in names}
    first, last = First(checkpoint, model), Last(checkpoint)
    with torch.no_grad():
        x, real, *kept = first(*inputs.values())
    layers = [f"{what}{k}" for k in range(len(kept) // 2) for what in ("key", "value")]
    dt = -1.0 / config.num_steps
    times = torch.tensor([1.0 + k * dt for k in range(config.num_steps)])
    when = create_sinusoidal_pos_embedding(
        times, model.vlm_with_expert.expert_hidden_size, config.min_period, config.max_period,
        device=times.device,
    ).float()  # fmt: skip
    constants = {"when": when.numpy()[:, None]}
    step = {"x": x, "when": when[:1], "real": real, **dict(zip(layers, kept, strict=True))}
    return Stages(
        Stage(first, inputs, ("x", "real", *layers)),
        last.actions.unit, truth, draw, config.n_action_steps,
        Loop(
            Stage(Step(model, dt), step, ("next",)), Stage(last, {"x": x}, ("actions",)),
            {"next": "x"}, constants,
        ),
        {
            "noise": "noise",
            "instruction": {
                "input": TOKENS, "mask_input": MASK, "length": length, "suffix": "\n",
                "pad_id": int(tokenizer.pad_token_id),
            },
        },
        {TOKENIZER: tokenizer.backend_tokenizer.to_str()},
    )  # fmt: skip
