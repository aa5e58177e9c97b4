"""A server of the Foxglove WebSocket protocol (github.com/foxglove/ws-protocol, docs/spec.md), to
which Foxglove and Lichtblick connect.

It accepts both names of the protocol, `foxglove.sdk.v1` and the older `foxglove.websocket.v1`;
the messages used here are the same in both. A client can only subscribe and unsubscribe, so a view
cannot influence the robot. The clock of the run is published as the protocol's time, because
neither a virtual clock nor CLOCK_MONOTONIC is the time of day.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import headway
from headway.clock import NS
from headway.edge.recording.tap import Topic

PROTOCOLS = [Subprotocol("foxglove.sdk.v1"), Subprotocol("foxglove.websocket.v1")]
DATA = struct.Struct("<BIQ")  # opcode 1, subscription, time [ns]; the message follows
TIME = struct.Struct("<BQ")  # opcode 2, time [ns]
TIME_EVERY_NS = NS // 50  # of the run's clock, between two time messages
LIMIT_BYTES = 8 << 20  # most data that may wait for one client
LIMIT_S = 2.0  # how long data may wait for one client
UNREAD = 256  # answers that a client may leave unread before it is disconnected
INFO, WARNING, ERROR = 0, 1, 2


@dataclass(eq=False)
class _Client:
    """A client, and the messages that wait to be sent to it. Messages in `sure` are never dropped:
    they are small, or sent once per subscription. Those in `data` may be; each has the time [s]
    since which it waits."""

    connection: ServerConnection
    subscriptions: dict[int, int] = field(default_factory=dict)  # channel -> subscription
    sure: deque[str | bytes] = field(default_factory=deque)
    data: deque[tuple[float, bytes, bytes]] = field(default_factory=deque)  # since, head, message
    size: int = 0
    dropped: int = 0
    sent: int = 0
    warned: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, op: str, **fields: Any) -> None:
        self.sure.append(json.dumps({"op": op, **fields}))
        self.wake.set()

    def offer(self, now: float, head: bytes, message: bytes = b"") -> None:
        """Add a message to `data`, and drop the oldest ones that exceed LIMIT_BYTES in total or
        have waited longer than LIMIT_S."""
        self.data.append((now, head, message))
        self.size += len(message)
        while len(self.data) > 1 and (self.size > LIMIT_BYTES or now - self.data[0][0] > LIMIT_S):
            _, _, old = self.data.popleft()
            self.size -= len(old)
            self.dropped += bool(old)
        if self.dropped and not self.warned:
            self.warned = True
            self.say("status", level=WARNING, message="messages dropped: this client is too slow")
        self.wake.set()

    async def send(self) -> None:
        """Send the waiting messages, until the connection closes."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.wake.wait()
                self.wake.clear()
                while self.sure or self.data:
                    if self.sure:
                        await self.connection.send(self.sure.popleft())
                        continue
                    _, head, message = self.data.popleft()
                    self.size -= len(message)
                    await self.connection.send(head + message)
                    self.sent += bool(message)


class FoxgloveServer:
    """A server called `name`; `start` serves on a listening socket. `now` is the time [s] by which
    waiting messages age. A channel keeps its number in later episodes, and clients their
    subscriptions. A new subscription gets the newest message at once, so that a client also gets a
    camera's calibration, which is recorded only once."""

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._info = {
            "name": name,
            "capabilities": ["time"],
            "metadata": {"headway": headway.__version__},
            "sessionId": uuid.uuid4().hex,
        }
        self._ids: dict[Topic, int] = {}
        self._open: dict[int, Topic] = {}
        self._newest: dict[int, tuple[int, bytes]] = {}
        self._clients: set[_Client] = set()
        self._now = now
        self._time = -TIME_EVERY_NS
        self._server: Server | None = None
        self.connected = self.sent = self.dropped = 0  # clients so far; messages of those that left

    async def start(self, listening: socket.socket) -> None:
        """Serve clients on the socket `listening`, until `close`."""
        self._server = await serve(
            self._serve, sock=listening, subprotocols=PROTOCOLS, compression=None, close_timeout=1,
            max_size=1 << 20, max_queue=16, server_header=None,
        )  # fmt: skip

    def channels(self, topics: Sequence[Topic]) -> list[int]:
        """Advertise `topics` as the channels from now on. Returns their numbers."""
        ids = [self._ids.setdefault(t, len(self._ids) + 1) for t in topics]
        now = dict(zip(ids, topics, strict=True))
        gone, new = self._open.keys() - now.keys(), now.keys() - self._open.keys()
        self._open = now
        for n in gone:
            self._newest.pop(n, None)
        for client in self._clients:
            if gone:
                for n in gone:
                    client.subscriptions.pop(n, None)
                client.say("unadvertise", channelIds=sorted(gone))
            if new:
                client.say("advertise", channels=[self._advert(n) for n in sorted(new)])
        return ids

    def message(self, channel: int, t_ns: int, data: bytes) -> None:
        now = self._now()
        self._newest[channel] = (t_ns, data)
        tells_time = not 0 <= t_ns - self._time < TIME_EVERY_NS
        if tells_time:
            self._time = t_ns
        for client in self._clients:
            if tells_time:
                client.offer(now, TIME.pack(2, t_ns))
            subscription = client.subscriptions.get(channel)
            if subscription is not None:
                client.offer(now, DATA.pack(1, subscription, t_ns), data)

    async def close(self, wait_s: float = 1.0) -> None:
        """Give clients at most `wait_s` [s] to take the waiting messages, then close."""
        end = asyncio.get_running_loop().time() + wait_s
        while asyncio.get_running_loop().time() < end and any(
            c.sure or c.data for c in self._clients
        ):
            await asyncio.sleep(0.01)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _advert(self, n: int) -> dict[str, Any]:
        t = self._open[n]
        known = {"id": n, "topic": t.topic, "schemaName": t.schema_name}
        if t.kind == "json":
            return known | {
                "encoding": "json", "schemaEncoding": "jsonschema", "schema": t.schema.decode(),
            }  # fmt: skip
        schema = base64.b64encode(t.schema).decode()
        return known | {"encoding": "protobuf", "schemaEncoding": "protobuf", "schema": schema}

    async def _serve(self, connection: ServerConnection) -> None:
        client = _Client(connection)
        client.say("serverInfo", **self._info)
        client.say("advertise", channels=[self._advert(n) for n in sorted(self._open)])
        self._clients.add(client)
        self.connected += 1
        sender = asyncio.create_task(client.send())
        try:
            async for text in connection:
                self._told(client, text)
                if len(client.sure) > UNREAD:
                    break
        except ConnectionClosed:
            pass
        finally:
            self._clients.discard(client)
            self.sent += client.sent
            self.dropped += client.dropped + sum(bool(m) for _, _, m in client.data)
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    def _told(self, client: _Client, text: str | bytes) -> None:
        try:
            said = json.loads(text)
            op = said["op"]
            if op == "subscribe":
                for s in said["subscriptions"]:
                    self._subscribe(client, int(s["id"]), int(s["channelId"]))
            elif op == "unsubscribe":
                ids = {int(n) for n in said["subscriptionIds"]}
                client.subscriptions = {
                    c: s for c, s in client.subscriptions.items() if s not in ids
                }
            else:
                client.say("status", level=WARNING, message=f"{op}: this view can only be watched")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as e:
            client.say(
                "status", level=ERROR, message=f"wanted a message of the protocol, found {e!r}"
            )

    def _subscribe(self, client: _Client, subscription: int, channel: int) -> None:
        if not 0 <= subscription < 1 << 32:
            raise ValueError(f"subscription {subscription}")
        if channel not in self._open:
            client.say("status", level=ERROR, message=f"there is no channel {channel}")
            return
        if channel in client.subscriptions or subscription in client.subscriptions.values():
            client.say("status", level=ERROR, message=f"subscription {subscription}: one each")
            return
        client.subscriptions[channel] = subscription
        if channel in self._newest:
            t_ns, data = self._newest[channel]
            client.sure.append(DATA.pack(1, subscription, t_ns) + data)
            client.wake.set()
