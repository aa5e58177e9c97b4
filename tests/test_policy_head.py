"""The parts of the vision policy that are no text: latents, the flow head, the eyes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="learning needs PyTorch: make torch")
pytest.importorskip("tokenizers", reason="the policy's text encoder needs the package tokenizers")

from headway.learn.networks import wrist_camera  # noqa: E402
from headway.learn.policy.eyes import PER_MAP, PIXELS, Eyes  # noqa: E402
from headway.learn.policy.head import COLUMNS, FlowHead, Latents, flow_loss  # noqa: E402

HORIZON = 6
CAMERA = wrist_camera(96, 75.0, 0.22, (0.06, 0.0, -0.1))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def chunks(n: int) -> torch.Tensor:
    """Chunks (n, HORIZON, 7) of a tool that points down."""
    made = torch.randn(n, HORIZON, 7) * torch.tensor([0.04, 0.04, 0.03, 0.0, 0.0, 0.2, 1.0])
    made[..., 6] = (made[..., 6] > 0).float()
    return made


def test_chunks_survive_the_way_into_latent_units_and_back() -> None:
    latents, actions = Latents(HORIZON), chunks(200)
    latents.fit(actions)
    latent = latents.to_latent(actions)
    assert latent.shape == (200, HORIZON * COLUMNS)
    torch.testing.assert_close(latents.to_actions(latent), actions, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(latents.snapped(latent), latent)
    moving = latent.reshape(200, HORIZON, COLUMNS)[..., :4]
    torch.testing.assert_close(moving.std(dim=0), torch.ones(HORIZON, 4), atol=1e-3, rtol=1e-3)


def test_half_closed_jaws_are_snapped() -> None:
    latents = Latents(HORIZON)
    latent = torch.zeros(1, HORIZON, COLUMNS)
    latent[..., 4] = torch.tensor([0.2, -0.2, 3.0, -3.0, 0.9, -0.1])
    actions = latents.to_actions(latent.flatten(1))
    assert actions[0, :, 6].tolist() == [1, 0, 1, 0, 1, 0]
    assert (latents.snapped(latent.flatten(1)).reshape(HORIZON, 5)[:, 4].abs() == 1).all()
    snapped = latents.snapped(latent.flatten(1))
    torch.testing.assert_close(latents.to_latent(actions), snapped)


def test_no_movement_is_larger_than_what_was_shown() -> None:
    latents, actions = Latents(HORIZON), chunks(50)
    latents.fit(actions)
    wild = latents.to_actions(torch.randn(200, HORIZON * COLUMNS) * 10.0)
    for moved, shown in ((wild[..., :3], actions[..., :3]), (wild[..., 5], actions[..., 5])):
        assert moved.max() <= shown.max() + 1e-6
        assert moved.min() >= shown.min() - 1e-6


def test_the_head_draws_both_of_two_ways() -> None:
    """Past the obstacle left or right, as the code says how far; never through the middle."""
    head = FlowHead(2, 3, width=64)
    optimiser = torch.optim.Adam(head.parameters(), 5e-3)
    head.train()
    for _ in range(400):
        code = torch.rand(128, 2)
        side = torch.where(torch.rand(128, 1) < 0.5, -1.0, 1.0)
        latent = torch.cat([side * (1.0 + code[:, :1]), code[:, 1:], side], dim=1)
        loss = flow_loss(head, code, latent)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    head.eval()
    with torch.no_grad():
        drawn = head.sample(torch.tensor([[0.5, 0.3]]), torch.randn(200, 3))
    left = drawn[:, 0] < 0
    assert 0.25 < left.float().mean() < 0.75
    assert (drawn[:, 0].abs() - 1.5).abs().median() < 0.25
    assert (drawn[:, 1] - 0.3).abs().median() < 0.2
    assert ((drawn[:, 2] < 0) == left).float().mean() > 0.95


def test_the_same_noise_gives_the_same_chunk_in_any_company() -> None:
    head = FlowHead(5, 30).eval()
    code, noise = torch.randn(1, 5), torch.randn(4, 30)
    with torch.no_grad():
        together, alone = head.sample(code, noise), head.sample(code, noise[2:3])
        each = head.sample(code.expand(4, -1), noise)
    torch.testing.assert_close(together[2:3], alone)
    torch.testing.assert_close(together, each)


def test_samples_of_no_weight_teach_nothing() -> None:
    head = FlowHead(3, 4)
    code, latent = torch.randn(6, 3), torch.randn(6, 4)
    weight = torch.tensor([1.0, 2.0, 0.0, 0.0, 1.0, 0.0])
    losses = []
    for far in (0.0, 100.0):
        torch.manual_seed(3)
        moved = torch.where(weight[:, None] > 0, latent, latent + far)
        losses.append(flow_loss(head, code, moved, weight, draws=3))
    torch.testing.assert_close(*losses)


def _scene(n: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Images (n, 96, 96) of a grey table 0.4 m below with a bright square, depth, state, and the
    x, y [m] of the square in the TCP frame."""
    rgb, depth = np.full((n, 96, 96, 3), 90, np.uint8), np.full((n, 96, 96), 400, np.uint16)
    rows, columns = rng.integers(10, 76, n), rng.integers(10, 76, n)
    for i, (r, c) in enumerate(zip(rows, columns, strict=True)):
        rgb[i, r : r + 12, c : c + 12] = (240, 30, 30)
    state = torch.zeros(n, 5)
    state[:, 2], state[:, 4] = 0.4, 1.0
    rays, origin = CAMERA.rays(1), torch.tensor(CAMERA.position)
    at = torch.stack([rays[:, r + 6, c + 6] for r, c in zip(rows, columns, strict=True)]) * 0.4
    return torch.from_numpy(rgb), torch.from_numpy(depth), state, (at + origin)[:, :2]


def test_eyes_find_what_they_are_taught_to_look_at() -> None:
    eyes, rng = Eyes(CAMERA, 4, range(5)), np.random.default_rng(0)
    optimiser = torch.optim.Adam(eyes.parameters(), 1e-2)
    asked = torch.ones(8, 4)
    for _ in range(60):
        rgb, depth, state, at = _scene(8, rng)
        seen = eyes(rgb, depth, state, asked, (2, 0, 1))
        loss = (seen[:, :2] - at * 10.0).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    rgb, depth, state, at = _scene(8, rng)
    with torch.no_grad():
        seen = eyes(rgb, depth, state, asked)
        thinned = eyes(rgb[:, ::2, ::2], depth[:, ::2, ::2], state, asked)
    assert seen.shape == (8, eyes.outputs) == (8, 6 * PER_MAP + 2)
    assert (seen[:, :2] / 10.0 - at).abs().mean() < 0.02
    torch.testing.assert_close(seen, thinned)  # what is thinned out when it is loaded is the same


def test_an_image_that_cannot_be_thinned_out_is_refused() -> None:
    with pytest.raises(ValueError, match=str(PIXELS)):
        Eyes(wrist_camera(100, 75.0, 0.22, (0.0, 0.0, 0.0)), 4, range(5))
