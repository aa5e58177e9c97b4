"""The Foxglove WebSocket server by itself: what it says, and what bad clients cost it."""

import asyncio
import base64
import contextlib
import json
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from headway.edge.recording.tap import Topic
from headway.tools.view import foxglove
from headway.tools.view.foxglove import DATA, PROTOCOLS, TIME, FoxgloveServer

MS = 1_000_000
A = Topic("/a", "struct", "headway.A", b"schema of a")
B = Topic("/b", "image", "foxglove.RawImage", b"schema of b")


def served(scenario, topics=(A, B)):
    """Runs `scenario(server, ids, join)`; `join(...)` opens a client that has read the greeting."""

    async def main():
        server = FoxgloveServer("test")
        listening = socket.create_server(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        await server.start(listening)
        async with contextlib.AsyncExitStack() as stack:

            async def join(protocol="foxglove.sdk.v1", **options):
                options = {"compression": None, "max_size": None} | options
                c = await connect(url, subprotocols=[protocol] if protocol else None, **options)
                stack.push_async_callback(c.close)
                return c, json.loads(await c.recv()), json.loads(await c.recv())

            try:
                await asyncio.wait_for(scenario(server, server.channels(topics), join), 60)
            finally:
                await server.close(0.0)
        return server

    return asyncio.run(main())


async def subscribe(client, **pairs):
    """Subscription -> channel; returns when the server has it."""
    subscriptions = [{"id": int(k[1:]), "channelId": v} for k, v in pairs.items()]
    await client.send(json.dumps({"op": "subscribe", "subscriptions": subscriptions}))
    await client.send(json.dumps({"op": "fence"}))
    assert "fence" in json.loads(await client.recv())["message"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_is_told_what_there_is_and_gets_what_it_asked_for(protocol):
    async def scenario(server, ids, join):
        client, info, advert = await join(protocol)
        assert client.subprotocol == protocol
        assert (info["op"], info["name"], info["capabilities"]) == ("serverInfo", "test", ["time"])
        assert info["sessionId"]
        assert advert["op"] == "advertise"
        assert [(c["id"], c["topic"], c["schemaName"]) for c in advert["channels"]] == [
            (ids[0], "/a", "headway.A"),
            (ids[1], "/b", "foxglove.RawImage"),
        ]
        assert base64.b64decode(advert["channels"][0]["schema"]) == b"schema of a"
        await subscribe(client, s7=ids[0])
        server.message(ids[1], 4 * MS, b"not asked for")
        server.message(ids[0], 5 * MS, b"hello")
        assert await client.recv() == TIME.pack(2, 4 * MS)
        assert await client.recv() == DATA.pack(1, 7, 5 * MS) + b"hello"
        await client.send(json.dumps({"op": "unsubscribe", "subscriptionIds": [7]}))
        await client.send(json.dumps({"op": "fence"}))
        await client.recv()
        server.message(ids[0], 6 * MS, b"no longer")
        server.message(ids[0], 24 * MS, b"no longer")
        assert await client.recv() == TIME.pack(2, 24 * MS)

    server = served(scenario)
    assert (server.connected, server.sent, server.dropped) == (1, 1, 0)


@pytest.mark.parametrize("protocol", [None, "something.else"])
def test_a_client_of_another_protocol_is_refused(protocol):
    async def scenario(server, ids, join):
        with pytest.raises(InvalidStatus, match="HTTP 400"):
            await join(protocol)

    served(scenario)


def test_who_subscribes_late_gets_the_newest_message_at_once():
    async def scenario(server, ids, join):
        for i in range(3):
            server.message(ids[0], i * MS, b"%d" % i)
        client, _, _ = await join()
        await client.send(
            json.dumps({"op": "subscribe", "subscriptions": [{"id": 0, "channelId": ids[0]}]})
        )
        assert await client.recv() == DATA.pack(1, 0, 2 * MS) + b"2"

    served(scenario)


def test_channels_keep_their_numbers_and_only_changes_are_told():
    async def scenario(server, ids, join):
        client, _, _ = await join()
        await subscribe(client, s0=ids[0], s1=ids[1])
        assert server.channels([A, B]) == ids
        changed = B._replace(schema=b"another")
        again = server.channels([A, changed])
        assert again[0] == ids[0]
        assert again[1] not in ids
        assert json.loads(await client.recv()) == {"op": "unadvertise", "channelIds": [ids[1]]}
        new = json.loads(await client.recv())
        assert [(c["id"], c["topic"]) for c in new["channels"]] == [(again[1], "/b")]
        server.message(again[1], MS, b"not subscribed")
        server.message(ids[0], MS, b"still subscribed")
        assert await client.recv() == TIME.pack(2, MS)
        assert await client.recv() == DATA.pack(1, 0, MS) + b"still subscribed"

    served(scenario)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("nonsense", "wanted a message of the protocol"),
        ("[1]", "wanted a message of the protocol"),
        (b"\x01\x02", "wanted a message of the protocol"),
        ('{"op": "subscribe"}', "wanted a message of the protocol"),
        ('{"op": "subscribe", "subscriptions": [{"id": -1, "channelId": 1}]}', "subscription -1"),
        ('{"op": "subscribe", "subscriptions": [{"id": 1e999, "channelId": 1}]}', "OverflowError"),
        ('{"op": "subscribe", "subscriptions": [{"id": 1, "channelId": 99}]}', "no channel 99"),
        ('{"op": "subscribe", "subscriptions": [{"id": 0, "channelId": 2}]}', "one each"),
        ('{"op": "subscribe", "subscriptions": [{"id": 5, "channelId": 1}]}', "one each"),
        ('{"op": "setParameters", "parameters": []}', "can only be watched"),
        ('{"op": "advertise", "channels": []}', "can only be watched"),
    ],
)
def test_a_client_that_errs_is_told_and_stays(text, answer):
    async def scenario(server, ids, join):
        client, _, _ = await join()
        await subscribe(client, s0=ids[0])
        await client.send(text)
        said = json.loads(await client.recv())
        assert said["op"] == "status"
        assert said["level"] in (1, 2)
        assert answer in said["message"]
        server.message(ids[0], 0, b"still here")
        assert (await client.recv(), await client.recv())[1] == DATA.pack(1, 0, 0) + b"still here"

    served(scenario)


def test_a_slow_client_loses_messages_and_the_others_do_not():
    size, n = 1 << 20, 64

    async def scenario(server, ids, join):
        slow, _, _ = await join(max_queue=1)
        fast, _, _ = await join()
        await subscribe(slow, s0=ids[1])
        await subscribe(fast, s0=ids[1])
        for i in range(n):
            server.message(ids[1], i * MS, bytes([i]) * size)
            assert max(c.size for c in server._clients) <= foxglove.LIMIT_BYTES
            while (got := await fast.recv())[0] == 2:  # the time
                pass
            assert got == DATA.pack(1, 0, i * MS) + bytes([i]) * size
        lost = max(c.dropped for c in server._clients)
        assert n - lost - 1 >= foxglove.LIMIT_BYTES // size - 1
        assert 0 < lost < n
        told, numbers = [], []
        while not numbers or numbers[-1] < n - 1:
            got = await slow.recv()
            if isinstance(got, str):
                told.append(json.loads(got)["message"])
            elif got[0] == 1:
                numbers.append(got[-1])
        assert told == ["messages dropped: this client is too slow"]
        assert numbers == sorted(numbers)
        assert len(numbers) == n - lost
        assert numbers[-7:] == list(range(n - 7, n))  # the newest survive

    server = served(scenario)
    assert server.connected == 2
    assert server.sent + server.dropped == 2 * n


def test_what_has_waited_too_long_is_not_worth_sending():
    client = foxglove._Client(None)
    for second in (0.0, 1.0, 1.9, 3.5):
        client.offer(second, b"", b"%f" % second)
    assert [since for since, _, _ in client.data] == [1.9, 3.5]
    assert client.dropped == 2
    client.offer(100.0, b"time only")
    assert [head for _, head, _ in client.data] == [b"time only"]
    assert client.size == 0


def test_a_killed_client_is_forgotten():
    async def scenario(server, ids, join):
        killed, _, _ = await join()
        other, _, _ = await join()
        await subscribe(killed, s0=ids[0])
        await subscribe(other, s0=ids[0])
        killed.transport.abort()
        for i in range(1000):
            if len(server._clients) == 1:
                break
            server.message(ids[0], i * MS, b"x")
            await other.recv()
        assert len(server._clients) == 1
        server.message(ids[0], 10**12, b"last")
        while await other.recv() != DATA.pack(1, 0, 10**12) + b"last":
            pass

    assert served(scenario).connected == 2


def test_a_client_that_asks_and_never_reads_is_dropped(monkeypatch):
    monkeypatch.setattr(foxglove, "UNREAD", 8)

    async def scenario(server, ids, join):
        client, _, _ = await join(max_queue=1)
        gone = client.wait_closed()
        with contextlib.suppress(Exception):
            while server._clients:  # its answers fill the connection, then its queue
                await client.send(json.dumps({"op": "x" * 500_000}))
        assert not server._clients
        client.transport.abort()
        await gone

    served(scenario)
