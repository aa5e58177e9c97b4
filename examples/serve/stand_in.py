"""A server that answers in openpi's format without a policy: slow waves of the joints. It shows a
run with `--policy ws://...` where no GPU and no checkpoint are at hand.

    python examples/serve/stand_in.py droid --port 8000      # 7 joint velocities and a gripper
    python examples/serve/stand_in.py aloha --port 8000      # 14 joint positions of two arms
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from websockets.sync.server import ServerConnection, serve

from headway.edge.policy.remote.codec import decode, encode

# As DROID's and ALOHA's policies answer: rows, columns, seconds between rows.
DROID, ALOHA = (10, 8, 1 / 15), (50, 14, 1 / 50)


def droid(message: dict[str, Any], t: float) -> Any:
    """Joint velocities (-1..1 of the controller's scale), then the gripper, 0 open to 1 closed."""
    rows, columns, dt = DROID
    times = t + dt * np.arange(1, rows + 1)
    actions = np.tile(0.04 * np.sin(times)[:, None], (1, columns))
    actions[:, 7] = times % 8.0 > 4.0
    return actions


def aloha(message: dict[str, Any], t: float) -> Any:
    """Joint positions near those of the message's state, gripper in between."""
    rows, columns, dt = ALOHA
    moved = 0.1 * (np.sin(t + dt * np.arange(1, rows + 1)) - np.sin(t))
    return np.asarray(message["state"]).reshape(1, columns) + moved[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot", choices=("droid", "aloha"))
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    answer = {"droid": droid, "aloha": aloha}[args.robot]

    def handle(ws: ServerConnection) -> None:
        ws.send(encode({}))  # openpi's metadata do not describe the policy
        for n, data in enumerate(ws):
            message = decode(data)
            print(f"asked: {message['prompt']!r}, {', '.join(k for k in message if k != 'prompt')}")
            begun = time.perf_counter()
            actions = answer(message, 0.3 * n).astype(np.float32)
            timing = {"infer_ms": 1e3 * (time.perf_counter() - begun)}
            ws.send(encode({"actions": actions, "server_timing": timing}))

    with serve(handle, "127.0.0.1", args.port, compression=None, max_size=None) as server:
        print(f"ws://127.0.0.1:{args.port} answers as a policy of {args.robot} would; Ctrl-C stops")
        server.serve_forever()


if __name__ == "__main__":
    main()
