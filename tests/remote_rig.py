"""A policy to serve, an observation to ask it with, and servers that misbehave."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager

import numpy as np
from msgspec import structs
from null_robot import tcp_actions
from websockets.exceptions import ConnectionClosed
from websockets.sync import client, server

from headway.clock import NS
from headway.edge.policy.policy import Needs
from headway.edge.policy.remote.codec import decode, encode
from headway.edge.policy.remote.layout import ImageKey, Layout, StateKey, to_metadata
from headway.edge.policy.remote.server import PolicyServer
from headway.errors import SpecMismatch
from headway.types import Chunk, Frame, Observation, Pose

WAIT = 30.0  # seconds that only a broken test waits
H, DT_S = 4, 0.1
SENTENCES = ("pick", "place")
LAYOUT = Layout(
    name="gate",
    images=(
        ImageKey(camera="wrist", key="observation/image/wrist", height=6, width=8),
        ImageKey(camera="wrist", key="observation/depth/wrist", encoding="depth_mm"),
    ),
    state=(StateKey(key="observation/state", names=("tcp.x", "tcp.y", "gripper.width")),),
    instructions=SENTENCES,
    actions=tcp_actions(H, DT_S),
)
NONE = np.zeros(7)  # the previous action at the start of an episode
BASE = Pose(np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.5, 0.5, 0.5]))


ANY_SIZE = structs.replace(
    LAYOUT, images=(structs.replace(LAYOUT.images[0], height=None, width=None),)
)


class Gate:
    """Answers with the state, the instruction and what it saw; waits for `go` if told to."""

    name = "gate"
    cameras = ("wrist",)
    state_names = ("tcp.x", "tcp.y", "gripper.width")
    actions = LAYOUT.actions
    needs = Needs()

    def __init__(self, rows=H, wait=False):
        self.rows, self.wait = rows, wait
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.seen, self.busy, self.most = [], 0, 0
        self.error = None

    def check_instruction(self, text):
        if text not in SENTENCES:
            raise SpecMismatch(f"was not taught {text!r}")

    def reset(self): ...

    def infer(self, obs):
        self.busy += 1
        self.most = max(self.most, self.busy)
        self.seen.append(obs)
        if self.wait:
            self.begun.release()
            assert self.go.acquire(timeout=WAIT)
        self.busy -= 1
        if self.error is not None:
            raise self.error
        rows = np.zeros((self.rows, 7), np.float32)
        rows[:, :3] = obs.state
        rows[:, 3] = SENTENCES.index(obs.instruction)
        rows[:, 4] = obs.images["wrist"].rgb.mean()
        return Chunk(obs.t_ns, NS // 10, rows, obs.base)


def observation(**changes):
    rgb = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    depth = np.arange(6 * 8, dtype=np.uint16).reshape(6, 8)
    values = {
        "t_ns": 5 * NS,
        "images": {"wrist": Frame(rgb, depth, np.eye(3))},
        "state": np.float32([0.25, -1.5, 0.04]),
        "instruction": "place",
        "base_q": np.zeros(6),
        "base": BASE,
    }
    return Observation(**{**values, **changes})


def message(**changes):
    obs = observation()
    plain = {
        "observation/image/wrist": obs.images["wrist"].rgb,
        "observation/depth/wrist": obs.images["wrist"].depth,
        "observation/state": obs.state,
        "prompt": "place",
    }
    return {**plain, **{k: v for k, v in changes.items() if v is not None}}


@contextmanager
def serving(policy=None, layout=LAYOUT, **kwargs):
    """A server; `server.lines` is a queue of what it said."""
    lines = queue.SimpleQueue()
    with PolicyServer(policy or Gate(), layout, port=0, say=lines.put, **kwargs) as found:
        found.lines = lines
        yield found


def said(found, word):
    """The next line with `word`; waits for it."""
    while True:
        line = found.lines.get(timeout=WAIT)
        if word in line:
            return line


@contextmanager
def asking(port, path=""):
    """A connection by somebody else's client, metadata read."""
    url = f"ws://127.0.0.1:{port}{path}"
    with client.connect(url, compression=None, max_size=None, proxy=None) as ws:
        ws.metadata = decode(ws.recv(timeout=WAIT))
        yield ws


def answer(**changes):
    actions = np.zeros((H, 7), np.float32)
    return encode({"actions": actions, "server_timing": {"infer_ms": 1.0}, **changes})


@contextmanager
def fake(handler, metadata=None, tls=None):
    """Somebody else's server: `handler(ws, n)` is connection number n, after the metadata."""
    count = iter(range(1000))
    metadata = to_metadata(LAYOUT) if metadata is None else metadata

    def serve(ws):
        n = next(count)
        try:
            ws.send(metadata if isinstance(metadata, (bytes, str)) else encode(metadata))
            handler(ws, n)
        except ConnectionClosed:
            pass

    with server.serve(
        serve, "127.0.0.1", 0, compression=None, max_size=None, close_timeout=0.1, ssl=tls
    ) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        try:
            yield f"{'wss' if tls else 'ws'}://127.0.0.1:{found.socket.getsockname()[1]}"
        finally:
            found.shutdown()
            thread.join()


class Time:
    """A clock that stands, for the pauses between tries."""

    now = 0.0

    def __call__(self):
        return self.now


def black(shape):
    return Frame(np.zeros(shape, np.uint8), None, np.eye(3))


def urdf(path, joints):
    """A URDF at `path` of an arm with these `joints`, 0.15 m apart, which turn about z and y by
    turns; straight up at 0. As lively as the arms that are shipped."""
    links = "".join(f'<link name="link{k}"/>' for k in range(len(joints) + 1))
    turns = "".join(
        f'<joint name="{name}" type="revolute"><parent link="link{k}"/><child link="link{k + 1}"/>'
        f'<origin xyz="0 0 0.15"/><axis xyz="0 {k % 2} {1 - k % 2}"/>'
        '<limit lower="-2.8" upper="2.8" velocity="2.0" effort="50"/></joint>'
        for k, name in enumerate(joints)
    )
    path.with_suffix(".toml").write_text("acceleration = 20.0\njerk = 1000.0\n")
    path.write_text(f'<robot name="{path.stem}">{links}{turns}</robot>')
    return path
