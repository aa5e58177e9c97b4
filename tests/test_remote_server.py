"""The server, asked by the `websockets` package's own client and by bare sockets."""

from __future__ import annotations

import contextlib
import socket
import urllib.request

import numpy as np
import pytest
from msgspec import structs
from remote_rig import (
    LAYOUT,
    SENTENCES,
    WAIT,
    Gate,
    H,
    asking,
    message,
    observation,
    said,
    serving,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from headway.edge.policy.remote.codec import decode, encode
from headway.edge.policy.remote.layout import from_metadata
from headway.edge.policy.remote.server import PolicyServer
from headway.errors import Busy, ConfigError, SpecMismatch


def ask(ws, **changes):
    ws.send(encode(message(**changes)))
    return decode(ws.recv(timeout=WAIT))


def test_metadata_first_then_actions():
    policy = Gate()
    with serving(policy) as server, asking(server.port) as ws:
        assert from_metadata(ws.metadata, "x") == LAYOUT
        first, second = ask(ws), ask(ws, prompt="pick")
    assert first["actions"].shape == (H, 7)
    np.testing.assert_array_equal(first["actions"][:, :3], [observation().state] * H)
    assert (first["actions"][0, 3], second["actions"][0, 3]) == (1, 0)
    assert set(first["server_timing"]) == {"infer_ms"}
    assert set(second["server_timing"]) == {"infer_ms", "prev_total_ms"}
    assert second["server_timing"]["prev_total_ms"] >= first["server_timing"]["infer_ms"] >= 0


def test_health_is_answered_while_the_policy_thinks():
    policy = Gate(wait=True)
    with serving(policy) as server, asking(server.port) as ws:
        ws.send(encode(message()))
        assert policy.begun.acquire(timeout=WAIT)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=WAIT) as r:
            assert (r.status, r.read()) == (200, b"OK\n")
        policy.go.release()
        assert "actions" in decode(ws.recv(timeout=WAIT))


def refused(ws, data):
    """What the server says before it closes."""
    ws.send(data)
    why = ws.recv(timeout=WAIT)
    with pytest.raises(ConnectionClosed) as e:
        ws.recv(timeout=WAIT)
    assert e.value.rcvd.code == 1011
    return why


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xc1\xff", "wanted one msgpack message"),
        (b"", "wanted one msgpack message"),
        ("hello", "wanted an observation in a binary frame, found text"),
        (encode([1, 2]), "wanted a map with the observation, found list"),
        (encode({}), "wanted the key `observation/image/wrist`"),
        (encode(message(prompt="dance")), "found 'dance': it knows 'pick', 'place'"),
        (b"\x91" * 5000, "wanted one msgpack message"),
    ],
)
def test_a_bad_message_is_answered_and_the_next_client_served(data, says):
    policy = Gate()
    with serving(policy) as server:
        with asking(server.port) as ws:
            assert says in refused(ws, data)
        assert policy.seen == []
        with asking(server.port) as ws:
            assert "actions" in ask(ws)
        assert "refused" in said(server, "refused")


def test_a_policy_that_fails_is_answered_and_goes_on():
    policy = Gate()
    policy.error = RuntimeError("out of memory\nat layer 3")
    with serving(policy) as server:
        with asking(server.port) as ws:
            why = refused(ws, encode(message()))
            assert why == "the policy failed: RuntimeError: out of memory\nat layer 3"
        assert "Traceback" in said(server, "failed")  # told here, not to the client
        policy.error = None
        with asking(server.port) as ws:
            assert "actions" in ask(ws)


def test_a_policy_that_waits_in_vain_is_no_slow_client():
    policy = Gate()
    policy.error = TimeoutError("no answer of the device")
    with serving(policy) as server, asking(server.port) as ws:
        assert "TimeoutError: no answer of the device" in refused(ws, encode(message()))


def test_a_terminal_that_went_away_stops_nothing():
    def broken(line):
        raise BrokenPipeError

    with PolicyServer(Gate(), LAYOUT, port=0, say=broken, max_clients=1) as server:
        for _ in range(3):
            with asking(server.port) as ws:
                assert "actions" in ask(ws)
            until_free(server)


def until_free(server):
    """Whose seat is released a moment after its goodbye."""
    assert server._seats.acquire(timeout=WAIT)
    server._seats.release()


def test_an_oversized_message_is_refused():
    with serving(max_bytes=10_000) as server:
        with asking(server.port) as ws:
            ws.send(encode({"x": bytes(20_000)}))
            with pytest.raises(ConnectionClosed) as e:
                ws.recv(timeout=WAIT)
            assert e.value.rcvd.code == 1009
        with asking(server.port) as ws:
            assert "actions" in ask(ws)


def test_an_answer_that_is_too_large_is_said():
    with serving(Gate(rows=1000), max_bytes=10_000) as server, asking(server.port) as ws:
        assert "at most 10000 bytes" in refused(ws, encode(message()))


def test_fragments_are_joined_and_counted():
    with serving() as server:
        with asking(server.port) as ws:
            data = encode(message())
            ws.send(data[i : i + 7] for i in range(0, len(data), 7))
            assert "actions" in decode(ws.recv(timeout=WAIT))
        with asking(server.port) as ws:
            with contextlib.suppress(ConnectionClosed):  # it need not read all of them
                ws.send(b"" for _ in range(5000))
            assert "fragments" in said(server, "refused")


def test_two_clients_and_one_inference_at_a_time():
    policy = Gate(wait=True)
    with serving(policy) as server, asking(server.port) as a, asking(server.port) as b:
        a.send(encode(message(prompt="pick")))
        assert policy.begun.acquire(timeout=WAIT)
        b.send(encode(message(prompt="place")))
        for _ in range(2):
            policy.go.release()
        found = [decode(ws.recv(timeout=WAIT))["actions"][0, 3] for ws in (a, b)]
    assert found == [0, 1]
    assert policy.most == 1


def test_clients_beyond_the_limit_are_refused_until_one_leaves():
    with serving(max_clients=1) as server:
        with asking(server.port) as first:
            with pytest.raises(ConnectionClosed) as e, asking(server.port):
                pass
            assert (e.value.rcvd.code, e.value.rcvd.reason) == (
                1013, "1 clients are connected already",
            )  # fmt: skip
            assert "actions" in ask(first)
        said(server, "disconnected")
        with asking(server.port) as ws:
            assert "actions" in ask(ws)


def test_a_client_that_vanishes_during_an_inference():
    policy = Gate(wait=True)
    with serving(policy) as server:
        with asking(server.port) as ws:
            ws.send(encode(message()))
            assert policy.begun.acquire(timeout=WAIT)
            ws.close_socket()
        policy.go.release()
        said(server, "disconnected")
        policy.wait = False
        with asking(server.port) as ws:
            assert "actions" in ask(ws)


def test_a_browser_is_refused():
    with serving() as server:
        with (
            pytest.raises(InvalidStatus) as e,
            connect(f"ws://127.0.0.1:{server.port}", origin="http://example.org", proxy=None),
        ):
            pass
        assert e.value.response.status_code == 403
        said(server, "Origin")


@pytest.mark.parametrize(
    "opening",
    [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET /" + b"a" * 20_000,
     b"SSH-2.0-OpenSSH_9.6\r\n"],
)  # fmt: skip
def test_who_speaks_something_else_is_let_go(opening):
    with serving() as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) as sock:
            sock.sendall(opening)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        said(server, "")
        with asking(server.port) as ws:
            assert "actions" in ask(ws)


class TestSlow:
    """Who takes longer than `slow_s`; a test waits as long."""

    def test_a_handshake_that_does_not_end(self):
        with serving(slow_s=0.5) as server:
            with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\n")
                assert sock.recv(100) == b""
            assert "within 0.5 s" in said(server, "disconnected")

    def test_a_message_that_does_not_end(self):
        with serving(slow_s=0.5) as server, asking(server.port) as ws:
            ws.socket.sendall(b"\x82\xfe\x01\x00")  # 256 bytes are to come
            assert "within 0.5 s" in said(server, "disconnected")

    def test_a_client_that_does_not_read(self):
        """More than the system buffers on both ends."""
        with (
            serving(Gate(rows=500_000), slow_s=0.5) as server,
            socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) as sock,
        ):
            sock.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Version: 13\r\n\r\n"
            )
            data = encode(message())
            assert 125 < len(data) < 65536
            sock.sendall(b"\x82\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data)
            assert "within 0.5 s" in said(server, "disconnected:")


def test_pings_are_answered_between_and_inside_messages():
    with serving() as server, asking(server.port) as ws:
        ws.socket.sendall(b"\x89\x80")  # in two pieces
        ws.socket.sendall(bytes(4))
        assert ws.ping().wait(WAIT)
        data = encode(message())

        def parts():
            yield data[:5]
            assert ws.ping().wait(WAIT)
            yield data[5:]

        ws.send(parts())
        assert "actions" in decode(ws.recv(timeout=WAIT))


def test_stopping_says_goodbye():
    with serving() as server:
        ws = connect(f"ws://127.0.0.1:{server.port}", proxy=None).__enter__()
        ws.recv(timeout=WAIT)
    with pytest.raises(ConnectionClosed) as e:
        ws.recv(timeout=WAIT)
    assert (e.value.rcvd.code, e.value.rcvd.reason) == (1001, "the server stops")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_stopping_does_not_wait_for_an_inference_that_hangs(monkeypatch):
    monkeypatch.setattr("headway.edge.policy.remote.server.GRACE_S", 0.05)
    policy = Gate(wait=True)
    with contextlib.ExitStack() as stack:
        with serving(policy) as server:
            stack.enter_context(asking(server.port)).send(encode(message()))
            assert policy.begun.acquire(timeout=WAIT)
        policy.go.release()  # so that its thread ends as well
        said(server, "disconnected")


def test_a_port_in_use_is_busy():
    with serving() as server:
        taken = PolicyServer(Gate(), LAYOUT, port=server.port)
        with pytest.raises(Busy, match=f"wanted port {server.port} on 127.0.0.1"), taken:
            pass


def test_addresses_and_numbers_that_cannot_be():
    for changes, says in (
        ({"port": 70_000}, "from 0 to 65535"),
        ({"max_clients": 0}, "at least 1 client"),
    ):
        with pytest.raises(ConfigError, match=says):
            PolicyServer(Gate(), LAYOUT, **changes)
    elsewhere = PolicyServer(Gate(), LAYOUT, host="192.0.2.1", port=0)  # RFC 5737: nobody's
    with pytest.raises(ConfigError, match=r"cannot serve on 192\.0\.2\.1"), elsewhere:
        pass


def test_it_serves_on_ipv6_too():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with serving(host="::1") as server, connect(f"ws://[::1]:{server.port}", proxy=None) as ws:
        assert from_metadata(decode(ws.recv(timeout=WAIT)), "x") == LAYOUT


def test_a_vocabulary_that_the_policy_does_not_know():
    wrong = structs.replace(LAYOUT, instructions=(*SENTENCES, "dance"))
    with pytest.raises(SpecMismatch, match="was not taught 'dance'"):
        PolicyServer(Gate(), wrong)
