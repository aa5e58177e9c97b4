"""The exported vision policy: what the runtime gets is what was trained."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="learning needs PyTorch: make torch")
pytest.importorskip("tokenizers", reason="the policy's text encoder needs the package tokenizers")
onnx = pytest.importorskip("onnx", reason="exporting needs onnx: make torch")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript: make torch")

from headway import bundle  # noqa: E402
from headway.drivers.sim.phrases import Command  # noqa: E402
from headway.edge.engines.engine import open_bundle  # noqa: E402
from headway.edge.policy.kinds.bundle import open_policy  # noqa: E402
from headway.errors import BundleError, Refused  # noqa: E402
from headway.export.flow import save_flow_policy  # noqa: E402
from headway.learn.policy.corpus import Corpus, Spoken  # noqa: E402
from headway.learn.policy.language import Listener, plain_embeddings, understood  # noqa: E402
from headway.learn.policy.network import FlowPolicy  # noqa: E402
from headway.learn.policy.text_again import teach_again  # noqa: E402
from headway.learn.policy.text_training import train_text  # noqa: E402
from headway.learn.policy.train import camera  # noqa: E402
from headway.learn.scripted import ACTIONS, HORIZON  # noqa: E402
from headway.learn.state_names import POLICY_STATE  # noqa: E402

RED = Command("put the red item in the tote", ("pick the red item",), ("fetch the red item",))
BLUE = Command("put the blue item in the tote", ("pick the blue item",))
TOLD_ANEW = Corpus(
    (
        Spoken(
            "toy", (Command(RED.plain, (*RED.train, "stow the red item")), BLUE),
            ("do not put the red item in the tote", "sing a song"),
        ),
    )
)  # fmt: skip
SPOKEN = Spoken("toy", (RED, BLUE), ("do not put the red item in the tote", "sing a song"))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained() -> tuple[FlowPolicy, str]:
    """A policy that understands text, with eyes and a head of chance; and its tokenizer."""
    text, by = train_text(Corpus((SPOKEN,)), steps=240, batch=16, lr=4e-3)
    return FlowPolicy(camera(), POLICY_STATE, text, HORIZON).eval(), by.to_str()


def save(trained: tuple[FlowPolicy, str], out: Path, like: Path | None = None) -> Path:
    return save_flow_policy(
        *trained, out, actions=ACTIONS, seed=3, metrics={}, data="none", command="make test",
        like=like,
    )  # fmt: skip


@pytest.fixture(scope="module")
def exported(trained: tuple[FlowPolicy, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(trained, tmp_path_factory.mktemp("bundles") / "policy")


@pytest.mark.parametrize("candidates", [1, 4])
def test_the_bundle_answers_as_the_network(
    trained: tuple[FlowPolicy, str], exported: Path, candidates: int
) -> None:
    net, made = trained[0], bundle.load(exported)
    rng = np.random.default_rng(candidates)
    inputs = {
        "wrist_rgb": rng.integers(0, 255, (1, 96, 96, 3), np.uint8),
        "wrist_depth": rng.integers(50, 600, (1, 96, 96)).astype(np.uint16),
        "state": rng.normal(0, 0.2, (1, len(POLICY_STATE))).astype(np.float32),
        "instruction": rng.normal(0, 1, (1, net.text.size)).astype(np.float32),
        "noise": rng.normal(0, 1, (candidates, HORIZON * 5)).astype(np.float32),
    }
    engine = open_bundle(made, "ort", candidates)
    for name, value in inputs.items():
        engine.write(name, value)
    engine.run()
    with torch.no_grad():
        wanted = net(*(torch.from_numpy(value) for value in inputs.values()))
    for name, value in zip(("actions", "code", "latent"), wanted, strict=True):
        np.testing.assert_allclose(engine.bind(name), value.numpy(), atol=1e-4)
    actions = engine.bind("actions")
    assert actions.shape == (candidates, HORIZON, 7)
    assert set(np.unique(actions[..., 6])) <= {0.0, 1.0}
    assert not actions[..., 3:5].any()
    engine.close()


def test_all_weights_of_the_head_are_in_the_model_by_name(
    trained: tuple[FlowPolicy, str], exported: Path
) -> None:
    graph = onnx.load(str(exported / "policy.onnx")).graph
    found = {i.name: tuple(i.dims) for i in graph.initializer}
    for part in ("head", "latents"):
        for name, value in getattr(trained[0], part).state_dict().items():
            assert found[f"{part}.{name}"] == tuple(value.shape)


def test_the_runtime_opens_it_and_it_stays_small(exported: Path) -> None:
    assert sum(f.stat().st_size for f in exported.iterdir()) < 3e6
    policy = open_policy(str(exported))
    assert policy.candidates == 1
    assert policy.state_names == POLICY_STATE
    policy.check_instruction("pick the red item")
    with pytest.raises(Refused, match="sing a song"):
        policy.check_instruction("sing a song")


def test_what_it_understands_is_counted(exported: Path) -> None:
    listener = Listener(exported, (RED, BLUE))
    found = understood(listener, SPOKEN)
    listener.close()
    assert (found.commands["train"].right, found.commands["train"].n) == (4, 4)
    assert found.commands["held_out"].n == 1
    assert (found.refused["train"].right, found.refused["train"].n) == (2, 2)
    assert found.refused["held_out"].n == 0


def test_a_head_that_learned_on_is_exported_into_the_same_graph(
    trained: tuple[FlowPolicy, str], exported: Path, tmp_path: Path
) -> None:
    net, tokenizer = trained
    before = {name: value.clone() for name, value in net.state_dict().items()}
    try:
        with torch.no_grad():
            net.head.out.weight.add_(0.1)
        again = save((net, tokenizer), tmp_path / "again", like=exported)
        old, new = (bundle.load(path).manifest for path in (exported, again))
        assert old.files["policy.onnx"].sha256 != new.files["policy.onnx"].sha256
        assert old.files["text.onnx"] == new.files["text.onnx"]
        assert old.eyes == new.eyes == net.eyes_hash()
        with torch.no_grad():
            net.eyes.score.bias.add_(0.1)
        assert net.eyes_hash() != old.eyes
    finally:
        net.load_state_dict(before)


def test_a_text_encoder_that_is_taught_anew_leaves_the_policy_as_it_is(
    exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(exported, folder)
    made = bundle.load(folder)
    old, spec = made.manifest, made.manifest.policy.instruction
    known = plain_embeddings(made, spec, TOLD_ANEW.commands)
    found = teach_again([folder], TOLD_ANEW, "make test", steps=240)
    new = bundle.load(folder)
    assert found[folder] < 0.2
    np.testing.assert_allclose(plain_embeddings(new, spec, TOLD_ANEW.commands), known, atol=0.2)
    assert new.manifest.eyes == old.eyes
    assert new.manifest.files["policy.onnx"] == old.files["policy.onnx"]
    assert new.manifest.files["text.onnx"] != old.files["text.onnx"]
    assert "taught anew" in new.manifest.provenance.data
    heard = understood(Listener(folder, TOLD_ANEW.commands), TOLD_ANEW.scenes[0])
    assert heard.commands["train"].right == heard.commands["train"].n == 5


def test_a_text_encoder_that_did_not_learn_its_commands_is_not_put_into_the_policy(
    exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(exported, folder)
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    with pytest.raises((BundleError, Refused)):
        teach_again([folder], TOLD_ANEW, "make test", steps=4)
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
