"""The client: configures itself, asks, says what it cannot use, closes."""

from __future__ import annotations

import math
import queue
import shutil
import socket
import ssl
import subprocess
import threading

import numpy as np
import pytest
from msgspec import structs, to_builtins
from null_robot import tcp_actions
from remote_rig import (
    ANY_SIZE,
    DT_S,
    LAYOUT,
    NONE,
    WAIT,
    Gate,
    H,
    answer,
    black,
    fake,
    message,
    observation,
    said,
    serving,
)

from headway.clock import NS
from headway.edge.policy.kinds.remote import open_policy
from headway.edge.policy.remote.client import RemotePolicy
from headway.edge.policy.remote.codec import decode, encode
from headway.edge.policy.remote.layout import StateKey, to_metadata
from headway.edge.policy.remote.request import Message
from headway.edge.policy.remote.server import PolicyServer
from headway.errors import ConfigError, DeviceError, SpecMismatch


def test_it_configures_itself_and_asks(opened):
    gate = Gate()
    with serving(gate) as server:
        policy = opened(f"ws://127.0.0.1:{server.port}")
        assert (policy.name, policy.cameras) == ("gate", ("wrist",))
        assert policy.actions == LAYOUT.actions
        assert policy.state_names == ("tcp.x", "tcp.y", "gripper.width")
        policy.check_instruction("place")
        with pytest.raises(SpecMismatch, match="was not taught 'plaec': did you mean 'place'"):
            policy.check_instruction("plaec")
        obs = observation()
        policy.reset()
        chunk = policy.infer(obs)
    assert (chunk.t0_ns, chunk.dt_ns, chunk.base) == (obs.t_ns, NS // 10, obs.base)
    want = Gate().infer(obs).actions
    assert chunk.actions.dtype == np.float32
    assert chunk.actions.tobytes() == want.tobytes()
    assert chunk.actions.flags.writeable
    np.testing.assert_array_equal(gate.seen[0].images["wrist"].rgb, obs.images["wrist"].rgb)


def test_the_factory_takes_plain_data():
    layout = to_builtins(structs.replace(LAYOUT, name="described", instructions=()))
    with fake(lambda ws, n: ws.send(answer()), metadata={}) as url:
        policy = open_policy(url=url, layout=layout, timeout_s=WAIT, connect_s=WAIT, max_bytes=9000)
        assert policy.name == "described"
        policy.close()
        with pytest.raises(ConfigError, match=r"layout\]: unknown key `nmae`"):
            open_policy(url=url, layout={**layout, "nmae": ""})


def test_a_layout_that_the_server_replaces_is_said_to_be_unused(opened):
    with serving(Gate()) as server:
        url = f"ws://127.0.0.1:{server.port}"
        assert opened(url).detail == opened(url, LAYOUT).detail == f"remote ({url})"
        other = structs.replace(LAYOUT, name="other")
        assert "[policy.layout] is not used" in opened(url, other).detail


def test_a_server_that_says_nothing_about_itself_wants_a_layout(opened):
    with (
        fake(lambda ws, n: ws.recv(), metadata={"reset_pose": [0.0]}) as url,
        pytest.raises(ConfigError, match=r"does not say which keys it wants: .*layout"),
    ):
        opened(url)


def test_a_free_prompt_is_sent_as_it_is(opened):
    prompts = queue.SimpleQueue()

    def listen(ws, n):
        for data in ws:
            prompts.put(decode(data)["task"])
            ws.send(answer())

    layout = structs.replace(LAYOUT, prompt="task", instructions=())
    with fake(listen, metadata={}) as url:
        policy = opened(url, layout)
        for text in ("a", "b", "a"):
            policy.infer(observation(instruction=text))
        assert [prompts.get(timeout=WAIT) for _ in range(3)] == ["a", "b", "a"]
        with pytest.raises(SpecMismatch, match="at most 4096 bytes"):
            policy.infer(observation(instruction="x" * 5000))


def test_the_previous_action_is_sent_as_it_was_answered(opened):
    """The newest row whose time has come, before the layout's scale; 0 as an episode begins."""
    told = queue.SimpleQueue()
    layout = structs.replace(
        LAYOUT,
        state=(StateKey(key="last", names=("tcp.x", "action.y", "action.grip")),),
        actions=tcp_actions(H, DT_S, scale=(10.0,) * 7, grip_closed=10.0),
    )
    answers = np.arange(9 * 7.0).reshape(9, 7)

    def listen(ws, n):
        for data in ws:
            told.put(decode(data)["last"].tolist())
            ws.send(answer(actions=answers))

    with fake(listen, metadata={}) as url:
        policy = opened(url, layout)
        policy.reset()
        for seconds in (5.0, 5.25, 5.45, 8.0):
            obs = observation(t_ns=round(seconds * NS), state=np.float32([0.5]))
            np.testing.assert_allclose(policy.infer(obs).actions, 10 * answers[:H])
        policy.reset()
        policy.infer(obs)
    # 0.25 s later the second row is played, 2.55 s later the last one that is used
    rows = [(0, 0), (8, 13), (8, 13), (22, 27), (0, 0)]
    assert [told.get(timeout=WAIT) for _ in rows] == [[0.5, *row] for row in rows]


def test_more_rows_than_wanted_are_cut(opened):
    rows = np.arange(9 * 7.0).reshape(9, 7)

    def longer(ws, n):
        for _ in ws:
            ws.send(answer(actions=rows))

    with fake(longer) as url:
        np.testing.assert_array_equal(opened(url).infer(observation()).actions, rows[:H])


@pytest.mark.parametrize("url", ["http://x", "127.0.0.1:8000", "", "ws:/x"])
def test_what_is_no_url(url):
    with pytest.raises(ConfigError, match="as ws://HOST:PORT"):
        RemotePolicy(url)


@pytest.mark.parametrize("url", ["ws://", "ws://127.0.0.1:99999", "ws://127.0.0.1:x"])
def test_what_is_hardly_a_url(url):
    with pytest.raises(DeviceError, match="found none"):
        RemotePolicy(url)


def test_nobody_listens(opened):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(DeviceError, match=r"found none \(.*refused.*is it running\?"):
        opened(f"ws://127.0.0.1:{port}")


def test_somebody_else_listens(opened):
    """A server that accepts and says nothing, then one of another protocol."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"ws://127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(DeviceError, match=r"found none \(TimeoutError\)"):
            opened(url, connect_s=0.1)

        def answer_http():
            for _ in range(2):  # the first is the connection that timed out
                with sock.accept()[0] as ssh:
                    ssh.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    ssh.recv(4096)

        thread = threading.Thread(target=answer_http)
        thread.start()
        with pytest.raises(DeviceError, match="HTTP status 404"):
            opened(url)
        thread.join()


def test_another_policy_after_a_restart_is_refused(opened):
    with serving() as server:
        policy = opened(f"ws://127.0.0.1:{server.port}")
        port = server.port
    other = structs.replace(LAYOUT, actions=tcp_actions(H, 2 * DT_S))
    with (
        PolicyServer(Gate(), other, port=port),
        pytest.raises(SpecMismatch, match="serves another policy than when this run began"),
    ):
        policy.infer(observation())


def test_closing_ends_an_inference_that_waits(opened):
    gate = Gate(wait=True)
    with serving(gate) as server:
        policy = opened(f"ws://127.0.0.1:{server.port}")
        errors = queue.SimpleQueue()

        def ask():
            try:
                policy.infer(observation())
            except DeviceError as e:
                errors.put(str(e))

        thread = threading.Thread(target=ask)
        thread.start()
        assert gate.begun.acquire(timeout=WAIT)
        policy.close()
        assert "closed the connection" in errors.get(timeout=WAIT)
        thread.join()
        gate.go.release()
        policy.close()
        with pytest.raises(DeviceError, match="this policy was closed: open it again"):
            policy.infer(observation())


def test_closing_is_a_goodbye(opened):
    with serving() as server:
        policy = opened(f"ws://127.0.0.1:{server.port}")
        policy.close()
        assert said(server, "disconnected").endswith("disconnected")


def test_what_cannot_be_sent_keeps_the_connection(opened):
    with serving() as server:
        policy = opened(f"ws://127.0.0.1:{server.port}")
        with pytest.raises(SpecMismatch, match="wants 8x6"):
            policy.infer(observation(images={"wrist": black((3, 4, 3))}))
        assert policy.infer(observation()).actions.shape == (H, 7)


@pytest.fixture
def tls(tmp_path, monkeypatch):
    """A certificate for 127.0.0.1 that this process trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("wants openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_tls(opened, tls, monkeypatch):
    """Answers, a large picture, a server that is silent or does not read, a stranger's key."""
    done = threading.Event()

    def serve(ws, n):
        if n == 0:
            for data in ws:
                ws.send(answer(actions=np.full((H, 7), float(len(data)))))
        done.wait(WAIT)

    large = observation(images={"wrist": black((2000, 2500, 3))})
    with fake(serve, metadata=to_metadata(ANY_SIZE), tls=tls) as url:
        policy = opened(url)
        for obs in (observation(), large):
            size = len(encode(Message(ANY_SIZE).of(obs, NONE)))
            assert (policy.infer(obs).actions == np.float32(size)).all()
        for obs in (observation(), large):
            policy = opened(url, timeout_s=0.2, connect_s=WAIT)
            with pytest.raises(DeviceError, match=r"within 0\.2 s"):
                policy.infer(obs)
        done.set()
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(DeviceError, match="CERTIFICATE_VERIFY_FAILED"):
            opened(url)


@pytest.mark.parametrize(
    "changes", [{"timeout_s": 0.0}, {"timeout_s": math.nan}, {"connect_s": -1.0}, {"max_bytes": 0}]
)
def test_numbers_that_cannot_be(changes):
    with pytest.raises(ConfigError, match="> 0, found"):
        RemotePolicy("ws://127.0.0.1:1", **changes)


def test_the_rig_asks_what_the_layout_wants():
    """The plain message of the tests is what the client sends."""
    assert encode(message()) == encode(Message(LAYOUT).of(observation(), NONE))
