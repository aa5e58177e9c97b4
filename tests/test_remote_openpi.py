"""Against openpi's own client and its own codec, as published on PyPI."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs
from remote_rig import LAYOUT, NONE, WAIT, Gate, H, fake, message, observation, serving

from headway.edge.policy.remote.client import RemotePolicy
from headway.edge.policy.remote.codec import decode, encode
from headway.edge.policy.remote.layout import ImageKey, from_metadata, to_metadata
from headway.edge.policy.remote.request import Message
from headway.types import Frame

# It asks for NumPy 1, without needing it.
WANTS = "wants openpi-client: pip install --no-deps openpi-client"
theirs = pytest.importorskip("openpi_client.msgpack_numpy", reason=WANTS)
openpi = pytest.importorskip("openpi_client.websocket_client_policy", reason=WANTS)
image_tools = pytest.importorskip("openpi_client.image_tools", reason=WANTS)

# Newer versions of `websockets` would like `connect` to be used otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")

VALUES = [
    1, -1.5, "text", True, None, [1, 2], {"a": {"b": [1]}}, b"bytes", 2**63,
    np.float32(1.5), np.bool_(True), np.int8(-3), np.array(1.0), np.zeros((0, 3), np.float32),
    np.arange(6, dtype=np.int32).reshape(2, 3), np.array([True, False]),
    np.array([np.nan, np.inf, -np.inf, -0.0]), np.arange(4, dtype=">f8"), np.float16([1, 2]),
    np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8).transpose(2, 0, 1),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_same_bytes_and_the_same_values(value):
    packed = theirs.packb({"v": value})
    assert encode({"v": value}) == packed
    ours, other = decode(packed)["v"], theirs.unpackb(encode({"v": value}))["v"]
    assert type(ours) is type(other)
    if isinstance(value, (np.ndarray, np.generic)):
        assert (ours.dtype, ours.shape) == (other.dtype, other.shape)
        assert ours.tobytes() == other.tobytes() == value.tobytes()
    else:
        assert ours == other == value


@pytest.fixture
def connect():
    made = []

    def connect(url):
        made.append(openpi.WebsocketClientPolicy(url))
        return made[-1]

    yield connect
    for client in made:
        client._ws.close()


def test_their_client_asks_our_server(connect):
    with serving() as server:
        client = connect(f"ws://127.0.0.1:{server.port}")
        assert from_metadata(client.get_server_metadata(), "x") == LAYOUT
        client.reset()
        for timing in ({"infer_ms"}, {"infer_ms", "prev_total_ms"}):
            found = client.infer(message())
            np.testing.assert_array_equal(found["actions"], Gate().infer(observation()).actions)
            assert set(found["server_timing"]) == timing
        host = openpi.WebsocketClientPolicy("127.0.0.1", server.port)
        assert host.infer(message())["actions"].shape == (H, 7)
        host._ws.close()


def test_their_client_is_told_what_is_wrong(connect):
    with serving() as server:
        client = connect(f"ws://127.0.0.1:{server.port}")
        with pytest.raises(RuntimeError, match="inference server:\nwanted the key `prompt`, found"):
            client.infer({k: v for k, v in message().items() if k != "prompt"})


def test_our_client_asks_what_their_codec_writes():
    def serve(ws, n):
        for data in ws:
            obs = theirs.unpackb(data)
            assert obs["prompt"] == "place"
            rows = np.tile(obs["observation/state"].astype(np.float64), (H, 3))[:, :7]
            ws.send(theirs.packb({"actions": rows, "server_timing": {"infer_ms": 0.1}}))

    with fake(serve, metadata=theirs.packb(to_metadata(LAYOUT))) as url:
        policy = RemotePolicy(url, timeout_s=WAIT)
        found = policy.infer(observation()).actions
        policy.close()
    np.testing.assert_array_equal(found[:, :3], [observation().state] * H)


@pytest.mark.parametrize(("height", "width"), [(6, 8), (180, 320), (300, 100), (224, 224)])
def test_pictures_are_fitted_as_their_clients_do(height, width):
    rgb = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    key = ImageKey(camera="wrist", key="a", height=224, width=224, fit="pad")
    layout = structs.replace(LAYOUT, images=(key,))
    obs = observation(images={"wrist": Frame(rgb, None, np.eye(3))})
    found = Message(layout).of(obs, NONE)["a"]
    np.testing.assert_array_equal(found, image_tools.resize_with_pad(rgb, 224, 224))
