"""How long does a question to a policy server take, beside the inference itself?

Two 224 x 224 RGB pictures and 8 floats there, (50, 7) actions back, over loopback, with a policy
that costs nothing. All pairs of client and server take turns, each server in its own process.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter_ns
from typing import Any

import numpy as np

from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.errors import Missing
from headway.types import Frame, Observation, Pose

ROUNDS, EACH = 200, 5
OURS, THEIRS = "headway on headway", "openpi on openpi"
MIXED, OTHER = "openpi on headway", "headway on openpi"
FLOOR = "bare WebSocket, no codec"
TITLE = "A question to a policy server"


def measure(effort: float = 1.0) -> Findings:
    try:
        from headway.benchmarks._policy_servers import (
            CAMERAS,
            LAYOUT,
            SIZE,
            openpi_codec,
            process,
        )
        from headway.edge.policy.kinds.remote import open_policy
        from headway.edge.policy.remote.codec import decode, encode
        from headway.edge.policy.remote.request import Message
    except Missing as e:
        return Findings(TITLE, skipped=str(e))
    from websockets.sync.client import connect

    rng = np.random.default_rng(0)
    rgb = {c: rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8) for c in CAMERAS}
    obs = Observation(
        0, {c: Frame(x, None, np.eye(3)) for c, x in rgb.items()},
        np.zeros(len(LAYOUT.state_names), np.float32), "go", np.zeros(6),
        Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])),
    )  # fmt: skip
    plain = Message(LAYOUT).of(obs, np.zeros(len(LAYOUT.actions.names)))
    packed = encode(plain)
    theirs, codec_note = openpi_codec()
    pack: Callable[[Any], bytes] = encode if theirs is None else theirs.Packer().pack
    unpack: Callable[[Any], Any] = decode if theirs is None else theirs.unpackb

    with ExitStack() as stack:
        urls = {k: stack.enter_context(process(k)) for k in ("headway", "openpi", "echo")}

        def ours(url: str) -> Callable[[], object]:
            policy = open_policy(url)
            stack.callback(policy.close)
            return lambda: policy.infer(obs)

        def openpi(url: str) -> Callable[[], object]:
            """What openpi-client's `infer` does, which is this on the same package."""
            ws = stack.enter_context(connect(url, compression=None, max_size=None, proxy=None))
            unpack(ws.recv())

            def infer() -> object:
                ws.send(pack(plain))
                return unpack(ws.recv())

            return infer

        ws = stack.enter_context(connect(urls["echo"], compression=None, max_size=None, proxy=None))

        def bare() -> object:
            ws.send(packed)
            return ws.recv()

        contenders = {
            OURS: ours(urls["headway"]),
            THEIRS: openpi(urls["openpi"]),
            MIXED: openpi(urls["headway"]),
            OTHER: ours(urls["openpi"]),
            FLOOR: bare,
        }
        took = _turns(contenders, max(2, round(ROUNDS * effort)))
    p = {name: dict(zip(PERCENTILES, percentiles(v), strict=True)) for name, v in took.items()}
    return Findings(
        TITLE,
        [
            Number("p50, headway / openpi", p[OURS]["p50"] / p[THEIRS]["p50"], "x", 1.0),
            Number("p99, headway / openpi", p[OURS]["p99"] / p[THEIRS]["p99"], "x", 1.0),
            Number("p50 of openpi's client, on ours / on its own",
                   p[MIXED]["p50"] / p[THEIRS]["p50"], "x", 1.0),
            Number("p50, headway / bare WebSocket", p[OURS]["p50"] / p[FLOOR]["p50"], "x"),
        ],
        [Table("client on server", PERCENTILES, tuple((k, tuple(v.values())) for k, v in p.items()),
               "us")],
        (
            f"{len(packed)} bytes there; {codec_note}",
            "all clients in one process, which keeps memory as `open_policy` asks it to",
            "openpi's server is re-created from its published source, it is not on PyPI",
        ),
    )  # fmt: skip


def _turns(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Durations [us], `EACH` of every contender in each round; the first of a turn wakes it up and
    is not counted."""
    took: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, ask in contenders.items():
            ask()
            for _ in range(EACH):
                begun = perf_counter_ns()
                ask()
                took[name].append((perf_counter_ns() - begun) / 1e3)
    return took
