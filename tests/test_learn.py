"""Learning: labels from recordings, both trainers end to end at toy size, exports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="learning needs PyTorch: make torch")
pytest.importorskip("mujoco", reason="the cell needs mujoco: make test installs it")

from headway import bundle, shipped  # noqa: E402
from headway.clock import VirtualClock  # noqa: E402
from headway.drivers.sim import gl  # noqa: E402
from headway.drivers.sim.arm_model import with_gripper  # noqa: E402
from headway.drivers.sim.cell import Cell, CellConfig  # noqa: E402
from headway.drivers.sim.scenes.pick_place import INSTRUCTIONS  # noqa: E402
from headway.edge.engines.engine import open_engine  # noqa: E402
from headway.errors import RecordingError  # noqa: E402
from headway.kernels import spec  # noqa: E402
from headway.learn import behaviour_cloning, collect, dataset  # noqa: E402
from headway.learn.experts.pick_place import Expert  # noqa: E402
from headway.learn.pro import training as pro  # noqa: E402
from headway.learn.pro.head import HIDDEN, ProHead  # noqa: E402
from headway.learn.pro.recordings import Labelled  # noqa: E402
from headway.learn.scripted import HORIZON  # noqa: E402
from headway.learn.state_names import CLONING_STATE  # noqa: E402
from headway.mcaplog import open_recording  # noqa: E402

CONFIG = shipped.CONFIG
ARM = with_gripper("ur5e")
needs_gl = pytest.mark.skipif(gl.backend() is None, reason="no EGL and no OSMesa on this machine")


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recorded episodes of the scripted expert."""
    out = tmp_path_factory.mktemp("demos")
    seeds = tuple(collect.DEMO_SEEDS + i for i in (0, 2))
    results = collect.run(CONFIG, out, 0.0, seeds)
    assert [r.success for r in results] == [True, True]
    return out


@needs_gl
def test_labels_are_the_motion_that_followed(demos: Path) -> None:
    path = sorted(demos.glob("*.mcap"))[0]
    recording = open_recording(path)
    samples = dataset.episode_samples(
        recording, ARM.robot.chain, camera="wrist", state_names=CLONING_STATE, instruction=0,
        horizon=HORIZON, stroke=ARM.gripper.stroke, index=0,
    )  # fmt: skip
    chunks = recording.rows("/chunk")
    assert len(samples) == len(chunks)
    # The first waypoint of the expert's plan is what the arm was then told, to a few millimetres:
    # the plan is made afresh every 0.1 s and the reference is smoothed.
    gap = np.abs(samples.actions[:, 0, :3] - chunks["actions"][:, 0, :3]).max(axis=1)
    assert np.median(gap) < 0.002
    assert set(np.unique(samples.actions[..., 6])) == {0.0, 1.0}
    opened = np.isfinite(samples.grasp[:, 0])
    assert opened.any()
    assert not opened.all()
    assert samples.rgb.shape[1:] == (96, 96, 3)


@needs_gl
def test_disturbances_are_not_imitated(demos: Path) -> None:
    recording = open_recording(sorted(demos.glob("*.mcap"))[0])
    chunks = recording.rows("/chunk")
    recording.rows = _with_disturbance(recording, at=20)  # type: ignore[method-assign]
    samples = dataset.episode_samples(
        recording, ARM.robot.chain, camera="wrist", state_names=CLONING_STATE, instruction=0,
        horizon=HORIZON, stroke=ARM.gripper.stroke, index=0,
    )  # fmt: skip
    # the chunk itself, and the ones whose labels would reach into it
    assert len(samples) == len(chunks) - HORIZON - 1


def _with_disturbance(recording, at: int):  # type: ignore[no-untyped-def]
    original = recording.rows

    def rows(topic: str):  # type: ignore[no-untyped-def]
        found = original(topic).copy()
        if topic == "/chunk":
            found["demonstration"][at] = 0
        return found

    return rows


@needs_gl
def test_cloning_trains_resumes_and_exports(demos: Path, tmp_path: Path) -> None:
    args = behaviour_cloning.Args(
        demos=(demos,), out=tmp_path / "policy", work=tmp_path / "w", steps=4
    )
    monkey = behaviour_cloning.load(args)
    assert len(monkey) > 50
    assert len(INSTRUCTIONS) == 4
    behaviour_cloning.main(args)
    made = bundle.load(tmp_path / "policy")
    assert made.manifest.provenance.metrics["steps"] == 4
    engine = open_engine(
        "ort", made.onnx, inputs=made.manifest.inputs, outputs=made.manifest.outputs
    )
    engine.write("wrist_rgb", monkey.rgb[:1])
    engine.write("wrist_depth", monkey.depth[:1])
    engine.write("state", monkey.state[:1])
    engine.run()
    actions = engine.bind("actions")
    assert actions.shape == (1, HORIZON, 7)
    assert np.isfinite(actions).all()
    assert (actions[..., 6] >= 0).all()
    assert (actions[..., 6] <= 1).all()


def _labelled(seed: int, success: bool, n: int, rng: np.random.Generator) -> Labelled:
    """Synthetic telemetry in which the first feature tells failures from successes."""
    features = rng.normal(0, 1, (n, len(spec.NAMES))).astype(np.float32)
    features[:, 0] += 3.0 * (not success)
    late = np.arange(n) > n - 100
    return Labelled(
        name=f"{seed}.mcap", seed=seed, features=features,
        mask=np.ones((n, len(spec.MASKS)), np.float32),
        time_to_go=np.arange(n, 0, -1).astype(np.float32) / 50,
        risk=(late & (not success)).astype(np.float32), unstable=np.zeros(n, np.float32),
        elapsed=np.arange(n).astype(np.float32) / 50, force=np.zeros(n, np.float32),
        retry_count=np.zeros(n, np.float32), success=success, retries=0,
    )  # fmt: skip


def test_pro_head_steps_as_it_was_trained() -> None:
    torch.manual_seed(0)
    net = ProHead(limit_s=18.0, typical_s=6.0)
    net.mean[:], net.std[3:] = torch.randn(len(spec.NAMES)), 2.0
    net.std[:3] = torch.inf  # what never moved in training
    net.temperature[:] = torch.tensor([0.7, 1.3, 2.0])
    step = net.step()
    features, mask = torch.randn(1, 12, len(spec.NAMES)), torch.ones(1, 12, len(spec.MASKS))
    mask[:, 5:, 2] = 0.0
    logits, binary = net.sequence(features, mask)
    h = torch.zeros(1, HIDDEN)
    for t in range(12):
        progress, stability, completion, risk, time_to_go, h = step(features[:, t], mask[:, t], h)
    p = torch.sigmoid(binary[0, -1] / net.temperature)
    assert torch.allclose(time_to_go[0, 0], net.expected(logits[0, -1]), atol=1e-5)
    found = torch.stack([completion[0, 0], risk[0, 0], 1 - stability[0, 0]])
    assert torch.allclose(found, p, atol=1e-5)
    assert abs(progress.item() - min(max(1 - time_to_go.item() / 6.0, 0.0), 1.0)) < 1e-5


def test_pro_learns_what_is_there_and_is_judged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    items = [_labelled(i, success=i % 3 != 0, n=120, rng=rng) for i in range(90)]
    args = pro.Args(out=tmp_path / "pro", steps=120, batch=8, lr=1e-2)
    net = pro.train(args, items)
    _, validation, test = pro.split(items)
    metrics = pro.judge(
        (validation, pro.outputs(net, validation)), (test, pro.outputs(net, test)), 50
    )
    assert metrics["auroc_risk_0.5s"] > 0.9
    assert metrics["test_episodes"] == len(test)
    made = bundle.load(pro.save(net, args, items, metrics))
    assert made.manifest.pro is not None
    assert made.manifest.pro.spec_hash == spec.spec_hash()


def test_a_head_is_not_judged_on_a_handful_of_episodes(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    few = [_labelled(i, success=i != 0, n=60, rng=rng) for i in range(6)]
    said = [
        {k: rng.uniform(size=60) for k in ("completion", "risk", "stability", "time_to_go")}
    ] * 6
    many = [_labelled(i, success=True, n=60, rng=rng) for i in range(12)]
    metrics = pro.judge((few, said), (few, said), 50)
    assert not {k for k in metrics if k.startswith(("auroc", "alarm", "risk_threshold"))}
    printed = " ".join(capsys.readouterr().out.split())
    assert "at least 5 failures and 5 successes, found 1 and 5" in printed
    assert "at least 9 successes in the validation split, found 5" in printed
    metrics = pro.judge((many, said * 2), (few, said), 50)
    assert 0 < metrics["risk_threshold"] < 1
    assert not {k for k in metrics if k.startswith(("auroc", "alarm"))}


def test_splits_share_no_episode() -> None:
    rng = np.random.default_rng(1)
    items = [_labelled(i, True, 5, rng) for i in range(50)]
    parts = [{s.seed for s in part} for part in pro.split(items)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert sum(map(len, parts)) == 50


def test_expert_is_a_function_of_its_seed() -> None:
    cell = Cell(CellConfig(), VirtualClock(1))
    cell.reset(5)
    a, b = Expert(cell, disturb=0.1), Expert(cell, disturb=0.1)
    assert a.speed == b.speed
    assert np.array_equal(a.noise, b.noise)
    cell.reset(6)
    assert Expert(cell).speed != a.speed


def test_the_order_of_values_that_are_equal_is_no_order() -> None:
    """As scipy.stats.spearmanr, which gives equal values their mean rank."""
    labelled = _labelled(0, success=True, n=5, rng=np.random.default_rng(0))
    said = {
        "completion": np.linspace(0, 1, 5), "risk": np.linspace(0, 1, 5),
        "time_to_go": -np.array([0.0, 0.0, 0.0, 0.0, 1.0]),
    }  # fmt: skip
    metrics = pro.judge(([labelled], [said]), ([labelled], [said]), 50)
    assert metrics["value_order_successes"] == pytest.approx(0.70711, abs=1e-5)


def test_episodes_that_cannot_train_and_judge_a_head_are_refused_before_the_training() -> None:
    rng = np.random.default_rng(1)
    items = [_labelled(i, True, 5, rng) for i in range(5)]
    pro.require_splits(items)
    with pytest.raises(RecordingError, match=r"found 3, 1, 0: record more of them, with seeds"):
        pro.require_splits(items[:4])
    with pytest.raises(RecordingError, match="found 0, 0, 0"):
        pro.require_splits([])
    with pytest.raises(RecordingError, match=r"wanted disturbed episodes .* found 1, 0, 0"):
        pro.require_splits([*items, replace(_labelled(0, True, 5, rng), disturbed=True)])
    with pytest.raises(RecordingError, match="wanted a success among the 3 training episodes"):
        pro.require_splits([_labelled(i, i > 2, 5, rng) for i in range(5)])
