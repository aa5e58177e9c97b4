"""`headway run` with a server of openpi that does not describe itself: a mapping file says what it
wants and what its actions mean. The server here answers in openpi's format."""

from __future__ import annotations

import importlib.util
import queue
from pathlib import Path

import numpy as np
import pytest
from null_robot import null_table, run, toml
from remote_rig import WAIT, fake, urdf

from headway import config
from headway.edge.control import settings
from headway.edge.policy.remote.codec import decode, encode
from headway.edge.policy.remote.layout import Layout
from headway.errors import ConfigError
from headway.mcaplog import open_recording

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DROID, ALOHA = (EXAMPLES / "serve" / f"openpi_{n}.toml" for n in ("droid", "aloha"))
PANDA = tuple(f"panda_joint{k}" for k in range(1, 8))
ASKED = "put the cup on the plate"


class Openpi:
    """A server as openpi's: its metadata do not describe it. `asked` has what it was asked, and
    `policy` makes the actions (h, d) of it."""

    def __init__(self, policy):
        self._policy, self._asked = policy, queue.SimpleQueue()

    def __call__(self, ws, n):
        for data in ws:
            message = decode(data)
            self._asked.put(message)
            actions = self._policy(message)
            ws.send(encode({"actions": actions, "server_timing": {"infer_ms": 1.0}}))

    @property
    def asked(self):
        """What it was asked since it was looked at last."""
        return [self._asked.get() for _ in range(self._asked.qsize())]


def written(path, table):
    path.write_text("".join(f"{k} = {toml(v)}\n" for k, v in table.items()))
    return path


def droid(tmp_path, **arm):
    """The example's run configuration, shortened, on an arm of seven joints with the same names."""
    table = config.read_toml(EXAMPLES / "droid_franka.toml")
    table["task"]["limit_s"] = 1.5
    table["arm"] = {**table["arm"], "model": str(urdf(tmp_path / "seven.urdf", PANDA)), **arm}
    return written(tmp_path / "droid.toml", table)


def test_a_server_of_openpi_moves_seven_joints_by_their_velocities(tmp_path):
    velocities = np.zeros((10, 8))
    velocities[:, 1], velocities[:, 7] = 0.05, 1.0
    server = Openpi(lambda message: velocities)
    with fake(server, metadata={}) as url:
        done = run(droid(tmp_path), tmp_path / "out", "--episodes", 1, "--policy", url,
                   "--policy-map", DROID)  # fmt: skip
    assert done == 0
    asked = server.asked
    assert len(asked) > 5
    for message in asked:
        assert set(message) == {
            "observation/exterior_image_1_left", "observation/wrist_image_left",
            "observation/joint_position", "observation/gripper_position", "prompt",
        }  # fmt: skip
        assert message["prompt"] == ASKED
        for name in ("exterior_image_1", "wrist_image"):
            image = message[f"observation/{name}_left"]
            assert (image.shape, image.dtype) == ((224, 224, 3), np.uint8)
            assert (image[49:175] == 128).all()  # 320 x 180 pixels became 224 x 126
            assert not image[:49].any()
            assert not image[175:].any()
        assert message["observation/joint_position"].shape == (7,)
        assert message["observation/gripper_position"].shape == (1,)
    np.testing.assert_allclose(asked[0]["observation/joint_position"], 0.0, atol=1e-6)
    assert asked[0]["observation/gripper_position"] == 0.0  # open
    assert asked[-1]["observation/gripper_position"] == 1.0
    recording = open_recording(tmp_path / "out" / "episode_0.mcap")
    rows = recording.rows("/telemetry")
    q = rows["q"]
    speed = (q[700, 1] - q[300, 1]) / (400 / 500.0)
    # 0.05 of the 0.2 rad that DROID's controller makes of 1, 15 times a second
    assert speed == pytest.approx(0.15, rel=0.05)
    others = [k for k in range(7) if k != 1]
    np.testing.assert_allclose(q[:, others], 0.0, atol=1e-9)
    chunk = recording.rows("/chunk")["actions"][0]
    np.testing.assert_allclose(chunk, [[0, 0.15, 0, 0, 0, 0, 0, 1]] * 8, rtol=1e-6)
    assert recording.metadata["policy_url"] == url


def test_another_instruction_is_another_prompt(tmp_path):
    server = Openpi(lambda message: np.zeros((10, 8)))
    path = droid(tmp_path)
    with fake(server, metadata={}) as url:
        for i, text in enumerate((ASKED, "open the drawer")):
            done = run(path, tmp_path / str(i), "--episodes", 1, "--policy", url, "--policy-map",
                       DROID, "--instruction", text)  # fmt: skip
            assert done == 0
            assert {message["prompt"] for message in server.asked} == {text}


RIGHT = (
    "right_waist", "right_shoulder", "right_elbow", "right_forearm_roll", "right_wrist_angle",
    "right_wrist_rotate",
)  # fmt: skip


def test_one_arm_of_two_follows_its_columns_and_the_other_is_a_constant(tmp_path):
    """openpi's ALOHA policies: 14 columns, of which the left arm's are no number here."""
    goal = 0.02 * np.arange(1, 7)

    def approach(message):
        """Towards the goal at 0.1 rad/s, and the jaws a quarter open."""
        rows = np.full((50, 14), np.nan)
        at, time = message["state"][7:13], 0.02 * np.arange(1, 51)[:, None]
        rows[:, 7:13] = at + np.clip(goal - at, -0.1 * time, 0.1 * time)
        rows[:, 13] = 0.25
        return rows

    server = Openpi(approach)
    table = null_table(instruction="tie the knot")
    table["arm"] = {"kind": "null", "model": str(urdf(tmp_path / "six.urdf", RIGHT))}
    table["camera"] = [
        {"kind": "null", "name": name, "width": 64, "height": 48} for name in ("scene", "wrist")
    ]
    table["task"]["limit_s"] = 3.0
    with fake(server, metadata={"reset_pose": [0.0] * 6}) as url:
        table["policy"] = {"kind": "remote", "url": url, "layout": config.read_toml(ALOHA)}
        path = written(tmp_path / "aloha.toml", table)
        assert run(path, tmp_path / "out", "--episodes", 1) == 0
    asked = server.asked
    first, last = asked[0], asked[-1]
    assert set(first) == {"images", "state", "prompt"}
    assert set(first["images"]) == {"cam_high", "cam_right_wrist"}
    assert first["images"]["cam_high"].shape == (3, 224, 224)
    left = np.float32([0.0, -0.96, 1.16, 0.0, -0.3, 0.0, 1.0])
    for message in asked:
        assert message["state"][:7].tolist() == left.tolist()
    np.testing.assert_allclose(first["state"][7:], [0, 0, 0, 0, 0, 0, 1], atol=1e-6)
    # 1 is open for ALOHA
    np.testing.assert_allclose(last["state"][7:], [*goal, 0.25], atol=0.005)


def test_actions_of_another_robot_are_refused_before_anything_moves(tmp_path, capsys):
    path = droid(tmp_path, model="ur5e")
    with fake(lambda ws, n: ws.recv(), metadata={}) as url:
        code = run(path, tmp_path / "out", "--policy", url, "--policy-map", DROID)
    assert code == 3
    error = capsys.readouterr().err
    assert "wanted actions for the robot's joints shoulder_pan_joint" in error
    assert "name panda_joint1" in error
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "wanted the key `layout.actions`"),
        ("nmae = 'x'", "unknown key `layout.nmae`: did you mean `layout.name`?"),
        ("= 3", "is not valid TOML"),
        (None, "wanted a configuration at"),
    ],
)
def test_a_mapping_file_that_does_not_fit_names_itself(tmp_path, capsys, text, says):
    mapping = tmp_path / "map.toml"
    if text is not None:
        mapping.write_text(text)
    code = run(droid(tmp_path), tmp_path / "out", "--policy", "ws://127.0.0.1:1", "--policy-map",
               mapping)  # fmt: skip
    assert code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert says in error
    assert str(mapping) in error


def test_a_mapping_file_wants_a_server(tmp_path, capsys):
    assert run(droid(tmp_path), tmp_path / "out", "--policy-map", DROID) == 2
    assert "wanted its address as --policy ws://HOST:PORT" in capsys.readouterr().err


def test_a_mapping_file_replaces_the_layout_of_the_configuration(tmp_path):
    table = config.read_toml(droid(tmp_path))
    table["policy"] = {
        "kind": "remote", "url": "ws://other:1", "timeout_s": WAIT, "latency_s": 0.1,
        "layout": config.read_toml(ALOHA),
    }  # fmt: skip
    found = settings.load(written(tmp_path / "aloha.toml", table))
    there = settings.with_policy_server(found, "ws://here:1", DROID).policy
    assert there == {
        "kind": "remote", "url": "ws://here:1", "timeout_s": WAIT, "latency_s": 0.1,
        "layout": config.read_toml(DROID),
    }  # fmt: skip
    with pytest.raises(ConfigError, match="wanted a configuration at"):
        settings.with_policy_server(found, "ws://here:1", tmp_path / "none.toml")


@pytest.fixture
def stand_in():
    """The module examples/serve/stand_in.py."""
    spec = importlib.util.spec_from_file_location("stand_in", EXAMPLES / "serve" / "stand_in.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Connection:
    """A connection on which `messages` come in; `sent` are the answers."""

    def __init__(self, *messages):
        self._messages, self.sent, self.closed = messages, [], None

    def __iter__(self):
        return iter(encode(m) for m in self._messages)

    def send(self, data):
        self.sent.append(data)

    def close(self, code, reason):
        self.closed = code


def test_the_stand_in_answers_who_gives_all_keys_and_prints_the_first(stand_in, capsys):
    message = dict.fromkeys(stand_in.DROID_KEYS, np.zeros(1, np.float32)) | {"prompt": ASKED}
    ws = Connection(message, message, message)
    stand_in.handler(stand_in.droid)(ws)
    assert [decode(data)["actions"].shape for data in ws.sent[1:]] == [(10, 8)] * 3
    assert ws.closed is None
    assert capsys.readouterr().out.count("asked: ") == 1


@pytest.mark.parametrize(
    ("robot", "message", "says"),
    [
        ("droid", {"prompt": "x"}, "KeyError: 'observation/exterior_image_1_left'"),
        ("aloha", {"images": {"cam_high": 0}}, "KeyError: 'state'"),
        ("aloha", {"images": {"wrist": 0}}, "ValueError: Expected images to contain"),
        ("aloha", {"images": {"cam_low": 0}}, "KeyError: 'cam_high'"),
    ],
)
def test_the_stand_in_answers_missing_keys_as_openpi_does(stand_in, robot, message, says):
    ws = Connection(message, message)
    stand_in.handler(getattr(stand_in, robot))(ws)
    _, answer = ws.sent  # the second message is not answered any more
    assert answer.startswith("Traceback")
    assert answer.splitlines()[-1].startswith(says)
    assert ws.closed == 1011


def test_the_example_of_droid_is_for_a_franka():
    found = settings.load(EXAMPLES / "droid_franka.toml")
    layout = config.load(DROID, Layout)
    assert layout.actions.check_joints(PANDA) == tuple(range(7))
    assert found.arm == {"kind": "null", "model": "franka"}
    assert layout.needs.instructions is None
    cameras = set(settings.cameras(found))
    assert {need.camera for need in layout.needs.images} == cameras
