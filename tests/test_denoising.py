"""The steps of LeRobot's Diffusion Policy, without LeRobot: the factors of DDIM and DDPM, and what
a step makes of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exporting a policy needs PyTorch: make torch")

from headway.export.lerobot.denoising import Crop, Step, factors  # noqa: E402

TRAINED = 100
BETAS = np.linspace(1e-4, 0.02, TRAINED)
ALPHAS = np.cumprod(1.0 - BETAS)  # those that diffusers calls alphas_cumprod


def scheduler(steps: int) -> SimpleNamespace:
    """What `factors` reads of diffusers' schedulers, for `steps` of the trained ones."""
    gap = TRAINED // steps
    return SimpleNamespace(
        alphas_cumprod=torch.tensor(ALPHAS), timesteps=torch.arange(steps).flip(0) * gap,
        config=SimpleNamespace(num_train_timesteps=TRAINED), num_inference_steps=steps,
    )  # fmt: skip


class Net(torch.nn.Module):
    """Sees the same noise at every time, and notes what it is asked."""

    def __init__(self, seen: torch.Tensor) -> None:
        super().__init__()
        self.seen, self.times = seen, []  # type: ignore[var-annotated]

    def forward(self, x, t, global_cond):  # type: ignore[no-untyped-def]
        self.times.append(int(t))
        return self.seen


def moved(step: Step, row: np.ndarray, x: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
    at, t = torch.tensor([0]), torch.tensor([7])
    return step(x, t, at, torch.from_numpy(row), torch.zeros(1, 2), fresh)


def drawn(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 4, 2)).astype(np.float32))


def test_ddim_moves_to_the_earlier_time_along_the_noise_that_was_seen() -> None:
    """Song et al. 2021, equation 12 with sigma 0; after the last step the noise is gone."""
    found = factors(scheduler(5), ddpm=False)
    assert found.shape == (5, 6)
    e, clean = drawn(1), drawn(2)
    step = Step(Net(e), epsilon=True, clip=None)
    times = [80, 60, 40, 20, 0]
    for row, t in zip(found, times, strict=True):
        a = ALPHAS[t]
        b = ALPHAS[t - 20] if t >= 20 else 1.0
        x = a**0.5 * clean + (1 - a) ** 0.5 * e
        wanted = b**0.5 * clean + (1 - b) ** 0.5 * e
        got = moved(step, row, x, torch.zeros(1, 4, 2))
        np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5)
    np.testing.assert_allclose(wanted, clean, rtol=0, atol=1e-6)


def test_ddpm_draws_from_the_posterior() -> None:
    """Ho et al. 2020, equations 6 and 7, with one step for each that was trained; no noise is added
    at the end."""
    found = factors(scheduler(TRAINED), ddpm=True)
    x, x0, z = drawn(1), drawn(2), drawn(3)
    step = Step(Net(x0), epsilon=False, clip=None)
    for row, t in zip(found, range(TRAINED - 1, -1, -1), strict=True):
        a, b = ALPHAS[t], ALPHAS[t - 1] if t else 1.0
        beta = BETAS[t]
        mean = b**0.5 * beta / (1 - a) * x0 + (1 - beta) ** 0.5 * (1 - b) / (1 - a) * x
        spread = ((1 - b) / (1 - a) * beta) ** 0.5
        got = moved(step, row, x, z)
        np.testing.assert_allclose(got, mean + spread * z, rtol=0, atol=2e-5)
    assert found[-1, -1] == 0.0
    assert (found[:-1, -1] > 0.0).all()


def test_a_clean_trajectory_stays_within_the_bounds() -> None:
    row = factors(scheduler(5), ddpm=False)[-1]  # gives the clean trajectory itself
    far = 10.0 * drawn(2)
    got = moved(Step(Net(far), epsilon=False, clip=1.5), row, drawn(1), torch.zeros(1, 4, 2))
    np.testing.assert_allclose(got, far.clamp(-1.5, 1.5), rtol=0, atol=1e-6)
    assert float(far.abs().max()) > 1.5


def test_a_step_takes_its_own_fresh_noise() -> None:
    row = np.array([1, 1, 0, 0, 0, 2], np.float32)  # only the fresh noise, twice
    fresh = torch.cat([drawn(k) for k in range(3)])
    net = Net(torch.zeros(1, 4, 2))
    step = Step(net, epsilon=True, clip=None)
    for k in range(3):
        got = step(
            drawn(9), torch.tensor([k]), torch.tensor([k]), torch.from_numpy(row),
            torch.zeros(1, 2), fresh,
        )  # fmt: skip
        np.testing.assert_array_equal(got[0], 2 * fresh[k])
    assert net.times == [0, 1, 2]


@pytest.mark.parametrize(
    ("image", "size"), [((9, 12), (5, 7)), ((8, 8), (8, 8)), ((10, 11), (3, 4))]
)
def test_the_middle_of_an_image_is_cut(image: tuple[int, int], size: tuple[int, int]) -> None:
    x = torch.arange(image[0] * image[1]).reshape(1, 1, *image)
    got = Crop(image, size)(x)
    assert got.shape == (1, 1, *size)
    top, left = (round((a - b) / 2) for a, b in zip(image, size, strict=True))
    assert int(got[0, 0, 0, 0]) == top * image[1] + left
    assert int(got[0, 0, -1, -1]) == (top + size[0] - 1) * image[1] + left + size[1] - 1
