"""Bundles of policies that make their chunks from noise, and of critics: what they declare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flow_rig import EYES, LATENT, flow_critic, flow_policy
from null_robot import HORIZON, STATE, make_policy

from headway import bundle
from headway.bundle import MANIFEST
from headway.edge.engines.engine import open_bundle
from headway.errors import BundleError, SpecMismatch


def edited(path: Path, change: Any) -> Path:
    """The bundle at `path` with its manifest changed by hand."""
    file = path / MANIFEST
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    return path


def tensor(data: dict[str, Any], name: str) -> dict[str, Any]:
    return next(t for t in (*data["inputs"], *data["outputs"]) if t["name"] == name)


def test_the_eyes_are_those_that_are_stated_or_the_whole_model(tmp_path: Path) -> None:
    stated = bundle.load(flow_policy(tmp_path / "a")).manifest
    assert stated.eyes == EYES
    whole = bundle.load(flow_policy(tmp_path / "b", noise={"eyes": ""})).manifest
    assert whole.eyes == whole.files["p.onnx"].sha256
    assert bundle.load(make_policy(tmp_path / "c")).manifest.eyes == ""
    assert bundle.load(flow_critic(tmp_path / "d")).manifest.eyes == ""


@pytest.mark.parametrize("kind", ["ort", "null"])
@pytest.mark.parametrize("n", [1, 4])
def test_an_engine_has_a_row_per_candidate(tmp_path: Path, kind: str, n: int) -> None:
    engine = open_bundle(bundle.load(flow_policy(tmp_path / "p")), kind, n)
    shapes = {k: v.shape for k, v in (*engine.inputs.items(), *engine.outputs.items())}
    assert shapes["noise"] == shapes["latent"] == (n, LATENT)
    assert shapes["actions"] == (n, HORIZON, 7)
    assert shapes["state"] == (1, len(STATE))
    assert shapes["code"] == (1, len(STATE) + 2)
    critic = open_bundle(bundle.load(flow_critic(tmp_path / "c")), kind, n)
    assert critic.inputs["code"].shape == (1, len(STATE) + 2)
    assert critic.outputs["score"].shape == (n,)


def test_each_row_is_what_it_would_be_alone(tmp_path: Path) -> None:
    made = bundle.load(flow_policy(tmp_path / "p"))
    one, four = open_bundle(made, "ort"), open_bundle(made, "ort", 4)
    noise = np.random.default_rng(0).standard_normal((4, LATENT), np.float32)
    for engine in (one, four):
        engine.bind("state")[:] = 0.5
    four.bind("noise")[:] = noise
    four.run()
    for row, actions in zip(noise, four.bind("actions"), strict=True):
        one.bind("noise")[:] = row
        one.run()
        np.testing.assert_allclose(one.bind("actions")[0], actions, atol=1e-6)


def test_several_candidates_want_a_model_that_can_make_them(tmp_path: Path) -> None:
    fixed = bundle.load(flow_policy(tmp_path / "p", several=False))
    assert open_bundle(fixed, "ort").outputs["latent"].shape == (1, LATENT)
    with pytest.raises(
        SpecMismatch, match=r"does not run with 4 chunks at a time.*leaves the first"
    ):
        open_bundle(fixed, "ort", 4)
    with pytest.raises(SpecMismatch, match=r"tiny makes no chunks .* cannot make 2"):
        open_bundle(bundle.load(make_policy(tmp_path / "q")), "ort", 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["policy"].update(noise=None), "nobody fills the input `noise`"),
        (
            lambda d: d["policy"]["noise"].update(input="nois"),
            "policy.noise: wanted an input `nois` of its own",
        ),
        (
            lambda d: d["policy"]["noise"].update(input="state"),
            "policy.noise: wanted an input `state` of its own",
        ),
        (lambda d: d["policy"]["noise"].update(code="cod"), "no output is named `cod`"),
        (
            lambda d: d["policy"]["noise"].update(code="latent", latent="latent"),
            "as different outputs, found actions, latent, latent",
        ),
        (
            lambda d: d["policy"].update(ignored_outputs=["code"]),
            "as different outputs, found actions, code, latent, code",
        ),
        (
            lambda d: tensor(d, "noise").update(shape=[LATENT]),
            r"tensor `noise`: wanted float32 \(1, n\)",
        ),
        (
            lambda d: tensor(d, "noise").update(mean=[0.0], std=[2.0]),
            "without a unit, mean and std",
        ),
        (
            lambda d: tensor(d, "latent").update(shape=[1, 7]),
            rf"output `latent`: wanted \(1, {LATENT}\) as the input `noise`, found \(1, 7\)",
        ),
        (
            lambda d: tensor(d, "actions").update(shape=[HORIZON, 7]),
            r"a policy with noise wants \(1, h, d\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    path = edited(flow_policy(tmp_path / "p"), change)
    with pytest.raises(BundleError, match=said):
        bundle.load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["critic"].update(eyes=""), "critic.eyes"),
        (lambda d: d["critic"].update(latent="laten"), "critic: wanted the inputs code, laten"),
        (lambda d: d["critic"].update(score="s"), "critic: wanted the outputs s alone"),
        (
            lambda d: d["outputs"].append({"name": "more", "shape": [1]}),
            "the model's are score, more",
        ),
        (lambda d: tensor(d, "score").update(shape=[1, 1]), r"`score`: wanted float32 \(1,\)"),
        (lambda d: tensor(d, "code").update(dtype="int64"), r"`code`: wanted float32 \(1, n\)"),
        (lambda d: d.update(critic=None), "wants the section `critic` alone, found none"),
        (lambda d: d.update(kind="pro"), "wants the section `pro` alone, found critic"),
    ],
)
def test_a_critic_that_is_none_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    path = edited(flow_critic(tmp_path / "c"), change)
    with pytest.raises(BundleError, match=said):
        bundle.load(path)
