"""A client of the Foxglove WebSocket protocol, written from its specification alone, that decodes
every message with the schema that the server advertised."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
import threading
from collections import defaultdict

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def decoder(channel):
    """What makes messages of an advertised channel out of bytes."""
    encodings = channel["encoding"], channel["schemaEncoding"]
    if encodings == ("json", "jsonschema"):
        assert json.loads(channel["schema"])["type"] == "object"
        return json.loads
    assert encodings == ("protobuf", "protobuf")
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(base64.b64decode(channel["schema"])).file:
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(channel["schemaName"])).FromString


class Client(threading.Thread):
    """Subscribes to everything that is advertised, and listens until the server says goodbye."""

    def __init__(self, url, protocol="foxglove.sdk.v1"):
        super().__init__(daemon=True)
        self._open = contextlib.ExitStack()
        self.socket = self._open.enter_context(
            connect(url, subprotocols=[protocol], max_size=None, compression=None)
        )
        self.protocol = self.socket.subprotocol
        self.info, self.channels, self.said = None, {}, []
        self.messages = defaultdict(list)  # topic -> (t_ns, bytes), since time last went back
        self.earlier = []  # the same of before
        self.decoded = defaultdict(list)
        self.times, self.unadvertised, self.code = [], [], None
        self._changed = threading.Condition()
        self._decoders = {}
        self.start()

    def run(self):
        try:
            for data in self.socket:
                with self._changed:
                    self._text(json.loads(data)) if isinstance(data, str) else self._binary(data)
                    self._changed.notify_all()
        except ConnectionClosed:
            pass
        self.code = self.socket.protocol.close_code

    def _text(self, m):
        if m["op"] == "serverInfo":
            self.info = m
        elif m["op"] == "advertise":
            for c in m["channels"]:
                self.channels[c["id"]] = c
                self._decoders[c["id"]] = decoder(c)
            ids = [{"id": c["id"] + 1000, "channelId": c["id"]} for c in m["channels"]]
            self.tell(op="subscribe", subscriptions=ids)
        elif m["op"] == "unadvertise":
            self.unadvertised += m["channelIds"]
        else:
            self.said.append(m)

    def _binary(self, data):
        if data[0] == 2:
            assert len(data) == 9
            (t_ns,) = struct.unpack_from("<Q", data, 1)
            if self.times and t_ns < self.times[-1]:
                self.earlier.append(self.messages)
                self.messages, self.times = defaultdict(list), []
            self.times.append(t_ns)
            return
        op, subscription, t_ns = struct.unpack_from("<BIQ", data)
        assert op == 1
        channel = subscription - 1000
        topic = self.channels[channel]["topic"]
        self.messages[topic].append((t_ns, data[13:]))
        self.decoded[topic].append(self._decoders[channel](data[13:]))

    def tell(self, **fields):
        self.socket.send(json.dumps(fields))

    def until(self, ready):
        with self._changed:
            assert self._changed.wait_for(ready, timeout=60)

    def fence(self):
        """Returns when the server has seen everything that this client said."""
        n = len(self.said)
        self.tell(op="fence")
        self.until(lambda: len(self.said) > n)

    def close(self):
        self._open.close()
        self.join(60)
