"""`headway pro train` on small logs: what is written, that it is right, and that it goes on."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from rich.console import Console

torch = pytest.importorskip("torch", reason="learning needs PyTorch: make torch")

from pro_logs import MAP, write_log, write_logs  # noqa: E402

from headway import bundle, shipped  # noqa: E402
from headway.edge.pro import risk  # noqa: E402
from headway.edge.pro.operator import OUTPUTS  # noqa: E402
from headway.errors import BundleError, ConfigError, RecordingError, SpecMismatch  # noqa: E402
from headway.kernels import spec  # noqa: E402
from headway.learn.pro import dataset, ema, fit, heads, train, tune  # noqa: E402
from headway.learn.pro.calibration import platt, summary  # noqa: E402
from headway.learn.pro.card.parts import Parts  # noqa: E402
from headway.tools.score.mapping import load_mapping  # noqa: E402

STEPS = 80


def run(logs: Path, mapping: Path, out: Path, **options) -> tuple[int, str]:
    console = Console(record=True, width=200, file=StringIO())
    given = {"steps": STEPS, "folds": 3, **options}
    code = train.train_command([logs], mapping, train.Options(out, **given), console=console)
    return code, console.export_text()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A head trained on twelve logs, the logs, their mapping, and what was printed."""
    root = tmp_path_factory.mktemp("trained")
    logs, mapping = write_logs(root / "logs")
    code, text = run(logs, mapping, root / "head")
    assert code == 0
    examples = dataset.load([logs], mapping)
    return SimpleNamespace(
        bundle=bundle.load(root / "head"), logs=logs, mapping=mapping, text=text, examples=examples
    )


def test_the_bundle_says_what_it_was_trained_on(trained):
    info = trained.bundle.manifest.pro
    assert (info.robot, info.rate_hz, info.tick_hz) == ("bumper", 20.0, (20.0, 20.0))
    assert info.groups == ("speed", "force_norm")
    assert info.taught == ("risk",)
    assert info.spec_hash == spec.spec_hash()
    assert "12 episodes" in trained.text
    assert "8 bump" in trained.text
    assert (
        "left out, so that the head knows neither the clock nor the place: elapsed" in trained.text
    )
    assert "not taught" in trained.text
    assert list(trained.logs.parent.glob(".head*")) == []  # what was kept for going on


def test_held_out_episodes_are_judged_by_a_head_without_them(trained):
    folds = heads.folds_of(trained.bundle)
    assert folds.folds == 3
    assert sorted(folds.of) == sorted(e.name for e in trained.examples)
    found, notes = heads.held_out(trained.bundle, trained.examples)
    assert set(notes) == {f"held out by fold {k}" for k in range(3)}
    said = summary(trained.examples, [f["risk"] for f in found])
    assert said.auroc > 0.95
    assert trained.bundle.manifest.provenance.metrics["auroc_risk_held_out"] == pytest.approx(
        said.auroc, abs=1e-4
    )
    before, near, of = said.caught["bump"]
    assert 0 < before <= near
    assert near >= 7
    assert of == 8


def test_an_episode_is_known_by_its_content_and_not_by_its_name(trained, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "other_name.npz").write_bytes((trained.logs / "run_0.npz").read_bytes())
    write_log(copy / "run_1.npz", 77)
    _, notes = heads.held_out(trained.bundle, dataset.load([copy], trained.mapping))
    assert notes[0].startswith("held out by fold")
    assert notes[1] == "never seen"


def test_thresholds_come_from_held_out_fault_free_parts(trained):
    made = risk.read(trained.bundle.path / risk.IN_BUNDLE)
    assert made.of == "fault-free parts"
    assert made.robot == "bumper"
    found, _ = heads.held_out(trained.bundle, trained.examples)
    peaks = [
        f["risk"][Parts(e).fault_free].max() for f, e in zip(found, trained.examples, strict=True)
    ]
    np.testing.assert_allclose(sorted(peaks), made.peaks, atol=1e-4)
    risk.load(
        trained.bundle.path / risk.IN_BUNDLE, trained.bundle.manifest.files["pro.onnx"].sha256
    )


def test_the_exported_head_says_what_the_network_said(trained):
    net = tune.opened(trained.bundle)
    found = heads.signals(trained.bundle, trained.examples[:3])
    for f, e in zip(found, trained.examples, strict=False):
        p = 1 / (1 + np.exp(-net.logits(e.features, e.mask)))
        np.testing.assert_allclose(f["risk"], p[:, 1], atol=1e-4)


def test_signals_that_were_not_taught_keep_their_neutral_values(trained):
    (found,) = heads.signals(trained.bundle, trained.examples[:1])
    neutral = {"progress": 0.0, "stability": 1.0, "completion": 0.5, "time_to_go": 0.0}
    for name, value in neutral.items():
        np.testing.assert_array_equal(found[name], np.full(len(trained.examples[0]), value))
    assert np.ptp(found["risk"]) > 0.5


def test_the_head_does_not_know_how_long_an_episode_has_lasted(trained):
    """Quiet steps put in front, longer than its averages reach back, change nothing."""
    e = trained.examples[0]
    net = tune.opened(trained.bundle)
    calm = np.repeat(np.arange(20, 40), 20)
    rng = np.random.default_rng(0)
    calm = rng.permutation(calm)
    later = net.logits(
        np.concatenate([e.features[calm], e.features]), np.concatenate([e.mask[calm], e.mask])
    )[len(calm) :]
    tail = slice(60, None)  # 3 s, to let the start of the episode pass
    shift = np.abs(later[tail] - net.logits(e.features, e.mask)[tail]).max(axis=0)
    assert shift[1] < 1.0  # of a logit


def test_the_same_seed_gives_the_same_head(trained, tmp_path):
    code, _ = run(trained.logs, trained.mapping, tmp_path / "head")
    assert code == 0
    assert (tmp_path / "head/pro.onnx").read_bytes() == trained.bundle.onnx.read_bytes()
    run(trained.logs, trained.mapping, tmp_path / "other", seed=1)
    assert (tmp_path / "other/pro.onnx").read_bytes() != trained.bundle.onnx.read_bytes()


def test_an_interrupted_training_goes_on(trained, tmp_path, monkeypatch):
    real, calls = fit.fit, []

    def stopped(*args, **more):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(fit, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(trained.logs, trained.mapping, tmp_path / "head")
    assert not (tmp_path / "head").exists()
    assert len(list(tmp_path.glob(".head.train/*.pt"))) == 2
    run(trained.logs, trained.mapping, tmp_path / "head")
    assert len(calls) == 3 + 2  # two of three folds were kept; the third and the whole are trained
    assert (tmp_path / "head/pro.onnx").read_bytes() == trained.bundle.onnx.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["head"]


def test_another_seed_does_not_go_on_from_what_was_kept(trained, tmp_path, monkeypatch):
    def stopped(*args, **more):
        raise KeyboardInterrupt

    real, calls = fit.fit, []
    monkeypatch.setattr(fit, "fit", lambda *a: calls.append(1) or real(*a))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", stopped)  # nothing is taken from what is kept
        run(trained.logs, trained.mapping, tmp_path / "a", seed=3, steps=5)
    assert len(calls) == 4


def test_what_is_there_is_not_replaced_unasked(trained, tmp_path):
    with pytest.raises(BundleError, match="is there already: choose another, or --overwrite"):
        run(trained.logs, trained.mapping, trained.bundle.path)
    (tmp_path / "notes").mkdir()
    with pytest.raises(BundleError, match="found something else"):
        run(trained.logs, trained.mapping, tmp_path / "notes", overwrite=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": ("clock",)}, "unknown feature `clock` after --keep"),
        ({"steps": 0}, "--steps of at least 1"),
        ({"folds": 1}, "at least 2 folds"),
        ({"split": "session"}, "at least two sessions to split by, found 1"),
    ],
)
def test_options_that_cannot_be(trained, tmp_path, options, said):
    with pytest.raises(ConfigError, match=said):
        run(trained.logs, trained.mapping, tmp_path / "head", **options)


def test_no_logs_at_all(trained, tmp_path):
    with pytest.raises(ConfigError, match="wanted logs to learn from, found none"):
        train.train_command([], trained.mapping, train.Options(tmp_path / "head"))


def test_few_episodes_are_said_to_be_few(tmp_path):
    logs, mapping = write_logs(tmp_path / "logs", 4)
    _, text = run(logs, mapping, tmp_path / "head", steps=2, folds=2)
    assert "4 episodes show little" in text


def test_too_little_data(tmp_path):
    write_log(tmp_path / "logs/a.npz", 0)
    write_log(tmp_path / "logs/b.npz", 1, None)
    (tmp_path / "map.toml").write_text(MAP)
    with pytest.raises(RecordingError, match="at least two episodes of each class"):
        run(tmp_path / "logs", tmp_path / "map.toml", tmp_path / "head")


def test_files_left_out_are_said_and_the_head_is_written(trained, tmp_path):
    for path in trained.logs.iterdir():
        (tmp_path / "logs").mkdir(exist_ok=True)
        (tmp_path / "logs" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "logs/torn.npz").write_bytes(b"PK")
    code, text = run(tmp_path / "logs", trained.mapping, tmp_path / "head", steps=5)
    assert code == 1
    assert "left out" in text
    assert "torn.npz" in text
    bundle.load(tmp_path / "head")


def test_going_on_from_a_head_of_the_same_kind(trained, tmp_path):
    _, text = run(
        trained.logs, trained.mapping, tmp_path / "head", init=trained.bundle.path, steps=20
    )
    made = bundle.load(tmp_path / "head")
    assert made.manifest.pro.taught == ("risk",)
    assert "AUROC of risk by step" in text
    before, _ = heads.held_out(trained.bundle, trained.examples)
    after, _ = heads.held_out(made, trained.examples)
    gap = max(np.abs(a["risk"] - b["risk"]).max() for a, b in zip(after, before, strict=True))
    assert 0 < gap < 0.9


def test_the_shipped_head_can_be_taken_up_and_put_down_again():
    """The weights read from its ONNX model compute what the model computes."""
    made = bundle.load(shipped.PRO)
    net = tune.opened(made)
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, (30, spec.N_FEATURES)).astype(np.float32)
    mask = (rng.random((30, spec.N_MASKS)) < 0.9).astype(np.float32)
    nan = np.full(30, np.nan, np.float32)
    from headway.learn.pro.examples import Example

    e = Example("a", "", 50.0, np.arange(30) / 50, x, mask, None, (), (), nan, nan, nan, nan, nan)
    (found,) = heads.signals(made, [e])
    p = 1 / (1 + np.exp(-net.logits(x, mask)))
    for i, name in enumerate(("completion", "risk")):
        np.testing.assert_allclose(p[:, i], found[name], atol=1e-5)
    np.testing.assert_allclose(1 - p[:, 2], found["stability"], atol=1e-5)
    h = torch.zeros(1, net.hidden)
    step = net.step().eval()
    with torch.no_grad():
        for k in range(30):
            *said, h = step(torch.from_numpy(x[k : k + 1]), torch.from_numpy(mask[k : k + 1]), h)
            for name, value in zip(OUTPUTS, said, strict=True):
                assert float(value) == pytest.approx(found[name][k], abs=1e-3)


def test_the_shipped_head_learns_from_logs_and_is_compared(trained, tmp_path):
    _, text = run(
        trained.logs, trained.mapping, tmp_path / "head", init=shipped.PRO, steps=10, compare=True
    )
    made = bundle.load(tmp_path / "head")
    assert made.manifest.pro.rate_hz == 50.0
    assert made.manifest.pro.hidden == bundle.load(shipped.PRO).manifest.pro.hidden
    for row in ("tuned", "trained anew", "pick_place_pro as it is"):
        assert row in text


def test_a_head_that_headway_did_not_train_is_not_taken_up(trained, tmp_path):
    import onnx

    model = onnx.load(trained.bundle.onnx)
    for initializer in model.graph.initializer:
        for node in model.graph.node:
            node.input[:] = [f"x{n}" if n == initializer.name else n for n in node.input]
        initializer.name = f"x{initializer.name}"
    files = {"pro.onnx": model.SerializeToString()}
    made = bundle.save(tmp_path / "strange", trained.bundle.manifest, files)
    with pytest.raises(SpecMismatch, match="weights of a head that Headway trained"):
        tune.opened(made)


def test_a_head_of_another_spec_or_rate_is_refused(trained, tmp_path):
    manifest = trained.bundle.manifest
    old = msgspec.structs.replace(
        manifest, pro=msgspec.structs.replace(manifest.pro, spec_hash="0" * 64)
    )
    made = bundle.save(tmp_path / "old", old, {"pro.onnx": trained.bundle.onnx})
    with pytest.raises(SpecMismatch, match="wants PRO spec 000000000000"):
        heads.signals(made, trained.examples)
    slow = dataset.load([trained.logs], trained.mapping, hz=10.0)
    with pytest.raises(SpecMismatch, match="wants 20 steps a second, run_0 has 10"):
        heads.signals(trained.bundle, slow)


def test_the_averages_are_those_of_single_steps(trained):
    e = trained.examples[0]
    net = tune.opened(trained.bundle)
    inputs = net.reader.prepare(e.features, e.mask)
    n = len(net.reader.features)
    bits = e.mask[:, net.reader.masks]
    z = inputs[:, :n]
    average = np.zeros((len(net.reader.gains), n))
    for k in range(len(e)):
        for j, a in enumerate(net.reader.gains):
            average[j] = z[k] if k == 0 else average[j] + a * (z[k] - average[j])
            part = inputs[k, n * (j + 1) : n * (j + 2)]
            np.testing.assert_allclose(part, z[k] - average[j], atol=1e-5)
    np.testing.assert_array_equal(inputs[:, -bits.shape[1] :], bits)
    assert inputs.shape[1] == net.reader.width
    assert len(ema.TIMES_S) == len(net.reader.gains)


def test_more_than_fits_into_memory_is_drawn_from(trained, monkeypatch):
    names = fit.choose(trained.examples)
    net = tune.opened(trained.bundle)
    whole = fit.gather(net, trained.examples)
    monkeypatch.setattr(fit, "MOST_INPUTS", net.reader.width * 400)
    some = fit.gather(net, trained.examples)
    assert len(whole.inputs) == sum(len(e) for e in trained.examples)
    risk = ema.FLAGS.index("risk")
    positives = int((whole.flags[:, risk] == 1).sum())
    assert int((some.flags[:, risk] == 1).sum()) == positives
    assert 300 < len(some.inputs) - positives < 500
    monkeypatch.setattr(train, "MOST_STEPS", 10)
    logs = dataset.logs([trained.logs], load_mapping(trained.mapping)).logs
    with train._progress(Console(file=StringIO())) as progress:
        data = train._prepare(logs, train.Options(Path("x"), folds=2), progress)
    assert data.copies == []
    assert len(data.taught_without(0)) == 6
    assert len(names) == len(net.reader.features)


def test_probabilities_are_right_after_calibration(trained):
    rng = np.random.default_rng(0)
    examples, logits = [], []
    for e in trained.examples:
        y = np.nan_to_num(e.risk)
        x = rng.normal(0, 1, (len(e), 3)).astype(np.float32)
        x[:, 1] = 4 * (y - 0.5) + 2 * rng.normal(0, 1, len(e)) + 3  # shifted and too sure
        examples.append(e)
        logits.append(x)
    scale = platt(examples, logits)
    y = np.concatenate([e.risk for e in examples])
    p = np.concatenate([scale(x)[:, 1] for x in logits])
    known = np.isfinite(y)
    assert p[known].mean() == pytest.approx(y[known].mean(), abs=0.005)
    assert (scale.slope[0], scale.shift[0]) == (1.0, 0.0)  # no outcome is known
