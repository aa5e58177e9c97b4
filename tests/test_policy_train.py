"""Training the vision policy end to end at toy size: from recorded orders to a bundle that runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="learning needs PyTorch: make torch")
pytest.importorskip("mujoco", reason="the cell needs mujoco: make test installs it")
pytest.importorskip("tokenizers", reason="the policy's text encoder needs the package tokenizers")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript: make torch")

from headway import shipped  # noqa: E402
from headway.drivers.sim import gl  # noqa: E402
from headway.edge.control.result import Result  # noqa: E402
from headway.edge.policy.kinds.bundle import open_policy  # noqa: E402
from headway.errors import ConfigError  # noqa: E402
from headway.learn import collect  # noqa: E402
from headway.learn.policy import language, samples, train  # noqa: E402
from headway.learn.policy.corpus import Corpus, corpus_of  # noqa: E402
from headway.mcaplog import open_recording  # noqa: E402

CONFIG = Path(shipped.CONFIG).parent / "workflows" / "pick_place.toml"
needs_gl = pytest.mark.skipif(gl.backend() is None, reason="no EGL and no OSMesa on this machine")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_of(["pick_place"])


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recorded orders of the scripted expert; the first one is kept for judging."""
    out = tmp_path_factory.mktemp("demos")
    results = collect.run(CONFIG, out, 0.0, (3_000_000, 3_000_001))
    assert [r.success for r in results] == [True, True]
    return out


def test_steps_that_look_at_every_pixel_count_four_times() -> None:
    assert train.first_fine(14_000) == 12_600
    assert train.work(0, 12_600, 14_000) == 12_600
    assert train.work(0, 14_000, 14_000) == 12_600 + 4 * 1400
    assert train.work(12_000, 13_000, 14_000) == 600 + 4 * 400
    assert train.work(13_000, 14_000, 14_000) == 4 * 1000  # resumed among them


@needs_gl
def test_each_decision_has_the_command_of_its_line(demos: Path, corpus: Corpus) -> None:
    recording = open_recording(sorted(demos.glob("*.mcap"))[0])
    found = samples.read(recording, train.source(corpus), 3, 1)
    given = [text for _, text in samples.instructions_of(recording) if text]
    assert len(given) > 1
    order = list(dict.fromkeys(found.command.tolist()))
    assert order == list(dict.fromkeys(corpus.index(text) for text in given))
    assert found.rgb.shape[1:] == (48, 48, 3)
    assert found.depth.shape[1:] == (48, 48)
    assert np.isfinite(found.state).all()
    phases = found.state[:, [n.startswith("phase.") for n in train.POLICY_STATE]]
    assert (phases.sum(axis=1) == 1).all()
    # the last decisions before the next line know of no grasp: it belongs to the next one
    changed = np.flatnonzero(np.diff(found.command)) + 1
    assert np.isnan(found.grasp[changed - 1]).all()
    assert np.isfinite(found.grasp[changed]).all()
    assert set(found.episode) == {3}
    assert set(found.folder) == {1}


@needs_gl
def test_training_is_resumed_and_gives_a_policy(
    demos: Path, tmp_path: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    args = train.Args(
        demos=(demos,), scenes=("pick_place",), out=tmp_path / "policy", work=tmp_path / "work",
        steps=6, text_steps=3, batch=8,
    )  # fmt: skip
    train.main(args)
    path = open_policy(str(tmp_path / "policy"))
    assert path.state_names == train.POLICY_STATE
    codes = np.load(tmp_path / "work" / "codes.npz")
    assert len(codes["code"]) == len(codes["latent"]) == len(codes["t_ns"]) > 100
    capsys.readouterr()
    data = train.load(args, corpus)
    _, again, report = train.train(args, corpus, data)
    assert "resuming at step 6" in capsys.readouterr().out
    assert report.samples == len(data)
    training, fresh, _ = train.train(replace(args, work=tmp_path / "other"), corpus, data)
    for a, b in zip(again.parameters(), fresh.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    rows = train.codes(training, fresh)
    np.testing.assert_allclose(rows["latent"], codes["latent"], atol=1e-5)
    capsys.readouterr()
    train.train(args, corpus, samples.taken(data, np.arange(len(data) - 1)))  # other recordings
    assert "resuming" not in capsys.readouterr().out


def _samples_of(*episodes: int) -> samples.Samples:
    n = len(episodes)
    empty = np.zeros((n, 1), np.float32)
    return samples.Samples(
        empty, empty, empty, np.zeros(n, np.int64), empty, empty, empty,
        np.array(episodes), np.zeros(n, np.int64), np.zeros(n, np.int64),
    )  # fmt: skip


def test_something_is_left_to_train_on_and_to_judge_by() -> None:
    taught, judged = train.split(_samples_of(0, 0, 1, 19, 20))
    assert (taught.tolist(), judged.tolist()) == ([2, 3], [0, 1, 4])
    taught, judged = train.split(_samples_of(3, 5, 5))  # the recording number 0 was no success
    assert (taught.tolist(), judged.tolist()) == ([1, 2], [0])
    for alone in ((0, 0), (7,), (0, 20)):
        with pytest.raises(ConfigError, match="to train on"):
            train.split(_samples_of(*alone))


def _results(*good: bool | None) -> list[Result]:
    ends = ["interrupted" if g is None else "done" if g else "time limit" for g in good]
    numbers = {"seconds": 1.0, "ticks": 1, "retries": 0, "rejected": 0, "missed": 0}
    return [
        Result(end=end, success=g, peak_force=0.0, reward=0.0, **numbers)
        for end, g in zip(ends, good, strict=True)
    ]


def test_conditions_are_compared_on_the_same_orders() -> None:
    first = _results(*[True] * 80, *[False] * 20, None)
    second = _results(*[True] * 76, *[False] * 24, True)
    found = language.compare(first, second)
    assert (found.first, found.second, found.n) == (0.8, 0.76, 100)
    assert found.ratio == pytest.approx(0.95)
    assert 0.85 < found.low < 0.95 < found.high <= 1.0
    with pytest.raises(ValueError, match="0/2"):
        language.compare(_results(False, False), _results(True, True))


def test_a_misled_policy_hears_another_command(corpus: Corpus) -> None:
    heard = []

    class Ear:
        name, actions, needs, cameras, state_names = "ear", None, None, (), ()

        def check_instruction(self, text: str) -> None: ...

        def reset(self) -> None: ...

        def infer(self, obs: object) -> None:
            heard.append(obs.instruction)  # type: ignore[attr-defined]

    misled = language.Misled(Ear(), corpus.commands)  # type: ignore[arg-type]
    from headway.types import Observation, Pose

    pose = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
    for text in (corpus.commands[0].held_out[0], "sing a song"):
        misled.infer(Observation(0, {}, np.zeros(0, np.float32), text, np.zeros(6), pose))
    assert heard == [corpus.commands[1].plain, "sing a song"]
    returns = corpus_of(("returns",)).commands
    heard.clear()
    misled = language.Misled(Ear(), returns)  # type: ignore[arg-type]
    for text in ("scan the grey bag", "put the grey bag into the blue tote"):
        misled.infer(Observation(0, {}, np.zeros(0, np.float32), text, np.zeros(6), pose))
    assert heard == ["scan the green bag", "put the grey bag into the yellow tote"]
