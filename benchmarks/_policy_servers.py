"""Policy servers with a policy that costs nothing, each in a process of its own.

`openpi` is a re-creation: openpi's server is not on PyPI, so its loop is written here as its
published source does it (src/openpi/serving/websocket_policy_server.py: asyncio, receive, unpack,
infer, pack, send), on the same package and with openpi-client's own codec where it is installed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import numpy as np

from headway.actions import ActionSpace
from headway.benchmarks._child import environment
from headway.edge.policy.policy import Needs
from headway.edge.policy.remote import codec
from headway.edge.policy.remote.layout import ImageKey, Layout, StateKey, to_metadata
from headway.types import Chunk, Observation

SIZE, STATE, ROWS = 224, 8, 50
CAMERAS = ("scene", "wrist")
LAYOUT = Layout(
    name="null",
    images=tuple(ImageKey(camera=c, key=f"observation/image/{c}") for c in CAMERAS),
    state=(StateKey(key="observation/state", names=("tcp.x",) * STATE),),
    instructions=("go",),
    actions=ActionSpace(names=("x", "y", "z", "rx", "ry", "rz", "grip"), chunk=ROWS, dt_s=0.02),
)
_ACTIONS = np.zeros((ROWS, 7), np.float32)


class Null:
    """A policy without a model, which answers every observation with the same chunk at once."""

    name = "null"
    cameras: tuple[str, ...] = CAMERAS
    state_names = LAYOUT.state_names
    actions = LAYOUT.actions
    needs = Needs()

    def check_instruction(self, text: str) -> None: ...

    def reset(self) -> None: ...

    def infer(self, obs: Observation) -> Chunk:
        return Chunk(obs.t_ns, 20_000_000, _ACTIONS, obs.base)


def openpi_codec() -> tuple[ModuleType | None, str]:
    """openpi-client's, or None where it is not installed; and which it is."""
    try:
        from openpi_client import msgpack_numpy
    except ImportError:
        return None, "Headway's codec for both, openpi-client is not installed"
    return msgpack_numpy, "openpi-client's codec for openpi's side"


@contextmanager
def process(kind: str) -> Iterator[str]:
    """The URL of a server of `kind`: headway | openpi | echo."""
    code = f"from headway.benchmarks import _policy_servers as s; s.serve({kind!r})"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdin is not None
        try:
            yield f"ws://127.0.0.1:{int(child.stdout.readline())}"
        finally:
            child.stdin.close()


def serve(kind: str) -> None:
    """Until standard input ends."""
    if kind == "headway":
        from headway.edge.policy.remote.memory import keep_memory
        from headway.edge.policy.remote.server import PolicyServer

        keep_memory()
        with PolicyServer(Null(), LAYOUT, port=0) as server:
            print(server.port, flush=True)
            sys.stdin.read()
    else:
        asyncio.run(_asyncio_server(_openpi if kind == "openpi" else _echo))


async def _asyncio_server(handler: Any) -> None:
    from websockets.asyncio.server import serve

    async with serve(handler, "127.0.0.1", 0, compression=None, max_size=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _openpi(ws: Any) -> None:
    from websockets.exceptions import ConnectionClosed

    theirs, _ = openpi_codec()
    pack, unpack = codec.encode, codec.decode
    if theirs is not None:
        pack, unpack = theirs.Packer().pack, theirs.unpackb
    await ws.send(pack(to_metadata(LAYOUT)))
    last = None
    with suppress(ConnectionClosed):
        while True:
            begun = time.monotonic()
            unpack(await ws.recv())
            inferring = time.monotonic()
            answer: dict[str, Any] = {"actions": _ACTIONS}
            timing = {"infer_ms": 1e3 * (time.monotonic() - inferring)}
            if last is not None:
                timing["prev_total_ms"] = 1e3 * last
            answer["server_timing"] = timing
            await ws.send(pack(answer))
            last = time.monotonic() - begun


async def _echo(ws: Any) -> None:
    """As many bytes back as an answer has."""
    answer = bytes(len(codec.encode({"actions": _ACTIONS, "server_timing": {"infer_ms": 1.0}})))
    async for _ in ws:
        await ws.send(answer)
