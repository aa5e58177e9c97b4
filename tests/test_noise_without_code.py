"""Policies that make their chunks from noise and tell neither code nor latent, such as LeRobot's
Diffusion Policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from echo_policy import observation
from flow_rig import HORIZON, flow_critic, flow_policy

from headway import bundle
from headway.bundle import Noise
from headway.edge.engines.engine import open_bundle
from headway.edge.policy.kinds.bundle import open_policy
from headway.errors import BundleError, SpecMismatch

QUIET = {
    "noise": {"code": "", "latent": ""},
    "policy": {"ignored_outputs": ("code", "latent")},
}


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    return flow_policy(tmp_path / "quiet", **QUIET)  # type: ignore[arg-type]


def test_it_answers_as_the_same_policy_that_tells_them(quiet: Path, tmp_path: Path) -> None:
    policy = open_policy(str(quiet), "ort")
    telling = open_policy(str(flow_policy(tmp_path / "telling")), "ort")
    seen = observation(seed=5, number=3)
    chunk = policy.infer(seen)
    np.testing.assert_array_equal(chunk.actions, telling.infer(seen).actions)
    assert policy.thought is None
    assert telling.thought is not None
    assert (policy.candidates, chunk.meta["candidates"]) == (1, 1.0)
    assert "score" not in chunk.meta
    other = policy.infer(observation(seed=5, number=4)).actions
    assert not np.allclose(chunk.actions, other)
    assert chunk.actions.shape[0] == HORIZON


def test_nobody_can_choose_among_its_chunks(quiet: Path, tmp_path: Path) -> None:
    critic = flow_critic(tmp_path / "critic")
    with pytest.raises(SpecMismatch, match="does not give what a critic judges by"):
        open_policy(str(quiet), "ort", 1, str(critic))
    with pytest.raises(SpecMismatch, match="2"):
        open_bundle(bundle.load(quiet), "ort", 2)


def test_code_and_latent_come_together() -> None:
    with pytest.raises(ValueError, match="come together"):
        Noise(input="noise", code="", latent="latent")


def test_outputs_that_nobody_reads_are_named(tmp_path: Path) -> None:
    with pytest.raises((BundleError, ValueError), match="nobody reads the output `code`"):
        flow_policy(tmp_path / "unread", noise=QUIET["noise"])
