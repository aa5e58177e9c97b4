"""The policy that units start from, and a whole unit in the simulated cell."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="wants headway[learn]")
pytest.importorskip("tokenizers", reason="wants headway[text]")
pytest.importorskip("onnxscript", reason="wants headway[learn]")

from pro_head import make_head  # noqa: E402

from headway import bundle  # noqa: E402
from headway.clock import VirtualClock  # noqa: E402
from headway.edge.control import settings  # noqa: E402
from headway.edge.control.build import Built  # noqa: E402
from headway.edge.control.runner import record_episode  # noqa: E402
from headway.edge.control.station import Station  # noqa: E402
from headway.edge.engines.engine import open_bundle  # noqa: E402
from headway.edge.policy.kinds.bundle import open_policy  # noqa: E402
from headway.errors import ConfigError, HeadwayError, SpecMismatch  # noqa: E402
from headway.export.flow import save_flow_policy  # noqa: E402
from headway.learn.execution import recorded  # noqa: E402
from headway.learn.execution.base import FlowBase  # noqa: E402
from headway.learn.execution.command import learn_command  # noqa: E402
from headway.learn.execution.critic import Critic  # noqa: E402
from headway.learn.execution.regression import Members  # noqa: E402
from headway.learn.execution.settings import learning  # noqa: E402
from headway.learn.execution.unit import run_unit  # noqa: E402
from headway.learn.files import recordings_in  # noqa: E402
from headway.learn.policy.corpus import corpus_of  # noqa: E402
from headway.learn.policy.head import COLUMNS  # noqa: E402
from headway.learn.policy.join import join  # noqa: E402
from headway.learn.policy.network import FlowPolicy  # noqa: E402
from headway.learn.policy.text_training import train_text  # noqa: E402
from headway.learn.policy.train import camera  # noqa: E402
from headway.learn.rollout import DEMONSTRATION, PUSHED  # noqa: E402
from headway.learn.scripted import ACTIONS, HORIZON  # noqa: E402
from headway.learn.state_names import POLICY_STATE  # noqa: E402
from headway.learn.study.ship import ship  # noqa: E402
from headway.learn.study.units import Test, Unit, check  # noqa: E402
from headway.types import Frame, Observation, Pose  # noqa: E402
from headway.workflows import config_of  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.slow  # exporting a policy takes ten seconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A policy that has learned next to nothing, and refuses no text."""
    torch.manual_seed(0)
    text, by = train_text(
        corpus_of(("pick_place", "shoebox", "returns")), steps=40, batch=16, lr=4e-3
    )
    net = FlowPolicy(camera(), POLICY_STATE, text, HORIZON).eval()
    out = tmp_path_factory.mktemp("base") / "policy"
    save_flow_policy(
        net, by.to_str(), out, actions=ACTIONS, seed=0, metrics={}, data="none", command="make test"
    )
    made = bundle.load(out)
    policy = made.manifest.policy
    assert policy is not None
    said = msgspec.structs.replace(policy.instruction, refuse_above=1.0)
    manifest = msgspec.structs.replace(
        made.manifest, files={}, policy=msgspec.structs.replace(policy, instruction=said)
    )
    files = {n: (out / n).read_bytes() for n in made.manifest.files}
    return bundle.save(out, manifest, files).path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A recorded demonstration that was pushed off its way often, and a file that is none."""
    out = tmp_path_factory.mktemp("recordings")
    chosen = settings.with_policy(settings.load(config_of("pick_place")), "expert")
    chosen = msgspec.structs.replace(chosen, policy={**chosen.policy, "disturb": 0.3}, pro=None)
    clock = VirtualClock(1)
    with Station(chosen, clock) as station:
        built = Built(chosen, station, clock)
        record_episode(built.loop, 4, out / "a.mcap", metadata=built.facts)
    (out / "b.mcap").write_bytes(b"junk")
    return out


@pytest.fixture(scope="module")
def base(folder):
    return FlowBase(folder)


def test_another_head_is_the_same_policy_with_other_weights(base, tmp_path):
    head = base.head(7, 256)
    base.save(head, tmp_path / "other", "made up")
    base.save(base.head(8, 256), tmp_path / "third", "made up")
    old, new = bundle.load(base.folder).manifest, bundle.load(tmp_path / "other").manifest
    assert new.eyes == old.eyes == base.eyes
    assert {n for n in old.files if old.files[n] != new.files[n]} == {"policy.onnx"}
    assert "made up" in new.provenance.data
    again = FlowBase(tmp_path / "other")
    same = base.head(7, 256).state_dict()
    assert all(torch.equal(v, same[n]) for n, v in head.state_dict().items())
    assert again.eyes == base.eyes


def test_a_head_may_be_wider_than_the_one_that_the_policy_came_with(base, tmp_path):
    head = base.head(7, 96)
    base.save(head, tmp_path / "wider", "made up")  # checks that the model answers as the head does
    again = FlowBase(tmp_path / "wider")
    assert again.eyes == base.eyes
    again.save(again.head(8, 32), tmp_path / "slim", "made up")
    sizes = [(p / "policy.onnx").stat().st_size for p in (tmp_path / "slim", tmp_path / "wider")]
    assert sizes[0] < sizes[1]


def test_latents_are_the_policys_own(base):
    engine = open_bundle(bundle.load(base.folder))
    rng = np.random.default_rng(0)
    engine.bind("noise")[...] = rng.standard_normal((1, HORIZON * COLUMNS)).astype(np.float32)
    engine.run()
    latent, actions = engine.bind("latent")[0].copy(), engine.bind("actions")[0].copy()
    engine.close()
    np.testing.assert_allclose(base.to_latent(actions), latent, atol=2e-3)


def test_a_critic_chooses_among_the_candidates_of_its_policy(base, tmp_path):
    manifest = bundle.load(base.folder).manifest
    code = next(t.shape[1] for t in manifest.outputs if t.name == "code")
    x = torch.randn(64, code + HORIZON * COLUMNS)
    critic = Critic(Members(x, 3, 16).eval(), 0.5).eval()
    base.save_critic(critic, tmp_path / "first", "made up")
    base.save_critic(critic, tmp_path / "critic", "made up")  # into the graph of the first one
    policy = open_policy(str(base.folder), candidates=4, critic=str(tmp_path / "critic"))
    assert policy.candidates == 4
    engine = open_bundle(bundle.load(tmp_path / "critic"), candidates=4)
    c, chunks = torch.randn(1, code), torch.randn(4, HORIZON * COLUMNS)
    engine.bind("code")[...], engine.bind("latent")[...] = c.numpy(), chunks.numpy()
    engine.run()
    with torch.no_grad():
        np.testing.assert_allclose(engine.bind("score"), critic(c, chunks).numpy(), atol=1e-4)
    engine.close()


def test_recordings_are_learned_from(base, recordings, tmp_path):
    paths = recordings_in([recordings])
    found = recorded.look(paths, base, tmp_path / "kept", lambda doing, share: None)
    assert [p.name for p in paths] == ["a.mcap", "b.mcap"]
    assert len(found.left_out) == 1
    assert "b.mcap" in found.left_out[0]
    (lesson,) = found.lessons
    assert lesson.demonstration
    assert set(lesson.source.tolist()) == {DEMONSTRATION, PUSHED}
    assert np.isfinite(lesson.code).all()
    assert np.isfinite(lesson.latent).all()
    (kept,) = (tmp_path / "kept").iterdir()
    before = kept.stat().st_mtime_ns
    again = recorded.look(paths[:1], base, tmp_path / "kept", lambda doing, share: None)
    assert kept.stat().st_mtime_ns == before
    assert np.array_equal(again.lessons[0].features, lesson.features)
    quick = {"base": "x", "clone": {"steps": 3}, "head": {"steps": 3}}
    how = learning("B0", quick, "test")
    recorded.improve([lesson], base, how, tmp_path / "out", 0, lambda doing, share: None)
    assert FlowBase(tmp_path / "out" / "policy").eyes == base.eyes
    own = learning("1.6", quick, "test")
    with pytest.raises(ConfigError, match="take the arm B0"):
        recorded.improve([lesson], base, own, tmp_path / "own", 0, lambda doing, share: None)
    with pytest.raises(ConfigError, match="found none"):
        recordings_in([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('base = "b"\nout = "o"', "found neither"),
        ('base = "b"\nout = "o"\nworkflow = "x"\nrecordings = ["r"]', "found both"),
        ('base = "b"\nout = "o"\nworkflow = "x"\nrunds = 3', "rounds"),
        ('base = "b"\nout = "o"\nworkflow = "x"\ntests = [1]', "wants 6 numbers"),
        ('base = "b"\nout = "o"\nworkflow = "x"\narm = "1.7"', "known"),
        ('base = "nowhere"\nout = "o"\nrecordings = ["r"]', "nowhere"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(text, said, tmp_path):
    path = tmp_path / "learn.toml"
    path.write_text(text)
    with pytest.raises(HeadwayError, match=said):
        learn_command(path)


def test_a_policy_without_noise_is_refused():
    from headway import shipped

    with pytest.raises(SpecMismatch, match="from noise"):
        FlowBase(shipped.CONFIG.parent.parent / "models" / "pick_place_policy")


def test_joined_policies_answer_as_the_one_whose_command_is_said(base, tmp_path):
    texts = {
        "pick_place": "put the red item in the tote",
        "shoebox": "open the white box",
        "returns": "scan the green bag",
    }
    heads = {name: tmp_path / name for name in texts}
    for seed, out in enumerate(heads.values()):
        base.save(base.head(seed, 256), out, "made up")
    made = join(heads, tmp_path / "joined", "make test")
    assert made.manifest.eyes == base.eyes

    def actions(folder, text):
        policy = open_policy(str(folder))
        picture = Frame(
            np.full((96, 96, 3), 90, np.uint8), np.full((96, 96), 400, np.uint16), np.eye(3)
        )
        state = np.zeros(len(POLICY_STATE), np.float32)
        here = Pose(np.array([0.4, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))
        policy.reset()
        seen = Observation(0, {"wrist": picture}, state, text, np.zeros(6), here, seed=5)
        return policy.infer(seen).actions

    for name, text in texts.items():
        mine = actions(heads[name], text)
        np.testing.assert_allclose(actions(made.path, text), mine, atol=1e-5)
        others = [actions(heads[other], text) for other in texts if other != name]
        assert all(np.abs(other - mine).max() > 1e-3 for other in others)
    with pytest.raises(SpecMismatch, match="several workflows"):
        FlowBase(made.path)
    # One skill is replaced, the others stay as they are.
    replaced = tmp_path / "replaced"
    base.save(base.head(7, 256), replaced, "made up, once more")
    sources = dict.fromkeys(texts, made.path) | {"returns": replaced}
    again = join(sources, tmp_path / "again", "make test")
    for name, text in texts.items():
        wanted = actions(replaced if name == "returns" else heads[name], text)
        np.testing.assert_allclose(actions(again.path, text), wanted, atol=1e-5)
    said = again.manifest.provenance.data
    assert [said.count(f"{name}: ") for name in texts] == [1] * len(texts)
    assert said.endswith("made up, once more")
    with pytest.raises(ConfigError, match="two workflows or more, found 1"):
        join({"returns": heads["returns"]}, tmp_path / "none", "make test")


def test_what_ships_is_made_of_the_units_of_one_seed(base, tmp_path):
    names = ("pick_place", "returns")
    for seed, name in enumerate(names):
        base.save(
            base.head(seed, 256), tmp_path / f"1.6_{name}_2" / "round-5" / "policy", "made up"
        )
        base.save(
            base.head(seed + 5, 256), tmp_path / "shared" / f"{name}_2_ab" / "clone", "made up"
        )
        make_head(tmp_path / f"1.6_{name}_2" / "pro", rate_hz=25.0)
    made = ship(tmp_path, tmp_path / "models", names, "1.6", 2, 5, "make test")
    places = [p.relative_to(tmp_path / "models").as_posix() for p in made]
    assert places[:2] == ["workflows_learned", "workflows_cloned"]
    assert places[2:] == ["workflows_pro/pick_place", "workflows_pro/returns"]
    found = [bundle.load(p).manifest for p in made]
    assert [m.name for m in found] == [
        "workflows_learned", "workflows_cloned", "pick_place_pro", "returns_pro",
    ]  # fmt: skip
    assert [m.provenance.command for m in found[:2]] == ["make test", "make test"]
    with pytest.raises(ConfigError, match="run the study first"):
        ship(tmp_path, tmp_path / "models", names, "1.6", 3, 5, "make test")
    (tmp_path / "shared" / "returns_2_cd").mkdir()
    with pytest.raises(ConfigError, match="found 2"):
        ship(tmp_path, tmp_path / "models", names, "1.6", 2, 5, "make test")


def test_a_unit_runs_in_the_simulated_cell(folder, tmp_path):
    quick = {"steps": 5}
    unit = Unit(
        arm="1.6", workflow="pick_place", seed=1, rounds=1, robot_s=50.0, slack_s=60.0,
        train_first=10_000_000, train_count=1000,
        tests=(
            Test(round=0, suite="main", first=20_000_000, orders=1),
            Test(round=1, suite="main", first=20_000_000, orders=1),
            Test(
                round=1, suite="injected", first=20_005_000, orders=1, settings={"inject": True}
            ),
        ),
        settings={
            "base": str(folder), "demonstrations": {"orders": 3}, "process": quick,
            "clone": quick, "head": quick, "critic": {"fit": quick}, "baseline": quick,
        },
    )  # fmt: skip
    found = run_unit(unit, tmp_path / "unit", lambda note: None)
    check(unit, found)
    assert found.rounds[0].interventions >= 0
    assert bundle.load(tmp_path / "unit" / "pro").manifest.kind == "pro"
    assert run_unit(unit, tmp_path / "unit", lambda note: None) == found
    # Another arm has made what both begin with: nothing of what is found hangs on that.
    shared = tmp_path / "shared"
    run_unit(msgspec.structs.replace(unit, arm="B0"), tmp_path / "b0", lambda note: None, shared)
    assert run_unit(unit, tmp_path / "again", lambda note: None, shared) == found
    assert len(list(shared.iterdir())) == 1
