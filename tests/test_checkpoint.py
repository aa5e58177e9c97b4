"""A checkpoint is resumed by the same training alone: by its arguments, and what it learns from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="learning needs PyTorch: make torch")
pytest.importorskip("mujoco", reason="the cell needs mujoco: make test installs it")

from headway.learn import behaviour_cloning, checkpoint, dataset  # noqa: E402
from headway.learn.scripted import HORIZON  # noqa: E402
from headway.learn.state_names import CLONING_STATE  # noqa: E402


def samples(episodes: int, seed: int = 0, pixels: int = 96) -> dataset.Samples:
    """Two samples of each of so many made-up episodes."""
    rng, n = np.random.default_rng(seed), 2 * episodes
    return dataset.Samples(
        rgb=rng.integers(0, 255, (n, pixels, pixels, 3), np.uint8),
        depth=rng.integers(50, 600, (n, pixels, pixels)).astype(np.uint16),
        state=rng.normal(size=(n, len(CLONING_STATE))).astype(np.float32),
        instruction=np.zeros(n, np.int64),
        actions=rng.uniform(0, 1, (n, HORIZON, 7)).astype(np.float32),
        grasp=np.full((n, 3), 0.05, np.float32),
        episode=np.repeat(np.arange(episodes), 2),
        t_ns=np.arange(n),
    )


def test_a_training_is_named_by_its_arguments_and_every_number_it_learns_from() -> None:
    args, data = behaviour_cloning.Args(), samples(3, pixels=4)
    wanted = checkpoint.same(args, data)
    assert checkpoint.same(args, samples(3, pixels=4)) == wanted
    others = {checkpoint.same(replace(args, seed=1), data), checkpoint.same(args, data, "more")}
    for name in data.__dataclass_fields__:
        changed = getattr(data, name).copy()
        changed.reshape(-1)[-1] += 1
        others.add(checkpoint.same(args, replace(data, **{name: changed})))
    others.add(checkpoint.same(args, replace(data, grasp=data.grasp.reshape(-1, 1))))
    others.add(checkpoint.same(args, replace(data, grasp=data.grasp[:0])))
    assert wanted not in others
    assert len(others) == 2 + len(data.__dataclass_fields__) + 2


def test_more_recordings_are_learned_from_although_there_is_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = behaviour_cloning.Args(work=tmp_path / "w", steps=250, batch=1)

    def trained(episodes: int) -> tuple[str, dict[str, torch.Tensor], int]:
        monkeypatch.setattr(behaviour_cloning, "load", lambda args: samples(episodes))
        net, report = behaviour_cloning.train(args)
        return capsys.readouterr().out, net.state_dict(), report.samples

    _, first, _ = trained(2)
    said, again, _ = trained(2)
    assert "resuming at step 250" in said
    assert all(torch.equal(v, again[n]) for n, v in first.items())
    said, other, count = trained(6)
    assert "resuming" not in said
    assert count == 12
    assert any(not torch.equal(v, other[n]) for n, v in first.items())
