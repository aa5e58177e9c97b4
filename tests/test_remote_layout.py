"""Which key holds what, and what the rows of an answer mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from null_robot import HORIZON, SENTENCES, STATE
from remote_rig import BASE, DT_S, LAYOUT, H, message, observation

from headway import bundle, config
from headway.drivers.kinematics import mat_to_quat, mat_to_rotvec, quat_to_mat, rotvec_to_mat
from headway.edge.control.settings import PolicyConfig
from headway.edge.motion.actions import Actions
from headway.edge.motion.chunks import ACTION_NAMES
from headway.edge.policy.observation import StateVector, renamed
from headway.edge.policy.remote.codec import decode, encode
from headway.edge.policy.remote.layout import (
    ImageKey,
    StateKey,
    finite_actions,
    from_metadata,
    of_bundle,
    to_metadata,
)
from headway.edge.policy.remote.request import rows, to_message, to_observation
from headway.errors import BadMessage, ConfigError, SpecMismatch
from headway.types import Frame, Pose

ROOT = Path(__file__).resolve().parent.parent


class Sections(config.Struct, frozen=True):
    policy: PolicyConfig


NUMBER = {"pick": 0, "place": 1}


def test_an_observation_survives_the_way():
    sent = observation()
    there = decode(encode(to_message(sent, LAYOUT, "place")))
    found = to_observation(there, LAYOUT, NUMBER, sent.t_ns)
    np.testing.assert_array_equal(found.images["wrist"].rgb, sent.images["wrist"].rgb)
    np.testing.assert_array_equal(found.images["wrist"].depth, sent.images["wrist"].depth)
    assert found.state.tobytes() == sent.state.tobytes()
    assert (found.instruction, found.t_ns) == (1, sent.t_ns)


def test_keys_nest_and_pictures_turn():
    """The layout of openpi's ALOHA policies: (3, h, w) in a nested map."""
    layout = structs.replace(
        LAYOUT,
        images=(ImageKey(camera="wrist", key="images.cam_high", order="chw"),),
        state=(StateKey(key="joints", names=("a", "b")), StateKey(key="grip", names=("c",))),
    )
    there = to_message(observation(), layout, "pick")
    assert set(there) == {"images", "joints", "grip", "prompt"}
    assert there["images"]["cam_high"].shape == (3, 6, 8)
    assert there["joints"].tolist() == [0.25, -1.5]
    found = to_observation(decode(encode(there)), layout, NUMBER)
    np.testing.assert_array_equal(found.images["wrist"].rgb, observation().images["wrist"].rgb)
    assert found.state.tobytes() == observation().state.tobytes()


def test_no_prompt_where_none_is_wanted():
    layout = structs.replace(LAYOUT, prompt=None)
    there = to_message(observation(), layout, "place")
    assert "prompt" not in there
    assert to_observation(there, layout, NUMBER).instruction == 0


def test_another_size_of_picture_is_not_sent():
    small = Frame(np.zeros((3, 4, 3), np.uint8), np.zeros((3, 4), np.uint16), np.eye(3))
    with pytest.raises(SpecMismatch, match="wants 8x6 from camera wrist, found 4x3"):
        to_message(observation(images={"wrist": small}), LAYOUT, "pick")
    flat = structs.replace(LAYOUT, images=LAYOUT.images[1:])
    blind = Frame(small.rgb, None, np.eye(3))
    with pytest.raises(SpecMismatch, match="wants depth from camera wrist"):
        to_message(observation(images={"wrist": blind}), flat, "pick")


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
        to_observation(message(**changes), LAYOUT, NUMBER)


@pytest.mark.parametrize("key", [RGB, DEPTH, PLACE, "prompt"])
def test_what_is_missing_is_named(key):
    there = message()
    del there[key]
    with pytest.raises(BadMessage, match=f"wanted the key `{key}`, found 'observation"):
        to_observation(there, LAYOUT, NUMBER)


@pytest.mark.parametrize("there", [None, 3, [], "x", np.zeros(3)])
def test_what_is_no_map_is_refused(there):
    with pytest.raises(BadMessage, match="wanted a map"):
        to_observation(there, LAYOUT, NUMBER)


def test_what_is_too_much_is_ignored():
    found = to_observation({**message(), "extra": 1, b"more": np.zeros(3)}, LAYOUT, NUMBER)
    assert found.instruction == 1


def test_doubles_are_states_too():
    """As most clients of openpi send them."""
    found = to_observation(message(**{PLACE: np.array([0.25, -1.5, 0.04])}), LAYOUT, NUMBER)
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
    assert (layout.state_names, layout.instructions) == (renamed(STATE), SENTENCES)
    assert layout.actions == Actions(chunk=HORIZON, dt_s=0.1)
    assert layout.rate_hz == 10.0
    assert layout.sha256 == made.manifest.files["p.onnx"].sha256
    assert from_metadata(decode(encode(to_metadata(layout))), "x") == layout
    with pytest.raises(SpecMismatch, match="of kind policy, found pro"):
        of_bundle(bundle.load(bundles / "pro").manifest)


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
        ({"chunk": 0}, "`chunk` wants a whole number >= 1 and <= 4096, found 0"),
        ({"chunk": 5000}, "found 5000"),
        ({"dt_s": 0.0}, "`dt_s` wants a finite number > 0"),
        ({"names": ["dx", "dy"]}, "wanted the names dx, dy, dz"),
        ({"names": [*ACTION_NAMES, "dx"]}, "wanted the names"),
        ({"scale": [1.0]}, "7 names, 1 scales"),
        ({"grip_open": 1.0}, "to differ"),
        ({"axes": "world"}, "axes"),
    ],
)
def test_actions_are_checked(changes, says):
    with pytest.raises(ConfigError, match=says):
        config.decode({"chunk": 1, "dt_s": 0.1, **changes}, Actions, "test")


class TestActions:
    """What others mean by a row, against the same motion written out with matrices."""

    def test_plain_rows_pass_bit_for_bit(self):
        sent = np.float32(np.random.default_rng(0).normal(size=(9, 7)))
        spec = Actions(chunk=H, dt_s=DT_S)
        assert spec.plain
        found = finite_actions(sent, spec, BASE)
        assert found.tobytes() == sent[:H].tobytes()
        assert found.base is None  # its own memory, not the message's

    def test_columns_scale_and_grip(self):
        """LIBERO's: steps in units of the controller, and a grip from -1 open to 1 closed."""
        spec = Actions(
            chunk=2, dt_s=DT_S, names=("grip", "-", "rz", "ry", "rx", "dz", "dy", "dx"),
            scale=(1, 1, 0.5, 0.5, 0.5, 0.05, 0.05, 0.05), grip_open=-1.0, grip_closed=1.0,
        )  # fmt: skip
        row = [-1.0, 99.0, 0.6, 0.4, 0.2, 3.0, 2.0, 1.0]
        found = finite_actions(np.array([row, [0.0, *row[1:]]]), spec, BASE)
        want = [0.05, 0.10, 0.15, 0.1, 0.2, 0.3, 0.0]
        np.testing.assert_allclose(found, [want, [*want[:6], 0.5]], rtol=1e-6)
        assert found.dtype == np.float32

    @given(st.integers(0, 2**32 - 1), st.sampled_from(["tcp", "base"]), st.booleans())
    def test_poses(self, seed, axes, steps):
        rng = np.random.default_rng(seed)
        sent = rng.normal(scale=0.2, size=(H, 7))
        R0 = rotvec_to_mat(rng.normal(size=3))
        base = Pose(rng.normal(size=3), mat_to_quat(R0))
        spec = Actions(chunk=H, dt_s=DT_S, axes=axes, relative_to="previous" if steps else "chunk")
        p, R = base.pos, R0
        for row, found in zip(sent, finite_actions(sent, spec, base), strict=True):
            p_from, R_from = (p, R) if steps else (base.pos, R0)
            step = rotvec_to_mat(row[3:6])
            p = p_from + (R_from @ row[:3] if axes == "tcp" else row[:3])
            R = R_from @ step if axes == "tcp" else step @ R_from
            # as the loop plays it, `headway.edge.motion.chunks.to_joints`
            np.testing.assert_allclose(base.pos + R0 @ found[:3], p, atol=1e-5)
            np.testing.assert_allclose(R0 @ rotvec_to_mat(found[3:6]), R, atol=1e-5)
            assert found[6] == np.float32(row[6])

    def test_the_inverse_rotation_is_not_the_rotation(self):
        """What the property above would not see if both sides were wrong the same way."""
        quarter = Pose(np.zeros(3), mat_to_quat(rotvec_to_mat(np.array([0, 0, np.pi / 2]))))
        spec = Actions(chunk=1, dt_s=DT_S, axes="base")
        found = finite_actions(np.array([[1.0, 0, 0, 0.3, 0, 0, 0]]), spec, quarter)
        # the base's x axis is the TCP's -y axis
        np.testing.assert_allclose(found[0], [0, -1, 0, 0, -0.3, 0, 0], atol=1e-6)
        assert mat_to_rotvec(quat_to_mat(quarter.quat))[2] == pytest.approx(np.pi / 2)

    @pytest.mark.parametrize("relative_to", ["chunk", "previous"])
    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
    def test_what_is_not_finite_is_refused(self, relative_to, value):
        spec = Actions(chunk=H, dt_s=1, relative_to=relative_to)
        for k in range(7):
            sent = np.zeros((H + 1, 7))
            sent[H - 1, k] = value
            with pytest.raises(BadMessage, match="finite"):
                finite_actions(sent, spec, BASE)
            sent[H - 1, k], sent[H, k] = 0.0, value  # a row that nobody plays
            assert not finite_actions(sent, spec, BASE).any()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "serve").glob("*.toml")), ids=lambda p: p.stem
)
def test_the_examples_are_valid(path):
    found = config.decode(config.read_toml(path), Sections, str(path))
    layout = found.policy.remote.layout
    StateVector(layout.state_names)
    sent = observation(
        images={i.camera: observation().images["wrist"] for i in layout.images},
        state=np.zeros(len(layout.state_names), np.float32),
    )
    there = decode(encode(to_message(sent, layout, "pick")))
    assert to_observation(there, layout, NUMBER).state.shape == sent.state.shape
    rows = np.zeros((layout.actions.chunk, 7))
    rows[:, 6] = layout.actions.grip_closed
    assert (finite_actions(rows, layout.actions, BASE)[:, 6] == 1).all()
