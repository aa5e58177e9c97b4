"""Policies that make their chunks from noise: what they draw, and how a critic chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_policy import GIVEN, observation
from flow_rig import HORIZON, LATENT, STATE, actions_of, flow_critic, flow_policy
from null_robot import NO_REALTIME, make_policy, make_pro, run
from remote_rig import serving

from headway import bundle, config
from headway.drivers.model import load
from headway.edge.control import settings as run_settings
from headway.edge.motion.actions import Limb
from headway.edge.policy import candidates as judged
from headway.edge.policy.config import with_paths
from headway.edge.policy.kinds import bundle as kind
from headway.edge.policy.kinds.bundle import BundlePolicy, Config, open_policy
from headway.edge.policy.policy import FrameShape, about
from headway.edge.policy.remote.client import RemotePolicy
from headway.edge.policy.remote.layout import of_bundle
from headway.edge.policy.worker.process import ProcessWorker
from headway.edge.policy.worker.source import PolicySource
from headway.errors import BundleError, ConfigError, PolicyError, SpecMismatch
from headway.mcaplog import open_recording
from headway.types import Observation

KIND = "headway.edge.policy.kinds.bundle:open_policy"


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    return flow_policy(tmp_path / "flow")


@pytest.fixture
def critic(tmp_path: Path) -> Path:
    return flow_critic(tmp_path / "critic")


def opened(flow: Path, n: int, critic: Path | None = None, **options: Any) -> BundlePolicy:
    return open_policy(str(flow), "ort", n, "" if critic is None else str(critic), **options)


def seen(seed: int = 5, number: int = 3, **changes: Any) -> Observation:
    return observation(seed=seed, number=number, **changes)


def test_a_chunk_follows_from_the_seed_and_the_number_alone(flow: Path) -> None:
    policy = opened(flow, 1)
    first = policy.infer(seen()).actions
    others = [policy.infer(seen(*x)).actions for x in ((5, 4), (6, 3), (3, 5))]
    assert not any(np.allclose(first, o) for o in others)
    policy.reset()
    np.testing.assert_array_equal(policy.infer(seen()).actions, first)
    np.testing.assert_array_equal(opened(flow, 1).infer(seen()).actions, first)


def test_the_first_candidate_is_the_one_that_would_be_alone(flow: Path, critic: Path) -> None:
    one, four = opened(flow, 1), opened(flow, 4, critic)
    one.infer(seen())
    four.infer(seen())
    assert one.thought is not None
    assert four.thought is not None
    assert four.thought.latent.shape == (4, LATENT)
    np.testing.assert_allclose(one.thought.latent[0], four.thought.latent[0], rtol=1e-6)


def test_a_policy_that_is_closed_has_freed_its_models(flow: Path, critic: Path) -> None:
    policy = opened(flow, 4, critic)
    policy.infer(seen())
    policy.close()
    policy.close()
    with pytest.raises(BundleError, match="is closed: open it again"):
        policy.infer(seen())
    assert policy._judge is not None
    with pytest.raises(BundleError, match="is closed: open it again"):
        policy._judge.engine.run()


def test_a_policy_that_is_refused_leaves_no_model_open(
    flow: Path, critic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    for module in (kind, judged):

        def noted(*args: Any, real: Any = module.open_bundle) -> Any:
            made.append(real(*args))
            return made[-1]

        monkeypatch.setattr(module, "open_bundle", noted)

    def refused(*_: Any) -> None:
        raise SpecMismatch("an input that the loop cannot fill")

    monkeypatch.setattr(kind, "make_inputs", refused)
    with pytest.raises(SpecMismatch, match="cannot fill"):
        opened(flow, 4, critic)
    assert len(made) == 2
    for engine in made:
        with pytest.raises(BundleError, match="is closed"):
            engine.run()


def test_noise_is_standard_normal(flow: Path) -> None:
    policy = opened(flow, 1)
    drawn = []
    for number in range(300):
        policy.infer(seen(number=number))
        assert policy.thought is not None
        drawn.append(policy.thought.latent[0] - np.mean(GIVEN))
    values = np.array(drawn)  # (300, LATENT)
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1.0) < 0.03
    assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.2


def test_less_noise_brings_chunks_together(flow: Path) -> None:
    drawn: dict[float, Any] = {}
    for noise in (1.0, 0.5, 0.0):
        policy = opened(flow, 1, noise=noise)
        latents = []
        for number in range(50):
            policy.infer(seen(number=number))
            assert policy.thought is not None
            latents.append(policy.thought.latent[0])
        drawn[noise] = np.array(latents)
        assert policy.facts["noise"] == f"{noise:g}"
        assert ("of its noise" in policy.detail) == (noise != 1.0)
    usual = drawn[0.0][0]
    assert (drawn[0.0] == usual).all()
    np.testing.assert_allclose(drawn[0.5] - usual, 0.5 * (drawn[1.0] - usual), atol=1e-5)


def test_noise_is_asked_of_who_has_some(flow: Path, critic: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which does not: leave `noise` out"):
        open_policy(str(make_policy(tmp_path / "p")), noise=0.0)
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="noise wants 0 to 1"):
            opened(flow, 1, noise=wrong)
    with pytest.raises(ConfigError, match="candidates = 2 wants noise"):
        opened(flow, 2, critic, noise=0.0)


def test_the_chunk_with_the_highest_score_is_played(flow: Path, critic: Path) -> None:
    policy = opened(flow, 4, critic)
    chunk = policy.infer(seen())
    thought = policy.thought
    assert thought is not None
    np.testing.assert_allclose(thought.code, [*GIVEN, 0.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(thought.scores, thought.latent[:, 0] + GIVEN[0], rtol=1e-5)
    assert thought.chosen == int(np.argmax(thought.scores))
    wanted = actions_of(thought.latent)[thought.chosen]
    np.testing.assert_allclose(chunk.actions, wanted, atol=1e-6)
    assert chunk.meta["candidates"] == 4
    assert chunk.meta["score"] == thought.scores.max()
    assert chunk.meta["cost_ms"] > 0.0
    taken = set()
    for number in range(30):
        policy.infer(seen(number=number))
        taken.add(policy.thought.chosen)
    assert taken == set(range(4))


def test_what_was_thought_is_kept_when_the_next_chunk_is_made(flow: Path, critic: Path) -> None:
    policy = opened(flow, 2, critic)
    policy.infer(seen())
    assert policy.thought is not None
    kept = policy.thought
    before = [np.copy(x) for x in kept[:3]]
    policy.infer(seen(number=4, state=np.ones(len(STATE), np.float32)))
    for old, now in zip(before, kept[:3], strict=True):
        np.testing.assert_array_equal(old, now)
    policy.reset()
    assert policy.thought is None


def test_one_candidate_is_the_plain_policy_and_may_be_scored(flow: Path, critic: Path) -> None:
    plain, scored = opened(flow, 1), opened(flow, 1, critic)
    chunk, same = plain.infer(seen()), scored.infer(seen())
    np.testing.assert_array_equal(chunk.actions, same.actions)
    assert set(chunk.meta) == {"candidates", "cost_ms"}
    assert plain.thought is not None
    assert np.isnan(plain.thought.scores).all()
    assert scored.thought is not None
    assert same.meta["score"] == scored.thought.scores[0]


def test_a_policy_without_noise_is_what_it_was(tmp_path: Path) -> None:
    policy = open_policy(str(make_policy(tmp_path / "p")))
    chunk = policy.infer(seen())
    assert (chunk.meta, policy.thought, policy.candidates) == ({}, None, 0)
    assert about(policy).candidates == 0
    assert set(policy.facts) == {"policy_sha256", "policy_engine"}


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_a_temperature_tries_others_than_the_best(
    flow: Path, critic: Path, temperature: float
) -> None:
    """Against the softmax of the scores, standardised over the candidates."""
    policy = opened(flow, 4, critic, temperature=temperature)
    expected, found = np.zeros(4), np.zeros(4)
    for number in range(600):
        policy.infer(seen(number=number))
        assert policy.thought is not None
        scores = policy.thought.scores.astype(np.float64)
        odds = np.exp((scores - scores.mean()) / scores.std() / temperature)
        order = np.argsort(scores)
        expected += odds[order] / odds.sum()
        found[list(order).index(policy.thought.chosen)] += 1
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(expected.max()))
    assert found[-1] < 600
    again = opened(flow, 4, critic, temperature=temperature)
    again.infer(seen(number=599))
    assert again.thought is not None
    assert policy.thought is not None
    assert again.thought.chosen == policy.thought.chosen


def test_equal_scores_are_equally_likely(flow: Path, tmp_path: Path) -> None:
    policy = opened(flow, 3, flow_critic(tmp_path / "c", factor=0.0), temperature=0.1)
    taken = []
    for number in range(300):
        policy.infer(seen(number=number))
        assert policy.thought is not None
        taken.append(policy.thought.chosen)
    assert np.bincount(taken, minlength=3).min() > 70


def test_a_critic_that_does_not_belong_to_the_policy_is_refused(tmp_path: Path, flow: Path) -> None:
    for change, said in (
        ({"critic": {"eyes": "other eyes"}}, r"trained for the eyes other eyes \(flow\), policy"),
        ({"code": 3}, "wants 3 numbers as `code`, policy flow gives 6"),
        ({"latent": 7}, f"wants 7 numbers as `latent`, policy flow gives {LATENT}"),
    ):
        other = flow_critic(tmp_path / "other", **change)
        with pytest.raises(SpecMismatch, match=said):
            opened(flow, 2, other)
    with pytest.raises(SpecMismatch, match="wanted a bundle of kind critic, found pro"):
        opened(flow, 2, make_pro(tmp_path / "pro"))
    with pytest.raises(SpecMismatch, match="wanted a bundle of kind policy, found critic"):
        open_policy(str(flow_critic(tmp_path / "c")))
    with pytest.raises(SpecMismatch, match="policy tiny makes none from it: leave `critic` out"):
        opened(make_policy(tmp_path / "p"), 2, flow_critic(tmp_path / "d"))
    with pytest.raises(BundleError, match="wanted a bundle folder at"):
        opened(flow, 2, tmp_path / "nowhere")


def test_several_candidates_want_a_critic(flow: Path) -> None:
    with pytest.raises(ConfigError, match="candidates = 2 wants a critic that takes one of them"):
        opened(flow, 2)
    for bad in ({"candidates": 0}, {"temperature": -1.0}, {"noise": 1.5}, {"noise": -0.1}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            config.decode({"bundle": "x", **bad}, Config, "[policy]")


def test_the_critics_folder_starts_where_the_file_lies(tmp_path: Path) -> None:
    table = with_paths({"bundle": "flow", "critic": "../critic"}, tmp_path / "configs")
    assert table == {
        "bundle": str(tmp_path / "configs" / "flow"),
        "critic": str(tmp_path / "configs" / "../critic"),
    }
    assert with_paths({"bundle": "flow"}, tmp_path) == {"bundle": str(tmp_path / "flow")}


def test_a_critic_that_fails_is_a_failure_of_the_policy(tmp_path: Path, flow: Path) -> None:
    policy = opened(flow, 2, flow_critic(tmp_path / "c", factor=float("inf")))
    with pytest.raises(PolicyError, match="critic judge gave a score that is no number"):
        policy.infer(seen(state=np.zeros(len(STATE), np.float32)))


def test_the_policys_own_process_chooses_the_same(flow: Path, critic: Path) -> None:
    model = load("ur5e")
    q = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])
    options = {"bundle": str(flow), "candidates": 4, "critic": str(critic)}
    worker = ProcessWorker(
        PolicySource(KIND, options), Limb(model.chain, model.joints),
        {"wrist": FrameShape(16, 16, True)}, q,
    )  # fmt: skip
    try:
        assert worker.about.candidates == 4
        assert worker.detail == "ort (cpu), 4 candidates a chunk, judged by judge"
        worker.reset("")
        for number in (3, 4):
            obs = seen(number=number, base_q=q, base=model.chain.pose(q), t_ns=number)
            here, there = opened(flow, 4, critic).infer(obs), worker.answer(obs).chunk
            np.testing.assert_array_equal(here.actions, there.actions)
            assert set(there.meta) == set(here.meta)
            assert there.meta["score"] == here.meta["score"]
    finally:
        worker.close()


def test_a_server_chooses_the_same_for_whoever_says_seed_and_number(
    flow: Path, critic: Path
) -> None:
    here, served = opened(flow, 4, critic), opened(flow, 4, critic)
    layout = of_bundle(bundle.load(flow).manifest)
    assert layout.draw == "observation/draw"
    with serving(served, layout) as server:
        client = RemotePolicy(f"ws://127.0.0.1:{server.port}", timeout_s=30.0)
        for number in (3, 4):
            np.testing.assert_array_equal(
                client.infer(seen(number=number)).actions, here.infer(seen(number=number)).actions
            )
        client.close()
        silent = RemotePolicy(f"ws://127.0.0.1:{server.port}", timeout_s=30.0)
        silent._message._draw = None  # as a client of openpi's
        np.testing.assert_array_equal(silent.infer(seen()).actions, here.infer(seen(0, 0)).actions)
        silent.close()


def test_a_run_says_and_records_what_was_chosen(
    flow: Path, critic: Path, write: Any, tmp_path: Path, capsys: Any
) -> None:
    table = {"bundle": str(flow), "candidates": 4, "critic": str(critic)}
    path = write(policy=table, task={"kind": "open_ended", "limit_s": 0.5})
    assert run_settings.load(path).policy == table
    for name in ("first", "second"):
        assert run(path, tmp_path / name, "--episodes", 2) == 0
    said = capsys.readouterr().out
    assert "policy flow on ort (cpu), 4 candidates a chunk, judged by judge" in said
    assert " ms a chunk of 4 candidates (median), at most " in said
    chunks = [open_recording(tmp_path / n / "episode_0.mcap") for n in ("first", "second")]
    rows = [r.rows("/chunk") for r in chunks]
    assert len(rows[0]) == 5
    assert rows[0].tobytes() == rows[1].tobytes()
    assert np.isfinite(rows[0]["score"]).all()
    facts = chunks[0].metadata
    assert (facts["candidates"], facts["critic"], facts["temperature"]) == ("4", "judge", "0")
    assert facts["critic_sha256"] == bundle.load(critic).manifest.files["c.onnx"].sha256
    other = open_recording(tmp_path / "first" / "episode_1.mcap").rows("/chunk")
    assert not np.allclose(other["actions"], rows[0]["actions"])
    assert rows[0]["actions"].shape[1:] == (HORIZON, 7)


def test_a_run_in_real_time_records_scores_too(
    flow: Path, critic: Path, write: Any, tmp_path: Path
) -> None:
    table = {"bundle": str(flow), "candidates": 2, "critic": str(critic)}
    path = write(
        policy=table, realtime=NO_REALTIME, task={"kind": "open_ended", "limit_s": 0.5},
        loop={"tare_s": 0.02, "hz": 100.0, "watchdog_s": 0.0, "fault_after_s": 5.0},
    )  # fmt: skip
    assert run(path, tmp_path / "out", "--realtime", "--episodes", 1) == 0
    rows = open_recording(tmp_path / "out" / "episode_0.mcap").rows("/chunk")
    assert len(rows)
    assert np.isfinite(rows["score"]).all()
    assert (rows["done_ns"] > rows["started_ns"]).all()


def test_observations_of_an_episode_are_numbered(write: Any, tmp_path: Path) -> None:
    from loop_rig import Policy, Rig
    from null_robot import null_table

    asked: list[tuple[int, int]] = []

    class Noting(Policy):
        def infer(self, obs: Observation) -> Any:
            asked.append((obs.seed, obs.number))
            return super().infer(obs)

    Rig(null_table(), Noting()).run(tmp_path / "e.mcap")
    assert asked == [(3, k) for k in range(len(asked))]
    assert len(asked) > 5
