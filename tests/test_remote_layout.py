"""Which key holds what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs, to_builtins
from null_robot import SENTENCES, STATE, make_policy, tcp_actions
from remote_rig import LAYOUT, NONE, H, message, observation

from headway import bundle, config
from headway.bundle import StateInput
from headway.edge.policy.config import decode as policy_of
from headway.edge.policy.config import kind_of
from headway.edge.policy.observation import StateVector
from headway.edge.policy.remote.codec import decode, encode
from headway.edge.policy.remote.layout import (
    ImageKey,
    Layout,
    StateKey,
    from_metadata,
    of_bundle,
    to_metadata,
)
from headway.edge.policy.remote.request import Message, rows, to_observation
from headway.errors import BadMessage, ConfigError, SpecMismatch
from headway.instructions import EmbeddingSpec, TokensSpec
from headway.types import Frame

ROOT = Path(__file__).resolve().parent.parent


def test_an_observation_survives_the_way():
    sent = observation()
    there = decode(encode(Message(LAYOUT).of(sent, NONE)))
    found = to_observation(there, LAYOUT, sent.t_ns)
    np.testing.assert_array_equal(found.images["wrist"].rgb, sent.images["wrist"].rgb)
    np.testing.assert_array_equal(found.images["wrist"].depth, sent.images["wrist"].depth)
    assert found.state.tobytes() == sent.state.tobytes()
    assert (found.instruction, found.t_ns) == ("place", sent.t_ns)


def test_keys_nest_and_pictures_turn():
    """The layout of openpi's ALOHA policies: (3, h, w) in a nested map."""
    layout = structs.replace(
        LAYOUT,
        images=(ImageKey(camera="wrist", key="images.cam_high", layout="chw"),),
        state=(
            StateKey(key="joints", names=("q.a", "q.b")),
            StateKey(key="grip", names=("gripper.width",)),
        ),
    )
    there = Message(layout).of(observation(), NONE)
    assert set(there) == {"images", "joints", "grip", "prompt"}
    assert there["images"]["cam_high"].shape == (3, 6, 8)
    assert there["joints"].tolist() == [0.25, -1.5]
    found = to_observation(decode(encode(there)), layout)
    np.testing.assert_array_equal(found.images["wrist"].rgb, observation().images["wrist"].rgb)
    assert found.state.tobytes() == observation().state.tobytes()


def test_pictures_are_fitted_before_they_are_sent():
    """As openpi's clients do: the whole picture between two black bars."""
    wide = ImageKey(camera="wrist", key="a", height=8, width=8, fit="pad", filter="nearest")
    deep = structs.replace(wide, key="depth", encoding="depth_mm", height=3, width=4)
    turned = structs.replace(wide, key="chw", layout="chw")
    layout = structs.replace(LAYOUT, images=(wide, deep, turned))
    sent = observation()
    there = Message(layout).of(sent, NONE)
    assert there["a"].dtype == np.uint8
    np.testing.assert_array_equal(there["a"][1:7], sent.images["wrist"].rgb)
    assert not there["a"][[0, 7]].any()
    np.testing.assert_array_equal(there["chw"], there["a"].transpose(2, 0, 1))
    np.testing.assert_array_equal(there["depth"], sent.images["wrist"].depth[1::2, 1::2])
    assert [(n.height, n.width, n.depth) for n in layout.needs.images] == [
        (None, None, False), (None, None, True), (None, None, False)
    ]  # fmt: skip
    blind = Frame(sent.images["wrist"].rgb, None, np.eye(3))
    with pytest.raises(SpecMismatch, match="wants depth from camera wrist"):
        Message(layout).of(observation(images={"wrist": blind}), NONE)


def test_numbers_are_scaled_constant_or_the_previous_action():
    """In the order of the names; what the loop does not have to provide is not asked of it."""
    parts = (
        StateKey(key="a", names=("gripper.width", "action.grip", "0.5"), scale=(-10.0, 1.0, 2.0),
                 offset=(1.0, 0.0, 0.0)),
        StateKey(key="b", names=("tcp.x", "-1", "0.5")),
    )  # fmt: skip
    layout = structs.replace(LAYOUT, state=parts)
    assert layout.state_names == ("gripper.width", "tcp.x")
    previous = np.arange(7.0)
    there = Message(layout).of(observation(state=np.float32([0.04, 0.25])), previous)
    np.testing.assert_allclose(there["a"], [0.6, 6.0, 1.0], rtol=1e-6)
    assert there["b"].tolist() == [0.25, -1.0, 0.5]
    assert there["a"].dtype == there["b"].dtype == np.float32


def test_no_prompt_where_none_is_wanted():
    layout = structs.replace(LAYOUT, prompt=None)
    there = Message(layout).of(observation(), NONE)
    assert "prompt" not in there
    assert to_observation(there, layout).instruction == ""


def test_another_size_of_picture_is_not_sent():
    small = Frame(np.zeros((3, 4, 3), np.uint8), np.zeros((3, 4), np.uint16), np.eye(3))
    with pytest.raises(SpecMismatch, match="wants 8x6 from camera wrist, found 4x3"):
        Message(LAYOUT).of(observation(images={"wrist": small}), NONE)
    flat = structs.replace(LAYOUT, images=LAYOUT.images[1:])
    blind = Frame(small.rgb, None, np.eye(3))
    with pytest.raises(SpecMismatch, match="wants depth from camera wrist"):
        Message(flat).of(observation(images={"wrist": blind}), NONE)


RGB, DEPTH, PLACE = "observation/image/wrist", "observation/depth/wrist", "observation/state"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({RGB: np.zeros((6, 8, 4), np.uint8)}, r"as uint8 \(6, 8, 3\) \(h, w, 3\), found uint8"),
        ({RGB: np.zeros((8, 6, 3), np.uint8)}, r"found uint8 \(8, 6, 3\): resize it"),
        ({RGB: np.zeros((6, 8, 3), np.float32)}, "found float32"),
        ({RGB: np.zeros(3, np.uint8)}, r"found uint8 \(3,\)"),
        ({RGB: "text"}, "wanted an array in `observation/image/wrist`, found str"),
        ({DEPTH: np.zeros((0, 8), np.uint16)}, r"uint16 \(0, 8\)"),
        ({DEPTH: np.zeros((6, 8), np.int16)}, "as uint16"),
        ({PLACE: np.zeros(4, np.float32)}, "as 3 floats, found float32"),
        ({PLACE: np.zeros((1, 3), np.float32)}, r"found float32 \(1, 3\)"),
        ({PLACE: np.zeros(3, np.int64)}, "found int64"),
        ({PLACE: np.array([0, np.nan, 0])}, "finite numbers in `observation/state`"),
        ({PLACE: np.array([0, 1e300, 0])}, "finite numbers"),
        ({"prompt": 3}, "wanted text in `prompt`, found int"),
        ({"prompt": "dance"}, "was taught, found 'dance': it knows 'pick', 'place'"),
        ({"prompt": b"pick"}, "found bytes"),
    ],
)
def test_what_does_not_fit_is_refused(changes, says):
    with pytest.raises(BadMessage, match=says):
        to_observation(message(**changes), LAYOUT)


@pytest.mark.parametrize("key", [RGB, DEPTH, PLACE, "prompt"])
def test_what_is_missing_is_named(key):
    there = message()
    del there[key]
    with pytest.raises(BadMessage, match=f"wanted the key `{key}`, found 'observation"):
        to_observation(there, LAYOUT)


@pytest.mark.parametrize("there", [None, 3, [], "x", np.zeros(3)])
def test_what_is_no_map_is_refused(there):
    with pytest.raises(BadMessage, match="wanted a map"):
        to_observation(there, LAYOUT)


def test_what_is_too_much_is_ignored():
    found = to_observation({**message(), "extra": 1, b"more": np.zeros(3)}, LAYOUT)
    assert found.instruction == "place"


def test_doubles_are_states_too():
    """As most clients of openpi send them."""
    found = to_observation(message(**{PLACE: np.array([0.25, -1.5, 0.04])}), LAYOUT)
    assert found.state.tobytes() == observation().state.tobytes()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"actions": np.zeros((H - 1, 7))}, r"wanted actions \(4 or more, 7\) of floats"),
        ({"actions": np.zeros((H, 6))}, r"found \(4, 6\)"),
        ({"actions": np.zeros((1, H, 7))}, r"found \(1, 4, 7\)"),
        ({"actions": np.zeros((H, 7), np.int32)}, "of int32"),
        ({"actions": [[0.0] * 7] * H}, "found list among 'actions'"),
        ({"action": np.zeros((H, 7))}, "found none among 'action'"),
        ({}, "found none among nothing"),
        ([1], "wanted a map with actions, found list"),
    ],
)
def test_answers_that_do_not_fit(answer, says):
    with pytest.raises(BadMessage, match=says):
        rows(answer, LAYOUT)


def test_a_bundle_describes_itself(bundles):
    made = bundle.load(bundles / "policy")
    layout = of_bundle(made.manifest)
    assert layout.images == (
        ImageKey(camera="wrist", key="observation/image/wrist", height=16, width=16),
    )
    assert (layout.state_names, layout.instructions) == (STATE, SENTENCES)
    assert layout.actions == tcp_actions()
    assert layout.rate_hz == 10.0
    assert layout.sha256 == made.manifest.files["p.onnx"].sha256
    assert from_metadata(decode(encode(to_metadata(layout))), "x") == layout
    with pytest.raises(SpecMismatch, match="of kind policy, found pro"):
        of_bundle(bundle.load(bundles / "pro").manifest)


TOKENS = TokensSpec(tokenizer="t.json", input="instruction", length=8, texts=("pick", "place"))


@pytest.mark.parametrize(
    ("instruction", "texts"),
    [
        (TOKENS, ("pick", "place")),
        (structs.replace(TOKENS, texts=None), ()),
        (EmbeddingSpec(encoder="e.onnx", output="o", text=TOKENS), ("pick", "place")),
    ],
    ids=["tokens", "free text", "embedding"],
)
def test_a_bundle_says_which_texts_it_was_taught(bundles, instruction, texts):
    manifest = bundle.load(bundles / "policy").manifest
    info = structs.replace(manifest.policy, instruction=instruction)
    layout = of_bundle(structs.replace(manifest, policy=info))
    assert (layout.prompt, layout.instructions) == ("prompt", texts)


def test_a_bundle_that_wants_to_remember_is_not_served(tmp_path):
    """The protocol has no reset, so a server must not remember its previous action."""
    state = (StateInput(input="state", names=(*STATE[:3], "action.grip")),)
    made = bundle.load(make_policy(tmp_path / "p", policy={"state": state}))
    with pytest.raises(
        SpecMismatch, match=r"tiny wants `action\.grip`, but a policy server is told"
    ):
        of_bundle(made.manifest)


def test_metadata_of_others():
    assert from_metadata({"reset_pose": [0.0]}, "ws://x") is None
    for data in ({"headway": 3}, {"headway": {b"a": 1}}, {"headway": {"actions": {"chunk": 0}}},
                 {"headway": {**to_metadata(LAYOUT)["headway"], "soon": 1}},
                 {"headway": {**to_metadata(LAYOUT)["headway"], "name": "\x1b[2J"}}):  # fmt: skip
        with pytest.raises(SpecMismatch, match="ws://x: metadata `headway`"):
            from_metadata(data, "ws://x")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": [{"camera": "wrist", "key": "a", "fit": "pad"}]},
         "image `a` has fit = \"pad\": wanted the height and width"),
        ({"images": [{"camera": "wrist", "key": "a", "height": 0}]},
         "`images\\[0\\].height` wants"),
        ({"state": [{"key": "a", "names": ["q.j"], "scale": [1.0, 2.0]}]},
         "state `a` has 1 names, 2 of scale"),
        ({"state": [{"key": "a", "names": ["action.dx"]}]},
         "wants `action.dx`, but the actions have the columns x, y"),
        ({"state": [{"key": "a", "names": ["nan"]}]}, "wanted a finite number, found nan"),
        ({"name": "a\nb"}, "at most 200 printable characters"),
        ({"actions": {"names": ["x"], "chunk": 1, "dt_s": 0.1}}, "wanted the names x y z"),
        ({"anwser": "a"}, "did you mean `answer`?"),
    ],
)  # fmt: skip
def test_layouts_are_checked(changes, says):
    table = {**to_builtins(LAYOUT), **changes}
    with pytest.raises(ConfigError, match=says):
        config.decode(table, Layout, "test")


EXAMPLES = sorted((ROOT / "examples" / "serve").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_examples_describe_a_server(path):
    """They can be asked with what the loop knows, and their answers are understood."""
    layout = config.load(path, Layout)
    joints = [n.removeprefix("q.") for n in layout.state_names if n.startswith("q.")]
    StateVector(layout.state_names, joints, 0.08)
    sent = observation(
        images={i.camera: observation().images["wrist"] for i in layout.images},
        state=np.zeros(len(layout.state_names), np.float32),
    )
    columns = len(layout.actions.names)
    there = decode(encode(Message(layout).of(sent, np.zeros(columns))))
    found = to_observation(there, layout)
    assert found.images.keys() == sent.images.keys()
    assert len(found.state) == sum(len(part.names) for part in layout.state)
    answer = {layout.answer: np.zeros((layout.actions.chunk, columns))}
    assert layout.actions.to_si(rows(answer, layout)).shape == (layout.actions.chunk, columns)


DOCS = (ROOT / "docs" / "serve.md").read_text()


def test_the_example_of_the_documentation_is_valid():
    table = config.tomllib.loads(DOCS.split("```toml\n")[1].split("```")[0])
    _, found = kind_of(policy_of(table["policy"], "docs"))
    assert found.layout.state_names == ("q.joint1", "q.joint2", "gripper.closed")


def test_the_documentation_names_every_key():
    kinds = (Layout, ImageKey, StateKey)
    names = {f.name for kind in kinds for f in structs.fields(kind)} - {"sha256"}
    assert [name for name in sorted(names) if f"`{name}`" not in DOCS] == []
